//! Answers that went wrong, made from right ones: cut, changed, or repeated without end.

use l0_engine::guards::{
    Check, DriftSpec, GuardSet, JsonSpec, LatexSpec, MarkdownSpec, RepetitionSpec, Signal,
};
use serde::de::IgnoredAny;

use super::draw::Draw;
use super::ordinary::{json_object, json_value};
use super::{DRAWN, Score, Should, compile, flags, warning};

pub(crate) fn measure(scores: &mut Vec<Score>) {
    json(scores);
    markdown(scores);
    latex(scores);
    repetition(scores);
    drift(scores);
}

fn score(
    scores: &mut Vec<Score>,
    guard: &str,
    set: &GuardSet,
    corpus: &str,
    should: Should,
    texts: &[String],
) {
    let found = texts.iter().map(|text| (text.as_str(), flags(set, text)));
    scores.push(Score::of(guard, corpus, should, found));
}

/// Documents with one character taken out, put in, changed, or with their end cut off; whether they are still JSON is
/// for an ordinary parser to say.
fn json(scores: &mut Vec<Score>) {
    let mut draw = Draw::new(10);
    let set = warning(Check::Json(JsonSpec::default()));
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    while right.len() < 2 * DRAWN || wrong.len() < 5 * DRAWN {
        let text = json_value(&mut draw, 4);
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let place = *draw.pick(&places);
        let (before, after) = text.split_at(place);
        let mut rest = after.chars();
        rest.next();
        let other = *draw.pick(&["{", "}", "[", "]", ",", ":", "\"", "\\", "0", "e", "n", " ", "\n", "'"]);
        let changed = match draw.below(5) {
            0 => format!("{before}{}", rest.as_str()),
            1 => format!("{before}{other}{after}"),
            2 => format!("{before}{other}{}", rest.as_str()),
            3 => before.to_owned(),
            _ => text.clone(),
        };
        match serde_json::from_str::<IgnoredAny>(&changed) {
            Ok(_) => right.push(changed),
            Err(_) => wrong.push(changed),
        }
    }
    score(scores, "json", &set, "documents by rule, some changed and still valid", Should::Pass, &right);
    score(scores, "json", &set, "documents by rule, one character changed or cut", Should::Flag, &wrong);
}

