//! Walking a segment by its request lines alone: where a record ends, without reading its head.
//!
//! A skim reads the fixed parts, the seq and the two lengths of a line, and nothing else: no CRC,
//! no time, no headers. It finds records that are where they should be; whoever needs to know that
//! a record is *whole* checks its CRC with [`crc_holds`] or decodes it.

use crate::ids::{Hash, Micros, Seq};
use crate::record::{CRC_AT, CRC_END, LINE_LEN};
use crate::time::{self, TIME_LEN};

/// What a skim reads of a record's request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Skim {
    /// The record's number; of a head line, that of the first message behind it.
    pub seq: Seq,
    /// Bytes of the head.
    pub head_len: u32,
    /// Bytes of the body.
    pub body_len: u32,
}

impl Skim {
    /// Bytes of the whole record, with the CRLF behind its body.
    #[must_use]
    pub const fn record_len(&self) -> u64 {
        self.head_len as u64 + self.body_len as u64 + 2
    }
}

/// Reads the line at the start of `bytes`; `None` when no record's line stands there in full.
#[must_use]
#[inline]
pub fn skim(bytes: &[u8]) -> Option<Skim> {
    Skimmer::default().skim(bytes)
}

/// Skims one record after the other.
///
/// Where the next line stands depends on the lengths in this one, so a walk would wait for the
/// memory of each. Often a record is as long as the one before; when its digits are the same, the
/// length is known without reading them, and the processor goes on to the next line meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skimmer {
    digits: [u8; 19],
    head_len: u32,
    body_len: u32,
}

impl Skimmer {
    /// Reads the line at the start of `bytes`, as [`skim`] does.
    #[must_use]
    #[inline]
    pub fn skim(&mut self, bytes: &[u8]) -> Option<Skim> {
        let line = bytes.first_chunk::<LINE_LEN>()?;
        let digits = line[LENGTHS_AT..].first_chunk::<19>()?;
        if *digits != self.digits {
            let (head_len, body_len) = lengths(digits)?;
            *self = Self {
                digits: *digits,
                head_len,
                body_len,
            };
        }
        let framed = line[..6] == *b"POST /"
            && line[SEQ_AT + 20..TIME_AT] == *b"?t="
            && line[LENGTHS_AT - 3..LENGTHS_AT] == *b"&h="
            && line[LINE_LEN - 11..] == *b" HTTP/1.1\r\n";
        if !framed {
            return None;
        }
        let seq = line[SEQ_AT..].first_chunk::<20>()?;
        let high = u32::from_le_bytes(*seq.first_chunk::<4>()?);
        let high = (u64::from(high) << 32) | u64::from(u32::from_le_bytes(*b"0000"));
        let (high, middle) = (decimal_8(high)?, decimal_8(word(seq, 4))?);
        let low = decimal_8(word(seq, 12))?;
        let seq = high.checked_mul(E8 * E8)?.checked_add(middle * E8 + low)?;
        let Self {
            head_len, body_len, ..
        } = *self;
        (seq <= Seq::MAX.0).then_some(Skim {
            seq: Seq(seq),
            head_len,
            body_len,
        })
    }
}

/// The lengths of head and body; a head is longer than its line.
#[inline]
fn lengths(digits: &[u8; 19]) -> Option<(u32, u32)> {
    if digits[8..11] != *b"&b=" {
        return None;
    }
    let (head_len, body_len) = (hex_8(word(digits, 0))?, hex_8(word(digits, 11))?);
    (head_len as usize > LINE_LEN).then_some((head_len, body_len))
}

/// Eight bytes of a field, the first in the lowest byte.
#[inline]
fn word(digits: &[u8], at: usize) -> u64 {
    let word = digits[at..]
        .first_chunk::<8>()
        .expect("the field is longer");
    u64::from_le_bytes(*word)
}

/// The time in a record's line.
#[must_use]
pub fn time_of(record: &[u8]) -> Option<Micros> {
    time::parse(record.get(TIME_AT..TIME_AT + TIME_LEN)?)
}

