//! Typed records: any `serde` type becomes a payload, with its content taken out and put beside it.
//!
//! A payload is one version byte and the [postcard] encoding of the record with empty content fields. Postcard does
//! not describe itself, so that a type whose shape changes must change its version, and keep the old type to read by.
//!
//! [postcard]: https://docs.rs/postcard

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::record::{Class, Content, Stored};
use crate::{Body, Error, Record};

/// A record that knows which of its fields are content.
pub trait Contents {
    /// Shows every content field, always the same ones in the same order for the same shape of record.
    ///
    /// The default has none.
    fn each_content(&mut self, visit: &mut dyn FnMut(Class, Field<'_>)) {
        let _ = visit;
    }
}

/// One content field of a record.
#[derive(Debug)]
pub enum Field<'a> {
    /// Text.
    Text(&'a mut String),
    /// Anything else.
    Bytes(&'a mut Vec<u8>),
}

impl Field<'_> {
    fn take(self) -> Vec<u8> {
        match self {
            Field::Text(text) => std::mem::take(text).into_bytes(),
            Field::Bytes(bytes) => std::mem::take(bytes),
        }
    }

    fn put(self, content: Vec<u8>) -> Result<(), Error> {
        match self {
            Field::Text(text) => {
                *text = String::from_utf8(content).map_err(|_| unreadable("a text field is not UTF-8"))?;
            }
            Field::Bytes(bytes) => *bytes = content,
        }
        Ok(())
    }
}

/// An encoded record: what [`crate::Entry`] refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The record without its content.
    pub bytes: Vec<u8>,
    /// Its content, in the order of its fields.
    pub contents: Vec<(Class, Vec<u8>)>,
}

impl Payload {
    /// The content as [`crate::Entry`] takes it.
    #[must_use]
    pub fn contents(&self) -> Vec<Content<'_>> {
        self.contents.iter().map(|(class, bytes)| Content { class: *class, bytes }).collect()
    }
}

/// A record read back, and what of its content is no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<T> {
    /// The record. A content field that is not there is empty.
    pub record: T,
    /// The content fields that are not there: their place in the order of fields, and what is left of them.
    pub missing: Vec<(usize, Class, Stored)>,
}

/// Encodes a record in the shape numbered `version`.
///
/// # Errors
/// [`Error::Payload`] where the type cannot be encoded, a sequence of unknown length for one.
pub fn encode<T: Serialize + Contents>(version: u8, mut record: T) -> Result<Payload, Error> {
    let mut contents = Vec::new();
    record.each_content(&mut |class, field| contents.push((class, field.take())));
    let bytes = postcard::to_extend(&record, vec![version])
        .map_err(|error| Error::Payload { doing: "encode", because: error.to_string() })?;
    Ok(Payload { bytes, contents })
}

/// The shape a payload was encoded in.
#[must_use]
pub fn version(payload: &[u8]) -> Option<u8> {
    payload.first().copied()
}

/// Decodes a record that was encoded in the shape numbered `version`.
///
/// # Errors
/// [`Error::Payload`] where the record is a chunk, has another version, or does not decode to exactly one `T`.
pub fn decode<T: DeserializeOwned + Contents>(version: u8, record: Record) -> Result<Decoded<T>, Error> {
    let Body::Entry { payload, contents, .. } = record.body else {
        return Err(unreadable("it is a chunk"));
    };
    let mut record = bare::<T>(version, &payload)?;
    let mut contents = contents.into_iter().enumerate();
    let (mut missing, mut failure) = (Vec::new(), None);
    record.each_content(&mut |class, field| match contents.next() {
        Some((_, (stored_class, Stored::Full(content)))) if stored_class == class => {
            if let Err(error) = field.put(content) {
                failure.get_or_insert(error);
            }
        }
        Some((index, (stored_class, stored))) if stored_class == class => {
            missing.push((index, class, stored));
        }
        Some(_) => {
            failure.get_or_insert_with(|| unreadable("its content is of another class"));
        }
        None => {
            failure.get_or_insert_with(|| unreadable("it has less content than fields"));
        }
    });
    if contents.next().is_some() {
        failure.get_or_insert_with(|| unreadable("it has more content than fields"));
    }
    failure.map_or(Ok(Decoded { record, missing }), Err)
}

