//! What a message comes to, put together by somebody who knows nothing of the engine.

use l0_engine::{AttemptId, Part};

/// Something in a message that is not text.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A tool call.
    Call {
        /// The tool.
        name: String,
        /// Its arguments, as they were sent.
        args: String,
    },
    /// A part nobody looks into.
    Opaque(u64),
}

impl Mark {
    /// Whether both ask for the same or are the same part.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Opaque(this), Self::Opaque(that)) => this == that,
            (Self::Call { name, args }, Self::Call { name: other_name, args: other_args }) => {
                name == other_name && (args == other_args || json(args) == json(other_args))
            }
            _ => false,
        }
    }

    /// Whether it is a call whose arguments are one whole JSON document, or anything but a call.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Call { name, args } => !name.is_empty() && json(args).is_some(),
            Self::Opaque(_) => true,
        }
    }
}

fn json(args: &str) -> Option<serde_json::Value> {
    serde_json::from_str(if args.trim().is_empty() { "{}" } else { args }).ok()
}

/// Text and what stands in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// All of its text.
    pub text: String,
    /// What is not text, and how many bytes of text stand before it.
    pub marks: Vec<(usize, Mark)>,
}

impl Message {
    /// The message that chunks of attempts come to, given one after another.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = (AttemptId, &'a Part)>) -> Self {
        let mut making = Making::default();
        for (attempt, part) in parts {
            making.take(attempt, part);
        }
        making.message
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.marks.is_empty()
    }

    /// What the message comes to that goes on from the first `kept` bytes of this one's text.
    #[must_use]
    pub fn and_then(&self, kept: usize, rest: &Self) -> Self {
        let mut whole = Self { text: self.text[..kept].to_owned(), marks: self.marks.clone() };
        whole.text.push_str(&rest.text);
        whole.marks.extend(rest.marks.iter().map(|(at, mark)| (at + kept, mark.clone())));
        whole
    }

    /// What the message comes to when all of `again` is said to somebody who has this one already; nothing where it
    /// is not how this one goes on.
    #[must_use]
    pub fn said_again(&self, again: &Self) -> Option<Self> {
        let lead = |text: &str| text.len() - text.trim_start().len();
        let (mine, theirs) = if self.text.trim().is_empty() {
            let both = self.text.chars().zip(again.text.chars()).take_while(|(a, b)| a == b);
            let both = both.map(|(a, _)| a.len_utf8()).sum();
            (self.text.len(), both)
        } else {
            (lead(&self.text), lead(&again.text))
        };
        let (wanted, said) = (&self.text[mine..], &again.text[theirs..]);
        // An answer that ends where only white space was shown lacks nothing.
        let ends = wanted.starts_with(said) && wanted[said.len()..].trim().is_empty();
        if !said.starts_with(wanted) && !ends {
            return None;
        }
        let said = if ends { wanted } else { said };
        let text = format!("{}{said}", &self.text[..mine]);
        let moved = |at: usize| (at + mine).saturating_sub(theirs);
        let mut marks = self.marks.clone();
        for (place, (at, mark)) in again.marks.iter().enumerate() {
            let at = moved(*at).min(text.len());
            match self.marks.get(place) {
                Some((known, same)) => {
                    let between = text.get(at.min(*known)..at.max(*known))?;
                    if !same.is_as(mark) || !between.trim().is_empty() {
                        return None;
                    }
                }
                None => marks.push((at, mark.clone())),
            }
        }
        (again.marks.len() >= self.marks.len()).then_some(Self { text, marks })
    }

    /// Whether both are the same, but for white space around what is not text.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.text == other.text
            && self.marks.len() == other.marks.len()
            && self.marks.iter().zip(&other.marks).all(|(mine, theirs)| self.stand_alike(mine, theirs))
    }

    /// Whether this one is how the other begins.
    #[must_use]
    pub fn begins(&self, other: &Self) -> bool {
        other.text.starts_with(&self.text)
            && self.marks.len() <= other.marks.len()
            && self.marks.iter().zip(&other.marks).all(|(mine, theirs)| other.stand_alike(mine, theirs))
    }

    /// Whether the other one holds all of this one, of whose calls some may have been given in part only.
    #[must_use]
    pub fn is_kept_in(&self, other: &Self) -> bool {
        let kept = |mine: &Mark, theirs: &Mark| match (mine, theirs) {
            (Mark::Call { name, args }, Mark::Call { name: all, args: whole }) => {
                all.starts_with(name.as_str()) && whole.starts_with(args.as_str())
            }
            _ => mine == theirs,
        };
        other.text.starts_with(&self.text)
            && self.marks.len() <= other.marks.len()
            && self
                .marks
                .iter()
                .zip(&other.marks)
                .all(|(mine, theirs)| mine.0 == theirs.0 && kept(&mine.1, &theirs.1))
    }

    fn stand_alike(&self, mine: &(usize, Mark), theirs: &(usize, Mark)) -> bool {
        let between = self.text.get(mine.0.min(theirs.0)..mine.0.max(theirs.0));
        mine.1.is_as(&theirs.1) && between.is_some_and(|between| between.trim().is_empty())
    }
}

/// A message that is being put together.
#[derive(Debug, Clone, Default)]
pub struct Making {
    message: Message,
    calls: Vec<((AttemptId, u32), usize)>,
}

impl Making {
    /// What it has come to.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// Whether any of this call of this attempt has been taken.
    #[must_use]
    pub fn has_call(&self, attempt: AttemptId, index: u32) -> bool {
        self.calls.iter().any(|call| call.0 == (attempt, index))
    }

    /// Takes the next chunk.
    pub fn take(&mut self, attempt: AttemptId, part: &Part) {
        let Self { message, calls } = self;
        message.text.push_str(&part.text);
        if let Some(opaque) = part.opaque {
            message.marks.push((message.text.len(), Mark::Opaque(opaque.digest)));
        }
        for fragment in &part.tools {
            let key = (attempt, fragment.index);
            let known = calls.iter().find(|call| call.0 == key).map(|call| call.1);
            let place = known.unwrap_or_else(|| {
                let empty = Mark::Call { name: String::new(), args: String::new() };
                message.marks.push((message.text.len(), empty));
                calls.push((key, message.marks.len() - 1));
                message.marks.len() - 1
            });
            if let (_, Mark::Call { name, args }) = &mut message.marks[place] {
                name.push_str(fragment.name.as_deref().unwrap_or(""));
                args.push_str(&fragment.args);
            }
        }
    }
}
