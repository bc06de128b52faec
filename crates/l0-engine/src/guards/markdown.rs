//! Markdown that hangs together: fences are closed, and a table is one.

use serde::{Deserialize, Serialize};

use super::fence::Fences;
use super::hit::{At, Finding, Span};
use super::watch::{End, Watch};

/// How strictly tables are read. A table is what begins with a pipe; what a fence holds is not Markdown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarkdownSpec {
    /// What the rows of a table may be.
    pub rows: Rows,
}

/// What the rows of a table may be. Its header and the row of dashes under it have to agree in any case: otherwise no
/// renderer sees a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// Of any length, as Markdown allows.
    #[default]
    Any,
    /// As long as the header.
    Even,
}

impl MarkdownSpec {
    pub(super) fn compile(self) -> MarkdownGuard {
        MarkdownGuard {
            rows: self.rows,
            fences: Fences::default(),
            line: Line::default(),
            table: Table::None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct MarkdownGuard {
    rows: Rows,
    fences: Fences,
    line: Line,
    table: Table,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    /// Nothing but spaces and quote marks, and how many spaces.
    Start {
        indent: u32,
    },
    Row(Row),
    Other,
}

/// A line that begins with a pipe.
#[derive(Debug, Clone, Copy)]
struct Row {
    start: At,
    end: At,
    /// How many pipes followed the first.
    pipes: u32,
    escaped: bool,
    ends_with_pipe: bool,
    ruler: Ruler,
}

/// Whether a row can be the one under a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ruler {
    /// So far, but there is no dash in it.
    Empty,
    Dashed,
    No,
}

#[derive(Debug, Clone, Copy)]
enum Table {
    None,
    Header { cells: u32 },
    Body { cells: u32 },
}

impl Default for Line {
    fn default() -> Self {
        Self::Start { indent: 0 }
    }
}

impl MarkdownGuard {
    fn end_line(&mut self, in_fence: bool, found: &mut impl FnMut(Finding, Span)) {
        let row = match std::mem::take(&mut self.line) {
            Line::Row(row) if !in_fence => row,
            _ => {
                self.table = Table::None;
                return;
            }
        };
        let cells = row.cells();
        let ruler = row.ruler == Ruler::Dashed;
        let span = Span { start: row.start, end: row.end };
        self.table = match self.table {
            Table::None | Table::Header { .. } if !ruler => Table::Header { cells },
            Table::None => Table::None,
            Table::Header { cells: header } if header == cells => Table::Body { cells },
            Table::Header { .. } => {
                found(Finding::TableBroken, span);
                Table::None
            }
            Table::Body { cells: header } => {
                if self.rows == Rows::Even && header != cells {
                    found(Finding::TableUneven, span);
                }
                Table::Body { cells: header }
            }
        };
    }
}

impl Line {
    #[inline]
    fn step(&mut self, ch: char, at: At) {
        match self {
            Self::Other => {}
            Self::Row(row) => row.step(ch, at),
            Self::Start { indent } => match ch {
                ' ' => *indent += 1,
                '\t' => *indent += 4,
                '>' => *indent = 0,
                // Deeper than that it is code.
                '|' if *indent < 4 => *self = Self::Row(Row::new(at)),
                _ => *self = Self::Other,
            },
        }
    }
}

impl Row {
    fn new(start: At) -> Self {
        Self {
            start,
            end: start.step('|'),
            pipes: 0,
            escaped: false,
            ends_with_pipe: true,
            ruler: Ruler::Empty,
        }
    }

    fn step(&mut self, ch: char, at: At) {
        if ch.is_whitespace() {
            self.escaped = false;
            return;
        }
        self.end = at.step(ch);
        self.ends_with_pipe = ch == '|' && !self.escaped;
        self.pipes += u32::from(self.ends_with_pipe);
        self.ruler = match (self.ruler, ch) {
            (Ruler::Empty | Ruler::Dashed, '-') => Ruler::Dashed,
            (ruler, '|' | ':') => ruler,
            _ => Ruler::No,
        };
        self.escaped = ch == '\\' && !self.escaped;
    }

    fn cells(&self) -> u32 {
        self.pipes + u32::from(!self.ends_with_pipe)
    }
}

impl Watch for MarkdownGuard {
    fn feed(&mut self, text: &str, mut at: At, found: &mut impl FnMut(Finding, Span)) {
        for ch in text.chars() {
            if ch == '\n' {
                let in_fence = self.fences.is_open();
                self.fences.step(ch, at);
                self.end_line(in_fence || self.fences.is_open(), found);
            } else {
                self.fences.step(ch, at);
                self.line.step(ch, at);
            }
            at = at.step(ch);
        }
    }

    fn finish(&mut self, end: End, found: &mut impl FnMut(Finding, Span)) {
        let in_fence = self.fences.is_open();
        self.end_line(in_fence, found);
        if let Some(fence) = self.fences.finish() {
            let span = Span { start: fence.start, end: end.at.min(fence.end) };
            found(Finding::FenceOpen, span);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{findings, guard, same_however_split};
    use crate::guards::{Check, GuardSet};

    use super::*;

    fn markdown(rows: Rows) -> GuardSet {
        guard(Check::Markdown(MarkdownSpec { rows }))
    }

    #[test]
    fn fences_that_are_closed_pass() {
        let set = markdown(Rows::Any);
        for text in [
            "```\ncode\n```",
            "```rust\nfn main() {}\n```\n",
            "text\n\n~~~\ncode with ``` in it\n~~~\ntext",
            "````markdown\n```\ninner\n```\n````",
            "1. First\n\n   ```sh\n   ls\n   ```\n2. Second",
            "- ```sh\n  ls\n  ```",
            "> ```\n> quoted\n> ```\n",
            "> ```\n> the end of a quote ends its fence\n\ntext",
            "Use ```inline``` code, and ``` alone.",
            "```inline``` at the start of a line",
            "``` `` ```",
            "```js\nconst s = `a`;\n   ```   \ndone",
            "```markdown\n# Title\n```python\nprint()\n```\nmore\n```",
            "no fence at all",
            "",
        ] {
            assert_eq!(findings(&set, text), [], "{text}");
        }
    }

    #[test]
    fn fences_that_are_not_closed_are_found_at_the_end() {
        let set = markdown(Rows::Any);
        for text in [
            "```",
            "```rust\nfn main() {",
            "```\ncode\n``",
            "````\n```\n",
            "~~~\n```\n```\n",
            "text\n```\na\n```\n```python\nb",
            "> ```\n> quoted",
            "```\ncode\n```not a closing fence",
        ] {
            assert_eq!(findings(&set, text), [Finding::FenceOpen], "{text}");
        }
    }

    #[test]
    fn a_table_needs_a_ruler_as_long_as_its_header() {
        for (text, fits) in [
            ("| a | b |\n|---|---|\n| 1 | 2 |", true),
            ("| a | b |\n| :-- | --: |\n", true),
            ("| a | b\n|---|---\n| 1 | 2", true),
            ("> | a | b |\n> |---|---|\n", true),
            ("| a \\| b | c |\n|---|---|\n", true),
            ("| a | b |\n|---|\n", false),
            ("| a | b |\n|---|---|---|\n| 1 | 2 |", false),
            ("| a | b |\n|--", false),
            ("```\n| a | b |\n|---|\n```", true),
            ("    | a | b |\n    |---|\n", true),
            ("|x| + |y| = |z|\n\nprose", true),
            ("|---|\n|---|---|\n", true),
            ("a | b\n---\n", true),
        ] {
            let expected: &[Finding] = if fits { &[] } else { &[Finding::TableBroken] };
            assert_eq!(findings(&markdown(Rows::Any), text), expected, "{text}");
        }
    }

    #[test]
    fn rows_may_be_uneven_unless_told_otherwise() {
        let text = "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 |\n";
        assert_eq!(findings(&markdown(Rows::Any), text), []);
        assert_eq!(findings(&markdown(Rows::Even), text), [Finding::TableUneven]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            text in "([`~>|\\\\ a1\n:.-]|```|\\| a \\||\\|-\\|){0,30}",
            cuts in prop::collection::vec(0usize..60, 0..8),
        ) {
            same_however_split(&markdown(Rows::Even), &text, &cuts);
        }
    }
}
