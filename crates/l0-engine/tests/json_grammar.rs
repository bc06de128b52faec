//! What is JSON, what is not, and what its specification leaves to the reader.

use std::borrow::Cow;

use l0_engine::json::{MAX_DEPTH, Options, Scanner, Status, repair};

fn scan(text: &str) -> Status {
    let mut scanner = Scanner::new();
    scanner.feed(text);
    scanner.finish()
}

const ACCEPT: &[&str] = &[
    // Structure.
    "[]",
    "{}",
    " [ ] ",
    "{ }",
    "[[]]",
    "[{}]",
    "{\"a\":{}}",
    "[[[[[]]]]]",
    "[1,2,3]",
    "[1, \"a\", null, true, {}]",
    "{\"a\":1,\"b\":2}",
    "\t{\r\n\"a\" :\n1 }\n",
    "[\n]",
    "[null]",
    "[false,true]",
    "{\"\":0}",
    "{\"a\":[],\"b\":{}}",
    // Scalars alone.
    "0",
    "-0",
    "1",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\"",
    " 1 ",
    "\n\"a\"\n",
    // Numbers.
    "[0]",
    "[-0]",
    "[-1]",
    "[10]",
    "[0.0]",
    "[-0.5]",
    "[1.25]",
    "[1e1]",
    "[1E1]",
    "[1e+1]",
    "[1e-1]",
    "[0e0]",
    "[0E+00]",
    "[1.5e01]",
    "[123456789012345678901234567890]",
    "[-0.000000000000000000000000000001]",
    "[20e1]",
    "[0e-1]",
    // Strings.
    "[\"\\\"\"]",
    "[\"\\\\\"]",
    "[\"\\/\"]",
    "[\"\\b\\f\\n\\r\\t\"]",
    "[\"\\u0000\"]",
    "[\"\\u00e9\"]",
    "[\"\\uD83D\\uDE00\"]",
    "[\"\\uabcD\"]",
    "[\"é\"]",
    "[\"漢字\"]",
    "[\"🙂\"]",
    "[\"\u{7f}\"]",
    "[\"\u{80}\"]",
    "[\"\u{2028}\"]",
    "[\"\u{2029}\"]",
    "[\"\u{feff}\"]",
    "[\"\u{ffff}\"]",
    "[\"\u{10ffff}\"]",
    "[\" \"]",
    "[\",\"]",
    "[\":\"]",
    "[\"[{\"]",
    "[\"//\"]",
    "[\"/* */\"]",
    "[\"'\"]",
    "[\"\\\\u0041\"]",
    "[\"\\\\\\\"\"]",
];

