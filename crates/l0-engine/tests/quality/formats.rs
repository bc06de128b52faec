//! Credentials and personal data, generated from the formats that their issuers publish, checksums included.

use l0_engine::guards::{PiiKind, SecretKind};

use super::draw::Draw;

const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE64URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BECH32: &str = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LARGE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// How a credential is made.
pub(crate) struct Secret {
    pub(crate) kind: SecretKind,
    pub(crate) name: &'static str,
    pub(crate) make: fn(&mut Draw) -> String,
    /// Whether a character changed anywhere makes it invalid.
    pub(crate) checked: bool,
}

const fn secret(kind: SecretKind, name: &'static str, make: fn(&mut Draw) -> String) -> Secret {
    Secret { kind, name, make, checked: false }
}

const fn checked(kind: SecretKind, name: &'static str, make: fn(&mut Draw) -> String) -> Secret {
    Secret { kind, name, make, checked: true }
}

pub(crate) const SECRETS: &[Secret] = &[
    secret(SecretKind::Aws, "AWS key id", |draw| {
        format!("{}{}", draw.pick(&["AKIA", "ASIA"]), draw.chars(BASE32, 16))
    }),
    secret(SecretKind::Aws, "AWS secret key", |draw| {
        format!("aws_secret_access_key = {}", draw.chars(BASE64, 40))
    }),
    secret(SecretKind::Azure, "Azure storage", |draw| format!("AccountKey={}==", draw.chars(BASE64, 86))),
    secret(SecretKind::Google, "Google API key", |draw| format!("AIza{}", draw.chars(BASE64URL, 35))),
    secret(SecretKind::Google, "Google access token", |draw| {
        format!("ya29.a0{}", draw.chars(BASE64URL, 160))
    }),
    secret(SecretKind::Google, "Google client secret", |draw| {
        format!("GOCSPX-{}", draw.chars(BASE64URL, 28))
    }),
    checked(SecretKind::Forge, "GitHub token", |draw| {
        let prefix = *draw.pick(&["ghp", "gho", "ghu", "ghs", "ghr"]);
        summed(prefix, draw)
    }),
    secret(SecretKind::Forge, "GitHub fine-grained", |draw| {
        format!("github_pat_{}_{}", draw.chars(BASE62, 22), draw.chars(BASE62, 59))
    }),
    secret(SecretKind::Forge, "GitLab token", |draw| format!("glpat-{}", draw.chars(BASE64URL, 20))),
    checked(SecretKind::Registry, "npm token", |draw| summed("npm", draw)),
    secret(SecretKind::Registry, "PyPI token", |draw| {
        format!("pypi-AgEIcHlwaS5vcmc{}", draw.chars(BASE64URL, 150))
    }),
    secret(SecretKind::Registry, "Rust registry token", |draw| format!("cio{}", draw.chars(BASE62, 32))),
    secret(SecretKind::Registry, "Docker token", |draw| format!("dckr_pat_{}", draw.chars(BASE64URL, 27))),
    secret(SecretKind::Model, "OpenAI key", |draw| {
        format!("sk-{}T3BlbkFJ{}", draw.chars(BASE62, 20), draw.chars(BASE62, 20))
    }),
    secret(SecretKind::Model, "OpenAI project key", |draw| {
        format!("sk-proj-{}T3BlbkFJ{}", draw.chars(BASE64URL, 74), draw.chars(BASE64URL, 74))
    }),
    secret(SecretKind::Model, "Anthropic key", |draw| {
        format!("sk-ant-api03-{}AA", draw.chars(BASE64URL, 93))
    }),
    secret(SecretKind::Model, "OpenRouter key", |draw| format!("sk-or-v1-{}", draw.hex(64))),
    secret(SecretKind::Model, "DeepSeek key", |draw| format!("sk-{}", draw.hex(32))),
    secret(SecretKind::Model, "Groq key", |draw| format!("gsk_{}", draw.chars(BASE62, 52))),
    secret(SecretKind::Model, "xAI key", |draw| format!("xai-{}", draw.chars(BASE62, 80))),
    secret(SecretKind::Model, "Hugging Face token", |draw| format!("hf_{}", draw.chars(LETTERS, 34))),
    secret(SecretKind::Model, "Replicate token", |draw| format!("r8_{}", draw.chars(BASE62, 37))),
    secret(SecretKind::Model, "Perplexity key", |draw| format!("pplx-{}", draw.chars(BASE62, 48))),
    secret(SecretKind::Model, "LangSmith key", |draw| format!("lsv2_pt_{}_{}", draw.hex(32), draw.hex(10))),
    secret(SecretKind::Chat, "Slack bot token", |draw| {
        format!("xoxb-{}-{}-{}", draw.digits(12), draw.digits(13), draw.chars(BASE62, 24))
    }),
    secret(SecretKind::Chat, "Slack webhook", |draw| {
        format!(
            "https://hooks.slack.com/services/T{}/B{}/{}",
            draw.chars(LARGE, 10),
            draw.chars(LARGE, 10),
            draw.chars(BASE62, 24)
        )
    }),
    secret(SecretKind::Chat, "Discord token", |draw| {
        let user = format!("{}{}", draw.between(1, 9), draw.digits(17));
        format!("{}.{}.{}", base64url(user.as_bytes()), draw.chars(BASE64URL, 6), draw.chars(BASE64URL, 38))
    }),
    secret(SecretKind::Chat, "Telegram token", |draw| {
        format!("{}{}:AA{}", draw.between(1, 9), draw.digits(9), draw.chars(BASE64URL, 33))
    }),
    secret(SecretKind::Payment, "Stripe key", |draw| {
        format!("{}_live_{}", draw.pick(&["sk", "rk"]), draw.chars(BASE62, 24))
    }),
    secret(SecretKind::Payment, "Stripe webhook secret", |draw| format!("whsec_{}", draw.chars(BASE62, 32))),
    secret(SecretKind::Payment, "Square token", |draw| format!("sq0atp-{}", draw.chars(BASE64URL, 22))),
    secret(SecretKind::Payment, "Shopify token", |draw| format!("shpat_{}", draw.hex(32))),
    secret(SecretKind::Mail, "SendGrid key", |draw| {
        format!("SG.{}.{}", draw.chars(BASE64URL, 22), draw.chars(BASE64URL, 43))
    }),
    secret(SecretKind::Mail, "Mailgun key", |draw| format!("key-{}", draw.hex(32))),
    secret(SecretKind::Mail, "Mailchimp key", |draw| format!("{}-us{}", draw.hex(32), draw.between(1, 21))),
    secret(SecretKind::Mail, "Twilio key", |draw| format!("SK{}", draw.hex(32))),
    secret(SecretKind::Service, "DigitalOcean token", |draw| format!("dop_v1_{}", draw.hex(64))),
    secret(SecretKind::Service, "Databricks token", |draw| format!("dapi{}", draw.hex(32))),
    secret(SecretKind::Service, "Vault token", |draw| format!("hvs.{}", draw.chars(BASE64URL, 90))),
    secret(SecretKind::Service, "Linear key", |draw| format!("lin_api_{}", draw.chars(BASE62, 40))),
    secret(SecretKind::Service, "Notion token", |draw| format!("ntn_{}", draw.chars(BASE62, 46))),
    secret(SecretKind::Service, "Figma token", |draw| format!("figd_{}", draw.chars(BASE64URL, 40))),
    secret(SecretKind::Service, "Postman key", |draw| format!("PMAK-{}-{}", draw.hex(24), draw.hex(34))),
    secret(SecretKind::Service, "Grafana token", |draw| {
        format!("glsa_{}_{}", draw.chars(BASE62, 32), draw.hex(8))
    }),
    secret(SecretKind::Service, "New Relic key", |draw| format!("NRAK-{}", draw.chars(LARGE, 27))),
    secret(SecretKind::Jwt, "web token", |draw| {
        let header =
            *draw.pick(&[r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"typ":"JWT","alg":"RS256","kid":"k1"}"#]);
        let claims = format!(r#"{{"sub":"{}","iat":17{},"scope":"read"}}"#, draw.digits(6), draw.digits(8));
        let signature = draw.pick(&[43, 86, 342]).to_owned();
        let signature = draw.chars(BASE64URL, signature);
        format!("{}.{}.{signature}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
    }),
    secret(SecretKind::PrivateKey, "PEM", |draw| {
        let label = *draw.pick(&["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "]);
        let lines: Vec<String> = (0..draw.between(2, 40)).map(|_| draw.chars(BASE64, 64)).collect();
        let glue = *draw.pick(&["\n", "\\n", "\r\n"]);
        let body = lines.join(glue);
        format!("-----BEGIN {label}PRIVATE KEY-----{glue}{body}{glue}-----END {label}PRIVATE KEY-----")
    }),
    secret(SecretKind::PrivateKey, "age key", |draw| format!("AGE-SECRET-KEY-1{}", draw.chars(BECH32, 58))),
    secret(SecretKind::UrlPassword, "password in a URL", |draw| {
        let scheme = *draw.pick(&["postgres", "mysql", "redis", "amqp", "mongodb+srv", "https"]);
        let length = draw.between(12, 24);
        format!("{scheme}://app:{}@db-{}.acme.internal:5432/app", draw.chars(BASE62, length), draw.below(9))
    }),
    secret(SecretKind::Assigned, "value of a secret", |draw| {
        let name = *draw.pick(&[
            "api_key = ",
            "apiKey: ",
            "\"client_secret\": \"",
            "DB_PASSWORD=",
            "Authorization: Bearer ",
            "'access_token' => '",
            "SECRET_KEY=\"",
            "auth-token: ",
        ]);
        let length = draw.between(24, 48);
        let value = draw.chars(BASE62, length);
        let quote = name.trim_end().chars().last().filter(|last| matches!(last, '"' | '\''));
        format!("{name}{value}{}", quote.map(String::from).unwrap_or_default())
    }),
];

fn summed(prefix: &str, draw: &mut Draw) -> String {
    let random = draw.chars(BASE62, 30);
    let mut sum = crc32(random.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62.as_bytes()[usize::try_from(sum % 62).unwrap_or_default()];
        sum /= 62;
    }
    format!("{prefix}_{random}{}", String::from_utf8_lossy(&digits))
}

/// The cyclic redundancy check of Ethernet, zip and PNG, by its table.
fn crc32(bytes: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|index| {
            (0..8).fold(index, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
        })
        .collect();
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        crc >> 8 ^ table[usize::try_from(crc & 0xff).unwrap_or_default() ^ usize::from(*byte)]
    });
    crc ^ u32::MAX
}

fn base64url(bytes: &[u8]) -> String {
    let alphabet = BASE64URL.as_bytes();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(alphabet[bits >> (18 - 6 * place) & 63]));
        }
    }
    text
}

