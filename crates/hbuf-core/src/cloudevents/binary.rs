//! An event that came in headers: checked, and kept as it is.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::str;

use super::EventError;
use super::attribute::{
    Fault, check, check_media_type, check_required, decode_value, is_name, shown as shown_name,
    wrong,
};
use super::structured::push_key;
use crate::content::{Source, stored_lines};
use crate::record::headers;

/// Checks the stored lines of a message that says it is an event. Where it has a `partitionkey` and
/// no key, gives its lines anew, with the key; otherwise they stay as they are.
pub fn settle_binary(lines: &[u8]) -> Result<Option<Vec<u8>>, EventError> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (name, value) in headers(lines) {
        if name == b"content-type" {
            let value = str::from_utf8(value).unwrap_or_default();
            check_media_type(value).map_err(|fault| wrong("datacontenttype", fault))?;
        }
        let Some(name) = name.strip_prefix(b"ce-") else {
            continue;
        };
        let shown = String::from_utf8_lossy(name).into_owned();
        if !is_name(name) {
            return Err(wrong(&shown, Fault::Name));
        }
        if name == b"datacontenttype" {
            return Err(wrong(&shown, Fault::ContentType));
        }
        if attributes.iter().any(|(known, _)| *known == shown) {
            return Err(EventError::Twice {
                name: shown_name(&shown),
            });
        }
        let value = decode_value(value).map_err(|fault| wrong(&shown, fault))?;
        check(&shown, &value).map_err(|fault| wrong(&shown, fault))?;
        attributes.push((shown, value));
    }
    let value = |wanted: &str| {
        let mut found = attributes.iter().filter(|(name, _)| name == wanted);
        found.next().map(|(_, value)| value.as_str())
    };
    check_required(value)?;
    match value("partitionkey") {
        Some(key) if !headers(lines).any(|(name, _)| name == b"x-hbuf-key") => {
            with_key(lines, key).map(Some)
        }
        _ => Ok(None),
    }
}

fn with_key(lines: &[u8], key: &str) -> Result<Vec<u8>, EventError> {
    let mut encoded = Vec::new();
    push_key(key, &mut encoded);
    let key = ("x-hbuf-key", encoded.as_slice());
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let others: Vec<(String, Vec<u8>)> = headers(lines)
        .map(|(name, value)| (text(name), value.to_owned()))
        .collect();
    let others = others
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    let mut out = Vec::with_capacity(lines.len() + encoded.len() + 16);
    stored_lines(others.chain([key]), Source::Inner, &mut out)?;
    Ok(out)
}
