//! Which of a client's headers are stored, and in which form.
//!
//! From a plain append only what is listed here, so that no credential, cookie or address reaches a
//! file, and what the append's URL names, but no credential. From an inner request of a batch
//! everything but what is listed here, since its writer chose each line. Canonical order: key, tag,
//! content-type, deliver-at, then the others as they came. Must never: store a header that frames a
//! request, or an `x-hbuf-*` that the server alone may write.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::token::{is_name, is_value, trim};
use crate::ids::HEX;
use crate::limits::{
    HEADER_LINES_MAX, HEADERS_BYTES_MAX, KEEP_NAMES_MAX, KEY_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX,
};
use crate::record::FACT_NAMES;
use crate::time::parse_rfc3339;

/// Where headers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source<'a> {
    /// The request that appends one message.
    Plain,
    /// The same, whose URL names further headers to keep; see [`kept_names`].
    Keeping(&'a [&'a str]),
    /// An inner request of an `application/http` batch.
    Inner,
}

/// Why a message's headers are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ContentError {
    /// An `x-hbuf-*` that is no content and no request control.
    #[error(
        "`{name}` is not a header that clients send: use `x-hbuf-meta-…` for headers of your own"
    )]
    Reserved {
        /// The header.
        name: Box<str>,
    },
    /// A record of another kind than data.
    #[error("a record of kind `{kind}` is the server's own and cannot be appended: leave it out")]
    Control {
        /// The kind.
        kind: Box<str>,
    },
    /// An erased record.
    #[error("the record was erased and has no content left to append: leave it out")]
    Erased,
    /// A name that is no token.
    #[error("`{name}` is not a header name: use letters, digits and `-`")]
    Name {
        /// The name, as far as it is text.
        name: Box<str>,
    },
    /// A control character.
    #[error("the value of `{name}` holds a control character: encode it")]
    Value {
        /// The header.
        name: Box<str>,
    },
    /// A header that may come once came twice.
    #[error("`{name}` came twice: send it once")]
    Twice {
        /// The header.
        name: &'static str,
    },
    /// A `connection` header that names others.
    #[error(
        "`connection` names `{name}`: a message's headers belong to no connection, leave it out"
    )]
    Connection {
        /// The named header.
        name: Box<str>,
    },
    /// More lines than are stored.
    #[error("more than {HEADER_LINES_MAX} headers to store: put them into the body")]
    Lines,
    /// More bytes than are stored.
    #[error("more than {HEADERS_BYTES_MAX} bytes of headers to store: put them into the body")]
    Bytes,
    /// The key is empty.
    #[error("`x-hbuf-key` is empty: leave it out or give the key")]
    KeyEmpty,
    /// The key is too long.
    #[error("`x-hbuf-key` has more than {KEY_BYTES_MAX} bytes, percent-encoded: use a shorter key")]
    KeyLong,
    /// The key is not percent-encoded.
    #[error(
        "`x-hbuf-key` is not percent-encoded: write bytes outside visible ASCII, and `%`, as %XX"
    )]
    KeyEncoding,
    /// A tag is too long.
    #[error("a tag of `x-hbuf-tag` has more than {TAG_BYTES_MAX} bytes: use a shorter tag")]
    TagLong,
    /// The time of delivery cannot be read.
    #[error(
        "`x-hbuf-deliver-at` is no time: write it as in RFC 3339, for example 2026-11-20T11:15:22Z"
    )]
    DeliverAt,
    /// Too many tags.
    #[error("`x-hbuf-tag` holds more than {TAGS_MAX} tags: use fewer, separated by commas")]
    Tags,
}

/// Appends the stored lines of a message to `out`, each `name: value` and CRLF, in canonical order.
/// Names arrive in lower case. On an error `out` is as it was.
pub fn stored_lines<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    source: Source<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ContentError> {
    let start = out.len();
    let mut stored = Stored::new(out.len());
    let take_all = || {
        for (name, value) in headers {
            stored.take(name.as_bytes(), trim(value), source, out)?;
        }
        stored.finish(out)
    };
    let taken = take_all();
    if taken.is_err() {
        out.truncate(start);
    }
    taken
}

/// The headers that an append's URL names to be kept, in lower case and separated by commas: at
/// most [`KEEP_NAMES_MAX`] names that a batch of requests could store too.
pub fn kept_names(list: &str) -> Result<Vec<&str>, KeepError> {
    let names: Vec<&str> = list.split(',').collect();
    if names.len() > KEEP_NAMES_MAX {
        return Err(KeepError::Many);
    }
    for name in &names {
        if !is_name(name.as_bytes()) {
            return Err(KeepError::Name {
                name: text(name.as_bytes()),
            });
        }
        let bytes = name.as_bytes();
        if bytes.starts_with(b"x-hbuf-") || bytes == b"connection" || DROPPED.contains(&bytes) {
            return Err(KeepError::Never { name: text(bytes) });
        }
    }
    Ok(names)
}