/// The `x-hbuf-id` of a message, from the end of its head; `None` when there is no id.
#[must_use]
pub fn id_of(record: &[u8], head_len: u32) -> Option<Hash> {
    let end = (head_len as usize).checked_sub(b"\r\n\r\n".len())?;
    let (line, rest) = record.split_at_checked(end)?;
    let (line, digits) = line.split_at_checked(line.len().checked_sub(64)?)?;
    if !line.ends_with(b"\r\nx-hbuf-id: ") || !rest.starts_with(b"\r\n\r\n") {
        return None;
    }
    let mut hash = [0; 32];
    let (words, _) = digits.as_chunks::<8>();
    for (bytes, word) in hash.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&hex_8(u64::from_le_bytes(*word))?.to_be_bytes());
    }
    Some(Hash(hash))
}

/// Whether the CRC in the line is that of the whole record.
#[must_use]
pub fn crc_holds(record: &[u8]) -> bool {
    if record.len() < LINE_LEN {
        return false;
    }
    let word = record[CRC_AT..]
        .first_chunk::<8>()
        .expect("a line is longer");
    let claimed = hex_8(u64::from_le_bytes(*word));
    let computed = crc32c::crc32c_append(crc32c::crc32c(&record[..CRC_AT]), &record[CRC_END..]);
    claimed == Some(computed)
}

/// The CRC of a record that is too long to hold: fed with its bytes in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrcCheck {
    claimed: Option<u32>,
    computed: u32,
}

impl CrcCheck {
    /// Starts with the record's first bytes, at least its line; `None` when they are fewer.
    #[must_use]
    pub fn start(bytes: &[u8]) -> Option<Self> {
        let line = bytes.first_chunk::<LINE_LEN>()?;
        let word = line[CRC_AT..].first_chunk::<8>()?;
        let computed = crc32c::crc32c_append(crc32c::crc32c(&line[..CRC_AT]), &bytes[CRC_END..]);
        Some(Self {
            claimed: hex_8(u64::from_le_bytes(*word)),
            computed,
        })
    }

    /// Takes in the bytes that follow.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.computed = crc32c::crc32c_append(self.computed, bytes);
    }

    /// Whether the record, now fed in full, is whole.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.claimed == Some(self.computed)
    }
}

/// Eight decimal digits, the first in the lowest byte: three multiplications instead of eight.
#[inline]
fn decimal_8(digits: u64) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // A byte is a digit when its high half is 3, also after 6 is added.
    let plus_six = digits.wrapping_add(0x0606_0606_0606_0606);
    if digits & HIGH != ZEROS || plus_six & HIGH != ZEROS {
        return None;
    }
    let ones = digits & !HIGH;
    let tens = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let hundreds = (tens * 100 + (tens >> 16)) & 0x0000_ffff_0000_ffff;
    Some((hundreds * 10_000 + (hundreds >> 32)) & 0xffff_ffff)
}

/// Eight lower-case hex digits, the first in the lowest byte.
#[inline]
fn hex_8(digits: u64) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Letters have bit 6, and their low half counts from 1.
    let nibbles = (digits & (0x0f * ONES)).wrapping_add(((digits >> 6) & ONES) * 9);
    let letters = (nibbles.wrapping_add(6 * ONES) >> 4) & ONES;
    let written = nibbles
        .wrapping_add(0x30 * ONES)
        .wrapping_add(letters * 0x27);
    // What would be written otherwise is no digit, and `g` would be 16.
    if written != digits || nibbles & (0xf0 * ONES) != 0 {
        return None;
    }
    let bytes = ((nibbles << 4) | (nibbles >> 8)) & 0x00ff_00ff_00ff_00ff;
    let halves = ((bytes << 8) | (bytes >> 16)) & 0x0000_ffff_0000_ffff;
    Some((((halves << 16) | (halves >> 32)) & 0xffff_ffff) as u32)
}

