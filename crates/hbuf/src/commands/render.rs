//! How a record is printed: by `read`, `tail`, `cat` and `grep` alike.

use anyhow::Result;
use clap::{Args, ValueEnum};
use hbuf_core::record::{Kind, Record, State};
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

/// How messages are printed, as options of a command.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FormatArgs {
    /// How to print a message
    #[arg(long, value_enum, default_value_t = Format::Body)]
    format: Format,
    /// For programs: the same as --format ndjson
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    pub(crate) const fn format(self) -> Format {
        match self.json {
            true => Format::Ndjson,
            false => self.format,
        }
    }
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
            Format::Ndjson => self.out.line(&to_json(record)),
            Format::Json => {
                self.out.bytes(if first { b"[\n" } else { b",\n" })?;
                self.out.bytes(to_json(record).as_bytes())
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

/// A record as the server's JSON shows it, its fields in the same order.
pub(crate) fn to_json(record: &Record<'_>) -> String {
    let mut fields = vec![
        ("seq", json!(record.line.seq.0)),
        ("time", json!(record.line.time.to_string())),
        ("epoch", json!(record.line.epoch.0)),
    ];
    if let Some(id) = record.id() {
        fields.push(("id", json!(id.to_string())));
    }
    if record.facts.kind != Kind::Data {
        fields.push(("kind", json!(record.facts.kind.text())));
    }
    if record.line.state == State::Gone {
        fields.push(("erased", json!(true)));
        return object(&fields);
    }
    if let Some(key) = record.key() {
        fields.push(text_or_base64("key", "key_base64", &decode_key(key)));
    }
    let tags: Vec<_> = record.tags().map(String::from_utf8_lossy).collect();
    if !tags.is_empty() {
        fields.push(("tags", json!(tags)));
    }
    let mut headers = Map::new();
    for (name, text) in record.headers() {
        if !matches!(name, b"x-hbuf-key" | b"x-hbuf-tag") {
            let (name, text) = (String::from_utf8_lossy(name), String::from_utf8_lossy(text));
            add_header(&mut headers, &name, &text);
        }
    }
    if !headers.is_empty() {
        fields.push(("headers", Value::Object(headers)));
    }
    fields.push(text_or_base64("body", "body_base64", record.body));
    object(&fields)
}

fn object(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn text_or_base64(
    name: &'static str,
    name_base64: &'static str,
    bytes: &[u8],
) -> (&'static str, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name, json!(text)),
        Err(_) => (name_base64, json!(base64(bytes))),
    }
}

/// Undoes the percent-encoding of a stored key.
pub(crate) fn decode_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let digits = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                rest = &tail[2..];
            }
            _ => out.push(byte),
        }
    }
    out
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
fn base64(bytes: &[u8]) -> String {
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
    fn a_key_is_shown_as_it_was_given() {
        assert_eq!(decode_key(b"a%20b%25%FF%4"), b"a b%\xff%4");
    }

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
