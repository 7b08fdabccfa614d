//! The file of both tables: text lines, one a producer or key, closed by a checksum line.
//!
//! ```text
//! hbuf-tables 1
//! producer <id> <epoch> <number> <first> <rest> <time µs> <epoch of the log>
//! key <64 hex> <first> <rest> <time µs> <epoch of the log>
//! crc32c <8 hex>
//! ```
//! Ids hold no space (the content policy refuses it), so a line splits at spaces.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::Earlier;
use super::idempotency::IdempotencyKeys;
use super::producers::Producers;
use crate::ids::{Epoch, Hash, Micros, Seq};
use crate::record::Producer;

const HEADER: &str = "hbuf-tables 1";

/// Why a table file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TableError {
    /// It was made by another version.
    #[error(
        "the table file starts with {0:?}, expected \"hbuf-tables 1\": use the hbuf that wrote it"
    )]
    Version(String),
    /// Its checksum does not match.
    #[error("the table file's checksum does not match")]
    Checksum,
    /// A line cannot be read.
    #[error("line {0} of the table file cannot be read")]
    Line(usize),
}

/// Writes both tables.
#[must_use]
pub fn encode(producers: &Producers, keys: &IdempotencyKeys) -> Vec<u8> {
    let mut text = String::with_capacity(64 + producers.len() * 64 + keys.len() * 110);
    text.push_str(HEADER);
    text.push('\n');
    for (id, last) in producers.iter() {
        write!(text, "producer {id} {} {}", last.epoch, last.number).expect("strings take all");
        earlier_fields(&mut text, &last.earlier);
    }
    for (key, earlier) in keys.iter() {
        write!(text, "key {key}").expect("strings take all");
        earlier_fields(&mut text, earlier);
    }
    let crc = crc32c::crc32c(text.as_bytes());
    writeln!(text, "crc32c {crc:08x}").expect("strings take all");
    text.into_bytes()
}

fn earlier_fields(text: &mut String, earlier: &Earlier) {
    let Earlier {
        first,
        rest,
        time,
        epoch,
    } = earlier;
    writeln!(text, " {first} {rest} {} {epoch}", time.0).expect("strings take all");
}

/// Reads both tables back.
pub fn decode(bytes: &[u8]) -> Result<(Producers, IdempotencyKeys), TableError> {
    let text = core::str::from_utf8(bytes).map_err(|_| TableError::Checksum)?;
    let header = text.lines().next().unwrap_or_default();
    if header != HEADER {
        return Err(TableError::Version(header.chars().take(40).collect()));
    }
    let cut = text
        .trim_end_matches('\n')
        .rfind('\n')
        .ok_or(TableError::Checksum)?
        + 1;
    let (lines, sum) = text.split_at(cut);
    let crc = sum
        .trim_end()
        .strip_prefix("crc32c ")
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    if crc != Some(crc32c::crc32c(lines.as_bytes())) {
        return Err(TableError::Checksum);
    }
    let mut tables = (Producers::default(), IdempotencyKeys::default());
    for (number, line) in lines.lines().enumerate().skip(1) {
        decode_line(line, &mut tables).ok_or(TableError::Line(number + 1))?;
    }
    Ok(tables)
}

fn decode_line(line: &str, tables: &mut (Producers, IdempotencyKeys)) -> Option<()> {
    let mut words = line.split(' ');
    match words.next()? {
        "producer" => {
            let id = words.next()?.into();
            let epoch = words.next()?.parse().ok()?;
            let number = words.next()?.parse().ok()?;
            tables
                .0
                .note(&Producer { id, epoch, number }, decode_earlier(words)?);
        }
        "key" => {
            let key = Hash::parse_hex(words.next()?.as_bytes())?;
            tables.1.note(key, decode_earlier(words)?);
        }
        _ => return None,
    }
    Some(())
}

fn decode_earlier<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Earlier> {
    let earlier = Earlier {
        first: Seq(words.next()?.parse().ok()?),
        rest: words.next()?.parse().ok()?,
        time: Micros(words.next()?.parse().ok()?),
        epoch: Epoch(words.next()?.parse().ok()?),
    };
    words.next().is_none().then_some(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> (Producers, IdempotencyKeys) {
        let earlier = Earlier {
            first: Seq(7),
            rest: 3,
            time: Micros(99),
            epoch: Epoch(2),
        };
        let mut tables = (Producers::default(), IdempotencyKeys::default());
        tables.0.note(
            &Producer {
                id: "web-1".into(),
                epoch: 4,
                number: 17,
            },
            earlier,
        );
        tables.1.note(
            Hash([9; 32]),
            Earlier {
                first: Seq(11),
                ..earlier
            },
        );
        tables
    }

    #[test]
    fn tables_round_trip() {
        let tables = tables();
        assert_eq!(decode(&encode(&tables.0, &tables.1)), Ok(tables));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let (producers, keys) = tables();
        let bytes = encode(&producers, &keys);
        for at in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "flip at {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
