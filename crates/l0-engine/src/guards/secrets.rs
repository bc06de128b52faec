//! Credentials: provider keys, tokens and private keys, told from what only looks like one by their checksums where
//! the format has one and by their randomness where it has none.
//!
//! A published example, a placeholder or the name of a key is none.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::hit::Finding;
use super::random::{Draw, is_placeholder, is_random};
use super::search::{Choice, Needle, Verify};
use super::spec::Problem;

/// Which credentials must not occur.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsSpec {
    /// The kinds looked for; all of them where none is given.
    pub kinds: Option<Vec<SecretKind>>,
}

impl SecretsSpec {
    pub(super) fn compile(&self, rule: u16, choice: Choice) -> Result<Vec<Needle>, Problem> {
        if self.kinds.as_ref().is_some_and(Vec::is_empty) {
            return Err(Problem::new("kinds", "is empty; leave it out to look for all"));
        }
        let wanted = |kind| self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        let formats = FORMATS.iter().filter(|format| wanted(format.kind));
        let needles = formats.filter_map(|format| {
            let finding = Finding::Secret(format.kind);
            Needle::of_format(rule, choice, finding, format.regex, format.verify)
        });
        Ok(needles.collect())
    }
}

/// A kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// Amazon Web Services: key ids and secret keys.
    Aws,
    /// Azure storage and service bus keys.
    Azure,
    /// Google API keys, client secrets and access tokens.
    Google,
    /// GitHub and GitLab tokens.
    Forge,
    /// Tokens of package registries: of JavaScript, Python, Rust and Docker.
    Registry,
    /// Keys of model providers: `OpenAI`, Anthropic, Groq, Hugging Face and others.
    Model,
    /// Tokens of chat services: Slack, Discord, Telegram.
    Chat,
    /// Keys of payment services and shops: Stripe, Square, Shopify.
    Payment,
    /// Keys of mail and message services: `SendGrid`, Mailgun, Mailchimp, Twilio.
    Mail,
    /// Tokens of other services: Databricks, `DigitalOcean`, Vault, Grafana and others.
    Service,
    /// Signed web tokens.
    Jwt,
    /// Private keys in PEM or age form.
    PrivateKey,
    /// A password in a URL.
    UrlPassword,
    /// A random value given to something called a key, a secret or a password.
    Assigned,
}

impl SecretKind {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Aws => "an AWS key",
            Self::Azure => "an Azure key",
            Self::Google => "a Google key",
            Self::Forge => "a GitHub or GitLab token",
            Self::Registry => "a package registry's token",
            Self::Model => "a model provider's key",
            Self::Chat => "a chat service's token",
            Self::Payment => "a payment service's key",
            Self::Mail => "a mail service's key",
            Self::Service => "a service's token",
            Self::Jwt => "a signed web token",
            Self::PrivateKey => "a private key",
            Self::UrlPassword => "a password in a URL",
            Self::Assigned => "a secret value",
        }
    }
}

struct Format {
    kind: SecretKind,
    regex: &'static str,
    verify: Verify,
}

const fn format(kind: SecretKind, regex: &'static str, verify: Verify) -> Format {
    Format { kind, regex, verify }
}

const MIXED: Verify = Verify::Once(mixed);
const ANY: Verify = Verify::Once(any);
const CHECKED: Verify = Verify::Each(checked);

