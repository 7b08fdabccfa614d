//! Who is at work on buffers of the region: makers, by three steps each, and the sweeper, which
//! finishes or drops what they left.

use std::collections::BTreeSet;

use hbuf_core::ids::{Hash, NodeId, Uuid};
use hbuf_core::name::Name;
use hbuf_manager::region::{PlaceBuffer, Region, RegionAction, Sweep, sweep};
use hbuf_manager::{
    Action, BufferConfig, Catalog, CreateBuffer, Lifecycle, MirrorChange, RegionId,
};

use super::member::{Answer, Which};
use super::{REGION, RegionsBent, World, id_of, start_of};
use crate::draw::Purpose;

/// Different buffers that makers know.
const BUFFERS: u64 = 3;
/// Ticks between two looks of the sweeper.
const SWEEP_TICKS: u64 = 25;
/// A reservation that stands for so long is nobody's, in microseconds. In a storm it is often
/// somebody's all the same: that costs a creation, no message.
const IDLE_US: u64 = 700_000;
/// Makers at work on a node at most.
const MAKERS_MAX: usize = 4;

/// Somebody who makes or deletes a buffer.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    id: u64,
    deletes: bool,
    /// Steps that are done.
    done: u8,
    reserved: u64,
    /// The command that it waits for.
    waits: Option<(Which, u64)>,
    /// Until when it stands still.
    sleeps: u64,
}

impl World {
    /// What is to be done on a node at a tick, beside its groups' own work.
    pub(super) fn work(&mut self, host: usize) {
        self.check_placed();
        self.register(host);
        if self.stormy {
            self.begin(host);
        }
        for at in (0..self.nodes[host].makers.len()).rev() {
            self.go_on(host, at);
        }
        let looks = (self.steps + host as u64).is_multiple_of(SWEEP_TICKS) || !self.stormy;
        let leads = self.nodes[host].region.leads();
        if looks && leads && self.bent != Some(RegionsBent::Unswept) {
            self.sweep_up(host);
        }
    }

    /// A process makes itself known to both groups: its number comes from `global`.
    fn register(&mut self, host: usize) {
        if !std::mem::take(&mut self.nodes[host].registers) {
            return;
        }
        let (now, id, start) = (self.wall(), id_of(host), start_of(host));
        let node = &mut self.nodes[host];
        node.global.ask(now, Action::RegisterNode(start.clone()));
        node.region
            .ask(now, RegionAction::RegisterNode { id, start });
    }

    fn begin(&mut self, host: usize) {
        let draw = self.draw(Purpose::Workload, host as u64, self.steps);
        if !draw.percent(6) || self.nodes[host].makers.len() >= MAKERS_MAX {
            return;
        }
        let (kind, id) = (draw.next(), 1 + draw.next().next().below(BUFFERS));
        if kind.percent(15) {
            self.configure(host, id, draw);
            return;
        }
        self.nodes[host].makers.push(Maker {
            id,
            deletes: kind.below(100) >= 65,
            done: 0,
            reserved: 0,
            waits: None,
            sleeps: 0,
        });
        self.count("makers");
    }

    fn configure(&mut self, host: usize, id: u64, draw: crate::draw::Draw) {
        let min = 1 + draw.next().next().next().below(3);
        let action = Action::ConfigureBuffer {
            uuid: uuid_of(id),
            expected: None,
            config: BufferConfig {
                replicas: 2,
                min_insync: u8::try_from(min).ok(),
                ..BufferConfig::default()
            },
            mirror: MirrorChange::Keep,
        };
        let now = self.wall();
        self.nodes[host].global.ask(now, action);
        self.count("configured");
    }

    /// A maker takes its next step when the one before is done. Who was refused is gone.
    fn go_on(&mut self, host: usize, at: usize) {
        let maker = self.nodes[host].makers[at].clone();
        if maker.sleeps > self.t {
            return;
        }
        if let Some((which, number)) = maker.waits {
            let node = &self.nodes[host];
            let answers = match which {
                Which::Global => &node.global.answers,
                Which::Region => &node.region.answers,
            };
            let Some(answer) = answers.get(&number).cloned() else {
                return;
            };
            if !self.step_done(host, at, answer) {
                self.nodes[host].makers.swap_remove(at);
                return;
            }
            // Some stand still between two steps, longer than others believe.
            let draw = self.draw(Purpose::Worker, host as u64, self.steps);
            if draw.percent(20) {
                let sleeps = self.t + draw.next().within(200_000, 3_000_000);
                self.nodes[host].makers[at].sleeps = sleeps;
                return;
            }
        }
        if self.nodes[host].makers[at].done == 3 {
            self.nodes[host].makers.swap_remove(at);
            return;
        }
        let waits = self.next_step(host, at);
        match waits {
            Some(waits) => self.nodes[host].makers[at].waits = Some(waits),
            None => drop(self.nodes[host].makers.swap_remove(at)),
        }
    }

