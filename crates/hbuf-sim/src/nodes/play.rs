//! A scenario as it is played: which step is due when, what a `when` waits for, and when everything
//! has come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use hbuf_core::ids::{NodeId, Seq};
use hbuf_core::record::Kind as RecordKind;
use hbuf_core::segment::LogKind;

use super::expect::Verdict;
use super::files::LogId;
use super::reads::each_message;
use super::{Due, World};
use crate::kinds::Kind;
use crate::scenario::{Action, Condition, NodeRef, Source, When};
use crate::swarm::Opt;
use crate::tracefile::EventId;

/// How often it is looked whether everything has come to rest, in microseconds.
const LOOK_US: u64 = 10_000;

/// A scenario that is played.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) source: Arc<Source>,
    /// When each step was first taken.
    taken: Vec<Option<u64>>,
    /// Steps that wait for a condition. Each is taken once.
    waiting: Vec<usize>,
    /// The primaries that buffers had when it was first looked whether they change.
    primaries: BTreeMap<usize, NodeId>,
    /// Texts that were counted: in which buffer, how far, how many.
    counted: BTreeMap<(usize, String), (Seq, u64)>,
    pub(super) verdicts: Vec<Verdict>,
    /// When everything had come to rest, behind the first phase.
    pub(super) rested_at: Option<u64>,
    /// Lines whose action this world cannot play, and the action.
    pub(super) unplayed: Vec<(usize, String)>,
}

impl Play {
    pub(super) fn new(source: Arc<Source>) -> Self {
        let steps = &source.scenario.steps;
        let waits = |at: &usize| matches!(steps[*at].when, When::If(_));
        Self {
            taken: vec![None; steps.len()],
            waiting: (0..steps.len()).filter(waits).collect(),
            source,
            primaries: BTreeMap::new(),
            counted: BTreeMap::new(),
            verdicts: Vec::new(),
            rested_at: None,
            unplayed: Vec::new(),
        }
    }

    /// Steps that never came: what a `when` waited for did not happen, or what was to be before
    /// did not.
    pub(super) fn never(&self) -> Vec<(usize, String)> {
        let steps = self.source.scenario.steps.iter().enumerate();
        let never = steps.filter(|(at, _)| self.taken[*at].is_none());
        never
            .map(|(at, step)| (self.source.step_lines[at], step.to_string()))
            .collect()
    }
}

impl World {
    /// Everything with a time of its own gets its place in the queue.
    pub(super) fn begin_play(&mut self, root: EventId) {
        let Some(play) = &self.play else {
            return;
        };
        let source = Arc::clone(&play.source);
        for (at, step) in source.scenario.steps.iter().enumerate() {
            match step.when {
                When::At(time) | When::Every { from: time, .. } => {
                    self.plan_step(root, time, at);
                }
                When::After(_) | When::If(_) => {}
            }
        }
        for (at, time) in super::expect::timed(&source.scenario) {
            self.due_as(root, EventId::default(), time, Due::Judge(at));
        }
    }

    /// What a step will be has the same id whatever came before.
    fn plan_step(&mut self, cause: EventId, time: u64, at: usize) {
        let Some(play) = &self.play else {
            return;
        };
        let source = Arc::clone(&play.source);
        let eid = self.reserve_act(time, &source.scenario.steps[at].action);
        self.due_as(cause, eid, time, Due::Step(at));
    }

    /// A step's time has come.
    pub(super) fn take_step(&mut self, cause: EventId, eid: EventId, at: usize) {
        let Some(play) = &self.play else {
            return;
        };
        let (source, now) = (Arc::clone(&play.source), self.t);
        let step = &source.scenario.steps[at];
        if let Action::Client(ask) = &step.action
            && let Some(until) = self.paused(&ask.client)
        {
            // The process stands still; it does this when it goes on.
            self.due_as(cause, eid, until, Due::Step(at));
            return;
        }
        let Some(play) = &mut self.play else {
            return;
        };
        if play.taken[at].replace(now).is_none()
            && let Some(next) = source.scenario.steps.get(at + 1)
            && let When::After(after) = next.when
        {
            self.plan_step(cause, now + after, at + 1);
        }
        self.step_again(cause, at);
        match &step.action {
            Action::Client(ask) => self.scripted(cause, eid, ask),
            action => self.act_as(eid, cause, action),
        }
        let line = source.step_lines[at];
        let unplayed = std::mem::take(&mut self.unplayed);
        if let Some(play) = &mut self.play
            && !unplayed.is_empty()
            && play.unplayed.iter().all(|(known, _)| *known != line)
        {
            play.unplayed.push((line, step.action.to_string()));
        }
    }

    /// What comes again and again is planned anew whenever it comes.
    pub(super) fn step_again(&mut self, cause: EventId, at: usize) {
        let Some(play) = &self.play else {
            return;
        };
        if let When::Every { every, until, .. } = play.source.scenario.steps[at].when {
            let until = until.unwrap_or_else(|| self.options.get(Opt::Safety));
            if self.t + every < until {
                self.plan_step(cause, self.t + every, at);
            }
        }
    }

    /// Until when a client stands still, if it does.
    fn paused(&self, client: &str) -> Option<u64> {
        let at = self.names.clients.iter().position(|it| it == client)?;
        Some(self.clients[at].paused_until).filter(|until| *until > self.t)
    }

