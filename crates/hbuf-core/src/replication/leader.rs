//! The primary of a buffer: its two logs under one record of the manager, what each copy is to be
//! told next, and what the manager is asked.
//!
//! Nothing is sent by itself: [`Leader::news`] says for whom there is something to tell, and
//! whoever has a connection with room takes it ([`Leader::pull`]). So what came while the
//! connection was busy goes out as one message.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::assignment::{Alter, Assignment, Change, NodeEpoch};
use super::filling::Fills;
use super::log::Log;
use super::message::{FromCopy, ToCopy, Word};
use super::primary::{Base, Primary, Told};
use crate::ids::{Epoch, Micros, NodeId, Seq};
use crate::input::Token;
use crate::limits::{
    ASK_AGAIN_MICROS, COPY_LAG_MICROS, COPY_RECORDS_MAX, COPY_SILENT_MICROS, TAIL_READS_MAX,
};
use crate::rules::Rules;
use crate::segment::LogKind;

/// The primary's side of a buffer's replication.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    messages: Primary,
    cursors: Primary,
    lines: BTreeMap<(NodeId, LogKind), Line>,
    copies: BTreeMap<NodeId, Pace>,
    fills: Fills,
    reads: VecDeque<TailRead>,
    /// When the manager was asked last what it has not decided.
    asked: Option<Micros>,
    /// Whom it asked to be taken in last; node 0 for nobody.
    asked_in: NodeId,
}

/// What one copy was told of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Line {
    told: Told,
    /// Whoever has the connection knows that there is something to tell.
    noticed: bool,
    /// The copy owes an answer since then.
    silent_since: Option<Micros>,
    /// It was told to begin anew: nothing else is of use before it has.
    begins: bool,
}

/// How a copy keeps pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pace {
    /// It held everything that there was then.
    whole_at: Micros,
    /// Where the logs ended when this was noted: when it has come so far, it held everything then.
    mark: (Seq, Seq, Micros),
}

/// A read of the tail that waits for its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct TailRead {
    token: Token,
    round: u64,
}

/// The logs of a buffer that are replicated.
pub const LOGS: [LogKind; 2] = [LogKind::Messages, LogKind::Cursors];

impl Leader {
    /// Begins an epoch with both logs as they are.
    #[must_use]
    pub fn appointed(
        rules: &Rules,
        me: NodeId,
        assignment: &Arc<Assignment>,
        messages: Log,
        cursors: Log,
    ) -> Self {
        Self {
            messages: Primary::appointed(rules, me, Arc::clone(assignment), messages),
            cursors: Primary::appointed(rules, me, Arc::clone(assignment), cursors),
            lines: BTreeMap::new(),
            copies: BTreeMap::new(),
            fills: Fills::default(),
            reads: VecDeque::new(),
            asked: None,
            asked_in: NodeId(0),
        }
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.messages.epoch()
    }

    /// The manager's record that it goes by.
    #[must_use]
    pub const fn assignment(&self) -> &Arc<Assignment> {
        self.messages.assignment()
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.messages.node()
    }

    /// Whether it may append, as far as it knows (rule 10).
    #[must_use]
    pub const fn appends(&self) -> bool {
        self.messages.appends() && self.cursors.appends()
    }

    /// One of the logs as it is.
    #[must_use]
    pub const fn log(&self, log: LogKind) -> &Log {
        match log {
            LogKind::Cursors => self.cursors.log(),
            _ => self.messages.log(),
        }
    }

    /// One of the logs, to be told what became of it.
    pub(crate) const fn primary(&mut self, log: LogKind) -> &mut Primary {
        match log {
            LogKind::Cursors => &mut self.cursors,
            _ => &mut self.messages,
        }
    }

    /// How far the whole in-sync set holds a log.
    #[must_use]
    pub fn agreed(&self, rules: &Rules, log: LogKind) -> Seq {
        match log {
            LogKind::Cursors => self.cursors.agreed(rules),
            _ => self.messages.agreed(rules),
        }
    }

    /// The manager has decided.
    pub fn on_decided(&mut self, assignment: &Arc<Assignment>) {
        self.messages.on_decided(Arc::clone(assignment));
        self.cursors.on_decided(Arc::clone(assignment));
        if self.messages.proposal().is_none() {
            self.asked = None;
        }
        let copies = &self.messages.assignment().copies;
        self.copies.retain(|node, _| copies.contains(node));
        self.lines.retain(|(node, _), _| copies.contains(node));
    }

    /// What a copy says of a log.
    pub fn on_answer(&mut self, now: Micros, log: LogKind, from: NodeId, answer: FromCopy) {
        self.primary(log).on_answer(from, answer);
        if log == LogKind::Messages {
            self.fills.on_answer(from, answer.word);
        }
        let held = (
            self.messages.holds(from).unwrap_or_default(),
            self.cursors.holds(from).unwrap_or_default(),
        );
        let ends = (self.messages.log().end, self.cursors.log().end);
        // It may answer what was said before the last message, which got lost.
        let owes = self.primary(log).owes(from);
        if let Some(line) = self.lines.get_mut(&(from, log)) {
            line.silent_since = owes.then_some(now);
            line.begins = false;
            if matches!(answer.word, Word::Gap { .. }) {
                // What it was told came before what it should have followed.
                line.told = Told::default();
            }
        }
        let pace = self.pace(now, from);
        if held.0 >= pace.mark.0 && held.1 >= pace.mark.1 {
            pace.whole_at = pace.mark.2;
            pace.mark = (ends.0, ends.1, now);
        }
        if held == ends {
            pace.whole_at = now;
        }
    }

