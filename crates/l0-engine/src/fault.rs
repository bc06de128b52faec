//! Faults: what the driver read off an exception, and what the engine makes of it.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// What went wrong, as far as it matters for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// The connection failed, or the answer was cut.
    Network,
    /// The target said that it cannot now.
    Overload,
    /// A content clock ran out.
    Stall,
    /// Bytes arrived that the client could not make sense of.
    Protocol,
    /// It ended without content.
    Empty,
    /// What arrived is not acceptable: a guard, drift, a schema, tool arguments, a seam that does not fit.
    Content,
    /// Nothing is left to pay with.
    Quota,
    /// The credentials do not open this door.
    Auth,
    /// The request itself is wrong.
    Request,
    /// The target declines to answer.
    Refused,
    /// A queue, a budget or a breaker said no before any call.
    Limited,
    /// The caller left, or the deadline passed.
    Cancelled,
    /// A bug in L0 or in the caller's code.
    Internal,
}

/// Whose matter a fault is, for dashboards and callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The one who asked.
    User,
    /// Somebody's service.
    Dependency,
    /// The program itself.
    Internal,
    /// Nobody's: it was stopped.
    Cancelled,
}

impl FaultClass {
    /// Whose matter it is.
    #[must_use]
    pub const fn category(self) -> Category {
        match self {
            Self::Request | Self::Refused => Category::User,
            Self::Internal => Category::Internal,
            Self::Cancelled => Category::Cancelled,
            Self::Network
            | Self::Overload
            | Self::Stall
            | Self::Protocol
            | Self::Empty
            | Self::Content
            | Self::Quota
            | Self::Auth
            | Self::Limited => Category::Dependency,
        }
    }

    /// Whether the same call would have failed in the same way without L0, so that its own exception is raised.
    #[must_use]
    pub const fn is_the_callers(self) -> bool {
        matches!(self, Self::Request | Self::Auth | Self::Quota | Self::Refused | Self::Internal)
    }

    /// The name in records, results and dashboards.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Overload => "overload",
            Self::Stall => "stall",
            Self::Protocol => "protocol",
            Self::Empty => "empty",
            Self::Content => "content",
            Self::Quota => "quota",
            Self::Auth => "auth",
            Self::Request => "request",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// How far an attempt had come when it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before anything went out: a bug in the program.
    Call,
    /// While the response was opened.
    #[default]
    Open,
    /// While the response was read.
    Read,
}

/// What a driver reads off an exception. The message is looked at once, in [`Facts::with_message`], and not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// How far the attempt had come.
    pub stage: Stage,
    /// Whether any byte of the response had arrived.
    pub bytes: bool,
    /// Whether the innermost frame belongs to the caller's own code.
    pub own_code: bool,
    /// Names of the exception's classes, most specific first, then of its causes' classes.
    pub types: Vec<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The provider's error code.
    pub code: Option<String>,
    /// The provider's error type.
    pub kind: Option<String>,
    /// The provider's id for the request.
    pub request_id: Option<String>,
    /// The `Retry-After` header as it came.
    pub retry_after: Option<String>,
    /// The `retry-after-ms` header as it came.
    pub retry_after_ms: Option<String>,
    /// The response's own `Date` header, which a `Retry-After` date is measured against.
    pub date: Option<String>,
    /// What the framework says of it.
    pub is_retryable: Option<bool>,
    /// What its message says, in the engine's words.
    pub says: Option<Says>,
}

/// What a message can say that nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// The context is too long for the model.
    ContextLength,
    /// The account has nothing left.
    Quota,
    /// Too many requests, or too busy.
    Overloaded,
    /// The stream held nothing.
    Nothing,
    /// A policy forbids it.
    Refused,
}

/// Words of a message, looked for last and only whole.
const PHRASES: &[(&str, Says)] = &[
    ("maximum context length", Says::ContextLength),
    ("context length exceeded", Says::ContextLength),
    ("prompt is too long", Says::ContextLength),
    ("insufficient quota", Says::Quota),
    ("insufficient_quota", Says::Quota),
    ("credit balance is too low", Says::Quota),
    ("exceeded your current quota", Says::Quota),
    ("rate limit", Says::Overloaded),
    ("too many requests", Says::Overloaded),
    ("overloaded", Says::Overloaded),
    ("temporarily unavailable", Says::Overloaded),
    ("internal server error", Says::Overloaded),
    ("bad gateway", Says::Overloaded),
    ("service unavailable", Says::Overloaded),
    ("gateway timeout", Says::Overloaded),
    ("gateway time-out", Says::Overloaded),
    ("no generation chunks were returned", Says::Nothing),
    ("empty stream", Says::Nothing),
    ("content management policy", Says::Refused),
    ("content policy", Says::Refused),
    ("content filtering policy", Says::Refused),
];

