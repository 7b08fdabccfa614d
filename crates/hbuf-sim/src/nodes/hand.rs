//! What a hand changes in a run, and where somebody stops it to look.
//!
//! An event that was planned (an arrival, the end of a sync, a turn of a client, a fault) is
//! changed when its time has come. Other events happen together with others in one step. Only an
//! action can be put before such a one, and it comes before the whole step; that step is known when
//! the event happens, so the run then begins anew and knows it ([`Pins`]). That is once for each
//! such change at most.

use std::collections::BTreeMap;

use super::{Due, Planned, World};
use crate::kinds::Kind;
use crate::overrides::{Change, Override, Overrides, Place};
use crate::scenario::Action;
use crate::tracefile::EventId;

/// Events before whose steps something happens, by the numbers of the steps.
pub(super) type Pins = BTreeMap<u64, Vec<EventId>>;

/// A change that could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("override `{change}`: {why}")]
pub struct Unmet {
    /// The change, as it is written.
    pub change: String,
    /// Why not, and what would be possible.
    pub why: String,
}

/// Where a run ends before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nowhere.
    #[default]
    Never,
    /// Before the step of this number.
    Step(u64),
    /// Behind all that happens through this time.
    Time(u64),
    /// When an event is met whose number, counting from 1, is this.
    Number(u64),
    /// When an event is met whose id is in this range; at the end, if it is of more than one id.
    Id(EventId, EventId),
}

/// An event that somebody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) eid: EventId,
    pub(super) n: u64,
    pub(super) step: u64,
}

/// The changes of a run and what became of them so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Hand {
    overrides: Overrides,
    pins: Pins,
    stop: Stop,
    /// Nothing is to be seen at events: most runs.
    idle: bool,
    /// The run stops here.
    stopped: bool,
    pub(super) met: Option<Met>,
    /// Events like that.
    pub(super) met_count: u64,
    /// An event that has to be pinned, for which the run begins anew.
    pub(super) late: Option<Met>,
    /// What waits for another event to come first.
    waiting: BTreeMap<EventId, Vec<Planned>>,
    unmet: Vec<Unmet>,
}

impl Hand {
    pub(super) fn new(overrides: Overrides, pins: Pins, stop: Stop) -> Self {
        let seeks = matches!(stop, Stop::Number(_) | Stop::Id(..));
        Self {
            idle: !overrides.name_events() && !seeks,
            overrides,
            pins,
            stop,
            ..Self::default()
        }
    }

    /// Something happened: is it what somebody waits for?
    pub(super) fn happened(&mut self, eid: EventId, kind: Kind, n: u64, step: u64) {
        if self.idle {
            return;
        }
        let met = Met { eid, n, step };
        let sought = match self.stop {
            Stop::Number(number) => number == n,
            Stop::Id(low, high) => (low..=high).contains(&eid),
            _ => false,
        };
        if sought {
            self.met.get_or_insert(met);
            self.met_count += 1;
            // Of an id that is not whole there may be more.
            self.stopped |= !matches!(self.stop, Stop::Id(low, high) if low < high);
        }
        let changes = self
            .overrides
            .open_at(eid)
            .chain(self.overrides.open_before(eid));
        let changes: Vec<Override> = changes.cloned().collect();
        if changes.is_empty() {
            return;
        }
        let alone = changes
            .iter()
            .all(|it| matches!(it.change, Change::Act(_)) && it.at == Place::Event(eid));
        if alone && step > 0 {
            self.late.get_or_insert(met);
            self.stopped = true;
            return;
        }
        let name = kind.name();
        let why = match step {
            0 => format!("{name} begins the run: allowed is an action at a time, at=0"),
            _ => format!(
                "{name} happens together with others in one step; allowed here: an action, as in \
                 `crash n1`, right before them"
            ),
        };
        for change in changes {
            self.refuse(&change, why.clone());
        }
        self.overrides.at_event(eid);
    }

    fn refuse(&mut self, change: &Override, why: String) {
        let change = change.to_string();
        self.unmet.push(Unmet { change, why });
    }

    /// Whether the run stops before this step, whose time this is.
    pub(super) fn stops_at(&mut self, t: u64, step: u64) -> bool {
        self.stopped |= match self.stop {
            Stop::Step(number) => step >= number,
            Stop::Time(time) => t > time,
            _ => false,
        };
        self.stopped
    }

