//! The request line of a record: 136 bytes of fixed width, enough to find the next record.
//!
//! ```text
//! POST /00000000000000000042?t=2026-11-20T11:15:22.123456Z&e=00000003&d=00000001&r=0000
//!      &h=0000012c&b=00000100&c=2e734682&s=live HTTP/1.1
//! ```
//!
//! (in one line, then CRLF). Numbers after `e`, `d`, `r`, `h`, `b`, `c` are lower-case hex.

use crate::digits::{read_decimal_8, read_digits, read_hex_8, write_decimal_20, write_hex_8};
use crate::ids::{Epoch, Micros, Seq};
use crate::time::{self, TIME_LEN};

/// Length of the request line, CRLF included.
pub const LINE_LEN: usize = 136;

/// Where the eight digits of the CRC stand: the CRC covers everything else.
pub(crate) const CRC_AT: usize = 110;
pub(crate) const CRC_END: usize = CRC_AT + 8;
pub(crate) const STATE_AT: usize = 121;

/// What a record's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The content is as it was appended.
    Live,
    /// The content was erased: zeros of the same length.
    Gone,
    /// No message: a head line outside the numbering, without id and leaf.
    Head,
}

/// The fields of a record's request line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// The message's number; of a head, the number of the first message behind it.
    pub seq: Seq,
    /// Server time, never decreasing within a log.
    pub time: Micros,
    /// The primary's appointment that numbered the message.
    pub epoch: Epoch,
    /// `d`: seq minus the commit that the primary knew when it framed the record.
    pub distance: u32,
    /// `r`: how many records of the same batch follow.
    pub rest: u16,
    /// Bytes from `POST` through the empty line.
    pub head_len: u32,
    /// Bytes of the body, equal to `content-length`.
    pub body_len: u32,
    /// CRC32C of the whole record but these eight digits.
    pub crc: u32,
    /// Live, gone or a head.
    pub state: State,
}

/// Why 136 bytes are no request line of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LineError {
    /// Fewer bytes than a line has.
    #[error("the request line of a record has {LINE_LEN} bytes, there are {bytes}")]
    Short {
        /// Bytes at hand.
        bytes: usize,
    },
    /// A fixed part of the line reads otherwise.
    #[error("byte {at} of the request line is not what stands there in every record")]
    Frame {
        /// Offset of the fixed part.
        at: usize,
    },
    /// A field holds other characters than its digits, or a number out of range.
    #[error("field `{field}` of the request line does not hold what it should")]
    Field {
        /// The field's letter; `seq` for the number in the path.
        field: &'static str,
    },
}