/// How many content fields the record in a payload has, whether or not its content is there.
pub(crate) fn fields<T: DeserializeOwned + Contents>(version: u8, payload: &[u8]) -> Result<usize, Error> {
    let mut count = 0;
    bare::<T>(version, payload)?.each_content(&mut |_, _| count += 1);
    Ok(count)
}

/// The record in a payload, with empty content fields.
fn bare<T: DeserializeOwned>(version: u8, payload: &[u8]) -> Result<T, Error> {
    let Some((&found, bytes)) = payload.split_first() else {
        return Err(unreadable("it is empty"));
    };
    if found != version {
        return Err(unreadable("it has another version"));
    }
    let (record, rest) =
        postcard::take_from_bytes::<T>(bytes).map_err(|error| unreadable(&error.to_string()))?;
    if !rest.is_empty() {
        return Err(unreadable("it goes on after its end"));
    }
    Ok(record)
}

fn unreadable(because: &str) -> Error {
    Error::Payload { doing: "decode", because: because.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Fact {
        Asked { prompt: String, seed: u64 },
        Called { tool: String, arguments: Vec<u8> },
        Over,
    }

    impl Contents for Fact {
        fn each_content(&mut self, visit: &mut dyn FnMut(Class, Field<'_>)) {
            match self {
                Self::Asked { prompt, .. } => visit(Class::Prompt, Field::Text(prompt)),
                Self::Called { arguments, .. } => {
                    visit(Class::ToolArguments, Field::Bytes(arguments));
                }
                Self::Over => {}
            }
        }
    }

    fn stored(payload: &Payload) -> Record {
        let contents =
            payload.contents.iter().map(|(class, bytes)| (*class, Stored::Full(bytes.clone()))).collect();
        Record { seq: 0, at_ns: 0, body: Body::Entry { kind: 1, payload: payload.bytes.clone(), contents } }
    }

    #[test]
    fn a_record_is_read_again_and_its_content_is_beside_it() {
        let facts = [
            Fact::Asked { prompt: "what is the capital of France?".to_owned(), seed: 42 },
            Fact::Called { tool: "search".to_owned(), arguments: b"{\"q\":1}".to_vec() },
            Fact::Over,
        ];
        for fact in facts {
            let payload = encode(1, fact.clone()).unwrap();
            assert!(!payload.bytes.windows(7).any(|window| window == b"capital"));
            let decoded = decode::<Fact>(1, stored(&payload)).unwrap();
            assert_eq!(decoded, Decoded { record: fact, missing: Vec::new() });
        }
    }

    #[test]
    fn content_that_is_gone_is_named() {
        let payload = encode(1, Fact::Asked { prompt: "hello".to_owned(), seed: 42 }).unwrap();
        let mut record = stored(&payload);
        if let Body::Entry { contents, .. } = &mut record.body {
            *contents = vec![(Class::Prompt, Stored::Erased { bytes: 5 })];
        }
        let decoded = decode::<Fact>(1, record).unwrap();
        assert_eq!(decoded.record, Fact::Asked { prompt: String::new(), seed: 42 });
        assert_eq!(decoded.missing, [(0, Class::Prompt, Stored::Erased { bytes: 5 })]);
    }

    #[test]
    fn another_shape_is_refused() {
        let payload = encode(1, Fact::Over).unwrap();
        assert!(decode::<Fact>(2, stored(&payload)).is_err());
        let mut longer = payload.clone();
        longer.bytes.push(0);
        assert!(decode::<Fact>(1, stored(&longer)).is_err());
        let mut fuller = payload;
        fuller.contents.push((Class::Prompt, Vec::new()));
        assert!(decode::<Fact>(1, stored(&fuller)).is_err());
    }
}
