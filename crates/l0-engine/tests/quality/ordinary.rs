//! Ordinary answers, of which no guard may flag any: written ones, under `data/ordinary`, and generated ones.

use super::draw::Draw;

/// An answer, by its name.
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) text: String,
}

const WRITTEN: [(&str, &str); 6] = [
    ("prose", include_str!("../data/ordinary/prose.txt")),
    ("code", include_str!("../data/ordinary/code.txt")),
    ("maths", include_str!("../data/ordinary/maths.txt")),
    ("structured", include_str!("../data/ordinary/structured.txt")),
    ("languages", include_str!("../data/ordinary/languages.txt")),
    ("tricky", include_str!("../data/ordinary/tricky.txt")),
];

/// The answers written for this.
pub(crate) fn written() -> Vec<Answer> {
    let mut answers = Vec::new();
    for (file, texts) in WRITTEN {
        for answer in texts.split("%%%% ").skip(1) {
            let (name, text) = answer.split_once('\n').unwrap_or((answer, ""));
            answers.push(Answer { name: format!("{file}: {name}"), text: text.trim_end().to_owned() });
        }
    }
    answers
}

type Generator = fn(&mut Draw) -> String;

const GENERATED: [(&str, usize, Generator); 17] = [
    ("compact JSON", 20, compact_json),
    ("number table", 15, number_table),
    ("markdown table", 15, markdown_table),
    ("hex dump", 10, hex_dump),
    ("base 64", 10, base64),
    ("identifiers", 10, identifiers),
    ("log", 15, log),
    ("commits", 10, commits),
    ("inserts", 10, inserts),
    ("prose", 40, |draw| {
        let words = draw.between(40, 600);
        draw.prose(words)
    }),
    ("code", 15, code),
    ("long numbers", 15, long_numbers),
    ("addresses", 10, addresses),
    ("decimals", 10, decimals),
    ("repetitive list", 15, repetitive_list),
    ("steps with code", 15, steps),
    ("mathematics", 15, mathematics),
];

/// The answers that rules give.
pub(crate) fn generated() -> Vec<Answer> {
    let mut answers = Vec::new();
    for (seed, (name, count, generator)) in (0..).zip(GENERATED) {
        let mut draw = Draw::new(0x5EED_0000 + seed);
        for number in 0..count {
            answers.push(Answer { name: format!("generated {name} {number}"), text: generator(&mut draw) });
        }
    }
    answers
}

pub(crate) fn json_value(draw: &mut Draw, depth: usize) -> String {
    match draw.below(if depth == 0 { 5 } else { 8 }) {
        0 => draw.between(0, 99_999).to_string(),
        1 => format!("-{}.{}e{}", draw.between(1, 9), draw.digits(2), draw.below(9)),
        2 => (*draw.pick(&["true", "false", "null"])).to_owned(),
        3 => format!(
            "\"{}\"",
            draw.pick(&["", "a, ]", "{x}", "say \\\"hi\\\"", "\\u00e9", "// no", "```", "日本", "| a |"])
        ),
        4 => {
            let words = draw.between(1, 8);
            format!("\"{}\"", draw.prose(words))
        }
        5 | 6 => {
            let items: Vec<String> = (0..draw.below(6)).map(|_| json_value(draw, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => json_object(draw, depth - 1),
    }
}

pub(crate) fn json_object(draw: &mut Draw, depth: usize) -> String {
    let members: Vec<String> =
        (0..draw.below(6)).map(|index| format!("\"key{index}\":{}", json_value(draw, depth))).collect();
    format!("{{{}}}", members.join(","))
}

fn compact_json(draw: &mut Draw) -> String {
    let items: Vec<String> = (0..draw.between(2, 12)).map(|_| json_object(draw, 3)).collect();
    format!("[{}]", items.join(","))
}

fn number_table(draw: &mut Draw) -> String {
    let columns = draw.between(2, 12);
    let rows = draw.between(4, 30);
    let sparse = draw.below(2) == 0;
    let row = |draw: &mut Draw| -> String {
        let cells: Vec<String> = (0..columns)
            .map(|_| if sparse { draw.below(2).to_string() } else { draw.between(0, 9_999).to_string() })
            .collect();
        cells.join("\t")
    };
    let rows: Vec<String> = (0..rows).map(|_| row(draw)).collect();
    rows.join("\n")
}

fn markdown_table(draw: &mut Draw) -> String {
    let columns = draw.between(2, 7);
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line((0..columns).map(|index| format!("Column {index}")).collect());
    text.push_str(&line(vec!["---".to_owned(); columns]));
    for _ in 0..draw.between(2, 25) {
        let cells = (0..columns).map(|_| {
            (*draw.pick(&["yes", "no", "n/a", "1.5", "–", "", "`a \\| b`", "see below"])).to_owned()
        });
        text.push_str(&line(cells.collect()));
    }
    text
}

fn hex_dump(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(4, 30))
        .map(|line| {
            let bytes: Vec<String> =
                (0..16).map(|_| if draw.below(3) == 0 { "00".to_owned() } else { draw.hex(2) }).collect();
            format!("{:08x}  {}  |................|", line * 16, bytes.join(" "))
        })
        .collect();
    format!("```\n{}\n```", lines.join("\n"))
}

fn base64(draw: &mut Draw) -> String {
    let length = draw.between(40, 1_200) * 4;
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    format!("The image, encoded:\n\n{}\n\nPaste it into the page.", draw.chars(alphabet, length))
}

fn identifiers(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(5, 40))
        .map(|_| {
            format!("{}-{}-4{}-a{}-{}", draw.hex(8), draw.hex(4), draw.hex(3), draw.hex(3), draw.hex(12))
        })
        .collect();
    lines.join("\n")
}

fn log(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(8, 40))
        .map(|line| {
            let level = *draw.pick(&["INFO ", "INFO ", "WARN ", "ERROR"]);
            let id = draw.hex(16);
            let words = draw.between(2, 6);
            let words = draw.prose(words);
            format!(
                "2024-03-{:02}T08:{:02}:{:02}.{}Z {level} [{id}] {words} ms={}",
                line % 28 + 1,
                line % 60,
                draw.below(60),
                draw.digits(3),
                draw.below(2_000)
            )
        })
        .collect();
    lines.join("\n")
}

