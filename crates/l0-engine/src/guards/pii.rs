//! Data about persons: told from what only looks like it by checksums and by the rules of its issuers.
//!
//! What is published as an example, and mailboxes of roles and machines, name nobody.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::hit::Finding;
use super::search::{Choice, Needle, Verify};
use super::spec::Problem;

/// Which data must not occur.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PiiSpec {
    /// The kinds looked for.
    pub kinds: Vec<PiiKind>,
}

impl Default for PiiSpec {
    fn default() -> Self {
        let mut kinds: Vec<_> = FORMATS.iter().map(|format| format.kind).collect();
        kinds.dedup();
        Self { kinds }
    }
}

impl PiiSpec {
    pub(super) fn compile(&self, rule: u16, choice: Choice) -> Result<Vec<Needle>, Problem> {
        if self.kinds.is_empty() {
            return Err(Problem::new("kinds", "is empty; allowed are email, phone, iban, card and ssn"));
        }
        let formats = FORMATS.iter().filter(|format| self.kinds.contains(&format.kind));
        let needles = formats.filter_map(|format| {
            let verify = Verify::Each(format.verify);
            Needle::of_format(rule, choice, Finding::Pii(format.kind), format.regex, verify)
        });
        Ok(needles.collect())
    }
}

/// A kind of data about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PiiKind {
    /// A person's mail address.
    Email,
    /// A telephone number, with its country code or as North America writes it.
    Phone,
    /// An international bank account number.
    Iban,
    /// A payment card's number.
    Card,
    /// A social security number of the United States.
    Ssn,
}

impl PiiKind {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Email => "a mail address",
            Self::Phone => "a telephone number",
            Self::Iban => "a bank account number",
            Self::Card => "a card number",
            Self::Ssn => "a social security number",
        }
    }
}

struct Format {
    kind: PiiKind,
    regex: &'static str,
    verify: fn(&str) -> Option<Range<usize>>,
}

const FORMATS: &[Format] = &[
    Format {
        kind: PiiKind::Email,
        regex: r"\b[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}\b",
        verify: email,
    },
    Format {
        kind: PiiKind::Phone,
        regex: r"(?:^|[^0-9A-Za-z_+])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,6}\b",
        verify: international_phone,
    },
    Format {
        kind: PiiKind::Phone,
        regex: r"(?:^|[^0-9A-Za-z_.+-])(?:\(\d{3}\) ?\d{3}-|\d{3}-\d{3}-|\d{3}\.\d{3}\.)\d{4}\b",
        verify: american_phone,
    },
    Format {
        kind: PiiKind::Iban,
        regex: r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        verify: iban,
    },
    Format {
        kind: PiiKind::Card,
        regex: r"(?:^|[^0-9A-Za-z_.,-])(?:\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{13,19})\b",
        verify: card,
    },
    Format { kind: PiiKind::Ssn, regex: r"(?:^|[^0-9A-Za-z_.-])\d{3}-\d{2}-\d{4}\b", verify: ssn },
];

