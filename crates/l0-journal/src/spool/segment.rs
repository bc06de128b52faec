//! The format of one spool file.
//!
//! ```text
//! segment = header { frame }
//! header  = "L0SPOOL1" nonce(4) number(8) instance(16) zeros crc(4)        64 bytes
//! frame   = length(4) crc(4) body                                          all numbers little-endian
//! body    = 1 opening | 2 slot seq record | 3 row
//! ```
//!
//! The checksum of a frame is seeded with the segment's nonce and covers the frame's offset, so that neither old bytes nor
//! a frame at the wrong place pass for one. The first frame that does not check ends the segment: whatever follows was
//! not acknowledged, or its disk is broken. Zeros to the end of the file are room that was made and not needed.

use crate::disk::{DiskFile, read_span};
use crate::record::Kind;
use crate::record::wire::{Malformed, RECORD_BYTES_MAX, Reader, put_span, put_varint};
use crate::{Error, StreamId};

pub(crate) const HEADER_BYTES: u64 = 64;
const MAGIC: &[u8; 8] = b"L0SPOOL1";
const PREFIX_BYTES: usize = 8;
/// A record and what is written around it.
const FRAME_BYTES_MAX: u32 = 320 << 20;
const _: () = assert!((FRAME_BYTES_MAX as u64) > RECORD_BYTES_MAX);
/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

const OPENING: u8 = 1;
const RECORD: u8 = 2;
const ROW: u8 = 3;

/// What begins a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) nonce: u32,
    pub(crate) number: u64,
    pub(crate) instance: [u8; 16],
}

impl Header {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.instance);
        bytes.resize(60, 0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (said, crc) = bytes.split_at_checked(60).ok_or(Malformed)?;
        if crc != crc32fast::hash(said).to_le_bytes() {
            return Err(Malformed);
        }
        let mut reader = Reader::new(said);
        if &reader.array::<8>()? != MAGIC {
            return Err(Malformed);
        }
        let (nonce, number) = (u32::from_le_bytes(reader.array()?), u64::from_le_bytes(reader.array()?));
        Ok(Self { nonce, number, instance: reader.array()? })
    }
}

/// All that later frames of a stream leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) slot: u32,
    pub(crate) id: StreamId,
    pub(crate) kind: Kind,
    pub(crate) next_seq: u64,
    pub(crate) last_at_ns: u64,
    pub(crate) opened_at_ms: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) tenant: Option<String>,
    pub(crate) user: Option<String>,
    /// The run and the fencing number without which nothing of this is taken.
    pub(crate) lease: Option<(StreamId, u64)>,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Opening(Opening),
    Record {
        slot: u32,
        seq: u64,
        record: &'a [u8],
    },
    Row(&'a [u8]),
    /// Of a kind only a later version knows.
    Unknown,
}

impl<'a> Frame<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(match reader.byte()? {
            OPENING => Self::Opening(read_opening(&mut reader)?),
            RECORD => {
                Self::Record { slot: small(reader.varint()?)?, seq: reader.varint()?, record: reader.rest() }
            }
            ROW => Self::Row(reader.rest()),
            _ => Self::Unknown,
        })
    }
}

/// Appends frames to a buffer that will be written at a known offset.
pub(crate) struct Frames<'a> {
    out: &'a mut Vec<u8>,
    offset: u64,
    nonce: u32,
}

impl<'a> Frames<'a> {
    /// `out` is empty, and its first byte goes to `offset`.
    pub(crate) const fn new(out: &'a mut Vec<u8>, offset: u64, nonce: u32) -> Self {
        Self { out, offset, nonce }
    }

    pub(crate) fn opening(&mut self, opening: &Opening) -> Result<(), Error> {
        self.frame(|out| {
            out.push(OPENING);
            put_opening(out, opening);
            Ok(())
        })
    }

    /// A record frame; `put` appends the record.
    #[inline]
    pub(crate) fn record(
        &mut self,
        slot: u32,
        seq: u64,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.frame(|out| {
            out.push(RECORD);
            put_varint(out, u64::from(slot));
            put_varint(out, seq);
            put(out)
        })
    }