    /// Whether something has come about for which a step waits; looked at behind every event.
    pub(super) fn look_at_conditions(&mut self) {
        let Some(play) = &self.play else {
            return;
        };
        if play.waiting.is_empty() {
            return;
        }
        let (source, waiting) = (Arc::clone(&play.source), play.waiting.clone());
        for at in waiting {
            let When::If(condition) = &source.scenario.steps[at].when else {
                continue;
            };
            if !self.is_so(condition) {
                continue;
            }
            if let Some(play) = &mut self.play {
                play.waiting.retain(|other| *other != at);
            }
            let cause = self.trace.last();
            self.plan_step(cause, self.t, at);
        }
    }

    /// Whether it is so now.
    pub(super) fn is_so(&mut self, condition: &Condition) -> bool {
        match condition {
            Condition::PrimaryChanges(buffer) => self.primary_changed(buffer),
            Condition::Primary { buffer, is, node } => {
                (self.primary_of(buffer).as_ref() == Some(node)) == *is
            }
            Condition::Acked { compare, count, .. }
            | Condition::Stored { compare, count, .. }
            | Condition::Event { compare, count, .. } => {
                compare.holds(self.number_of(condition), *count)
            }
            Condition::Node { node, up } => self.is_up(node) == *up,
        }
    }

    /// The number that a condition is about.
    pub(super) fn number_of(&mut self, condition: &Condition) -> u64 {
        match condition {
            Condition::Acked { buffer, .. } => {
                let at = self.names.buffers.iter().position(|it| it == buffer);
                at.map_or(0, |at| self.acked[at])
            }
            Condition::Stored { buffer, text, .. } => self.stored(buffer, text),
            Condition::Event { kind, .. } => {
                let kind = Kind::ALL.into_iter().find(|it| it.name() == kind);
                kind.map_or(0, |kind| self.trace.count(kind))
            }
            _ => 0,
        }
    }

    pub(super) fn is_up(&self, node: &NodeRef) -> bool {
        self.resolve(node).is_some_and(|host| self.hosts[host].up)
    }

    /// The name of a buffer's primary.
    pub(super) fn primary_of(&self, buffer: &str) -> Option<String> {
        let primary = self.resolve(&NodeRef::PrimaryOf(buffer.to_owned()))?;
        Some(self.names.nodes[primary].clone())
    }

    fn primary_changed(&mut self, buffer: &str) -> bool {
        let Some(at) = self.names.buffers.iter().position(|it| it == buffer) else {
            return false;
        };
        let Some(now) = self.newest(at).and_then(|assignment| assignment.primary) else {
            return false;
        };
        let Some(play) = &mut self.play else {
            return false;
        };
        *play.primaries.entry(at).or_insert(now) != now
    }

    /// Messages with this body in the committed log, as the primary has it.
    fn stored(&mut self, buffer: &str, text: &str) -> u64 {
        let Some(at) = self.names.buffers.iter().position(|it| it == buffer) else {
            return 0;
        };
        let key = (at, text.to_owned());
        let known = self.play.as_ref().and_then(|play| play.counted.get(&key));
        let (from, mut count) = known.copied().unwrap_or_default();
        let primary = self.resolve(&NodeRef::PrimaryOf(buffer.to_owned()));
        let uuid = self.buffers[at];
        let led = primary.and_then(|host| self.hosts[host].shard.buffer(&uuid));
        let (Some(host), Some(commit)) = (primary, led.map(|led| led.commit())) else {
            return count;
        };
        if commit > from {
            count += self.bodies(host, at, (from, commit), text);
            if let Some(play) = &mut self.play {
                play.counted.insert(key, (commit, count));
            }
        }
        count
    }

    fn bodies(
        &mut self,
        host: usize,
        buffer: usize,
        (from, through): (Seq, Seq),
        text: &str,
    ) -> u64 {
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        self.hosts[host].log(id);
        let this = &self.hosts[host];
        let stream = this.files[&id].stream(&this.disk, from, through);
        let mut count = 0;
        each_message(&stream, |record| {
            let message = record.facts.kind == RecordKind::Data;
            count += u64::from(message && record.body == text.as_bytes());
        });
        count
    }

    /// Behind the first phase: until everything has come to rest and every expectation of a time
    /// was looked at, or the second phase is over.
    pub(super) fn settle(&mut self, last: u64) -> Option<()> {
        if self.play.is_none() {
            return self.until(last);
        }
        let began = self.t;
        let timed = self.play.as_ref().map(|play| {
            let timed = super::expect::timed(&play.source.scenario);
            timed.into_iter().map(|(_, time)| time).max().unwrap_or(0)
        });
        while self.t < last && self.watch.broken.is_none() {
            let rests = self.at_rest().is_ok() && self.all_asks_ended() && self.all_moves_ended();
            if rests && let Some(play) = &mut self.play {
                play.rested_at.get_or_insert(self.t - began);
            }
            if rests && timed.is_none_or(|timed| self.t >= timed) {
                break;
            }
            self.until(self.t + LOOK_US)?;
        }
        Some(())
    }

    /// Whether every buffer is where it is to be.
    fn all_moves_ended(&self) -> bool {
        let mut all = (0..self.buffers.len()).filter_map(|buffer| self.newest(buffer));
        all.all(|assignment| assignment.leaving.is_empty())
    }

    fn all_asks_ended(&self) -> bool {
        self.asks.all_ended() && self.clients.iter().all(|client| client.pending.is_empty())
    }
}
