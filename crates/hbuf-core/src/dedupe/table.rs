//! The file of the tables: text lines, one a producer or key, closed by a checksum line. Of a
//! buffer that is a stream the stream's lines come first, and the version is 2.
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
use crate::stream::{Saved, Stream};

const HEADER: &str = "hbuf-tables 1";
const STREAM_HEADER: &str = "hbuf-tables 2";

/// Why a table file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TableError {
    /// It was made by another version.
    #[error(
        "the table file starts with {0:?}, expected \"hbuf-tables 1\" or 2: use the hbuf that wrote it"
    )]
    Version(String),
    /// Its checksum does not match.
    #[error("the table file's checksum does not match")]
    Checksum,
    /// A line cannot be read.
    #[error("line {0} of the table file cannot be read")]
    Line(usize),
}

/// What a buffer keeps beside its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tables {
    /// Known producers.
    pub producers: Producers,
    /// Known idempotency keys.
    pub keys: IdempotencyKeys,
    /// The stream that the buffer is.
    pub stream: Option<Stream>,
}

/// Writes the tables; `None` when there is nothing to write.
#[must_use]
pub fn encode(
    producers: &Producers,
    keys: &IdempotencyKeys,
    stream: Option<&Stream>,
) -> Option<Vec<u8>> {
    if producers.is_empty() && keys.is_empty() && stream.is_none() {
        return None;
    }
    let mut text = String::with_capacity(64 + producers.len() * 64 + keys.len() * 110);
    text.push_str(if stream.is_some() {
        STREAM_HEADER
    } else {
        HEADER
    });
    text.push('\n');
    if let Some(stream) = stream {
        stream.save(&mut text);
    }
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
    Some(text.into_bytes())
}

pub(crate) fn earlier_fields(text: &mut String, earlier: &Earlier) {
    let Earlier {
        first,
        rest,
        time,
        epoch,
    } = earlier;
    writeln!(text, " {first} {rest} {} {epoch}", time.0).expect("strings take all");
}

/// Reads the tables back.
pub fn decode(bytes: &[u8]) -> Result<Tables, TableError> {
    let text = core::str::from_utf8(bytes).map_err(|_| TableError::Checksum)?;
    let header = text.lines().next().unwrap_or_default();
    if header != HEADER && header != STREAM_HEADER {
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
    let (mut tables, mut saved) = (Tables::default(), Saved::default());
    let mut last = 1;
    for (number, line) in lines.lines().enumerate().skip(1) {
        last = number + 1;
        let read = match line.split_once(' ') {
            Some((name, rest)) if name.starts_with("stream-") => saved.line(name, rest),
            _ => decode_line(line, &mut tables),
        };
        read.ok_or(TableError::Line(last))?;
    }
    tables.stream = saved.finish().map_err(|()| TableError::Line(last))?;
    Ok(tables)
}

fn decode_line(line: &str, tables: &mut Tables) -> Option<()> {
    let mut words = line.split(' ');
    match words.next()? {
        "producer" => {
            let id = words.next()?.into();
            let epoch = words.next()?.parse().ok()?;
            let number = words.next()?.parse().ok()?;
            tables
                .producers
                .note(&Producer { id, epoch, number }, decode_earlier(words)?);
        }
        "key" => {
            let key = Hash::parse_hex(words.next()?.as_bytes())?;
            tables.keys.note(key, decode_earlier(words)?);
        }
        _ => return None,
    }
    Some(())
}

pub(crate) fn decode_earlier<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Earlier> {
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

    use crate::stream::{Definition, Life, Stream};

    fn tables() -> Tables {
        let earlier = Earlier {
            first: Seq(7),
            rest: 3,
            time: Micros(99),
            epoch: Epoch(2),
        };
        let mut tables = Tables::default();
        tables.producers.note(
            &Producer {
                id: "web-1".into(),
                epoch: 4,
                number: 17,
            },
            earlier,
        );
        tables.keys.note(
            Hash([9; 32]),
            Earlier {
                first: Seq(11),
                ..earlier
            },
        );
        tables
    }

    fn with_stream() -> Tables {
        let mut tables = tables();
        let at = Earlier {
            first: Seq(1),
            rest: 0,
            time: Micros(5),
            epoch: Epoch(1),
        };
        let life = Life::Idle { seconds: 60 };
        let definition = Definition::new("text/plain; charset=utf-8", life).unwrap();
        let mut stream = Stream::define(definition, true, at);
        stream.note(
            None,
            Some("00 7"),
            Earlier {
                first: Seq(2),
                ..at
            },
        );
        tables.stream = Some(stream);
        tables
    }

    fn encoded(tables: &Tables) -> Vec<u8> {
        encode(&tables.producers, &tables.keys, tables.stream.as_ref()).unwrap()
    }

    #[test]
    fn tables_round_trip() {
        for tables in [tables(), with_stream()] {
            assert_eq!(decode(&encoded(&tables)), Ok(tables));
        }
        let none = Tables::default();
        assert_eq!(encode(&none.producers, &none.keys, None), None);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let bytes = encoded(&with_stream());
        for at in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "flip at {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