    /// Notes what a maker was told; `false` when it gives up. An answer that came as part of a
    /// snapshot is not known.
    fn step_done(&mut self, host: usize, at: usize, answer: Option<Answer>) -> bool {
        let node = &mut self.nodes[host];
        let maker = &mut node.makers[at];
        let uuid = uuid_of(maker.id);
        let went = matches!(answer, Some(Ok(_)));
        if !went {
            self.count(match answer {
                None => "answers unknown",
                Some(_) => "steps refused",
            });
            return false;
        }
        if maker.done == 0 {
            let buffer = node.global.state.buffer(uuid);
            let Some(buffer) = buffer else {
                return false;
            };
            maker.reserved = buffer.reserved;
        }
        maker.done += 1;
        maker.waits = None;
        let (deletes, done, reserved) = (maker.deletes, maker.done, maker.reserved);
        match (deletes, done) {
            (false, 3) => {
                self.told.insert((uuid, reserved));
                self.count("told");
            }
            (true, 1) => drop(self.deleted.insert((uuid, reserved))),
            (true, 3) => self.count("deleted"),
            _ => {}
        }
        true
    }

    fn next_step(&mut self, host: usize, at: usize) -> Option<(Which, u64)> {
        let now = self.wall();
        let maker = self.nodes[host].makers[at].clone();
        let (uuid, reserved) = (uuid_of(maker.id), maker.reserved);
        if maker.deletes && maker.done == 0 {
            // Whether or not it is ever told so.
            let known = self.nodes[host].global.state.buffer(uuid);
            let known = known.map(|buffer| (uuid, buffer.reserved));
            self.deleted.extend(known);
        }
        let copies = self.copies(host, maker.id);
        let bent = self.bent;
        let node = &mut self.nodes[host];
        let asked = match (maker.deletes, maker.done) {
            (false, 0) => (Which::Global, node.global.ask(now, create(maker.id))),
            (false, 1) => {
                let known = node.global.state.buffer(uuid)?;
                let place = PlaceBuffer {
                    uuid,
                    history: uuid,
                    copies,
                    min_in_sync: known.config.effective_min_insync().into(),
                    reserved,
                    version: known.version,
                };
                (Which::Region, node.region.ask(now, place.into()))
            }
            (false, _) => {
                let known = node.global.state.buffer(uuid).map(|known| known.reserved);
                let reserved = match bent {
                    Some(RegionsBent::ConfirmsAnything) => known,
                    _ => Some(reserved),
                };
                let action = Action::ConfirmBuffer { uuid, reserved };
                (Which::Global, node.global.ask(now, action))
            }
            (true, 0) => {
                let force = true;
                let action = Action::DeleteBuffer { uuid, force };
                (Which::Global, node.global.ask(now, action))
            }
            (true, 1) => {
                let reserved = match bent {
                    Some(RegionsBent::DropsAnything) => u64::MAX,
                    _ => reserved,
                };
                let action = RegionAction::DropBuffer { uuid, reserved };
                (Which::Region, node.region.ask(now, action))
            }
            (true, _) => {
                let action = Action::DropBuffer { uuid };
                (Which::Global, node.global.ask(now, action))
            }
        };
        let (which, number) = asked;
        number.map(|number| (which, number))
    }

    /// Up to three nodes of the region, another one first for each buffer.
    fn copies(&self, host: usize, id: u64) -> Vec<NodeId> {
        let nodes = self.nodes[host].region.state.assigned().nodes();
        let mut nodes: Vec<NodeId> = nodes.map(|(id, _)| id).collect();
        let first = usize::try_from(id).unwrap_or(0) % nodes.len().max(1);
        nodes.rotate_left(first);
        nodes.truncate(3);
        nodes
    }

    /// Whoever leads the region looks at both states as it has them, and they may be old.
    fn sweep_up(&mut self, host: usize) {
        let (now, t) = (self.wall(), self.t);
        let node = &mut self.nodes[host];
        let reserved = node.global.state.buffers();
        let reserved = reserved.filter(|buffer| buffer.lifecycle == Lifecycle::Reserved);
        let reserved: BTreeSet<(Uuid, u64)> = reserved
            .map(|buffer| (buffer.uuid, buffer.reserved))
            .collect();
        node.reserved_since.retain(|key, _| reserved.contains(key));
        for key in reserved {
            node.reserved_since.entry(key).or_insert(t);
        }
        let since = &node.reserved_since;
        let idle = |uuid: Uuid| {
            let mut of = since.iter().filter(|((of, _), _)| *of == uuid);
            of.any(|(_, since)| t - since >= IDLE_US)
        };
        let Some((region, _)) = node.global.state.region(REGION) else {
            return;
        };
        let steps = sweep(&node.global.state, region, &node.region.state, idle);
        for step in steps {
            let what = match &step {
                Sweep::Global(Action::ConfirmBuffer { .. }) => "swept: confirmed",
                Sweep::Global(_) => "swept: name freed",
                Sweep::Region(RegionAction::DropBuffer { .. }) => "swept: dropped",
                Sweep::Region(_) => "swept: settings told",
                Sweep::Missing(_) => "swept: missing",
            };
            let node = &mut self.nodes[host];
            let asked = match step {
                Sweep::Global(action) => node.global.ask(now, action),
                Sweep::Region(action) => node.region.ask(now, action),
                // An older state of the region says so rightly; in the end it is held against both.
                Sweep::Missing(_) => None,
            };
            if asked.is_some() {
                self.count(what);
            }
        }
    }

