//! What models write: prose, lists, code, tables, JSON, scripts of many kinds, calls, thoughts and parts.

use crate::dice::Dice;

/// One thing in an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// Text.
    Text(String),
    /// Thinking aloud, in so many chunks.
    Reasoning(usize),
    /// A tool call: name and arguments.
    Call(String, String),
    /// A part nobody looks into: its identity, and in how many pieces it comes.
    Opaque(u64, usize),
}

/// An answer as a model means it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What it holds, in order.
    pub elements: Vec<Element>,
}

/// What an answer is about to be.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "wishes have nothing to do with each other")]
pub struct Wish {
    /// It may hold calls.
    pub calls: bool,
    /// It may hold thoughts.
    pub reasoning: bool,
    /// It may hold parts.
    pub opaque: bool,
    /// It is one JSON document.
    pub json: bool,
    /// It is very short.
    pub short: bool,
}

/// Three vocabularies, so that two answers can be told apart by any word.
const WORDS: [&[&str]; 3] = [
    &[
        "harbour",
        "the",
        "old",
        "lantern",
        "keeps",
        "a",
        "quiet",
        "watch",
        "over",
        "grey",
        "water",
        "and",
        "boats",
        "nai\u{308}ve",
        "cafe\u{301}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{6e2f}\u{53e3}",
        "e\u{301}tude",
    ],
    &[
        "mountain",
        "some",
        "young",
        "shepherd",
        "drives",
        "his",
        "slow",
        "flock",
        "under",
        "white",
        "cloud",
        "while",
        "bells",
        "fac\u{327}ade",
        "u\u{308}ber",
        "\u{1f3d4}\u{fe0f}",
        "\u{5c71}\u{8109}",
        "s\u{323}\u{307}",
    ],
    &[
        "garden",
        "every",
        "small",
        "gardener",
        "plants",
        "her",
        "early",
        "seed",
        "beside",
        "brown",
        "wall",
        "until",
        "roots",
        "resume\u{301}",
        "\u{1f331}",
        "\u{5ead}\u{56ed}",
        "coo\u{308}perate",
        "nin\u{303}o",
    ],
];

fn sentence(dice: &mut Dice, voice: usize) -> String {
    let words = WORDS[voice % WORDS.len()];
    let mut text = String::new();
    for n in 0..dice.within(3, 12) {
        if n > 0 {
            text.push_str(if dice.chance(12) { ", " } else { " " });
        }
        let word = *dice.pick(words);
        let word = match dice.below(24) {
            0 => format!("**{word}**"),
            1 => format!("\u{201c}{word}\u{201d}"),
            2 => format!("`{word}_{}`", dice.below(100)),
            3 => dice.below(10_000).to_string(),
            _ => word.to_owned(),
        };
        text.push_str(&word);
    }
    text.push_str(dice.pick::<&str>(&[". ", ". ", "? ", "! ", ".\n", ".\n\n", " \u{2014} "]));
    text
}

fn block(dice: &mut Dice, voice: usize) -> String {
    match dice.below(12) {
        0 => {
            let items = dice.within(2, 6);
            let item = |n| format!("{}. {}\n", n + 1, sentence(dice, voice).trim());
            (0..items).map(item).collect::<Vec<_>>().concat()
        }
        1 => {
            let lines = dice.within(1, 5);
            let line = |n| format!("    x{n} = f({})  # {}\n", dice.below(99), dice.pick(WORDS[voice % 3]));
            let code: Vec<String> = (0..lines).map(line).collect();
            format!("```python\ndef f(x):\n{}```\n", code.concat())
        }
        2 => {
            let rows = dice.within(1, 5);
            let row = |n| format!("| {n} | {} |\n", dice.pick(WORDS[voice % 3]));
            let body: Vec<String> = (0..rows).map(row).collect();
            format!("| n | word |\n|---|---|\n{}\n", body.concat())
        }
        3 => {
            let unit =
                *dice.pick::<&str>(&["ha ", "-", "0000\n", "\u{2500}", "no no ", "| 1 | ok |\n", "\u{54c8}"]);
            format!("{}\n", unit.repeat(dice.within(4, 60)))
        }
        4 => {
            let line = sentence(dice, voice);
            format!("{line}{}{line}", sentence(dice, voice))
        }
        _ => (0..dice.within(1, 4)).map(|_| sentence(dice, voice)).collect(),
    }
}