/// The code that a driver gives a connection of an event loop that has ended: its own word, and no provider's.
const ENDED_LOOP: &str = "ended_loop";

/// Bytes of a message that are looked at.
const MESSAGE_BYTES_MAX: usize = 4_096;

impl Facts {
    /// Adds what the message says, and forgets the message.
    #[must_use]
    pub fn with_message(mut self, message: &str) -> Self {
        let mut end = message.len().min(MESSAGE_BYTES_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = message[..end].to_ascii_lowercase();
        self.says = PHRASES.iter().find(|(phrase, _)| holds_whole(&message, phrase)).map(|(_, says)| *says);
        self
    }

    /// Why the provider cannot be asked again before some moment: its floor for the next wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Some(millis) = self.retry_after_ms.as_deref().and_then(|text| text.trim().parse::<f64>().ok())
        {
            return Duration::try_from_secs_f64(millis / 1_000.0).ok();
        }
        let text = self.retry_after.as_deref()?.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
        let (then, now) = (httpdate::parse_http_date(text).ok()?, self.date.as_deref()?);
        let now = httpdate::parse_http_date(now.trim()).ok()?;
        Some(then.duration_since(now).unwrap_or_default())
    }

    /// Whether the client fell over a connection of its own from an event loop that has ended: about the target that
    /// says nothing.
    #[must_use]
    pub fn is_of_an_ended_loop(&self) -> bool {
        self.code.as_deref() == Some(ENDED_LOOP)
    }

    /// Whether the fault is that the prompt does not fit the model's context.
    #[must_use]
    pub fn is_context_length(&self) -> bool {
        let coded = [&self.code, &self.kind].into_iter().flatten().any(|code| {
            matches!(
                code.as_str(),
                "context_length_exceeded" | "context_window_exceeded" | "string_above_max_length"
            )
        });
        let typed = self
            .types
            .iter()
            .any(|name| matches!(last_segment(name), "ContextOverflowError" | "ContextWindowExceededError"));
        coded || typed || self.says == Some(Says::ContextLength)
    }

    /// The fault these facts amount to.
    ///
    /// Codes that only one thing can mean come first, because frameworks raise them under the class of another
    /// (an exhausted quota arrives as a rate limit); then the exception's class, the status, any other code, what
    /// the framework says of it, and last its words, which also tell what was wrong with a wrong request.
    #[must_use]
    pub fn classify(&self) -> FaultClass {
        if self.stage == Stage::Call {
            return self.interrupted().unwrap_or(FaultClass::Internal);
        }
        if let Some(class) = self.by_decisive_code() {
            return class;
        }
        let class = self
            .by_type()
            .or_else(|| self.by_status())
            .or_else(|| self.by_code())
            .or_else(|| {
                self.is_retryable.map(|yes| if yes { FaultClass::Overload } else { FaultClass::Request })
            })
            .or_else(|| self.by_words())
            .or_else(|| self.by_vague_type())
            .unwrap_or(FaultClass::Internal);
        if class == FaultClass::Request { self.which_request() } else { class }
    }

    /// Some providers say only in words that what was wrong with a request is what it asks for, or that nobody pays.
    fn which_request(&self) -> FaultClass {
        match self.says {
            Some(Says::Refused) => FaultClass::Refused,
            Some(Says::Quota) => FaultClass::Quota,
            Some(Says::ContextLength | Says::Overloaded | Says::Nothing) | None => FaultClass::Request,
        }
    }

    fn interrupted(&self) -> Option<FaultClass> {
        let stopped = |name: &String| matches!(last_segment(name), "CancelledError" | "KeyboardInterrupt");
        self.types.iter().any(stopped).then_some(FaultClass::Cancelled)
    }

    fn codes(&self) -> impl Iterator<Item = &str> {
        [&self.code, &self.kind].into_iter().flatten().map(String::as_str)
    }