    /// A buffer that is live in the newest state of `global` is placed in the newest of the region:
    /// whoever made it so had seen it placed, and nobody drops it before it is out of use.
    fn check_placed(&mut self) {
        let global = self.nodes.iter().map(|node| &node.global.state);
        let region = self.nodes.iter().map(|node| &node.region.state);
        let global = global.max_by_key(|state| state.applied());
        let region = region.max_by_key(|state| state.applied());
        let (Some(global), Some(region)) = (global, region) else {
            return;
        };
        let lost = global
            .buffers()
            .filter(|buffer| buffer.lifecycle == Lifecycle::Live)
            .map(|buffer| buffer.uuid)
            .find(|uuid| region.assignment(*uuid).is_none());
        if let Some(uuid) = lost {
            self.broke(format!("{uuid} is live, and its region does not have it"));
        }
    }

    /// Whether both groups have come to rest, agree, and hold what clients were told.
    pub(super) fn at_rest(&self) -> Result<(), String> {
        let global = self.nodes.iter().map(|node| node.global.state.applied());
        let region = self.nodes.iter().map(|node| node.region.state.applied());
        if global.clone().min() != global.max() || region.clone().min() != region.max() {
            return Err("members have applied different indexes".to_owned());
        }
        let (global, region) = (&self.nodes[0].global.state, &self.nodes[0].region.state);
        for node in &self.nodes {
            if node.global.state != *global || node.region.state != *region {
                return Err("members have different states".to_owned());
            }
        }
        agree(global, region)?;
        let (id, _) = global.region(REGION).ok_or("the region is gone")?;
        if let Some(step) = sweep(global, RegionId(id.0), region, |_| true).first() {
            return Err(format!("{step:?} is still to be done"));
        }
        for (uuid, reserved) in self.told.difference(&self.deleted) {
            let buffer = global.buffer(*uuid);
            let live = buffer.is_some_and(|buffer| {
                buffer.lifecycle == Lifecycle::Live && buffer.reserved == *reserved
            });
            if !live || region.assignment(*uuid).is_none() {
                return Err(format!(
                    "{uuid} of {reserved} is gone, and somebody was told of it"
                ));
            }
        }
        Ok(())
    }
}

/// Every name has its assignment, and the other way round.
fn agree(global: &Catalog, region: &Region) -> Result<(), String> {
    for buffer in global.buffers() {
        let uuid = buffer.uuid;
        if buffer.lifecycle != Lifecycle::Live {
            return Err(format!("{uuid} is {:?}", buffer.lifecycle));
        }
        let min = usize::from(buffer.config.effective_min_insync());
        match region.assignment(uuid) {
            None => return Err(format!("{uuid} has a name and no assignment")),
            Some(it) if it.min_in_sync != min => {
                let known = it.min_in_sync;
                return Err(format!(
                    "{uuid} needs {min} members, its region says {known}"
                ));
            }
            Some(_) => {}
        }
    }
    let mut placed = region.buffers();
    match placed.find(|(uuid, _)| global.buffer(*uuid).is_none()) {
        Some((uuid, _)) => Err(format!("{uuid} has an assignment and no name")),
        None => Ok(()),
    }
}

fn create(id: u64) -> Action {
    let uuid = uuid_of(id);
    Action::CreateBuffer(Box::new(CreateBuffer {
        tenant: Name::default_tenant(),
        name: Name::parse(&format!("b{id}")).expect("a letter and digits are a name"),
        uuid,
        log: uuid,
        history: uuid,
        idem_key: Hash([1; 32]),
        config: BufferConfig {
            replicas: 2,
            ..BufferConfig::default()
        },
        region: Some(Name::parse(REGION).expect("letters are a name")),
        copies: Vec::new(),
        topics: Vec::new(),
        mirror: None,
    }))
}

fn uuid_of(id: u64) -> Uuid {
    Uuid::from_random([u8::try_from(id).unwrap_or(u8::MAX); 16])
}
