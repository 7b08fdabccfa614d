//! Buffers that an operator opens, pauses and closes: whoever leads one is told, and what its state
//! promises is looked at.

use std::collections::BTreeMap;

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::input::{BufferState, Input};
use hbuf_core::replication::LOGS;
use hbuf_core::segment::LogKind;
use hbuf_manager::{Action as Command, Catalog};

use super::files::LogId;
use super::host::Waiting;
use super::{About, World};
use crate::disk::{Disk, Name};
use crate::draw::mix;
use crate::kinds::Kind;
use crate::scenario::StateWord;
use crate::tracefile::EventId;

/// Ticks of a node after which what it holds of paused buffers is compared again.
const COMPARE_TICKS: u64 = 10;

/// Buffers that take nothing, and what of them may not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Halts {
    halted: BTreeMap<usize, Halted>,
    still: BTreeMap<(usize, usize), Still>,
}

/// A buffer whose primary has said that it takes nothing more.
#[derive(Clone, Copy, Debug)]
struct Halted {
    state: BufferState,
    /// The version of the catalog's row in which it has that state.
    version: u64,
    end: Seq,
}

/// The files of a paused buffer on one node.
#[derive(Clone, Copy, Debug)]
struct Still {
    /// Mark and tables too: those of the primary at that time.
    whole: bool,
    hash: u64,
}

impl Halts {
    /// A node's copy is made anew, is removed, or its disk was damaged.
    pub(super) fn disturbed(&mut self, host: usize, buffer: usize) {
        self.still.remove(&(host, buffer));
    }

    /// A forced election ended the history of a buffer, and what was promised of it.
    pub(super) fn ended(&mut self, buffer: usize) {
        self.halted.remove(&buffer);
        self.still.retain(|(_, of), _| *of != buffer);
    }

    /// The node has another disk.
    pub(super) fn reformatted(&mut self, host: usize) {
        self.still.retain(|(of, _), _| *of != host);
    }
}

impl World {
    pub(super) fn set_state(&mut self, cause: EventId, buffer: &str, state: StateWord) {
        let Some(at) = self.names.buffers.iter().position(|it| it == buffer) else {
            return;
        };
        let state = match state {
            StateWord::Open => BufferState::Open,
            StateWord::Paused => BufferState::Paused,
            StateWord::Closed => BufferState::Closed,
        };
        let about = About {
            buffer: Some(at),
            note: state_name(state),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::StateAsked, &about);
        let uuid = self.buffers[at];
        let expected = None;
        let command = Command::SetBufferState {
            uuid,
            expected,
            state,
        };
        self.ask_manager(event, command);
    }

    /// The state of a buffer, and the version of its row, as a node knows them.
    pub(super) fn state_known(&self, host: usize, buffer: usize) -> (BufferState, u64) {
        state_in(&self.hosts[host].manager.catalog, self.buffers[buffer])
    }

    /// As the node knows it that is ahead of all.
    pub(super) fn newest_state(&self, buffer: usize) -> (BufferState, u64) {
        state_in(self.newest_catalog(), self.buffers[buffer])
    }

    /// What the manager has decided, as the node knows that is ahead of all.
    pub(super) fn newest_catalog(&self) -> &Catalog {
        let catalogs = self.hosts.iter().map(|host| &host.manager.catalog);
        let newest = catalogs.max_by_key(|catalog| catalog.applied());
        newest.expect("a cluster has nodes")
    }

    /// The shard of a node is told what has become of the states of the buffers that it leads.
    pub(super) fn tell_states(&mut self, cause: EventId, host: usize) {
        for buffer in 0..self.buffers.len() {
            let (state, version) = self.state_known(host, buffer);
            self.left_state(cause, buffer, state, version);
            let uuid = self.buffers[buffer];
            let this = &mut self.hosts[host];
            if this.shard.buffer(&uuid).is_none() || this.states.get(&buffer) == Some(&state) {
                continue;
            }
            this.states.insert(buffer, state);
            let token = this.token();
            this.waiting.insert(token, Waiting::State { buffer });
            let input = Input::SetState {
                buffer: uuid,
                token,
                state,
                journal: 0,
            };
            self.shard(cause, host, input);
        }
    }