    fn by_decisive_code(&self) -> Option<FaultClass> {
        self.codes().find_map(|code| match code {
            "insufficient_quota" | "billing_error" | "billing_hard_limit_reached" | "billing_not_active" => {
                Some(FaultClass::Quota)
            }
            "content_filter" | "content_policy_violation" | "refusal" => Some(FaultClass::Refused),
            "context_length_exceeded" | "context_window_exceeded" => Some(FaultClass::Request),
            ENDED_LOOP => Some(FaultClass::Network),
            _ => None,
        })
    }

    fn by_type(&self) -> Option<FaultClass> {
        let names = || self.types.iter().map(|name| last_segment(name));
        // A certificate fails inside a connection error: what is deepest is decisive.
        if names().any(|name| matches!(name, "SSLCertVerificationError" | "CertificateError")) {
            return Some(FaultClass::Auth);
        }
        names().find_map(|name| self.of_type(name))
    }

    fn of_type(&self, name: &str) -> Option<FaultClass> {
        Some(match name {
            "CancelledError" | "KeyboardInterrupt" => FaultClass::Cancelled,
            "StreamChunkTimeoutError" => FaultClass::Stall,
            "ConnectError"
            | "ConnectTimeout"
            | "ReadError"
            | "ReadTimeout"
            | "WriteError"
            | "WriteTimeout"
            | "PoolTimeout"
            | "CloseError"
            | "ProxyError"
            | "NetworkError"
            | "TransportError"
            | "RemoteProtocolError"
            | "APIConnectionError"
            | "APITimeoutError"
            | "ModelConnectionError"
            | "ModelTimeoutError"
            | "ConnectionError"
            | "TimeoutError"
            | "TimeoutException"
            | "Timeout"
            | "ClientConnectionError"
            | "ServerDisconnectedError"
            | "ClientPayloadError"
            | "IncompleteRead"
            | "ProtocolError"
            | "ChunkedEncodingError"
            | "gaierror"
            | "SSLError"
            | "IncompleteReadError" => FaultClass::Network,
            "AuthenticationError"
            | "PermissionDeniedError"
            | "ModelAuthenticationError"
            | "ModelPermissionDeniedError" => FaultClass::Auth,
            "RateLimitError"
            | "InternalServerError"
            | "ServiceUnavailableError"
            | "OverloadedError"
            | "ModelRateLimitError"
            | "RequestTimeoutError"
            | "ConflictError"
            | "DeadlineExceededError"
            | "ModelAPIError" => FaultClass::Overload,
            "ContentPolicyViolationError" | "ContentFilterFinishReasonError" => FaultClass::Refused,
            "BadRequestError"
            | "NotFoundError"
            | "UnprocessableEntityError"
            | "ContextOverflowError"
            | "ContextWindowExceededError"
            | "RequestTooLargeError"
            | "ModelInvalidRequestError"
            | "ModelNotFoundError"
            | "UnsupportedParamsError" => FaultClass::Request,
            "JSONDecodeError" | "UnicodeDecodeError" | "UnicodeError" if self.is_garble() => {
                FaultClass::Protocol
            }
            "FileNotFoundError"
            | "IsADirectoryError"
            | "NotADirectoryError"
            | "FileExistsError"
            | "NotImplementedError"
            | "AssertionError"
            | "RecursionError"
            | "MemoryError" => FaultClass::Internal,
            _ => return None,
        })
    }

    /// Whether an error that any code can raise came of what the provider sent.
    const fn is_garble(&self) -> bool {
        self.bytes && !self.own_code
    }

    fn by_status(&self) -> Option<FaultClass> {
        Some(match self.status? {
            401 | 403 => FaultClass::Auth,
            402 => FaultClass::Quota,
            408 | 409 | 425 | 429 | 500..=599 => FaultClass::Overload,
            400..=499 => FaultClass::Request,
            _ => return None,
        })
    }

