//! Judges what clients were told of buffers against the logs that were found in the end.
//!
//! No search is needed: the server gives the seqs, so the order is known, and everything is
//! compared with it. The cost is O(n log n) in operations, messages and records, times the number
//! of histories of a buffer, which are few. What is checked is in `findings.rs`.
//!
//! This file takes the history apart by buffers and judges the logs by themselves; `appends.rs`
//! judges what was appended, `order.rs` in which order, `slices.rs` what was read, `tails.rs` how
//! fresh it was.

use std::collections::{BTreeMap, BTreeSet};

use hbuf_core::ids::{Hash, Seq};

use super::findings::{Check, Findings};
use super::lineage::Lineage;
use super::logged::{AppendOp, FinalLog, LogHistory, ReadOp, Token};
use super::operation::{Moment, OpId, Outcome};
use super::places::{Facts, Places, Source};

/// What was judged, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogVerdict {
    /// What is wrong.
    pub findings: Findings,
    /// Buffers that were compared with their logs.
    pub buffers: u64,
    /// Messages that were acknowledged as in sync.
    pub acknowledged: u64,
    /// Messages that reads showed.
    pub shown: u64,
    /// Records of the logs.
    pub records: u64,
}

/// Judges the logs of a history.
///
/// # Panics
///
/// When an operation ends before it begins, two have the same number, an append has no message, or
/// an answer has not as many ids as there were messages, and some.
#[must_use]
pub fn check_logs(history: &LogHistory) -> LogVerdict {
    assert_sound(history);
    let mut buffers: BTreeMap<&str, Facets<'_>> = BTreeMap::new();
    for append in &history.appends {
        let facets = buffers.entry(&append.call.buffer).or_default();
        facets.appends.push(append);
    }
    for read in &history.reads {
        buffers
            .entry(&read.call.buffer)
            .or_default()
            .reads
            .push(read);
    }
    for log in &history.logs {
        buffers.entry(&log.buffer).or_default().logs.push(log);
    }
    let mut verdict = LogVerdict::default();
    for (name, facets) in buffers {
        let Some(mut judge) = Judge::new(name, facets, &mut verdict) else {
            continue;
        };
        judge.logs();
        judge.appends();
        judge.order();
        judge.reads();
        judge.tails();
    }
    verdict
}

fn assert_sound(history: &LogHistory) {
    let mut numbers = BTreeSet::new();
    let mut check = |id: OpId, begin: Moment, end: Option<Moment>| {
        assert!(
            end.is_none_or(|end| begin <= end),
            "{id} ends before it begins"
        );
        assert!(numbers.insert(id), "there are two of {id}");
    };
    for append in &history.appends {
        check(append.id, append.begin, append.outcome.end());
        let count = append.call.messages.len();
        assert!(count > 0, "{} has no message", append.id);
        let ids = append.outcome.answer().map_or(0, |it| it.ids.len());
        assert!(ids == 0 || ids == count, "{} has {ids} ids", append.id);
    }
    for read in &history.reads {
        check(read.id, read.begin, read.outcome.end());
    }
}

/// All of one buffer.
#[derive(Default)]
struct Facets<'a> {
    appends: Vec<&'a AppendOp>,
    reads: Vec<&'a ReadOp>,
    logs: Vec<&'a FinalLog>,
}

/// Appends that are one: the attempts under one token, or a single one without.
pub(super) struct Group<'a> {
    /// Those that may have had an effect, the earliest first.
    pub(super) attempts: Vec<&'a AppendOp>,
    pub(super) has_token: bool,
}

/// Where a content comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// How often it may be in the log.
    pub(super) times: u64,
    /// When it was first sent.
    pub(super) begin: Moment,
    pub(super) first: OpId,
    /// One of its appends was answered or has a token.
    pub(super) known: bool,
}

/// The judge of one buffer.
pub(super) struct Judge<'a, 'v> {
    pub(super) name: &'a str,
    pub(super) reads: Vec<&'a ReadOp>,
    pub(super) logs: Vec<&'a FinalLog>,
    /// The newest log of the in-sync set: what the buffer is in the end.
    pub(super) newest: &'a FinalLog,
    pub(super) lineage: Lineage,
    pub(super) groups: Vec<Group<'a>>,
    pub(super) sent: BTreeMap<Hash, Sent>,
    /// Where contents are in the newest log.
    pub(super) found: BTreeMap<Hash, Vec<Seq>>,
    pub(super) places: Places<'a>,
    pub(super) verdict: &'v mut LogVerdict,
}

impl<'a, 'v> Judge<'a, 'v> {
    /// None when there is no log to compare with: a finding of its own where one is needed.
    fn new(name: &'a str, facets: Facets<'a>, verdict: &'v mut LogVerdict) -> Option<Self> {
        let in_sync = facets.logs.iter().filter(|log| log.in_sync);
        let newest = in_sync.max_by_key(|log| (log.histories.len(), log.commit));
        let Some(newest) = newest.copied() else {
            let answered = |it: &&&AppendOp| it.outcome.answer().is_some();
            let promised = facets.appends.iter().find(answered);
            let promised = promised.map(|append| append.id);
            if let Some(id) = promised.or_else(|| facets.reads.first().map(|read| read.id)) {
                let what = format!("buffer {name}: no in-sync copy's log is there, and {id} is");
                verdict.findings.add(Check::AckedNeverLost, &[id], what);
            }
            return None;
        };
        let groups = groups(&facets.appends);
        let mut found: BTreeMap<Hash, Vec<Seq>> = BTreeMap::new();
        for record in newest.records.iter().filter(|record| record.is_message) {
            if let Some(content) = record.content {
                found.entry(content).or_default().push(record.seq);
            }
        }
        verdict.buffers += 1;
        Some(Self {
            name,
            sent: sent(&facets.appends, &groups),
            reads: facets.reads,
            logs: facets.logs,
            newest,
            lineage: Lineage::new(&newest.histories),
            groups,
            found,
            places: Places::default(),
            verdict,
        })
    }