    /// When the next action is due.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.overrides.next_time()
    }

    /// Takes an action that is due at this time or before.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Action> {
        self.overrides.take_due(now)
    }

    /// Whether a fault that the seed plans is left out.
    pub(super) fn skips(&mut self, planned: &crate::swarm::Planned) -> bool {
        self.overrides.skips(planned)
    }

    /// What happens right before a step in which events happen together.
    fn take_pinned(&mut self, step: u64) -> Vec<Action> {
        let eids = self.pins.remove(&step).unwrap_or_default();
        let changes = eids
            .into_iter()
            .flat_map(|eid| self.overrides.at_event(eid));
        let actions = changes.filter_map(|change| match change {
            Change::Act(action) => Some(action),
            _ => None,
        });
        actions.collect()
    }

    /// What became of the changes, when the run is over: those that changed nothing, and why.
    pub(super) fn unmet(self, end: u64, plans: impl Fn(&str) -> u64) -> Vec<Unmet> {
        let never = self.overrides.unused().map(|change| Unmet {
            change: change.to_string(),
            why: match &change.at {
                Place::Event(eid) => format!(
                    "no event {eid} comes in this run; allowed are the ids of a trace of the run \
                     with the overrides before this one"
                ),
                Place::Time(_) => {
                    let end = crate::swarm::Unit::Micros.show(end);
                    format!("the run is over before; allowed: a time up to {end}")
                }
                Place::Fault(fault, _) => match plans(fault) {
                    0 => format!("the seed plans no {fault}"),
                    1 => format!("the seed plans one {fault}; allowed: {fault}/0"),
                    count => {
                        let last = count - 1;
                        format!("allowed: {fault}/0 to {fault}/{last}, as many as the seed plans")
                    }
                },
            },
        });
        let never: Vec<Unmet> = never.collect();
        let mut all = self.unmet;
        all.extend(never);
        all
    }
}

impl World {
    /// A step begins, if the run does not stop before it; what was put before it happens.
    pub(super) fn begin_step(&mut self) -> Option<()> {
        let step = self.steps + 1;
        if self.hand.stops_at(self.t, step) {
            return None;
        }
        self.steps = step;
        if !self.hand.pins.is_empty() {
            let root = self.root;
            for action in self.hand.take_pinned(step) {
                self.act(root, &action);
            }
        }
        Some(())
    }

    /// The time of something that is due has come: it happens, unless a hand changes that.
    pub(super) fn come(&mut self, planned: Planned) {
        let eid = planned.eid;
        if self.hand.idle || eid == EventId::default() {
            self.carry_out(planned);
            return;
        }
        let open = self.hand.overrides.open_before(eid).next().cloned();
        if let Some(Override {
            at: Place::Event(first),
            ..
        }) = open
        {
            match self.take_planned(first) {
                // It was to come later, and is there already.
                Some(first) => self.come(first),
                None => {
                    self.hand.waiting.entry(first).or_default().push(planned);
                    return;
                }
            }
        }
        if let Some(planned) = self.changed(planned) {
            self.carry_out(planned);
            for waits in self.hand.waiting.remove(&eid).unwrap_or_default() {
                self.come(waits);
            }
        }
    }

    fn take_planned(&mut self, eid: EventId) -> Option<Planned> {
        let mut all = self.queue.iter();
        let place = all.find(|(_, planned)| planned.eid == eid)?;
        let place = *place.0;
        self.queue.remove(&place)
    }

    /// What a hand leaves of something whose time has come.
    fn changed(&mut self, mut planned: Planned) -> Option<Planned> {
        if planned.moved {
            return Some(planned);
        }
        let changes: Vec<Override> = self.hand.overrides.open_at(planned.eid).cloned().collect();
        self.hand.overrides.at_event(planned.eid);
        let mut happens = true;
        let mut later = 0;
        for change in changes {
            match &change.change {
                Change::Act(action) => {
                    let root = self.root;
                    self.act(root, action);
                }
                // It has come, and the other one has not.
                Change::Before(_) => {}
                Change::Delay(by) => later += by,
                other => happens &= !self.undo(&planned, other, &change),
            }
        }
        if !happens {
            return None;
        }
        if later > 0 {
            planned.moved = true;
            planned.meant = self.t + later;
            self.plan(planned.meant, planned);
            return None;
        }
        Some(planned)
    }

    /// Says whether it does not happen.
    fn undo(&mut self, planned: &Planned, wanted: &Change, change: &Override) -> bool {
        match (&planned.due, wanted) {
            (Due::Arrive { packet, .. }, Change::Drop | Change::Skip) => {
                self.lose(planned.cause, *packet);
                true
            }
            (Due::Client(client), Change::Skip) => {
                self.skip_turn(planned.cause, *client);
                true
            }
            (Due::Again { client, .. }, Change::Skip) => {
                self.next_turn(planned.cause, *client);
                true
            }
            (Due::Act(_), Change::Skip) => true,
            (Due::Step(step), Change::Skip) => {
                self.step_again(planned.cause, *step);
                true
            }
            (Due::Synced { host, .. }, Change::Fail) => {
                self.hosts[*host].fail_sync = true;
                false
            }
            (due, _) => {
                let (is, allowed) = due.can_be_changed();
                let why = format!("this is {is}; allowed here: {allowed}, an action");
                self.hand.refuse(change, why);
                false
            }
        }
    }
}

impl Due {
    /// What it is, and how a hand can change it.
    const fn can_be_changed(&self) -> (&'static str, &'static str) {
        match self {
            Self::Arrive { .. } => ("an arrival", "drop, delay, before"),
            Self::Synced { .. } => ("the end of a sync", "fail, delay, before"),
            Self::Client(_) | Self::Again { .. } => ("a request", "skip, delay, before"),
            Self::Act(_) | Self::Step(_) => ("an action", "skip, delay, before"),
            _ => ("something that a node does by itself", "delay, before"),
        }
    }
}
