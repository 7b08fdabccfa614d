//! The path of a stream as the name of its buffer, and back.
//!
//! A name has few characters and is one with every other that differs only in case; a path has any
//! character. So lower-case letters, digits and `-` stand for themselves, `.` for `/`, and every
//! other byte is `_` and two hex digits: `chat/Room 7` is `stream.chat._52oom_207`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::limits::NAME_BYTES_MAX;
use crate::name::Name;

/// What the names of all buffers of streams start with.
pub const PREFIX: &str = "stream.";

/// Why a path names no stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamPathError {
    /// It is empty.
    #[error("a stream has a path: /v1/stream/PATH")]
    Empty,
    /// Its name would be too long.
    #[error(
        "the path needs {bytes} bytes as the name of a buffer, and a name has at most {NAME_BYTES_MAX}: choose a shorter one; all but lower-case letters, digits, `-` and `/` take three bytes"
    )]
    TooLong {
        /// Bytes of the name.
        bytes: usize,
    },
}

/// The name of a stream's buffer.
pub fn buffer_name(path: &str) -> Result<Name, StreamPathError> {
    if path.is_empty() {
        return Err(StreamPathError::Empty);
    }
    let mut name = String::from(PREFIX);
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            b'/' => name.push('.'),
            _ => write!(name, "_{byte:02x}").expect("strings take all"),
        }
    }
    Name::parse(&name).map_err(|_| StreamPathError::TooLong { bytes: name.len() })
}

/// The path of the stream in a buffer of this name; `None` when no path leads to it.
#[must_use]
pub fn path_of(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(PREFIX)?.bytes();
    let mut path = Vec::new();
    while let Some(byte) = rest.next() {
        path.push(match byte {
            b'.' => b'/',
            b'_' => {
                let digit = |byte| crate::ids::hex_digit(byte);
                digit(rest.next()?)? << 4 | digit(rest.next()?)?
            }
            byte => byte,
        });
    }
    let path = String::from_utf8(path).ok()?;
    let found = buffer_name(&path).is_ok_and(|found| found.as_str() == name);
    found.then_some(path)
}