    pub(crate) fn row(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        self.frame(|out| {
            out.push(ROW);
            put(out);
            Ok(())
        })
    }

    #[inline]
    fn frame(&mut self, put: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; PREFIX_BYTES]);
        put(self.out)?;
        let offset = self.offset + start as u64;
        let Some((prefix, body)) =
            self.out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(PREFIX_BYTES))
        else {
            return Ok(());
        };
        let bytes = body.len() as u64;
        let Some(length) = u32::try_from(bytes).ok().filter(|length| *length <= FRAME_BYTES_MAX) else {
            return Err(Error::TooLarge { bytes, limit: FRAME_BYTES_MAX.into() });
        };
        let crc = checksum(self.nonce, offset, body);
        let (first, second) = prefix.split_at_mut(4);
        first.copy_from_slice(&length.to_le_bytes());
        second.copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }
}

/// Why reading a segment stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Everything up to the end was read, but for zeros that nobody wrote.
    End,
    /// A frame does not check.
    Torn,
    /// The reader had enough.
    Enough,
}

/// Reads frames of one segment, in order, as far as asked each time.
#[derive(Debug)]
pub(crate) struct Cursor {
    nonce: u32,
    /// Where the next frame begins.
    pub(crate) offset: u64,
}

impl Cursor {
    pub(crate) const fn new(nonce: u32) -> Self {
        Self { nonce, offset: HEADER_BYTES }
    }

    /// Shows every whole frame below `end`, or up to the end of the file where nothing is known of that, to `see`, until
    /// that says it has had enough.
    pub(crate) fn read(
        &mut self,
        file: &dyn DiskFile,
        end: Option<u64>,
        see: &mut dyn FnMut(&[u8]) -> bool,
    ) -> std::io::Result<Stop> {
        match self.read_frames(file, end.unwrap_or(u64::MAX), see)? {
            Stop::Torn if end.is_none() && is_blank(file, self.offset)? => Ok(Stop::End),
            stop => Ok(stop),
        }
    }

    fn read_frames(
        &mut self,
        file: &dyn DiskFile,
        end: u64,
        see: &mut dyn FnMut(&[u8]) -> bool,
    ) -> std::io::Result<Stop> {
        let mut wanted = READ_BYTES;
        while self.offset < end {
            let asked = wanted.min(usize::try_from(end - self.offset).unwrap_or(usize::MAX));
            let bytes = read_span(file, self.offset, asked)?;
            let mut rest = bytes.as_slice();
            loop {
                match next_frame(rest, self.nonce, self.offset) {
                    Next::Frame { body, after } => {
                        self.offset += (rest.len() - after.len()) as u64;
                        rest = after;
                        if !see(body) {
                            return Ok(Stop::Enough);
                        }
                    }
                    Next::Torn => return Ok(Stop::Torn),
                    Next::Short { needed } => {
                        let file_ended = bytes.len() < asked;
                        if self.offset == end || rest.is_empty() && file_ended {
                            return Ok(Stop::End);
                        }
                        if needed > end - self.offset || file_ended {
                            return Ok(Stop::Torn);
                        }
                        wanted = usize::try_from(needed).unwrap_or(usize::MAX).max(READ_BYTES);
                        break;
                    }
                }
            }
        }
        Ok(Stop::End)
    }
}

/// Whether there is nothing but zeros from here on.
fn is_blank(file: &dyn DiskFile, mut offset: u64) -> std::io::Result<bool> {
    loop {
        let bytes = read_span(file, offset, READ_BYTES)?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += bytes.len() as u64;
    }
}

enum Next<'a> {
    Frame { body: &'a [u8], after: &'a [u8] },
    Short { needed: u64 },
    Torn,
}