/// How a datum about a person is made, and how the same looks when it is none.
pub(crate) struct Datum {
    pub(crate) kind: PiiKind,
    pub(crate) name: &'static str,
    pub(crate) make: fn(&mut Draw) -> String,
    /// The same with its checksum, or the rule it has to keep, broken.
    pub(crate) mutate: fn(&mut Draw) -> String,
}

pub(crate) const PII: &[Datum] = &[
    Datum { kind: PiiKind::Email, name: "mail address", make: email, mutate: not_email },
    Datum { kind: PiiKind::Phone, name: "telephone, international", make: phone, mutate: not_phone },
    Datum { kind: PiiKind::Phone, name: "telephone, North America", make: american, mutate: not_american },
    Datum { kind: PiiKind::Iban, name: "bank account", make: iban, mutate: not_iban },
    Datum { kind: PiiKind::Card, name: "payment card", make: card, mutate: not_card },
    Datum { kind: PiiKind::Ssn, name: "social security", make: ssn, mutate: not_ssn },
];

fn email(draw: &mut Draw) -> String {
    let first = *draw.pick(&["anna", "b.miller", "jose", "li-wei", "olga", "Tom.Brown", "x_y"]);
    let host = *draw.pick(&["acme", "gmail", "mail.uni-ulm", "post", "corp.initech"]);
    let top = *draw.pick(&["com", "de", "co.uk", "org", "technology"]);
    format!("{first}{}@{host}.{top}", draw.below(100))
}

