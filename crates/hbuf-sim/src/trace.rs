//! The trace: one JSON line an event, each with an id that follows from its cause.
//!
//! ```text
//! {"n":17,"t":1203450,"eid":"9f3c…","cause":"71aa…","kind":"append.framed","buf":1,"seq":[4,6],"d":"…"}
//! ```
//!
//! An id is a hash of (cause, kind, how many such children the cause had before), so that an event
//! that happens in two runs has the same id in both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use crate::draw::mix;
use crate::kinds::Kind;

/// The id of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u64);

/// What an event says besides its kind and cause.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) buffer: Option<usize>,
    /// First and last seq.
    pub(crate) seqs: Option<(u64, u64)>,
    pub(crate) note: &'a str,
}

/// Where events go: counted always, written as lines when someone wants them.
pub(crate) struct Trace<'w> {
    out: Option<&'w mut dyn io::Write>,
    failed: Option<io::Error>,
    pub(crate) events: u64,
    pub(crate) counts: BTreeMap<Kind, u64>,
    /// Messages in `append.framed` events: recounted against the node's own counter.
    pub(crate) framed_messages: u64,
    hash: u64,
    children: BTreeMap<(EventId, Kind), u64>,
    line: String,
}

impl<'w> Trace<'w> {
    pub(crate) fn new(out: Option<&'w mut dyn io::Write>) -> Self {
        Self {
            out,
            failed: None,
            events: 0,
            counts: BTreeMap::new(),
            framed_messages: 0,
            hash: 0,
            children: BTreeMap::new(),
            line: String::new(),
        }
    }

    /// Takes an event in and gives it its id.
    pub(crate) fn event(
        &mut self,
        t: u64,
        cause: EventId,
        kind: Kind,
        facts: &Facts<'_>,
    ) -> EventId {
        let ordinal = self.children.entry((cause, kind)).or_insert(0);
        let eid = EventId(mix(mix(cause.0, kind as u64 + 1), *ordinal));
        *ordinal += 1;
        self.events += 1;
        *self.counts.entry(kind).or_insert(0) += 1;
        if kind == Kind::AppendFramed
            && let Some((first, last)) = facts.seqs
        {
            self.framed_messages += last - first + 1;
        }
        self.hash = mix(mix(self.hash, eid.0), t);
        if self.out.is_some() {
            self.write(t, eid, cause, kind, facts);
        }
        eid
    }

    /// A hash over all events so far.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The first failure to write, if there was one.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.failed.map_or(Ok(()), Err)
    }

    fn write(&mut self, t: u64, eid: EventId, cause: EventId, kind: Kind, facts: &Facts<'_>) {
        let line = &mut self.line;
        line.clear();
        let (n, name) = (self.events, kind.name());
        let start = write!(
            line,
            r#"{{"n":{n},"t":{t},"eid":"{:016x}","cause":"{:016x}","kind":"{name}""#,
            eid.0, cause.0
        );
        start.expect("writing to a String cannot fail");
        if let Some(buffer) = facts.buffer {
            write!(line, r#","buf":{buffer}"#).expect("writing to a String cannot fail");
        }
        if let Some((first, last)) = facts.seqs {
            write!(line, r#","seq":[{first},{last}]"#).expect("writing to a String cannot fail");
        }
        if !facts.note.is_empty() {
            let note = serde_json::to_string(facts.note).expect("a text is JSON");
            write!(line, r#","d":{note}"#).expect("writing to a String cannot fail");
        }
        line.push_str("}\n");
        if let Some(out) = &mut self.out
            && let Err(error) = out.write_all(line.as_bytes())
        {
            self.failed.get_or_insert(error);
            self.out = None;
        }
    }
}
