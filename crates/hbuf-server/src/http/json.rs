//! Records as JSON: one object a message, the same in lists, lines and events.

use std::io::Write as _;

use hbuf_core::record::{Kind, Record, State};

use crate::engine::{LeaseId, lease_digits};

/// Appends the object of a record.
pub(crate) fn push_record(record: &Record<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    push_fields(record, out);
}

/// Appends the object of a record with the name of its buffer.
pub(crate) fn push_record_of(buffer: &str, record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"buffer\":");
    push_string(buffer, out);
    out.push(b',');
    push_fields(record, out);
}

/// Appends the object of a record that was handed out under a lease.
pub(crate) fn push_handed(
    buffer: &str,
    lease: Option<LeaseId>,
    deliveries: u32,
    record: &Record<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"buffer\":");
    push_string(buffer, out);
    if let Some(lease) = lease {
        out.extend_from_slice(b",\"lease\":\"");
        out.extend_from_slice(&lease_digits(lease));
        out.push(b'"');
    }
    // Writing into a vector cannot fail.
    let _ = write!(out, ",\"deliveries\":{deliveries},");
    push_fields(record, out);
}

fn push_fields(record: &Record<'_>, out: &mut Vec<u8>) {
    let line = &record.line;
    // Writing into a vector cannot fail.
    let _ = write!(
        out,
        "\"seq\":{},\"time\":\"{}\",\"epoch\":{}",
        line.seq, line.time, line.epoch
    );
    if let Some(id) = record.id() {
        out.extend_from_slice(b",\"id\":\"");
        out.extend_from_slice(&id.hex());
        out.push(b'"');
    }
    if record.facts.kind != Kind::Data {
        push_field("kind", record.facts.kind.text(), out);
    }
    if line.state == State::Gone {
        out.extend_from_slice(b",\"erased\":true}");
        return;
    }
    if let Some(key) = record.key() {
        let key = decode_key(key);
        push_text_or_base64("key", "key_base64", &key, out);
    }
    push_tags(record, out);
    push_headers(record, out);
    push_text_or_base64("body", "body_base64", record.body, out);
    out.push(b'}');
}

fn push_tags(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut before = &b",\"tags\":["[..];
    for tag in record.tags() {
        out.extend_from_slice(before);
        push_string(&String::from_utf8_lossy(tag), out);
        before = b",";
    }
    if before == b"," {
        out.push(b']');
    }
}

fn push_headers(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut before = &b",\"headers\":{"[..];
    let own = |name: &[u8]| !matches!(name, b"x-hbuf-key" | b"x-hbuf-tag");
    let mut done: Vec<&[u8]> = Vec::new();
    for (name, value) in record.headers().filter(|(name, _)| own(name)) {
        if done.contains(&name) {
            continue;
        }
        // A header that comes twice is joined, as HTTP allows: an object has each name once.
        let mut joined = String::from_utf8_lossy(value).into_owned();
        for (_, more) in record.headers().filter(|(other, _)| *other == name).skip(1) {
            joined.push_str(", ");
            joined.push_str(&String::from_utf8_lossy(more));
        }
        out.extend_from_slice(before);
        push_string(&String::from_utf8_lossy(name), out);
        out.push(b':');
        push_string(&joined, out);
        before = b",";
        done.push(name);
    }
    if before == b"," {
        out.push(b'}');
    }
}

fn push_text_or_base64(name: &str, name_base64: &str, bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_field(name, text, out),
        Err(_) => push_field(name_base64, &to_base64(bytes), out),
    }
}

fn push_field(name: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_string(text, out);
}

/// Appends a JSON string.
fn push_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON, and a vector takes it");
}

/// A key as it is stored: visible ASCII but `%` as it is, everything else as %XX.
pub(crate) fn encode_key(key: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(key.len());
    for &byte in key {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
    out
}

/// Undoes [`encode_key`].
pub(crate) fn decode_key(key: &[u8]) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    let mut out = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if let (b'%', &[high, low, ref tail @ ..]) = (byte, tail) {
            out.push((digit(high) << 4) | digit(low));
            rest = tail;
        } else {
            out.push(byte);
        }
    }
    out
}

