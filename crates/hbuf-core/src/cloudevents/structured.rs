//! An event in JSON, member by member, on its way to becoming a message.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::attribute::{
    Fault, check, check_media_type, check_required, encode_value, is_name, shown, wrong,
};
use super::{EventError, Nature, TYPES, is_utf8};
use crate::content::{Source, stored_lines};
use crate::digits::read_base64_any;
use crate::limits::EVENT_MEMBERS_MAX;
use crate::record::headers;

/// A member of an event's object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member<'a> {
    /// Its name, escapes undone.
    pub name: String,
    /// Its value as it stands there, without white space around it.
    pub json: &'a str,
}

/// An event as a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unfolded<'a> {
    /// Its stored lines.
    pub lines: Vec<u8>,
    /// Its body.
    pub payload: Payload<'a>,
}

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload<'a> {
    /// There is none.
    None,
    /// JSON, as it stands in the event.
    Json(&'a str),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Makes a message of an event. `lines` are the stored lines of the request that brought it, of
/// which those that describe an event give way to the event's own; `text_of` gives the text of a
/// string of JSON, its escapes undone, and nothing when there is no such text.
pub fn unfold<'a>(
    members: &[Member<'a>],
    lines: &[u8],
    text_of: impl Fn(&'a str) -> Option<String>,
) -> Result<Unfolded<'a>, EventError> {
    let mut event = Event::default();
    if members.len() > EVENT_MEMBERS_MAX {
        return Err(EventError::Members);
    }
    for (at, member) in members.iter().enumerate() {
        let name = member.name.as_str();
        if members[..at].iter().any(|before| before.name == name) {
            return Err(EventError::Twice { name: shown(name) });
        }
        match name {
            "data" => event.data = Some(member.json),
            "data_base64" => event.base64 = Some(member.json),
            // Unset, as if it were not there.
            _ if member.json == "null" && is_name(name.as_bytes()) => {}
            "datacontenttype" => event.content_type = Some(content_type(member.json, &text_of)?),
            _ => event.attribute(name, member.json, &text_of)?,
        }
    }
    check_required(|name| event.value(name))?;
    let payload = event.payload(&text_of)?;
    Ok(Unfolded {
        lines: event.lines(lines)?,
        payload,
    })
}

/// Appends a key as `x-hbuf-key` has it.
pub(super) fn push_key(key: &str, out: &mut Vec<u8>) {
    // The same bytes are encoded, and the quote may be.
    encode_value(key, out);
}

fn content_type<'a>(
    json: &'a str,
    text_of: &impl Fn(&'a str) -> Option<String>,
) -> Result<String, EventError> {
    let wrong = |fault| wrong("datacontenttype", fault);
    let text = json.starts_with('"').then(|| text_of(json)).flatten();
    let text = text.ok_or_else(|| wrong(Fault::NoString))?;
    check_media_type(&text).map_err(wrong)?;
    Ok(text)
}

#[derive(Default)]
struct Event<'a> {
    attributes: Vec<(String, String)>,
    content_type: Option<String>,
    data: Option<&'a str>,
    base64: Option<&'a str>,
    /// `name=type` of what headers do not tell.
    types: Vec<String>,
}

impl<'a> Event<'a> {
    fn value(&self, wanted: &str) -> Option<&str> {
        let mut found = self.attributes.iter().filter(|(name, _)| name == wanted);
        found.next().map(|(_, value)| value.as_str())
    }

