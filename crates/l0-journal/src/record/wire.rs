//! The bytes of one record.
//!
//! ```text
//! record    = skeleton content              content: everything kept in full, in order
//! skeleton  = entry | chunk
//! entry     = 0kkkkkkk time len payload n { descriptor }     k: kind
//! chunk     = 1sscclll time attempt kept [ kept ]            s: signal, c: class, l: level and object
//! time      = varint, zigzag: nanoseconds since the record before (a clock that went back is harmless)
//! descriptor= one byte (class × 4 + level), then kept
//! kept      = varint length (full) | 16 bytes (hashed) | nothing (none)
//! ```
//!
//! A block stores skeletons and contents apart, so that content can go while what happened stays readable.

use crate::record::{Body, Chunk, Class, Content, Entry, Level, Record, Redaction, Stored};
use crate::{Error, Place};

/// No record may be longer than this; a prompt with several images fits.
pub(crate) const RECORD_BYTES_MAX: u64 = 256 << 20;

/// How much a salted content hash keeps of its 32 bytes.
const HASH_BYTES: usize = 16;

/// Reads numbers and spans off a slice; never past its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The bytes end, or say something no writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Corrupt { place: Place::default(), what: "a record cannot be read" }
    }
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let span = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(span)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N as u64)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A varint length and that many bytes.
    pub(crate) fn span(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        self.take(length)
    }
}

/// Appends `value` in 7-bit groups, the lowest first.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Appends the length of `bytes`, and `bytes`.
pub(crate) fn put_span(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[inline]
const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// The salted hash that stands for content that is not kept.
pub(crate) fn content_hash(salt: &[u8; 16], content: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(salt);
    hasher.update(content);
    let mut hash = [0; HASH_BYTES];
    hasher.finalize_xof().fill(&mut hash);
    hash
}

/// What encoding a record depends on besides the record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// When the record before it happened.
    pub(crate) last_at_ns: u64,
    pub(crate) redaction: &'a Redaction,
    pub(crate) salt: &'a [u8; 16],
}

/// Appends a chunk record.
#[inline]
pub(crate) fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk<'_>, context: &Context<'_>) -> Result<(), Error> {
    if chunk.signal >= Chunk::SIGNALS {
        return Err(Error::Invalid { what: "a chunk's signal is below 4" });
    }
    let level = context.redaction.level(chunk.class);
    let object = chunk.object.unwrap_or_default();
    within_limit(chunk.text.len() as u64 + object.len() as u64)?;
    out.push(
        0x80 | (chunk.signal << 5)
            | (class_bits(chunk.class) << 3)
            | (level_bits(level) << 1)
            | u8::from(chunk.object.is_some()),
    );
    put_time(out, context.last_at_ns, chunk.at_ns);
    put_varint(out, u64::from(chunk.attempt));
    put_kept(out, level, chunk.text.as_bytes(), context.salt);
    if chunk.object.is_some() {
        put_kept(out, level, object, context.salt);
    }
    if level == Level::Full {
        out.extend_from_slice(chunk.text.as_bytes());
        out.extend_from_slice(object);
    }
    Ok(())
}

/// Appends a record of one of the writer's own kinds.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry<'_>, context: &Context<'_>) -> Result<(), Error> {
    if entry.kind >= Entry::KINDS {
        return Err(Error::Invalid { what: "a record's kind is below 128" });
    }
    let length = |content: &Content<'_>| content.bytes.len() as u64;
    within_limit(entry.payload.len() as u64 + entry.contents.iter().map(length).sum::<u64>())?;
    out.push(entry.kind);
    put_time(out, context.last_at_ns, entry.at_ns);
    put_span(out, entry.payload);
    put_varint(out, entry.contents.len() as u64);
    for content in entry.contents {
        let level = context.redaction.level(content.class);
        out.push((class_bits(content.class) << 2) | level_bits(level));
        put_kept(out, level, content.bytes, context.salt);
    }
    for content in entry.contents {
        if context.redaction.level(content.class) == Level::Full {
            out.extend_from_slice(content.bytes);
        }
    }
    Ok(())
}

/// Where the parts of a record are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) skeleton: usize,
    pub(crate) content: u64,
    pub(crate) at_ns: u64,
}

/// Finds the end of the skeleton that `bytes` begins with, without reading what it says.
pub(crate) fn measure(bytes: &[u8], last_at_ns: u64) -> Result<Measured, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut content = 0_u64;
    let at_ns = walk(&mut reader, last_at_ns, &mut |_, _, kept| {
        if let Kept::Full(length) = kept {
            content = content.checked_add(length).ok_or(Malformed)?;
        }
        Ok(())
    })?
    .at_ns;
    if content > RECORD_BYTES_MAX {
        return Err(Malformed);
    }
    Ok(Measured { skeleton: reader.at(), content, at_ns })
}

