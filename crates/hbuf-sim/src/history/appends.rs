//! Judges appends: what was acknowledged is there once and as it was sent, what was refused is not,
//! and of what nobody knows it is there whole or not at all.

use std::collections::BTreeSet;

use hbuf_core::ids::{Hash, Seq};

use super::findings::Check;
use super::lineage::Place;
use super::log::{Group, Judge};
use super::logged::{AppendOp, FinalLog, Level, Stored};
use super::operation::OpId;
use super::places::{Facts, Source};

impl<'a> Judge<'a, '_> {
    pub(super) fn appends(&mut self) {
        let groups = std::mem::take(&mut self.groups);
        for (number, group) in groups.iter().enumerate() {
            for append in &group.attempts {
                if let Some(stored) = append.outcome.answer() {
                    self.stated(append, stored);
                    if stored.level == Level::InSync {
                        self.acknowledged(number, append, stored);
                    }
                }
            }
            self.once(group);
            if self.acked_places(group).is_empty() {
                self.whole(group);
            }
        }
        self.groups = groups;
        for log in self.logs.clone() {
            self.nothing_else(log);
        }
        self.as_often_as_sent();
    }

    fn stated(&mut self, append: &AppendOp, stored: &Stored) {
        if self.lineage.number(stored.history).is_none() {
            let history = stored.history;
            let what = format!("{append}; its history {history} is not stated by the log");
            self.find(Check::HistoryStatesItsLoss, &[append.id], &what);
        }
    }

    /// The messages of an acknowledged append are at their places, and in every in-sync log.
    fn acknowledged(&mut self, group: usize, append: &'a AppendOp, stored: &Stored) {
        let Some(history) = self.lineage.number(stored.history) else {
            return;
        };
        let messages = &append.call.messages;
        self.verdict.acknowledged += messages.len() as u64;
        for (at, content) in (0_usize..).zip(messages) {
            let seq = stored.first.plus(at as u64);
            let facts = Facts {
                content: Some(*content),
                id: stored.ids.get(at).copied(),
                epoch: Some(stored.epoch),
                is_message: true,
            };
            let place = self.lineage.place(history, seq);
            let added = self
                .places
                .add(place, facts, Source::Ack(append), Some(group));
            if let Err(conflict) = added {
                let check = match conflict.by {
                    Source::Log(_) if conflict.group.is_none_or(|other| other == group) => {
                        Check::BytesEqual
                    }
                    _ => Check::SeqDenseUnique,
                };
                let what = format!("{append}; at {seq} {} has {}", conflict.by, conflict.what);
                let operations: Vec<_> = conflict.by.operation().into_iter().collect();
                self.find(check, &[&operations[..], &[append.id]].concat(), &what);
            }
        }
        let last = stored.first.plus(messages.len() as u64 - 1);
        for log in self.logs.clone().into_iter().filter(|log| log.in_sync) {
            self.kept(append, history, (stored.first, last), log);
        }
    }

    fn kept(
        &mut self,
        append: &AppendOp,
        history: usize,
        (first, last): (Seq, Seq),
        log: &FinalLog,
    ) {
        let missing = |seq: &Seq| {
            let there = *seq < log.first || log.record(*seq).is_some();
            self.lineage.survives(self.lineage.place(history, *seq))
                && (*seq > log.commit || !there)
        };
        let Some(seq) = (first.0..=last.0).map(Seq).find(missing) else {
            return;
        };
        let (copy, commit) = (&log.copy, log.commit);
        let mut what = format!(
            "{append}; copy {copy} is in sync, lacks {seq} and has committed through {commit}"
        );
        let check = match history == self.lineage.last() {
            true => Check::AckedNeverLost,
            false => {
                what.push_str(", and no later history states that it is lost");
                Check::HistoryStatesItsLoss
            }
        };
        self.find(check, &[append.id], &what);
    }

    /// Where the group was acknowledged to be, each place with the attempt that was told so first.
    pub(super) fn acked_places(&self, group: &Group<'a>) -> Vec<(Place, &'a AppendOp)> {
        let mut places: Vec<(Place, &AppendOp)> = Vec::new();
        for append in &group.attempts {
            let stored = append.outcome.answer();
            let Some(stored) = stored.filter(|stored| stored.level == Level::InSync) else {
                continue;
            };
            if let Some(history) = self.lineage.number(stored.history) {
                places.push((self.lineage.place(history, stored.first), append));
            }
        }
        places.sort_by_key(|(place, append)| (*place, append.outcome.end(), append.id));
        places.dedup_by_key(|(place, _)| *place);
        places
    }

    /// A repeated append gets the place of the first one, unless that was lost in between.
    fn once(&mut self, group: &Group<'a>) {
        for pair in self.acked_places(group).windows(2) {
            let [((from, seq), one), ((to, _), other)] = pair else {
                unreachable!("windows of two have two");
            };
            if from == to || self.lineage.taken_over(*from, *seq, *to) >= *seq {
                let what = format!("one append was answered twice, differently: {one}; {other}");
                self.find(Check::NoDupAppend, &[one.id, other.id], &what);
            }
        }
    }

    /// Where an append without an acknowledgement is in the log, if it is there and can be told
    /// from all others: the seq that its first message has or had.
    pub(super) fn located(&self, group: &Group<'_>) -> Option<Seq> {
        let mut numbered = (0_u64..).zip(&group.attempts[0].call.messages);
        numbered.find_map(|(at, content)| {
            let first = self.only(content)?.0.checked_sub(at)?;
            (first > 0).then_some(Seq(first))
        })
    }

    /// The seq of a content that was sent once and is in the log once.
    fn only(&self, content: &Hash) -> Option<Seq> {
        let once = self.sent.get(content).is_some_and(|sent| sent.times == 1);
        let found = self.found.get(content).map(Vec::as_slice);
        match found {
            Some([seq]) if once => Some(*seq),
            _ => None,
        }
    }

    /// What is there of an append that was not acknowledged is all of it, in one piece, and where a
    /// lesser answer said.
    fn whole(&mut self, group: &Group<'a>) {
        let (append, messages) = (group.attempts[0], &group.attempts[0].call.messages);
        let Some(first) = self.located(group) else {
            let part = messages.iter().find_map(|content| self.only(content));
            if let Some(seq) = part {
                let what = format!("{append}; a part of it is at {seq}, too early for the rest");
                self.find(Check::BatchAllOrNothing, &[append.id], &what);
            }
            return;
        };
        let log = self.newest;
        let wrong = (0_u64..).zip(messages).find(|(at, content)| {
            let seq = first.plus(*at);
            let unsure = self.sent.get(content).is_none_or(|sent| sent.times != 1);
            let gone = log.is_gone(seq);
            seq >= log.first && !gone && !unsure && self.only(content) != Some(seq)
        });
        if let Some((at, _)) = wrong {
            let seq = first.plus(at);
            let what =
                format!("{append}; a part of it is in the log from {first} on, {seq} is not");
            self.find(Check::BatchAllOrNothing, &[append.id], &what);
        }
        let last = first.plus(messages.len() as u64 - 1);
        if first <= log.commit && log.commit < last {
            let commit = log.commit;
            let what = format!("{append}; it is at {first} to {last}, and the commit is {commit}");
            self.find(Check::BatchAllOrNothing, &[append.id], &what);
        }
        if let ([append], Some(stored)) = (&group.attempts[..], append.outcome.answer()) {
            let told = self.lineage.number(stored.history);
            let told = told.map(|history| self.lineage.place(history, stored.first));
            let there = self.lineage.place(self.lineage.last(), first);
            if told.is_some_and(|told| told != there) {
                let what = format!("{append}; it is at {first}");
                self.find(Check::SeqAsTold, &[append.id], &what);
            }
        }
    }

    /// Each content of a log was sent, and not only in vain.
    fn nothing_else(&mut self, log: &FinalLog) {
        for record in log.records.iter().filter(|record| record.is_message) {
            let Some(content) = record.content else {
                continue;
            };
            let (seq, copy) = (record.seq, &log.copy);
            match self.sent.get(&content).copied() {
                None => {
                    let what = format!("copy {copy} has at {seq} what nobody sent: {content}");
                    self.find(Check::NothingFromNowhere, &[], &what);
                }
                Some(sent) if sent.times == 0 => {
                    let what = format!("{} failed, and copy {copy} has it at {seq}", sent.first);
                    self.find(Check::FailedNeverThere, &[sent.first], &what);
                }
                Some(_) => {}
            }
        }
    }

    fn as_often_as_sent(&mut self) {
        let mut wrong: Vec<(Check, BTreeSet<OpId>, String)> = Vec::new();
        for (content, seqs) in &self.found {
            let sent = self.sent.get(content).filter(|sent| sent.times > 0);
            let Some(sent) = sent.filter(|sent| (seqs.len() as u64) > sent.times) else {
                continue;
            };
            let check = match sent.known {
                true => Check::NoDupAppend,
                false => Check::UnknownIsMaybe,
            };
            let seqs: Vec<_> = seqs.iter().map(ToString::to_string).collect();
            let (first, times, seqs) = (sent.first, sent.times, seqs.join(", "));
            let what = format!("a message of {first}, sent {times} times, is in the log at {seqs}");
            wrong.push((check, BTreeSet::from([first]), what));
        }
        for (check, operations, what) in wrong {
            self.find(check, &operations.into_iter().collect::<Vec<_>>(), &what);
        }
    }
}
