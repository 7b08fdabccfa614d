//! What the clients were told and what they tried: the claims that the disk must keep.

use std::collections::{BTreeMap, BTreeSet};

use super::consuming::ConsumerClaims;
use super::derived::StreamClaims;
use super::record::Record;

/// A claim about one message: it has this seq, body and, where known, id.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) seq: u64,
    pub(crate) id: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An append under an idempotency key that was acknowledged: sent again, it has the same seq.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) key: String,
    pub(crate) seq: u64,
    pub(crate) body: Vec<u8>,
}

/// Where a buffer is in its life, as far as the clients know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Life {
    /// A creation that nobody confirmed.
    CreateTried,
    /// It exists.
    Exists,
    /// A deletion that nobody confirmed.
    DeleteTried,
    /// It is gone.
    Deleted,
}

/// Everything that is known of one buffer.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) life: Life,
    /// Retention keeps at least so many of the newest messages; `None` keeps all.
    pub(crate) keeps: Option<u64>,
    /// Acknowledged appends and messages that a reader saw.
    pub(crate) told: Vec<Told>,
    /// Batches by what was sent, acknowledged or not; a single message is a batch of one.
    pub(crate) tried: Vec<Vec<Vec<u8>>>,
    pub(crate) keyed: Vec<Keyed>,
}

/// The claims of one client, or of all after merging.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) buffers: BTreeMap<String, Claims>,
    /// Requests that were right and were refused as wrong.
    pub(crate) refused: Vec<String>,
    /// By buffer and name of a stored filter, how many tags it may have; 0 is no filter. One entry
    /// when the last change was acknowledged, and one for each that was tried since.
    pub(crate) filters: BTreeMap<(String, String), Vec<u64>>,
    pub(crate) streams: BTreeMap<String, StreamClaims>,
    /// By buffer.
    pub(crate) consumers: BTreeMap<String, ConsumerClaims>,
    /// The mirror was confirmed.
    pub(crate) mirror_made: bool,
    /// What it was seen to hold.
    pub(crate) mirrored: Vec<Record>,
}

impl Ledger {
    pub(crate) fn buffer(&mut self, name: &str) -> &mut Claims {
        self.buffers
            .entry(name.to_owned())
            .or_insert_with(|| Claims {
                life: Life::CreateTried,
                keeps: None,
                told: Vec::new(),
                tried: Vec::new(),
                keyed: Vec::new(),
            })
    }

    /// Takes over another client's claims. Only the client that owns a buffer deletes it, so the
    /// furthest life is the true one.
    pub(crate) fn merge(&mut self, other: Self) {
        self.refused.extend(other.refused);
        // A filter belongs to one client in one round.
        self.filters.extend(other.filters);
        self.mirror_made |= other.mirror_made;
        for (name, claims) in other.streams {
            self.streams.entry(name).or_default().merge(claims);
        }
        for (buffer, claims) in other.consumers {
            self.consumers.entry(buffer).or_default().merge(claims);
        }
        for (name, claims) in other.buffers {
            let mine = self.buffer(&name);
            if rank(claims.life) > rank(mine.life) {
                mine.life = claims.life;
            }
            mine.keeps = mine.keeps.or(claims.keeps);
            mine.told.extend(claims.told);
            mine.tried.extend(claims.tried);
            mine.keyed.extend(claims.keyed);
        }
    }

    /// Appends that were acknowledged or seen.
    pub(crate) fn told_count(&self) -> usize {
        self.buffers.values().map(|claims| claims.told.len()).sum()
    }
}

fn rank(life: Life) -> u8 {
    match life {
        Life::CreateTried => 0,
        Life::Exists => 1,
        Life::DeleteTried => 2,
        Life::Deleted => 3,
    }
}

impl Claims {
    /// Compares the records that a buffer holds with the claims; every difference is a sentence.
    pub(crate) fn compare(&self, name: &str, records: &[Record]) -> Vec<String> {
        let first = records.first().map_or(1, |record| record.seq);
        let mut wrong = Vec::new();
        if let Some(why) = self.wrong_start(first, records.len() as u64) {
            wrong.push(format!("{name}: {why}"));
        }
        for (index, record) in records.iter().enumerate() {
            if record.seq != first + index as u64 {
                let before = first + index as u64 - 1;
                wrong.push(format!("{name}: seq {} follows seq {before}", record.seq));
                break;
            }
        }
        let told = self
            .told
            .iter()
            .filter(|told| told.seq >= first || self.keeps.is_none());
        wrong.extend(told.filter_map(|told| {
            let place = told.seq.checked_sub(first).map(|place| place as usize);
            let why = told.differs(place.and_then(|place| records.get(place)))?;
            Some(format!(
                "{name} ({first} and {} more): {why}",
                records.len()
            ))
        }));
        wrong.extend(self.compare_batches(name, records));
        wrong
    }

