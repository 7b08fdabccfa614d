//! The faults of a run with their times, as a function of seed and options.
//!
//! Each kind of fault comes again and again, with exponential times in between, and is over before
//! it comes anew. They are the actions of scenarios, so a plan can be read, and any of them left
//! out by hand without moving another one.

use std::fmt;

use super::operations::OPERATIONS;
use super::{Opt, Options};
use crate::draw::{Draw, Draws, Purpose, key};
use crate::net::{Cut, Endpoint, Split};
use crate::scenario::{Action, DiskFault, Expectation, NodeRef, Scenario, Step, When};

/// How often one kind of fault comes in a run, at most.
const TIMES_MAX: u64 = 1_000;
/// The longest that a slow disk takes for each sync on top, in microseconds.
const SLOW_MAX: u64 = 50_000;

/// A fault that a seed plans: one or more actions that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Planned {
    /// The name of the option that brings it about.
    pub fault: &'static str,
    /// Which one of this fault, counting from 0.
    pub nth: u64,
    /// When, in microseconds, and what, in the order of time.
    pub actions: Vec<(u64, Action)>,
}

impl Planned {
    /// When it begins.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.actions.first().map_or(0, |(at, _)| *at)
    }

    /// The name by which a hand leaves it out: `crash/3`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.fault, self.nth)
    }
}

/// As lines of a scenario.
impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, action) in &self.actions {
            writeln!(f, "at {at}us {action}")?;
        }
        Ok(())
    }
}

/// The faults that a seed plans, in the order in which they begin. Nodes are `n1` and so on,
/// buffers `b1` and so on. All begin in the first phase of a run and are over when it is.
#[must_use]
pub fn planned(seed: u64, options: &Options) -> Vec<Planned> {
    let plan = Plan {
        draws: Draws::new(seed),
        options,
    };
    let mut all = plan.clocks();
    for (fault, last, make) in TIMED.into_iter().chain(OPERATIONS) {
        all.extend(plan.timed(fault, last, make));
    }
    all.sort_by_key(|planned| (planned.at(), planned.fault, planned.nth));
    all
}

/// A scenario in which these faults happen, whatever its seed: to keep what a seed has found, also
/// when it was made smaller. Clients ask by themselves if the options say so.
#[must_use]
pub fn scenario_of(name: &str, options: &Options, faults: &[Planned]) -> Scenario {
    let mut options = options.clone();
    let timed = TIMED.iter().chain(&OPERATIONS).map(|(fault, _, _)| *fault);
    for fault in timed.chain([Opt::Skew, Opt::Drift]) {
        options.set(fault, 0);
    }
    let mut actions: Vec<_> = faults.iter().flat_map(|it| &it.actions).cloned().collect();
    // Stable: what happens at one time stays in the order of the plan.
    actions.sort_by_key(|(at, _)| *at);
    let steps = actions.into_iter().map(|(at, action)| Step {
        when: When::At(at),
        action,
    });
    Scenario {
        name: name.to_owned(),
        options,
        steps: steps.collect(),
        expects: vec![Expectation::InvariantsHold],
        ..Scenario::default()
    }
}

pub(super) struct Plan<'a> {
    draws: Draws,
    pub(super) options: &'a Options,
}

/// From when to when, and values drawn for this one fault.
pub(super) struct Occasion<'a, 'b> {
    pub(super) plan: &'b Plan<'a>,
    /// Which one of this fault, counting from 0.
    pub(super) nth: u64,
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) draw: Draw,
}

type Make = fn(&Occasion<'_, '_>) -> Vec<(u64, Action)>;

/// The option that says how often, the one that says how long each lasts, and what it is made of.
pub(super) type Timed = (Opt, Option<Opt>, Make);

