//! Which records a consumer takes, and what it keeps of each.

use super::config::Filter;
use crate::filter::key_term;
use crate::ids::{Micros, Seq};
use crate::record::{Kind, Record, State};

/// A message that matches the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Its seq.
    pub seq: Seq,
    /// Its time.
    pub time: Micros,
    /// A hash of its key, when it has one.
    pub key: Option<u64>,
    /// It is not to be handed out before.
    pub deliver_at: Option<Micros>,
    /// Length of its record.
    pub bytes: u32,
}

impl Candidate {
    /// What a consumer keeps of a record.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Self {
        let term = record.key().map(key_term);
        Self {
            seq: record.line.seq,
            time: record.line.time,
            key: term.map(|term| u64::try_from(term >> 64).unwrap_or_default()),
            deliver_at: record.deliver_at(),
            bytes: u32::try_from(record.line.record_len()).unwrap_or(u32::MAX),
        }
    }
}

impl Filter {
    /// Whether a consumer with this filter is handed the record. What a stored filter says is known
    /// to the buffer that has it: it must have chosen the record already.
    #[must_use]
    pub fn takes(&self, record: &Record<'_>) -> bool {
        if record.facts.kind != Kind::Data || record.line.state == State::Gone {
            return false;
        }
        let key = self.key.as_deref();
        if key.is_some_and(|key| record.key() != Some(key)) {
            return false;
        }
        let named = |tag: &[u8]| self.tags.iter().any(|wanted| **wanted == *tag);
        self.tags.is_empty() || record.tags().any(named)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::ids::Epoch;
    use crate::record::{Facts, Frame, Proof, decode, encode};

    fn record(kind: Kind, lines: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let facts = Facts::of(kind);
        let frame = Frame {
            seq: Seq(7),
            time: Micros(9),
            epoch: Epoch(1),
            distance: 1,
            rest: 0,
            facts: &facts,
            lines,
            proof: Proof::None,
            body: b"body",
        };
        encode(&frame, &mut bytes);
        bytes
    }

    fn takes(filter: &Filter, bytes: &[u8]) -> bool {
        filter.takes(&decode(bytes).unwrap())
    }

    #[test]
    fn a_message_must_have_the_key_and_any_of_the_tags() {
        let all = record(Kind::Data, b"x-hbuf-key: k\r\nx-hbuf-tag: red, blue\r\n");
        let plain = record(Kind::Data, b"");
        let control = record(Kind::Retain, b"");
        let filter = |key: Option<&[u8]>, tags: &[&[u8]]| Filter {
            key: key.map(Into::into),
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
            stored: None,
        };
        let any = filter(None, &[]);
        assert!(takes(&any, &all) && takes(&any, &plain) && !takes(&any, &control));
        let key = filter(Some(b"k"), &[]);
        assert!(takes(&key, &all) && !takes(&key, &plain));
        assert!(!takes(&filter(Some(b"other"), &[]), &all));
        assert!(takes(&filter(None, &[b"green", b"blue"]), &all));
        assert!(!takes(&filter(None, &[b"re"]), &all));
        assert!(!takes(&filter(Some(b"other"), &[b"red"]), &all));
    }

    #[test]
    fn what_is_kept_of_a_record_is_what_it_says() {
        let line = b"x-hbuf-deliver-at: 1970-01-01T00:00:01Z\r\n";
        let bytes = record(Kind::Data, line);
        let kept = Candidate::of(&decode(&bytes).unwrap());
        assert_eq!((kept.seq, kept.time, kept.key), (Seq(7), Micros(9), None));
        assert_eq!(kept.deliver_at, Some(Micros(1_000_000)));
        assert_eq!(kept.bytes as usize, bytes.len());
    }
}
