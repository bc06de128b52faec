//! What guarding costs per chunk, and that it stays the same however long the answer is.
//!
//! `cargo run --release -p l0-engine --example guard_speed` prints times, which are noise on a shared machine: the
//! ratios are what counts. With `--json` it prints the full set's nanoseconds per chunk at each length. With arguments
//! `SET CHUNKS`, and `letters` or `line` for another text, it runs one set over one text and prints nothing, which is
//! what `valgrind --tool=callgrind` wants.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement reads the clock")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::Instant;

use l0_engine::guards::{
    Check, DriftSpec, GuardSet, GuardSpec, GuardState, JsonSpec, MarkdownSpec, PatternsSpec, PiiSpec,
    RepetitionSpec, SecretsSpec,
};

/// What a cautious policy might look for: 60 expressions, of all kinds.
const EXPRESSIONS: [&str; 60] = [
    "BEGIN PRIVATE KEY",
    "internal use only",
    "do not distribute",
    "as an AI language model",
    "I cannot assist with that",
    "lorem ipsum dolor",
    "TODO: fill in",
    "project bluebird",
    "confidential draft",
    "reply to this prompt",
    r"(?i)ignore (?:all |any )?(?:previous|prior) instructions",
    r"(?i)\bsystem prompt\b",
    r"(?i)you are (?:now )?in developer mode",
    r"(?i)my (?:initial|hidden) instructions (?:are|were)",
    r"(?i)as a large language model",
    r"(?i)i(?:'m| am) (?:just )?an ai\b",
    r"(?i)knowledge cut-?off",
    r"(?i)\bpassword\s*(?:is|:)\s*\S+",
    r"(?i)\bapi[_-]?key\s*[:=]\s*\S{16,}",
    r"(?i)\bauthorization:\s*bearer\s+\S+",
    r"\b[A-Z]{2}\d{6}[A-Z]?\b",
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"\b(?:\d[ -]?){15}\d\b",
    r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b",
    r"\bACC-\d{8}\b",
    r"\bCUST-[0-9A-F]{12}\b",
    r"\bORD\d{10}\b",
    r"\bINV-\d{4}-\d{5}\b",
    r"\bticket #\d{5,}\b",
    r"\bCVE-\d{4}-\d{4,7}\b",
    r"\b10(?:\.\d{1,3}){3}\b",
    r"\b192\.168(?:\.\d{1,3}){2}\b",
    r"https?://(?:[a-z0-9-]+\.)*internal\.[a-z]+/\S*",
    r"https?://\S+\.(?:exe|scr|bat)\b",
    r"\bs3://[a-z0-9.-]+/\S+",
    r"jdbc:[a-z]+://\S+",
    r"(?i)<script[^>]{0,200}>",
    r"(?i)javascript:\s*\w+\(",
    r"(?i)\bon(?:click|load|error)\s*=",
    r"(?i)drop\s+table\s+\w+",
    r"(?i)delete\s+from\s+\w+\s*;",
    r"(?i)union\s+(?:all\s+)?select\b",
    r"\brm\s+-rf\s+/",
    r"\bcurl [^|\n]{1,200}\|\s*(?:ba)?sh\b",
    r"(?i)\bbase64\s+-d\b",
    r"\beval\(\s*atob\(",
    r"\bsudo\s+chmod\s+777\b",
    r"(?i)\bcompetitor(?:s)?\s+(?:inc|corp|ltd)\b",
    r"(?i)\bacme\s+rival\b",
    r"(?i)guaranteed (?:returns|profit)",
    r"(?i)risk[- ]free investment",
    r"(?i)medical advice",
    r"(?i)legal advice",
    r"(?i)\bdiagnos(?:e|is|ed) you with\b",
    r"(?i)take \d+ ?mg of\b",
    r"(?i)click here to\b",
    r"(?i)\bfree gift\b",
    r"\[(?:INSERT|REDACTED|NAME|COMPANY)[^\]]{0,40}\]",
    r"\{\{[^}]{1,80}\}\}",
    r"<\|[a-z_]{3,20}\|>",
];

