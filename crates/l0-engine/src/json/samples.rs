//! Texts for tests: JSON, JSON with one thing broken, and what is neither.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

/// JSON text of any shape, written with the freedoms the grammar gives: whitespace, escapes, number forms.
pub(super) fn document() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", " ", "\n\t", "\r\n "]);
    let string = prop::collection::vec(
        prop_oneof![
            "[a-zA-Z0-9 é漢🙂/{}\\[\\],:']{1,40}",
            prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\u00e9", "\\ud83d\\ude00", "\\uD800"])
                .prop_map(str::to_owned),
        ],
        0..4,
    )
    .prop_map(|parts| format!("\"{}\"", parts.concat()))
    .boxed();
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![
        string.clone(),
        number,
        prop::sample::select(vec!["true", "false", "null", "[]", "{}"]).prop_map(str::to_owned),
    ];
    let value = leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..6), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))),
            (prop::collection::vec((string.clone(), inner), 0..6), space()).prop_map(|(members, space)| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("{key}{space}:{value}")).collect();
                format!("{{{space}{}{space}}}", members.join(&format!(",{space}")))
            }),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

/// A document with one place broken: a stretch cut out, or something put in.
pub(super) fn mutated() -> impl Strategy<Value = String> {
    let inserted = prop::sample::select(vec![
        "", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "\n", " ", "t", "\u{1}", "é",
        "\\u12",
    ]);
    (document(), any::<prop::sample::Index>(), 0..3_usize, inserted).prop_map(
        |(text, place, cut, inserted)| {
            let mut chars: Vec<char> = text.chars().collect();
            let at = place.index(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, inserted.chars());
            chars.into_iter().collect()
        },
    )
}

/// Mostly tokens, so that runs get somewhere before they go wrong.
pub(super) fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "true", "null", "0", "12", "-", ".5", "e3", " ",
        "\n", "é",
    ]);
    prop_oneof![
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat()),
        any::<String>(),
        prop::collection::vec(any::<u8>(), 0..64)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

pub(super) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![document(), mutated(), soup()]
}

/// A container with everything in it that a model's answer may hold, strings of all kinds included.
pub(super) fn container() -> impl Strategy<Value = Value> {
    let string = prop_oneof![
        4 => "[a-zA-Z0-9 ]{0,12}",
        2 => "[a-zA-Z0-9 .,:;!?#/*(){}\\[\\]<>_+=-]{0,24}",
        1 => prop::sample::select(vec![
            "https://example.org/a?b=c,d#e", "```json\n[1, ]\n```", "/* no comment */", "// neither", "a, ]", "}, \"",
            "say \"hi\", then go", "it's", "C:\\new\\table", "line\nbreak\ttab", "naïve 漢字 🙂", "", "True", "12,000",
            "{\"a\": \"b\"}", "key: value", "\u{1}", "“smart”", "a\\", "null", " ", "...", "\"", "'",
        ]).prop_map(str::to_owned),
    ];
    let number = prop_oneof![
        any::<i32>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Eighths are exact however they are read.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
    ];
    let leaf = prop_oneof![
        3 => string.clone().prop_map(Value::from),
        2 => number,
        1 => prop::sample::select(vec![Value::Null, Value::Bool(true), Value::Bool(false)]),
    ];
    let value = leaf.prop_recursive(4, 32, 5, move |inner| {
        let key = prop_oneof![4 => "[a-z_][a-z0-9_]{0,8}".boxed(), 1 => string.clone().boxed()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(
        |value| {
            if value.is_object() || value.is_array() { value } else { Value::from(vec![value]) }
        },
    )
}

/// How a value is written: every freedom a dialect takes in place of what JSON asks for.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) colon: &'static str,
    pub(super) comma: &'static str,
    /// Before the closer of a container that is not empty.
    pub(super) tail: &'static str,
    pub(super) quotes: (&'static str, &'static str),
    pub(super) literals: [&'static str; 3],
    pub(super) bare_keys: bool,
    pub(super) raw_controls: bool,
}

impl Style {
    pub(super) const JSON: Self = Self {
        colon: ": ",
        comma: ", ",
        tail: "",
        quotes: ("\"", "\""),
        literals: ["true", "false", "null"],
        bare_keys: false,
        raw_controls: false,
    };

    /// One habit of models each, and some together.
    pub(super) const HABITS: [Self; 15] = [
        Self { tail: ",", ..Self::JSON },
        Self { tail: " , \n", ..Self::JSON },
        Self { quotes: ("'", "'"), ..Self::JSON },
        Self { quotes: ("“", "”"), ..Self::JSON },
        Self { literals: ["True", "False", "None"], ..Self::JSON },
        Self { bare_keys: true, ..Self::JSON },
        Self { raw_controls: true, ..Self::JSON },
        Self { comma: ", // and so on\n", ..Self::JSON },
        Self { comma: " /* , */ , ", ..Self::JSON },
        Self { comma: "\n", ..Self::JSON },
        Self { colon: " = ", ..Self::JSON },
        Self { comma: ",, ", ..Self::JSON },
        Self { comma: "，", colon: "：", ..Self::JSON },
        Self { comma: ";\n", ..Self::JSON },
        Self {
            quotes: ("'", "'"),
            literals: ["True", "False", "None"],
            bare_keys: true,
            tail: ",",
            ..Self::JSON
        },
    ];

    pub(super) fn write(&self, value: &Value) -> String {
        let mut out = String::new();
        self.write_to(&mut out, value);
        out
    }

    fn write_to(&self, out: &mut String, value: &Value) {
        match value {
            Value::Null => out.push_str(self.literals[2]),
            Value::Bool(yes) => out.push_str(self.literals[usize::from(!yes)]),
            Value::Number(number) => write!(out, "{number}").expect("a string takes all"),
            Value::String(text) => self.write_string(out, text),
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { self.comma } else { "" });
                    self.write_to(out, item);
                }
                out.push_str(if items.is_empty() { "" } else { self.tail });
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (index, (key, item)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { self.comma } else { "" });
                    let is_name = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    if self.bare_keys && is_name {
                        out.push_str(key);
                    } else {
                        self.write_string(out, key);
                    }
                    out.push_str(self.colon);
                    self.write_to(out, item);
                }
                out.push_str(if members.is_empty() { "" } else { self.tail });
                out.push('}');
            }
        }
    }

    fn write_string(&self, out: &mut String, text: &str) {
        let (open, close) = self.quotes;
        out.push_str(open);
        for char in text.chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                '"' if open != "'" => out.push_str("\\\""),
                '\'' if open == "'" => out.push_str("\\'"),
                char if char < ' ' && !self.raw_controls => {
                    write!(out, "\\u{:04x}", u32::from(char)).expect("a string takes all");
                }
                char => out.push(char),
            }
        }
        out.push_str(close);
    }
}