/// Reads the record whose skeleton is next in `skeletons` and whose content, unless it was erased, is next in `contents`.
pub(crate) fn read(
    skeletons: &mut Reader<'_>,
    mut contents: Option<&mut Reader<'_>>,
    seq: u64,
    last_at_ns: u64,
) -> Result<Record, Malformed> {
    let mut parts = Vec::new();
    let head = walk(skeletons, last_at_ns, &mut |class, _, kept| {
        let stored = match kept {
            Kept::Full(bytes) => match &mut contents {
                Some(contents) => Stored::Full(contents.take(bytes)?.to_vec()),
                None => Stored::Erased { bytes },
            },
            Kept::Hashed(hash) => Stored::Hashed(hash),
            Kept::Nothing => Stored::Absent,
        };
        parts.push((class, stored));
        Ok(())
    })?;
    let body = match head.what {
        What::Entry { kind, payload } => Body::Entry { kind, payload: payload.to_vec(), contents: parts },
        What::Chunk { attempt, signal, class } => {
            let mut parts = parts.into_iter().map(|(_, stored)| stored);
            let text = parts.next().ok_or(Malformed)?;
            Body::Chunk { attempt, signal, class, text, object: parts.next() }
        }
    };
    Ok(Record { seq, at_ns: head.at_ns, body })
}

struct Head<'a> {
    at_ns: u64,
    what: What<'a>,
}

enum What<'a> {
    Entry { kind: u8, payload: &'a [u8] },
    Chunk { attempt: u32, signal: u8, class: Class },
}

enum Kept {
    Full(u64),
    Hashed([u8; HASH_BYTES]),
    Nothing,
}

/// Walks over one skeleton and shows its descriptors in order: the one place that knows its shape.
fn walk<'a>(
    reader: &mut Reader<'a>,
    last_at_ns: u64,
    part: &mut dyn FnMut(Class, Level, Kept) -> Result<(), Malformed>,
) -> Result<Head<'a>, Malformed> {
    let tag = reader.byte()?;
    let at_ns = last_at_ns.wrapping_add_signed(unzigzag(reader.varint()?));
    if tag & 0x80 == 0 {
        let payload = reader.span()?;
        let parts = reader.varint()?;
        for _ in 0..parts {
            let descriptor = reader.byte()?;
            if descriptor >> 4 != 0 {
                return Err(Malformed);
            }
            let level = level_from(descriptor & 3)?;
            part(class_from(descriptor >> 2), level, kept(reader, level)?)?;
        }
        return Ok(Head { at_ns, what: What::Entry { kind: tag, payload } });
    }
    let (signal, class, level) = ((tag >> 5) & 3, class_from(tag >> 3), level_from((tag >> 1) & 3)?);
    let attempt = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
    part(class, level, kept(reader, level)?)?;
    if tag & 1 == 1 {
        part(class, level, kept(reader, level)?)?;
    }
    Ok(Head { at_ns, what: What::Chunk { attempt, signal, class } })
}

fn kept(reader: &mut Reader<'_>, level: Level) -> Result<Kept, Malformed> {
    Ok(match level {
        Level::Full => Kept::Full(reader.varint()?),
        Level::Hashed => Kept::Hashed(reader.array()?),
        Level::None => Kept::Nothing,
    })
}

fn put_kept(out: &mut Vec<u8>, level: Level, bytes: &[u8], salt: &[u8; 16]) {
    match level {
        Level::Full => put_varint(out, bytes.len() as u64),
        Level::Hashed => out.extend_from_slice(&content_hash(salt, bytes)),
        Level::None => {}
    }
}