fn email(text: &str) -> Option<Range<usize>> {
    /// Names of roles and machines.
    const ROLES: [&str; 28] = [
        "abuse",
        "admin",
        "billing",
        "careers",
        "contact",
        "deploy",
        "ec2-user",
        "feedback",
        "git",
        "hello",
        "help",
        "hostmaster",
        "info",
        "jobs",
        "legal",
        "mailer-daemon",
        "no-reply",
        "noreply",
        "postmaster",
        "press",
        "privacy",
        "root",
        "sales",
        "security",
        "support",
        "ubuntu",
        "user",
        "webmaster",
    ];
    const CHARS_MAX: usize = 254;
    const LOCAL_CHARS_MAX: usize = 64;
    if text.len() > CHARS_MAX {
        return None;
    }
    let (local, domain) = text.rsplit_once('@')?;
    let labels_fit =
        domain.split('.').all(|label| label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-'));
    let local_fits = local.len() <= LOCAL_CHARS_MAX && !local.ends_with('.') && !local.contains("..");
    let lower = text.to_ascii_lowercase();
    let (local, domain) = lower.rsplit_once('@')?;
    let personal = !ROLES.contains(&local) && !local.starts_with("your") && !is_reserved(domain);
    (labels_fit && local_fits && personal).then_some(0..text.len())
}

/// Whether a domain is one that the standards or all the world keep for examples.
fn is_reserved(domain: &str) -> bool {
    const TOP: [&str; 5] = ["example", "test", "invalid", "localhost", "local"];
    const SECOND: [&str; 6] = ["example", "yourdomain", "yourcompany", "mydomain", "domain", "company"];
    let mut labels = domain.rsplit('.');
    let top = labels.next().unwrap_or_default();
    let second = labels.next().unwrap_or_default();
    TOP.contains(&top) || SECOND.contains(&second)
}

fn international_phone(text: &str) -> Option<Range<usize>> {
    let start = text.find('+')?;
    let number = text.get(start..)?;
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let opened = number.matches('(').count();
    let balanced = opened == number.matches(')').count() && opened <= 1;
    let fits = (9..=15).contains(&digits.len()) && is_calling_code(&digits);
    let fictional = digits.starts_with('1') && (digits.len() != 11 || !is_american(digits.get(1..)?));
    (balanced && fits && !fictional && is_varied(&digits)).then_some(start..text.len())
}

/// Whether a number begins with a country's code.
fn is_calling_code(digits: &str) -> bool {
    let code = |length| digits.get(..length).and_then(|code| code.parse::<u16>().ok());
    let two = matches!(
        code(2),
        Some(
            20 | 27 | 30..=34 | 36 | 39..=41 | 43..=49 | 51..=58 | 60..=66 | 81 | 82 | 84 | 86 | 90..=95 | 98,
        )
    );
    let three = matches!(
        code(3),
        Some(
            211..=213
            | 216
            | 218
            | 220..=269
            | 290..=299
            | 350..=359
            | 370..=389
            | 420..=423
            | 500..=509
            | 590..=599
            | 670..=692
            | 850..=859
            | 880
            | 886
            | 960..=979
            | 992..=998,
        )
    );
    matches!(code(1), Some(1 | 7)) || two || three
}

fn american_phone(text: &str) -> Option<Range<usize>> {
    let start = text.find(|ch: char| ch == '(' || ch.is_ascii_digit())?;
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (is_american(&digits) && is_varied(&digits)).then_some(start..text.len())
}

/// Whether ten digits can be a number of the North American plan, and one that is not kept for fiction.
fn is_american(digits: &str) -> bool {
    let (Some(area), Some(exchange), Some(line)) = (digits.get(..3), digits.get(3..6), digits.get(6..))
    else {
        return false;
    };
    let assignable = |part: &str| part.starts_with(|ch| ('2'..='9').contains(&ch)) && !part.ends_with("11");
    let fictional = exchange == "555" && line.starts_with("01");
    digits.len() == 10 && assignable(area) && assignable(exchange) && !fictional
}

/// Whether a number does not count up, nor repeat one digit, as made-up ones do.
fn is_varied(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    let steps = |step: u8| {
        let pairs = bytes.iter().zip(bytes.iter().skip(1));
        pairs.filter(|(left, right)| **right == b'0' + (**left - b'0' + step) % 10).count()
    };
    [0, 1, 9].into_iter().all(|step| steps(step) * 10 < digits.len() * 6)
}

fn iban(text: &str) -> Option<Range<usize>> {
    /// How long the numbers of each country are.
    const LENGTHS: &[(&str, usize)] = &[
        ("AD", 24),
        ("AE", 23),
        ("AL", 28),
        ("AT", 20),
        ("AZ", 28),
        ("BA", 20),
        ("BE", 16),
        ("BG", 22),
        ("BH", 22),
        ("BR", 29),
        ("BY", 28),
        ("CH", 21),
        ("CR", 22),
        ("CY", 28),
        ("CZ", 24),
        ("DE", 22),
        ("DK", 18),
        ("DO", 28),
        ("EE", 20),
        ("EG", 29),
        ("ES", 24),
        ("FI", 18),
        ("FO", 18),
        ("FR", 27),
        ("GB", 22),
        ("GE", 22),
        ("GI", 23),
        ("GL", 18),
        ("GR", 27),
        ("GT", 28),
        ("HR", 21),
        ("HU", 28),
        ("IE", 22),
        ("IL", 23),
        ("IQ", 23),
        ("IS", 26),
        ("IT", 27),
        ("JO", 30),
        ("KW", 30),
        ("KZ", 20),
        ("LB", 28),
        ("LC", 32),
        ("LI", 21),
        ("LT", 20),
        ("LU", 20),
        ("LV", 21),
        ("MC", 27),
        ("MD", 24),
        ("ME", 22),
        ("MK", 19),
        ("MR", 27),
        ("MT", 31),
        ("MU", 30),
        ("NL", 18),
        ("NO", 15),
        ("PK", 24),
        ("PL", 28),
        ("PS", 29),
        ("PT", 25),
        ("QA", 29),
        ("RO", 24),
        ("RS", 22),
        ("SA", 24),
        ("SC", 31),
        ("SE", 24),
        ("SI", 19),
        ("SK", 24),
        ("SM", 27),
        ("TN", 24),
        ("TR", 26),
        ("UA", 29),
        ("VA", 22),
        ("VG", 24),
        ("XK", 20),
    ];
    /// The numbers that the standard and every tutorial give as examples.
    const PUBLISHED: [&str; 4] = [
        "GB82WEST12345698765432",
        "GB29NWBK60161331926819",
        "DE89370400440532013000",
        "FR1420041010050500013M02606",
    ];
    let number: String = text.chars().filter(|ch| *ch != ' ').collect();
    let country = number.get(..2)?;
    let length = LENGTHS.iter().find(|(code, _)| *code == country)?.1;
    if number.len() != length || PUBLISHED.contains(&number.as_str()) {
        return None;
    }
    let rotated = number.get(4..)?.bytes().chain(number.get(..4)?.bytes());
    let rest = rotated.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    (rest == 1).then_some(0..text.len())
}

fn card(text: &str) -> Option<Range<usize>> {
    /// The numbers that payment services publish for tests.
    const PUBLISHED: [&str; 12] = [
        "4242424242424242",
        "4111111111111111",
        "4012888888881881",
        "4000056655665556",
        "4000000000000002",
        "5555555555554444",
        "5105105105105100",
        "2223003122003222",
        "378282246310005",
        "371449635398431",
        "6011111111111117",
        "3530111333300000",
    ];
    let start = text.find(|ch: char| ch.is_ascii_digit())?;
    let written = text.get(start..)?;
    // One kind of sign between the groups, or none.
    if written.contains(' ') && written.contains('-') {
        return None;
    }
    let digits: String = written.chars().filter(char::is_ascii_digit).collect();
    let issued = is_issued(&digits) && has_luhn_digit(&digits) && is_varied(&digits);
    (issued && !PUBLISHED.contains(&digits.as_str())).then_some(start..text.len())
}

/// Whether a card network issues numbers that begin like this and are as long.
fn is_issued(digits: &str) -> bool {
    let prefix = |length| digits.get(..length).and_then(|prefix| prefix.parse::<u16>().ok());
    let (Some(two), Some(three), Some(four)) = (prefix(2), prefix(3), prefix(4)) else {
        return false;
    };
    match digits.len() {
        14 => matches!(three, 300..=305 | 360..=369 | 380..=399),
        15 => matches!(two, 34 | 37),
        16 => {
            matches!(two, 40..=49 | 51..=55 | 62 | 65)
                || matches!(three, 644..=649)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011)
        }
        19 => matches!(two, 62 | 65) || four == 6011,
        _ => false,
    }
}