const SEQ_AT: usize = 6;
const TIME_AT: usize = 29;
const LENGTHS_AT: usize = 88;
const E8: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::record::{Facts, Frame, Line, Proof, State, encode};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn record(seq: u64, lines: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(
            &Frame {
                seq: Seq(seq),
                time: Micros(1_700_000_000_000_000),
                epoch: Epoch(1),
                distance: 1,
                rest: 0,
                facts: &Facts::default(),
                lines,
                proof: Proof::Salted {
                    salt: [7; 32],
                    id: Hash([0xa9; 32]),
                },
                body,
            },
            &mut out,
        );
        out
    }

    #[test]
    fn a_record_shows_its_end_id_time_and_crc() {
        let bytes = record(42, b"x-hbuf-tag: a\r\n", b"body");
        let skimmed = skim(&bytes).unwrap();
        assert_eq!(skimmed.seq, Seq(42));
        assert_eq!(skimmed.record_len(), bytes.len() as u64);
        assert_eq!(time_of(&bytes), Some(Micros(1_700_000_000_000_000)));
        assert_eq!(id_of(&bytes, skimmed.head_len), Some(Hash([0xa9; 32])));
        assert!(crc_holds(&bytes));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            assert!(!crc_holds(&bytes), "byte {at}");
        }
    }

    #[test]
    fn a_skimmer_goes_by_each_line_and_not_by_the_one_before() {
        let mut skimmer = Skimmer::default();
        for body in [&b"body"[..], b"BODY", b"longer body", b"body", b""] {
            let bytes = record(7, b"", body);
            assert_eq!(skimmer.skim(&bytes), skim(&bytes));
            assert_eq!(
                skimmer.skim(&bytes).unwrap().record_len(),
                bytes.len() as u64
            );
            let mut wrong = bytes.clone();
            wrong[LENGTHS_AT + 3] = b'g';
            assert_eq!(skimmer.skim(&wrong), None);
            assert_eq!(skimmer.skim(&bytes[1..]), None);
        }
    }

    #[test]
    fn the_crc_of_a_record_in_pieces_is_that_of_the_whole() {
        let bytes = record(42, b"", &[b'x'; 1000]);
        for cut in [LINE_LEN, LINE_LEN + 1, 700, bytes.len()] {
            let mut check = CrcCheck::start(&bytes[..cut]).unwrap();
            check.feed(&bytes[cut..]);
            assert!(check.holds(), "cut at {cut}");
        }
        let mut check = CrcCheck::start(&bytes[..200]).unwrap();
        check.feed(&bytes[201..]);
        assert!(!check.holds());
        assert_eq!(CrcCheck::start(&bytes[..LINE_LEN - 1]), None);
    }

    #[test]
    fn every_byte_but_the_sixteen_digits_is_no_hex_digit() {
        for byte in 0..=255_u8 {
            let word = u64::from_le_bytes([b'0', b'0', byte, b'0', b'0', b'0', b'0', b'0']);
            let value = crate::ids::hex_digit(byte).map(|value| u32::from(value) << 20);
            assert_eq!(hex_8(word), value, "{byte}");
            let value = byte
                .is_ascii_digit()
                .then(|| u64::from(byte - b'0') * 100_000);
            assert_eq!(decimal_8(word), value, "{byte}");
        }
    }

    #[test]
    fn a_message_without_an_id_has_none() {
        let bytes = record(42, b"", b"");
        let head_len = skim(&bytes).unwrap().head_len;
        assert_eq!(id_of(&bytes, head_len - 1), None);
        assert_eq!(id_of(&bytes, 3), None);
        assert_eq!(id_of(&bytes[..bytes.len() - 4], head_len), None);
    }

    proptest! {
        #[test]
        fn a_skim_agrees_with_the_line(
            seq in 0..=Seq::MAX.0, head_len in LINE_LEN as u32 + 1.., body_len: u32,
            flip in proptest::option::of((0..LINE_LEN, any::<u8>())),
        ) {
            let line = Line {
                seq: Seq(seq), time: Micros(5), epoch: Epoch(1), distance: 0, rest: 0,
                head_len, body_len, crc: 0, state: State::Live,
            };
            let mut bytes = [0; LINE_LEN];
            line.write(&mut bytes);
            if let Some((at, byte)) = flip {
                bytes[at] = byte;
            }
            // Where both read the line, they read the same; the skim leaves some fields unread.
            let skimmed = skim(&bytes);
            if let Ok(line) = Line::parse(&bytes) && line.head_len as usize > LINE_LEN {
                let Line { seq, head_len, body_len, .. } = line;
                prop_assert_eq!(skimmed, Some(Skim { seq, head_len, body_len }));
            }
            let unread = |at: usize| (TIME_AT..LENGTHS_AT - 3).contains(&at)
                || (LENGTHS_AT + 19..LINE_LEN - 11).contains(&at);
            if let Some((at, _)) = flip && !unread(at) && Line::parse(&bytes).is_err() {
                prop_assert_eq!(skimmed, None);
            }
        }
    }
}
