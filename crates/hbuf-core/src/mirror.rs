//! Mirrors: which records of its origin a buffer takes, and where it goes on.
//!
//! A mirror reads its origin as any reader does and appends what it takes with two server facts:
//! where each record stood (`x-hbuf-origin`) and its id there (`x-hbuf-origin-id`). The place is
//! never stored apart: it follows from the last such record in the mirror's own log, so that what
//! was appended and what was passed agree after every crash.
//!
//! ```text
//!   resume ─▶ place ──offer(records behind it)──▶ taken ──appended──▶ place behind them
//!               ▲                                   └──refused──▶ the same place again
//! ```
//! Invariant: the mirror's log holds the wanted records of the origin, each once, in its order.
//! What is wanted: data and tombstones that the tags let through, and every erase record. An erased
//! record has nothing left to take. Must never: take part of a batch.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use crate::dedupe::producers::Producers;
use crate::ids::{Hash, Seq, Uuid};
use crate::record::{Facts, Kind, Origin, Producer, Record, State};
use crate::rules::Rules;

/// What a mirror follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Following {
    /// The origin.
    pub of: Uuid,
    /// The place in the origin behind which it began.
    pub after: Seq,
    /// Any of these tags; none is every message.
    pub tags: Box<[Box<[u8]>]>,
}

/// One record that a mirror takes: its place and id in the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copied {
    /// Its seq there.
    pub seq: Seq,
    /// Its id there.
    pub id: Hash,
    /// What it is.
    pub kind: Kind,
}

/// What an append of a mirror says of its records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirrored {
    /// The origin.
    pub of: Uuid,
    /// Its records, one for each item of the append, in order.
    pub records: Vec<Copied>,
}

/// What is taken of an offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Taken {
    /// The records that were taken, by their number in the offer, counting from 0.
    pub places: Vec<usize>,
    /// What an append says of them.
    pub records: Vec<Copied>,
    /// The last record that was looked at.
    pub through: Seq,
}

/// Where a mirror stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    following: Following,
    place: Seq,
    /// An append that is under way reaches through here.
    under_way: Option<Seq>,
}

impl Mirrored {
    /// The server facts of one of its records.
    #[must_use]
    pub fn facts(&self, index: usize) -> Facts {
        let Copied { seq, id, kind } = self.records[index];
        Facts {
            origin: Some(Origin {
                buffer: self.of,
                seq,
            }),
            origin_id: Some(id),
            ..Facts::of(kind)
        }
    }
}

/// The row of the producers' table that holds how far a log has come in an origin: it survives what
/// the table survives. No client's producer can have this id.
#[must_use]
pub(crate) fn producer_of(origin: &Origin) -> Producer {
    Producer {
        id: row_of(&origin.buffer),
        epoch: 0,
        number: origin.seq.0,
    }
}

fn row_of(origin: &Uuid) -> Box<str> {
    format!("mirror/{origin}").into_boxed_str()
}

/// The last record of an origin that is in a log.
#[must_use]
pub fn last_of(producers: &Producers, origin: &Uuid) -> Option<Seq> {
    producers.last(&row_of(origin)).map(|last| Seq(last.number))
}

impl Mirror {
    /// Goes on where its log ends: `last` is the last record of the origin in it.
    #[must_use]
    pub fn resume(following: Following, last: Option<Seq>, rules: &Rules) -> Self {
        let last = last.filter(|_| rules.mirror_resumes_from_its_log);
        Self {
            place: last.map_or(following.after, |last| last.max(following.after)),
            following,
            under_way: None,
        }
    }

    /// The last record of the origin that it has dealt with.
    #[must_use]
    pub const fn place(&self) -> Seq {
        self.place
    }