/// Why headers cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeepError {
    /// Too many.
    #[error("`keep` names more than {KEEP_NAMES_MAX} headers: name fewer")]
    Many,
    /// No name.
    #[error(
        "`keep` has `{name}`, which is no header's name in lower case: separate names by commas"
    )]
    Name {
        /// The name.
        name: Box<str>,
    },
    /// One that is never stored.
    #[error(
        "`{name}` frames a request, belongs to a connection, to hbuf or to a login: it is not kept"
    )]
    Never {
        /// The name.
        name: Box<str>,
    },
}

/// A message's lines on their way into `out`.
pub(super) struct Stored<'a> {
    start: usize,
    lines: usize,
    key: Option<&'a [u8]>,
    tag: Option<&'a [u8]>,
    more_tags: Vec<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    deliver_at: Option<&'a [u8]>,
    /// A head line of hbuf's own: no message.
    pub(super) head: bool,
}

impl<'a> Stored<'a> {
    pub(super) const fn new(start: usize) -> Self {
        Self {
            start,
            lines: 0,
            key: None,
            tag: None,
            more_tags: Vec::new(),
            content_type: None,
            deliver_at: None,
            head: false,
        }
    }

    /// Takes in one header: name in lower case, value without spaces at its ends.
    pub(super) fn take(
        &mut self,
        name: &[u8],
        value: &'a [u8],
        source: Source<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        match name {
            b"x-hbuf-key" => once(&mut self.key, value, "x-hbuf-key")?,
            b"x-hbuf-tag" if self.tag.is_none() => self.tag = Some(value),
            b"x-hbuf-tag" => self.more_tags.push(value),
            b"content-type" => once(&mut self.content_type, value, "content-type")?,
            b"x-hbuf-deliver-at" => once(&mut self.deliver_at, value, "x-hbuf-deliver-at")?,
            _ => {
                if self.is_stored(name, value, source)? {
                    return self.push_other(name, value, out);
                }
                return Ok(());
            }
        }
        if is_value(value) {
            Ok(())
        } else {
            Err(ContentError::Value { name: text(name) })
        }
    }

    /// Puts key, tags, content-type and deliver-at before the others and checks the whole.
    pub(super) fn finish(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        let others_end = out.len();
        let mut lines = self.lines;
        if let Some(key) = self.key {
            out.extend_from_slice(b"x-hbuf-key: ");
            push_canonical_key(key, out)?;
            out.extend_from_slice(b"\r\n");
            lines += 1;
        }
        if let Some(tag) = self.tag {
            lines += usize::from(push_tags(tag, &self.more_tags, out)?);
        }
        if let Some(content_type) = self.content_type {
            push_line(b"content-type", content_type, out);
            lines += 1;
        }
        if let Some(value) = self.deliver_at {
            let time = core::str::from_utf8(value).ok().and_then(parse_rfc3339);
            let time = time.ok_or(ContentError::DeliverAt)?;
            push_line(b"x-hbuf-deliver-at", time.to_string().as_bytes(), out);
            lines += 1;
        }
        if lines > HEADER_LINES_MAX {
            return Err(ContentError::Lines);
        }
        if (out.len() - self.start) as u64 > HEADERS_BYTES_MAX {
            return Err(ContentError::Bytes);
        }
        if others_end > self.start {
            let first = out.len() - others_end;
            out[self.start..].rotate_right(first);
        }
        Ok(())
    }

    /// Whether a header other than those above is stored.
    fn is_stored(
        &mut self,
        name: &[u8],
        value: &[u8],
        source: Source<'_>,
    ) -> Result<bool, ContentError> {
        if let Some(own) = name.strip_prefix(b"x-hbuf-") {
            return self.is_own_stored(name, own, value, source);
        }
        match source {
            Source::Plain => Ok(is_plain_stored(name)),
            Source::Keeping(names) => {
                let kept = names.iter().any(|kept| kept.as_bytes() == name);
                Ok(kept || is_plain_stored(name))
            }
            Source::Inner if name == b"connection" => check_connection(value).map(|()| false),
            Source::Inner => Ok(!DROPPED.contains(&name)),
        }
    }

    fn is_own_stored(
        &mut self,
        name: &[u8],
        own: &[u8],
        value: &[u8],
        source: Source<'_>,
    ) -> Result<bool, ContentError> {
        if own.starts_with(b"meta-") && own.len() > 5 {
            return Ok(true);
        }
        if CONTROLS.contains(&own) {
            return Ok(false);
        }
        if source != Source::Inner {
            return Err(ContentError::Reserved { name: text(name) });
        }
        match own {
            b"salt" | b"id" => Ok(false),
            b"gone" => Err(ContentError::Erased),
            b"kind" => {
                let kind = crate::record::Kind::parse(value);
                self.head |= kind.is_some_and(crate::record::Kind::is_head);
                if self.head {
                    Ok(false)
                } else {
                    Err(ContentError::Control { kind: text(value) })
                }
            }
            _ if FACT_NAMES.iter().any(|fact| fact.as_bytes() == name) => Ok(false),
            _ => Err(ContentError::Reserved { name: text(name) }),
        }
    }