impl Line {
    /// Reads the line at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        let Some(bytes) = bytes.first_chunk::<LINE_LEN>() else {
            return Err(LineError::Short { bytes: bytes.len() });
        };
        if !is_framed(bytes) {
            let wrong = FIXED
                .iter()
                .find(|(at, fixed)| !bytes[*at..].starts_with(fixed));
            return Err(LineError::Frame {
                at: wrong.map_or(0, |(at, _)| *at),
            });
        }
        let hex = |at, field| read_hex_8(part(bytes, at)).ok_or(LineError::Field { field });
        let seq = read_seq(part(bytes, SEQ_AT));
        let state = match part::<4>(bytes, STATE_AT) {
            b"live" => State::Live,
            b"gone" => State::Gone,
            b"head" => State::Head,
            _ => return Err(LineError::Field { field: "s" }),
        };
        let [a, b, c, d] = *part(bytes, REST_AT);
        let rest = read_hex_8(&[b'0', b'0', b'0', b'0', a, b, c, d]);
        let rest = rest.and_then(|rest| rest.try_into().ok());
        Ok(Self {
            seq: seq.ok_or(LineError::Field { field: "seq" })?,
            time: time::parse(part::<TIME_LEN>(bytes, TIME_AT))
                .ok_or(LineError::Field { field: "t" })?,
            epoch: Epoch(hex(EPOCH_AT, "e")?),
            distance: hex(DISTANCE_AT, "d")?,
            rest: rest.ok_or(LineError::Field { field: "r" })?,
            head_len: hex(HEAD_LEN_AT, "h")?,
            body_len: hex(BODY_LEN_AT, "b")?,
            crc: hex(CRC_AT, "c")?,
            state,
        })
    }

    /// Writes the line.
    pub fn write(&self, out: &mut [u8; LINE_LEN]) {
        *out = *TEMPLATE;
        let seq: &mut [u8; 20] = (&mut out[SEQ_AT..SEQ_AT + 20])
            .try_into()
            .expect("the slice has the length of the seq");
        write_decimal_20(self.seq.0, seq);
        let at: &mut [u8; TIME_LEN] = (&mut out[TIME_AT..TIME_AT + TIME_LEN])
            .try_into()
            .expect("the slice has the length of the time");
        time::write(self.time, at);
        write_hex_8(self.epoch.0, &mut out[EPOCH_AT..]);
        write_hex_8(self.distance, &mut out[DISTANCE_AT..]);
        let mut rest = [0; 8];
        write_hex_8(u32::from(self.rest), &mut rest);
        out[REST_AT..REST_AT + 4].copy_from_slice(&rest[4..]);
        write_hex_8(self.head_len, &mut out[HEAD_LEN_AT..]);
        write_hex_8(self.body_len, &mut out[BODY_LEN_AT..]);
        write_hex_8(self.crc, &mut out[CRC_AT..]);
        out[STATE_AT..STATE_AT + 4].copy_from_slice(self.state.text());
    }

    /// Bytes of the whole record: head, body and the CRLF behind it.
    #[must_use]
    pub const fn record_len(&self) -> u64 {
        self.head_len as u64 + self.body_len as u64 + 2
    }

    /// `n − d`: the commit that the primary knew when it framed this record.
    #[must_use]
    pub const fn known_commit(&self) -> Seq {
        Seq(self.seq.0.saturating_sub(self.distance as u64))
    }
}

impl State {
    /// The four characters in the line.
    #[must_use]
    pub const fn text(self) -> &'static [u8; 4] {
        match self {
            Self::Live => b"live",
            Self::Gone => b"gone",
            Self::Head => b"head",
        }
    }
}

/// Twenty digits: four, eight, eight.
fn read_seq(digits: &[u8; 20]) -> Option<Seq> {
    let high = read_digits::<4>(digits.first_chunk()?)?;
    let middle = read_decimal_8(digits[4..].first_chunk()?)?;
    let low = read_decimal_8(digits.last_chunk()?)?;
    // Seqs end at 2^63, below 1000 × 10^16.
    let high = Some(high).filter(|&high| high < 1000)?;
    let seq = Seq((high * 100_000_000 + middle) * 100_000_000 + low);
    (seq <= Seq::MAX).then_some(seq)
}

/// The `N` bytes at `at`.
fn part<const N: usize>(bytes: &[u8; LINE_LEN], at: usize) -> &[u8; N] {
    bytes[at..]
        .first_chunk()
        .expect("every field ends within the line")
}

/// Whether the parts that never change stand where they should, in one pass over the whole line.
fn is_framed(bytes: &[u8; LINE_LEN]) -> bool {
    let mut differs = 0;
    for at in 0..LINE_LEN {
        differs |= (bytes[at] ^ TEMPLATE[at]) & MASK[at];
    }
    differs == 0
}

const TEMPLATE: &[u8; LINE_LEN] = b"POST /00000000000000000000?t=0000-00-00T00:00:00.000000Z\
    &e=00000000&d=00000000&r=0000&h=00000000&b=00000000&c=00000000&s=live HTTP/1.1\r\n";

const SEQ_AT: usize = 6;
const TIME_AT: usize = 29;
const EPOCH_AT: usize = 59;
const DISTANCE_AT: usize = 70;
const REST_AT: usize = 81;
const HEAD_LEN_AT: usize = 88;
const BODY_LEN_AT: usize = 99;

