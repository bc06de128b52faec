//! What a journal is given and gives back: records, the content in them, and how much of that content is kept.

pub(crate) mod wire;

use crate::StreamId;

/// What a piece of content is, so that a policy can say how much of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What the model was asked.
    Prompt,
    /// What the model answered.
    Completion,
    /// What a tool was called with.
    ToolArguments,
    /// What a tool answered.
    ToolResult,
}

/// How much of a piece of content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// All of it.
    #[default]
    Full,
    /// A salted hash, by which the same content is recognised when it is presented again.
    Hashed,
    /// Nothing.
    None,
}

/// The level of every class. The default keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redaction {
    /// For [`Class::Prompt`].
    pub prompt: Level,
    /// For [`Class::Completion`].
    pub completion: Level,
    /// For [`Class::ToolArguments`].
    pub tool_arguments: Level,
    /// For [`Class::ToolResult`].
    pub tool_result: Level,
}

impl Redaction {
    /// One level for every class.
    #[must_use]
    pub const fn all(level: Level) -> Self {
        Self { prompt: level, completion: level, tool_arguments: level, tool_result: level }
    }

    /// The level of one class.
    #[must_use]
    pub const fn level(&self, class: Class) -> Level {
        match class {
            Class::Prompt => self.prompt,
            Class::Completion => self.completion,
            Class::ToolArguments => self.tool_arguments,
            Class::ToolResult => self.tool_result,
        }
    }
}

/// A piece of content on its way into the journal.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// What it is.
    pub class: Class,
    /// The content.
    pub bytes: &'a [u8],
}

/// A record of any kind on its way into the journal: a payload free of content, and the content beside it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When it happened, in nanoseconds on the stream's own clock.
    pub at_ns: u64,
    /// The writer's own number for this kind of record, below [`Entry::KINDS`].
    pub kind: u8,
    /// The record without its content, as [`crate::payload::encode`] makes it.
    pub payload: &'a [u8],
    /// The content, in the order in which the payload refers to it.
    pub contents: &'a [Content<'a>],
}

impl Entry<'_> {
    /// How many kinds of record a writer may number.
    pub const KINDS: u8 = 128;
}

/// One chunk of a model's answer on its way into the journal: the record there are thousands of, in few bytes each.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// When it arrived, in nanoseconds on the stream's own clock.
    pub at_ns: u64,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// What was decided about it, below [`Chunk::SIGNALS`].
    pub signal: u8,
    /// What its text is.
    pub class: Class,
    /// Its text.
    pub text: &'a str,
    /// The framework's own object, as far as the text does not say it already.
    pub object: Option<&'a [u8]>,
}

impl Chunk<'_> {
    /// How many answers there are to a chunk.
    pub const SIGNALS: u8 = 4;
}

/// What a journal gives back for a piece of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The content.
    Full(Vec<u8>),
    /// Its salted hash: see [`crate::Store::matches`].
    Hashed([u8; 16]),
    /// It was not kept.
    Absent,
    /// It was kept and has been erased since.
    Erased {
        /// How long it was.
        bytes: u64,
    },
}

impl Stored {
    /// The content as text, where it is there and is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Full(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Hashed(_) | Self::Absent | Self::Erased { .. } => None,
        }
    }
}

/// One immutable fact, as a journal gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream, from 0, without gaps.
    pub seq: u64,
    /// When it happened, in nanoseconds on the stream's own clock.
    pub at_ns: u64,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A record of one of the writer's own kinds.
    Entry {
        /// The writer's number for this kind.
        kind: u8,
        /// The payload free of content.
        payload: Vec<u8>,
        /// The content, in the order in which the payload refers to it.
        contents: Vec<(Class, Stored)>,
    },
    /// One chunk of a model's answer.
    Chunk {
        /// The attempt it belongs to.
        attempt: u32,
        /// What was decided about it.
        signal: u8,
        /// What its text is.
        class: Class,
        /// Its text.
        text: Stored,
        /// The framework's own object.
        object: Option<Stored>,
    },
}

/// What a stream is the record of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The journal's notes about itself.
    Journal,
    /// A run.
    Run,
    /// A step of a run.
    Step,
    /// One logical model call.
    Session,
}

impl Kind {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Journal => 0,
            Self::Run => 1,
            Self::Step => 2,
            Self::Session => 3,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Journal),
            1 => Some(Self::Run),
            2 => Some(Self::Step),
            3 => Some(Self::Session),
            _ => None,
        }
    }
}

/// What is known of a stream without reading its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its id.
    pub id: StreamId,
    /// What it is the record of.
    pub kind: Kind,
    /// How many records it has: the sequence number of the next one.
    pub records: u64,
    /// When its last record happened, on its own clock.
    pub last_at_ns: u64,
    /// When it was opened first, in milliseconds since 1970.
    pub opened_at_ms: u64,
    /// What of it has been removed since.
    pub removed: Option<Removal>,
}

/// How much is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// The content goes; what happened and when stays readable.
    Content,
    /// All records go, and the rows about them; only the hashes stay, so that the chain can still be verified.
    Records,
}

impl Removal {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Content => 1,
            Self::Records => 2,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Content),
            2 => Some(Self::Records),
            _ => None,
        }
    }
}
