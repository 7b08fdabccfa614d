//! A reader's place in a topic: how far it has come in each buffer. Opaque to clients, no secret.
//!
//! ```text
//! 1 byte   version, 1
//! 8 bytes  the topic's number
//! 1 byte   how many buffers, 1 to 64; of each, in the order of their uuids:
//!          8 bytes  the first of its uuid
//!          8 bytes  the first of its history
//!          1–10     seq of the last message delivered, 7 bits a byte, the lowest first (LEB128)
//! 4 bytes  CRC32C of all before
//! ```
//! in base64url (RFC 4648 §5) without padding; numbers have their highest byte first. Eight bytes
//! of a random uuid tell the buffers of one topic apart.

use alloc::string::String;
use alloc::vec::Vec;

use crate::digits::{push_base64, read_base64_any};
use crate::ids::{Seq, Uuid};
use crate::limits::CURSOR_BUFFERS_MAX;

/// A place in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicCursor {
    /// The topic's number in its cluster.
    pub topic: u64,
    /// How far it has come in each buffer, in the order of the buffers' uuids.
    pub places: Vec<BufferPlace>,
}

/// A place in one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferPlace {
    /// The first 8 bytes of the buffer's uuid.
    pub buffer: [u8; 8],
    /// The first 8 bytes of its history.
    pub history: [u8; 8],
    /// The last message that was delivered.
    pub seq: Seq,
}

/// Why a text is no cursor of this topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CursorError {
    /// No cursor at all.
    #[error(
        "it is not a cursor: send one as it came in a reply of this topic, or nothing to start"
    )]
    Malformed,
    /// Some of it was changed.
    #[error("its checksum is wrong: send a cursor as it came, whole")]
    Checksum,
    /// Of a later hbuf.
    #[error("it has version {found}, and this hbuf reads {VERSION}: ask a newer node")]
    Version {
        /// Its version.
        found: u8,
    },
    /// Of another topic.
    #[error("it belongs to another topic: start this one without a cursor")]
    OtherTopic,
}

impl BufferPlace {
    /// The place behind `seq`.
    #[must_use]
    pub fn new(buffer: &Uuid, history: &Uuid, seq: Seq) -> Self {
        Self {
            buffer: first_half(buffer),
            history: first_half(history),
            seq,
        }
    }

    /// Whether it is a place in this buffer.
    #[must_use]
    pub fn is_of(&self, buffer: &Uuid) -> bool {
        self.buffer == first_half(buffer)
    }

    /// Whether the buffer still has the history that it had.
    #[must_use]
    pub fn is_in(&self, history: &Uuid) -> bool {
        self.history == first_half(history)
    }
}

fn first_half(uuid: &Uuid) -> [u8; 8] {
    *uuid.0.first_chunk().expect("a uuid has 16 bytes")
}

impl TopicCursor {
    /// The cursor as text.
    ///
    /// # Panics
    /// When there is no place or more than [`CURSOR_BUFFERS_MAX`].
    #[must_use]
    pub fn encode(&self) -> String {
        assert!((1..=CURSOR_BUFFERS_MAX).contains(&self.places.len()));
        let mut bytes = Vec::with_capacity(14 + self.places.len() * 20);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.topic.to_be_bytes());
        bytes.push(u8::try_from(self.places.len()).expect("64 at most"));
        for place in &self.places {
            bytes.extend_from_slice(&place.buffer);
            bytes.extend_from_slice(&place.history);
            push_leb128(place.seq.0, &mut bytes);
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        let mut text = Vec::new();
        push_base64(&bytes, &mut text);
        let url = |byte: &u8| match byte {
            b'+' => '-',
            b'/' => '_',
            byte => char::from(*byte),
        };
        text.iter()
            .take_while(|byte| **byte != b'=')
            .map(url)
            .collect()
    }

    /// Reads the text of a cursor of `topic`.
    pub fn decode(text: &str, topic: u64) -> Result<Self, CursorError> {
        let bytes = from_base64url(text).ok_or(CursorError::Malformed)?;
        let (bytes, crc) = bytes
            .split_last_chunk::<4>()
            .ok_or(CursorError::Malformed)?;
        if crc32c::crc32c(bytes) != u32::from_be_bytes(*crc) {
            return Err(CursorError::Checksum);
        }
        let mut rest = bytes;
        let [found] = take(&mut rest).ok_or(CursorError::Malformed)?;
        if found != VERSION {
            return Err(CursorError::Version { found });
        }
        let of = take(&mut rest).ok_or(CursorError::Malformed)?;
        if u64::from_be_bytes(of) != topic {
            return Err(CursorError::OtherTopic);
        }
        let places = read_places(&mut rest).ok_or(CursorError::Malformed)?;
        if !rest.is_empty() {
            return Err(CursorError::Malformed);
        }
        Ok(Self { topic, places })
    }
}

