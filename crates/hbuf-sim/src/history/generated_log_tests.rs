//! Long histories of a buffer that is right: no check may say a word. Then one thing is bent, and
//! the check that is named for it must speak.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hbuf_core::ids::{Epoch, Hash, Seq, Uuid};

use super::*;
use crate::draw::{Draw, Draws, Purpose};

/// A buffer that does everything right at once, and what clients are told of it.
struct Buffer {
    draws: Draws,
    drawn: u64,
    records: Vec<LogRecord>,
    first: Seq,
    gone: BTreeSet<Seq>,
    histories: Vec<HistoryStart>,
    epoch: Epoch,
    tokens: BTreeMap<u64, Stored>,
    /// The first and last seq of each append.
    batches: Vec<(Seq, Seq)>,
    /// What the copy that is not in sync knew last.
    stale: FinalLog,
    seen_by_stale: u64,
    history: LogHistory,
    free: [u64; 8],
    /// Appends whose replies were lost and which take effect later.
    late: VecDeque<Append>,
    /// Appends to be tried again.
    again: VecDeque<Append>,
}

fn history_id(number: usize) -> Uuid {
    Uuid([u8::try_from(number).unwrap() + 1; 16])
}

fn digest(number: u64, kind: u8) -> Hash {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Hash(bytes)
}

impl Buffer {
    fn new(seed: u64) -> Self {
        let histories = vec![HistoryStart {
            history: history_id(0),
            kept: Seq::ZERO,
        }];
        let stale = FinalLog {
            copy: "n3".to_owned(),
            buffer: "orders".to_owned(),
            in_sync: false,
            histories: histories.clone(),
            first: Seq::FIRST,
            commit: Seq::ZERO,
            gone: BTreeSet::new(),
            records: Vec::new(),
        };
        Self {
            draws: Draws::new(seed),
            drawn: 0,
            records: Vec::new(),
            first: Seq::FIRST,
            gone: BTreeSet::new(),
            histories,
            epoch: Epoch(1),
            tokens: BTreeMap::new(),
            batches: Vec::new(),
            stale,
            seen_by_stale: 0,
            history: LogHistory::default(),
            free: [0; 8],
            late: VecDeque::new(),
            again: VecDeque::new(),
        }
    }

    fn draw(&mut self) -> Draw {
        self.drawn += 1;
        self.draws.draw(Purpose::Workload, 0, self.drawn)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw().below(bound)
    }

    fn commit(&self) -> Seq {
        Seq(self.first.0 - 1 + self.records.len() as u64)
    }

    fn push(&mut self, content: Option<Hash>, is_message: bool) -> Seq {
        let seq = self.commit().next();
        self.records.push(LogRecord {
            seq,
            epoch: self.epoch,
            content,
            id: Some(digest(seq.0 * 100 + self.histories.len() as u64, 2)),
            is_message,
        });
        seq
    }

    /// Stores an append, or finds it stored.
    fn store(&mut self, append: &Append) -> Stored {
        let key = match &append.token {
            Some(Token::Producer { number, .. }) => Some(*number),
            _ => None,
        };
        if let Some(stored) = key.and_then(|key| self.tokens.get(&key)) {
            return stored.clone();
        }
        let seqs: Vec<Seq> = append
            .messages
            .iter()
            .map(|it| self.push(Some(*it), true))
            .collect();
        self.batches.push((seqs[0], *seqs.last().unwrap()));
        let at = |seq: &Seq| self.records[usize::try_from(seq.0 - self.first.0).unwrap()].id;
        let stored = Stored {
            level: Level::InSync,
            first: seqs[0],
            epoch: self.epoch,
            history: self.histories.last().unwrap().history,
            ids: seqs.iter().filter_map(at).collect(),
        };
        if let Some(key) = key {
            self.tokens.insert(key, stored.clone());
        }
        stored
    }

    /// A client that is free, and when its operation around `point` begins and ends.
    fn span(&mut self, step: u64) -> (ClientId, Moment, Moment, OpId) {
        let (client, point) = (step % 8, step * 10 + 40);
        let at = usize::try_from(client).unwrap();
        let begin = (point - self.below(30)).max(self.free[at]);
        let end = point + self.below(30);
        self.free[at] = end;
        let client = ClientId(u32::try_from(client).unwrap());
        (client, Moment(begin), Moment(end), OpId(step))
    }