    fn push_other(
        &mut self,
        name: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        if !is_name(name) {
            return Err(ContentError::Name { name: text(name) });
        }
        if !is_value(value) {
            return Err(ContentError::Value { name: text(name) });
        }
        self.lines += 1;
        if self.lines > HEADER_LINES_MAX {
            return Err(ContentError::Lines);
        }
        push_line(name, value, out);
        Ok(())
    }
}

/// Appends a key in its canonical form, so that two keys are one exactly when their bytes are:
/// visible ASCII but `%` as it is, everything else as %XX in upper case.
pub fn push_canonical_key(key: &[u8], out: &mut Vec<u8>) -> Result<(), ContentError> {
    let start = out.len();
    if key.is_empty() {
        return Err(ContentError::KeyEmpty);
    }
    let mut rest = key;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match *byte {
            b'%' => {
                let &[high, low, ref tail @ ..] = tail else {
                    return Err(ContentError::KeyEncoding);
                };
                rest = tail;
                let byte = hex_value(high)
                    .zip(hex_value(low))
                    .map(|(high, low)| high << 4 | low);
                push_key_byte(byte.ok_or(ContentError::KeyEncoding)?, out);
            }
            byte if byte.is_ascii_graphic() => out.push(byte),
            _ => return Err(ContentError::KeyEncoding),
        }
        if out.len() - start > KEY_BYTES_MAX {
            return Err(ContentError::KeyLong);
        }
    }
    Ok(())
}

fn push_key_byte(byte: u8, out: &mut Vec<u8>) {
    if byte.is_ascii_graphic() && byte != b'%' {
        out.push(byte);
    } else {
        let digit = |value: u8| HEX[usize::from(value)].to_ascii_uppercase();
        out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
    }
}

const fn hex_value(digit: u8) -> Option<u8> {
    crate::ids::hex_digit(digit.to_ascii_lowercase())
}

/// Appends one line with all tags, `a, b`; none when there is no tag. Returns whether there is one.
fn push_tags(first: &[u8], more: &[&[u8]], out: &mut Vec<u8>) -> Result<bool, ContentError> {
    let mut count = 0;
    for value in core::iter::once(&first).chain(more) {
        for tag in value
            .split(|&byte| byte == b',')
            .map(trim)
            .filter(|tag| !tag.is_empty())
        {
            if tag.len() > TAG_BYTES_MAX {
                return Err(ContentError::TagLong);
            }
            if count == TAGS_MAX {
                return Err(ContentError::Tags);
            }
            out.extend_from_slice(if count == 0 { b"x-hbuf-tag: " } else { b", " });
            out.extend_from_slice(tag);
            count += 1;
        }
    }
    if count > 0 {
        out.extend_from_slice(b"\r\n");
    }
    Ok(count > 0)
}

fn push_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn once<'a>(
    place: &mut Option<&'a [u8]>,
    value: &'a [u8],
    name: &'static str,
) -> Result<(), ContentError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ContentError::Twice { name }),
    }
}

/// Headers of a plain append that are stored, besides key, tag, content-type and `x-hbuf-meta-*`.
fn is_plain_stored(name: &[u8]) -> bool {
    matches!(
        name,
        b"content-encoding" | b"content-language" | b"traceparent" | b"tracestate"
    ) || name.starts_with(b"ce-")
}

/// A `connection` header may name only what is dropped anyway.
fn check_connection(value: &[u8]) -> Result<(), ContentError> {
    for name in value.split(|&byte| byte == b',').map(trim) {
        let known = name.is_empty()
            || name.eq_ignore_ascii_case(b"close")
            || DROPPED
                .iter()
                .any(|dropped| dropped.eq_ignore_ascii_case(name));
        if !known {
            return Err(ContentError::Connection { name: text(name) });
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_SHOWN_MAX)]).into()
}

/// Request controls, without `x-hbuf-`: they say how to append, not what.
const CONTROLS: [&[u8]; 5] = [b"ack", b"producer", b"history", b"read", b"act-as"];

/// Headers of an inner request that are not stored: what frames it, what belongs to a connection,
/// controls of an append, credentials.
const DROPPED: [&[u8]; 19] = [
    b"content-length",
    b"host",
    b"transfer-encoding",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"upgrade",
    b"http2-settings",
    b"expect",
    b"if-match",
    b"idempotency-key",
    b"prefer",
    b"authorization",
    b"proxy-authorization",
    b"cookie",
    b"set-cookie",
    b"x-api-key",
    b"x-auth-token",
];

/// Of a name in an error, at most this many bytes.
const NAME_SHOWN_MAX: usize = 100;
