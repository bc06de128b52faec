//! The engine's records in a stream: chunks the compact way, everything else as a typed payload with its content beside it.
//!
//! ```
//! use l0_engine::{AttemptId, Instant, Record, Signal};
//! use l0_journal::{Kind, Memory, Store, StreamId, StreamOptions, session};
//!
//! # fn main() -> Result<(), l0_journal::Error> {
//! let journal = Memory::new()?;
//! let stream = journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session))?;
//! let (at, text) = (Instant(1_000), "Hello".into());
//! let record = Record::Chunk { at, attempt: AttemptId(1), text, signal: Signal::Pass };
//! session::append(&stream, at, record.clone(), None)?;
//! let stored = journal.load(stream.id(), 0, 1)?.remove(0);
//! assert_eq!(session::read(stored)?.record, record);
//! # Ok(())
//! # }
//! ```

use l0_engine::{AttemptId, Input, Instant, Output, Record, Rewrite, Ruling, Signal};

use crate::payload::{self, Contents, Field};
use crate::{Body, Chunk, Class, Content, Entry, Error, Stored, Stream};

/// The shape of the engine's records that is written. A change of any type in them needs the next number, and the old
/// types to read by: postcard cannot tell by itself.
const VERSION: u8 = 1;

const START: u8 = 1;
const INPUT: u8 = 2;
const DECISION: u8 = 3;

/// A record of the engine, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its place in the stream.
    pub seq: u64,
    /// When it was written down, on the session's clock.
    pub at: Instant,
    /// The record. What of its content is no longer there is empty.
    pub record: Record,
    /// The framework's own object that came with it.
    pub object: Option<Vec<u8>>,
    /// What of its content is no longer there, in the order of its fields; the object comes last.
    pub missing: Vec<(Class, Stored)>,
}

/// Appends a record of the engine, and the framework's own object of the chunk it is about.
///
/// # Errors
/// As [`Stream::chunk`].
pub fn append(stream: &Stream, now: Instant, record: Record, object: Option<&[u8]>) -> Result<u64, Error> {
    let kind = match record {
        Record::Chunk { at, attempt, text, signal } => {
            return stream.chunk(&Chunk {
                at_ns: at.0,
                attempt: attempt.0,
                signal: signal as u8,
                class: Class::Completion,
                text: &text,
                object,
            });
        }
        Record::Start(_) => START,
        Record::Input { .. } => INPUT,
        Record::Decision(_) => DECISION,
    };
    let payload = payload::encode(VERSION, record)?;
    let mut contents = payload.contents();
    contents.extend(object.map(|bytes| Content { class: Class::Completion, bytes }));
    stream.entry(&Entry { at_ns: now.0, kind, payload: &payload.bytes, contents: &contents })
}

/// Reads a record of the engine.
///
/// # Errors
/// [`Error::Payload`] where it is not one, or of a shape this version does not know.
pub fn read(mut stored: crate::Record) -> Result<Recorded, Error> {
    let (seq, at) = (stored.seq, Instant(stored.at_ns));
    let mut missing = Vec::new();
    let mut take = |class: Class, stored: Stored| match stored {
        Stored::Full(content) => Some(content),
        gone => {
            missing.push((class, gone));
            None
        }
    };
    if let Body::Chunk { attempt, signal, class, text, object } = stored.body {
        let text = String::from_utf8(take(class, text).unwrap_or_default());
        let text = text.map_err(|_| unreadable("its text is not UTF-8"))?.into_boxed_str();
        let object = object.and_then(|object| take(class, object));
        let record = Record::Chunk { at, attempt: AttemptId(attempt), text, signal: signal_from(signal)? };
        return Ok(Recorded { seq, at, record, object, missing });
    }
    // The object is the one piece of content that is not a field: whatever the fields leave over.
    let Body::Entry { payload, contents, .. } = &mut stored.body else {
        return Err(unreadable("it is of no kind"));
    };
    let fields = payload::fields::<Record>(VERSION, payload)?;
    let object = if contents.len() == fields + 1 { contents.pop() } else { None };
    let decoded = payload::decode::<Record>(VERSION, stored)?;
    let mut missing: Vec<_> = decoded.missing.into_iter().map(|(_, class, stored)| (class, stored)).collect();
    let object = match object {
        Some((_, Stored::Full(object))) => Some(object),
        Some(gone) => {
            missing.push(gone);
            None
        }
        None => None,
    };
    Ok(Recorded { seq, at, record: decoded.record, object, missing })
}

