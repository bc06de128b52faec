//! How good the guards are: what they find of what they should, and what they flag that they should not.
//!
//! What they should find is generated from published formats, with their checksums, and from what goes wrong with
//! models' answers; what they should not is the same with one thing changed, and some hundreds of ordinary answers.
//! Recorded answers of real models are added where they are at hand.

mod broken;
mod draw;
mod formats;
mod ordinary;
mod recorded;

use l0_engine::guards::{
    Check, DriftSpec, Finding, GuardSet, GuardSpec, JsonSpec, LatexSpec, MarkdownSpec, NotEmptySpec, PiiSpec,
    RepetitionSpec, SecretsSpec, Severity,
};

use self::draw::Draw;

/// How many of each format are drawn.
const DRAWN: usize = 200;

/// What one guard makes of one corpus.
pub(crate) struct Score {
    pub(crate) guard: String,
    /// What the corpus is, and where it is from.
    pub(crate) corpus: String,
    pub(crate) texts: usize,
    pub(crate) flagged: usize,
    /// Whether each of the texts should be flagged, or none of them.
    pub(crate) should: Should,
    /// Some of those that went wrong.
    pub(crate) wrong: Vec<String>,
}

/// What should become of the texts of a corpus.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Should {
    Flag,
    Pass,
    /// Neither: it is worth knowing how many are flagged by chance.
    Know,
}

impl Score {
    fn of<'a>(
        guard: &str,
        corpus: &str,
        should: Should,
        texts: impl IntoIterator<Item = (&'a str, bool)>,
    ) -> Self {
        let mut score = Self {
            guard: guard.to_owned(),
            corpus: corpus.to_owned(),
            texts: 0,
            flagged: 0,
            should,
            wrong: Vec::new(),
        };
        for (text, flagged) in texts {
            score.texts += 1;
            score.flagged += usize::from(flagged);
            if flagged != (should == Should::Flag) && score.wrong.len() < 5 {
                score.wrong.push(text.chars().take(400).collect());
            }
        }
        score
    }

    /// The share of flagged texts, in thousandths.
    pub(crate) fn permille(&self) -> usize {
        self.flagged * 1_000 / self.texts.max(1)
    }
}

/// Every guard on every corpus.
pub(crate) fn measure() -> Vec<Score> {
    let mut scores = Vec::new();
    secrets(&mut scores);
    pii(&mut scores);
    broken::measure(&mut scores);
    ordinary_answers(&mut scores);
    scores
}

/// A set of one check that only warns, so that all of what it finds is seen.
pub(crate) fn warning(check: Check) -> GuardSet {
    compile(&[GuardSpec::new(check).severity(Severity::Warn)], None)
}