const NAMES: [&str; 10] =
    ["none", "json", "markdown", "patterns", "secrets", "pii", "repetition", "drift", "prose", "document"];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [set, chunks, text @ ..] = arguments.as_slice() {
        let chunks = chunks.parse().unwrap_or(20_000);
        let text = match text {
            [text] if text == "letters" => "abcdefghijklmnopqrstuvwxyz".repeat(chunks / 5),
            [text] if text == "line" => prose(chunks, " "),
            _ if set == "json" || set == "document" => json(chunks),
            _ => prose(chunks, "\n"),
        };
        black_box(run(&compile(set), &cut(&text)));
        return Ok(());
    }
    let mut out = io::stdout().lock();
    if arguments == ["--json"] {
        let (set, prose_set) = (compile("document"), compile("prose"));
        let rows = [
            ("json", costs(&set, json)),
            ("prose", costs(&prose_set, |chunks| prose(chunks, "\n\n"))),
            ("line", costs(&prose_set, |chunks| prose(chunks, " "))),
            ("letters", costs(&prose_set, |chunks| "abcdefghijklmnopqrstuvwxyz".repeat(chunks / 5))),
        ];
        let rows = rows.map(|(name, costs)| format!("\"{name}\": {costs:?}")).join(", ");
        return writeln!(out, "{{{rows}}}");
    }
    let began = Instant::now();
    let set = compile("prose");
    let compiled = began.elapsed();
    let began = Instant::now();
    for _ in 0..1_000 {
        black_box(set.start());
    }
    let started = began.elapsed() / 1_000;
    writeln!(out, "compile the full set {compiled:?}, start one attempt {started:?}\n")?;
    writeln!(
        out,
        "{:<44}{:>10}{:>10}{:>10}{:>8}",
        "ns per chunk, by number of chunks", 2_000, 20_000, 200_000, "ratio"
    )?;
    for name in NAMES {
        let set = compile(name);
        if name == "json" || name == "document" {
            row(&mut out, &format!("{name}, on JSON"), &set, json)?;
        } else {
            row(&mut out, &format!("{name}, on paragraphs"), &set, |chunks| prose(chunks, "\n\n"))?;
        }
    }
    let set = compile("prose");
    row(&mut out, "prose, on one unbroken line", &set, |chunks| prose(chunks, " "))?;
    row(&mut out, "prose, on letters without a space", &set, |chunks| {
        "abcdefghijklmnopqrstuvwxyz".repeat(chunks / 5)
    })?;
    row(&mut out, "prose, on digits without a space", &set, |chunks| {
        "31415926535897932384626433".repeat(chunks / 5)
    })?;
    row(&mut out, "prose, on Chinese", &set, |chunks| "我们在河边散步，谈论过去的事情。".repeat(chunks / 3))
}

fn row(
    out: &mut impl io::Write,
    name: &str,
    set: &GuardSet,
    text: impl Fn(usize) -> String,
) -> io::Result<()> {
    let [short, middle, long] = costs(set, text);
    let ratio = long * 100 / short.max(1);
    writeln!(out, "{name:<44}{short:>10}{middle:>10}{long:>10}{:>5}.{:02}", ratio / 100, ratio % 100)
}

/// Nanoseconds per chunk at the end of texts of three lengths: of the stretches of 2,000 chunks in their last half, the
/// quickest, because a neighbour on the machine disturbs a long stretch more often than a short one.
fn costs(set: &GuardSet, text: impl Fn(usize) -> String) -> [u128; 3] {
    [2_000, 20_000, 200_000].map(|chunks| {
        let text = text(chunks);
        let chunks = cut(&text);
        let rounds = (400_000 / chunks.len()).clamp(3, 100);
        let costs = (0..rounds).flat_map(|_| {
            let (early, late) = chunks.split_at(chunks.len() / 4_000 * 2_000);
            let mut state = set.start();
            black_box(feed(&mut state, set, early));
            let stretches = late.chunks(2_000).filter(|stretch| stretch.len() == 2_000);
            let costs = stretches.map(move |stretch| {
                let began = Instant::now();
                black_box(feed(&mut state, set, stretch));
                began.elapsed().as_nanos() / 2_000
            });
            costs.collect::<Vec<_>>()
        });
        costs.min().unwrap_or(0)
    })
}

