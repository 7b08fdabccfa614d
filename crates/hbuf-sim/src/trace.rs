//! Where the events of a run go: to the writer of traces, and from there to whoever wants lines.

use std::io;

use crate::kinds::Kind;
pub(crate) use crate::tracefile::EventId;
use crate::tracefile::{Detail, Facts as Told, Header, TraceWriter};

/// Lines are handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// What an event says besides its kind and cause.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) buffer: Option<usize>,
    /// First and last seq.
    pub(crate) seqs: Option<(u64, u64)>,
    pub(crate) note: &'a str,
}

/// The events of a run of one node.
pub(crate) struct Trace<'w> {
    out: Option<&'w mut dyn io::Write>,
    failed: Option<io::Error>,
    writer: TraceWriter,
    /// Messages in `append.framed` events: recounted against the node's own counter.
    pub(crate) framed_messages: u64,
    buffers: Vec<String>,
}

impl<'w> Trace<'w> {
    /// `header` is asked for when somebody wants lines.
    pub(crate) fn new(out: Option<&'w mut dyn io::Write>, header: impl FnOnce() -> Header) -> Self {
        let writer = match out {
            Some(_) => TraceWriter::writing(&header()),
            None => TraceWriter::counting(),
        };
        Self {
            out,
            failed: None,
            writer,
            framed_messages: 0,
            buffers: Vec::new(),
        }
    }

    /// Takes an event in and gives it its id. `EventId(0)` as a cause is none.
    pub(crate) fn event(
        &mut self,
        t: u64,
        cause: EventId,
        kind: Kind,
        facts: &Facts<'_>,
    ) -> EventId {
        if kind == Kind::AppendFramed
            && let Some((first, last)) = facts.seqs
        {
            self.framed_messages += last - first + 1;
        }
        if let Some(buffer) = facts.buffer {
            for more in self.buffers.len()..=buffer {
                self.buffers.push(format!("b{more}"));
            }
        }
        let note = [("note", Detail::Text(facts.note))];
        let of_the_run = matches!(
            kind,
            Kind::RunStarted | Kind::RunEnded | Kind::InvariantBroken
        );
        let told = Told {
            node: (!of_the_run).then_some("n1"),
            buffer: facts.buffer.map(|buffer| self.buffers[buffer].as_str()),
            seqs: facts.seqs,
            details: if facts.note.is_empty() { &[] } else { &note },
            ..Told::default()
        };
        let causes = [cause];
        let causes = if cause == EventId(0) {
            &[]
        } else {
            &causes[..]
        };
        let eid = self.writer.event(t, causes, kind, &told);
        if self.writer.waiting_bytes() > PIECE_BYTES {
            self.hand_on();
        }
        eid
    }

    fn hand_on(&mut self) {
        let lines = self.writer.take_lines();
        if let Some(out) = &mut self.out
            && let Err(error) = out.write_all(lines.as_bytes())
        {
            self.failed.get_or_insert(error);
            self.out = None;
        }
    }

    /// Events so far.
    pub(crate) const fn events(&self) -> u64 {
        self.writer.events()
    }

    /// What is known of all events so far.
    pub(crate) const fn writer(&self) -> &TraceWriter {
        &self.writer
    }

    /// Hands on what waits. The first failure to write, if there was one.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.hand_on();
        self.failed.map_or(Ok(()), Err)
    }
}
