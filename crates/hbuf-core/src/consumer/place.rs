//! How far a consumer has come in one buffer, as the cursors log holds it: deltas, and wholes at
//! the start of each file.
//!
//! Every message through `through` is done but those in `open`. What was looked at and not handed
//! out yet is not here: it is looked at again after a restart.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::ids::{Seq, Uuid};

/// How far a consumer has come in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Every message through this one is done, but those in `open`.
    pub through: Seq,
    /// Messages that are not done, with how often each was handed out.
    pub open: BTreeMap<Seq, u32>,
}

/// What a record says of one consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delta {
    /// The consumer.
    pub consumer: Uuid,
    /// What it was before does not count.
    pub whole: bool,
    /// The consumer was deleted.
    pub gone: bool,
    /// The new `through`.
    pub through: Seq,
    /// Messages that are done now.
    pub done: Vec<Seq>,
    /// Messages that are open now, with their counts.
    pub open: Vec<(Seq, u32)>,
}

impl Progress {
    /// A consumer that begins behind `after`.
    #[must_use]
    pub const fn behind(after: Seq) -> Self {
        Self {
            through: after,
            open: BTreeMap::new(),
        }
    }

    /// Every message through this one is done.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        let first = self.open.keys().next();
        first.map_or(self.through, |first| first.prev())
    }

    /// Whether a message is done.
    #[must_use]
    pub fn is_done(&self, seq: Seq) -> bool {
        seq <= self.through && !self.open.contains_key(&seq)
    }

    /// Takes what a record says.
    pub fn apply(&mut self, delta: &Delta) {
        if delta.whole {
            self.open.clear();
        }
        self.through = delta.through;
        for seq in &delta.done {
            self.open.remove(seq);
        }
        self.open.extend(delta.open.iter().copied());
    }

    /// What a record must say so that this becomes `next`; nothing when it is that already.
    #[must_use]
    pub fn delta(&self, consumer: Uuid, next: &Self) -> Option<Delta> {
        if self == next {
            return None;
        }
        let done = self.open.keys().filter(|seq| !next.open.contains_key(seq));
        let open = next.open.iter().map(|(seq, count)| (*seq, *count));
        let open = open.filter(|(seq, count)| self.open.get(seq) != Some(count));
        Some(Delta {
            consumer,
            whole: false,
            gone: false,
            through: next.through,
            done: done.copied().collect(),
            open: open.collect(),
        })
    }

    /// All of it, for the start of a file or after a seek.
    #[must_use]
    pub fn whole(&self, consumer: Uuid) -> Delta {
        Delta {
            consumer,
            whole: true,
            gone: false,
            through: self.through,
            done: Vec::new(),
            open: self
                .open
                .iter()
                .map(|(seq, count)| (*seq, *count))
                .collect(),
        }
    }
}

/// Folds a record into what is known of all consumers of a buffer.
pub fn fold(known: &mut BTreeMap<Uuid, Progress>, delta: &Delta) {
    if delta.gone {
        known.remove(&delta.consumer);
    } else {
        known.entry(delta.consumer).or_default().apply(delta);
    }
}

impl Delta {
    /// Says that a consumer is no more.
    #[must_use]
    pub const fn gone(consumer: Uuid) -> Self {
        Self {
            consumer,
            whole: true,
            gone: true,
            through: Seq::ZERO,
            done: Vec::new(),
            open: Vec::new(),
        }
    }