/// Follows a text as a session does: each chunk is fed, and it is asked what has to be held back.
fn run(set: &GuardSet, chunks: &[&str]) -> usize {
    let mut state = set.start();
    feed(&mut state, set, chunks) + state.finish(set).hits.len()
}

fn feed(state: &mut GuardState, set: &GuardSet, chunks: &[&str]) -> usize {
    let mut hits = 0;
    for chunk in chunks {
        hits += state.feed(set, chunk).hits.len();
        black_box(state.open_from(set));
    }
    hits
}

fn compile(name: &str) -> GuardSet {
    let patterns = || {
        Check::Patterns(PatternsSpec {
            regexes: EXPRESSIONS.map(str::to_owned).to_vec(),
            ..PatternsSpec::default()
        })
    };
    let markdown = || Check::Markdown(MarkdownSpec::default());
    let secrets = || Check::Secrets(SecretsSpec::default());
    let repetition = || Check::Repetition(RepetitionSpec::default());
    let checks = match name {
        "json" => vec![Check::Json(JsonSpec::default())],
        "markdown" => vec![markdown()],
        "patterns" => vec![patterns()],
        "secrets" => vec![secrets()],
        "pii" => vec![Check::Pii(PiiSpec::default())],
        "repetition" => vec![repetition()],
        "prose" => vec![markdown(), patterns(), secrets(), repetition()],
        "document" => vec![Check::Json(JsonSpec::default()), markdown(), patterns(), secrets(), repetition()],
        _ => Vec::new(),
    };
    let drift = matches!(name, "drift" | "prose" | "document").then(DriftSpec::default);
    let specs: Vec<GuardSpec> = checks.into_iter().map(GuardSpec::new).collect();
    GuardSet::compile(&specs, drift.as_ref()).unwrap_or_else(|error| panic!("{error}"))
}

/// Chunks of 4 to 6 characters.
fn cut(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut rest = text;
    for length in [5, 4, 6].into_iter().cycle() {
        let end = rest.char_indices().nth(length).map_or(rest.len(), |(end, _)| end);
        if end == 0 {
            break;
        }
        let (chunk, others) = rest.split_at(end);
        chunks.push(chunk);
        rest = others;
    }
    chunks
}

/// Sentences that are all different, about `chunks` chunks of them, with `separator` after every few.
fn prose(chunks: usize, separator: &str) -> String {
    const SUBJECTS: [&str; 8] = [
        "The river",
        "A tired engineer",
        "Nobody",
        "The committee, after some debate,",
        "My neighbour's cat",
        "Every second message",
        "The old proof",
        "This part of the code",
    ];
    const VERBS: [&str; 7] = [
        "remembers",
        "had quietly replaced",
        "will hardly notice",
        "explains",
        "is said to outlast",
        "cannot hold",
        "(almost) matches",
    ];
    const OBJECTS: [&str; 9] = [
        "the first draft",
        "what we measured in May",
        "a bridge of stone and rope",
        "its own reflection",
        "the queue's limit",
        "three of the five examples",
        "an honest mistake",
        "the far shore",
        "`None`",
    ];
    let mut text = String::new();
    let mut number = 0_usize;
    while text.len() < chunks * 5 {
        let pick =
            |list: &[&'static str], salt: usize| list[(number * 7 + number / salt + salt) % list.len()];
        text.push_str(pick(&SUBJECTS, 3));
        text.push(' ');
        text.push_str(pick(&VERBS, 5));
        text.push(' ');
        text.push_str(pick(&OBJECTS, 11));
        text.push_str(if number.is_multiple_of(3) { "; " } else { ". " });
        if number % 4 == 3 {
            let _ = write!(text, "That was in {}", 1_900 + number % 120);
            text.push_str(separator);
        }
        number += 1;
    }
    text
}

fn json(chunks: usize) -> String {
    let mut text = String::from("[");
    let mut number = 0;
    while text.len() < chunks * 5 {
        let _ = write!(
            text,
            "{{\"id\":{number},\"title\":\"Part {} of the story\",\"tags\":[\"a{}\",\"b\"],\"price\":{}.5,\"next\":null}},",
            number * 31 % 997,
            number % 13,
            number % 211,
        );
        number += 1;
    }
    text.push_str("{}]");
    text
}