/// 255 at the bytes that never change.
const MASK: [u8; LINE_LEN] = {
    let mut mask = [0; LINE_LEN];
    let mut part = 0;
    while part < FIXED.len() {
        let (start, fixed) = FIXED[part];
        let mut at = 0;
        while at < fixed.len() {
            mask[start + at] = 255;
            at += 1;
        }
        part += 1;
    }
    mask
};

/// The parts of the line that never change.
const FIXED: [(usize, &[u8]); 10] = [
    (0, b"POST /"),
    (26, b"?t="),
    (56, b"&e="),
    (67, b"&d="),
    (78, b"&r="),
    (85, b"&h="),
    (96, b"&b="),
    (107, b"&c="),
    (118, b"&s="),
    (125, b" HTTP/1.1\r\n"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_of_the_format_page_is_written_as_printed() {
        let line = Line {
            seq: Seq(42),
            time: time::parse(b"2026-11-20T11:15:22.123456Z").unwrap(),
            epoch: Epoch(3),
            distance: 1,
            rest: 0,
            head_len: 0x12c,
            body_len: 0x100,
            crc: 0x2e73_4682,
            state: State::Live,
        };
        let mut out = [0; LINE_LEN];
        line.write(&mut out);
        let text = "POST /00000000000000000042?t=2026-11-20T11:15:22.123456Z&e=00000003&d=00000001\
            &r=0000&h=0000012c&b=00000100&c=2e734682&s=live HTTP/1.1\r\n";
        assert_eq!(core::str::from_utf8(&out).unwrap(), text);
        assert_eq!(Line::parse(&out), Ok(line));
    }

    #[test]
    fn every_changed_fixed_byte_is_noticed() {
        for at in 0..LINE_LEN {
            let digit = TEMPLATE[at] == b'0' || (STATE_AT..STATE_AT + 4).contains(&at);
            let mut line = *TEMPLATE;
            line[TIME_AT..TIME_AT + TIME_LEN].copy_from_slice(b"2026-11-20T11:15:22.123456Z");
            assert!(Line::parse(&line).is_ok());
            line[at] ^= 0x80;
            let error = Line::parse(&line).unwrap_err();
            let in_time = (TIME_AT..TIME_AT + TIME_LEN).contains(&at);
            let field = matches!(error, LineError::Field { .. });
            assert_eq!(field, digit || in_time, "byte {at}: {error}");
        }
        let short = LineError::Short { bytes: 135 };
        assert_eq!(Line::parse(&TEMPLATE[..135]), Err(short));
    }

    #[test]
    fn a_seq_beyond_the_highest_is_refused() {
        let mut line = *TEMPLATE;
        line[TIME_AT..TIME_AT + TIME_LEN].copy_from_slice(b"2026-11-20T11:15:22.123456Z");
        line[SEQ_AT..SEQ_AT + 20].copy_from_slice(b"09223372036854775808");
        assert_eq!(Line::parse(&line).unwrap().seq, Seq::MAX);
        line[SEQ_AT..SEQ_AT + 20].copy_from_slice(b"09223372036854775809");
        assert_eq!(Line::parse(&line), Err(LineError::Field { field: "seq" }));
    }

    proptest! {
        #[test]
        fn every_line_round_trips(
            numbers in
                (0..=Seq::MAX.0, 0..=Micros::MAX.0, any::<u32>(), any::<u32>(), any::<u16>()),
            lengths in (any::<u32>(), any::<u32>(), any::<u32>()),
            state in prop_oneof![Just(State::Live), Just(State::Gone), Just(State::Head)],
        ) {
            let line = Line {
                seq: Seq(numbers.0),
                time: Micros(numbers.1),
                epoch: Epoch(numbers.2),
                distance: numbers.3,
                rest: numbers.4,
                head_len: lengths.0,
                body_len: lengths.1,
                crc: lengths.2,
                state,
            };
            let mut out = [0; LINE_LEN];
            line.write(&mut out);
            prop_assert_eq!(Line::parse(&out), Ok(line));
        }
    }
}