    fn by_code(&self) -> Option<FaultClass> {
        self.codes().find_map(|code| {
            Some(match code.to_ascii_lowercase().as_str() {
                "overloaded_error"
                | "rate_limit_error"
                | "rate_limit_exceeded"
                | "server_error"
                | "api_error"
                | "timeout_error"
                | "internal_error"
                | "internal_server_error"
                | "service_unavailable"
                | "server_overloaded"
                | "429"
                | "500"
                | "502"
                | "503"
                | "504"
                | "529"
                // Of AWS, which tells of an error inside a stream by nothing else.
                | "internalserverexception"
                | "modelerrorexception"
                | "modelstreamerrorexception"
                | "modeltimeoutexception"
                | "serviceunavailableexception"
                | "throttlingexception" => FaultClass::Overload,
                "accessdeniedexception"
                | "authentication_error"
                | "permission_error"
                | "invalid_api_key"
                | "401"
                | "403" => FaultClass::Auth,
                "invalid_request_error"
                | "not_found_error"
                | "request_too_large"
                | "model_not_found"
                | "400"
                | "404"
                | "413"
                | "422"
                | "validationexception" => FaultClass::Request,
                "402" => FaultClass::Quota,
                _ => return None,
            })
        })
    }

    fn by_words(&self) -> Option<FaultClass> {
        self.says.map(|says| match says {
            Says::ContextLength => FaultClass::Request,
            Says::Quota => FaultClass::Quota,
            Says::Overloaded => FaultClass::Overload,
            Says::Nothing => FaultClass::Empty,
            Says::Refused => FaultClass::Refused,
        })
    }

    /// Classes that say little by themselves: only where they came from tells.
    fn by_vague_type(&self) -> Option<FaultClass> {
        self.types.iter().find_map(|name| match last_segment(name) {
            // Raised without a status only for an error that was told inside a stream.
            "APIError" | "ResponseError" if self.bytes => Some(FaultClass::Overload),
            "ValueError" | "TypeError" | "AttributeError" | "IndexError" | "KeyError" | "ValidationError"
                if self.is_garble() =>
            {
                Some(FaultClass::Protocol)
            }
            "OSError" | "HTTPError" => Some(FaultClass::Network),
            _ => None,
        })
    }
}