    fn pace(&mut self, now: Micros, node: NodeId) -> &mut Pace {
        let ends = (self.messages.log().end, self.cursors.log().end);
        self.copies.entry(node).or_insert(Pace {
            whole_at: now,
            mark: (ends.0, ends.1, now),
        })
    }

    /// The connection to a copy was lost: what it has not answered is sent again.
    pub fn on_silence(&mut self, node: NodeId) {
        LOGS.into_iter().for_each(|log| self.say_again(node, log));
        self.fills.on_silence(node);
    }

    fn say_again(&mut self, node: NodeId, log: LogKind) {
        self.primary(log).on_silence(node);
        self.lines.remove(&(node, log));
    }

    /// For whom there is something to tell of which log, and nobody knows yet.
    pub fn news(&mut self) -> Vec<(NodeId, LogKind)> {
        let assignment = Arc::clone(self.messages.assignment());
        let mut found = Vec::new();
        if assignment.copies.len() < 2 || !self.appends() {
            return found;
        }
        for node in assignment.copies.iter().copied() {
            for log in LOGS {
                let primary = if log == LogKind::Cursors {
                    &self.cursors
                } else {
                    &self.messages
                };
                let line = self.lines.get(&(node, log)).copied().unwrap_or_default();
                let first = !self.lines.contains_key(&(node, log));
                let new = first || primary.would_tell(node) != line.told;
                if node == primary.node() || line.noticed || line.begins || !new {
                    continue;
                }
                let line = Line {
                    noticed: true,
                    ..line
                };
                self.lines.insert((node, log), line);
                found.push((node, log));
            }
        }
        found
    }

    /// What a copy is told next of a log, now that its connection has room.
    pub fn pull(
        &mut self,
        now: Micros,
        node: NodeId,
        log: LogKind,
        base: Option<Base>,
    ) -> Option<ToCopy> {
        let primary = self.primary(log);
        let mut message = primary.next_for(node, COPY_RECORDS_MAX, base);
        if let (Some(ToCopy::Lead { ended, .. }), LogKind::Cursors) = (&mut message, log) {
            // A forced election says what is kept of the messages; the cursors go with the copy.
            for end in ended {
                end.kept_through = Seq::ZERO;
            }
        }
        let told = primary.told(node);
        let Some(message) = message else {
            // It is no copy any more. If it is one again, it was told nothing.
            self.lines.remove(&(node, log));
            return None;
        };
        let line = self.lines.entry((node, log)).or_default();
        line.noticed = false;
        line.begins = matches!(message, ToCopy::Begin { .. });
        line.told = match message {
            ToCopy::Mark { .. } => line.told.of_mark(told),
            _ => told,
        };
        line.silent_since.get_or_insert(now);
        self.pace(now, node);
        Some(message)
    }

    /// To whom there is something to send of before its first record, and nobody knows yet.
    pub(crate) fn fills(&mut self) -> Vec<NodeId> {
        // This is asked behind every input of a buffer, of which most have one copy.
        match self.appends() && self.assignment().copies.len() > 1 {
            true => self.fills.news(&self.messages),
            false => Vec::new(),
        }
    }

    /// Where a copy begins that lacks something of before.
    pub(crate) fn begins_late(&self, node: NodeId) -> Option<Seq> {
        self.messages.begins_late(node)
    }

    /// What a copy is sent next of a segment of before its first record.
    pub(crate) fn pull_fill(
        &mut self,
        now: Micros,
        node: NodeId,
        (first, records): (Seq, u64),
    ) -> Option<ToCopy> {
        self.fills.pull(now, node, (first, records), &self.messages)
    }

    /// Begins a read of the tail (rule 11); `false` when too many wait.
    pub fn read_tail(&mut self, token: Token) -> bool {
        if self.reads.len() >= TAIL_READS_MAX {
            return false;
        }
        let round = self.messages.ask_round();
        self.reads.push_back(TailRead { token, round });
        true
    }

    /// The reads of the tail whose rounds are done.
    pub fn tails(&mut self, rules: &Rules) -> Vec<Token> {
        let mut done = Vec::new();
        while let Some(read) = self.reads.front()
            && self.messages.round_is_done(rules, read.round)
        {
            done.push(read.token);
            self.reads.pop_front();
        }
        done
    }

    /// The reads that wait, for they will never be done here.
    pub fn give_up_reads(&mut self) -> Vec<Token> {
        self.reads.drain(..).map(|read| read.token).collect()
    }