fn read_places(rest: &mut &[u8]) -> Option<Vec<BufferPlace>> {
    let [count] = take(rest)?;
    if !(1..=CURSOR_BUFFERS_MAX).contains(&usize::from(count)) {
        return None;
    }
    let place = |_| {
        let (buffer, history) = (take(rest)?, take(rest)?);
        let seq = Some(Seq(read_leb128(rest)?)).filter(|seq| *seq <= Seq::MAX)?;
        Some(BufferPlace {
            buffer,
            history,
            seq,
        })
    };
    (0..count).map(place).collect()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

fn push_leb128(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number has one form: no zeros behind its highest part.
fn read_leb128(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return (byte > 0 || shift == 0).then_some(value);
        }
    }
    None
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut plain = Vec::with_capacity(text.len() + 3);
    for byte in text.bytes() {
        plain.push(match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte if byte.is_ascii_alphanumeric() => byte,
            _ => return None,
        });
    }
    while !plain.len().is_multiple_of(4) {
        plain.push(b'=');
    }
    read_base64_any(&plain)
}

const VERSION: u8 = 1;
/// A cursor with the most buffers at their last seqs, in base64.
const TEXT_BYTES_MAX: usize = (14 + CURSOR_BUFFERS_MAX * 26).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn cursor(seqs: &[u64]) -> TopicCursor {
        let place = |(n, seq): (u8, &u64)| {
            BufferPlace::new(&Uuid([n; 16]), &Uuid([n + 100; 16]), Seq(*seq))
        };
        TopicCursor {
            topic: 7,
            places: (0..).zip(seqs).map(place).collect(),
        }
    }

    #[test]
    fn the_most_buffers_at_their_last_seqs_fit() {
        let cursor = cursor(&vec![Seq::MAX.0; CURSOR_BUFFERS_MAX]);
        let text = cursor.encode();
        assert_eq!(text.len(), (14 + CURSOR_BUFFERS_MAX * 26) * 4 / 3 + 1);
        assert_eq!(TopicCursor::decode(&text, 7), Ok(cursor));
    }

    #[test]
    fn what_is_no_cursor_of_the_topic_is_refused_for_its_reason() {
        let text = cursor(&[1, 300]).encode();
        assert_eq!(TopicCursor::decode(&text, 8), Err(CursorError::OtherTopic));
        for text in [
            "",
            "42",
            "a b",
            "äöü",
            &text.replace('A', "+"),
            &"A".repeat(9_999),
        ] {
            let error = TopicCursor::decode(text, 7).unwrap_err();
            assert!(
                matches!(error, CursorError::Malformed | CursorError::Checksum),
                "{text}"
            );
        }
        assert_eq!(
            TopicCursor::decode(&text[..12], 7),
            Err(CursorError::Checksum)
        );
        let mut changed = text.into_bytes();
        changed[9] = if changed[9] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(TopicCursor::decode(&changed, 7), Err(CursorError::Checksum));
    }

    #[test]
    fn a_cursor_of_a_later_version_says_so() {
        let mut bytes = vec![2, 0, 0];
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        let mut text = Vec::new();
        push_base64(&bytes, &mut text);
        let text = String::from_utf8(text).unwrap();
        let text = text
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        assert_eq!(
            TopicCursor::decode(&text, 7),
            Err(CursorError::Version { found: 2 })
        );
    }

    #[test]
    fn a_place_knows_its_buffer_and_history() {
        let place = cursor(&[5]).places[0];
        assert!(place.is_of(&Uuid([0; 16])) && !place.is_of(&Uuid([1; 16])));
        assert!(place.is_in(&Uuid([100; 16])) && !place.is_in(&Uuid([0; 16])));
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_and_no_other_text_reads_as_it(
            seqs in prop::collection::vec(0..=Seq::MAX.0, 1..=CURSOR_BUFFERS_MAX),
            flip in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let cursor = cursor(&seqs);
            let text = cursor.encode();
            prop_assert_eq!(TopicCursor::decode(&text, 7), Ok(cursor));
            let mut other = text.clone().into_bytes();
            *flip.0.get_mut(&mut other) = b"ABCxyz019-_"[usize::from(flip.1) % 11];
            let other = String::from_utf8(other).unwrap();
            if other != text {
                prop_assert!(TopicCursor::decode(&other, 7).is_err());
            }
        }
    }
}