impl Contents for Record {
    fn each_content(&mut self, visit: &mut dyn FnMut(Class, Field<'_>)) {
        match self {
            Self::Input { input: Input::Part { part, .. }, .. } => {
                visit(Class::Completion, Field::Text(&mut part.text));
                for tool in &mut part.tools {
                    visit(Class::ToolArguments, Field::Text(&mut tool.args));
                }
            }
            // What a target is told to put right quotes what it said.
            Self::Input { input: Input::Judged { ruling: Ruling::Objected(dissents), .. }, .. } => {
                for error in dissents.iter_mut().flat_map(|dissent| &mut dissent.errors) {
                    visit(Class::Completion, Field::Text(error));
                }
            }
            Self::Input { input: Input::Judged { ruling: Ruling::Read(reading), .. }, .. } => {
                for error in reading.dissents.iter_mut().flat_map(|dissent| &mut dissent.errors) {
                    visit(Class::Completion, Field::Text(error));
                }
                for rewrite in &mut reading.rewrites {
                    match rewrite {
                        Rewrite::Text(text) => visit(Class::Completion, Field::Text(text)),
                        Rewrite::Args(call) => visit(Class::ToolArguments, Field::Text(&mut call.args)),
                    }
                }
            }
            Self::Decision(Output::Rewrite { text, calls, .. }) => {
                if let Some(text) = text {
                    visit(Class::Completion, Field::Text(text));
                }
                for call in calls {
                    visit(Class::ToolArguments, Field::Text(&mut call.args));
                }
            }
            Self::Decision(Output::Mask { text, .. }) => visit(Class::Completion, Field::Text(text)),
            // Chunks have a shape of their own; nothing else quotes what was said.
            Self::Start(_) | Self::Input { .. } | Self::Chunk { .. } | Self::Decision(_) => {}
        }
    }
}

const fn signal_from(number: u8) -> Result<Signal, Error> {
    match number {
        0 => Ok(Signal::Pass),
        1 => Ok(Signal::Hold),
        2 => Ok(Signal::Drain),
        3 => Ok(Signal::Skip),
        _ => Err(Error::Invalid { what: "a chunk's signal is below 4" }),
    }
}

fn unreadable(because: &str) -> Error {
    Error::Payload { doing: "decode", because: because.to_owned() }
}

#[cfg(test)]
mod tests {
    use l0_engine::{CallArgs, Dissent, Event, Mode, Opaque, Part, Reading, TargetId, ToolFragment, Usage};

    use super::*;
    use crate::{Kind, Level, Memory, Redaction, Store, StreamId, StreamOptions};

    fn part() -> Part {
        let tool = |args: &str| ToolFragment { index: 1, args: args.to_owned(), ..ToolFragment::default() };
        Part {
            text: "look here".to_owned(),
            tools: vec![tool("{\"city\": "), tool("\"Paris\"}")],
            opaque: Some(Opaque { digest: 9, open: true }),
            finish: Some("stop".to_owned()),
            usage: Some(Usage::default()),
            ..Part::default()
        }
    }

    fn dissent() -> Dissent {
        let errors = vec!["`total` is not 7".to_owned(), "`name` is missing".to_owned()];
        Dissent { guard: 1, reason: "does not fit".to_owned(), errors }
    }

    fn args() -> CallArgs {
        CallArgs { index: 1, args: "{\"city\": \"Paris\"}".to_owned() }
    }

    fn reading() -> Reading {
        let rewrites = vec![Rewrite::Text("{}".to_owned()), Rewrite::Args(args())];
        let fields = vec!["items.*.price".to_owned()];
        Reading { dissents: vec![dissent()], guard: 1, fields, fixes: vec!["fence".to_owned()], rewrites }
    }