    /// The clock went back to `now`: nothing is waited for because it was ahead.
    pub fn on_clock_back(&mut self, now: Micros) {
        for line in self.lines.values_mut() {
            line.silent_since = line.silent_since.map(|since| since.min(now));
        }
        for pace in self.copies.values_mut() {
            pace.whole_at = pace.whole_at.min(now);
            pace.mark.2 = pace.mark.2.min(now);
        }
        self.fills.on_clock_back(now);
        self.asked = self.asked.map(|asked| asked.min(now));
    }

    /// When [`Self::on_time`] has something to do next.
    #[must_use]
    pub fn due(&self) -> Option<Micros> {
        let silent = |line: &Line| line.silent_since.map(|at| at.plus(COPY_SILENT_MICROS));
        let silent = self.lines.values().filter_map(silent);
        let behind = self.copies.iter().filter_map(|(node, pace)| {
            let member = self.assignment().in_sync.contains_key(node);
            member.then(|| pace.whole_at.plus(COPY_LAG_MICROS))
        });
        let asked = self.asked.map(|at| at.plus(ASK_AGAIN_MICROS));
        let fills = self.fills.due();
        silent.chain(behind).chain(asked).chain(fills).min()
    }

    /// Time passed: who is silent is told again, and the manager is asked to take out whoever keeps
    /// the others waiting (rule 4), to take in whoever has caught up (rule 5), and to take back
    /// what it has not decided.
    pub fn on_time(&mut self, rules: &Rules, now: Micros) -> Option<Alter> {
        let silent = |line: &Line| {
            let since = line.silent_since;
            since.is_some_and(|since| now.since(since) >= COPY_SILENT_MICROS)
        };
        let silent: Vec<(NodeId, LogKind)> = self
            .lines
            .iter()
            .filter(|(_, line)| silent(line))
            .map(|(line, _)| *line)
            .collect();
        for (node, log) in silent {
            self.say_again(node, log);
        }
        self.fills.on_time(now);
        if let Some(proposal) = self.messages.proposal() {
            // It was lost, or refused: whoever was to join has started anew, perhaps. Taken back,
            // it can be asked anew, once the manager says that it will never come to be.
            let wait = self.asked.map_or(u64::MAX, |at| now.since(at));
            let change = Change::Nothing;
            let back = Alter { change, ..proposal };
            return (wait >= ASK_AGAIN_MICROS).then(|| self.asks(now, back));
        }
        // Who joins comes last, for that may be refused again and again.
        let alter = self.who_leaves(now).or_else(|| self.who_holds_more());
        let alter = alter.or_else(|| self.who_joins(rules))?;
        Some(self.asks(now, alter))
    }

    fn asks(&mut self, now: Micros, alter: Alter) -> Alter {
        self.asked = Some(now);
        alter
    }

    /// Both logs count whoever is being added. The manager may refuse one again and again, as one
    /// whose node leaves: the others come first then.
    fn who_joins(&mut self, rules: &Rules) -> Option<Alter> {
        let assignment = Arc::clone(self.messages.assignment());
        let outside = assignment.copies.iter().copied();
        let outside = outside.filter(|node| !assignment.in_sync.contains_key(node));
        let mut outside: Vec<NodeId> = outside.collect();
        outside.sort_by_key(|node| (*node <= self.asked_in, *node));
        outside.into_iter().find_map(|node| {
            let (there, here) = (
                self.cursors.may_add(rules, node)?,
                self.messages.may_add(rules, node)?,
            );
            // What is known of one log may be of a life before, whose disk held what this one does
            // not.
            let one_life = there.node_epoch == here.node_epoch;
            let alter = one_life.then(|| self.messages.ask_add(rules, node))??;
            self.cursors.proposes(alter);
            self.asked_in = node;
            Some(alter)
        })
    }

    /// A member that began near the tail holds all by now.
    fn who_holds_more(&mut self) -> Option<Alter> {
        let members = self.messages.assignment().in_sync.keys().copied();
        let alter = members
            .collect::<Vec<_>>()
            .into_iter()
            .find_map(|node| self.messages.ask_holds(node))?;
        self.cursors.proposes(alter);
        Some(alter)
    }

    fn who_leaves(&mut self, now: Micros) -> Option<Alter> {
        let ends = (self.messages.log().end, self.cursors.log().end);
        for (node, pace) in &mut self.copies {
            let held = (self.messages.holds(*node), self.cursors.holds(*node));
            let owes = |log| {
                let line = self.lines.get(&(*node, log));
                line.is_some_and(|line| line.silent_since.is_some())
            };
            if held == (Some(ends.0), Some(ends.1)) && !LOGS.into_iter().any(owes) {
                (pace.whole_at, pace.mark) = (now, (ends.0, ends.1, now));
            }
        }
        let late = |(node, pace): (&NodeId, &Pace)| {
            (now.since(pace.whole_at) >= COPY_LAG_MICROS).then_some(*node)
        };
        let late: Vec<NodeId> = self.copies.iter().filter_map(late).collect();
        late.into_iter().find_map(|node| {
            let alter = self.messages.ask_remove(node)?;
            self.cursors.proposes(alter);
            Some(alter)
        })
    }

    /// The registration under which a copy spoke last.
    #[must_use]
    pub fn registration(&self, node: NodeId) -> Option<NodeEpoch> {
        self.messages.registration(node)
    }
}
