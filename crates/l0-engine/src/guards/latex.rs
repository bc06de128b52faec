//! LaTeX that hangs together: environments and display math are closed.
//!
//! A dollar sign in a sentence is a dollar sign. Display math counts only where it looks like mathematics, and code is
//! never looked at.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::fence::{Fences, Ticked};
use super::hit::{At, Finding, Span};
use super::watch::{End, Watch};

/// How deep environments may nest before the guard stops counting.
const DEPTH_MAX: usize = 64;

/// How long a name may be and still be one.
const NAME_CHARS_MAX: usize = 32;

/// That environments and display math are closed: there is nothing to set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatexSpec {}

#[derive(Debug, Clone)]
pub(super) struct LatexGuard {
    fences: Fences,
    ticked: Ticked,
    token: Token,
    environments: SmallVec<[Environment; 2]>,
    /// `\[` that waits for its `\]`.
    brackets: Option<Math>,
    /// `$$` that waits for the next.
    dollars: Option<Math>,
    /// Whether the line holds only spaces and markers so far.
    line_blank: bool,
    /// Whether there is nothing more to say: something was found, or too much was open to tell.
    done: bool,
}

#[derive(Debug, Clone, Copy)]
struct Environment {
    name: Name,
    span: Span,
}

/// Display math that was opened.
#[derive(Debug, Clone, Copy)]
struct Math {
    span: Span,
    /// Whether it began its line.
    first: bool,
    /// Whether something followed it that only mathematics has: a command; an exponent or index, if it began its line.
    proven: bool,
    /// What followed it on its line.
    line: Rest,
    /// How many plain brackets are open in it.
    nested: u32,
}

impl Math {
    const fn new(span: Span, first: bool) -> Self {
        Self { span, first, proven: false, line: Rest::Blank, nested: 0 }
    }

    /// Whether, at the end of a line, it turns out to be something else, such as a price.
    const fn is_refuted(self, blank: bool) -> bool {
        let refuted = match self.line {
            Rest::Blank => false,
            Rest::Text => true,
            Rest::Over => blank && !self.first,
        };
        refuted && !self.proven
    }
}

/// What follows on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing but spaces so far.
    Blank,
    Text,
    /// The line is over.
    Over,
}

/// A name, by its hash and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Name {
    hash: u64,
    chars: usize,
}

/// What is being read.
#[derive(Debug, Clone, Copy)]
enum Token {
    Plain,
    Backslash {
        start: At,
        first: bool,
    },
    /// The letters of `\begin` or `\end`, as far as they fit.
    Command {
        start: At,
        name: Name,
    },
    /// The name in braces after them.
    Braces {
        start: At,
        begin: bool,
        name: Name,
    },
    Dollars {
        span: Span,
        count: u32,
        first: bool,
    },
}

const BEGIN: Name = Name::of("begin");
const END: Name = Name::of("end");
const COMMAND_CHARS_MAX: usize = 5;

/// Environments whose content is not LaTeX.
const VERBATIM: [Name; 4] =
    [Name::of("verbatim"), Name::of("lstlisting"), Name::of("minted"), Name::of("Verbatim")];

impl Name {
    const fn of(text: &str) -> Self {
        let mut name = Self { hash: 0, chars: 0 };
        let mut rest = text.as_bytes();
        while let [first, others @ ..] = rest {
            name = name.with(*first as u32);
            rest = others;
        }
        name
    }

    const fn with(self, ch: u32) -> Self {
        Self {
            hash: (self.hash ^ ch as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23),
            chars: self.chars + 1,
        }
    }
}

impl LatexGuard {
    pub(super) fn new() -> Self {
        Self {
            fences: Fences::default(),
            ticked: Ticked::default(),
            token: Token::Plain,
            environments: SmallVec::new(),
            brackets: None,
            dollars: None,
            line_blank: true,
            done: false,
        }
    }