/// A JSON value of some depth, in some spacing.
pub fn json(dice: &mut Dice, depth: usize) -> String {
    let gap = *dice.pick::<&str>(&["", "", " ", "\n "]);
    match if depth == 0 { 2 + dice.below(4) } else { dice.below(6) } {
        0 => {
            let pairs: Vec<String> =
                (0..dice.below(4)).map(|n| format!("{gap}\"k{n}\":{gap}{}", json(dice, depth - 1))).collect();
            format!("{{{}}}", pairs.join(","))
        }
        1 => {
            let items: Vec<String> = (0..dice.below(4)).map(|_| json(dice, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        2 => format!("{}", dice.below(100_000)),
        3 => (*dice.pick::<&str>(&["true", "false", "null", "-1.5e3", "0"])).to_owned(),
        4 => {
            const STRANGE: &[&str] =
                &["\\\"", "\\\\", "\\u00e9", "}{", "\\n", "\u{1f469}\u{200d}\u{1f680}", "[,]"];
            format!("\"{}{}\"", dice.pick(WORDS[0]), dice.pick(STRANGE))
        }
        _ => format!("\"{}\"", dice.pick(WORDS[1])),
    }
}

fn arguments(dice: &mut Dice) -> String {
    if dice.chance(12) {
        return String::new();
    }
    let pairs: Vec<String> = (0..dice.below(4)).map(|n| format!("\"a{n}\": {}", json(dice, 2))).collect();
    format!("{{{}}}", pairs.join(", "))
}

impl Answer {
    /// A new answer in one of three voices, which share no words.
    pub fn write(dice: &mut Dice, voice: usize, wish: Wish) -> Self {
        let mut elements = Vec::new();
        if wish.reasoning && dice.chance(60) {
            elements.push(Element::Reasoning(dice.within(1, 5)));
        }
        if wish.json {
            let items: Vec<String> = (0..dice.within(1, 8)).map(|_| json(dice, 2)).collect();
            elements.push(Element::Text(format!("{{\"items\": [{}]}}", items.join(", "))));
            return Self { elements };
        }
        if wish.short {
            let few = dice.within(1, 3);
            let text: Vec<&str> = (0..few).map(|_| *dice.pick(WORDS[voice % 3])).collect();
            elements.push(Element::Text(text.join(" ")));
            return Self { elements };
        }
        let lead = *dice.pick::<&str>(&["", "", "", "", "\n\n", " ", "# "]);
        let mut text = lead.to_owned();
        for _ in 0..dice.within(1, 4) {
            text.push_str(&block(dice, voice));
            if wish.opaque && dice.chance(40) {
                elements.push(Element::Text(core::mem::take(&mut text)));
                elements.push(Element::Opaque(u64::from(dice.bits()), dice.within(1, 3)));
            }
            if wish.reasoning && dice.chance(10) {
                elements.push(Element::Text(core::mem::take(&mut text)));
                elements.push(Element::Reasoning(1));
            }
            if wish.calls && dice.chance(20) {
                elements.push(Element::Text(core::mem::take(&mut text)));
                elements.push(call(dice));
            }
        }
        if dice.chance(70) {
            text.truncate(text.trim_end().len());
        }
        elements.push(Element::Text(text));
        if wish.calls && dice.chance(70) {
            if dice.chance(20) {
                elements.retain(|element| !matches!(element, Element::Text(_)));
            }
            for _ in 0..dice.within(1, 3) {
                elements.push(call(dice));
            }
        }
        elements.retain(|element| *element != Element::Text(String::new()));
        Self { elements }
    }

    /// The same answer with one word changed somewhere.
    #[must_use]
    pub fn with_another_word(&self, dice: &mut Dice) -> Self {
        let mut other = self.clone();
        let texts: Vec<usize> =
            (0..other.elements.len()).filter(|&at| matches!(other.elements[at], Element::Text(_))).collect();
        if texts.is_empty() {
            return other;
        }
        if let Element::Text(text) = &mut other.elements[*dice.pick(&texts)] {
            let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
            if !spaces.is_empty() {
                text.insert_str(*dice.pick(&spaces), " (otherwise)");
            }
        }
        other
    }
}

fn call(dice: &mut Dice) -> Element {
    let name = *dice.pick::<&str>(&["search", "send", "look_up", "book"]);
    Element::Call(name.to_owned(), arguments(dice))
}
