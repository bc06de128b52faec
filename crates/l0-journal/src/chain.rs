//! The hashes that make a change of the past evident.
//!
//! ```text
//! block hash   = H(genesis or the hash of the block before ‖ position ‖ fields ‖ H(skeletons) ‖ H(salt ‖ contents))
//! mark         = first 4 bytes of H(skeleton ‖ content) of one record
//! ```
//!
//! The block hash is the proof; marks only say where in a block to look, which is why they stay outside the chain and
//! may be made anew when content is erased. Contents are hashed with a salt of their stream that is erased with them:
//! without it, the hash of a short text would still tell the text.
//!
//! With a key nobody can compute either without it, so that who changes a block can neither mend the chain nor hide the
//! place. Without one the same functions run on a key everybody has; only a head noted elsewhere protects then.

use crate::record::wire::put_varint;
use crate::{Error, StreamId};

pub(crate) const MARK_BYTES: usize = 4;

/// What tells one record of a block from another.
pub(crate) type Mark = [u8; MARK_BYTES];

/// A hash of the chain or of a part of a block.
pub(crate) type Hash = [u8; 32];

/// The end of the chain at some moment: note it elsewhere, and a cut or rewritten journal is found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The position of the last block, counted from 1; 0 for an empty journal.
    pub position: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.position)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Head {
    type Err = Error;

    /// Reads what `Display` writes: the position, a colon, 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        const NOT_A_HEAD: Error =
            Error::Invalid { what: "a head is a position, a colon and 64 hexadecimal digits" };
        let (position, digits) = text.split_once(':').ok_or(NOT_A_HEAD)?;
        let position = position.parse().map_err(|_| NOT_A_HEAD)?;
        let (first, second) = digits.split_at_checked(32).ok_or(NOT_A_HEAD)?;
        let half = |digits: &str| digits.parse::<StreamId>().map_err(|_| NOT_A_HEAD);
        let mut hash = [0; 32];
        let (front, back) = hash.split_at_mut(16);
        front.copy_from_slice(&half(first)?.0);
        back.copy_from_slice(&half(second)?.0);
        Ok(Self { position, hash })
    }
}

/// The secret that makes a chain unforgeable.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The keyed functions of one journal.
#[derive(Clone)]
pub(crate) struct Chain {
    block_key: Hash,
    mark_key: Hash,
    check: Hash,
    genesis: Hash,
}

/// What a block's hash says about it besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockFields {
    pub(crate) position: u64,
    pub(crate) stream: StreamId,
    /// The block's number in its stream, from 0.
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    pub(crate) records: u64,
    /// When the record before the block's first happened.
    pub(crate) after_ns: u64,
    /// When its last record happened.
    pub(crate) last_ns: u64,
}

impl Chain {
    /// The functions of the journal whose own id is `journal`.
    pub(crate) fn new(key: Option<&Key>, journal: &[u8; 16]) -> Self {
        let material: &[u8] = key.map_or(&[], |key| &key.0);
        let derive = |context: &str| blake3::derive_key(context, material);
        let block_key = derive("l0-journal 1 block");
        Self {
            block_key,
            mark_key: derive("l0-journal 1 mark"),
            check: derive("l0-journal 1 key check"),
            genesis: blake3::keyed_hash(&block_key, journal).into(),
        }
    }

    /// What a journal stores to recognise its key.
    pub(crate) const fn check(&self) -> &Hash {
        &self.check
    }

    /// What the first block is chained to.
    pub(crate) const fn genesis(&self) -> Head {
        Head { position: 0, hash: self.genesis }
    }

    pub(crate) fn block_hash(
        &self,
        before: &Hash,
        fields: &BlockFields,
        body: &Hash,
        content: &Hash,
    ) -> Hash {
        let mut said = Vec::with_capacity(160);
        said.extend_from_slice(before);
        said.extend_from_slice(&fields.stream.0);
        let numbers = [
            fields.position,
            fields.number,
            fields.first_seq,
            fields.records,
            fields.after_ns,
            fields.last_ns,
        ];
        for number in numbers {
            put_varint(&mut said, number);
        }
        said.extend_from_slice(body);
        said.extend_from_slice(content);
        blake3::keyed_hash(&self.block_key, &said).into()
    }

    /// The mark of a record: its skeleton followed by its content, unless that was erased.
    pub(crate) fn mark(&self, record: &[u8]) -> Mark {
        let hash = blake3::keyed_hash(&self.mark_key, record);
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// The hash of a block's skeletons.
pub(crate) fn body_hash(body: &[u8]) -> Hash {
    blake3::hash(body).into()
}

/// The hash of a block's contents.
pub(crate) fn contents_hash(salt: &[u8; 16], contents: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(salt);
    hasher.update(contents);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_again() {
        let head = Head { position: 12, hash: *blake3::hash(b"x").as_bytes() };
        assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        for text in ["", "1", "1:", "x:00", "1:zz"] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_field_and_the_key_change_a_block_hash() {
        let fields = BlockFields {
            position: 1,
            stream: StreamId([1; 16]),
            number: 0,
            first_seq: 0,
            records: 2,
            after_ns: 0,
            last_ns: 9,
        };
        let plain = Chain::new(None, &[0; 16]);
        let keyed = Chain::new(Some(&Key([3; 32])), &[0; 16]);
        let hash =
            |chain: &Chain, fields: &BlockFields| chain.block_hash(&[0; 32], fields, &[1; 32], &[2; 32]);
        let mut hashes = vec![hash(&plain, &fields), hash(&keyed, &fields)];
        for change in [
            |f: &mut BlockFields| f.position += 1,
            |f: &mut BlockFields| f.stream.0[15] ^= 1,
            |f: &mut BlockFields| f.number += 1,
            |f: &mut BlockFields| f.first_seq += 1,
            |f: &mut BlockFields| f.records += 1,
            |f: &mut BlockFields| f.after_ns += 1,
            |f: &mut BlockFields| f.last_ns += 1,
        ] {
            let mut other = fields;
            change(&mut other);
            hashes.push(hash(&plain, &other));
        }
        hashes.push(plain.block_hash(&[9; 32], &fields, &[1; 32], &[2; 32]));
        hashes.push(plain.block_hash(&[0; 32], &fields, &[9; 32], &[2; 32]));
        hashes.push(plain.block_hash(&[0; 32], &fields, &[1; 32], &[9; 32]));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
        assert_ne!(plain.mark(b"a"), keyed.mark(b"a"));
        assert_ne!(plain.genesis(), Chain::new(None, &[1; 16]).genesis());
    }
}