/// Whether `part` is what can be known of `whole` before its end: the last string, number and container of it may
/// be shorter, and nothing may be different.
pub(super) fn begins(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::String(part), Value::String(whole)) => whole.starts_with(part.as_str()),
        (Value::Number(part), Value::Number(whole)) => {
            part == whole || whole.to_string().starts_with(part.to_string().trim_end_matches(".0"))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() <= whole.len() && part.iter().zip(whole).all(|(part, whole)| begins(part, whole))
        }
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| begins(part, whole)))
        }
        (part, whole) => part == whole,
    }
}

/// Where a text is cut into pieces.
#[derive(Debug, Clone)]
pub(super) struct Pieces(Vec<usize>);

/// Pieces of one character to a dozen, as models send them.
pub(super) fn pieces() -> impl Strategy<Value = Pieces> {
    prop_oneof![Just(vec![1]), prop::collection::vec(1..12_usize, 1..8)].prop_map(Pieces)
}

impl Pieces {
    pub(super) fn of<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut lengths = self.0.clone().into_iter().cycle();
        let mut rest = text;
        std::iter::from_fn(move || {
            let length = lengths.next().filter(|_| !rest.is_empty())?;
            let end = rest.char_indices().nth(length).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(end);
            rest = after;
            Some(piece)
        })
    }
}

/// A document in one of the dialects, cut somewhere or broken in a further place, or neither.
pub(super) fn dialect() -> impl Strategy<Value = String> {
    let inserted =
        prop::sample::select(vec!["", "\"", "'", ",", "}", "]", ":", "x", "\n", "{", "[", "1", " y "]);
    let place = any::<prop::sample::Index>();
    (container(), 0..Style::HABITS.len(), place, 0..3_usize, inserted).prop_map(
        |(value, habit, place, how, inserted)| {
            let text = Style::HABITS[habit].write(&value);
            let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let (before, after) = text.split_at(borders[place.index(borders.len())]);
            match how {
                0 => text,
                1 => before.to_owned(),
                _ => format!("{before}{inserted}{after}"),
            }
        },
    )
}