    /// A primary takes nothing more, or takes appends again.
    pub(super) fn state_reached(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        state: BufferState,
    ) {
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            note: state_name(state),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::StateReached, &about);
        self.note_halted(host, buffer);
        self.compare_still(event, host, buffer);
    }

    /// At a node's tick: what it leads may have come to its state, what is paused is compared.
    pub(super) fn watch_states(&mut self, cause: EventId, host: usize, ticks: u64) {
        for buffer in 0..self.buffers.len() {
            self.note_halted(host, buffer);
            if ticks.is_multiple_of(COMPARE_TICKS) {
                self.compare_still(cause, host, buffer);
            }
        }
    }

    fn note_halted(&mut self, host: usize, buffer: usize) {
        let Some(led) = self.hosts[host].shard.buffer(&self.buffers[buffer]) else {
            return;
        };
        let (state, end) = (led.state(), led.end());
        let (wanted, version) = self.newest_state(buffer);
        if !self.is_of_newest(buffer, self.history_of(buffer, led.epoch())) {
            return;
        }
        let waits = |it: &Waiting| matches!(it, Waiting::State { buffer: of } if *of == buffer);
        let told = self.state_known(host, buffer).1 == version
            && !self.hosts[host].waiting.values().any(waits);
        let cursors = led.leader().log(LogKind::Cursors);
        let told = told && cursors.commit == cursors.end;
        let complete = led.commit() == end && state != BufferState::Open && state == wanted && told;
        if !complete || self.watch.halts.halted.contains_key(&buffer) {
            return;
        }
        let (first, members) = (led.first(), led.leader().assignment().in_sync.clone());
        let members: Vec<(usize, bool)> = (0..self.hosts.len())
            .filter_map(|at| {
                let this = &self.hosts[at];
                let member = members.get(&this.id)?;
                let heard = self.epoch_of(at, buffer) == led.epoch();
                let runs = this.node_epoch == Some(member.node_epoch);
                let still = runs && heard && member.from <= first;
                Some((at, still))
            })
            .collect();
        // What a member has beyond the primary's log is still open: if that one leads next, it is
        // committed, as any new primary's log is.
        let ends_there = |at: &usize| !self.watch.holds_beyond(*at, buffer, end);
        if !members.iter().all(|(at, _)| ends_there(at)) {
            return;
        }
        let halted = Halted {
            state,
            version,
            end,
        };
        self.watch.halts.halted.insert(buffer, halted);
        if state != BufferState::Paused {
            return;
        }
        // A member that lost its disk gets everything anew, and one that began near the tail is
        // filled in.
        let whole = |at: &usize| self.watch.holds_through(*at, buffer, end);
        let members = members.into_iter().filter(|(_, still)| *still);
        for at in members.map(|(at, _)| at).filter(whole).collect::<Vec<_>>() {
            let whole = at == host;
            let hash = fingerprint(&self.hosts[at].disk, buffer, whole);
            let still = Still { whole, hash };
            self.watch.halts.still.insert((at, buffer), still);
        }
    }

    /// The first node has heard that a buffer has another state.
    fn left_state(&mut self, cause: EventId, buffer: usize, state: BufferState, version: u64) {
        let Some(halted) = self.watch.halts.halted.get(&buffer).copied() else {
            return;
        };
        if state == halted.state || version <= halted.version {
            return;
        }
        for host in 0..self.hosts.len() {
            self.compare_still(cause, host, buffer);
        }
        self.watch.halts.halted.remove(&buffer);
        self.watch.halts.still.retain(|(_, of), _| *of != buffer);
    }

    /// A primary has committed through here: nothing, if the buffer takes nothing.
    pub(super) fn check_halted(&mut self, cause: EventId, buffer: usize, commit: Seq) {
        let Some(halted) = self.watch.halts.halted.get(&buffer).copied() else {
            return;
        };
        if commit > halted.end {
            let (name, state) = (&self.names.buffers[buffer], state_name(halted.state));
            let what = format!(
                "{name} is {state} at {}, and {commit} is committed",
                halted.end
            );
            self.broke(cause, "halted-takes-nothing", what);
        }
    }

    /// Nothing of a paused buffer changes on a disk that holds all of it.
    pub(super) fn compare_still(&mut self, cause: EventId, host: usize, buffer: usize) {
        let Some(still) = self.watch.halts.still.get(&(host, buffer)).copied() else {
            return;
        };
        if fingerprint(&self.hosts[host].disk, buffer, still.whole) != still.hash {
            let (name, node) = (&self.names.buffers[buffer], &self.names.nodes[host]);
            let what = format!("{name} is paused, and its files on {node} changed");
            self.broke(cause, "paused-stays-as-it-is", what);
        }
    }

    /// Whether every primary has the state that its buffer is to have.
    pub(super) fn states_at_rest(&self, buffer: usize, state: BufferState) -> Result<(), String> {
        let (wanted, _) = self.newest_state(buffer);
        if wanted == state {
            return Ok(());
        }
        let name = &self.names.buffers[buffer];
        let (is, to_be) = (state_name(state), state_name(wanted));
        Err(format!("{name} is {is}, and is to be {to_be}"))
    }
}

fn state_in(catalog: &Catalog, buffer: Uuid) -> (BufferState, u64) {
    let row = catalog.buffer(buffer);
    row.map_or((BufferState::Open, 0), |row| (row.state, row.version))
}

const fn state_name(state: BufferState) -> &'static str {
    match state {
        BufferState::Open => "open",
        BufferState::Closed => "closed",
        BufferState::Paused => "paused",
    }
}

/// A hash over the files of a buffer.
fn fingerprint(disk: &Disk, buffer: usize, whole: bool) -> u64 {
    let mut names: Vec<Name> = Vec::new();
    for log in LOGS {
        names.extend(LogId { buffer, log }.names(disk));
    }
    if whole {
        names.push(Name::Mark(buffer));
        names.extend(disk.names(Name::Tables(buffer, 0), Name::Tables(buffer, u64::MAX)));
    }
    names.iter().fold(0, |hash, name| {
        let bytes = disk.read(*name).map_or(&[][..], Vec::as_slice);
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        words.fold(mix(hash, bytes.len() as u64), mix)
    })
}
