//! Where a copy may go, where it goes best, and which copies must move.
//!
//! The planner works on a copy of the placement: each step changes it, and the next one goes by
//! what came out. It stops when no step gains anything, and a step's gain follows from the
//! placement alone. So whoever plans again when a plan is done starts where this one stopped, and
//! gets an empty plan. Each kind of step lowers its own measure and raises none that comes before
//! it (the order of [`Planner::settle`]), so it does stop.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::asked::{Asked, Buffer, Node, Problem, Settings};
use super::plan::{Move, NOTE_EXAMPLES_MAX, Note, Plan, Trouble, Why};
use crate::ids::{NodeId, Uuid};
use crate::limits::{BUFFERS_MAX, COPIES_MAX, NODES_MAX};
use crate::name::Name;

/// Plans what is asked for. The same input gives the same plan, in whatever order nodes and buffers
/// stand.
pub fn plan(
    nodes: &[Node],
    buffers: &[Buffer],
    asked: &Asked,
    settings: &Settings,
) -> Result<Plan, Problem> {
    let mut planner = Planner::new(nodes, buffers, asked, settings)?;
    planner.settle();
    planner.hand_over();
    planner.note_all();
    Ok(planner.into_plan())
}

/// A node with what the plan has made of it.
pub(super) struct Host<'a> {
    pub(super) node: &'a Node,
    /// The number of its zone: those without one have their own.
    zone: usize,
    /// The number of its region.
    pub(super) region: usize,
    /// Bytes on its disk.
    pub(super) used: u64,
    /// Bytes that copies may fill.
    pub(super) high: u64,
    /// The load of its copies.
    pub(super) load: u64,
    pub(super) copies: u64,
    pub(super) primaries: u64,
    /// See [`Planner::weigh`].
    pressure: u64,
}

/// A buffer with what the plan has made of it.
pub(super) struct Placed<'a> {
    pub(super) buffer: &'a Buffer,
    /// The number of its region; none when no node is of it.
    region: Option<usize>,
    /// Where its copies are, by the numbers of the nodes, in no order that means anything.
    pub(super) copies: Vec<usize>,
    pub(super) primary: Option<usize>,
    /// Why each copy that was not there before is there, by its node.
    reasons: BTreeMap<usize, Why>,
    /// Why the primary's copy went elsewhere.
    pub(super) primary_left: Option<Why>,
    /// Why there is another primary.
    pub(super) appointed_for: Option<Why>,
}

pub(super) struct Planner<'a> {
    /// By their ids.
    pub(super) hosts: Vec<Host<'a>>,
    /// By their uuids.
    pub(super) placed: Vec<Placed<'a>>,
    pub(super) asked: &'a Asked,
    pub(super) settings: &'a Settings,
    pub(super) regions: usize,
    mean_load: u64,
    mean_copies: u64,
    /// Steps that were taken.
    steps: usize,
    notes: BTreeMap<Trouble, (u64, Vec<Uuid>)>,
}

impl<'a> Planner<'a> {
    fn new(
        nodes: &'a [Node],
        buffers: &'a [Buffer],
        asked: &'a Asked,
        settings: &'a Settings,
    ) -> Result<Self, Problem> {
        if settings.high_water > 1_000 {
            return Err(Problem::HighWater);
        }
        let mut regions: BTreeMap<&Name, usize> = BTreeMap::new();
        let hosts = hosts(nodes, settings, &mut regions)?;
        let mut planner = Self {
            hosts,
            placed: Vec::with_capacity(buffers.len()),
            asked,
            settings,
            regions: regions.len(),
            mean_load: 0,
            mean_copies: 0,
            steps: 0,
            notes: BTreeMap::new(),
        };
        if buffers.len() > BUFFERS_MAX {
            return Err(Problem::TooManyBuffers);
        }
        let mut buffers: Vec<&Buffer> = buffers.iter().collect();
        buffers.sort_by_key(|buffer| buffer.uuid);
        for pair in buffers.windows(2) {
            if pair[0].uuid == pair[1].uuid {
                return Err(Problem::BufferTwice(pair[0].uuid));
            }
        }
        for buffer in buffers {
            planner.take_in(buffer, regions.get(&buffer.region).copied())?;
        }
        planner.take_means();
        Ok(planner)
    }

