//! Takes events in: each gets its id, is counted, and becomes a line when somebody wants lines.
//!
//! An id is a hash of (first cause, name of the kind, how many such children the cause had before),
//! so that an event that happens in two runs has the same id in both, also when the registry of
//! kinds has grown in between. What a client does in a turn, and what a plan or a hand makes
//! happen, has a hash of its own name instead; what a node does at a tick is told apart by that.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::Header;
use crate::draw::{key, mix};
use crate::kinds::Kind;

/// The id of an event; `EventId(0)` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

impl EventId {
    /// Reads 16 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = digits.then(|| u64::from_str_radix(text, 16).ok());
        value.flatten().map(Self)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Something that an event is about, by which it can be followed. Made into text only for lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ref<'a> {
    /// `consumer:workers`.
    Name(&'static str, &'a str),
    /// `msg:b1/17`, `req:c1/4`: a number within something that has a name.
    Numbered(&'static str, &'a str, u64),
    /// `key:b1/user-17`: a name within something that has a name.
    Within(&'static str, &'a str, &'a str),
    /// `pkt:n1>n2/17`: a number between two that have names.
    Between(&'static str, &'a str, &'a str, u64),
}

impl fmt::Display for Ref<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(what, name) => write!(f, "{what}:{name}"),
            Self::Numbered(what, of, number) => write!(f, "{what}:{of}/{number}"),
            Self::Within(what, of, name) => write!(f, "{what}:{of}/{name}"),
            Self::Between(what, from, to, number) => write!(f, "{what}:{from}>{to}/{number}"),
        }
    }
}

/// A value of an event's details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail<'a> {
    /// A count, a size, a time in microseconds.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A name or a sentence.
    Text(&'a str),
}

/// What an event says besides its time, causes and kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Where it happened: a node or a client, `n2`, `c1`.
    pub node: Option<&'a str>,
    /// The buffer's name.
    pub buffer: Option<&'a str>,
    /// The epoch that it happened in.
    pub epoch: Option<u32>,
    /// First and last seq.
    pub seqs: Option<(u64, u64)>,
    /// What it can be followed by.
    pub refs: &'a [Ref<'a>],
    /// Everything else, each under a name of its own.
    pub details: &'a [(&'static str, Detail<'a>)],
}

/// Takes the events of one run.
#[derive(Clone, Debug)]
pub struct TraceWriter {
    events: u64,
    last: EventId,
    /// By the kinds' places in the registry; so are their keys.
    counts: Vec<u64>,
    keys: Vec<u64>,
    hash: u64,
    children: Ordinals,
    lines: Option<String>,
}

impl TraceWriter {
    /// Gives ids and counts; writes no lines.
    #[must_use]
    pub fn counting() -> Self {
        Self {
            events: 0,
            last: EventId(0),
            counts: vec![0; Kind::ALL.len()],
            keys: Kind::ALL.iter().map(|kind| key(kind.name())).collect(),
            hash: 0,
            children: Ordinals::default(),
            lines: None,
        }
    }

    /// Writes lines too, the header first.
    #[must_use]
    pub fn writing(header: &Header) -> Self {
        Self {
            lines: Some(format!("{header}\n")),
            ..Self::counting()
        }
    }

    /// Whether somebody reads lines: facts that only lines show need not be made otherwise.
    #[must_use]
    pub const fn wants_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// Takes an event in, at `t` microseconds, and gives it its id. The first cause is the one
    /// that its id follows from; without one it is a root.
    pub fn event(&mut self, t: u64, causes: &[EventId], kind: Kind, facts: &Facts<'_>) -> EventId {
        let eid = self.reserve(causes.first().copied(), kind);
        self.reserved_event(eid, t, causes, kind, facts);
        eid
    }

    /// The id of an event that is yet to come, by its first cause and its kind. Whoever plans it
    /// knows it from then on, also when it never comes: an override can name it, a queue can order
    /// by it, and the ids of its siblings stay what they are.
    pub fn reserve(&mut self, cause: Option<EventId>, kind: Kind) -> EventId {
        let family = mix(cause.unwrap_or_default().0, self.keys[kind as usize]);
        EventId(mix(family, self.children.next(family)))
    }