fn compile(specs: &[GuardSpec], drift: Option<&DriftSpec>) -> GuardSet {
    GuardSet::compile(specs, drift).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a set flags a text that arrives in chunks as models send them.
pub(crate) fn flags(set: &GuardSet, text: &str) -> bool {
    !findings(set, text).is_empty()
}

/// What a set finds in a text that arrives in chunks; a drift counts as a finding of its own.
pub(crate) fn findings(set: &GuardSet, text: &str) -> Vec<Option<Finding>> {
    let mut state = set.start();
    let mut found = Vec::new();
    let mut rest = text;
    for length in [4, 1, 7, 3, 5].into_iter().cycle() {
        let end = rest.char_indices().nth(length).map_or(rest.len(), |(end, _)| end);
        let (chunk, others) = rest.split_at(end);
        rest = others;
        let verdict = if chunk.is_empty() { state.finish(set) } else { state.feed(set, chunk) };
        found.extend(verdict.hits.iter().map(|hit| Some(hit.finding)));
        found.extend(verdict.drifts.iter().map(|_| None));
        if chunk.is_empty() {
            break;
        }
    }
    found
}

fn secrets(scores: &mut Vec<Score>) {
    let set = warning(Check::Secrets(SecretsSpec::default()));
    for (seed, secret) in (0..).zip(formats::SECRETS) {
        let mut draw = Draw::new(seed);
        let texts: Vec<String> = (0..DRAWN)
            .map(|_| {
                let token = (secret.make)(&mut draw);
                formats::embed(&mut draw, &token)
            })
            .collect();
        let kind = Finding::Secret(secret.kind);
        let found = texts.iter().map(|text| (text.as_str(), findings(&set, text).contains(&Some(kind))));
        scores.push(Score::of("secrets", &format!("{}, by rule", secret.name), Should::Flag, found));
        if secret.checked {
            let texts: Vec<String> = (0..DRAWN)
                .map(|_| {
                    let token = (secret.make)(&mut draw);
                    let place = draw.between(5, token.len() - 1);
                    let other = if &token[place..=place] == "Q" { "W" } else { "Q" };
                    let token = format!("{}{other}{}", &token[..place], &token[place + 1..]);
                    formats::embed(&mut draw, &token)
                })
                .collect();
            let found = texts.iter().map(|text| (text.as_str(), flags(&set, text)));
            let corpus = format!("{}, one character changed", secret.name);
            scores.push(Score::of("secrets", &corpus, Should::Pass, found));
        }
    }
}

fn pii(scores: &mut Vec<Score>) {
    let set = warning(Check::Pii(PiiSpec::default()));
    for (seed, datum) in (1_000..).zip(formats::PII) {
        let mut draw = Draw::new(seed);
        let mut texts = |make: fn(&mut Draw) -> String| -> Vec<String> {
            let tokens = (0..DRAWN).map(|_| {
                let token = make(&mut draw);
                formats::embed(&mut draw, &token)
            });
            tokens.collect()
        };
        let real = texts(datum.make);
        let kind = Finding::Pii(datum.kind);
        let found = real.iter().map(|text| (text.as_str(), findings(&set, text).contains(&Some(kind))));
        scores.push(Score::of("pii", &format!("{}, by rule", datum.name), Should::Flag, found));
        let broken = texts(datum.mutate);
        let found = broken.iter().map(|text| (text.as_str(), flags(&set, text)));
        scores.push(Score::of("pii", &format!("{}, rule broken", datum.name), Should::Pass, found));
    }
    let mut draw = Draw::new(2_000);
    let texts: Vec<String> = (0..2_000)
        .map(|_| {
            let token = formats::sixteen_digits(&mut draw);
            formats::embed(&mut draw, &token)
        })
        .collect();
    let found = texts.iter().map(|text| (text.as_str(), flags(&set, text)));
    scores.push(Score::of("pii", "any sixteen digits", Should::Know, found));
}

/// Every guard that makes no demand on the format, on every ordinary answer.
fn ordinary_answers(scores: &mut Vec<Score>) {
    let checks = [
        Check::NotEmpty(NotEmptySpec::default()),
        Check::Markdown(MarkdownSpec::default()),
        Check::Latex(LatexSpec::default()),
        Check::Secrets(SecretsSpec::default()),
        Check::Pii(PiiSpec::default()),
        Check::Repetition(RepetitionSpec::default()),
    ];
    let mut sets: Vec<(&str, GuardSet)> =
        checks.into_iter().map(|check| (check.kind(), warning(check))).collect();
    sets.push(("drift", compile(&[], Some(&DriftSpec::default()))));
    let written = ordinary::written();
    let generated = ordinary::generated();
    let recorded = recorded::answers();
    let json = warning(Check::Json(JsonSpec::default()));
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    for (answers, corpus) in [
        (&written, "ordinary answers, written"),
        (&generated, "ordinary answers, by rule"),
        (&recorded, "answers of real models, recorded"),
    ] {
        if answers.is_empty() {
            continue;
        }
        for (guard, set) in &sets {
            let found: Vec<(String, bool)> = answers
                .iter()
                .map(|answer| {
                    let found = findings(set, &answer.text);
                    (format!("{}: {found:?}", answer.name), !found.is_empty())
                })
                .collect();
            let found = found.iter().map(|(name, flagged)| (name.as_str(), *flagged));
            scores.push(Score::of(guard, corpus, Should::Pass, found));
        }
        let documents = answers.iter().filter(|answer| is_json(&answer.text));
        let documents: Vec<_> = documents.collect();
        if documents.is_empty() {
            continue;
        }
        let found = documents.into_iter().map(|answer| (answer.name.as_str(), flags(&json, &answer.text)));
        scores.push(Score::of("json", &format!("{corpus}: those that are JSON"), Should::Pass, found));
    }
}