/// Answers with fences and tables, whole and cut inside a fence.
fn markdown(scores: &mut Vec<Score>) {
    let mut draw = Draw::new(20);
    let set = warning(Check::Markdown(MarkdownSpec::default()));
    let (mut whole, mut cut, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..DRAWN {
        let words = draw.between(5, 60);
        let before = draw.prose(words);
        let words = draw.between(5, 60);
        let after = draw.prose(words);
        let words = draw.between(5, 60);
        let code = draw.prose(words).replace(". ", "\n");
        let (open, close) =
            *draw.pick(&[("```python", "```"), ("```", "```"), ("~~~", "~~~"), ("````md", "````")]);
        let indent = *draw.pick(&["", "", "   ", "> "]);
        let code = code.replace('\n', &format!("\n{indent}"));
        let inside = format!("{before}\n\n{indent}{open}\n{indent}{code}");
        whole.push(format!("{inside}\n{indent}{close}\n\n{after}"));
        let places: Vec<usize> = inside.char_indices().map(|(place, _)| place).collect();
        let first = inside.len() - code.len();
        let place = *places.iter().filter(|place| **place > first).nth(draw.below(4)).unwrap_or(&first);
        cut.push(inside[..=place].to_owned());
        let columns = draw.between(2, 6);
        let other = if draw.below(2) == 0 { columns - 1 } else { columns + 1 };
        let row = |cell: &str, count: usize| format!("|{}\n", format!(" {cell} |").repeat(count));
        whole.push(format!(
            "{before}\n\n{}{}{}\n{after}",
            row("name", columns),
            row("---", columns),
            row("1", columns)
        ));
        broken.push(format!(
            "{before}\n\n{}{}{}\n{after}",
            row("name", columns),
            row("---", other),
            row("1", columns)
        ));
    }
    score(scores, "markdown", &set, "answers by rule, with fences and tables", Should::Pass, &whole);
    score(scores, "markdown", &set, "the same, cut inside a fence", Should::Flag, &cut);
    score(scores, "markdown", &set, "the same, a table's ruler too long or short", Should::Flag, &broken);
}

/// Answers with environments and display math, whole and cut inside.
fn latex(scores: &mut Vec<Score>) {
    let mut draw = Draw::new(30);
    let set = warning(Check::Latex(LatexSpec::default()));
    let (mut whole, mut cut, mut crossed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..DRAWN {
        let words = draw.between(5, 60);
        let before = draw.prose(words);
        let words = draw.between(5, 60);
        let after = draw.prose(words);
        let (n, m) = (draw.between(2, 9), draw.between(2, 9));
        let formula = format!("x_{n} = \\frac{{{m}}}{{\\sqrt{{{n}}}}}");
        let (open, close) = *draw.pick(&[
            ("\\begin{align}\n", "\n\\end{align}"),
            ("\\begin{equation*}", "\\end{equation*}"),
            ("\\[\n", "\n\\]"),
            ("\\[ ", " \\]"),
            ("$$\n", "\n$$"),
            ("$$", "$$"),
            ("\\begin{a}\\begin{b}", "\\end{b}\\end{a}"),
        ]);
        whole.push(format!("{before}\n\n{open}{formula}{close}\n\n{after}"));
        let place = formula.len() - draw.below(4);
        cut.push(format!("{before}\n\n{open}{}", &formula[..place]));
        crossed.push(format!("{before}\n\n\\begin{{align}}\n{formula}\n\\end{{equation}}\n\n{after}"));
    }
    score(scores, "latex", &set, "answers by rule, with environments and display math", Should::Pass, &whole);
    score(scores, "latex", &set, "the same, cut inside", Should::Flag, &cut);
    score(scores, "latex", &set, "the same, another environment ended", Should::Flag, &crossed);
}

/// Answers that get caught in a loop, and such that repeat themselves only so far.
fn repetition(scores: &mut Vec<Score>) {
    let mut draw = Draw::new(40);
    let set = warning(Check::Repetition(RepetitionSpec::default()));
    let (mut words, mut lines, mut unspaced, mut signs, mut few, mut short) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..DRAWN {
        let lead = draw.between(5, 300);
        let lead = draw.prose(lead);
        let length = draw.between(1, 80);
        let block = draw.prose(length);
        let times = 8_000 / block.len() + 4;
        words.push(format!("{lead} {}", format!("{block} ").repeat(times)));
        let length = draw.between(1, 6);
        let block: Vec<String> = (0..length)
            .map(|_| {
                let words = draw.between(1, 12);
                draw.prose(words) + "\n"
            })
            .collect();
        let block = block.concat();
        lines.push(format!("{lead}\n{}", block.repeat(8_000 / block.len() + 4)));
        let length = draw.between(1, 30);
        let block = draw.chars("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏", length);
        unspaced.push(format!("{lead}{}", block.repeat(2_000 / length + 4)));
        let length = draw.between(1, 4);
        let block = draw.chars("!0. -=*1\n", length);
        signs.push(format!("{lead} {}", format!("{block}!").repeat(16_000 / (length + 1))));
        let length = draw.between(1, 80);
        let block = draw.prose(length);
        few.push(format!("{lead} {block} {block} {block} and so on. {lead}"));
        let length = draw.between(1, 6);
        let block = draw.prose(length);
        short.push(format!("{lead} {} {lead}", format!("{block} ").repeat(900 / (block.len() + 1))));
    }
    for (corpus, should, texts) in [
        ("1 to 80 words, without end", Should::Flag, &words),
        ("1 to 6 lines, without end", Should::Flag, &lines),
        ("1 to 30 Han characters, without end", Should::Flag, &unspaced),
        ("signs and digits, without end", Should::Flag, &signs),
        ("1 to 80 words, three times", Should::Pass, &few),
        ("1 to 6 words, over 900 characters", Should::Pass, &short),
    ] {
        score(scores, "repetition", &set, corpus, should, texts);
    }
}

fn drift(scores: &mut Vec<Score>) {
    let mut draw = Draw::new(50);
    let only = |signal| compile(&[], Some(&DriftSpec { signals: vec![signal], ..DriftSpec::default() }));
    let set = only(Signal::Script);
    let (mut changed, mut announced) = (Vec::new(), Vec::new());
    for _ in 0..DRAWN {
        let words = draw.between(60, 300);
        let lead = draw.prose(words);
        let lead = lead.trim_end_matches('.');
        let (alphabet, length) = *draw.pick(&[
            ("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往", 120),
            ("абвгдежзиклмнопрсту ", 160),
            ("ابتثجحخدذرزسشصضطظ ", 160),
            ("אבגדהוזחטיכלמנסעפצ ", 160),
            ("กขคงจฉชซญดตถทธนบปผ", 120),
            ("가나다라마바사아자차 ", 160),
        ]);
        let foreign = draw.chars(alphabet, length);
        changed.push(format!("{lead} {foreign}"));
        let sign = *draw.pick(&[": ", "\n\n", " (", " “", "\n> ", " **", " – ", "\n- "]);
        announced.push(format!("{lead}{sign}{foreign}"));
    }
    score(scores, "drift", &set, "another script in the middle of a sentence", Should::Flag, &changed);
    score(scores, "drift", &set, "another script, announced", Should::Pass, &announced);

    let set = only(Signal::Format);
    let (mut collapsed, mut followed) = (Vec::new(), Vec::new());
    while collapsed.len() < DRAWN {
        let items: Vec<String> = (0..draw.between(4, 12)).map(|_| json_object(&mut draw, 3)).collect();
        let document = format!("[{}]", items.join(","));
        let prose = draw.prose(40);
        followed.push(format!("{document}\n\n{prose}"));
        // Between two items, where an item is due and prose comes.
        let end: usize = items.iter().take(items.len() / 2).map(|item| item.len() + 1).sum();
        if end >= 64 {
            collapsed.push(format!("{} {prose}", &document[..=end]));
        }
    }
    score(scores, "drift", &set, "JSON that turns into prose between two items", Should::Flag, &collapsed);
    score(scores, "drift", &set, "JSON that is followed by prose", Should::Pass, &followed);
}
