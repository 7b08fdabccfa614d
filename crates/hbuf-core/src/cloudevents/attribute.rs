//! One attribute: its name, its value as a header and as text, and what an event's own attributes
//! must be.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{EventError, SPEC_VERSION};
use crate::ids::{HEX, hex_digit};
use crate::time::parse_rfc3339;

/// What is wrong with an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Its name.
    #[error("has no name of an attribute: use lower-case letters and digits")]
    Name,
    /// An empty value where there must be one.
    #[error("is empty: leave it out, or give it a value")]
    Empty,
    /// A value of a type that attributes do not have.
    #[error("is neither a string, nor true or false, nor a whole number of 32 bits")]
    Kind,
    /// A value that must be text is something else.
    #[error("is no string")]
    NoString,
    /// A control character, or none at all.
    #[error("holds a control character or one that stands for nothing: leave it out")]
    Character,
    /// Percent-encoded bytes that are no text.
    #[error("is no UTF-8, or percent-encoded to what is none")]
    Encoding,
    /// No time.
    #[error("is no time: write it as in RFC 3339, for example 2026-11-20T11:15:22Z")]
    Time,
    /// No reference.
    #[error("holds a space: a URI has none, write it as %20")]
    Reference,
    /// No media type.
    #[error("is no media type: write type/subtype, as in a content-type header")]
    MediaType,
    /// A media type that the headers of a message cannot have beside the event's own.
    #[error("is a type of CloudEvents: events are taken as JSON, and none within another")]
    Nested,
    /// It has a place of its own.
    #[error("belongs into `content-type`")]
    ContentType,
}

/// An error about an attribute.
pub(super) fn wrong(name: &str, fault: Fault) -> EventError {
    EventError::Attribute {
        name: shown(name),
        fault,
    }
}

/// A name in an error: no longer than a person reads.
pub(super) fn shown(name: &str) -> Box<str> {
    name.chars().take(NAME_SHOWN_MAX).collect::<String>().into()
}

/// Whether an attribute may have this name.
pub(super) fn is_name(name: &[u8]) -> bool {
    let fine = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name.iter().all(fine) && name != b"data"
}

/// Checks the value of an attribute that is no `datacontenttype`, its escapes undone.
pub(super) fn check(name: &str, value: &str) -> Result<(), Fault> {
    if value
        .chars()
        .any(|c| c.is_control() || stands_for_nothing(c))
    {
        return Err(Fault::Character);
    }
    let own = matches!(name, "id" | "source" | "type" | "subject" | "dataschema");
    if value.is_empty() && (own || name == "partitionkey") {
        return Err(Fault::Empty);
    }
    match name {
        "source" | "dataschema" if value.contains(' ') => Err(Fault::Reference),
        "time" if parse_rfc3339(value).is_none() => Err(Fault::Time),
        _ => Ok(()),
    }
}

/// Checks a `datacontenttype`.
pub(super) fn check_media_type(value: &str) -> Result<(), Fault> {
    if value.is_empty() {
        return Err(Fault::Empty);
    }
    let essence = value.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-'*`|~%".contains(&byte);
        !part.is_empty() && part.bytes().all(fine)
    };
    let parts = essence.split_once('/');
    let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !visible || !parts.is_some_and(|(main, sub)| token(main) && token(sub)) {
        return Err(Fault::MediaType);
    }
    if essence
        .to_ascii_lowercase()
        .starts_with("application/cloudevents")
    {
        return Err(Fault::Nested);
    }
    Ok(())
}

/// Checks what every event has; `value` gives an attribute's.
pub(super) fn check_required<'a>(
    value: impl Fn(&'static str) -> Option<&'a str>,
) -> Result<(), EventError> {
    let version = value("specversion");
    if version.is_some_and(|version| version != SPEC_VERSION) {
        return Err(EventError::Version);
    }
    for name in ["specversion", "id", "source", "type"] {
        if value(name).is_none() {
            return Err(EventError::Missing { name });
        }
    }
    Ok(())
}

/// Appends a value as a header has it (HTTP binding §3.1.3.2): space, quote, percent and everything
/// that is not printable ASCII as %XX.
pub fn encode_value(value: &str, out: &mut Vec<u8>) {
    for &byte in value.as_bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            out.push(byte);
        } else {
            let digit = |value: u8| HEX[usize::from(value)].to_ascii_uppercase();
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// The value of a header: quotes undone, then one round of percent-encoding. What does not look
/// encoded is as it is, since older writers did not encode all that must be today.
pub(super) fn decode_value(value: &[u8]) -> Result<String, Fault> {
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let value = quoted.map_or_else(|| value.to_vec(), unescape);
    percent_decode(&value)
}

/// Undoes one round of percent-encoding.
pub(super) fn percent_decode(value: &[u8]) -> Result<String, Fault> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let pair = match (byte, tail) {
            (b'%', &[high, low, ref behind @ ..]) => digits(high, low).map(|byte| (byte, behind)),
            _ => None,
        };
        if let Some((decoded, behind)) = pair {
            out.push(decoded);
            rest = behind;
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8(out).map_err(|_| Fault::Encoding)
}

fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(quoted.len());
    let mut escaped = false;
    for &byte in quoted {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            out.push(byte);
            escaped = false;
        }
    }
    out
}

fn digits(high: u8, low: u8) -> Option<u8> {
    let value = |digit: u8| hex_digit(digit.to_ascii_lowercase());
    Some(value(high)? << 4 | value(low)?)
}

/// Code points that Unicode keeps free of any meaning.
fn stands_for_nothing(c: char) -> bool {
    let c = u32::from(c);
    matches!(c, 0xfdd0..=0xfdef) || c & 0xfffe == 0xfffe
}

/// Of a name in an error, at most this many characters.
const NAME_SHOWN_MAX: usize = 100;