    fn new_append(&mut self, step: u64) -> Append {
        let count = 1 + self.below(3) * self.below(2);
        let token = (self.below(10) < 4).then(|| Token::Producer {
            id: "p".to_owned(),
            epoch: 0,
            number: step,
        });
        Append {
            buffer: "orders".to_owned(),
            token,
            messages: (0..count).map(|at| digest(step * 10 + at, 1)).collect(),
        }
    }

    fn append(&mut self, step: u64) {
        let (client, begin, end, id) = self.span(step);
        let again = self.again.pop_front().filter(|_| self.histories.len() < 9);
        let call = again.unwrap_or_else(|| self.new_append(step));
        let outcome = match self.below(20) {
            0 if call.token.is_none() => Outcome::Failed { end },
            1..4 => {
                match self.below(4) {
                    0 => {}
                    1 => self.late.push_back(call.clone()),
                    _ => drop(self.store(&call)),
                }
                if call.token.is_some() {
                    self.again.push_back(call.clone());
                }
                Outcome::Unknown
            }
            kind => {
                let mut answer = self.store(&call);
                answer.level = match kind {
                    4 => Level::Local,
                    5 => Level::Framed,
                    _ => Level::InSync,
                };
                Outcome::Answered { end, answer }
            }
        };
        self.history.appends.push(Operation {
            id,
            client,
            begin,
            call,
            outcome,
        });
    }

    fn read(&mut self, step: u64) {
        let (client, begin, end, id) = self.span(step);
        let commit = self.commit();
        let any = self.below(3) == 0;
        let tail = match any {
            true => {
                // A copy that lags, and catches up by and by; never behind what it took over.
                let kept = self.histories.last().unwrap().kept.0;
                let seen = self.seen_by_stale.clamp(kept, commit.0);
                self.seen_by_stale = seen + self.below(commit.0 - seen + 1);
                Seq(self.seen_by_stale)
            }
            false => commit,
        };
        let after = Seq(self.below(tail.0 + 1));
        let limit = self.below(40);
        let through = Seq((after.0 + limit)
            .max(self.first.0 - 1)
            .clamp(after.0, tail.0.max(after.0)));
        let filtered = self.below(8) == 0;
        let at = |seq: Seq| usize::try_from(seq.0.saturating_sub(self.first.0 - 1)).unwrap();
        let records = &self.records[at(after)..at(through)];
        let records = records.iter().filter(|it| it.is_message);
        let messages = records.filter(|it| !filtered || it.seq.0 % 3 == 0);
        let messages = messages.map(|it| ShownMessage {
            seq: it.seq,
            content: it.content,
            id: it.id,
        });
        let answer = Shown {
            from: any.then(|| "n2".to_owned()),
            history: self.histories.last().unwrap().history,
            through,
            tail: Some(tail),
            messages: messages.collect(),
        };
        self.history.reads.push(Operation {
            id,
            client,
            begin,
            call: Read {
                buffer: "orders".to_owned(),
                after,
                freshness: if any {
                    Freshness::Any
                } else {
                    Freshness::Linearizable
                },
                filtered,
            },
            outcome: Outcome::Answered { end, answer },
        });
    }

    /// The end of the log is lost, and a new history says so.
    fn lose(&mut self) {
        let lost = usize::try_from(self.below(6)).unwrap();
        self.stale = self.log("n3", false);
        self.records.truncate(self.records.len() - lost);
        // A batch is lost whole.
        while self.is_half() {
            self.records.pop();
        }
        self.stale.commit = self.commit();
        self.end_history();
    }

    /// Whether a batch begins within the log and ends behind it.
    fn is_half(&self) -> bool {
        let end = self.commit();
        let mut batches = self.batches.iter();
        batches.any(|(first, last)| *first <= end && end < *last)
    }

    fn end_history(&mut self) {
        let kept = self.commit();
        self.tokens.retain(|_, stored| stored.first <= kept);
        self.batches.retain(|(_, last)| *last <= kept);
        self.gone.retain(|seq| *seq <= kept);
        let history = history_id(self.histories.len());
        self.histories.push(HistoryStart { history, kept });
        self.epoch = Epoch(self.epoch.0 + 1);
        self.seen_by_stale = 0;
    }