    /// The id of an event that is told by what it is and not by what brings it about, as a turn of
    /// a client or an action of a plan: it is the same whatever happened before.
    pub fn reserve_named(&mut self, name: u64) -> EventId {
        let family = mix(NAMED, name);
        EventId(mix(family, self.children.next(family)))
    }

    /// Takes an event in whose id was reserved, with the same first cause and kind.
    pub fn reserved_event(
        &mut self,
        eid: EventId,
        t: u64,
        causes: &[EventId],
        kind: Kind,
        facts: &Facts<'_>,
    ) {
        self.events += 1;
        self.last = eid;
        self.counts[kind as usize] += 1;
        let (first, last) = facts.seqs.unwrap_or_default();
        let content = first ^ last.rotate_left(32) ^ u64::from(facts.epoch.unwrap_or(0)) << 48;
        self.hash = mix(mix(self.hash, eid.0), t ^ content.rotate_left(20));
        if let Some(lines) = &mut self.lines {
            let n = self.events;
            write_line(lines, n, t, eid, causes, kind, facts)
                .expect("writing to a String cannot fail");
        }
    }

    /// The lines since the last time, each with its line end; empty when nobody wants any.
    pub fn take_lines(&mut self) -> String {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many bytes [`TraceWriter::take_lines`] would give.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.lines.as_ref().map_or(0, String::len)
    }

    /// Events so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The event that was taken in last.
    #[must_use]
    pub const fn last(&self) -> EventId {
        self.last
    }