    fn records() -> Vec<(Record, Option<&'static [u8]>)> {
        let at = Instant(5_000);
        let attempt = AttemptId(2);
        let input = |input| Record::Input { at, input, signal: Some(Signal::Drain) };
        vec![
            (input(Input::Start), None),
            (input(Input::Part { attempt, waited: 7, part: part() }), Some(b"the object".as_slice())),
            (input(Input::Part { attempt, waited: 7, part: part() }), None),
            (Record::Chunk { at, attempt, text: "Hello".into(), signal: Signal::Skip }, Some(b"another")),
            (Record::Decision(Output::Mask { text: "***".to_owned(), at: 4 }), None),
            (input(Input::Judged { attempt, check: 2, ruling: Ruling::Objected(vec![dissent()]) }), None),
            (input(Input::Judged { attempt, check: 2, ruling: Ruling::Read(reading()) }), None),
            (
                Record::Decision(Output::Rewrite { text: Some("{}".to_owned()), at: 0, calls: vec![args()] }),
                None,
            ),
            (Record::Decision(Output::Open { attempt, target: TargetId(1), mode: Mode::Prompt }), None),
            (Record::Decision(Output::Event(Event::ToolCall { number: 3 })), None),
        ]
    }

    fn written(redaction: Redaction) -> Vec<Recorded> {
        let journal = Memory::new().unwrap();
        let options = StreamOptions { redaction, ..StreamOptions::new(Kind::Session) };
        let stream = journal.stream(StreamId([1; 16]), &options).unwrap();
        for (record, object) in records() {
            append(&stream, Instant(5_000), record, object).unwrap();
        }
        journal.load(stream.id(), 0, 100).unwrap().into_iter().map(|record| read(record).unwrap()).collect()
    }

    /// G6: what is replayed is what was recorded, field by field.
    #[test]
    fn records_of_the_engine_come_back_whole() {
        let found = written(Redaction::default());
        for (found, (record, object)) in found.iter().zip(records()) {
            assert_eq!(found.record, record);
            assert_eq!(found.object.as_deref(), object);
            assert_eq!((found.at, found.missing.as_slice()), (Instant(5_000), [].as_slice()));
        }
        assert_eq!(found.len(), records().len());
    }

    #[test]
    fn what_was_not_kept_is_empty_and_named() {
        let found = written(Redaction { tool_arguments: Level::None, ..Redaction::default() });
        let Record::Input { input: Input::Part { part: stored, .. }, .. } = &found[1].record else {
            panic!()
        };
        assert_eq!(stored.text, part().text);
        assert!(stored.tools.iter().all(|tool| tool.args.is_empty() && tool.index == 1));
        assert_eq!(found[1].missing, vec![(Class::ToolArguments, Stored::Absent); 2]);
        assert_eq!(found[1].object.as_deref(), Some(b"the object".as_slice()));
        let found = written(Redaction { completion: Level::None, ..Redaction::default() });
        let absent = (Class::Completion, Stored::Absent);
        assert_eq!((&found[1].object, &found[1].missing), (&None, &vec![absent.clone(); 2]));
        assert_eq!((&found[3].object, &found[3].missing), (&None, &vec![absent.clone(); 2]));
        assert_eq!(found[5].missing, vec![absent.clone(); 2]);
        assert_eq!(found[6].missing, vec![absent.clone(); 3], "both errors, and the text");
        assert_eq!(found[7].missing, vec![absent]);
    }

    #[test]
    fn what_is_not_the_engines_is_refused() {
        let entry = |payload: &[u8]| crate::Record {
            seq: 0,
            at_ns: 0,
            body: Body::Entry { kind: INPUT, payload: payload.to_vec(), contents: Vec::new() },
        };
        for payload in [b"".as_slice(), b"\x01", b"\x02\x00", b"\x01\xff\xff\xff\xff"] {
            assert!(matches!(read(entry(payload)), Err(Error::Payload { .. })), "{payload:?}");
        }
    }
}