fn commits(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(5, 25))
        .map(|_| {
            let words = draw.between(3, 8);
            format!("commit {}\n    {}\n", draw.hex(40), draw.prose(words))
        })
        .collect();
    lines.concat()
}

fn inserts(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(5, 40))
        .map(|number| {
            format!(
                "INSERT INTO items (id, name, price, tag) VALUES ({number}, 'item {number}', {}.{}, NULL);",
                draw.below(90),
                draw.digits(2)
            )
        })
        .collect();
    format!("```sql\n{}\n```", lines.join("\n"))
}

fn code(draw: &mut Draw) -> String {
    let functions: Vec<String> = (0..draw.between(3, 15))
        .map(|number| {
            let words = draw.between(4, 10);
            let (words, n) = (draw.prose(words), draw.between(1, 9));
            let signature = format!("def step_{number}(token, *, api_key=None, password=None):");
            let body = format!("values[{number}] = [[0] * {n} for _ in range({n})]");
            format!(
                "{signature}\n    # {words}\n    {body}\n    return {{\"a\": values, \"b\": \"{{}}\"}}\n\n"
            )
        })
        .collect();
    format!("```python\n{}```\n\nThat is all.", functions.concat())
}

fn long_numbers(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(5, 20))
        .map(|_| match draw.below(5) {
            0 => format!("timestamp 17{}", draw.digits(14)),
            1 => format!("snowflake 1{}", draw.digits(18)),
            2 => format!("order {}", draw.digits(11)),
            3 => {
                format!("ISBN 978-{}-{}-{}-{}", draw.below(9), draw.digits(3), draw.digits(5), draw.below(9))
            }
            _ => format!("total {}.{}", draw.digits(7), draw.digits(2)),
        })
        .collect();
    lines.join("\n")
}

fn addresses(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(5, 20))
        .map(|_| match draw.below(4) {
            0 => format!("10.{}.{}.{}", draw.below(256), draw.below(256), draw.below(256)),
            1 => format!("2001:db8:{}:{}::{}", draw.hex(4), draw.hex(4), draw.hex(4)),
            2 => format!(
                "{}:{}:{}:{}:{}:{}",
                draw.hex(2),
                draw.hex(2),
                draw.hex(2),
                draw.hex(2),
                draw.hex(2),
                draw.hex(2)
            ),
            _ => format!(
                "https://www.example.com/{}/{}?id={}&page={}",
                draw.hex(8),
                draw.below(99),
                draw.digits(6),
                draw.below(9)
            ),
        })
        .collect();
    lines.join("\n")
}

fn decimals(draw: &mut Draw) -> String {
    let lines: Vec<String> = (0..draw.between(5, 40))
        .map(|number| format!("x{number} = {}.{}", draw.below(10), draw.digits(16)))
        .collect();
    lines.join("\n")
}

/// Lines that are nearly the same, as in specifications and tests.
fn repetitive_list(draw: &mut Draw) -> String {
    let words = draw.between(4, 9);
    let same = draw.prose(words);
    let lines: Vec<String> =
        (1..draw.between(10, 60)).map(|number| format!("{number}. {same} See part {number}.")).collect();
    lines.join("\n")
}

fn steps(draw: &mut Draw) -> String {
    let steps: Vec<String> = (1..draw.between(3, 9))
        .map(|number| {
            let words = draw.between(4, 20);
            let words = draw.prose(words);
            let indent = *draw.pick(&["", "   ", "    "]);
            let (open, close) =
                *draw.pick(&[("```sh", "```"), ("```", "```"), ("~~~", "~~~"), ("````text", "````")]);
            format!("{number}. {words}\n\n{indent}{open}\n{indent}make step-{number}\n{indent}{close}\n\n")
        })
        .collect();
    steps.concat()
}

fn mathematics(draw: &mut Draw) -> String {
    let parts: Vec<String> = (0..draw.between(2, 8))
        .map(|_| {
            let words = draw.between(5, 30);
            let words = draw.prose(words);
            let (n, m) = (draw.between(2, 9), draw.between(2, 9));
            let formula = format!("\\frac{{x_{n}^{m}}}{{\\sqrt{{{m}}}}} = {n}");
            match draw.below(6) {
                0 => format!("{words}\n\n$$\n{formula}\n$$\n\n"),
                1 => format!("{words}\n\n$${formula}$$\n\n"),
                2 => format!("{words}\n\\[\n{formula}\n\\]\n"),
                3 => format!("{words}\n\\begin{{align}}\n{formula} \\\\[{n}pt]\n&= {m}\n\\end{{align}}\n"),
                4 => format!("{words} Here $x_{n} < \\alpha$ costs ${n}. "),
                _ => format!("{words} so $${formula}$$ holds. "),
            }
        })
        .collect();
    parts.concat()
}
