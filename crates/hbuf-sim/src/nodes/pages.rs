//! Pages of messages that match a filter, and what they must be: everything that matches between
//! two places, and nothing else.

use hbuf_core::consumer::Filter;
use hbuf_core::ids::{Hash, Micros, Seq};

use super::World;
use super::message::Answer;
use super::reads::each_message;
use crate::ledger::Taking;
use crate::model::Labels;
use crate::tracefile::EventId;

/// Messages that are looked at for one page.
const LOOKS_MAX: u64 = 200;

/// What matches behind a place.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Behind which seq it was looked, and through which.
    pub(super) after: Seq,
    pub(super) through: Seq,
    /// There was more to look at.
    pub(super) more: bool,
    pub(super) messages: Vec<Matching>,
}

/// A message that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matching {
    pub(super) seq: Seq,
    pub(super) time: Micros,
    pub(super) content: Option<Hash>,
}

/// A page that a client was shown, to be judged in the end.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) who: String,
    pub(super) buffer: usize,
    pub(super) filter: Filter,
    pub(super) after: Seq,
    pub(super) through: Seq,
    pub(super) messages: Vec<Matching>,
    /// By what it is judged.
    pub(super) invariant: &'static str,
}

impl World {
    /// What matches behind a seq, as far as this node knows that it is committed; nothing when it
    /// cannot say.
    pub(super) fn page(
        &mut self,
        host: usize,
        buffer: usize,
        (after, limit): (Seq, usize),
        filter: &Filter,
    ) -> Option<Page> {
        let (after, commit) = self.committed_behind(host, buffer, after)?;
        let through = commit.min(Seq(after.0 + LOOKS_MAX)).max(after);
        let stream = self.stream(host, buffer, after, through);
        let (mut last, mut messages) = (after, Vec::new());
        each_message(&stream, |record| {
            if record.line.seq != last.next() || messages.len() >= limit {
                return;
            }
            last = record.line.seq;
            if filter.takes(record) {
                messages.push(Matching {
                    seq: record.line.seq,
                    time: record.line.time,
                    content: record.commitment(),
                });
            }
        });
        let whole = last == through || messages.len() >= limit;
        whole.then_some(Page {
            after,
            through: last,
            more: last < commit,
            messages,
        })
    }

    pub(super) fn page_answer(
        &mut self,
        host: usize,
        buffer: usize,
        place: (Seq, usize),
        filter: &Filter,
    ) -> Answer {
        let page = self.page(host, buffer, place, filter);
        let hint = self.primary_known(host, buffer);
        Answer::Page(page.map(Box::new), hint)
    }

    /// What clients were shown is held against the logs in which everything came to rest.
    pub(super) fn judge_pages(&mut self) {
        for seen in std::mem::take(&mut self.seen) {
            let primary = self.newest(seen.buffer).and_then(|it| it.primary);
            let Some(host) = primary.and_then(|node| self.host_of(node)) else {
                continue;
            };
            let first = self.committed_here(host, seen.buffer);
            let first = first.map_or(Seq::FIRST, |(first, _)| first);
            let taking = Taking::new(seen.filter.clone(), None);
            let stream = self.stream(host, seen.buffer, seen.after, seen.through);
            let mut expected = Vec::new();
            each_message(&stream, |record| {
                let labels = Labels::of(record.lines);
                if taking.takes(&labels) {
                    expected.push(Matching {
                        seq: record.line.seq,
                        time: record.line.time,
                        content: record.commitment(),
                    });
                }
            });
            let kept = seen.messages.iter().filter(|it| it.seq >= first);
            if !kept.eq(expected.iter()) && !self.lost_some(seen.buffer) {
                let (who, buffer) = (&seen.who, &self.names.buffers[seen.buffer]);
                let (after, through) = (seen.after, seen.through);
                let seqs = |all: &[Matching]| {
                    let seqs = all.iter().map(|it| it.seq.to_string());
                    seqs.collect::<Vec<_>>().join(" ")
                };
                let what = format!(
                    "{who} was shown {} of {buffer} behind {after} through {through}, and there is {}",
                    seqs(&seen.messages),
                    seqs(&expected)
                );
                self.broke(EventId(0), seen.invariant, what);
            }
        }
    }
}