fn not_email(draw: &mut Draw) -> String {
    let words = [
        "react@18.3.1",
        "user@localhost",
        "me@host",
        "a@b",
        "info@acme.com",
        "jane@example.com",
        "x@.com",
        "@acme.com",
    ];
    (*draw.pick(&words)).to_owned()
}

fn phone(draw: &mut Draw) -> String {
    let (code, groups): (&str, &[usize]) = *draw.pick(&[
        ("44", &[2, 4, 4][..]),
        ("49", &[2, 3, 4][..]),
        ("33", &[1, 2, 2, 2, 2][..]),
        ("81", &[1, 4, 4][..]),
        ("91", &[5, 5][..]),
        ("351", &[3, 3, 3][..]),
        ("86", &[3, 4, 4][..]),
        ("7", &[3, 3, 2, 2][..]),
    ]);
    let sign = *draw.pick(&[" ", "-", ".", ""]);
    // A number that counts up or repeats a digit is not drawn: it is what made-up numbers look like.
    let mut text = format!("+{code}");
    let mut lead = true;
    for length in groups {
        text.push_str(if sign.is_empty() && *length > 4 { " " } else { sign });
        let body =
            format!("{}{}", if lead { *draw.pick(&["2", "3", "6", "7"]) } else { "" }, draw.digits(*length));
        text.push_str(&body[..*length]);
        lead = false;
    }
    text
}