    /// Adds a finding; the buffer is named in front.
    pub(super) fn find(&mut self, check: Check, operations: &[OpId], what: &str) {
        let what = format!("buffer {}: {what}", self.name);
        self.verdict.findings.add(check, operations, what);
    }

    /// The logs by themselves, and against each other.
    fn logs(&mut self) {
        let mut starts = self.newest.histories.iter();
        let first = starts.next();
        let ids: BTreeSet<_> = self.newest.histories.iter().map(|it| it.history).collect();
        let once = ids.len() == self.newest.histories.len();
        if !once || first.is_none_or(|start| start.kept != Seq::ZERO) {
            let what = format!(
                "copy {} does not state its histories once each, from the beginning on",
                self.newest.copy
            );
            self.find(Check::HistoryStatesItsLoss, &[], &what);
        }
        // The newest one first: the others are compared with it.
        let mut logs = self.logs.clone();
        logs.sort_by_key(|log| (!std::ptr::eq(*log, self.newest), &log.copy));
        for log in logs {
            self.verdict.records += log.records.len() as u64;
            self.dense(log);
            self.epochs(log);
            self.agree(log);
        }
    }

    fn dense(&mut self, log: &FinalLog) {
        let (copy, commit) = (&log.copy, log.commit);
        let mut expected = log.first;
        for record in &log.records {
            if record.seq != expected {
                let what = format!("copy {copy} has {} where {expected} comes", record.seq);
                self.find(Check::SeqDenseUnique, &[], &what);
                return;
            }
            expected = expected.next();
        }
        if expected <= commit {
            let what = format!("copy {copy} ends before {expected}, its commit is {commit}");
            self.find(Check::SeqDenseUnique, &[], &what);
        }
    }

    fn epochs(&mut self, log: &FinalLog) {
        for pair in log.records.windows(2) {
            if pair[1].epoch < pair[0].epoch {
                let (seq, now, before) = (pair[1].seq, pair[1].epoch, pair[0].epoch);
                let what = format!(
                    "copy {} has {seq} of epoch {now} behind one of epoch {before}",
                    log.copy
                );
                self.find(Check::EpochMonotonic, &[], &what);
            }
        }
    }

    /// Puts the records of a log to their places; what is not committed there may be anything.
    fn agree(&mut self, log: &'a FinalLog) {
        let known = self.newest.histories.get(..log.histories.len());
        let all = log.histories.len() == self.newest.histories.len();
        if known != Some(&log.histories) || log.histories.is_empty() || (log.in_sync && !all) {
            let (one, other) = (&log.copy, &self.newest.copy);
            let what = format!("copies {one} and {other} state different histories");
            self.find(Check::HistoryStatesItsLoss, &[], &what);
            return;
        }
        let last = log.histories.len() - 1;
        for record in &log.records {
            if record.seq > log.commit {
                break;
            }
            let facts = Facts {
                content: record.content,
                id: record.id,
                epoch: Some(record.epoch),
                is_message: record.is_message,
            };
            let place = self.lineage.place(last, record.seq);
            let added = self.places.add(place, facts, Source::Log(log), None);
            if let Err(conflict) = added {
                let (seq, copy, by) = (record.seq, &log.copy, conflict.by);
                let check = match by {
                    Source::Log(other) if std::ptr::eq(other, log) => Check::SeqDenseUnique,
                    _ => Check::PrefixAgreement,
                };
                let what = format!("copy {copy} has {} at {seq} than {by}", conflict.what);
                self.find(check, &[], &what);
            }
        }
    }
}

fn groups<'a>(appends: &[&'a AppendOp]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut by_token: BTreeMap<&Token, usize> = BTreeMap::new();
    let mut appends = appends.to_vec();
    appends.sort_by_key(|append| (append.begin, append.id));
    for append in appends {
        if matches!(append.outcome, Outcome::Failed { .. }) {
            continue;
        }
        let at = match &append.call.token {
            Some(token) => *by_token.entry(token).or_insert(groups.len()),
            None => groups.len(),
        };
        match groups.get_mut(at) {
            Some(group) => group.attempts.push(append),
            None => groups.push(Group {
                attempts: vec![append],
                has_token: append.call.token.is_some(),
            }),
        }
    }
    groups
}

fn sent(appends: &[&AppendOp], groups: &[Group<'_>]) -> BTreeMap<Hash, Sent> {
    let mut sent: BTreeMap<Hash, Sent> = BTreeMap::new();
    for append in appends {
        for content in &append.call.messages {
            let one = sent.entry(*content).or_insert(Sent {
                times: 0,
                begin: append.begin,
                first: append.id,
                known: false,
            });
            if append.begin < one.begin {
                (one.begin, one.first) = (append.begin, append.id);
            }
        }
    }
    for group in groups {
        let answered = group
            .attempts
            .iter()
            .any(|it| it.outcome.answer().is_some());
        for content in &group.attempts[0].call.messages {
            let one = sent.get_mut(content).expect("it is of an append");
            one.times += 1;
            one.known |= answered || group.has_token;
        }
    }
    sent
}
