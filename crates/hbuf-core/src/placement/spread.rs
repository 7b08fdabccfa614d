//! Which copies move so that no disk is above the high-water mark, and disks and load are even.
//!
//! A node is even while it is within a band around the level: what it would have if all usable
//! nodes of its region were equal. Only nodes outside the band give or take, and only until they
//! are inside; the other node of a move never crosses the level. So what is moved is what is too
//! much or too little, and a copy that was moved for this is not moved back for it.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::plan::{Trouble, Why};
use super::planner::Planner;

/// Copies that are looked at for one move between two nodes, from the size that fits best on.
const LOOKS_MAX: usize = 128;

/// What is made even.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    Disk,
    Load,
}

/// What a node should have, and how far it may be off.
#[derive(Clone, Copy, Default)]
struct Level {
    mean: u64,
    band: u64,
}

/// The copies of each node by their size in one measure.
type Sizes = Vec<BTreeSet<(u64, usize)>>;

/// The levels of all nodes; those that are not usable have none.
type Levels = Vec<Option<Level>>;

/// What one pass goes by.
struct Pass {
    measure: Measure,
    why: Why,
    levels: Levels,
    sizes: Sizes,
    /// The levels of disks, where load is spread: disks come first.
    disk: Option<Levels>,
}

impl Planner<'_> {
    /// Brings disks below the high-water mark.
    pub(super) fn relieve(&mut self) {
        let over = |planner: &Self, host: usize| {
            let host = &planner.hosts[host];
            host.used.saturating_sub(host.high)
        };
        let full = self.usable_hosts();
        let full: Vec<_> = full
            .into_iter()
            .filter(|host| over(self, *host) > 0)
            .collect();
        if full.is_empty() {
            return;
        }
        let mut pass = self.pass(Measure::Disk, Why::HighWater);
        for from in full {
            while over(self, from) > 0 && !self.is_full() {
                let need = over(self, from);
                let room = |to: usize| self.hosts[to].high.saturating_sub(self.hosts[to].used);
                let takers = self.by_most(from, room).into_iter();
                let mut found = takers.filter_map(|to| {
                    let placed = self.find(&pass, (from, to), need, room(to))?;
                    Some((placed, to))
                });
                let Some((placed, to)) = found.next() else {
                    break;
                };
                drop(found);
                self.shift(&mut pass, placed, (from, to));
            }
        }
    }

    pub(super) fn spread_disk(&mut self) {
        self.spread(Measure::Disk, Why::Disk);
    }

    pub(super) fn spread_load(&mut self) {
        self.spread(Measure::Load, Why::Load);
    }

    fn spread(&mut self, measure: Measure, why: Why) {
        let levels = self.levels(measure);
        let mut hosts = self.usable_hosts().into_iter();
        if hosts.all(|host| self.off(&levels, measure, host) == 0) {
            return;
        }
        let mut pass = self.pass(measure, why);
        loop {
            let mut moved = false;
            let mut hosts = self.usable_hosts();
            let off = |host: usize| self.off(&pass.levels, measure, host);
            hosts.sort_by_key(|host| (Reverse(off(*host)), *host));
            for host in hosts {
                while self.off(&pass.levels, measure, host) > 0 && !self.is_full() {
                    let Some((placed, pair)) = self.helpful(&pass, host) else {
                        break;
                    };
                    self.shift(&mut pass, placed, pair);
                    moved = true;
                }
            }
            if !moved || self.is_full() {
                return;
            }
        }
    }

    fn pass(&self, measure: Measure, why: Why) -> Pass {
        Pass {
            measure,
            why,
            levels: self.levels(measure),
            sizes: self.sizes(measure),
            disk: (measure == Measure::Load).then(|| self.levels(Measure::Disk)),
        }
    }

    /// A copy that brings a node towards its band, with where it goes from and to.
    fn helpful(&self, pass: &Pass, host: usize) -> Option<(usize, (usize, usize))> {
        let mean = |host: usize| pass.levels[host].unwrap_or_default().mean;
        let value = |host: usize| self.value(pass.measure, host);
        let above = |host: usize| value(host).saturating_sub(mean(host));
        let below = |host: usize| mean(host).saturating_sub(value(host));
        let need = self.off(&pass.levels, pass.measure, host);
        let gives = above(host) > 0;
        let others = match gives {
            true => self.by_most(host, below),
            false => self.by_most(host, above),
        };
        others.into_iter().find_map(|other| {
            let (from, to) = if gives { (host, other) } else { (other, host) };
            let most = above(from).min(below(to));
            let placed = self.find(pass, (from, to), need, most)?;
            Some((placed, (from, to)))
        })
    }

    /// A copy of `from` that may go to `to`: the smallest of at least `need`, else the largest
    /// below it; of at most `most` in the measure.
    fn find(&self, pass: &Pass, (from, to): (usize, usize), need: u64, most: u64) -> Option<usize> {
        let copies = &pass.sizes[from];
        let fits =
            |(_, placed): &&(u64, usize)| self.may_move(pass.disk.as_ref(), *placed, from, to);
        let enough = (need <= most).then(|| copies.range((need, 0)..=(most, usize::MAX)));
        let mut enough = enough.into_iter().flatten().take(LOOKS_MAX);
        // A copy of nothing gains nothing.
        let less = most.min(need.saturating_sub(1));
        let less = (less > 0).then(|| copies.range((1, 0)..=(less, usize::MAX)).rev());
        let mut less = less.into_iter().flatten().take(LOOKS_MAX);
        let found = enough.find(fits).or_else(|| less.find(fits));
        found.map(|(_, placed)| *placed)
    }

    /// Whether a move breaks no rule that comes before.
    fn may_move(&self, disk: Option<&Levels>, placed: usize, from: usize, to: usize) -> bool {
        let one = &self.placed[placed];
        let (host, target) = (&self.hosts[from], &self.hosts[to]);
        let bytes = one.buffer.bytes;
        // Sorted by what costs least to ask.
        target.used.saturating_add(bytes) <= target.high
            && disk.is_none_or(|disk| self.keeps_disks_even(disk, from, to, bytes))
            && self.may_take(placed, to)
            && !one.buffer.pinned.contains(&host.node.id)
            && self.zone_count(placed, to, Some(from)) <= self.zone_count(placed, from, Some(from))
    }

    /// Whether disks that are within their bands stay there, and others come no further out.
    fn keeps_disks_even(&self, disk: &Levels, from: usize, to: usize, bytes: u64) -> bool {
        let (Some(giver), Some(taker)) = (disk[from], disk[to]) else {
            return false;
        };
        let lowest = giver.mean.saturating_sub(giver.band);
        let highest = taker.mean.saturating_add(taker.band);
        let (left, reached) = (
            self.hosts[from].used.saturating_sub(bytes),
            self.hosts[to].used.saturating_add(bytes),
        );
        bytes == 0 || left >= lowest && reached <= highest
    }

    /// Moves a copy and keeps the sizes as they are.
    fn shift(&mut self, pass: &mut Pass, placed: usize, (from, to): (usize, usize)) {
        let size = self.size(pass.measure, placed);
        self.step(placed, Some(from), to, pass.why);
        pass.sizes[from].remove(&(size, placed));
        pass.sizes[to].insert((size, placed));
    }

    fn size(&self, measure: Measure, placed: usize) -> u64 {
        let buffer = self.placed[placed].buffer;
        match measure {
            Measure::Disk => buffer.bytes,
            Measure::Load => buffer.load,
        }
    }

    fn value(&self, measure: Measure, host: usize) -> u64 {
        match measure {
            Measure::Disk => self.hosts[host].used,
            Measure::Load => self.hosts[host].load,
        }
    }

    /// How far a node is outside its band.
    fn off(&self, levels: &Levels, measure: Measure, host: usize) -> u64 {
        let Some(level) = levels[host] else {
            return 0;
        };
        let distance = self.value(measure, host).abs_diff(level.mean);
        distance.saturating_sub(level.band)
    }

    fn usable_hosts(&self) -> Vec<usize> {
        let all = 0..self.hosts.len();
        all.filter(|host| self.usable(*host)).collect()
    }

    /// The usable nodes of the same region that have most of something, those that have none left
    /// out.
    fn by_most(&self, host: usize, of: impl Fn(usize) -> u64) -> Vec<usize> {
        let region = self.hosts[host].region;
        let others = (0..self.hosts.len())
            .filter(|other| *other != host && self.hosts[*other].region == region);
        let others = others.filter(|other| self.usable(*other) && of(*other) > 0);
        let mut others: Vec<_> = others.collect();
        others.sort_by_key(|other| (Reverse(of(*other)), *other));
        others
    }

    /// The copies on usable nodes by size.
    fn sizes(&self, measure: Measure) -> Sizes {
        let mut sizes: Vec<Vec<(u64, usize)>> = vec![Vec::new(); self.hosts.len()];
        for placed in 0..self.placed.len() {
            let size = self.size(measure, placed);
            for copy in &self.placed[placed].copies {
                if self.usable(*copy) {
                    sizes[*copy].push((size, placed));
                }
            }
        }
        sizes
            .into_iter()
            .map(|sizes| sizes.into_iter().collect())
            .collect()
    }

    /// The levels: of disks by their bytes, of load the same for each node.
    fn levels(&self, measure: Measure) -> Levels {
        let mut sums = vec![(0_u128, 0_u128); self.regions];
        let weight = |host: usize| match measure {
            Measure::Disk => self.hosts[host].node.total_bytes,
            Measure::Load => 1,
        };
        for host in self.usable_hosts() {
            let sum = &mut sums[self.hosts[host].region];
            sum.0 += u128::from(self.value(measure, host));
            sum.1 += u128::from(weight(host));
        }
        let level = |host: usize| {
            let (value, whole) = sums[self.hosts[host].region];
            let mean = value * u128::from(weight(host)) / whole.max(1);
            let mean = u64::try_from(mean).unwrap_or(u64::MAX);
            let (of, band) = match measure {
                Measure::Disk => (weight(host), self.settings.disk_band),
                Measure::Load => (mean, self.settings.load_band),
            };
            let band = u128::from(of) * u128::from(band) / 1_000;
            let band = u64::try_from(band).unwrap_or(u64::MAX);
            Level { mean, band }
        };
        let all = 0..self.hosts.len();
        all.map(|host| self.usable(host).then(|| level(host)))
            .collect()
    }

    /// Names the nodes that stay above the mark or their band.
    pub(super) fn note_uneven(&mut self) {
        let disk = self.levels(Measure::Disk);
        let load = self.levels(Measure::Load);
        for host in self.usable_hosts() {
            let one = &self.hosts[host];
            let (id, over) = (one.node.id, one.used > one.high);
            if over {
                self.note(Trouble::OverFull(id), None);
            }
            for (measure, levels, trouble) in [
                (Measure::Disk, &disk, Trouble::DiskUneven(id)),
                (Measure::Load, &load, Trouble::LoadUneven(id)),
            ] {
                // One that has too little is no trouble while nobody has too much.
                let above = self.value(measure, host) > levels[host].unwrap_or_default().mean;
                if above && self.off(levels, measure, host) > 0 {
                    self.note(trouble, None);
                }
            }
        }
    }
}