/// The formats, each as its issuer publishes it.
const FORMATS: &[Format] = &[
    format(SecretKind::Aws, r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", ANY),
    format(
        SecretKind::Aws,
        r#"(?i:secret_?access_?key)["']?[ \t]{0,3}(?:[=:]|=>)[ \t]{0,3}["']?[A-Za-z0-9/+]{40}(?:[^A-Za-z0-9/+=]|$)"#,
        Verify::Each(assigned),
    ),
    format(SecretKind::Azure, r"\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{43,86}={1,2}", MIXED),
    format(SecretKind::Google, r"\bAIza[A-Za-z0-9_-]{35}", MIXED),
    format(SecretKind::Google, r"\bya29\.[A-Za-z0-9_-]{30,}", MIXED),
    format(SecretKind::Google, r"\bGOCSPX-[A-Za-z0-9_-]{28}", MIXED),
    format(SecretKind::Forge, r"\bgh[pousr]_[A-Za-z0-9]{36}\b", CHECKED),
    format(SecretKind::Forge, r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b", MIXED),
    format(SecretKind::Forge, r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[A-Za-z0-9_-]{20,}", MIXED),
    format(SecretKind::Registry, r"\bnpm_[A-Za-z0-9]{36}\b", CHECKED),
    format(SecretKind::Registry, r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{40,}", MIXED),
    format(SecretKind::Registry, r"\bcio[A-Za-z0-9]{32}\b", MIXED),
    format(SecretKind::Registry, r"\bdckr_pat_[A-Za-z0-9_-]{27}", MIXED),
    format(SecretKind::Model, r"\bsk-[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]*", MIXED),
    format(SecretKind::Model, r"\bsk-ant-(?:api|admin|oat|sid)\d\d-[A-Za-z0-9_-]{40,}", MIXED),
    format(SecretKind::Model, r"\bsk-or-v1-[0-9a-f]{64}\b", ANY),
    format(SecretKind::Model, r"\bsk-[0-9a-f]{32}\b", ANY),
    format(SecretKind::Model, r"\bsk-[A-Za-z0-9]{48}\b", MIXED),
    format(SecretKind::Model, r"\bgsk_[A-Za-z0-9]{52}\b", MIXED),
    format(SecretKind::Model, r"\bxai-[A-Za-z0-9]{40,}", MIXED),
    format(SecretKind::Model, r"\bhf_[A-Za-z]{34}\b", MIXED),
    format(SecretKind::Model, r"\br8_[A-Za-z0-9]{37}\b", MIXED),
    format(SecretKind::Model, r"\bpplx-[A-Za-z0-9]{40,}", MIXED),
    format(SecretKind::Model, r"\blsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}\b", ANY),
    format(SecretKind::Chat, r"\bxox[abeoprs]-(?:\d{8,14}-){1,3}[A-Za-z0-9]{24,}", Verify::Once(slack)),
    format(SecretKind::Chat, r"\bxapp-\d-[A-Z0-9]{8,14}-\d{8,16}-[0-9a-f]{32,}", ANY),
    format(
        SecretKind::Chat,
        r"\bhooks\.slack\.com/services/T[A-Z0-9]{7,12}/B[A-Z0-9]{7,12}/[A-Za-z0-9]{20,}",
        MIXED,
    ),
    format(
        SecretKind::Chat,
        r"\b[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
        Verify::Once(discord),
    ),
    format(SecretKind::Chat, r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}", MIXED),
    format(SecretKind::Payment, r"\b[sr]k_live_[A-Za-z0-9]{20,}", MIXED),
    format(SecretKind::Payment, r"\bwhsec_[A-Za-z0-9+/]{32,}", MIXED),
    format(SecretKind::Payment, r"\bsq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}", MIXED),
    format(SecretKind::Payment, r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b", ANY),
    format(SecretKind::Mail, r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", MIXED),
    format(SecretKind::Mail, r"\bkey-[0-9a-f]{32}\b", ANY),
    format(SecretKind::Mail, r"\b[0-9a-f]{32}-us\d{1,2}\b", ANY),
    format(SecretKind::Mail, r"\bSK[0-9a-f]{32}\b", ANY),
    format(SecretKind::Service, r"\bdo[opr]_v1_[0-9a-f]{64}\b", ANY),
    format(SecretKind::Service, r"\bdapi[0-9a-f]{32}\b", ANY),
    format(SecretKind::Service, r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}", MIXED),
    format(SecretKind::Service, r"\blin_api_[A-Za-z0-9]{40}\b", MIXED),
    format(SecretKind::Service, r"\bntn_[A-Za-z0-9]{40,}", MIXED),
    format(SecretKind::Service, r"\bfigd_[A-Za-z0-9_-]{40}", MIXED),
    format(SecretKind::Service, r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b", ANY),
    format(SecretKind::Service, r"\bATATT3[A-Za-z0-9_=-]{50,}", MIXED),
    format(SecretKind::Service, r"\bglsa_[A-Za-z0-9]{32}_[0-9a-f]{8}\b", ANY),
    format(SecretKind::Service, r"\bNRAK-[A-Z0-9]{27}\b", ANY),
    format(SecretKind::Service, r"\bdp\.pt\.[A-Za-z0-9]{40,}", MIXED),
    format(
        SecretKind::Jwt,
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,}",
        Verify::Once(jwt),
    ),
    format(
        SecretKind::PrivateKey,
        concat!(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-[^-]){64,}",
            r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
        Verify::Once(pem),
    ),
    format(SecretKind::PrivateKey, r"\bAGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}\b", ANY),
    format(
        SecretKind::UrlPassword,
        r#"\b[a-z][a-z0-9+]{1,20}://[^\s/:@"'<>]{1,64}:[^\s/:@"'<>]{6,128}@[A-Za-z0-9.-]+[A-Za-z0-9](?:[^A-Za-z0-9.-]|$)"#,
        Verify::Each(url_password),
    ),
    format(
        SecretKind::Assigned,
        concat!(
            r"(?i:api_?-?key|secret_?-?key|client_?-?secret|access_?-?token|auth_?-?token|passw(?:or)?d|\bbearer)",
            r#"["']?[ \t]{0,3}(?:[=:]|=>|:=| )[ \t]{0,3}["']?[A-Za-z0-9+/=_.~-]{16,}(?:[^A-Za-z0-9+/=_.~(\[-]|$)"#,
        ),
        Verify::Each(assigned),
    ),
];

#[expect(clippy::unnecessary_wraps, reason = "one of the verifiers, which may say no")]
fn whole(text: &str) -> Option<Range<usize>> {
    Some(0..text.len())
}

/// What follows the prefix of a token: from its last sign on that ends a prefix, if it is long enough.
fn body(token: &str) -> &str {
    let prefix = token.get(..token.len().min(16)).unwrap_or_default();
    let end = prefix.rfind(['-', '_', '.', '=', ':']).map_or(0, |end| end + 1);
    token.get(end..).unwrap_or(token)
}

fn mixed(token: &str) -> Option<Range<usize>> {
    is_random(body(token), Draw::Mixed).then(|| whole(token))?
}

fn any(token: &str) -> Option<Range<usize>> {
    is_random(body(token), Draw::Any).then(|| whole(token))?
}

/// Tokens whose last six characters are the CRC-32 of the thirty before, in base 62.
fn checked(token: &str) -> Option<Range<usize>> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (_, body) = token.split_once('_')?;
    let (random, sum) = body.split_at_checked(30)?;
    let mut stated: u64 = 0;
    for byte in sum.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        stated = stated * 62 + u64::try_from(digit).ok()?;
    }
    (stated == u64::from(crc32(random.as_bytes()))).then(|| whole(token))?
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

/// A workspace's token is its numbers, and then what is secret of it.
fn slack(token: &str) -> Option<Range<usize>> {
    let (_, random) = token.rsplit_once('-')?;
    is_random(random, Draw::Mixed).then(|| whole(token))?
}

/// A bot's token begins with the number of its user, in base 64.
fn discord(token: &str) -> Option<Range<usize>> {
    let (user, _) = token.split_once('.')?;
    let number = base64(user)?;
    let is_number = number.len() >= 16 && number.iter().all(u8::is_ascii_digit);
    (is_number && !is_placeholder(token)).then(|| whole(token))?
}

/// A web token begins with a JSON object that names its algorithm.
fn jwt(token: &str) -> Option<Range<usize>> {
    /// The signature of the token in every tutorial.
    const TUTORIAL: &str = "SflKxwRJSMeKKF2QT4fw";
    let mut parts = token.split('.');
    let header = base64(parts.next()?)?;
    let _claims = parts.next()?;
    let signature = parts.next()?;
    let names_algorithm = memchr::memmem::find(&header, b"\"alg\"").is_some();
    let real = !signature.starts_with(TUTORIAL) && is_random(signature, Draw::Mixed);
    (names_algorithm && real).then(|| whole(token))?
}

fn pem(block: &str) -> Option<Range<usize>> {
    let (_, body) = block.rsplit_once("-----")?;
    let body = body.replace("\\n", "").replace("\\r", "");
    is_random(&body, Draw::Mixed).then(|| whole(block))?
}

/// A value that was given to a name, up to the character that ends it.
fn assigned(text: &str) -> Option<Range<usize>> {
    const VALUE_CHARS_MAX: usize = 256;
    let is_value = |ch: char| ch.is_ascii_alphanumeric() || "+/=_.~-".contains(ch);
    let end = text.trim_end_matches(|ch| !is_value(ch)).len();
    let text = text.get(..end)?;
    let start = text.rfind([' ', '\t', '"', '\'', ':', '>']).map_or(0, |place| place + 1);
    let value = text.get(start..)?;
    let value = match value.split_once('=') {
        // The sign that gives the value, as opposed to one that pads it.
        Some((name, value)) if value.trim_end_matches('=').len() >= 16 && !name.is_empty() => value,
        _ => value.trim_start_matches('='),
    };
    let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let real = (16..=VALUE_CHARS_MAX).contains(&value.len()) && has_digit && is_random(value, Draw::Mixed);
    real.then(|| end - value.len()..end)
}

fn url_password(text: &str) -> Option<Range<usize>> {
    const LOCAL: [&str; 5] = ["localhost", "127.", "0.0.0.0", "example", "host"];
    let (front, host) = text.rsplit_once('@')?;
    let start = front.rfind(':')? + 1;
    let password = front.get(start..)?;
    let made_up = LOCAL.iter().any(|local| host.starts_with(local)) || host.contains("example.");
    let real = !made_up && is_random(password, Draw::Mixed);
    real.then_some(start..front.len())
}

/// Decodes base 64, of either alphabet, without its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use crate::guards::testing::{findings, follow, guard, masking, refusal, same_however_split};
    use crate::guards::{Check, GuardSet, GuardSpec};

    use super::*;

    static SETS: LazyLock<[GuardSet; 2]> = LazyLock::new(|| [guard(secrets()), masking(secrets())]);

    const GITHUB: &str = "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";

    fn secrets() -> Check {
        Check::Secrets(SecretsSpec::default())
    }

    #[test]
    fn every_format_is_an_expression() {
        for format in FORMATS {
            let needle = Needle::of_format(0, Choice::First, Finding::Empty, format.regex, format.verify);
            assert!(needle.is_some(), "{}", format.regex);
        }
    }

    #[test]
    fn a_checksum_tells_a_token_from_one_that_only_looks_like_it() {
        let [set, _] = &*SETS;
        assert_eq!(findings(set, GITHUB), [Finding::Secret(SecretKind::Forge)]);
        assert_eq!(findings(set, &GITHUB.replace('z', "y")), []);
    }

    #[test]
    fn the_mask_covers_the_secret_and_nothing_else() {
        let [_, set] = &*SETS;
        for (before, secret, after) in [
            ("the token is ", GITHUB, ", keep it"),
            ("api_key = \"", "8fK2pQx9LmR4vT7wZ1cB5nD3", "\"\n"),
            ("postgres://app:", "8fK2pQx9LmR4vT7w", "@db.acme.internal/x"),
            ("密钥：", "AKIAQJXZKWVPNMTRHDLB", "。"),
        ] {
            let text = format!("{before}{secret}{after}");
            let outcome = follow(set, [text.as_str()]);
            let [mask] = outcome.masks.as_slice() else {
                panic!("{text}: {outcome:?}");
            };
            let masked = &text[mask.span.start.byte..mask.span.end.byte];
            assert_eq!(masked, secret);
            assert_eq!(mask.span.start.char, before.chars().count());
        }
    }

    #[test]
    fn a_private_key_is_masked_to_its_end() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
        let block = format!(
            "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----",
            format!("{line}\n").repeat(20)
        );
        let text = format!("Here:\n{block}\nThat was it.");
        let [_, set] = &*SETS;
        let outcome = follow(set, [text.as_str()]);
        let masked: Vec<_> =
            outcome.masks.iter().map(|mask| &text[mask.span.start.byte..mask.span.end.byte]).collect();
        assert_eq!(masked, [block.as_str()]);
    }

    /// G1 holds what was shown; this holds back what must not be: no character of a key leaves before the key is known.
    #[test]
    fn nothing_of_a_key_is_shown_before_it_is_known() {
        let [set, _] = &*SETS;
        let mut state = set.start();
        let text = format!("so {GITHUB}.");
        let mut shown = 0;
        for (start, ch) in text.char_indices() {
            let verdict = state.feed(set, &text[start..start + ch.len_utf8()]);
            if verdict.stop().is_some() {
                assert!(shown <= 3, "{shown} bytes were shown");
                return;
            }
            shown = state.open_from(set).unwrap_or_else(|| state.at()).byte;
        }
        panic!("the key was not found");
    }

    #[test]
    fn a_kind_can_be_chosen_but_not_none() {
        let only = |kinds| Check::Secrets(SecretsSpec { kinds: Some(kinds) });
        assert_eq!(findings(&guard(only(vec![SecretKind::Aws])), GITHUB), []);
        assert!(refusal(GuardSpec::new(only(vec![]))).contains("`kinds` is empty"));
    }

    #[test]
    fn what_is_too_long_to_be_masked_whole_stops_the_attempt() {
        let [_, set] = &*SETS;
        let text = format!("sk-ant-api03-{}", "8fK2pQx9LmR4vT7wZ1cB".repeat(300));
        let outcome = follow(set, [text.as_str()]);
        let [hit] = outcome.hits.as_slice() else {
            panic!("{outcome:?}");
        };
        assert!(hit.stops() && !hit.masked);
        same_however_split(set, &text, &[4_000, 4_095, 4_096, 4_097]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(GITHUB),
                    Just("sk-ant-api03-8fK2pQx9LmR4vT7wZ1cB5nD3hJ6gF0sA2qW4eR7t"),
                    Just("api_key: 8fK2pQx9LmR4vT7wZ1cB "),
                    Just("postgres://app:8fK2pQx9LmR4vT7w@db.acme.internal "),
                    Just("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.8fK2pQx9LmR4vT7wZ1cB5nD3"),
                    Just("AKIAQJXZKWVPNMTRHDLB"),
                    Just("sk-"),
                    Just(" "),
                    Just("é"),
                    Just("="),
                    Just("-----BEGIN PRIVATE KEY-----\n"),
                ],
                0..6,
            ),
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let text = parts.concat();
            for set in &*SETS {
                same_however_split(set, &text, &cuts);
            }
        }
    }
}
