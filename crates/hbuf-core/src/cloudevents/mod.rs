//! CloudEvents 1.0 over HTTP: which message is an event, how one in JSON becomes a message, and
//! what a message is as an event.
//!
//! An event is stored in the binary mode of the HTTP binding: each attribute as a `ce-*` header,
//! `datacontenttype` as `content-type`, the data as the body. So the two modes are one message, and
//! whoever appended in the one reads in the other. JSON tells types apart that headers do not;
//! where they differ from what a reader of the headers would take them for, [`TYPES`] says so.
//!
//! Nothing here reads or writes JSON: that gives and takes its pieces.

mod attribute;
mod binary;
mod presented;
mod structured;

pub use attribute::{Fault, encode_value};
pub use binary::settle_binary;
pub use presented::{Data, Presented, TYPE, Value, present};
pub use structured::{Member, Payload, Unfolded, unfold};

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use crate::content::ContentError;
use crate::limits::EVENT_MEMBERS_MAX;
use crate::name::Name;
use crate::record::headers;

/// One event as JSON.
pub const EVENT_TYPE: &str = "application/cloudevents+json";
/// An array of such events.
pub const BATCH_TYPE: &str = "application/cloudevents-batch+json";
/// The only version that there is of what is understood here.
pub const SPEC_VERSION: &str = "1.0";
/// Stored header with the types that JSON has and headers have not: `name=type`, separated by
/// commas. It describes the attributes of its message and is no attribute itself.
pub const TYPES: &str = "x-hbuf-meta-ce-types";

/// How a message holds an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It does not say that it is one.
    None,
    /// In its headers.
    Binary,
    /// In its body, as JSON.
    Structured,
    /// In its body, but not as the JSON itself: it has a content coding.
    Coded,
    /// An array of them in its body, which can be no single message.
    Batch,
}

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EventError {
    /// A batch where one event belongs.
    #[error("`{BATCH_TYPE}` is the type of a whole request, not of a message of a batch")]
    BatchInside,
    /// The request's body has a coding.
    #[error("`content-encoding` does not go with `{EVENT_TYPE}`: send the JSON as it is")]
    Encoded,
    /// No JSON, or no object.
    #[error("the event is no JSON object: {what}")]
    Json {
        /// What the reader of JSON says.
        what: Box<str>,
    },
    /// A batch that is no JSON, or no array.
    #[error("a batch is a JSON array of events, `[{{…}}, {{…}}]`: {what}")]
    NoArray {
        /// What the reader of JSON says.
        what: Box<str>,
    },
    /// Too many members.
    #[error("the event has more than {EVENT_MEMBERS_MAX} members: put them into `data`")]
    Members,
    /// A member came twice.
    #[error("`{name}` came twice: send it once")]
    Twice {
        /// The member.
        name: Box<str>,
    },
    /// An attribute that every event has is not there.
    #[error("the attribute `{name}` is missing: an event has specversion, id, source and type")]
    Missing {
        /// The attribute.
        name: &'static str,
    },
    /// Another version.
    #[error("`specversion` is not \"{SPEC_VERSION}\", the only one that is understood")]
    Version,
    /// An attribute is wrong.
    #[error("the attribute `{name}` {fault}")]
    Attribute {
        /// The attribute, as far as it is short.
        name: Box<str>,
        /// What is wrong with it.
        fault: Fault,
    },
    /// `data` and `data_base64`.
    #[error("`data` and `data_base64` are both there: send one of them")]
    TwoPayloads,
    /// `data_base64` is no base64.
    #[error("`data_base64` is not a string of base64 with padding")]
    Base64,
    /// Data that is no text under a type that is no JSON.
    #[error(
        "`data` is no string, and `datacontenttype` is no JSON: send a string, or `data_base64`"
    )]
    DataNoText,
    /// Text in another character set than that of JSON.
    #[error(
        "`data` is text in UTF-8, and `datacontenttype` has another charset: leave that out, or send \
        `data_base64`"
    )]
    Charset,
    /// Its headers, once it is a message.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// How a message with these stored lines holds an event: `content-type` stands before what decides
/// with it. Costs one look at each line's name.
#[must_use]
pub fn mode(lines: &[u8]) -> Mode {
    let mut mode = Mode::None;
    for (name, value) in headers(lines) {
        match name {
            b"content-type" if is_type(value, EVENT_TYPE) => mode = Mode::Structured,
            b"content-type" if is_type(value, BATCH_TYPE) => return Mode::Batch,
            b"content-encoding" if mode == Mode::Structured => return Mode::Coded,
            b"ce-specversion" if mode == Mode::None => mode = Mode::Binary,
            _ => {}
        }
    }
    mode
}

/// The reference of a buffer, which is the source of its messages: its path.
#[must_use]
pub fn source_of(tenant: &Name, buffer: &Name) -> String {
    if *tenant == Name::default_tenant() {
        format!("/buffers/{buffer}")
    } else {
        format!("/tenants/{tenant}/buffers/{buffer}")
    }
}

/// Whether a content type is this one, whatever its parameters.
#[must_use]
pub fn is_type(content_type: &[u8], wanted: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case(wanted.as_bytes())
}

/// A media type without its parameters.
fn essence(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|&byte| byte == b';');
    content_type[..end.unwrap_or(content_type.len())].trim_ascii()
}

/// What the bytes of a media type are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Nature {
    /// JSON, as its subtype says.
    Json,
    /// Text in UTF-8.
    Text,
    /// Anything.
    Bytes,
}

impl Nature {
    fn of(content_type: &[u8]) -> Self {
        let essence = essence(content_type).to_ascii_lowercase();
        let (main, sub) = match essence.iter().position(|&byte| byte == b'/') {
            Some(at) => (&essence[..at], &essence[at + 1..]),
            None => (&essence[..], &b""[..]),
        };
        if sub == b"json" || sub.ends_with(b"+json") {
            return Self::Json;
        }
        let text = main == b"text" || TEXTS.contains(&sub) || sub.ends_with(b"+xml");
        if text && is_utf8(content_type) {
            Self::Text
        } else {
            Self::Bytes
        }
    }
}

/// Whether a media type names no other character set than UTF-8, of which ASCII is a part.
fn is_utf8(content_type: &[u8]) -> bool {
    let mut parameters = content_type.split(|&byte| byte == b';').skip(1);
    parameters.all(|parameter| {
        let text = parameter.trim_ascii().to_ascii_lowercase();
        let Some(charset) = text.strip_prefix(b"charset=") else {
            return true;
        };
        let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
        let charset = charset.strip_suffix(b"\"").unwrap_or(charset);
        matches!(charset, b"utf-8" | b"us-ascii")
    })
}

/// Subtypes that are text though their main type does not say so.
const TEXTS: [&[u8]; 6] = [
    b"javascript",
    b"toml",
    b"x-ndjson",
    b"x-www-form-urlencoded",
    b"xml",
    b"yaml",
];

#[cfg(test)]
mod tests;
