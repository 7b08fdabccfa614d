//! The record: a message framed as one HTTP/1.1 request, the same bytes on disk and on the wire.
//!
//! ```text
//! request line    136 bytes of fixed width                             line.rs
//! host:
//! content-length: <decimal>
//! x-hbuf-…        server facts, in a fixed order                       facts.rs
//! name: value     the user's lines, canonical                          content/policy.rs
//! x-hbuf-salt: <43 base64url>  or  x-hbuf-gone: <43 base64url>         absent without a tree
//! x-hbuf-id: <64 hex>                                                  absent without a tree
//!
//! <body>
//! ```
//!
//! and a CRLF. Must never: write a byte that the leaf does not cover, but for epoch, `d`, `r`, CRC
//! and state; accept a record that could be read in two ways.

mod decode;
mod encode;
mod erase;
mod erasure;
mod facts;
mod line;

pub use decode::{Record, RecordError, Verdict, decode};
pub use encode::{Frame, Proof, ProofKind, encode, head_len};
pub use erase::{EraseError, erase};
pub use erasure::{erasures, push_erasure};
pub use facts::{Dek, Facts, FactsError, JournalFile, Kind, Origin, Producer};
pub use line::{LINE_LEN, Line, LineError, State};

pub(crate) use decode::{decode_behind, headers, read_head};
pub(crate) use facts::NAMES as FACT_NAMES;
pub(crate) use facts::parse_stream_seq;
pub(crate) use line::{CRC_AT, CRC_END, STATE_AT};

const HOST: &[u8] = b"host:\r\n";
const CONTENT_LENGTH: &[u8] = b"content-length: ";
const SALT: &[u8] = b"x-hbuf-salt: ";
const GONE: &[u8] = b"x-hbuf-gone: ";
const ID: &[u8] = b"x-hbuf-id: ";

/// CRC32C of a whole record but the digits of its CRC.
fn crc(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..CRC_AT]), &record[CRC_END..])
}

#[cfg(test)]
mod tests;