/// The class's own name in `package.module.Class`.
fn last_segment(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether `phrase` stands in `text` with no letter or digit against either end.
fn holds_whole(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let after = text[start + found.len()..].chars().next();
        let apart = |side: Option<char>| side.is_none_or(|c| !c.is_alphanumeric());
        apart(before) && apart(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(types: &[&str]) -> Facts {
        Facts {
            stage: Stage::Read,
            bytes: true,
            types: types.iter().map(|&name| name.to_owned()).collect(),
            ..Facts::default()
        }
    }

    fn status(types: &[&str], status: u16, code: Option<&str>) -> Facts {
        Facts { status: Some(status), code: code.map(str::to_owned), bytes: false, ..facts(types) }
    }

    #[test]
    fn what_real_clients_raise_is_what_it_is() {
        let bad = |message| {
            let facts = status(&["anthropic.BadRequestError", "anthropic.APIStatusError"], 400, None);
            Facts { kind: Some("invalid_request_error".to_owned()), ..facts }.with_message(message)
        };
        let cases = [
            (facts(&["httpx.ReadError", "httpx.NetworkError", "httpx.TransportError"]), FaultClass::Network),
            (facts(&["httpx2.RemoteProtocolError", "httpx2.ProtocolError"]), FaultClass::Network),
            (
                facts(&["openai.APITimeoutError", "openai.APIConnectionError", "openai.APIError"]),
                FaultClass::Network,
            ),
            (facts(&["x.StreamChunkTimeoutError", "TimeoutError", "OSError"]), FaultClass::Stall),
            (facts(&["json.decoder.JSONDecodeError", "ValueError"]), FaultClass::Protocol),
            (facts(&["UnicodeDecodeError", "ValueError"]), FaultClass::Protocol),
            (facts(&["TypeError"]), FaultClass::Protocol),
            (facts(&["openai.APIError", "openai.OpenAIError"]), FaultClass::Overload),
            (status(&["openai.RateLimitError", "openai.APIStatusError"], 429, None), FaultClass::Overload),
            (
                status(&["openai.RateLimitError", "openai.APIStatusError"], 429, Some("insufficient_quota")),
                FaultClass::Quota,
            ),
            (status(&["openai.BadRequestError"], 400, Some("content_filter")), FaultClass::Refused),
            (bad("Output blocked by content filtering policy"), FaultClass::Refused),
            (bad("Your credit balance is too low to access the API."), FaultClass::Quota),
            (bad("max_tokens: must be above 0"), FaultClass::Request),
            (bad("prompt is too long: 210000 tokens"), FaultClass::Request),
            (bad("Discontent filtering policymakers"), FaultClass::Request),
            (
                status(&["openai.BadRequestError"], 400, Some("context_length_exceeded"))
                    .with_message("against our content policy"),
                FaultClass::Request,
            ),
            (status(&["openai.AuthenticationError"], 401, None), FaultClass::Auth),
            (status(&["openai.APIStatusError"], 408, None), FaultClass::Overload),
            (status(&["anthropic.APIStatusError"], 200, Some("overloaded_error")), FaultClass::Overload),
            (status(&["anthropic.APIStatusError"], 200, Some("invalid_request_error")), FaultClass::Request),
            (status(&["Whatever"], 529, None), FaultClass::Overload),
            (status(&["Whatever"], 422, None), FaultClass::Request),
            (
                facts(&["openai.APIConnectionError", "httpx.ConnectError", "ssl.SSLCertVerificationError"]),
                FaultClass::Auth,
            ),
            (Facts { code: Some("ended_loop".to_owned()), ..facts(&["RuntimeError"]) }, FaultClass::Network),
            (facts(&["ValueError"]).with_message("No generation chunks were returned"), FaultClass::Empty),
            (facts(&["fireworks.FireworksError"]).with_message("Received empty stream"), FaultClass::Empty),
            (facts(&["mine.Odd"]).with_message("Overloaded, sorry"), FaultClass::Overload),
            (facts(&["Exception"]).with_message("[502] Bad Gateway"), FaultClass::Overload),
            (
                facts(&["ollama._types.ResponseError"]).with_message("the runner has stopped"),
                FaultClass::Overload,
            ),
            (status(&["ollama._types.ResponseError"], 404, None), FaultClass::Request),
            (
                Facts {
                    code: Some("throttlingException".to_owned()),
                    ..facts(&["botocore.EventStreamError"])
                },
                FaultClass::Overload,
            ),
            (
                Facts {
                    code: Some("ValidationException".to_owned()),
                    ..facts(&["botocore.EventStreamError"])
                },
                FaultClass::Request,
            ),
            (facts(&["mine.Odd"]).with_message("the unoverloadedness"), FaultClass::Internal),
            (Facts { own_code: true, ..facts(&["TypeError"]) }, FaultClass::Internal),
            (
                Facts { own_code: true, ..facts(&["ConnectionResetError", "ConnectionError"]) },
                FaultClass::Network,
            ),
            (Facts { stage: Stage::Call, ..facts(&["ValueError"]) }, FaultClass::Internal),
            (Facts { bytes: false, stage: Stage::Open, ..facts(&["TypeError"]) }, FaultClass::Internal),
            (Facts { is_retryable: Some(true), ..facts(&["mine.Odd"]) }, FaultClass::Overload),
            (facts(&["asyncio.CancelledError", "BaseException"]), FaultClass::Cancelled),
        ];
        for (facts, class) in cases {
            assert_eq!(facts.classify(), class, "{facts:?}");
        }
    }

    #[test]
    fn a_retry_after_is_read_in_all_its_forms() {
        let with = |after: &str, ms: Option<&str>, date: Option<&str>| Facts {
            retry_after: Some(after.to_owned()),
            retry_after_ms: ms.map(str::to_owned),
            date: date.map(str::to_owned),
            ..Facts::default()
        };
        assert_eq!(with("3", None, None).retry_after(), Some(Duration::from_secs(3)));
        assert_eq!(with("3", Some("250"), None).retry_after(), Some(Duration::from_millis(250)));
        let (then, now) = ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(with(then, None, Some(now)).retry_after(), Some(Duration::from_secs(30)));
        assert_eq!(with(now, None, Some(then)).retry_after(), Some(Duration::ZERO));
        for rubbish in ["-1", "soon", "", "NaN", "inf", "1e400"] {
            assert_eq!(with(rubbish, None, None).retry_after(), None, "{rubbish}");
        }
    }

    #[test]
    fn a_message_leaves_no_trace() {
        let facts = facts(&["mine.Odd"]).with_message("secret prompt: rate limit reached");
        let written = serde_json::to_string(&facts).unwrap();
        assert!(!written.contains("secret"), "{written}");
        assert_eq!(facts.says, Some(Says::Overloaded));
    }
}
