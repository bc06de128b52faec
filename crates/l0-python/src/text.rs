//! Python text as the engine's text.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// The text of a string, without a copy; lone surrogates become U+FFFD, one for one, so that offsets hold.
pub(crate) fn text<'a>(string: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, str>> {
    if let Ok(text) = string.to_str() {
        return Ok(Cow::Borrowed(text));
    }
    let encoded = string.call_method1("encode", ("utf-8", "surrogatepass"))?;
    let mut bytes = encoded.cast_into::<PyBytes>()?.as_bytes().to_vec();
    // A surrogate is written as ED A0..BF xx, which no other character is; U+FFFD has three bytes as well.
    let mut at = 0;
    while at + 2 < bytes.len() {
        if bytes[at] == 0xED && bytes[at + 1] >= 0xA0 {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
        at += 1;
    }
    Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A string that is no text, as bytes that no JSON begins with: a zero, then UTF-8 in which halves of pairs have a place.
pub(crate) fn odd_text(string: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    let encoded = string.call_method1("encode", ("utf-8", "surrogatepass"))?.cast_into::<PyBytes>()?;
    let mut bytes = vec![0];
    bytes.extend_from_slice(encoded.as_bytes());
    Ok(bytes)
}