    /// The body of the record: `name: value` lines.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("consumer: {}\n", self.consumer);
        if self.gone {
            text.push_str("gone: true\n");
            return text.into_bytes();
        }
        if self.whole {
            text.push_str("whole: true\n");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "through: {}", self.through);
        push_list(&mut text, "done", &self.done, |seq, out| {
            let _ = write!(out, "{seq}");
        });
        push_list(&mut text, "open", &self.open, |(seq, count), out| {
            let _ = write!(out, "{seq}={count}");
        });
        text.into_bytes()
    }

    /// Reads the body of a record; `None` when it is of another form.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut lines = core::str::from_utf8(body).ok()?.lines().peekable();
        let consumer = Uuid::parse(lines.next()?.strip_prefix("consumer: ")?)?;
        if lines.next_if_eq(&"gone: true").is_some() {
            return lines.next().is_none().then(|| Self::gone(consumer));
        }
        let whole = lines.next_if_eq(&"whole: true").is_some();
        let through = lines.next()?.strip_prefix("through: ")?.parse().ok()?;
        let seq = |text: &str| text.parse().ok().map(Seq);
        let mut list = |name: &str| {
            let line = lines.next_if(|line| line.starts_with(name));
            line.map_or("", |line| &line[name.len()..])
        };
        let (done, open) = (list("done: "), list("open: "));
        let done: Option<Vec<Seq>> = items(done).map(seq).collect();
        let open: Option<Vec<(Seq, u32)>> = items(open)
            .map(|item| {
                let (at, count) = item.split_once('=')?;
                Some((seq(at)?, count.parse().ok()?))
            })
            .collect();
        lines.next().is_none().then_some(Self {
            consumer,
            whole,
            gone: false,
            through: Seq(through),
            done: done?,
            open: open?,
        })
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

fn push_list<T>(text: &mut String, name: &str, list: &[T], push: impl Fn(&T, &mut String)) {
    if list.is_empty() {
        return;
    }
    text.push_str(name);
    for (at, item) in list.iter().enumerate() {
        text.push_str(if at == 0 { ": " } else { "," });
        push(item, text);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const CONSUMER: Uuid = Uuid([7; 16]);

    fn some_progress() -> impl Strategy<Value = Progress> {
        (
            1_u64..40,
            prop::collection::btree_map(1_u64..40, 0_u32..4, 0..8),
        )
            .prop_map(|(through, open)| Progress {
                through: Seq(through),
                open: open
                    .into_iter()
                    .filter(|(seq, _)| *seq <= through)
                    .map(|(seq, count)| (Seq(seq), count))
                    .collect(),
            })
    }

    #[test]
    fn a_record_is_lines_that_a_person_can_read() {
        let delta = Delta {
            consumer: CONSUMER,
            whole: false,
            gone: false,
            through: Seq(9),
            done: vec![Seq(3), Seq(4)],
            open: vec![(Seq(7), 2)],
        };
        let text =
            "consumer: 07070707-0707-0707-0707-070707070707\nthrough: 9\ndone: 3,4\nopen: 7=2\n";
        assert_eq!(core::str::from_utf8(&delta.encode()).unwrap(), text);
        assert_eq!(Delta::parse(text.as_bytes()), Some(delta));
        let gone = Delta::gone(CONSUMER);
        assert_eq!(Delta::parse(&gone.encode()), Some(gone));
    }

    #[test]
    fn other_bodies_are_no_records() {
        let start = "consumer: 07070707-0707-0707-0707-070707070707\n";
        for bad in ["", "through: 9\n", "through: x\n", "done: 1\nthrough: 9\n"] {
            let text = format!(
                "{}{bad}",
                if bad.starts_with("through: 9") {
                    ""
                } else {
                    start
                }
            );
            assert_eq!(Delta::parse(text.as_bytes()), None, "{text}");
        }
        for bad in [
            "through: 9\nmore: 1\n",
            "through: 9\ndone: 1,x\n",
            "gone: true\nthrough: 1\n",
        ] {
            assert_eq!(
                Delta::parse(format!("{start}{bad}").as_bytes()),
                None,
                "{bad}"
            );
        }
        assert_eq!(Delta::parse(&[0xff]), None);
    }

    proptest! {
        #[test]
        fn deltas_lead_from_one_state_to_the_next_and_read_back(
            states in prop::collection::vec(some_progress(), 1..6),
        ) {
            let mut known = BTreeMap::new();
            let mut last = Progress::default();
            fold(&mut known, &last.whole(CONSUMER));
            for state in states {
                if let Some(delta) = last.delta(CONSUMER, &state) {
                    let read = Delta::parse(&delta.encode()).unwrap();
                    prop_assert_eq!(&read, &delta);
                    fold(&mut known, &read);
                }
                prop_assert_eq!(known.get(&CONSUMER), Some(&state));
                let whole = state.whole(CONSUMER);
                prop_assert_eq!(Delta::parse(&whole.encode()), Some(whole));
                last = state;
            }
            fold(&mut known, &Delta::gone(CONSUMER));
            prop_assert!(known.is_empty());
        }
    }
}
