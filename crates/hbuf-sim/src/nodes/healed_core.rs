//! A majority of the nodes is healed while the others go on with their faults: the majority must
//! come to decide things, for nobody heals all of a cluster at once. What buffers need besides, a
//! member of the in-sync set may hold that is not there.

use std::collections::BTreeSet;

use hbuf_manager::{Action as Command, Assign, NodeChange};

use super::{About, World, node};
use crate::draw::{Purpose, key};
use crate::kinds::Kind;
use crate::net::{Cut, Endpoint};
use crate::swarm::Opt;
use crate::tracefile::EventId;

/// Between two looks at whether it has come to that, in microseconds.
const LOOK_US: u64 = 100_000;

impl World {
    /// Heals a majority, and waits until it has decided something. `None` where the run stops.
    pub(super) fn heal_core(&mut self, cause: EventId) -> Option<()> {
        let within = self.options.get(Opt::Core);
        if within == 0 || self.watch.broken.is_some() {
            return Some(());
        }
        let event = self.event(&[cause], Kind::CoreHealed, &About::default());
        let core = self.core();
        let ends: BTreeSet<Endpoint> = core.iter().map(|host| node(*host)).collect();
        self.net.spare(ends);
        for host in 0..self.founders {
            match core.contains(&host) {
                true => self.heal_host(event, host),
                false => self.trouble(event, host, within),
            }
        }
        let decided = |world: &Self| {
            let applied = |host: &usize| world.hosts[*host].manager.catalog.applied();
            core.iter().map(applied).min().unwrap_or(0)
        };
        let before = core.iter();
        let before = before.map(|host| self.hosts[*host].manager.catalog.applied());
        let before = before.max().unwrap_or(0);
        let end = self.t + within;
        while !(self.core_stands(&core) && decided(self) > before) && self.watch.broken.is_none() {
            if self.t >= end {
                let names = core.iter().map(|host| self.names.nodes[*host].as_str());
                let names: Vec<&str> = names.collect();
                let what = format!("{} decided nothing", names.join(" "));
                self.broke(event, "core-makes-progress", what);
                break;
            }
            self.ask_core(event, &core);
            self.until(self.t + LOOK_US)?;
        }
        self.net.spare(BTreeSet::new());
        Some(())
    }

    /// One of them asks for something that changes nothing, for there may be nothing to decide.
    fn ask_core(&mut self, cause: EventId, core: &BTreeSet<usize>) {
        let registered = |host: &usize| self.hosts[*host].node_epoch.is_some();
        if let Some(host) = core.iter().copied().find(registered) {
            let node = self.hosts[host].id;
            let change = NodeChange::default();
            let nothing = Assign::SetNode { node, change };
            self.propose(cause, host, Command::Assign(nothing));
        }
    }

    /// A majority of the voters, which ones the seed says.
    fn core(&self) -> BTreeSet<usize> {
        let nodes = self.founders;
        let first = self
            .draw(Purpose::Faults, key("core"), 0)
            .below(nodes as u64);
        let first = usize::try_from(first).unwrap_or(0);
        (0..=nodes / 2).map(|at| (first + at) % nodes).collect()
    }

    /// All of them are registered, whoever leads them, but one whose name several processes ask
    /// for: who has copies of one disk running takes turns until he stops them.
    fn core_stands(&self, core: &BTreeSet<usize>) -> bool {
        core.iter().all(|host| {
            let this = &self.hosts[*host];
            let contested = self.hosts.iter().any(|other| other.copies() == Some(*host));
            this.up && (this.node_epoch.is_some() || contested)
        })
    }

    fn heal_host(&mut self, cause: EventId, host: usize) {
        self.go_on(host);
        let this = &mut self.hosts[host];
        (this.fail_sync, this.slow_us, this.doom) = (false, 0, None);
        self.make_room(cause, host);
        if self.hosts[host].failed {
            self.crash(cause, host, false);
        }
        self.start_if_down(cause, host);
    }

    /// It is away, stands still, or nobody hears it.
    fn trouble(&mut self, cause: EventId, host: usize, within: u64) {
        let draw = self.draw(Purpose::Faults, key("core"), 1 + host as u64);
        match draw.below(3) {
            0 => self.crash(cause, host, true),
            1 => self.hosts[host].clock.pause(Some(self.t + within)),
            _ => {
                self.net.cut(Cut::Isolate(node(host)));
            }
        }
    }
}