fn not_phone(draw: &mut Draw) -> String {
    match draw.below(4) {
        0 => format!("+0{}", draw.digits(9)),
        1 => format!("+{}", draw.digits(5)),
        2 => format!("+44{}", draw.digits(18)),
        _ => "+1 (555) 555-0143".to_owned(),
    }
}

fn american(draw: &mut Draw) -> String {
    let area = format!("{}{}{}", draw.between(2, 9), draw.between(0, 8), draw.between(2, 9));
    let exchange = format!("{}{}{}", draw.between(2, 9), draw.between(2, 8), draw.between(2, 9));
    let exchange = if exchange == "555" { "556".to_owned() } else { exchange };
    let line = draw.digits(4);
    match draw.below(4) {
        0 => format!("({area}) {exchange}-{line}"),
        1 => format!("{area}-{exchange}-{line}"),
        2 => format!("{area}.{exchange}.{line}"),
        _ => format!("+1 {area} {exchange} {line}"),
    }
}

fn not_american(draw: &mut Draw) -> String {
    match draw.below(4) {
        0 => format!("{}-{}-{}", draw.digits(2), draw.digits(3), draw.digits(4)),
        1 => format!("1{}-{}-{}", draw.digits(2), draw.digits(3), draw.digits(4)),
        2 => format!("212-0{}-{}", draw.digits(2), draw.digits(4)),
        _ => format!("(212) 555-01{}", draw.digits(2)),
    }
}

