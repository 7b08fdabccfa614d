//! The world: time, the event queue, one node, its disk and its clients.
//!
//! `World = f(plan of the seed, bug)`, nothing else. Idle time is skipped. A crash comes before the
//! step that the plan names, whatever that step is.

use std::collections::BTreeMap;

use hbuf_core::append::{AppendRefused, Appended};
use hbuf_core::effect::{Effect, Effects};
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::input::{BufferState, DiskHealth, Input, Token};
use hbuf_core::rules::Rules;

use crate::bugs::Bug;
use crate::clients::{Ask, Client};
use crate::disk::Disk;
use crate::draw::{Draw, Draws, Purpose};
use crate::invariants::{Broken, Invariant};
use crate::kinds::Kind;
use crate::model::Model;
use crate::node::Node;
use crate::plan::{Fault, Plan};
use crate::registry::Registry;
use crate::trace::{EventId, Facts, Trace};

mod audit;
mod behind;
mod consumer;
mod consumer_answers;
mod consumer_tasks;
mod faults;
mod filter_store;
mod keeper;
mod mirror;
mod operator;
mod pipeline;
mod rot;
mod start;
mod topic;
mod topic_next;
mod turns;
mod workers;
mod writes;

/// When the simulated clock begins: 2026-01-01.
const EPOCH: i64 = 1_767_225_600_000_000;
/// Steps that the end of a run may take before it counts as stuck.
const DRAIN_STEPS_MAX: u64 = 200_000;

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// A client's turn.
    Client(usize),
    /// The pipeline's next step; void after a restart.
    Pipeline { life: u64 },
    /// The keeper's next step; void after a restart.
    Keeper { life: u64 },
    /// What waits for its file has waited long enough; void after a restart.
    WriteBehind { life: u64 },
    /// What found no room is tried again; void after a restart.
    Later { life: u64 },
    /// The shard looks at retention.
    Retention,
    /// Somebody reads all buffers as one.
    TopicRead,
    /// The mirror takes more of its origin.
    Mirror,
    /// A worker's turn.
    Worker(usize),
    /// An operator looks after the consumers.
    Operator,
    /// An operator looks after the stored filters.
    Filters,
    /// A consumer may have something to do; void after a restart.
    ConsumersTime { life: u64 },
    /// What the shard wants for a consumer is done; void after a restart.
    ConsumerTask { number: u64 },
    /// A worker waits no longer.
    StopWaiting(Token),
    /// A checkpoint.
    Checkpoint,
    /// There is room again.
    Room,
    /// The power goes.
    PowerLoss,
    /// An operator restarts a node whose disk failed.
    Restart { life: u64 },
}

/// Counters of the node, as it would export them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    messages: u64,
    acked: u64,
    commits: u64,
    marks: u64,
}

/// A run.
pub(crate) struct World<'w> {
    draws: Draws,
    plan: Plan,
    bug: Option<Bug>,
    pub(crate) trace: Trace<'w>,
    pub(crate) broken: BTreeMap<Invariant, Broken>,
    /// How often a crash came before which step.
    pub(crate) crash_points: BTreeMap<String, u64>,
    pub(crate) faults_done: BTreeMap<Fault, u64>,
    /// The first event.
    root: EventId,
    /// The last start of the node.
    started_by: EventId,
    t: u64,
    skew: i64,
    queue: BTreeMap<(u64, u64), (EventId, Due)>,
    queued: u64,
    pub(crate) steps: u64,
    next_fault: usize,
    delays: u64,
    life: u64,
    disk: Disk,
    node: Node,
    registry: Registry,
    clients: Vec<Client>,
    models: Vec<Model>,
    asks: BTreeMap<Token, Ask>,
    state_asks: BTreeMap<Token, (usize, usize)>,
    last_token: u64,
    /// What is on disk of each buffer, by the disk's own word.
    stable: Vec<Seq>,
    last_times: Vec<Micros>,
    retention_now: Micros,
    topic_reader: topic::TopicReader,
    mirror_task: mirror::MirrorTask,
    crew: consumer::Crew,
    filter_turns: u64,
    fail_next_sync: bool,
    counters: Counters,
    draining: bool,
    effects: Effects,
}

