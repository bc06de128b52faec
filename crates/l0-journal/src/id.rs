//! The name of one append-only sequence of records.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The 16 bytes that name a stream: the id of a run, a step or a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId(pub [u8; 16]);

impl StreamId {
    /// The stream a journal keeps about itself: every removal is a record in it.
    pub const JOURNAL: Self = Self([0; 16]);

    /// An id nobody else has.
    ///
    /// # Errors
    /// [`Error::Random`] where the system has no randomness to give.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Self(bytes))
    }

    /// The id that a name always has, so that "job-42" is found again by every process.
    #[must_use]
    pub fn named(kind: &str, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("l0-journal 1 stream name");
        hasher.update(kind.as_bytes());
        hasher.update(&[0]);
        hasher.update(name.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    /// The id in `bytes`, if there are exactly 16 of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StreamId {
    type Err = Error;

    /// Reads the 32 hexadecimal digits that `Display` writes.
    fn from_str(text: &str) -> Result<Self, Error> {
        const NOT_AN_ID: Error = Error::Invalid { what: "a stream id is 32 hexadecimal digits" };
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NOT_AN_ID);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| NOT_AN_ID)?;
        Ok(Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let id = StreamId::random().unwrap();
        assert_eq!(id.to_string().parse::<StreamId>().unwrap(), id);
        assert_eq!(StreamId::from_slice(&id.0), Some(id));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "0", "+0000000000000000000000000000000", "zz000000000000000000000000000000"] {
            assert!(text.parse::<StreamId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_has_one_id_per_kind() {
        assert_eq!(StreamId::named("run", "job-42"), StreamId::named("run", "job-42"));
        assert_ne!(StreamId::named("run", "job-42"), StreamId::named("step", "job-42"));
        assert_ne!(StreamId::named("ab", "c"), StreamId::named("a", "bc"));
    }
}
