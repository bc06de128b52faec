//! Literals and regular expressions that must not occur.

use std::borrow::Cow;

use regex_syntax::ParserBuilder;
use regex_syntax::ast::ErrorKind;
use regex_syntax::hir::Hir;
use serde::{Deserialize, Serialize};

use super::HOLD_CHARS_MAX;
use super::hit::Finding;
use super::search::{Choice, Needle, What};
use super::spec::Problem;

/// How many literals, and how many expressions, one guard holds.
const LITERALS_MAX: usize = 10_000;
const REGEXES_MAX: usize = 1_000;

/// How long one expression may be.
const REGEX_CHARS_MAX: usize = 4_096;

/// How deep one may nest.
const NESTING_MAX: u32 = 100;

/// What must not occur. A match may span any number of chunks.
///
/// A guard that stops the attempt does so at the first match that is certain. One that warns or masks reports, of
/// matches that overlap, the one that began first, and of those the longest; what a later one adds is a hit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatternsSpec {
    /// Texts, character by character.
    pub literals: Vec<String>,
    /// Regular expressions in Rust's syntax, without look-around and back-references.
    pub regexes: Vec<String>,
    /// Whether large and small letters are the same.
    pub ignore_case: bool,
}

impl PatternsSpec {
    pub(super) fn compile(&self, rule: u16, choice: Choice) -> Result<Vec<Needle>, Problem> {
        if self.literals.is_empty() && self.regexes.is_empty() {
            return Err(Problem::new(
                "literals",
                "and `regexes` are both empty; at least one of them needs an entry",
            ));
        }
        limit("literals", self.literals.len(), LITERALS_MAX)?;
        limit("regexes", self.regexes.len(), REGEXES_MAX)?;
        let mut needles = Vec::new();
        for (index, literal) in (0..).zip(&self.literals) {
            let what = self.literal(index, literal)?;
            needles.push(needle(rule, choice, Finding::Literal(index), index, what));
        }
        for (index, regex) in (0..).zip(&self.regexes) {
            let field = field("regexes", index);
            let hir = parse(regex, self.ignore_case).map_err(|message| Problem::new(field, message))?;
            let what = What::from_regex(hir);
            needles.push(needle(rule, choice, Finding::Regex(index), index, what));
        }
        Ok(needles)
    }

    fn literal(&self, index: u16, literal: &str) -> Result<What, Problem> {
        let chars = literal.chars().count();
        if chars == 0 || chars >= HOLD_CHARS_MAX {
            return Err(Problem::new(
                field("literals", index),
                format!("has {chars} characters; allowed are 1 to {}", HOLD_CHARS_MAX - 1),
            ));
        }
        if self.ignore_case && !literal.is_ascii() {
            // Only an expression knows the large and small letters of all scripts.
            let escaped = regex_syntax::escape(literal);
            let hir =
                parse(&escaped, true).map_err(|message| Problem::new(field("literals", index), message))?;
            return Ok(What::from_regex(hir));
        }
        Ok(What::Literal { text: literal.to_owned(), ignore_case: self.ignore_case })
    }
}

/// The field of an expression that was found too large only when all were compiled.
pub(super) fn field_of(finding: Finding) -> String {
    match finding {
        Finding::Literal(index) => field("literals", index),
        Finding::Regex(index) => field("regexes", index),
        _ => "kinds".to_owned(),
    }
}

fn field(list: &str, index: u16) -> String {
    format!("{list}[{index}]")
}

fn needle(rule: u16, choice: Choice, finding: Finding, index: u16, what: What) -> Needle {
    Needle { rule, finding, undecided: Some(Finding::Undecided(index)), choice, verify: None, what }
}

fn limit(list: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count <= most {
        return Ok(());
    }
    Err(Problem::new(list, format!("has {count} entries; allowed are up to {most}")))
}

/// Reads an expression that is looked for while text streams, or says what about it cannot be.
fn parse(regex: &str, ignore_case: bool) -> Result<Hir, Cow<'static, str>> {
    let hir = read_regex(regex, ignore_case)?;
    match hir.properties().minimum_len() {
        None => Err("can never match".into()),
        Some(0) => {
            Err("matches the empty text, so it would match everywhere; make a part of it required".into())
        }
        Some(_) => Ok(hir),
    }
}

/// Reads any expression, or says what about it cannot be.
pub(super) fn read_regex(regex: &str, ignore_case: bool) -> Result<Hir, Cow<'static, str>> {
    let chars = regex.chars().count();
    if chars > REGEX_CHARS_MAX {
        return Err(format!("has {chars} characters; allowed are up to {REGEX_CHARS_MAX}").into());
    }
    let mut parser = ParserBuilder::new().case_insensitive(ignore_case).nest_limit(NESTING_MAX).build();
    parser.parse(regex).map_err(describe)
}

