//! Dead letters: what they say of where they are from and why they are here, and the key under
//! which the same letter, appended twice, is one.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::machine::GivenUp;
use crate::ids::{Seq, Uuid};
use crate::limits::{HEADER_LINES_MAX, HEADERS_BYTES_MAX};
use crate::record::{Record, State};

/// A message that a consumer gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Letter {
    /// The consumer.
    pub consumer: Uuid,
    /// The buffer of the message.
    pub buffer: Uuid,
    /// Its seq there.
    pub seq: Seq,
    /// How often it was handed out.
    pub deliveries: u32,
    /// Why it is given up.
    pub why: GivenUp,
}

impl GivenUp {
    /// The word of a dead letter's `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Expired => "expired",
        }
    }
}

impl Letter {
    /// The idempotency key of its append. A crash may come between the append and the consumer's
    /// record of it; then it is appended again. The message goes by its id: when committed data was
    /// lost, or an older copy of the buffer put back, another message may come to have its seq.
    #[must_use]
    pub fn key(&self, record: &Record<'_>) -> String {
        let (consumer, id) = (self.consumer, record.id().unwrap_or_default());
        format!("dead-letter/{consumer}/{}/{id}", self.buffer)
    }

    /// The header lines of the message with one more, which says where it is from and why it is
    /// here. A message that has no room for one goes without. `None` when the message was erased,
    /// so that nothing is left to put away.
    #[must_use]
    pub fn lines(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        if record.line.state == State::Gone {
            return None;
        }
        let mut lines = record.lines.to_vec();
        let id = record.id().unwrap_or_default();
        let line = format!(
            "x-hbuf-meta-dead-letter: buffer={}, seq={}, id={id}, consumer={}, reason={}, deliveries={}\r\n",
            self.buffer,
            self.seq,
            self.consumer,
            self.why.as_str(),
            self.deliveries
        );
        let room = (lines.len() + line.len()) as u64 <= HEADERS_BYTES_MAX
            && record.headers().count() < HEADER_LINES_MAX;
        if room {
            lines.extend_from_slice(line.as_bytes());
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Hash, Micros};
    use crate::record::{Facts, Frame, Proof, decode, encode};

    fn letter() -> Letter {
        Letter {
            consumer: Uuid([1; 16]),
            buffer: Uuid([2; 16]),
            seq: Seq(7),
            deliveries: 3,
            why: GivenUp::Deliveries,
        }
    }

    fn message(id: u8, own: &[u8]) -> Vec<u8> {
        let frame = Frame {
            seq: Seq(7),
            time: Micros(9),
            epoch: Epoch(1),
            distance: 1,
            rest: 0,
            facts: &Facts::default(),
            lines: own,
            proof: Proof::Salted {
                salt: [7; 32],
                id: Hash([id; 32]),
            },
            body: b"body",
        };
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes);
        bytes
    }

    fn lines(own: &[u8]) -> Vec<u8> {
        letter().lines(&decode(&message(1, own)).unwrap()).unwrap()
    }

    #[test]
    fn a_letter_keeps_the_headers_and_says_where_it_is_from_and_why_it_is_here() {
        let text = String::from_utf8(lines(b"x-hbuf-key: k\r\n")).unwrap();
        let (own, added) = text.split_once("\r\n").unwrap();
        assert_eq!(own, "x-hbuf-key: k");
        let facts = added.strip_prefix("x-hbuf-meta-dead-letter: ").unwrap();
        let facts: Vec<&str> = facts.trim_end().split(", ").collect();
        assert_eq!(facts[0], "buffer=02020202-0202-0202-0202-020202020202");
        assert_eq!(facts[1], "seq=7");
        assert_eq!(facts[3], "consumer=01010101-0101-0101-0101-010101010101");
        assert_eq!(facts[4..], ["reason=deliveries", "deliveries=3"]);
    }

    #[test]
    fn a_message_without_room_goes_as_it_is() {
        let full: Vec<u8> = b"x-hbuf-meta-n: 1\r\n".repeat(HEADER_LINES_MAX);
        assert_eq!(lines(&full), full);
    }

    #[test]
    fn a_message_has_one_letter_and_another_one_at_its_seq_has_its_own() {
        let later = Letter {
            deliveries: 9,
            why: GivenUp::Expired,
            ..letter()
        };
        let (one, other) = (message(1, b""), message(2, b""));
        let (one, other) = (decode(&one).unwrap(), decode(&other).unwrap());
        assert_eq!(letter().key(&one), later.key(&one));
        assert_ne!(letter().key(&one), letter().key(&other));
    }
}