/// The faults that come again and again: how often, how long each lasts, what it is made of.
const TIMED: [Timed; 12] = [
    (Opt::Partition, Some(Opt::PartitionLast), partition),
    (Opt::Clog, Some(Opt::ClogLast), clog),
    (Opt::Crash, Some(Opt::DownLast), |it| it.down(Action::Crash)),
    (Opt::Kill, Some(Opt::DownLast), |it| it.down(Action::Kill)),
    (Opt::Pause, Some(Opt::PauseLast), |it| {
        let last = Some(it.until - it.from);
        let node = it.node();
        vec![(it.from, Action::Pause { node, last })]
    }),
    (Opt::Jump, None, |it| {
        let most = it.plan.options.get(Opt::JumpMax);
        let node = it.node();
        let by = error(it.draw.next(), most);
        vec![(it.from, Action::Jump { node, by })]
    }),
    (Opt::SyncFails, None, |it| {
        it.disk(it.victim(), DiskFault::SyncFails)
    }),
    (Opt::Rot, None, |it| it.disk(it.victim(), DiskFault::Rots)),
    (Opt::Reformat, Some(Opt::DownLast), |it| {
        let node = it.victim();
        vec![
            (it.from, Action::Reformat(node.clone())),
            (it.until, Action::Start(node)),
        ]
    }),
    (Opt::Full, Some(Opt::FullLast), |it| {
        let mut actions = it.disk(it.node(), DiskFault::Full);
        let room = Action::Disk {
            node: it.node(),
            fault: DiskFault::Room,
        };
        actions.push((it.until, room));
        actions
    }),
    (Opt::SlowDisk, Some(Opt::SlowLast), |it| {
        let by = it.draw.next().within(1_000, SLOW_MAX);
        let slow = Action::SlowDisk {
            node: it.node(),
            by,
        };
        let fast = Action::Disk {
            node: it.node(),
            fault: DiskFault::Fast,
        };
        vec![(it.from, slow), (it.until, fast)]
    }),
    (Opt::Move, None, |it| {
        let buffer = it.buffer();
        let mut nodes = it.plan.nodes();
        let (mut to, mut draw) = (Vec::new(), it.draw.next());
        while to.len() < it.plan.options.count(Opt::Copies) && !nodes.is_empty() {
            to.push(nodes.swap_remove(below(draw, nodes.len())));
            draw = draw.next();
        }
        vec![(it.from, Action::Move { buffer, to })]
    }),
];

impl Plan<'_> {
    pub(super) fn nodes(&self) -> Vec<NodeRef> {
        let numbers = 1..=self.options.get(Opt::Nodes);
        numbers
            .map(|number| NodeRef::Named(format!("n{number}")))
            .collect()
    }

    fn draw(&self, fault: Opt, nth: u64, aspect: u64) -> Draw {
        self.draws
            .draw(Purpose::Faults, key(fault.name()), nth << 2 | aspect)
    }

    fn timed(&self, fault: Opt, last: Option<Opt>, make: Make) -> Vec<Planned> {
        let (every, end) = (self.options.get(fault), self.options.get(Opt::Safety));
        let mut all = Vec::new();
        let mut t: u64 = 0;
        for nth in 0..TIMES_MAX {
            if every == 0 {
                break;
            }
            t = t.saturating_add(self.draw(fault, nth, 0).exponential(every).max(1));
            if t >= end {
                break;
            }
            let lasts = last.map_or(0, |last| self.options.get(last));
            let lasts = self.draw(fault, nth, 1).exponential(lasts).max(1);
            let occasion = Occasion {
                plan: self,
                nth,
                from: t,
                until: t.saturating_add(lasts).min(end),
                draw: self.draw(fault, nth, 2),
            };
            let actions = make(&occasion);
            t = actions.last().map_or(t, |(at, _)| t.max(*at));
            let fault = fault.name();
            all.push(Planned {
                fault,
                nth,
                actions,
            });
        }
        all
    }

    /// Clocks are wrong from the start.
    fn clocks(&self) -> Vec<Planned> {
        let mut all = Vec::new();
        for (nth, node) in (0..).zip(self.nodes()) {
            let mut add = |fault: Opt, action| {
                let fault = fault.name();
                let actions = vec![(0, action)];
                all.push(Planned {
                    fault,
                    nth,
                    actions,
                });
            };
            let by = error(self.draw(Opt::Skew, nth, 0), self.options.get(Opt::Skew));
            if by != 0 {
                let node = node.clone();
                add(Opt::Skew, Action::Jump { node, by });
            }
            let ppm = error(self.draw(Opt::Drift, nth, 0), self.options.get(Opt::Drift));
            if ppm != 0 {
                let ppm = i32::try_from(ppm).expect("the option's range is far below");
                add(Opt::Drift, Action::Drift { node, ppm });
            }
        }
        all
    }
}