    fn take_in(&mut self, buffer: &'a Buffer, region: Option<usize>) -> Result<(), Problem> {
        let uuid = buffer.uuid;
        if !(1..=COPIES_MAX).contains(&buffer.wanted) {
            return Err(Problem::Wanted(uuid));
        }
        let number = |id: &NodeId| {
            let found = self.hosts.binary_search_by_key(id, |host| host.node.id);
            found.map_err(|_| Problem::Stranger(uuid))
        };
        let copies = buffer.copies.iter().map(number);
        let mut copies = copies.collect::<Result<Vec<_>, _>>()?;
        let primary = buffer.primary.as_ref().map(number).transpose()?;
        // In the order in which they stand the plan would depend on it.
        copies.sort_unstable();
        let twice = copies.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || copies.len() > COPIES_MAX {
            return Err(Problem::Copies(uuid));
        }
        if primary.is_some_and(|primary| !copies.contains(&primary)) {
            return Err(Problem::Stranger(uuid));
        }
        for copy in &copies {
            self.hosts[*copy].load = self.hosts[*copy].load.saturating_add(buffer.load);
            self.hosts[*copy].copies += 1;
        }
        if let Some(primary) = primary {
            self.hosts[primary].primaries += 1;
        }
        self.placed.push(Placed {
            buffer,
            region,
            copies,
            primary,
            reasons: BTreeMap::new(),
            primary_left: None,
            appointed_for: None,
        });
        Ok(())
    }