    fn log(&self, copy: &str, in_sync: bool) -> FinalLog {
        FinalLog {
            copy: copy.to_owned(),
            buffer: "orders".to_owned(),
            in_sync,
            histories: self.histories.clone(),
            first: self.first,
            commit: self.commit(),
            gone: self.gone.clone(),
            records: self.records.clone(),
        }
    }

    fn erase(&mut self) {
        if let Some(last) = self.records.len().checked_sub(1) {
            let at = usize::try_from(self.below(last as u64 + 1)).unwrap();
            let record = &mut self.records[at];
            if record.is_message {
                record.content = None;
                self.gone.insert(record.seq);
            }
        }
    }

    fn step(&mut self, step: u64) {
        match self.below(200) {
            0..120 => self.append(step),
            120..190 => self.read(step),
            190..194 => drop(self.push(None, false)),
            194..197 => self.erase(),
            197 if self.histories.len() < 6 && self.records.len() > 20 => self.lose(),
            198 if self.records.len() > 60 => {
                let count = self.below(20);
                self.records.drain(..usize::try_from(count).unwrap());
                self.first = self.first.plus(count);
            }
            _ => {
                if let Some(append) = self.late.pop_front() {
                    self.store(&append);
                }
            }
        }
    }
}

pub(super) fn generated(seed: u64, steps: u64) -> LogHistory {
    let mut buffer = Buffer::new(seed);
    for step in 0..steps {
        buffer.step(step);
    }
    let logs = [
        buffer.log("n1", true),
        buffer.log("n2", true),
        buffer.stale.clone(),
    ];
    buffer.history.logs = logs.to_vec();
    buffer.history
}

#[test]
fn right_histories_pass() {
    let (mut histories, mut gone, mut dropped, mut unknown) = (0, 0, 0, 0);
    for seed in 0..80 {
        let history = generated(seed, 600);
        let verdict = check_logs(&history);
        assert!(
            verdict.findings.is_empty(),
            "seed {seed}: {:#?}",
            verdict.findings.told
        );
        assert!(
            verdict.acknowledged > 100 && verdict.shown > 100,
            "seed {seed}"
        );
        let log = &history.logs[0];
        histories += log.histories.len() - 1;
        gone += log.gone.len();
        dropped += usize::from(log.first > Seq::FIRST);
        let lost = |it: &&AppendOp| it.outcome == Outcome::Unknown;
        unknown += history.appends.iter().filter(lost).count();
    }
    let counts = [histories, gone, dropped, unknown];
    assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
}

#[test]
fn a_long_right_history_passes() {
    let verdict = check_logs(&generated(1_000, 20_000));
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings.told);
    assert!(verdict.records > 10_000, "{verdict:?}");
}

/// What is bent in the logs, and the check that it breaks.
type Bend = (Check, fn(&mut Vec<LogRecord>));

const BENDS: [Bend; 4] = [
    (Check::AckedNeverLost, |records| {
        records.pop();
    }),
    (Check::SeqDenseUnique, |records| {
        let middle = records.len() / 2;
        records.remove(middle);
    }),
    (Check::NoDupAppend, |records| {
        let mut again = records
            .iter()
            .rev()
            .find(|it| it.content.is_some())
            .unwrap()
            .clone();
        again.seq = records.last().unwrap().seq.next();
        records.push(again);
    }),
    (Check::NothingFromNowhere, |records| {
        let mut strange = records.last().unwrap().clone();
        strange.content = Some(digest(u64::MAX, 1));
        strange.is_message = true;
        strange.seq = strange.seq.next();
        records.push(strange);
    }),
];

#[test]
fn each_bend_of_a_long_history_is_found_by_its_check() {
    for (check, bend) in BENDS {
        let mut found = 0;
        for seed in 0..12 {
            let mut history = generated(seed, 600);
            for log in &mut history.logs[..2] {
                bend(&mut log.records);
                log.commit = log.records.last().unwrap().seq;
            }
            let findings = check_logs(&history).findings;
            found += u32::from(findings.counts.contains_key(&check));
        }
        // The last record may be none that was acknowledged.
        assert!(found >= 6, "{check}: {found}");
    }
}