impl Occasion<'_, '_> {
    pub(super) fn buffer(&self) -> String {
        let buffers = self.plan.options.get(Opt::Buffers);
        format!("b{}", 1 + self.draw.below(buffers))
    }

    pub(super) fn node(&self) -> NodeRef {
        let mut nodes = self.plan.nodes();
        nodes.swap_remove(below(self.draw, nodes.len()))
    }

    /// The one node of the run whose disk loses what was durable: with faults on more than one,
    /// every copy of a message could be gone, and nothing could be said of the outcome.
    pub(super) fn victim(&self) -> NodeRef {
        self.the_one("victim")
    }

    /// The node of the run to which all of one kind happens.
    pub(super) fn the_one(&self, kind: &str) -> NodeRef {
        let mut nodes = self.plan.nodes();
        let draw = self.plan.draws.draw(Purpose::Faults, key(kind), 0);
        nodes.swap_remove(below(draw, nodes.len()))
    }

    pub(super) fn down(&self, action: fn(NodeRef) -> Action) -> Vec<(u64, Action)> {
        let node = self.node();
        vec![
            (self.from, action(node.clone())),
            (self.until, Action::Start(node)),
        ]
    }

    fn disk(&self, node: NodeRef, fault: DiskFault) -> Vec<(u64, Action)> {
        vec![(self.from, Action::Disk { node, fault })]
    }
}

fn partition(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let count = it.plan.options.get(Opt::Nodes);
    let ends = (1..=count).filter_map(|number| u32::try_from(number).ok());
    let ends: Vec<Endpoint> = ends.map(Endpoint::Node).collect();
    let split = Split::ALL[below(it.draw, Split::ALL.len())];
    let name = |end: &Endpoint| NodeRef::Named(end.to_string());
    let action = match Cut::drawn(split, &ends, it.draw.next().0) {
        None => return Vec::new(),
        Some(Cut::Isolate(end)) => Action::Isolate(name(&end)),
        Some(Cut::OneWay(link)) => Action::Cut {
            from: name(&link.from),
            to: name(&link.to),
        },
        Some(Cut::Groups(groups)) => {
            let groups = groups.iter().map(|group| group.iter().map(name).collect());
            Action::Partition(groups.collect())
        }
    };
    vec![(it.from, action), (it.until, Action::Heal)]
}

/// All links from one node, each until another time: they come free in another order than that in
/// which they stood still ("swizzle-clogging" of FoundationDB).
fn clog(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let from = it.node();
    let mut draw = it.draw.next();
    let others = it.plan.nodes().into_iter().filter(|to| *to != from);
    let clogs = others.map(|to| {
        draw = draw.next();
        let last = draw.within(1, (it.until - it.from).max(1));
        let from = from.clone();
        (it.from, Action::Clog { from, to, last })
    });
    clogs.collect()
}

/// Up to so much, to either side.
fn error(draw: Draw, most: u64) -> i64 {
    if most == 0 {
        return 0;
    }
    let size = i64::try_from(draw.next().within(0, most)).unwrap_or(i64::MAX);
    if draw.percent(50) { size } else { -size }
}

pub(super) fn below(draw: Draw, bound: usize) -> usize {
    usize::try_from(draw.below(bound as u64)).expect("it is below a usize")
}
