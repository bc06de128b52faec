//! Texts for tests: JSON, JSON with one thing broken, and what is neither.

use proptest::prelude::*;

/// JSON text of any shape, written with the freedoms the grammar gives: whitespace, escapes, number forms.
pub(super) fn document() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", " ", "\n\t", "\r\n "]);
    let string = prop::collection::vec(
        prop_oneof![
            "[a-zA-Z0-9 é漢🙂/{}\\[\\],:']{1,40}",
            prop::sample::select(vec![
                "\\n",
                "\\\"",
                "\\\\",
                "\\/",
                "\\u00e9",
                "\\ud83d\\ude00",
                "\\uD800"
            ])
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
            (prop::collection::vec(inner.clone(), 0..6), space()).prop_map(
                |(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},")))
            ),
            (
                prop::collection::vec((string.clone(), inner), 0..6),
                space()
            )
                .prop_map(|(members, space)| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(key, value)| format!("{key}{space}:{value}"))
                        .collect();
                    format!("{{{space}{}{space}}}", members.join(&format!(",{space}")))
                }),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

/// A document with one place broken: a stretch cut out, or something put in.
pub(super) fn mutated() -> impl Strategy<Value = String> {
    let inserted = prop::sample::select(vec![
        "", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "\n", " ", "t", "\u{1}",
        "é", "\\u12",
    ]);
    (
        document(),
        any::<prop::sample::Index>(),
        0..3_usize,
        inserted,
    )
        .prop_map(|(text, place, cut, inserted)| {
            let mut chars: Vec<char> = text.chars().collect();
            let at = place.index(chars.len());
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, inserted.chars());
            chars.into_iter().collect()
        })
}

/// Mostly tokens, so that runs get somewhere before they go wrong.
pub(super) fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "true", "null", "0", "12", "-", ".5",
        "e3", " ", "\n", "é",
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