    fn step(&mut self, ch: char, at: At, found: &mut impl FnMut(Finding, Span)) {
        let end = at.step(ch);
        match self.token {
            Token::Plain => self.step_plain(ch, at),
            Token::Backslash { start, first } => {
                self.token = Token::Plain;
                self.step_escaped(ch, first, Span { start, end }, found);
            }
            Token::Command { start, name } => match ch {
                'a'..='z' if name.chars < COMMAND_CHARS_MAX => {
                    let name = name.with(u32::from(ch));
                    self.token = Token::Command { start, name };
                }
                '{' if name == BEGIN || name == END => {
                    self.token = Token::Braces { start, begin: name == BEGIN, name: Name::default() };
                }
                _ => {
                    self.token = Token::Plain;
                    self.step_plain(ch, at);
                }
            },
            Token::Braces { start, begin, name } => match ch {
                '}' => {
                    self.token = Token::Plain;
                    self.environment(begin, name, Span { start, end }, found);
                }
                '\n' => {
                    self.token = Token::Plain;
                    self.end_line();
                }
                _ if name.chars == NAME_CHARS_MAX => self.token = Token::Plain,
                _ => {
                    let name = name.with(u32::from(ch));
                    self.token = Token::Braces { start, begin, name };
                }
            },
            Token::Dollars { span, count, first } if ch == '$' => {
                let span = Span { end, ..span };
                let count = count.saturating_add(1);
                self.token = Token::Dollars { span, count, first };
            }
            Token::Dollars { .. } => {
                self.end_token();
                self.step_plain(ch, at);
            }
        }
    }

    fn step_plain(&mut self, ch: char, at: At) {
        match ch {
            '\n' => return self.end_line(),
            '\\' => {
                let first = self.line_blank;
                self.token = Token::Backslash { start: at, first };
            }
            '$' => {
                let end = at.step(ch);
                self.token =
                    Token::Dollars { span: Span { start: at, end }, count: 1, first: self.line_blank };
            }
            '^' | '_' => self.prove(false),
            '[' => self.nest(),
            ']' => self.unnest(),
            _ => {}
        }
        // The marks of quotes and lists leave a line as good as blank.
        let blank = ch.is_whitespace() || matches!(ch, '>' | '-' | '*' | '.' | '0'..='9');
        self.line_blank &= blank;
        if !ch.is_whitespace() && ch != '$' {
            self.follow();
        }
    }

    /// Takes the character after a backslash.
    fn step_escaped(&mut self, ch: char, first: bool, span: Span, found: &mut impl FnMut(Finding, Span)) {
        match ch {
            '\n' => return self.end_line(),
            'a'..='z' | 'A'..='Z' => {
                self.prove(true);
                self.token = Token::Command { start: span.start, name: Name::default().with(u32::from(ch)) };
            }
            '[' if !self.is_verbatim() => match self.brackets {
                Some(math) if math.proven => self.hit(Finding::MathOpen, math.span, found),
                _ => self.brackets = Some(Math::new(span, first)),
            },
            ']' => self.brackets = None,
            _ => {}
        }
        self.follow();
    }

    /// Takes a character of code.
    fn step_code(&mut self, ch: char) {
        self.end_token();
        if ch == '\n' {
            self.end_line();
        } else {
            self.line_blank = false;
            self.follow();
        }
    }

    fn end_token(&mut self) {
        let token = std::mem::replace(&mut self.token, Token::Plain);
        if let Token::Dollars { span, count, first } = token
            && count == 2
            && !self.is_verbatim()
        {
            self.dollars = match self.dollars {
                Some(_) => None,
                None => Some(Math::new(span, first)),
            };
        }
    }

    fn end_line(&mut self) {
        let blank = std::mem::replace(&mut self.line_blank, true);
        self.dollars = self.dollars.filter(|math| !math.is_refuted(blank));
        if let Some(math) = &mut self.dollars {
            math.line = Rest::Over;
        }
    }

    fn environment(&mut self, begin: bool, name: Name, span: Span, found: &mut impl FnMut(Finding, Span)) {
        let innermost = self.environments.last().map(|open| open.name);
        let ends_innermost = !begin && innermost == Some(name);
        if name.chars == 0 || (self.is_verbatim() && !ends_innermost) {
            return;
        }
        if ends_innermost {
            self.environments.pop();
        } else if !begin {
            self.hit(Finding::EnvironmentMismatch, span, found);
        } else if self.environments.len() < DEPTH_MAX {
            self.environments.push(Environment { name, span });
        } else {
            self.done = true;
        }
    }

    /// Something was read that speaks for mathematics, a command more than an exponent or an index.
    fn prove(&mut self, command: bool) {
        for math in [&mut self.brackets, &mut self.dollars].into_iter().flatten() {
            math.proven |= command || math.first;
        }
    }

    fn follow(&mut self) {
        if let Some(math) = &mut self.dollars
            && math.line == Rest::Blank
        {
            math.line = Rest::Text;
        }
    }

    fn nest(&mut self) {
        if let Some(math) = &mut self.brackets {
            math.nested = math.nested.saturating_add(1);
        }
    }

    /// A plain bracket that closes what `\[` opened shows that it was only an escaped bracket.
    fn unnest(&mut self) {
        if let Some(math) = &mut self.brackets {
            match math.nested.checked_sub(1) {
                Some(nested) => math.nested = nested,
                None => self.brackets = None,
            }
        }
    }