    /// Looks at records of the origin, which follow its place; a batch that does not end among them
    /// is left for the next offer. Nothing is looked at when even the first one does not end.
    ///
    /// # Panics
    /// While an append is under way, and when the records do not follow.
    pub fn offer<'r>(&mut self, records: impl Iterator<Item = &'r Record<'r>>) -> Taken {
        assert!(self.under_way.is_none(), "one append is under way");
        let mut whole = Taken {
            through: self.place,
            ..Taken::default()
        };
        let mut part = whole.clone();
        for (index, record) in records.enumerate() {
            let seq = record.line.seq;
            assert!(seq > part.through, "an offer goes on behind the place");
            part.through = seq;
            if self.wants(record) {
                part.places.push(index);
                part.records.push(Copied {
                    seq,
                    id: record.id().unwrap_or_default(),
                    kind: record.facts.kind,
                });
            }
            if record.line.rest == 0 {
                whole.clone_from(&part);
            }
        }
        if whole.records.is_empty() {
            self.place = whole.through;
        } else {
            self.under_way = Some(whole.through);
        }
        whole
    }

    /// What was taken is in the mirror's log.
    pub fn appended(&mut self) {
        if let Some(through) = self.under_way.take() {
            self.place = through;
        }
    }

    /// What was taken is not in the mirror's log; the next offer begins at the same place.
    pub fn refused(&mut self) {
        self.under_way = None;
    }

    /// Retention of the origin dropped what is below `first`; tells how many records are missed.
    pub fn dropped_below(&mut self, first: Seq) -> u64 {
        let lost = first.prev().0.saturating_sub(self.place.0);
        self.place = self.place.max(first.prev());
        lost
    }

    /// How many records of the origin it has not dealt with.
    #[must_use]
    pub const fn lag(&self, commit: Seq) -> u64 {
        commit.0.saturating_sub(self.place.0)
    }

    fn wants(&self, record: &Record<'_>) -> bool {
        match record.facts.kind {
            Kind::Erase => true,
            Kind::Data | Kind::Tombstone => {
                let tags = &self.following.tags;
                let fits = |tag: &[u8]| tags.iter().any(|wanted| **wanted == *tag);
                record.line.state == State::Live && (tags.is_empty() || record.tags().any(fits))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Micros};
    use crate::record::{Frame, Proof, decode, encode};
    use alloc::vec;
    use proptest::prelude::*;

    /// A record of an origin, as bytes.
    fn record(seq: u64, rest: u16, kind: Kind, lines: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = Frame {
            seq: Seq(seq),
            time: Micros(seq),
            epoch: Epoch(1),
            distance: 1,
            rest,
            facts: &Facts::of(kind),
            lines: lines.as_bytes(),
            proof: Proof::Salted {
                salt: [1; 32],
                id: Hash([seq as u8; 32]),
            },
            body: b"",
        };
        encode(&frame, &mut out);
        out
    }

    fn following(tags: &[&str]) -> Following {
        Following {
            of: Uuid([7; 16]),
            after: Seq(0),
            tags: tags.iter().map(|tag| tag.as_bytes().into()).collect(),
        }
    }

    fn mirror(tags: &[&str]) -> Mirror {
        Mirror::resume(following(tags), None, &Rules::correct())
    }

    fn offer(mirror: &mut Mirror, records: &[Vec<u8>]) -> Vec<u64> {
        let decoded: Vec<Record<'_>> = records.iter().map(|it| decode(it).unwrap()).collect();
        let taken = mirror.offer(decoded.iter());
        taken.records.iter().map(|copied| copied.seq.0).collect()
    }

    #[test]
    fn it_takes_what_has_a_tag_and_every_erase_record() {
        let records = [
            record(1, 0, Kind::Data, "x-hbuf-tag: a, b\r\n"),
            record(2, 0, Kind::Data, "x-hbuf-tag: c\r\n"),
            record(3, 0, Kind::Erase, ""),
            record(4, 0, Kind::Tombstone, "x-hbuf-tag: b\r\n"),
            record(5, 0, Kind::Data, ""),
            record(6, 0, Kind::Compact, "x-hbuf-tag: b\r\n"),
        ];
        let mut some = mirror(&["b"]);
        assert_eq!(offer(&mut some, &records), [1, 3, 4]);
        some.appended();
        assert_eq!((some.place(), some.lag(Seq(9))), (Seq(6), 3));
        assert_eq!(offer(&mut mirror(&[]), &records), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_batch_is_taken_whole_or_left_for_the_next_offer() {
        let records = [
            record(1, 0, Kind::Data, ""),
            record(2, 2, Kind::Data, ""),
            record(3, 1, Kind::Data, ""),
        ];
        let mut mirror = mirror(&[]);
        assert_eq!(offer(&mut mirror, &records), [1]);
        mirror.appended();
        assert_eq!(offer(&mut mirror, &records[1..]), Vec::<u64>::new());
        assert_eq!(mirror.place(), Seq(1), "the batch does not end there");
    }

    #[test]
    fn a_refused_append_is_offered_again_and_what_fits_nothing_is_passed() {
        let mut mirror = mirror(&["b"]);
        let fits = [record(1, 0, Kind::Data, "x-hbuf-tag: b\r\n")];
        assert_eq!(offer(&mut mirror, &fits), [1]);
        mirror.refused();
        assert_eq!(mirror.place(), Seq(0));
        assert_eq!(offer(&mut mirror, &fits), [1]);
        mirror.appended();
        let other = [record(2, 0, Kind::Data, "")];
        assert_eq!(offer(&mut mirror, &other), Vec::<u64>::new());
        assert_eq!(mirror.place(), Seq(2), "no append is needed");
    }

    #[test]
    fn it_goes_on_behind_the_last_record_of_its_log_or_where_it_began() {
        let began = Following {
            after: Seq(40),
            ..following(&[])
        };
        let resume = |last| Mirror::resume(began.clone(), last, &Rules::correct()).place();
        assert_eq!(resume(None), Seq(40));
        assert_eq!(resume(Some(Seq(57))), Seq(57));
        assert_eq!(resume(Some(Seq(12))), Seq(40), "it was set anew further on");
    }

    #[test]
    fn facts_name_the_record_in_the_origin() {
        let mirrored = Mirrored {
            of: Uuid([7; 16]),
            records: vec![Copied {
                seq: Seq(9),
                id: Hash([9; 32]),
                kind: Kind::Erase,
            }],
        };
        let facts = mirrored.facts(0);
        assert_eq!(
            (facts.kind, facts.origin_id),
            (Kind::Erase, Some(Hash([9; 32])))
        );
        assert_eq!(producer_of(&facts.origin.unwrap()).number, 9);
    }

    proptest! {
        #[test]
        fn whatever_is_refused_or_forgotten_the_log_holds_each_wanted_record_once(
            batches in prop::collection::vec((1_u16..4, any::<bool>()), 1..20),
            steps in prop::collection::vec((1_usize..6, 0_u8..4), 1..80),
        ) {
            let mut origin = Vec::new();
            for (count, tagged) in batches {
                for rest in (0..count).rev() {
                    let lines = if tagged { "x-hbuf-tag: b\r\n" } else { "" };
                    origin.push(record(origin.len() as u64 + 1, rest, Kind::Data, lines));
                }
            }
            let wanted: Vec<u64> = origin.iter().map(|it| decode(it).unwrap())
                .filter(|it| it.tags().count() > 0).map(|it| it.line.seq.0).collect();
            let (mut log, mut mirror) = (Vec::new(), mirror(&["b"]));
            for (count, what) in steps {
                let from = usize::try_from(mirror.place().0).unwrap();
                let some = &origin[from..(from + count).min(origin.len())];
                let taken = offer(&mut mirror, some);
                match what {
                    0 => mirror.refused(),
                    // A crash: what was appended is in the log, whether it was told or not.
                    1 => {
                        log.extend(taken);
                        let last = log.last().map(|seq| Seq(*seq));
                        mirror = Mirror::resume(following(&["b"]), last, &Rules::correct());
                    }
                    _ => {
                        log.extend(taken);
                        mirror.appended();
                    }
                }
            }
            prop_assert_eq!(&log[..], &wanted[..log.len()]);
        }
    }
}
