//! A message as an event: its attributes with their types, and the form of its data.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str;

use super::attribute::{check, decode_value, is_name, percent_decode};
use super::{Nature, SPEC_VERSION, TYPES};
use crate::record::{Kind, Record, State};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Presented<'a> {
    /// Its attributes: specversion, id, source and type first.
    pub attributes: Vec<(String, Value)>,
    /// Its data.
    pub data: Data<'a>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Any type that is a string in JSON.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i32),
}

/// The data of an event, borrowed from its message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Data<'a> {
    /// There is none.
    None,
    /// JSON, to stand as the value of `data`.
    Json(&'a [u8]),
    /// Text, to stand as a string in `data`.
    Text(&'a str),
    /// Bytes, to stand as base64 in `data_base64`.
    Bytes(&'a [u8]),
}

/// What a message is as an event; nothing when it has no content, or is hbuf's own record. `source`
/// is the reference of its buffer; `is_json` says whether bytes are one value of JSON.
///
/// A message without an attribute that every event must have is given one: its id, its buffer as
/// the source, [`TYPE`] as the type. One that does not say that it is an event also has its time,
/// its key as `partitionkey`, and where it names no content type, that of bytes.
#[must_use]
pub fn present<'a>(
    record: &Record<'a>,
    source: &str,
    is_json: impl Fn(&[u8]) -> bool,
) -> Option<Presented<'a>> {
    if record.line.state == State::Gone || record.facts.kind != Kind::Data {
        return None;
    }
    let header = |wanted: &[u8]| {
        let mut found = record.headers().filter(|(name, _)| *name == wanted);
        found.next().map(|(_, value)| value)
    };
    let types = header(TYPES.as_bytes()).unwrap_or_default();
    let mut given = given(record, types);
    let is_event = given.iter().any(|(name, _)| name == "specversion");
    let mut attributes = Vec::with_capacity(given.len() + 6);
    let required = [
        ("specversion", SPEC_VERSION.to_owned()),
        ("id", record.id().unwrap_or_default().to_string()),
        ("source", source.to_owned()),
        ("type", TYPE.to_owned()),
    ];
    for (name, instead) in required {
        let at = given.iter().position(|(known, _)| known == name);
        let value = at.map(|at| given.remove(at).1);
        let value = value.filter(|_| name != "specversion");
        attributes.push((name.to_owned(), value.unwrap_or(Value::Text(instead))));
    }
    let mut add = |name: &str, value: String| {
        if !given.iter().any(|(known, _)| known == name) {
            attributes.push((name.to_owned(), Value::Text(value)));
        }
    };
    if !is_event {
        add("time", record.line.time.to_string());
        if let Some(key) = record.key().and_then(|key| percent_decode(key).ok()) {
            add("partitionkey", key);
        }
    }
    let content_type = header(b"content-type");
    let untyped = !is_event && content_type.is_none() && !record.body.is_empty();
    let content_type = content_type.or_else(|| untyped.then_some(BYTES.as_bytes()));
    if let Some(content_type) = content_type {
        let text = String::from_utf8_lossy(content_type).into_owned();
        attributes.push(("datacontenttype".to_owned(), Value::Text(text)));
    }
    let encoding = header(b"content-encoding");
    if let Some(encoding) = encoding
        && !given.iter().any(|(name, _)| name == "contentencoding")
    {
        let text = String::from_utf8_lossy(encoding).into_owned();
        attributes.push(("contentencoding".to_owned(), Value::Text(text)));
    }
    attributes.append(&mut given);
    let nature = match encoding {
        // Whatever it is, its bytes are something else.
        Some(_) => Nature::Bytes,
        None => Nature::of(content_type.unwrap_or(BYTES.as_bytes())),
    };
    let data = data(record.body, nature, type_of(types, "data"), is_json);
    Some(Presented { attributes, data })
}

/// The attributes that stand in the headers.
fn given(record: &Record<'_>, types: &[u8]) -> Vec<(String, Value)> {
    let mut given: Vec<(String, Value)> = Vec::new();
    for (name, value) in record.headers() {
        let Some(name) = name.strip_prefix(b"ce-").filter(|name| is_name(name)) else {
            continue;
        };
        let (Ok(name), Ok(value)) = (str::from_utf8(name), decode_value(value)) else {
            continue;
        };
        // What came with a batch of requests was not looked at when an older server stored it.
        let known = given.iter().any(|(known, _)| known == name);
        if known || name == "datacontenttype" || check(name, &value).is_err() {
            continue;
        }
        given.push((name.to_owned(), typed(value, type_of(types, name))));
    }
    given
}

/// A value of the type that was noted, if it can be one.
fn typed(value: String, kind: Option<&[u8]>) -> Value {
    match (kind, value.as_str()) {
        (Some(b"boolean"), "true") => Value::Boolean(true),
        (Some(b"boolean"), "false") => Value::Boolean(false),
        (Some(b"integer"), text) => match text.parse() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Text(value),
        },
        _ => Value::Text(value),
    }
}

/// The type that was noted of an attribute, or of the data.
fn type_of<'a>(types: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    types.split(|&byte| byte == b',').find_map(|note| {
        let note = note.trim_ascii().strip_prefix(wanted.as_bytes())?;
        note.strip_prefix(b"=")
    })
}

fn data<'a>(
    body: &'a [u8],
    nature: Nature,
    noted: Option<&[u8]>,
    is_json: impl Fn(&[u8]) -> bool,
) -> Data<'a> {
    let text = || str::from_utf8(body).map_or(Data::Bytes(body), Data::Text);
    match (noted, nature) {
        (Some(b"binary"), _) => Data::Bytes(body),
        (Some(b"string"), _) => text(),
        _ if body.is_empty() => Data::None,
        (_, Nature::Json) if is_json(body) => Data::Json(body.trim_ascii()),
        (_, Nature::Text) => text(),
        (_, Nature::Json | Nature::Bytes) => Data::Bytes(body),
    }
}

/// The type of a message that has none of its own.
pub const TYPE: &str = "hbuf.message";
/// The content type of a message that names none.
const BYTES: &str = "application/octet-stream";
