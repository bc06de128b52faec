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
/// Where several expressions match, the one that began first is reported, and of those the longest; a guard that stops
/// the attempt does so at the first match that is certain.
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
            let hir =
                parse(regex, self.ignore_case).map_err(|message| Problem::new(field, message))?;
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
                format!(
                    "has {chars} characters; allowed are 1 to {}",
                    HOLD_CHARS_MAX - 1
                ),
            ));
        }
        if self.ignore_case && !literal.is_ascii() {
            // Only an expression knows the large and small letters of all scripts.
            let escaped = regex_syntax::escape(literal);
            let hir = parse(&escaped, true)
                .map_err(|message| Problem::new(field("literals", index), message))?;
            return Ok(What::from_regex(hir));
        }
        Ok(What::Literal {
            text: literal.to_owned(),
            ignore_case: self.ignore_case,
        })
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
    Needle {
        rule,
        finding,
        undecided: Some(Finding::Undecided(index)),
        choice,
        verify: None,
        what,
    }
}

fn limit(list: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count <= most {
        return Ok(());
    }
    Err(Problem::new(
        list,
        format!("has {count} entries; allowed are up to {most}"),
    ))
}

/// Reads an expression that is looked for while text streams, or says what about it cannot be.
fn parse(regex: &str, ignore_case: bool) -> Result<Hir, Cow<'static, str>> {
    let hir = read_regex(regex, ignore_case)?;
    match hir.properties().minimum_len() {
        None => Err("can never match".into()),
        Some(0) => Err(
            "matches the empty text, so it would match everywhere; make a part of it required"
                .into(),
        ),
        Some(_) => Ok(hir),
    }
}

/// Reads any expression, or says what about it cannot be.
pub(super) fn read_regex(regex: &str, ignore_case: bool) -> Result<Hir, Cow<'static, str>> {
    let chars = regex.chars().count();
    if chars > REGEX_CHARS_MAX {
        return Err(format!("has {chars} characters; allowed are up to {REGEX_CHARS_MAX}").into());
    }
    let mut parser = ParserBuilder::new()
        .case_insensitive(ignore_case)
        .nest_limit(NESTING_MAX)
        .build();
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
        regex_syntax::Error::Translate(error) => {
            format!("is no regular expression: {}", error.kind()).into()
        }
        _ => "is no regular expression".into(),
    }
}
