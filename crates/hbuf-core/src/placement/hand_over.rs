//! Who is primary: of copies that move away, of new buffers, and so that primaries are spread.

use alloc::vec::Vec;

use super::plan::{HandOver, Trouble, Why};
use super::planner::Planner;

impl Planner<'_> {
    /// Gives each buffer the primary that it needs, and spreads them in a rebalance.
    pub(super) fn hand_over(&mut self) {
        for placed in 0..self.placed.len() {
            if let Some(why) = self.needs_primary(placed) {
                match self.best_primary(placed) {
                    Some(host) => self.appoint(placed, host, why),
                    None => self.note(Trouble::NoPrimary, Some(self.placed[placed].buffer.uuid)),
                }
            }
        }
        if self.asked.rebalance {
            while self.spread_primaries() {}
        }
    }

    /// Why a buffer needs another primary than it has. One without a primary that had copies is not
    /// for a plan: its election waits for a copy that holds all.
    fn needs_primary(&self, placed: usize) -> Option<Why> {
        let one = &self.placed[placed];
        let Some(primary) = one.primary else {
            let is_new = one.buffer.copies.is_empty() && !one.copies.is_empty();
            return is_new.then_some(Why::Missing);
        };
        let node = self.hosts[primary].node;
        let drained = self.asked.drain && node.alive && node.draining;
        let left = one.primary_left.filter(|_| !one.copies.contains(&primary));
        left.or_else(|| drained.then_some(Why::Draining))
    }

    fn may_lead(&self, host: usize) -> bool {
        self.usable(host) && !self.hosts[host].node.clock_off
    }

    /// The copy that is primary of the fewest buffers, one that is there already before a new one.
    fn best_primary(&self, placed: usize) -> Option<usize> {
        let one = &self.placed[placed];
        let able = one
            .copies
            .iter()
            .copied()
            .filter(|copy| self.may_lead(*copy));
        able.min_by_key(|copy| {
            let is_new = !one.buffer.copies.contains(&self.hosts[*copy].node.id);
            (is_new, self.hosts[*copy].primaries, *copy)
        })
    }

    fn appoint(&mut self, placed: usize, to: usize, why: Why) {
        let one = &mut self.placed[placed];
        if let Some(from) = one.primary {
            self.hosts[from].primaries -= 1;
        }
        one.primary = Some(to);
        one.appointed_for = Some(one.appointed_for.map_or(why, |before| before.min(why)));
        self.hosts[to].primaries += 1;
    }

    /// Hands primaries of nodes that have clearly more of them to copies that have fewer; false
    /// when there are none. Each lowers the sum of squares, so this ends.
    fn spread_primaries(&mut self) -> bool {
        let nodes = (0..self.hosts.len())
            .filter(|host| self.may_lead(*host))
            .count();
        let gap = (self.placed.len() / nodes.max(1) / 10).max(2) as u64;
        let mut any = false;
        for placed in 0..self.placed.len() {
            let one = &self.placed[placed];
            let Some(from) = one
                .primary
                .filter(|primary| self.hosts[*primary].node.alive)
            else {
                continue;
            };
            let able = one
                .copies
                .iter()
                .copied()
                .filter(|copy| self.may_lead(*copy));
            let fewest = able.min_by_key(|copy| (self.hosts[*copy].primaries, *copy));
            let Some(to) = fewest.filter(|to| *to != from) else {
                continue;
            };
            if self.hosts[to].primaries + gap <= self.hosts[from].primaries {
                self.appoint(placed, to, Why::Primaries);
                any = true;
            }
        }
        any
    }

    /// Who was primary before against who is in the end.
    pub(super) fn hand_overs(&self) -> Vec<HandOver> {
        let all = self.placed.iter().filter_map(|one| {
            let to = self.hosts[one.primary?].node.id;
            let from = one.buffer.primary;
            (from != Some(to)).then_some(HandOver {
                buffer: one.buffer.uuid,
                from,
                to,
                why: one.appointed_for?,
            })
        });
        all.collect()
    }
}