/// Standard base64 with padding (RFC 4648 §4).
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

/// Undoes [`to_base64`]; `None` when the text is not exactly what it would write.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let letters = &bytes[..bytes.len() - padding];
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for quad in letters.chunks(4) {
        let mut bits = 0;
        for &letter in quad {
            bits = (bits << 6) | letter_value(letter)?;
        }
        bits <<= 6 * (4 - quad.len());
        out.extend_from_slice(&u32::to_be_bytes(bits)[1..quad.len()]);
        // Bits that no byte takes must be zero, so that a text has one reading and one writing.
        if quad.len() < 4 && bits & (0xff_ffff >> (8 * (quad.len() - 1))) != 0 {
            return None;
        }
    }
    Some(out)
}

fn letter_value(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
pub(in crate::http) mod tests {
    use super::*;
    use hbuf_core::ids::{Epoch, Hash, Micros, Seq};
    use hbuf_core::record::{Facts, Frame, Proof, decode, encode};

    /// Message 42 with these lines and this body, as it is on disk.
    pub(in crate::http) fn framed(lines: &[u8], body: &[u8], proof: Proof) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = Frame {
            seq: Seq(42),
            time: Micros(1_795_173_322_123_456),
            epoch: Epoch(3),
            distance: 1,
            rest: 0,
            facts: &Facts::default(),
            lines,
            proof,
            body,
        };
        encode(&frame, &mut bytes);
        bytes
    }

    fn json(lines: &str, body: &[u8], proof: Proof) -> String {
        let bytes = framed(lines.as_bytes(), body, proof);
        let mut out = Vec::new();
        push_record(&decode(&bytes).unwrap(), &mut out);
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text.replace(&"a9".repeat(32), "ID")
    }

    pub(in crate::http) const LIVE: Proof = Proof::Salted {
        salt: [7; 32],
        id: Hash([0xa9; 32]),
    };
    const START: &str = r#"{"seq":42,"time":"2026-11-20T11:15:22.123456Z","epoch":3,"id":"ID""#;

    #[test]
    fn a_record_is_one_object() {
        assert_eq!(
            json("", b"hi\n\"", LIVE),
            format!("{START},\"body\":\"hi\\n\\\"\"}}")
        );
        let lines =
            "x-hbuf-key: a%20b\r\nx-hbuf-tag: t, u\r\ncontent-type: a/b\r\nx: 1\r\nx: 2\r\n";
        assert_eq!(
            json(lines, b"\xff", LIVE),
            format!(
                "{START},\"key\":\"a b\",\"tags\":[\"t\",\"u\"],\"headers\":{{\"content-type\":\"a/b\",\
                 \"x\":\"1, 2\"}},\"body_base64\":\"/w==\"}}"
            )
        );
        assert_eq!(
            json("x-hbuf-key: %FF\r\n", b"", LIVE),
            format!("{START},\"key_base64\":\"/w==\",\"body\":\"\"}}")
        );
    }

    #[test]
    fn an_erased_record_shows_no_content() {
        let gone = Proof::Gone {
            commitment: Hash([1; 32]),
            id: Hash([0xa9; 32]),
        };
        assert_eq!(
            json("xxx: 000\r\n", b"0000", gone),
            format!("{START},\"erased\":true}}")
        );
    }

    #[test]
    fn base64_agrees_with_the_vectors_of_the_rfc_both_ways() {
        let texts = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (length, text) in texts.into_iter().enumerate() {
            assert_eq!(to_base64(&b"foobar"[..length]), text);
            assert_eq!(from_base64(text).unwrap(), &b"foobar"[..length]);
        }
        for text in [
            "Zg=", "Zg", "Z===", "Zg==Zg==", "Zm9*", "Zh==", "Zm9=", "====",
        ] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }

    #[test]
    fn keys_are_encoded_as_they_are_stored() {
        let key = b"a b%\xff~";
        assert_eq!(encode_key(key), b"a%20b%25%FF~");
        assert_eq!(decode_key(&encode_key(key)), key);
    }
}
