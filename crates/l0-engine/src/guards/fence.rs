//! Where a text is code: between fences, or in a line between ticks. What a guard looks for in prose it does not look
//! for there.

use super::hit::At;

/// Follows the code fences of a Markdown text.
///
/// As `CommonMark` has it, with one allowance: a fence may be indented as deep as it likes, because models put fences
/// into lists without counting spaces.
#[derive(Debug, Clone, Default)]
pub(super) struct Fences {
    line: Line,
    open: Option<OpenFence>,
    /// Whether a fence has been closed before.
    closed_before: bool,
}

/// A fence that was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFence {
    pub(super) start: At,
    pub(super) end: At,
    tick: char,
    count: u32,
    /// Whether it stands in a block quote, whose end is also its own.
    quoted: bool,
    /// Whether it says nothing about its content.
    bare: bool,
    /// Whether anything but spaces follows it.
    filled: bool,
}

/// What the line has been so far.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// Spaces, quote marks and list markers.
    Prefix(Prefix),
    /// What may be a fence.
    Ticks(Ticks),
    /// Anything else.
    Rest,
}

#[derive(Debug, Clone, Copy, Default)]
struct Prefix {
    quoted: bool,
    listed: bool,
    marker: Marker,
}

/// A list marker, which only a space makes one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Marker {
    #[default]
    None,
    Digits,
    Whole,
}

#[derive(Debug, Clone, Copy)]
struct Ticks {
    prefix: Prefix,
    start: At,
    end: At,
    tick: char,
    count: u32,
    /// Whether only spaces follow the ticks.
    bare: bool,
    over: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self::Prefix(Prefix::default())
    }
}

impl Fences {
    /// Takes one character, and says whether it is code or part of a fence.
    #[inline]
    pub(super) fn step(&mut self, ch: char, at: At) -> bool {
        if ch == '\n' {
            self.end_line();
            return self.open.is_some();
        }
        if let Line::Rest = self.line {
            return self.open.is_some();
        }
        self.step_early(ch, at);
        self.open.is_some() || matches!(self.line, Line::Ticks(ticks) if ticks.count >= 3)
    }

    /// Takes what may stand before or in a fence.
    fn step_early(&mut self, ch: char, at: At) {
        match &mut self.line {
            Line::Rest => {}
            Line::Prefix(prefix) => {
                let before = *prefix;
                if !prefix.step(ch) {
                    self.leave_quote(before);
                    let may_be_fence = before.marker == Marker::None && matches!(ch, '`' | '~');
                    self.line = if may_be_fence {
                        Line::Ticks(Ticks {
                            prefix: before,
                            start: at,
                            end: at.step(ch),
                            tick: ch,
                            count: 1,
                            bare: true,
                            over: false,
                        })
                    } else {
                        self.fill();
                        Line::Rest
                    };
                }
            }
            Line::Ticks(ticks) => {
                let inline = ticks.over && ch == '`' && ticks.tick == '`';
                if ch == ticks.tick && !ticks.over {
                    ticks.count = ticks.count.saturating_add(1);
                    ticks.end = at.step(ch);
                } else if ticks.count < 3 || inline {
                    self.line = Line::Rest;
                    self.fill();
                } else {
                    ticks.over = true;
                    ticks.bare &= ch.is_whitespace();
                }
            }
        }
    }

    /// Ends the text, and returns the fence it leaves open.
    pub(super) fn finish(&mut self) -> Option<OpenFence> {
        self.end_line();
        // A bare fence at the very end closes a block that had another of the same length inside: untidy, but whole.
        self.open.filter(|open| open.filled || !open.bare || !self.closed_before)
    }

    /// Whether the next line begins inside a fence.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn end_line(&mut self) {
        match std::mem::take(&mut self.line) {
            Line::Prefix(prefix) => {
                self.leave_quote(prefix);
                if prefix.marker != Marker::None {
                    self.fill();
                }
            }
            Line::Ticks(ticks) => self.end_fence_line(ticks),
            Line::Rest => {}
        }
    }

    fn end_fence_line(&mut self, ticks: Ticks) {
        match self.open {
            Some(open) => {
                let closes = ticks.tick == open.tick
                    && ticks.count >= open.count
                    && ticks.bare
                    && !ticks.prefix.listed;
                if closes {
                    self.open = None;
                    self.closed_before = true;
                } else {
                    self.fill();
                }
            }
            None if ticks.count >= 3 => {
                self.open = Some(OpenFence {
                    start: ticks.start,
                    end: ticks.end,
                    tick: ticks.tick,
                    count: ticks.count,
                    quoted: ticks.prefix.quoted,
                    bare: ticks.bare,
                    filled: false,
                });
            }
            None => {}
        }
    }

    fn leave_quote(&mut self, prefix: Prefix) {
        if self.open.is_some_and(|open| open.quoted && !prefix.quoted) {
            self.open = None;
            self.closed_before = true;
        }
    }

    fn fill(&mut self) {
        if let Some(open) = &mut self.open {
            open.filled = true;
        }
    }
}

impl Prefix {
    /// Takes a character if it may be part of a prefix.
    fn step(&mut self, ch: char) -> bool {
        self.marker = match (self.marker, ch) {
            (Marker::None, ' ' | '\t' | '\r') => Marker::None,
            (Marker::None, '>') => {
                self.quoted = true;
                Marker::None
            }
            (Marker::None, '-' | '*' | '+') | (Marker::Digits, '.' | ')') => Marker::Whole,
            (Marker::None | Marker::Digits, '0'..='9') => Marker::Digits,
            (Marker::Whole, ' ' | '\t') => {
                self.listed = true;
                Marker::None
            }
            _ => return false,
        };
        true
    }
}

/// Follows ticks within a line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ticked {
    /// How many ticks opened the code; zero outside.
    open: u32,
    /// How many ticks were seen in a row just now.
    run: u32,
}

impl Ticked {
    /// Takes one character, and says whether it is code.
    #[inline]
    pub(super) fn step(&mut self, ch: char) -> bool {
        match ch {
            '`' => {
                self.run += 1;
                return true;
            }
            '\n' => *self = Self::default(),
            _ if self.run > 0 => {
                self.open = match self.open {
                    0 => self.run,
                    open if open == self.run => 0,
                    open => open,
                };
                self.run = 0;
            }
            _ => {}
        }
        self.open > 0
    }
}