    /// Takes steps until none gains anything.
    fn settle(&mut self) {
        loop {
            let before = self.steps;
            self.leave();
            if self.asked.fill {
                self.fill();
            }
            if self.asked.rebalance {
                self.misplaced();
                self.pins();
                self.zones();
                self.relieve();
                self.spread_disk();
                self.spread_load();
            }
            if self.steps == before || self.is_full() {
                return;
            }
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.steps >= self.settings.moves_max
    }

    /// Whether copies may be put on a node at all.
    pub(super) fn usable(&self, host: usize) -> bool {
        let node = self.hosts[host].node;
        node.alive && !node.draining && node.worker
    }

    /// Whether a copy of the buffer may be on the node: rule 2, but for the room.
    fn allowed(&self, placed: usize, host: usize) -> bool {
        let one = &self.placed[placed];
        let node = self.hosts[host].node;
        node.worker
            && one.region == Some(self.hosts[host].region)
            && !one.buffer.excluded.contains(&node.id)
    }

    /// Whether the node may take a further copy of the buffer, but for the room.
    pub(super) fn may_take(&self, placed: usize, host: usize) -> bool {
        self.usable(host)
            && self.allowed(placed, host)
            && !self.placed[placed].copies.contains(&host)
    }

    fn has_room(&self, host: usize, bytes: u64) -> bool {
        let host = &self.hosts[host];
        host.used
            .checked_add(bytes)
            .is_some_and(|used| used <= host.high)
    }

    /// A copy that is alive is there to copy from, or there is nothing to copy yet.
    fn has_source(&self, placed: usize) -> bool {
        let one = &self.placed[placed];
        let alive = |copy: &usize| self.hosts[*copy].node.alive;
        one.buffer.copies.is_empty() || one.copies.iter().any(alive)
    }

    /// Copies of the buffer in the zone of a node, one node's left out.
    pub(super) fn zone_count(&self, placed: usize, host: usize, without: Option<usize>) -> usize {
        let zone = self.hosts[host].zone;
        let copies = self.placed[placed].copies.iter();
        let others = copies.filter(|copy| Some(**copy) != without);
        others
            .filter(|copy| self.hosts[**copy].zone == zone)
            .count()
    }

    /// The best node for a copy that leaves `from`, or for one more.
    fn target(&self, placed: usize, from: Option<usize>) -> Option<usize> {
        let buffer = self.placed[placed].buffer;
        let all = 0..self.hosts.len();
        let open =
            all.filter(|host| self.may_take(placed, *host) && self.has_room(*host, buffer.bytes));
        open.min_by_key(|host| {
            let pinned = buffer.pinned.contains(&self.hosts[*host].node.id);
            let zone = self.zone_count(placed, *host, from);
            (!pinned, zone, self.hosts[*host].pressure, *host)
        })
    }

    /// How much there is on a node, as one number: mostly the disk, and copies and load in equal
    /// parts. New buffers are empty, so without the count of copies all of them would go to the
    /// emptiest disk.
    fn weigh(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        let share = |part: u64, whole: u64| u128::from(part) * 1_000_000 / u128::from(whole.max(1));
        let disk = share(host.used, host.node.total_bytes);
        let load = share(host.load, self.mean_load);
        let copies = share(host.copies, self.mean_copies);
        let pressure = disk + (load + copies) / 4;
        host.pressure = u64::try_from(pressure).unwrap_or(u64::MAX);
    }

    /// What each usable node would hold if all had what they are to have, and equal parts of it.
    fn take_means(&mut self) {
        let usable = (0..self.hosts.len())
            .filter(|host| self.usable(*host))
            .count() as u64;
        let (mut load, mut copies) = (0_u64, 0_u64);
        for one in &self.placed {
            let wanted = one.buffer.wanted as u64;
            load = load.saturating_add(one.buffer.load.saturating_mul(wanted));
            copies = copies.saturating_add(wanted);
        }
        self.mean_load = load / usable.max(1);
        self.mean_copies = copies / usable.max(1);
        for host in 0..self.hosts.len() {
            self.weigh(host);
        }
    }

    /// Puts a copy on a node, in place of one or as one more.
    pub(super) fn step(&mut self, placed: usize, from: Option<usize>, to: usize, mut why: Why) {
        let one = &mut self.placed[placed];
        let (bytes, load) = (one.buffer.bytes, one.buffer.load);
        assert!(
            !one.copies.contains(&to),
            "copies of one buffer are on different nodes"
        );
        match from {
            Some(from) => {
                let at = one.copies.iter().position(|copy| *copy == from);
                one.copies[at.expect("a copy leaves where it is")] = to;
                // What must be is told, also where it was put better afterwards.
                why = one
                    .reasons
                    .remove(&from)
                    .map_or(why, |before| before.min(why));
                if one.primary == Some(from) {
                    one.primary_left = Some(why);
                }
                let host = &mut self.hosts[from];
                host.used = host.used.saturating_sub(bytes);
                host.load = host.load.saturating_sub(load);
                host.copies -= 1;
            }
            None => one.copies.push(to),
        }
        one.reasons.insert(to, why);
        let host = &mut self.hosts[to];
        host.used = host.used.saturating_add(bytes);
        host.load = host.load.saturating_add(load);
        host.copies += 1;
        self.steps += 1;
        from.into_iter()
            .chain([to])
            .for_each(|host| self.weigh(host));
    }

    /// Moves away what is on nodes that leave, and makes anew what dead ones had, as asked.
    fn leave(&mut self) {
        let leaving: Vec<Option<Why>> = self
            .hosts
            .iter()
            .map(|host| self.leaves(host.node))
            .collect();
        if leaving.iter().all(Option::is_none) {
            return;
        }
        for placed in 0..self.placed.len() {
            for from in self.placed[placed].copies.clone() {
                if let Some(why) = leaving[from] {
                    self.try_step(placed, Some(from), why);
                }
            }
        }
    }

    /// Why the copies of a node are to be elsewhere.
    fn leaves(&self, node: &Node) -> Option<Why> {
        match node.alive {
            true => (self.asked.drain && node.draining).then_some(Why::Draining),
            false => self.asked.replace.contains(&node.id).then_some(Why::Dead),
        }
    }

    fn fill(&mut self) {
        for placed in 0..self.placed.len() {
            while self.placed[placed].copies.len() < self.placed[placed].buffer.wanted
                && self.try_step(placed, None, Why::Missing)
            {}
        }
    }

    fn misplaced(&mut self) {
        for placed in 0..self.placed.len() {
            for from in self.placed[placed].copies.clone() {
                if self.hosts[from].node.alive && !self.allowed(placed, from) {
                    self.try_step(placed, Some(from), Why::Misplaced);
                }
            }
        }
    }

    /// Moves copies to nodes that are pinned.
    fn pins(&mut self) {
        for placed in 0..self.placed.len() {
            let buffer = self.placed[placed].buffer;
            for id in &buffer.pinned {
                let found = self.hosts.binary_search_by_key(id, |host| host.node.id);
                let Some(to) = found.ok().filter(|host| self.may_take(placed, *host)) else {
                    continue;
                };
                let copies = self.placed[placed].copies.iter().copied();
                let spare = copies.filter(|copy| {
                    let node = self.hosts[*copy].node;
                    node.alive && !buffer.pinned.contains(&node.id)
                });
                let spare = spare.max_by_key(|copy| (self.hosts[*copy].pressure, *copy));
                if let Some(from) = spare
                    && self.has_room(to, buffer.bytes)
                    && !self.is_full()
                {
                    self.step(placed, Some(from), to, Why::Pinned);
                }
            }
        }
    }

    /// Takes a step to the best node, if there is one.
    fn try_step(&mut self, placed: usize, from: Option<usize>, why: Why) -> bool {
        if self.is_full() || !self.has_source(placed) {
            return false;
        }
        let target = self.target(placed, from);
        if let Some(to) = target {
            self.step(placed, from, to, why);
        }
        target.is_some()
    }

    /// Moves copies that share a zone to one that has fewer.
    fn zones(&mut self) {
        for placed in 0..self.placed.len() {
            while let Some((from, to)) = self.better_zone(placed).filter(|_| !self.is_full()) {
                self.step(placed, Some(from), to, Why::Zone);
            }
        }
    }

    /// A copy that shares its zone, on a node that is alive, and a node in a zone with fewer.
    fn better_zone(&self, placed: usize) -> Option<(usize, usize)> {
        let one = &self.placed[placed];
        let buffer = one.buffer;
        let sharing = |copy: &&usize| self.zone_count(placed, **copy, Some(**copy)) > 0;
        let movable = one.copies.iter().filter(sharing).filter(|copy| {
            let node = self.hosts[**copy].node;
            // A dead node's copies stay, and what leaves was tried before.
            node.alive && !node.draining && !buffer.pinned.contains(&node.id)
        });
        let best = movable.filter_map(|from| {
            let to = self.target(placed, Some(*from))?;
            let (now, then) = (
                self.zone_count(placed, *from, Some(*from)),
                self.zone_count(placed, to, Some(*from)),
            );
            let primary = one.primary == Some(*from);
            let pressure = Reverse(self.hosts[*from].pressure);
            (then < now).then_some(((then, primary, pressure, *from), (*from, to)))
        });
        best.min().map(|(_, step)| step)
    }

    pub(super) fn note(&mut self, trouble: Trouble, buffer: Option<Uuid>) {
        let (count, examples) = self.notes.entry(trouble).or_default();
        if let Some(uuid) = buffer {
            *count += 1;
            if examples.len() < NOTE_EXAMPLES_MAX {
                examples.push(uuid);
            }
        }
    }

    /// Says of what came out what is not as it should be.
    fn note_all(&mut self) {
        if self.is_full() {
            self.note(Trouble::Unfinished, None);
        }
        for placed in 0..self.placed.len() {
            for trouble in self.troubles(placed) {
                self.note(trouble, Some(self.placed[placed].buffer.uuid));
            }
        }
        if self.asked.rebalance {
            self.note_uneven();
        }
    }

    fn troubles(&self, placed: usize) -> BTreeSet<Trouble> {
        let one = &self.placed[placed];
        let (buffer, count) = (one.buffer, one.copies.len());
        let mut troubles = BTreeSet::new();
        let lacks = self.asked.fill && count < buffer.wanted;
        let mut stuck = lacks;
        for copy in one.copies.iter().copied() {
            let node = self.hosts[copy].node;
            if self.leaves(node).is_some() {
                stuck = true;
            } else if !node.alive {
                troubles.insert(Trouble::DeadKept(node.id));
            } else if self.asked.rebalance && !self.allowed(placed, copy) {
                stuck = true;
            }
            let shared = self.zone_count(placed, copy, Some(copy)) > 0;
            let moved = one.reasons.contains_key(&copy);
            if shared && node.alive && (self.asked.rebalance || moved) {
                troubles.insert(Trouble::ZoneShared);
            }
        }
        if stuck && !self.is_full() {
            troubles.insert(self.why_stuck(placed));
        }
        if count > buffer.wanted && (self.asked.fill || self.asked.rebalance) {
            troubles.insert(Trouble::Surplus);
        }
        let filled = self.asked.fill && buffer.copies.len() < buffer.wanted;
        if filled || self.asked.rebalance {
            let pinned = buffer.pinned.iter();
            let unusable = pinned.filter(|id| {
                let found = self.hosts.binary_search_by_key(*id, |host| host.node.id);
                let holds = |host: usize| one.copies.contains(&host);
                !found.is_ok_and(|host| {
                    holds(host) || self.usable(host) && self.allowed(placed, host)
                })
            });
            troubles.extend(unusable.map(|id| Trouble::PinnedUnusable(*id)));
        }
        troubles
    }

    fn why_stuck(&self, placed: usize) -> Trouble {
        let open = (0..self.hosts.len()).any(|host| self.may_take(placed, host));
        match (self.has_source(placed), open) {
            (false, _) => Trouble::NoSource,
            (true, false) => Trouble::TooFewNodes,
            (true, true) => Trouble::NoRoom,
        }
    }

    /// What is there now against what was there before: however often a copy was moved in between,
    /// it is sent once.
    fn into_plan(self) -> Plan {
        let primaries = self.hand_overs();
        let mut moves = Vec::new();
        for one in &self.placed {
            let id = |host: usize| self.hosts[host].node.id;
            let before: BTreeSet<NodeId> = one.buffer.copies.iter().copied().collect();
            let now: BTreeMap<NodeId, usize> =
                one.copies.iter().map(|copy| (id(*copy), *copy)).collect();
            let reason = |host: &usize| one.reasons.get(host).copied().unwrap_or(Why::Missing);
            let mut left = before.iter().filter(|node| !now.contains_key(node));
            let new = now.iter().filter(|(node, _)| !before.contains(node));
            let mut new: Vec<(NodeId, Why)> = new.map(|(to, host)| (*to, reason(host))).collect();
            // One more copy is made of those that are for it.
            new.sort_by_key(|(to, why)| (*why == Why::Missing, *to));
            for (to, why) in new {
                let from = left.next().copied();
                moves.push(Move {
                    buffer: one.buffer.uuid,
                    from,
                    to,
                    bytes: one.buffer.bytes,
                    why: if from.is_none() { Why::Missing } else { why },
                });
            }
        }
        // What must be comes before what is better.
        moves.sort_by_key(|step| (step.why, step.buffer, step.to));
        let notes = self
            .notes
            .into_iter()
            .map(|(trouble, (buffers, examples))| Note {
                trouble,
                buffers,
                examples,
            });
        Plan {
            moves,
            primaries,
            notes: notes.collect(),
        }
    }
}

fn hosts<'a>(
    nodes: &'a [Node],
    settings: &Settings,
    regions: &mut BTreeMap<&'a Name, usize>,
) -> Result<Vec<Host<'a>>, Problem> {
    if nodes.len() > NODES_MAX {
        return Err(Problem::TooManyNodes);
    }
    let mut nodes: Vec<&Node> = nodes.iter().collect();
    nodes.sort_by_key(|node| node.id);
    let mut zones: BTreeMap<(&Name, &Name), usize> = BTreeMap::new();
    let mut hosts: Vec<Host<'a>> = vec![];
    for (at, node) in nodes.into_iter().enumerate() {
        if hosts.last().is_some_and(|last| last.node.id == node.id) {
            return Err(Problem::NodeTwice(node.id));
        }
        let used = node.total_bytes.checked_sub(node.free_bytes);
        let count = regions.len();
        // A node without a zone is one by itself, and so has the number of the node.
        let zone = node.zone.as_ref();
        let zone = zone.map(|zone| *zones.entry((&node.region, zone)).or_insert(at));
        let high = u128::from(node.total_bytes) * u128::from(settings.high_water) / 1_000;
        hosts.push(Host {
            node,
            zone: zone.unwrap_or(at),
            region: *regions.entry(&node.region).or_insert(count),
            used: used.ok_or(Problem::FreeBytes(node.id))?,
            high: u64::try_from(high).expect("a part of a u64 is one"),
            load: 0,
            copies: 0,
            primaries: 0,
            pressure: 0,
        });
    }
    Ok(hosts)
}