const REJECT: &[&str] = &[
    // Nothing, or not enough.
    "",
    " ",
    "\n",
    "[",
    "{",
    "[1",
    "[1,",
    "[\"a",
    "[\"a\"",
    "{\"a",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "\"",
    "\"a",
    "-",
    "tru",
    "nul",
    "[\"\\",
    "[\"\\u",
    "[\"\\u12",
    "[[[",
    "{\"a\":{",
    "[{",
    // Too much.
    "[]]",
    "{}}",
    "[][]",
    "{}{}",
    "1 2",
    "[] x",
    "{} 1",
    "null null",
    "\"a\" \"b\"",
    "[],",
    "{},",
    "1,",
    "]",
    "}",
    ",",
    ":",
    // Commas and colons.
    "[,]",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "[\"a\" \"b\"]",
    "[1;2]",
    "{,}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"}",
    "{\"a\",\"b\"}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{\"a\"=1}",
    "{\"a\":}",
    "{:1}",
    "{\"a\":,\"b\":1}",
    "[:]",
    "[1:2]",
    "[\"a\":1]",
    // Closers.
    "[}",
    "{]",
    "[1}",
    "{\"a\":1]",
    "[[}]",
    "[(])",
    "(1)",
    "{\"a\":[}]",
    // Keys.
    "{a:1}",
    "{1:1}",
    "{'a':1}",
    "{null:1}",
    "{[]:1}",
    "{{}:1}",
    "{\"a\"b:1}",
    "{true:1}",
    // Literals.
    "True",
    "TRUE",
    "nil",
    "None",
    "undefined",
    "NaN",
    "[NaN]",
    "Infinity",
    "-Infinity",
    "[tru]",
    "[truee]",
    "[nulll]",
    "[true1]",
    "[falsetrue]",
    // Numbers.
    "+1",
    "01",
    "-01",
    "00",
    "1.",
    ".1",
    "-.1",
    "1.e1",
    "1e",
    "1e+",
    "1E-",
    "--1",
    "-+1",
    "1-",
    "1+1",
    "0x1",
    "1_000",
    "1,000",
    "1e1.5",
    "1.2.3",
    "1a",
    "[1a]",
    "[-]",
    "[- 1]",
    "[1 .5]",
    "[0e]",
    "[0.]",
    "[١]",
    "[１]",
    "$1",
    "1f",
    "1n",
    // Strings.
    "'a'",
    "[\"a]",
    "[a]",
    "[\"\n\"]",
    "[\"\t\"]",
    "[\"\u{0}\"]",
    "[\"\u{1f}\"]",
    "[\"\\a\"]",
    "[\"\\x41\"]",
    "[\"\\'\"]",
    "[\"\\0\"]",
    "[\"\\u123\"]",
    "[\"\\u12g4\"]",
    "[\"\\U0041\"]",
    "[\"\\u 041\"]",
    "[\"\\é\"]",
    "[\"\\🙂\"]",
    "[\"\\\n\"]",
    "[\"a\"b\"]",
    "“a”",
    "[“a”]",
    "`a`",
    // Spaces and comments.
    "\u{feff}[]",
    "[\u{a0}1]",
    "[\u{2028}]",
    "[\u{c}]",
    "[\u{b}1]",
    "\u{200b}{}",
    "[1]//x",
    "[1]/* x */",
    "[/* x */1]",
    "[1]#x",
    "/**/[]",
    "[1]\u{0}",
];

/// Accepted or not as the specification allows either, and why so here.
const LEFT_OPEN: &[(&str, bool, &str)] = &[
    (
        "[\"\\ud800\"]",
        true,
        "half a surrogate pair: the grammar has it, and refusing it would lose a document over one character",
    ),
    ("[\"\\udc00\\ud800\"]", true, "halves in the wrong order, likewise"),
    ("{\"a\":1,\"a\":2}", true, "a key twice: the text is kept as it is"),
    ("[1e999]", true, "a number no float holds: numbers are not evaluated"),
    ("[-1e-999]", true, "a number that is nothing in a float"),
    ("\u{feff}{}", false, "a byte order mark: readers differ, so it goes"),
];

#[test]
fn what_is_json_is_accepted_and_stays_as_it_is() {
    for text in ACCEPT {
        assert_eq!(scan(text), Status::Complete, "{text:?}");
        let repaired = repair(text, &Options::default()).expect(text);
        assert!(matches!(repaired.text, Cow::Borrowed(same) if same == *text), "{text:?}");
        assert!(repaired.changes.is_empty(), "{text:?}");
    }
}

#[test]
fn what_is_not_json_is_refused_and_repaired_if_at_all_to_something_else() {
    for text in REJECT {
        assert_ne!(scan(text), Status::Complete, "{text:?}");
        if let Ok(repaired) = repair(text, &Options::default()) {
            assert_ne!(repaired.text, *text);
            assert_eq!(scan(&repaired.text), Status::Complete, "{text:?}");
        }
    }
}

#[test]
fn what_is_left_open_is_decided() {
    for (text, accepted, why) in LEFT_OPEN {
        assert_eq!(scan(text) == Status::Complete, *accepted, "{text:?}: {why}");
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(scan(&deep(MAX_DEPTH)), Status::Complete);
    assert_eq!(scan(&deep(MAX_DEPTH + 1)), Status::Invalid { at: MAX_DEPTH });
}