    /// Retention drops whole segments, and never below what it keeps.
    fn wrong_start(&self, first: u64, count: u64) -> Option<String> {
        let kept = self.keeps.unwrap_or(u64::MAX);
        (first > 1 && count < kept)
            .then(|| format!("begins at seq {first} and holds {count}, though it keeps {kept}"))
    }

    /// Each batch is there whole, in order and once, or not at all; nothing else is there.
    fn compare_batches(&self, name: &str, records: &[Record]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut place = BTreeMap::new();
        for (index, record) in records.iter().enumerate() {
            if let Some(first) = place.insert(record.body.as_slice(), index) {
                let seqs = (first + 1, index + 1);
                wrong.push(format!(
                    "{name}: {} is there twice: {seqs:?}",
                    label(&record.body)
                ));
            }
        }
        let mut known = BTreeSet::new();
        for batch in &self.tried {
            let found: Vec<Option<usize>> = batch
                .iter()
                .map(|body| place.get(body.as_slice()).copied())
                .collect();
            let trims = self.keeps.is_some();
            let whole = found.windows(2).all(|pair| match pair {
                [Some(a), Some(b)] => a + 1 == *b,
                [None, None] => true,
                [None, Some(0)] => trims,
                _ => false,
            });
            if !whole {
                wrong.push(format!(
                    "{name}: batch of {} is there in part: {found:?}",
                    batch.len()
                ));
            }
            known.extend(batch.iter().map(Vec::as_slice));
        }
        for body in place.keys().filter(|body| !known.contains(*body)) {
            wrong.push(format!(
                "{name}: holds {}, which nobody appended",
                label(body)
            ));
        }
        wrong
    }
}

impl Told {
    /// Why a record does not keep this claim.
    fn differs(&self, found: Option<&Record>) -> Option<String> {
        let (seq, said) = (self.seq, label(&self.body));
        match found {
            None => Some(format!("acknowledged seq {seq} ({said}) is lost")),
            Some(record) if record.body != self.body => Some(format!(
                "seq {seq} was acknowledged as {said} and holds {}",
                label(&record.body)
            )),
            Some(record) if self.id.as_ref().is_some_and(|id| *id != record.id) => {
                Some(format!("seq {seq} changed its id to {}", record.id))
            }
            Some(_) => None,
        }
    }
}

/// The start of a body, which says who sent it.
fn label(body: &[u8]) -> String {
    let end = body
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(body.len())
        .min(60);
    String::from_utf8_lossy(&body[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(bodies: &[&str]) -> Vec<Record> {
        let record = |(index, body): (usize, &&str)| Record {
            seq: index as u64 + 1,
            id: format!("id-{body}"),
            body: body.as_bytes().to_vec(),
        };
        bodies.iter().enumerate().map(record).collect()
    }

    fn claims() -> Claims {
        let mut ledger = Ledger::default();
        let claims = ledger.buffer("b");
        claims.tried.push(vec![b"a".to_vec()]);
        claims.tried.push(vec![b"b".to_vec(), b"c".to_vec()]);
        claims.told.push(Told {
            seq: 1,
            id: Some("id-a".to_owned()),
            body: b"a".to_vec(),
        });
        claims.clone()
    }

    #[test]
    fn what_was_told_and_whole_batches_pass() {
        assert_eq!(claims().compare("b", &records(&["a"])), [""; 0]);
        assert_eq!(claims().compare("b", &records(&["a", "b", "c"])), [""; 0]);
    }

    #[test]
    fn each_broken_promise_is_found() {
        let cases: [(&[&str], &str); 6] = [
            (&[], "seq 1 (a) is lost"),
            (&["x"], "holds x, which nobody"),
            (&["b", "c", "a"], "was acknowledged as a and holds b"),
            (&["a", "b"], "in part"),
            (&["a", "c", "b"], "in part"),
            (&["a", "a"], "twice"),
        ];
        for (bodies, expected) in cases {
            let wrong = claims().compare("b", &records(bodies));
            assert!(
                wrong.iter().any(|line| line.contains(expected)),
                "{bodies:?}: {wrong:?}"
            );
        }
        let mut gap = records(&["a", "b", "c"]);
        gap[2].seq = 4;
        assert!(claims().compare("b", &gap)[0].contains("seq 4 follows seq 2"));
        let mut trimmed = claims();
        let rest = &records(&["a", "b", "c"])[1..];
        assert!(trimmed.compare("b", rest)[0].contains("begins at seq 2"));
        trimmed.keeps = Some(2);
        assert_eq!(trimmed.compare("b", rest), [""; 0]);
        let mut other = records(&["a"]);
        other[0].id = "id-x".to_owned();
        assert!(claims().compare("b", &other)[0].contains("changed its id"));
    }
}