fn iban(draw: &mut Draw) -> String {
    let account = match draw.below(5) {
        0 => ("DE", draw.digits(18)),
        1 => ("GB", format!("{}{}", draw.chars("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4), draw.digits(14))),
        2 => ("FR", format!("{}{}{}", draw.digits(10), draw.chars(LARGE, 11), draw.digits(2))),
        3 => ("NL", format!("{}{}", draw.chars("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4), draw.digits(10))),
        _ => (
            "MT",
            format!(
                "{}{}{}",
                draw.chars("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 4),
                draw.digits(5),
                draw.chars(LARGE, 18)
            ),
        ),
    };
    let number = format!("{}{:02}{}", account.0, 98 - remainder(account.0, &account.1), account.1);
    if draw.below(2) == 0 {
        return number;
    }
    let groups: Vec<&str> =
        (0..number.len()).step_by(4).map(|at| &number[at..number.len().min(at + 4)]).collect();
    groups.join(" ")
}

/// What is left of a bank account's number, with 00 as its check digits, by 97.
fn remainder(country: &str, account: &str) -> u32 {
    let text = format!("{account}{country}00");
    let numbers: String = text.chars().map(|ch| ch.to_digit(36).unwrap_or_default().to_string()).collect();
    numbers.chars().fold(0, |rest, digit| (rest * 10 + digit.to_digit(10).unwrap_or_default()) % 97)
}

fn not_iban(draw: &mut Draw) -> String {
    let number = iban(draw);
    change_digit(draw, &number, 4)
}

fn card(draw: &mut Draw) -> String {
    let (prefix, length) = *draw.pick(&[
        ("4", 16),
        ("52", 16),
        ("2345", 16),
        ("37", 15),
        ("6011", 16),
        ("36", 14),
        ("3530", 16),
    ]);
    let body = draw.digits(length - 1 - prefix.len());
    let number = format!("{prefix}{body}");
    let sum = luhn(&format!("{number}0"));
    let number = format!("{number}{}", (10 - sum % 10) % 10);
    let grouped = |sizes: &[usize], sign: &str| {
        let mut at = 0;
        let groups: Vec<&str> = sizes
            .iter()
            .map(|size| {
                at += size;
                &number[at - size..at]
            })
            .collect();
        groups.join(sign)
    };
    match (length, draw.below(3)) {
        (16, 0) => grouped(&[4, 4, 4, 4], " "),
        (16, 1) => grouped(&[4, 4, 4, 4], "-"),
        (15, 0) => grouped(&[4, 6, 5], " "),
        (14, 0) => grouped(&[4, 6, 4], " "),
        _ => number,
    }
}

fn luhn(number: &str) -> u32 {
    let digits = number.chars().rev().filter_map(|ch| ch.to_digit(10));
    let weighed = digits
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 });
    weighed.sum()
}

fn not_card(draw: &mut Draw) -> String {
    let number = card(draw);
    change_digit(draw, &number, 0)
}

/// Any sixteen digits, of which one in ten has the right check digit by chance, and fewer a network's prefix.
pub(crate) fn sixteen_digits(draw: &mut Draw) -> String {
    format!("{}{}", draw.between(1, 9), draw.digits(15))
}

fn ssn(draw: &mut Draw) -> String {
    format!(
        "{}{}-{:02}-{:04}",
        draw.between(1, 5),
        draw.digits(2),
        draw.between(1, 99),
        draw.between(1, 9_999)
    )
}

fn not_ssn(draw: &mut Draw) -> String {
    match draw.below(4) {
        0 => format!("000-{:02}-{:04}", draw.between(1, 99), draw.between(1, 9_999)),
        1 => format!("9{}-{:02}-{:04}", draw.digits(2), draw.between(1, 99), draw.between(1, 9_999)),
        2 => format!("{}-00-{:04}", draw.between(100, 665), draw.between(1, 9_999)),
        _ => format!("{}-{:02}-0000", draw.between(100, 665), draw.between(1, 99)),
    }
}

/// Changes one digit from place `from` on, which breaks a checksum.
fn change_digit(draw: &mut Draw, text: &str, from: usize) -> String {
    let places: Vec<usize> = text
        .char_indices()
        .filter(|(place, ch)| *place >= from && ch.is_ascii_digit())
        .map(|(place, _)| place)
        .collect();
    let place = *draw.pick(&places);
    let digit = text[place..].chars().next().and_then(|ch| ch.to_digit(10)).unwrap_or_default();
    let other = (digit + u32::try_from(draw.between(1, 9)).unwrap_or(1)) % 10;
    format!("{}{other}{}", &text[..place], &text[place + 1..])
}

/// Puts `token` where such things stand in answers.
pub(crate) fn embed(draw: &mut Draw, token: &str) -> String {
    let before = draw.between(3, 40);
    let before = draw.prose(before);
    let after = draw.between(3, 40);
    let after = draw.prose(after);
    match draw.below(8) {
        0 => format!("{before} It is {token}. {after}"),
        1 => format!("{before}\n\n```sh\nexport VALUE={token}\n```\n\n{after}"),
        2 => format!("{{\"text\": \"{before}\", \"value\": \"{}\"}}", token.replace('\n', "\\n")),
        3 => format!("{before} 值是{token}。{after}"),
        4 => format!("{before} (`{token}`) {after}"),
        5 => format!("{before}\n- {token}\n- {after}"),
        6 => format!("| a | b |\n|---|---|\n| {token} | {before} |\n"),
        _ => format!("{before} {token}"),
    }
}