#[inline]
fn put_time(out: &mut Vec<u8>, last_at_ns: u64, at_ns: u64) {
    put_varint(out, zigzag(at_ns.wrapping_sub(last_at_ns).cast_signed()));
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

const fn within_limit(bytes: u64) -> Result<(), Error> {
    // Skeletons are small beside the content they describe; the limit leaves room for them in a frame.
    if bytes > RECORD_BYTES_MAX {
        return Err(Error::TooLarge { bytes, limit: RECORD_BYTES_MAX });
    }
    Ok(())
}

const fn class_bits(class: Class) -> u8 {
    match class {
        Class::Prompt => 0,
        Class::Completion => 1,
        Class::ToolArguments => 2,
        Class::ToolResult => 3,
    }
}

const fn class_from(bits: u8) -> Class {
    match bits & 3 {
        0 => Class::Prompt,
        1 => Class::Completion,
        2 => Class::ToolArguments,
        _ => Class::ToolResult,
    }
}

const fn level_bits(level: Level) -> u8 {
    match level {
        Level::Full => 0,
        Level::Hashed => 1,
        Level::None => 2,
    }
}

const fn level_from(bits: u8) -> Result<Level, Malformed> {
    match bits {
        0 => Ok(Level::Full),
        1 => Ok(Level::Hashed),
        2 => Ok(Level::None),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: [u8; 16] = [7; 16];

    fn class() -> impl Strategy<Value = Class> {
        (0..4_u8).prop_map(class_from)
    }

    fn redaction() -> impl Strategy<Value = Redaction> {
        let level = || prop_oneof![Just(Level::Full), Just(Level::Hashed), Just(Level::None)];
        (level(), level(), level(), level()).prop_map(|(prompt, completion, tool_arguments, tool_result)| {
            Redaction { prompt, completion, tool_arguments, tool_result }
        })
    }

    fn expected(redaction: Redaction, class: Class, bytes: &[u8]) -> Stored {
        match redaction.level(class) {
            Level::Full => Stored::Full(bytes.to_vec()),
            Level::Hashed => Stored::Hashed(content_hash(&SALT, bytes)),
            Level::None => Stored::Absent,
        }
    }

    fn read_back(bytes: &[u8], seq: u64, last_at_ns: u64) -> Record {
        let measured = measure(bytes, last_at_ns).unwrap();
        let (skeleton, content) = bytes.split_at(measured.skeleton);
        assert_eq!(content.len() as u64, measured.content);
        let (mut skeleton, mut content) = (Reader::new(skeleton), Reader::new(content));
        let record = read(&mut skeleton, Some(&mut content), seq, last_at_ns).unwrap();
        assert!(skeleton.is_empty() && content.is_empty());
        assert_eq!(record.at_ns, measured.at_ns);
        record
    }

    proptest! {
        #[test]
        fn any_varint_is_read_again(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(Reader::new(&bytes).varint(), Ok(value));
        }

        #[test]
        fn any_chunk_is_read_again(
            last_at_ns: u64, at_ns: u64, attempt: u32, signal in 0..4_u8, class in class(), text: String,
            object: Option<Vec<u8>>, redaction in redaction(),
        ) {
            let chunk = Chunk { at_ns, attempt, signal, class, text: &text, object: object.as_deref() };
            let mut bytes = Vec::new();
            put_chunk(&mut bytes, &chunk, &Context { last_at_ns, redaction: &redaction, salt: &SALT }).unwrap();
            let body = Body::Chunk {
                attempt, signal, class,
                text: expected(redaction, class, text.as_bytes()),
                object: object.map(|object| expected(redaction, class, &object)),
            };
            prop_assert_eq!(read_back(&bytes, 9, last_at_ns), Record { seq: 9, at_ns, body });
        }

        #[test]
        fn any_entry_is_read_again(
            last_at_ns: u64, at_ns: u64, kind in 0..128_u8, payload: Vec<u8>,
            contents in prop::collection::vec((class(), any::<Vec<u8>>()), 0..4), redaction in redaction(),
        ) {
            let given: Vec<_> = contents.iter().map(|(class, bytes)| Content { class: *class, bytes }).collect();
            let entry = Entry { at_ns, kind, payload: &payload, contents: &given };
            let mut bytes = Vec::new();
            put_entry(&mut bytes, &entry, &Context { last_at_ns, redaction: &redaction, salt: &SALT }).unwrap();
            let contents = contents.iter().map(|(class, bytes)| (*class, expected(redaction, *class, bytes))).collect();
            let body = Body::Entry { kind, payload, contents };
            prop_assert_eq!(read_back(&bytes, 3, last_at_ns), Record { seq: 3, at_ns, body });
        }

        /// What is not kept in full leaves no trace but its hash.
        #[test]
        fn redacted_content_is_not_in_the_bytes(text in "[a-z]{12,40}", hashed: bool) {
            let redaction = Redaction::all(if hashed { Level::Hashed } else { Level::None });
            let chunk = Chunk { at_ns: 1, attempt: 0, signal: 0, class: Class::Completion, text: &text, object: Some(text.as_bytes()) };
            let mut bytes = Vec::new();
            put_chunk(&mut bytes, &chunk, &Context { last_at_ns: 0, redaction: &redaction, salt: &SALT }).unwrap();
            prop_assert!(!bytes.windows(8).any(|window| text.as_bytes().windows(8).any(|part| part == window)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, last_at_ns: u64) {
            if let Ok(measured) = measure(&bytes, last_at_ns) {
                prop_assert!(measured.skeleton <= bytes.len());
            }
            let (mut skeletons, mut contents) = (Reader::new(&bytes), Reader::new(&bytes));
            let _: Result<_, Malformed> = read(&mut skeletons, Some(&mut contents), 0, last_at_ns);
        }
    }

    #[test]
    fn an_ordinary_token_takes_few_bytes() {
        let chunk = Chunk {
            at_ns: 20_000_000,
            attempt: 1,
            signal: 0,
            class: Class::Completion,
            text: " token",
            object: None,
        };
        let mut bytes = Vec::new();
        put_chunk(
            &mut bytes,
            &chunk,
            &Context { last_at_ns: 0, redaction: &Redaction::default(), salt: &SALT },
        )
        .unwrap();
        assert_eq!(bytes.len(), 7 + " token".len());
    }

    #[test]
    fn what_cannot_be_numbered_is_refused() {
        let context = Context { last_at_ns: 0, redaction: &Redaction::default(), salt: &SALT };
        let entry = Entry { at_ns: 0, kind: 128, payload: &[], contents: &[] };
        assert!(put_entry(&mut Vec::new(), &entry, &context).is_err());
        let chunk = Chunk { at_ns: 0, attempt: 0, signal: 4, class: Class::Prompt, text: "", object: None };
        assert!(put_chunk(&mut Vec::new(), &chunk, &context).is_err());
    }
}