    fn is_verbatim(&self) -> bool {
        let innermost = self.environments.last();
        innermost.is_some_and(|open| VERBATIM.contains(&open.name))
    }

    fn hit(&mut self, finding: Finding, span: Span, found: &mut impl FnMut(Finding, Span)) {
        self.done = true;
        found(finding, span);
    }
}

impl Watch for LatexGuard {
    fn feed(&mut self, text: &str, mut at: At, found: &mut impl FnMut(Finding, Span)) {
        for ch in text.chars() {
            if self.done {
                return;
            }
            let fenced = self.fences.step(ch, at);
            let ticked = self.ticked.step(ch);
            if fenced || ticked {
                self.step_code(ch);
            } else {
                self.step(ch, at, found);
            }
            at = at.step(ch);
        }
    }

    fn finish(&mut self, _end: End, found: &mut impl FnMut(Finding, Span)) {
        if self.done {
            return;
        }
        self.end_token();
        if let Some(open) = self.environments.first() {
            return self.hit(Finding::EnvironmentOpen, open.span, found);
        }
        let open = [self.brackets, self.dollars].into_iter().flatten();
        if let Some(math) = open.into_iter().find(|math| math.proven) {
            self.hit(Finding::MathOpen, math.span, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{findings, guard, same_however_split};
    use crate::guards::{Check, GuardSet};

    use super::*;

    fn latex() -> GuardSet {
        guard(Check::Latex(LatexSpec {}))
    }

    #[test]
    fn what_is_closed_passes_and_so_does_what_is_no_mathematics() {
        let set = latex();
        for text in [
            r"\begin{align} a &= b \\[2pt] c &= d \end{align}",
            r"\begin{a}\begin{b}\end{b}\end{a}",
            r"\begin{align*}x\end{align*}",
            "$$\n\\frac{1}{2}\n$$",
            "$$\\frac{1}{2}$$",
            "so that $$x^2$$ and $$y_1$$.",
            r"\[ x^2 \]",
            r"\[ x \in [0, 1] \]",
            "It costs $5, or $$ on the menu.",
            "- $ = cheap\n- $$ = moderate\n- $$$ = dear, with x_1 and \\alpha",
            "$$ means moderate.\n\nLater, $\\alpha$ is an angle.",
            "Price: $$\n\nThe angle $\\alpha$ is small.",
            r"a list\[1, and \alpha]",
            r"- \[ ] buy_milk and \alpha",
            "`$$` is the shell's own number, and `\\begin{x}` is LaTeX",
            "```latex\n\\begin{document}\n$$x^2\n```",
            r"\begin{verbatim} \begin{x} $$ \[ \end{verbatim}",
            r"\$\$ \alpha",
            r"\beginning{x} \endless{y} \begin {z}",
            "$PATH, $HOME and $$",
        ] {
            assert_eq!(findings(&set, text), [], "{text}");
        }
    }

    #[test]
    fn what_is_not_closed_is_found() {
        let set = latex();
        for (text, finding) in [
            (r"\begin{align} a &= b", Finding::EnvironmentOpen),
            (r"\begin{a}\begin{b}\end{b}", Finding::EnvironmentOpen),
            (r"\begin{a}\end{b}", Finding::EnvironmentMismatch),
            (r"\end{align}", Finding::EnvironmentMismatch),
            (r"\begin{a}\begin{b}\end{a}\end{b}", Finding::EnvironmentMismatch),
            (r"\begin{verbatim} \end{x}", Finding::EnvironmentOpen),
            ("$$\n\\frac{1}{2}", Finding::MathOpen),
            ("$$ x^2", Finding::MathOpen),
            ("so that $$\\frac{1}{2}", Finding::MathOpen),
            (r"\[ x = \frac{1}{2}", Finding::MathOpen),
            ("\\[ x^2\n\n\\[ y^2 \\]", Finding::MathOpen),
            ("`code` then $$\n\\sqrt{2}\n", Finding::MathOpen),
        ] {
            assert_eq!(findings(&set, text), [finding], "{text}");
        }
    }

    #[test]
    fn more_environments_than_are_counted_are_not_judged() {
        let text = r"\begin{a}".repeat(DEPTH_MAX + 1);
        assert_eq!(findings(&latex(), &text), []);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            text in r"(\\begin\{a\}|\\end\{[ab]\}|\$\$|\$|\\\[|\\\]|\\frac|[\[\]x^`\n -]|```){0,24}",
            cuts in prop::collection::vec(0usize..80, 0..8),
        ) {
            same_however_split(&latex(), &text, &cuts);
        }
    }
}