fn next_frame(bytes: &[u8], nonce: u32, offset: u64) -> Next<'_> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Next::Short { needed: PREFIX_BYTES as u64 };
    };
    let [a, b, c, d, crc @ ..] = *prefix;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length == 0 || length > FRAME_BYTES_MAX {
        return Next::Torn;
    }
    let Some((body, after)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length))
    else {
        return Next::Short { needed: PREFIX_BYTES as u64 + u64::from(length) };
    };
    if checksum(nonce, offset, body).to_le_bytes() == crc { Next::Frame { body, after } } else { Next::Torn }
}

#[inline]
fn checksum(nonce: u32, offset: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(nonce);
    hasher.update(&offset.to_le_bytes());
    hasher.update(&(body.len() as u64).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn put_opening(out: &mut Vec<u8>, opening: &Opening) {
    put_varint(out, u64::from(opening.slot));
    out.extend_from_slice(&opening.id.0);
    out.push(opening.kind.number());
    for number in [opening.next_seq, opening.last_at_ns, opening.opened_at_ms] {
        put_varint(out, number);
    }
    out.extend_from_slice(&opening.salt);
    let has = |present: bool, bit: u8| if present { bit } else { 0 };
    out.push(
        has(opening.tenant.is_some(), 1) | has(opening.user.is_some(), 2) | has(opening.lease.is_some(), 4),
    );
    for text in [&opening.tenant, &opening.user].into_iter().flatten() {
        put_span(out, text.as_bytes());
    }
    if let Some((run, fence)) = opening.lease {
        out.extend_from_slice(&run.0);
        put_varint(out, fence);
    }
}

fn read_opening(reader: &mut Reader<'_>) -> Result<Opening, Malformed> {
    let slot = small(reader.varint()?)?;
    let id = StreamId(reader.array()?);
    let kind = Kind::from_number(reader.byte()?).ok_or(Malformed)?;
    let (next_seq, last_at_ns, opened_at_ms) = (reader.varint()?, reader.varint()?, reader.varint()?);
    let salt = reader.array()?;
    let has = reader.byte()?;
    let mut text = |bit: u8| -> Result<Option<String>, Malformed> {
        if has & bit == 0 {
            return Ok(None);
        }
        String::from_utf8(reader.span()?.to_vec()).map(Some).map_err(|_| Malformed)
    };
    let (tenant, user) = (text(1)?, text(2)?);
    let lease = if has & 4 == 0 { None } else { Some((StreamId(reader.array()?), reader.varint()?)) };
    Ok(Opening { slot, id, kind, next_seq, last_at_ns, opened_at_ms, salt, tenant, user, lease })
}

fn small(number: u64) -> Result<u32, Malformed> {
    u32::try_from(number).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::Disk;
    use crate::faulty::FaultyDisk;

    const NONCE: u32 = 0x1234_5678;

    fn opening() -> Opening {
        Opening {
            slot: 300,
            id: StreamId([3; 16]),
            kind: Kind::Session,
            next_seq: 5,
            last_at_ns: 1_000_000,
            opened_at_ms: 1_700_000_000_000,
            salt: [9; 16],
            tenant: Some("acme".to_owned()),
            user: None,
            lease: Some((StreamId([4; 16]), 7)),
        }
    }

    fn segment(records: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Header { nonce: NONCE, number: 1, instance: [1; 16] }.to_bytes();
        let mut out = Vec::new();
        let mut frames = Frames::new(&mut out, HEADER_BYTES, NONCE);
        frames.opening(&opening()).unwrap();
        for (seq, record) in records.iter().enumerate() {
            let put = |out: &mut Vec<u8>| {
                out.extend_from_slice(record);
                Ok(())
            };
            frames.record(300, seq as u64, put).unwrap();
        }
        bytes.extend_from_slice(&out);
        bytes
    }

    /// Reads a file of which is known how long it should be.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Stop) {
        read_until(bytes, Some(bytes.len() as u64))
    }

    fn read_until(bytes: &[u8], end: Option<u64>) -> (Vec<Vec<u8>>, Stop) {
        let disk = FaultyDisk::default();
        disk.put(Path::new("d/s"), bytes.to_vec());
        let file = disk.open(Path::new("d/s")).unwrap();
        let mut frames = Vec::new();
        let mut cursor = Cursor::new(NONCE);
        let stop = cursor
            .read(&*file, end, &mut |body| {
                frames.push(body.to_vec());
                true
            })
            .unwrap();
        (frames, stop)
    }

    #[test]
    fn what_was_framed_is_read_again() {
        let header = Header { nonce: NONCE, number: 77, instance: [6; 16] };
        assert_eq!(Header::read(&header.to_bytes()), Ok(header));
        let large = vec![7; 3 * READ_BYTES];
        let (frames, stop) = read(&segment(&[b"one", &large, b"three"]));
        assert_eq!(stop, Stop::End);
        assert_eq!(Frame::read(&frames[0]), Ok(Frame::Opening(opening())));
        assert_eq!(Frame::read(&frames[2]), Ok(Frame::Record { slot: 300, seq: 1, record: &large }));
        assert_eq!(frames.len(), 4);
    }

    /// G5: a tail that was torn anywhere costs the frame it is in and nothing before it; room that was made is no tail.
    #[test]
    fn a_tail_torn_at_any_byte_is_cut() {
        let whole = segment(&[b"one", b"two", b"three"]);
        let (frames, _) = read(&whole);
        let mut ends = vec![64_usize];
        for frame in &frames {
            ends.push(ends[ends.len() - 1] + PREFIX_BYTES + frame.len());
        }
        for length in 64..whole.len() {
            let (found, stop) = read(&whole[..length]);
            let complete = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!(found, frames[..complete], "{length}");
            assert_eq!(stop, if ends.contains(&length) { Stop::End } else { Stop::Torn }, "{length}");
            let mut zeros = whole[..length].to_vec();
            zeros.resize(whole.len() + 3, 0);
            assert_eq!(read(&zeros), (frames[..complete].to_vec(), Stop::Torn), "{length}");
            let (found, stop) = read_until(&zeros, None);
            let is_blank = zeros[ends[complete]..].iter().all(|byte| *byte == 0);
            assert_eq!(found, frames[..complete], "{length}");
            assert_eq!(stop, if is_blank { Stop::End } else { Stop::Torn }, "{length}");
        }
    }

    /// What follows zeros was written: that a loss of power left a hole before it is worth saying.
    #[test]
    fn zeros_with_something_behind_them_are_a_torn_tail() {
        let mut holed = segment(&[b"one"]);
        let whole = holed.len();
        holed.resize(whole + 2 * READ_BYTES, 0);
        assert_eq!(read_until(&holed, None).1, Stop::End);
        holed.push(1);
        let (found, stop) = read_until(&holed, None);
        assert_eq!((found, stop), (read(&holed[..whole]).0, Stop::Torn));
    }

    #[test]
    fn a_flipped_bit_never_passes() {
        let whole = segment(&[b"one", b"two"]);
        let (frames, _) = read(&whole);
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[index] ^= 1 << bit;
                if index < 64 {
                    assert!(Header::read(&bad[..64]).is_err());
                } else {
                    let (found, stop) = read(&bad);
                    assert_eq!(stop, Stop::Torn);
                    assert!(found.len() < frames.len() && found[..] == frames[..found.len()]);
                }
            }
        }
    }

    #[test]
    fn a_frame_at_another_place_or_of_another_segment_does_not_pass() {
        let whole = segment(&[b"one"]);
        let mut moved = whole[..64].to_vec();
        moved.extend_from_slice(&whole[64 + PREFIX_BYTES + read(&whole).0[0].len()..]);
        assert_eq!(read(&moved), (Vec::new(), Stop::Torn));
    }

    #[test]
    fn no_bytes_make_a_frame_panic() {
        proptest::proptest!(|(bytes: Vec<u8>)| { let _: Result<_, _> = Frame::read(&bytes); });
    }
}
