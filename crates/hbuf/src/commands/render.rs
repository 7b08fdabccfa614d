//! How a record is printed: by `read`, `tail`, `cat` and `grep` alike.

use anyhow::Result;
use clap::ValueEnum;
use hbuf_core::ids::Micros;
use hbuf_core::record::{Kind, Record, State};
use hbuf_core::time::{TIME_LEN, write};
use serde_json::{Map, Value, json};

use crate::output::Out;

/// How to print a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The body and a line feed
    Body,
    /// A line of JSON a message
    Ndjson,
    /// One JSON array
    Json,
    /// The bytes of the record, as on disk
    Raw,
}

/// Prints records in one format.
#[derive(Debug)]
pub(crate) struct Printer {
    format: Format,
    out: Out,
    printed: u64,
}

impl Printer {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            out: Out::new(),
            printed: 0,
        }
    }

    pub(crate) fn print(&mut self, record: &Record<'_>) -> Result<()> {
        let first = self.printed == 0;
        self.printed += 1;
        match self.format {
            Format::Raw => self.out.bytes(record.bytes),
            Format::Ndjson => self.out.json(&to_json(record)),
            Format::Json => {
                self.out.bytes(if first { b"[\n" } else { b",\n" })?;
                self.out.bytes(to_json(record).to_string().as_bytes())
            }
            Format::Body => {
                // An erased body is a run of zeros that nobody wrote.
                if record.line.state == State::Gone {
                    return Ok(());
                }
                self.out.foreign(record.body)?;
                self.out.line("")
            }
        }
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        if self.format == Format::Json {
            self.out
                .bytes(if self.printed == 0 { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()
    }
}

/// A record as the server's JSON shows it.
pub(crate) fn to_json(record: &Record<'_>) -> Value {
    let mut value = Map::new();
    value.insert("seq".into(), json!(record.line.seq.0));
    value.insert("time".into(), json!(time_text(record.line.time)));
    value.insert("epoch".into(), json!(record.line.epoch.0));
    if let Some(id) = record.id() {
        value.insert("id".into(), json!(id.to_string()));
    }
    if record.facts.kind != Kind::Data {
        value.insert("kind".into(), json!(record.facts.kind.text()));
    }
    if record.line.state == State::Gone {
        value.insert("erased".into(), json!(true));
        return Value::Object(value);
    }
    if let Some(key) = record.key() {
        value.insert("key".into(), json!(String::from_utf8_lossy(key)));
    }
    let tags: Vec<_> = record.tags().map(String::from_utf8_lossy).collect();
    if !tags.is_empty() {
        value.insert("tags".into(), json!(tags));
    }
    let mut headers = Map::new();
    for (name, text) in record.headers() {
        if !matches!(name, b"x-hbuf-key" | b"x-hbuf-tag") {
            add_header(
                &mut headers,
                &String::from_utf8_lossy(name),
                &String::from_utf8_lossy(text),
            );
        }
    }
    if !headers.is_empty() {
        value.insert("headers".into(), Value::Object(headers));
    }
    match std::str::from_utf8(record.body) {
        Ok(text) => value.insert("body".into(), json!(text)),
        Err(_) => value.insert("body_base64".into(), json!(base64(record.body))),
    };
    Value::Object(value)
}

/// Server time as in the record's line.
pub(crate) fn time_text(time: Micros) -> String {
    let mut text = [0; TIME_LEN];
    write(time, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A header that comes twice is joined, as HTTP allows.
fn add_header(headers: &mut Map<String, Value>, name: &str, text: &str) {
    match headers.get_mut(name) {
        Some(Value::String(before)) => {
            before.push_str(", ");
            before.push_str(text);
        }
        _ => {
            headers.insert(name.to_owned(), json!(text));
        }
    }
}

/// Standard base64 with padding (RFC 4648 §4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [
            chunk[0],
            *chunk.get(1).unwrap_or(&0),
            *chunk.get(2).unwrap_or(&0),
        ];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = (bits >> (18 - 6 * place)) & 63;
                text.push(char::from(LETTERS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_vectors_of_the_rfc() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }
}