fn has_luhn_digit(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .zip(0_u32..)
        .map(|(byte, place)| {
            let digit = u32::from(byte - b'0');
            match place % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

fn ssn(text: &str) -> Option<Range<usize>> {
    let start = text.find(|ch: char| ch.is_ascii_digit())?;
    let number = text.get(start..)?;
    let mut parts = number.split('-');
    let (area, group, serial) = (parts.next()?, parts.next()?, parts.next()?);
    let assignable =
        area != "000" && area != "666" && !area.starts_with('9') && group != "00" && serial != "0000";
    // Those that advertisements have made known.
    let published = matches!(number, "078-05-1120" | "219-09-9999" | "123-45-6789");
    (assignable && !published).then_some(start..text.len())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use crate::guards::testing::{findings, follow, guard, masking, refusal, same_however_split};
    use crate::guards::{Check, GuardSet, GuardSpec};

    use super::*;

    static SETS: LazyLock<[GuardSet; 2]> = LazyLock::new(|| [guard(pii()), masking(pii())]);

    fn pii() -> Check {
        Check::Pii(PiiSpec::default())
    }

    #[test]
    fn every_format_is_an_expression() {
        for format in FORMATS {
            let verify = Verify::Each(format.verify);
            let needle = Needle::of_format(0, Choice::First, Finding::Empty, format.regex, verify);
            assert!(needle.is_some(), "{}", format.regex);
        }
    }

    #[test]
    fn the_mask_covers_the_datum_and_nothing_else() {
        let set = masking(pii());
        for (before, datum, after) in [
            ("write to ", "anna.k@acme.io", ". Thanks"),
            ("call ", "+49 30 3904 7712", ", please"),
            ("call ", "(415) 682-3971", "."),
            ("IBAN: ", "NL91 ABNA 0417 1643 00", ", please"),
            ("card ", "4539 1488 0343 6467", " is mine"),
            ("SSN:", "536-22-8726", "!"),
            ("账户", "NL91ABNA0417164300", "。"),
        ] {
            let text = format!("{before}{datum}{after}");
            let outcome = follow(&set, [text.as_str()]);
            let masked: Vec<_> =
                outcome.masks.iter().map(|mask| &text[mask.span.start.byte..mask.span.end.byte]).collect();
            assert_eq!(masked, [datum], "{text}");
        }
    }

    #[test]
    fn what_is_only_shaped_alike_passes() {
        let set = guard(pii());
        for text in [
            "4539 1488 0343 6468",
            "1.4539148803436467",
            "4539-1488 0343-6467",
            "NL92 ABNA 0417 1643 00",
            "+49 1111 111 1111",
            "(415) 555-0123",
            "536-00-8726",
            "a536-22-8726",
            "no-reply@acme.io, jane@example.com",
            "x = 5+493039047712",
        ] {
            assert_eq!(findings(&set, text), [], "{text}");
        }
    }

    #[test]
    fn a_kind_can_be_chosen_but_not_none() {
        let only = |kinds| Check::Pii(PiiSpec { kinds });
        let set = guard(only(vec![PiiKind::Card]));
        assert_eq!(findings(&set, "anna.k@acme.io, 4539148803436467"), [Finding::Pii(PiiKind::Card)]);
        assert!(refusal(GuardSpec::new(only(vec![]))).contains("`kinds` is empty"));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("anna.k@acme.io"),
                    Just("+49 30 3904 7712"),
                    Just("415-682-3971"),
                    Just("NL91 ABNA 0417 1643 00"),
                    Just("4539 1488 0343 6467"),
                    Just("536-22-8726"),
                    Just(" "),
                    Just("."),
                    Just("1"),
                    Just("é"),
                    Just("+"),
                ],
                0..8,
            ),
            cuts in prop::collection::vec(0usize..120, 0..8),
        ) {
            let text = parts.concat();
            for set in &*SETS {
                same_however_split(set, &text, &cuts);
            }
        }
    }
}