    /// Events so far of one kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// Events so far by kind; kinds that did not happen are left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, u64> {
        let all = Kind::ALL.into_iter();
        all.map(|kind| (kind, self.count(kind)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// A hash over the ids, times, epochs and seqs of all events so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

fn write_line(
    out: &mut String,
    n: u64,
    t: u64,
    eid: EventId,
    causes: &[EventId],
    kind: Kind,
    facts: &Facts<'_>,
) -> fmt::Result {
    write!(out, r#"{{"n":{n},"t":{t},"eid":"{eid}","cause":["#)?;
    for (at, cause) in causes.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(out, r#"{comma}"{cause}""#)?;
    }
    out.push(']');
    if let Some(node) = facts.node {
        write!(out, r#","node":{}"#, quoted(node))?;
    }
    write!(out, r#","kind":"{}""#, kind.name())?;
    if let Some(buffer) = facts.buffer {
        write!(out, r#","buf":{}"#, quoted(buffer))?;
    }
    if let Some(epoch) = facts.epoch {
        write!(out, r#","epoch":{epoch}"#)?;
    }
    if let Some((first, last)) = facts.seqs {
        write!(out, r#","seq":[{first},{last}]"#)?;
    }
    for (at, reference) in facts.refs.iter().enumerate() {
        let before = if at == 0 { r#","refs":["# } else { "," };
        write!(out, "{before}{}", quoted(&reference.to_string()))?;
    }
    if !facts.refs.is_empty() {
        out.push(']');
    }
    for (at, (name, detail)) in facts.details.iter().enumerate() {
        let before = if at == 0 { r#","d":{"# } else { "," };
        write!(out, r#"{before}"{name}":"#)?;
        match detail {
            Detail::Number(number) => write!(out, "{number}")?,
            Detail::Flag(flag) => write!(out, "{flag}")?,
            Detail::Text(text) => out.push_str(&quoted(text)),
        }
    }
    if !facts.details.is_empty() {
        out.push('}');
    }
    out.push_str("}\n");
    Ok(())
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// Instead of a cause, for what is told by its name.
const NAMED: u64 = 0x6e61_6d65_6421;
/// Places of the table at first: enough for a short run, and 64 KiB.
const SLOTS_MIN: usize = 1 << 12;
/// Up to here the table grows fast, since growing moves all of it: 4 MiB.
const SLOTS_MANY: usize = 1 << 18;

/// How many children of a kind each cause had: a table with open places, since its keys are hashes
/// already and nobody ever asks for them in an order.
#[derive(Clone, Debug, Default)]
struct Ordinals {
    /// Key, which is never 0 in use, and count. Always a power of two of them, at most half full.
    slots: Vec<(u64, u64)>,
    used: usize,
}

impl Ordinals {
    /// How often it was asked for this key before. Two keys that are the same by chance share
    /// their count, which leaves ids unique.
    fn next(&mut self, key: u64) -> u64 {
        let key = key.max(1);
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        let at = self.place(key);
        let slot = &mut self.slots[at];
        if slot.0 == 0 {
            slot.0 = key;
            self.used += 1;
        }
        slot.1 += 1;
        slot.1 - 1
    }

    /// Where a key is, or would be.
    fn place(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        // What does not fit into a usize is cut off by the mask anyway.
        let mut at = usize::try_from(key & mask as u64).expect("the mask is a usize");
        while self.slots[at].0 != 0 && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let larger = match self.slots.len() {
            0 => SLOTS_MIN,
            few if few < SLOTS_MANY => few * 4,
            many => many * 2,
        };
        let before = std::mem::replace(&mut self.slots, vec![(0, 0); larger]);
        for slot in before.into_iter().filter(|slot| slot.0 != 0) {
            let at = self.place(slot.0);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_count_each_key_on_its_own_however_many_there_are() {
        let mut ordinals = Ordinals::default();
        for round in 0..3 {
            for key in 0..5_000 {
                // Neighbours, so that they get into each other's way.
                assert_eq!(ordinals.next(key << 40 | key & 7 | 1 << 20), round);
            }
        }
        assert_eq!(ordinals.used, 5_000);
        assert_eq!([ordinals.next(0), ordinals.next(0)], [0, 1]);
    }

    #[test]
    fn ids_follow_from_the_first_cause_the_kind_and_the_place_among_its_children() {
        let mut one = TraceWriter::counting();
        let mut two = TraceWriter::counting();
        let root = one.event(0, &[], Kind::RunStarted, &Facts::default());
        two.event(0, &[], Kind::RunStarted, &Facts::default());
        let first = one.event(5, &[root], Kind::AppendAsked, &Facts::default());
        let second = one.event(9, &[root], Kind::AppendAsked, &Facts::default());
        two.event(3, &[root], Kind::AppendFramed, &Facts::default());
        let same = two.event(7, &[root, first], Kind::AppendAsked, &Facts::default());
        assert_eq!(same, first);
        assert_ne!(first, second);
        assert_eq!((one.events(), one.count(Kind::AppendAsked)), (3, 2));
        assert_eq!(one.counts().len(), 2);
        assert_ne!(one.hash(), two.hash());
        assert!(one.take_lines().is_empty());
    }

    #[test]
    fn an_id_that_is_reserved_is_the_one_that_the_event_would_have_had() {
        let (mut one, mut two) = (TraceWriter::counting(), TraceWriter::counting());
        let facts = Facts::default();
        let root = one.event(0, &[], Kind::RunStarted, &facts);
        two.event(0, &[], Kind::RunStarted, &facts);
        let reserved = [(); 2].map(|()| one.reserve(Some(root), Kind::AppendAsked));
        let happened = [(); 2].map(|()| two.event(1, &[root], Kind::AppendAsked, &facts));
        assert_eq!(reserved, happened);
        // The first one never comes; the second one is the same all the same.
        one.reserved_event(reserved[1], 1, &[root], Kind::AppendAsked, &facts);
        assert_eq!(one.events(), 2);
    }

    #[test]
    fn the_hash_sees_times_epochs_and_seqs() {
        let hash = |t, epoch, seqs| {
            let mut trace = TraceWriter::counting();
            let facts = Facts {
                epoch,
                seqs,
                ..Facts::default()
            };
            trace.event(t, &[], Kind::RunStarted, &facts);
            trace.hash()
        };
        let all = [
            hash(1, Some(1), Some((1, 2))),
            hash(2, Some(1), Some((1, 2))),
            hash(1, Some(2), Some((1, 2))),
            hash(1, Some(1), Some((1, 3))),
            hash(1, Some(1), Some((2, 2))),
            hash(1, None, None),
        ];
        let different: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