    fn attribute(
        &mut self,
        name: &str,
        json: &'a str,
        text_of: &impl Fn(&'a str) -> Option<String>,
    ) -> Result<(), EventError> {
        let wrong = |fault| wrong(name, fault);
        if !is_name(name.as_bytes()) {
            return Err(wrong(Fault::Name));
        }
        let (value, kind) = match json.as_bytes() {
            [b'"', ..] => {
                let text = text_of(json).ok_or_else(|| wrong(Fault::Character))?;
                (text, None)
            }
            b"true" | b"false" => (json.to_owned(), Some("boolean")),
            [b'-' | b'0'..=b'9', ..] => {
                let number: Result<i32, _> = json.parse();
                let number = number.map_err(|_| wrong(Fault::Kind))?;
                (format!("{number}"), Some("integer"))
            }
            _ => return Err(wrong(Fault::Kind)),
        };
        if kind.is_some() && OWN.contains(&name) {
            return Err(wrong(Fault::NoString));
        }
        check(name, &value).map_err(wrong)?;
        if let Some(kind) = kind {
            self.types.push(format!("{name}={kind}"));
        }
        self.attributes.push((name.to_owned(), value));
        Ok(())
    }

    /// The body; notes where its form in JSON is not the one that its type lets expect.
    fn payload(
        &mut self,
        text_of: &impl Fn(&'a str) -> Option<String>,
    ) -> Result<Payload<'a>, EventError> {
        let (data, base64) = (self.data, self.base64.filter(|json| *json != "null"));
        let nature = self
            .content_type
            .as_ref()
            .map(|of| Nature::of(of.as_bytes()));
        match (data, base64) {
            (Some(_), Some(_)) => Err(EventError::TwoPayloads),
            (None, None) => Ok(Payload::None),
            (None, Some(json)) => {
                let text = json.starts_with('"').then(|| text_of(json)).flatten();
                let bytes = text.and_then(|text| read_base64_any(text.as_bytes()));
                let bytes = bytes.ok_or(EventError::Base64)?;
                if bytes.is_empty() || matches!(nature, Some(Nature::Json | Nature::Text)) {
                    self.types.push("data=binary".to_owned());
                }
                Ok(Payload::Bytes(bytes))
            }
            (Some(json), None) => match nature {
                None => {
                    // What JSON implies is said, since headers imply something else.
                    self.content_type = Some("application/json".to_owned());
                    Ok(Payload::Json(json))
                }
                Some(Nature::Json) => Ok(Payload::Json(json)),
                Some(nature) => self.text(json, nature, text_of).map(Payload::Text),
            },
        }
    }

    fn text(
        &mut self,
        json: &'a str,
        nature: Nature,
        text_of: &impl Fn(&'a str) -> Option<String>,
    ) -> Result<String, EventError> {
        if !is_utf8(self.content_type.as_deref().unwrap_or_default().as_bytes()) {
            return Err(EventError::Charset);
        }
        let text = json.starts_with('"').then(|| text_of(json)).flatten();
        let text = text.ok_or(EventError::DataNoText)?;
        if text.is_empty() || nature != Nature::Text {
            self.types.push("data=string".to_owned());
        }
        Ok(text)
    }

    /// The lines to store: those of the request but for what the event says itself, then its own.
    fn lines(&self, of_request: &[u8]) -> Result<Vec<u8>, EventError> {
        let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, value) in headers(of_request) {
            if name == b"content-type" || name.starts_with(b"ce-") || name == TYPES.as_bytes() {
                continue;
            }
            let name = String::from_utf8_lossy(name).into_owned();
            pairs.push((name, value.to_owned()));
        }
        let has_key = pairs.iter().any(|(name, _)| name == "x-hbuf-key");
        if let Some(key) = self.value("partitionkey").filter(|_| !has_key) {
            let mut encoded = Vec::new();
            push_key(key, &mut encoded);
            pairs.push(("x-hbuf-key".to_owned(), encoded));
        }
        if let Some(content_type) = &self.content_type {
            let value = content_type.clone().into_bytes();
            pairs.push(("content-type".to_owned(), value));
        }
        for (name, value) in &self.attributes {
            let mut encoded = Vec::with_capacity(value.len());
            encode_value(value, &mut encoded);
            pairs.push((format!("ce-{name}"), encoded));
        }
        if !self.types.is_empty() {
            pairs.push((TYPES.to_owned(), self.types.join(", ").into_bytes()));
        }
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        let mut out = Vec::new();
        stored_lines(pairs, Source::Inner, &mut out)?;
        Ok(out)
    }
}

/// Attributes that are strings in every event.
const OWN: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "dataschema",
    "partitionkey",
];