fn describe(error: regex_syntax::Error) -> Cow<'static, str> {
    match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            ErrorKind::UnsupportedLookAround => {
                "uses look-around ((?=…), (?!…), (?<=…), (?<!…)), which cannot be decided while text \
                 streams; use \\b, or match the context as well"
                    .into()
            }
            ErrorKind::UnsupportedBackreference => {
                "uses a back-reference, which cannot be decided in bounded time; write the \
                 alternatives out"
                    .into()
            }
            kind => format!("is no regular expression: {kind}").into(),
        },
        regex_syntax::Error::Translate(error) => format!("is no regular expression: {}", error.kind()).into(),
        _ => "is no regular expression".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::nfa::thompson::pikevm::PikeVM;
    use regex_automata::{Anchored, Input, MatchKind};

    use crate::guards::testing::{
        findings, follow, guard, hits, masking, refusal, same_however_split, warning,
    };
    use crate::guards::{Check, GuardSet, GuardSpec, Severity};

    use super::*;

    fn patterns(literals: &[&str], regexes: &[&str]) -> Check {
        let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
        Check::Patterns(PatternsSpec {
            literals: owned(literals),
            regexes: owned(regexes),
            ignore_case: false,
        })
    }

    fn folded(literals: &[&str], regexes: &[&str]) -> Check {
        match patterns(literals, regexes) {
            Check::Patterns(spec) => Check::Patterns(PatternsSpec { ignore_case: true, ..spec }),
            other => other,
        }
    }

    fn spans(set: &GuardSet, text: &str) -> Vec<(usize, usize)> {
        let hits = hits(set, text).into_iter();
        hits.map(|hit| (hit.span.start.byte, hit.span.end.byte)).collect()
    }

    #[test]
    fn the_first_that_began_and_of_those_the_longest_is_reported() {
        for (literals, regexes, text, expected) in [
            (&["key"][..], &[][..], "a key, a key", &[(2, 5), (9, 12)][..]),
            (&["he", "she", "hers"], &[], "ushers", &[(1, 4), (4, 6)]),
            (&["ab", "abcd"], &[], "abcabcd", &[(0, 2), (3, 7)]),
            (&["aa"], &[], "aaaaa", &[(0, 2), (2, 3), (3, 4), (4, 5)]),
            (&["日本", "本語"], &[], "日本語", &[(0, 6), (6, 9)]),
            (&["foo"], &["fo+bar"], "foobar", &[(0, 6)]),
            (&[], &[r"\d+"], "a 12345 b", &[(2, 7)]),
            (&[], &[r"a|ab|abbbbc"], "abbbb", &[(0, 2)]),
            (&[], &[r"ab|b|abbbbc"], "abbbb", &[(0, 2), (2, 3), (3, 4), (4, 5)]),
            (&[], &[r"\bcat\b"], "cat écat catz cat", &[(0, 3), (15, 18)]),
            (&[], &[r"\bcat\b", r"(?-u:\b)dog(?-u:\b)"], "édog cat", &[(2, 5), (6, 9)]),
            (&[], &[r"(?m)^- .*$"], "x\n- one\n- two", &[(2, 7), (8, 13)]),
            (&[], &[r"^a", r"b\z"], "ab ab", &[(0, 1), (4, 5)]),
            (&[], &["(?i)straße"], "STRASSE Straße STRAßE", &[(8, 15), (16, 23)]),
        ] {
            let set = warning(patterns(literals, regexes));
            assert_eq!(spans(&set, text), expected, "{literals:?} {regexes:?} in {text}");
        }
    }

    #[test]
    fn case_is_ignored_in_all_scripts_where_asked() {
        let set = warning(folded(&["Key", "ключ"], &["to?ken"]));
        assert_eq!(spans(&set, "KEY key КЛЮЧ TOKEN tken"), [(0, 3), (4, 7), (8, 16), (17, 22), (23, 27)]);
    }

    #[test]
    fn a_guard_that_stops_does_so_once_and_as_soon_as_it_can() {
        let set = guard(patterns(&["secret"], &["se+c", r"\d{3,}"]));
        let mut state = set.start();
        assert!(state.feed(&set, "a se").is_clear());
        let verdict = state.feed(&set, "c");
        let [hit] = verdict.hits.as_slice() else {
            panic!("{verdict:?}");
        };
        assert_eq!(hit.finding, Finding::Regex(0));
        assert_eq!((hit.span.start.byte, hit.span.end.byte), (2, 5));
        assert!(hit.stops() && hit.recoverable && !hit.masked);
        assert!(state.feed(&set, "ret secret 12345").is_clear());
    }

    #[test]
    fn text_is_held_back_from_the_earliest_open_match_and_no_longer() {
        let set = warning(patterns(&["BEGIN KEY", "KEY END"], &[r"\w+@\w+", "x[0-9]{3}y"]));
        let mut state = set.start();
        for (piece, open) in [
            ("prose is free ", None),
            ("BEG", Some(14)),
            ("IN", Some(14)),
            (" KE", Some(14)),
            ("Y", Some(20)),
            (" ", Some(20)),
            ("and ", None),
            ("x12", Some(28)),
            ("3", Some(28)),
            ("y", Some(28)),
            (".", None),
            ("me@", Some(34)),
            ("home", Some(34)),
            (" ", None),
        ] {
            let _ = state.feed(&set, piece);
            let found = state.open_from(&set).map(|at| at.byte);
            assert_eq!(found, open, "after {piece:?}");
        }
    }

    #[test]
    fn what_stays_undecided_for_too_long_is_a_hit() {
        for (set, severity) in [
            (warning(patterns(&[], &["a[^z]*z"])), Severity::Warn),
            (guard(patterns(&[], &["a[^z]*z"])), Severity::Error),
            (masking(patterns(&[], &["a[^z]*z"])), Severity::Error),
        ] {
            let text = format!("-{}", "ab ".repeat(2_000));
            let hits = hits(&set, &text);
            let [hit] = hits.as_slice() else {
                panic!("{hits:?}");
            };
            assert!(hit.undecided());
            assert_eq!(hit.severity, severity);
            assert_eq!((hit.span.start.char, hit.span.end.char), (1, HOLD_CHARS_MAX));
            same_however_split(&set, &text, &[4_095, 4_096, 4_097]);
            assert_eq!(findings(&set, &text[..HOLD_CHARS_MAX]), []);
        }
    }

    #[test]
    fn masks_cover_what_was_found_and_do_not_overlap() {
        let set = crate::guards::testing::guards(&[
            GuardSpec::new(patterns(&[], &["[a-f]+"])).masking("[letters]"),
            GuardSpec::new(patterns(&["efg", "xyz"], &[])).masking("[words]"),
        ]);
        let outcome = follow(&set, ["..ab", "cdef", "g..x", "yz.."]);
        let masks: Vec<_> = outcome
            .masks
            .iter()
            .map(|mask| (mask.span.start.byte, mask.span.end.byte, set.replacement(mask.rule)))
            .collect();
        assert_eq!(masks, [(2, 9, Some("[letters]")), (11, 14, Some("[words]"))]);
        assert!(outcome.hits.iter().all(|hit| hit.masked && !hit.stops()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let many = vec!["a"; LITERALS_MAX + 1];
        let huge = format!("({}){{500}}", r"\w{100}".repeat(10));
        for (check, part) in [
            (patterns(&[], &[]), "`literals` and `regexes` are both empty"),
            (patterns(&[""], &[]), "`literals[0]` has 0 characters; allowed are 1 to 4095"),
            (patterns(&many, &[]), "`literals` has 10001 entries; allowed are up to 10000"),
            (patterns(&[], &["ok", "a(?=b)"]), "`regexes[1]` uses look-around"),
            (patterns(&[], &["(?<!a)b"]), "`regexes[0]` uses look-around"),
            (patterns(&[], &[r"(a)\1"]), "`regexes[0]` uses a back-reference"),
            (patterns(&[], &["a*"]), "`regexes[0]` matches the empty text"),
            (patterns(&[], &["("]), "`regexes[0]` is no regular expression: unclosed group"),
            (patterns(&[], &[r"[^\s\S]"]), "`regexes[0]` can never match"),
            (patterns(&[], &["fine", &huge]), "`regexes[1]` is too large"),
            (patterns(&[], &[r"\ba(?-u:\b)"]), "`regexes[0]` is too large"),
        ] {
            let refusal = refusal(GuardSpec::new(check));
            assert!(refusal.starts_with("guard 0 (patterns): "), "{refusal}");
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn expressions_that_do_not_fit_into_one_automaton_get_several() {
        // Each has its own large letters and digits, which together are more than one automaton can tell apart.
        let letters: Vec<String> = ('\u{4E00}'..'\u{4F00}').map(|ch| format!(r"{ch}+\b")).collect();
        let regexes: Vec<&str> = letters.iter().map(String::as_str).collect();
        let set = warning(patterns(&[], &regexes));
        let text: String = ('\u{4E00}'..'\u{4F00}').flat_map(|ch| [ch, ' ']).collect();
        assert_eq!(hits(&set, &text).len(), 64, "as many as one guard warns of");
    }

    /// An expression over few characters, so that matches are frequent.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[abcé ]".prop_map(String::from),
            Just("[ab]".to_owned()),
            Just("[^a]".to_owned()),
            Just(r"\w".to_owned()),
            Just(r"\b".to_owned()),
            Just(r"\B".to_owned()),
            Just("^".to_owned()),
            Just("$".to_owned()),
            Just("(?m:^)".to_owned()),
            Just("(?m:$)".to_owned()),
            Just(".".to_owned()),
        ];
        leaf.prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                prop::collection::vec(inner.clone(), 1..4).prop_map(|ways| format!("(?:{})", ways.join("|"))),
                (inner, prop_oneof![Just("*"), Just("+"), Just("?"), Just("{2}"), Just("{1,3}")])
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
            ]
        })
    }

    /// The same expressions, those that match the empty text made to match a character more.
    fn usable(regexes: Vec<String>) -> Vec<String> {
        let longer = |regex: String| match parse(&regex, false) {
            Ok(_) => regex,
            Err(_) => format!("(?:{regex})[ab]"),
        };
        regexes.into_iter().map(longer).collect()
    }

    /// The longest match of any expression from each place of the text, found by another engine.
    fn longest_from(regexes: &[String], text: &str) -> Vec<(usize, usize)> {
        let machines: Vec<PikeVM> = regexes
            .iter()
            .map(|regex| {
                let config = PikeVM::config().match_kind(MatchKind::All);
                PikeVM::builder().configure(config).build(regex).expect("a usable expression")
            })
            .collect();
        let starts = text.char_indices().map(|(start, _)| start);
        let matches = starts.filter_map(|start| {
            let ends = machines.iter().filter_map(|machine| {
                let input = Input::new(text).range(start..).anchored(Anchored::Yes);
                machine.find(&mut machine.create_cache(), input).map(|found| found.end())
            });
            Some((start, ends.max()?))
        });
        matches.collect()
    }

    proptest! {
        /// What is reported is what an engine that sees the whole text at once says.
        #[test]
        fn expressions_mean_what_they_mean_elsewhere(
            regexes in prop::collection::vec(expression(), 1..4).prop_map(usable),
            text in "[abcé \n]{0,24}",
            cuts in prop::collection::vec(0usize..40, 0..6),
        ) {
            let list: Vec<&str> = regexes.iter().map(String::as_str).collect();
            let mut expected = Vec::new();
            let mut end_last = 0;
            let longest = longest_from(&regexes, &text);
            for (start, end) in longest.iter().copied() {
                if end > end_last {
                    expected.push((start.max(end_last), end));
                    end_last = end;
                }
            }
            let set = warning(patterns(&[], &list));
            prop_assert_eq!(spans(&set, &text), expected);
            same_however_split(&set, &text, &cuts);

            let set = guard(patterns(&[], &list));
            let stopped = spans(&set, &text);
            prop_assert_eq!(stopped.is_empty(), longest.is_empty());
            if let [(start, end)] = stopped.as_slice() {
                let longest = longest.iter().find(|(at, _)| at == start);
                prop_assert!(longest.is_some_and(|(_, longest)| end <= longest));
            }
            same_however_split(&set, &text, &cuts);
        }

        /// No more is held back than the beginning of a literal that may still become whole.
        #[test]
        fn literals_hold_back_their_beginnings_only(text in "[abcé ]{0,12}") {
            let literals = ["ab", "abc", "bcab", "é", "aé a", "cc"];
            let set = guard(patterns(&literals, &[]));
            let mut state = set.start();
            let _ = state.feed(&set, &text);
            let begins = |place: &usize| {
                let end = &text[*place..];
                literals.iter().any(|literal| literal.starts_with(end) && *literal != end)
            };
            let expected = text.char_indices().map(|(place, _)| place).find(begins);
            prop_assert_eq!(state.open_from(&set).map(|at| at.byte), expected);
        }

        #[test]
        fn any_split_gives_the_same_hits(
            text in "[abcé ]{0,40}",
            cuts in prop::collection::vec(0usize..60, 0..8),
        ) {
            let literals = ["ab", "abc", "bcab", "é", "aé a", "cc"];
            for check in [patterns(&literals, &["a+b", "(?:ab)+c"]), patterns(&literals, &[])] {
                for set in [guard(check.clone()), warning(check.clone()), masking(check.clone())] {
                    same_however_split(&set, &text, &cuts);
                }
            }
        }
    }
}