impl<'w> World<'w> {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, trace: Trace<'w>) -> Self {
        let draws = Draws::new(seed);
        let plan = Plan::new(&draws);
        let mut registry = Registry::new(plan.buffers);
        let life = registry.register(true);
        let node = Node::new(
            bug.map_or_else(Rules::correct, Bug::rules),
            life,
            plan.buffers,
            plan.journal_file_bytes,
        );
        Self {
            clients: (0..plan.clients)
                .map(|_| Client::new(plan.buffers))
                .collect(),
            models: plan
                .retention
                .iter()
                .map(|retention| Model::new(*retention))
                .collect(),
            crew: consumer::Crew::new(plan.workers),
            stable: vec![Seq::ZERO; plan.buffers],
            last_times: vec![Micros(0); plan.buffers],
            draws,
            plan,
            bug,
            trace,
            broken: BTreeMap::new(),
            crash_points: BTreeMap::new(),
            faults_done: BTreeMap::new(),
            root: EventId(0),
            started_by: EventId(0),
            t: 0,
            skew: 0,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            next_fault: 0,
            delays: 0,
            life,
            disk: Disk::new(),
            node,
            registry,
            asks: BTreeMap::new(),
            state_asks: BTreeMap::new(),
            last_token: 0,
            retention_now: Micros(0),
            topic_reader: topic::TopicReader::default(),
            mirror_task: mirror::MirrorTask::default(),
            filter_turns: 0,
            fail_next_sync: false,
            counters: Counters::default(),
            draining: false,
            effects: Vec::new(),
        }
    }

    /// The rules of this run.
    fn rules(&self) -> Rules {
        self.bug.map_or_else(Rules::correct, Bug::rules)
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs to the end, or to the first invariant that does not hold (with a bug: to the one that
    /// the bug is known to break).
    pub(crate) fn run(&mut self) {
        let note = self.plan.to_string();
        let root = self.event(
            EventId(0),
            Kind::RunStarted,
            &Facts {
                note: &note,
                ..Facts::default()
            },
        );
        self.root = root;
        self.start(root);
        for client in 0..self.plan.clients {
            self.due(root, 500, Due::Client(client));
        }
        self.due(root, self.plan.retention_every, Due::Retention);
        self.due(root, 30_000, Due::Checkpoint);
        self.due(root, 3_000, Due::TopicRead);
        self.due(root, 2_000, Due::Mirror);
        self.start_crew(root);
        if self.plan.filters {
            self.due(root, 250, Due::Filters);
        }
        while self.steps < self.plan.steps && !self.over() {
            if !self.step() {
                break;
            }
        }
        if !self.over() {
            self.drain(root);
        }
        if !self.over() {
            self.finish(root);
        }
        self.event(root, Kind::RunEnded, &Facts::default());
    }

    /// Nothing further is worth running.
    fn over(&self) -> bool {
        match self.bug {
            None => !self.broken.is_empty(),
            Some(bug) => {
                let breaks = bug.in_one_node();
                breaks.is_some_and(|breaks| self.broken.contains_key(&breaks))
            }
        }
    }

    /// Takes the next event; `false` when there is none.
    fn step(&mut self) -> bool {
        self.faults_before_step();
        let Some(((t, _), (cause, due))) = self.queue.pop_first() else {
            return false;
        };
        self.t = t;
        self.steps += 1;
        match due {
            Due::Client(client) => self.client_turn(cause, client),
            Due::Pipeline { life } if life == self.life => self.pipeline_step(),
            Due::Keeper { life } if life == self.life => self.keeper_step(),
            Due::WriteBehind { life } if life == self.life => self.write_behind_due(cause),
            Due::Later { life } if life == self.life => self.try_again(cause),
            Due::Pipeline { .. } | Due::Keeper { .. } => {}
            Due::WriteBehind { .. } | Due::Later { .. } => {}
            Due::Retention => self.retention(cause),
            Due::TopicRead => self.topic_turn(cause),
            Due::Mirror => self.mirror_turn(cause),
            Due::Worker(worker) => self.worker_turn(cause, worker),
            Due::Operator => self.operator_turn(cause),
            Due::Filters => self.filters_turn(cause),
            Due::ConsumersTime { life } if life == self.life => self.consumers_time(cause),
            Due::ConsumersTime { .. } => {}
            Due::ConsumerTask { number } => self.consumer_task(cause, number),
            Due::StopWaiting(token) => self.stop_waiting(cause, token),
            Due::Checkpoint => self.checkpoint(cause),
            Due::Room => self.room(cause),
            Due::PowerLoss if self.draining => {}
            Due::PowerLoss => {
                let point = self.crash_point();
                *self.crash_points.entry(point).or_insert(0) += 1;
                self.crash(cause, Fault::PowerLoss);
            }
            Due::Restart { life } if life == self.life => self.crash(cause, Fault::PowerLoss),
            Due::Restart { .. } => {}
        }
        true
    }

    /// The faults end and everything that was begun comes to its end.
    fn drain(&mut self, root: EventId) {
        self.draining = true;
        self.fail_next_sync = false;
        if self.node.failed {
            self.crash(root, Fault::PowerLoss);
        }
        self.room(root);
        self.settle_down();
        if !self.over() {
            self.finish_consumers(root);
            self.settle_down();
        }
    }

    /// Until nothing is under way any more.
    fn settle_down(&mut self) {
        let bound = self.steps + DRAIN_STEPS_MAX;
        while self.busy() && self.steps < bound && !self.over() {
            if !self.step() {
                break;
            }
        }
        if self.busy() && !self.over() {
            let waits = self.asks.len() + self.state_asks.len();
            self.broke(
                Invariant::EveryAskAnswered,
                format!("{waits} requests wait for ever"),
            );
        }
    }

    fn busy(&self) -> bool {
        let waiting = !self.node.unwritten.is_empty() || !self.node.later.is_empty();
        let working = self.node.pipeline_busy || self.node.keeper_busy || waiting;
        !self.asks.is_empty() || !self.state_asks.is_empty() || working || !self.node.started
    }

    /// The last audit: as it is, and once more after the power has gone.
    fn finish(&mut self, root: EventId) {
        self.audit_all("at the end");
        self.recount();
        self.crash(root, Fault::PowerLoss);
        let bound = self.steps + DRAIN_STEPS_MAX;
        while !self.node.started && self.steps < bound && !self.over() && self.step() {}
    }

    fn recount(&mut self) {
        let count = |kind| self.trace.writer().count(kind);
        let pairs = [
            (
                "messages",
                self.counters.messages,
                self.trace.framed_messages,
            ),
            (
                "acked",
                self.counters.acked,
                count(Kind::AppendAcked) + count(Kind::AppendReplayed),
            ),
            (
                "commits",
                self.counters.commits,
                count(Kind::CommitAdvanced),
            ),
            ("marks", self.counters.marks, count(Kind::MarkWritten)),
        ];
        let wrong = pairs
            .into_iter()
            .find(|(_, counted, recounted)| counted != recounted);
        if let Some((what, counted, recounted)) = wrong {
            let what = format!("{what}: counted {counted}, the trace has {recounted}");
            self.broke(Invariant::StatsEqualRecount, what);
        }
    }

    /// What a clock on the wall shows now.
    fn now(&self) -> Micros {
        let micros = EPOCH + i64::try_from(self.t).unwrap_or(i64::MAX) + self.skew;
        Micros(u64::try_from(micros).unwrap_or(0))
    }

    fn event(&mut self, cause: EventId, kind: Kind, facts: &Facts<'_>) -> EventId {
        self.trace.event(self.t, cause, kind, facts)
    }

    fn buffer_event(&mut self, cause: EventId, kind: Kind, buffer: usize) -> EventId {
        self.event(
            cause,
            kind,
            &Facts {
                buffer: Some(buffer),
                ..Facts::default()
            },
        )
    }

    fn seqs_event(
        &mut self,
        cause: EventId,
        kind: Kind,
        buffer: usize,
        seqs: (Seq, Seq),
    ) -> EventId {
        let seqs = Some((seqs.0.0, seqs.1.0));
        self.event(
            cause,
            kind,
            &Facts {
                buffer: Some(buffer),
                seqs,
                ..Facts::default()
            },
        )
    }

    fn due(&mut self, cause: EventId, after: u64, due: Due) {
        self.queued += 1;
        self.queue
            .insert((self.t + after, self.queued), (cause, due));
    }

    fn delay(&mut self) -> Draw {
        self.delays += 1;
        self.draws.draw(Purpose::Delay, self.life, self.delays)
    }

    fn broke(&mut self, invariant: Invariant, what: String) {
        let note = format!("{}: {what}", invariant.name());
        let facts = Facts {
            note: &note,
            ..Facts::default()
        };
        self.event(EventId(0), Kind::InvariantBroken, &facts);
        let event = self.trace.events();
        self.broken.entry(invariant).or_insert(Broken {
            invariant,
            what,
            event,
        });
    }

    fn check(&mut self, holds: bool, invariant: Invariant, what: impl FnOnce() -> String) {
        if !holds {
            self.broke(invariant, what());
        }
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Gives the shard an input and performs what it asks for.
    fn shard(&mut self, cause: EventId, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.node.shard.handle(self.now(), input, &mut effects);
        for effect in effects.drain(..) {
            self.perform(cause, effect);
        }
        self.effects = effects;
        self.keep_consumers_time(cause);
    }

    fn perform(&mut self, cause: EventId, effect: Effect) {
        match effect {
            Effect::Write(write) => self.on_write(cause, &write),
            Effect::WriteBytes(write) => self.on_write_bytes(cause, write),
            Effect::Reply { token, outcome } => self.on_reply(cause, token, outcome),
            Effect::Committed { buffer, commit, .. } => {
                let buffer = self.registry.index(buffer);
                self.on_committed(cause, buffer, commit);
            }
            Effect::WriteMark {
                mark,
                tables,
                cause: why,
            } => {
                self.queue_mark(cause, *mark, tables, why);
            }
            Effect::DropSegments { buffer, keep_from } => {
                let buffer = self.registry.index(buffer);
                self.on_drop(cause, buffer, keep_from);
            }
            Effect::StateReached { token, state } => self.on_state_reached(cause, token, state),
            Effect::StreamUsed { .. } => unreachable!("no client of this world reads streams"),
            Effect::Replication { .. } | Effect::Tail { .. } => {
                unreachable!("this world has one node")
            }
            // Nobody here reads in strict order.
            Effect::TimeClosed { .. } => {}
            Effect::DropCursors { buffer, keep_from } => {
                let buffer = self.registry.index(buffer);
                self.on_drop_cursors(cause, buffer, keep_from);
            }
            Effect::Consumer {
                buffer,
                consumer,
                task,
            } => {
                let buffer = self.registry.index(buffer);
                self.on_consumer_task(cause, buffer, consumer, task);
            }
            Effect::Reopen {
                buffer,
                file,
                offset,
                ..
            } => {
                let buffer = self.registry.index(buffer);
                self.queue_cut_back(cause, buffer, file, offset);
            }
        }
    }

    fn on_committed(&mut self, cause: EventId, buffer: usize, commit: Seq) {
        let before = self.models[buffer].commit;
        self.seqs_event(cause, Kind::CommitAdvanced, buffer, (before.next(), commit));
        self.counters.commits += 1;
        self.check(commit > before, Invariant::CommitMonotonic, || {
            format!("buffer {buffer}: commit {commit} after {before}")
        });
        self.models[buffer].commit = commit.max(before);
    }

    fn on_reply(&mut self, cause: EventId, token: Token, outcome: Result<Appended, AppendRefused>) {
        let Some(ask) = self.asks.remove(&token) else {
            return;
        };
        match outcome {
            Ok(appended) => self.on_good_reply(cause, ask, &appended),
            Err(refused) => {
                let note = refused.to_string();
                let facts = Facts {
                    buffer: Some(ask.buffer),
                    note: &note,
                    ..Facts::default()
                };
                let event = self.event(cause, Kind::AppendRefused, &facts);
                self.client_refused(event, ask, &refused);
            }
        }
    }

    fn on_good_reply(&mut self, cause: EventId, ask: Ask, appended: &Appended) {
        use hbuf_core::append::AckLevel;
        let buffer = ask.buffer;
        let kind = if appended.replayed {
            Kind::AppendReplayed
        } else {
            Kind::AppendAcked
        };
        let event = self.seqs_event(cause, kind, buffer, (appended.first, appended.last));
        self.counters.acked += 1;
        if appended.replayed && self.bug == Some(Bug::CountReplays) {
            self.counters.messages += 1;
        }
        let place = (appended.first, appended.last);
        let expected = match &ask.framed {
            Some(framed) => Some(*framed),
            None => ask
                .keys()
                .iter()
                .find_map(|key| self.models[buffer].repeated(key)),
        };
        self.check(expected == Some(place), Invariant::NoDupAppend, || {
            format!("buffer {buffer}: answered {place:?}, the log has it at {expected:?}")
        });
        if appended.level >= AckLevel::Local {
            let stable = self.stable[buffer];
            self.check(
                appended.last <= stable,
                Invariant::AckNeverAheadOfDisk,
                || {
                    format!(
                        "buffer {buffer}: {} is acknowledged, the disk has {stable}",
                        appended.last
                    )
                },
            );
            let model = &mut self.models[buffer];
            model.acked = model.acked.max(appended.last);
        }
        self.client_answered(event, ask, appended);
    }

    fn on_state_reached(&mut self, cause: EventId, token: Token, state: BufferState) {
        let Some((client, buffer)) = self.state_asks.remove(&token) else {
            return;
        };
        if self.models[buffer].state == state {
            self.settle(cause, buffer, client);
        } else {
            // Another change overtook this one.
            self.due(cause, 1_000, Due::Client(client));
        }
    }

    fn retention(&mut self, cause: EventId) {
        let event = self.event(cause, Kind::RetentionRan, &Facts::default());
        self.retention_now = self.retention_now.max(self.now());
        self.shard(event, Input::Retention);
        if !self.draining {
            self.due(event, self.plan.retention_every, Due::Retention);
        }
    }

    fn room(&mut self, cause: EventId) {
        self.disk.limit(None);
        self.event(cause, Kind::DiskRoom, &Facts::default());
        self.shard(cause, Input::Disk(DiskHealth::Sound));
    }
}
