//! Where the messages of one append to a topic go: by key, else by the append's token, else to one
//! buffer that takes messages.
//!
//! What belongs to one buffer is one part, in the order of the input; each part is appended whole
//! or not at all. A key is bound to its buffer, whatever state that is in; anything else passes
//! over buffers that take no messages.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::slots::{Slot, SlotTable};

/// What a message's place depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aim {
    /// Its key: always the same buffer until the topic's list changes.
    Key(Slot),
    /// The append's idempotency key: the same buffer again when the append is repeated.
    Token(Slot),
    /// Nothing: whichever buffer has its turn.
    Any,
}

/// What of an append goes to one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The buffer's place in the topic's list.
    pub place: usize,
    /// The messages by their number in the append, counting from 0, in order.
    pub messages: Vec<usize>,
}

impl Aim {
    /// The aim of a message with these stored header lines, in an append with this token.
    #[must_use]
    pub fn of(lines: &[u8], token: Option<&[u8]>) -> Self {
        match (key_of(lines), token) {
            (Some(key), _) => Self::Key(Slot::of(key)),
            (None, Some(token)) => Self::Token(Slot::of(token)),
            (None, None) => Self::Any,
        }
    }
}

/// The key in stored header lines, as it is stored; it is the first of them if there is one.
#[must_use]
pub fn key_of(lines: &[u8]) -> Option<&[u8]> {
    let rest = lines.strip_prefix(b"x-hbuf-key: ")?;
    Some(&rest[..memchr::memchr(b'\r', rest)?])
}

/// Splits an append over the buffers of a topic, of which `takes` says whether they take messages.
/// Messages without key and token stay together; `turn` chooses their buffer, so that counting it
/// upwards goes round. Parts come in the order of their places.
#[must_use]
pub fn split(aims: &[Aim], table: &SlotTable, takes: &[bool], turn: u64) -> Vec<Part> {
    let open: Vec<usize> = (0..takes.len()).filter(|place| takes[*place]).collect();
    // When nobody takes messages, the refusal is that of whoever would have had the turn.
    let nth = |among: usize| usize::try_from(turn % among.max(1) as u64).unwrap_or(0);
    let any = open
        .get(nth(open.len()))
        .copied()
        .unwrap_or_else(|| nth(takes.len()));
    let place = |aim: &Aim| match *aim {
        Aim::Key(slot) => table.place(slot),
        Aim::Token(slot) => {
            let due = table.place(slot);
            let at = open.partition_point(|place| *place < due);
            open.get(at)
                .or_else(|| open.first())
                .copied()
                .unwrap_or(due)
        }
        Aim::Any => any,
    };
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (message, aim) in aims.iter().enumerate() {
        parts.entry(place(aim)).or_default().push(message);
    }
    parts
        .into_iter()
        .map(|(place, messages)| Part { place, messages })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Uuid;
    use alloc::format;
    use alloc::vec;

    fn table(members: u8) -> SlotTable {
        let members: Vec<Uuid> = (0..members).map(|id| Uuid([id; 16])).collect();
        SlotTable::even(&members)
    }

    fn places(parts: &[Part]) -> Vec<(usize, &[usize])> {
        parts
            .iter()
            .map(|part| (part.place, &*part.messages))
            .collect()
    }

    #[test]
    fn the_key_is_the_first_stored_line() {
        assert_eq!(
            key_of(b"x-hbuf-key: a%20b\r\nx-hbuf-tag: t\r\n"),
            Some(&b"a%20b"[..])
        );
        assert_eq!(key_of(b"x-hbuf-tag: t\r\n"), None);
        assert_eq!(key_of(b""), None);
    }

    #[test]
    fn messages_of_a_key_stay_together_in_order_also_at_a_closed_buffer() {
        let table = table(4);
        let aim = |n: usize| Aim::of(format!("x-hbuf-key: k{}\r\n", n % 3).as_bytes(), None);
        let aims: Vec<Aim> = (0..30).map(aim).collect();
        for takes in [[true; 4], [false; 4]] {
            let parts = split(&aims, &table, &takes, 7);
            for n in 0..3 {
                let of: Vec<usize> = (0..30).filter(|m| m % 3 == n).collect();
                let home: Vec<_> = parts.iter().filter(|p| p.messages.contains(&n)).collect();
                assert_eq!(home.len(), 1);
                assert!(of.iter().all(|message| home[0].messages.contains(message)));
                assert!(home[0].messages.is_sorted());
            }
        }
    }

    #[test]
    fn turns_go_round_over_the_buffers_that_take_messages() {
        let aims = [Aim::Any, Aim::Any];
        let turns = |takes: &[bool]| -> Vec<usize> {
            let part = |turn| split(&aims, &table(4), takes, turn);
            (0..4).map(|turn| part(turn)[0].place).collect()
        };
        assert_eq!(turns(&[true; 4]), [0, 1, 2, 3]);
        assert_eq!(turns(&[false, true, false, true]), [1, 3, 1, 3]);
        assert_eq!(turns(&[false; 4]), [0, 1, 2, 3], "somebody must refuse it");
        let parts = split(&aims, &table(4), &[true; 4], u64::MAX);
        assert_eq!(places(&parts), [(3, &[0, 1][..])]);
    }

    #[test]
    fn a_token_passes_over_buffers_that_take_nothing_and_comes_back() {
        let table = table(3);
        let aim = Aim::of(b"", Some(b"token"));
        let home = split(&[aim], &table, &[true; 3], 0)[0].place;
        assert_eq!(
            split(&[aim], &table, &[true; 3], 1)[0].place,
            home,
            "whatever the turn"
        );
        let mut takes = vec![true; 3];
        takes[home] = false;
        assert_eq!(split(&[aim], &table, &takes, 0)[0].place, (home + 1) % 3);
    }
}
