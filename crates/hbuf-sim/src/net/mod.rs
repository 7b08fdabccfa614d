//! The network of a world: it decides when packets arrive, how often, and which never do.
//!
//! It holds no content. A sender calls [`Net::send`] and plans each arrival that it is told; when
//! the time of an arrival has come it calls [`Net::deliver`], which has the last word, since a link
//! may have been cut in the meantime. Times are microseconds of the simulated clock.
//!
//! Every draw is keyed by (link, number of the packet on its link). So a fault that is taken away
//! leaves all other packets as they were, unless somebody sends other ones because of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::{Draw, Draws, Purpose, mix};

mod cut;
#[cfg(test)]
mod tests;
mod weather;

pub use cut::{Cut, Split};
pub use weather::{Endpoint, Link, NetFault, Weather};

/// A packet under way: one that arrives twice has two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// The link that it takes.
    pub link: Link,
    /// How many packets were sent on this link before it.
    pub nth: u64,
    /// 0, or 1 for the second arrival of a packet that arrives twice.
    pub copy: u8,
}

/// When a packet arrives, as things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arrival {
    /// In microseconds; [`Net::deliver`] is to be called then.
    pub at: u64,
    /// What arrives.
    pub packet: Packet,
}

/// What becomes of a packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sent {
    /// The packet.
    pub packet: Packet,
    /// When it arrives: never, once or twice.
    pub arrivals: Vec<Arrival>,
    /// What is lost by this sending and why: the packet itself, another one of a full link, or all
    /// that was under way on the connection. Arrivals that were planned may stay planned:
    /// `deliver` says the same of them.
    pub lost: Vec<(Packet, NetFault)>,
    /// The connection died: both ends are to be told, and neither knows what the other one got.
    pub reset: bool,
}

/// What becomes of an arrival whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// It is there.
    Arrived,
    /// Its link stands still: ask again at this time, which is later than now.
    Later(u64),
    /// It never arrives.
    Lost(NetFault),
}

/// Names a partition, to end it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CutId(pub u32);

/// What is known of one direction between two endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct LinkState {
    /// Packets so far.
    sent: u64,
    /// When all bytes so far are on their way.
    busy_until: u64,
    clogged_until: u64,
    /// The number behind the highest one that has arrived.
    arrived_end: u64,
    under_way: BTreeSet<(u64, u8)>,
    /// Lost, but their arrivals are still planned somewhere.
    lost: BTreeMap<(u64, u8), NetFault>,
}

/// All links of a world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    draws: Draws,
    weather: Weather,
    own_weather: BTreeMap<Link, Weather>,
    links: BTreeMap<Link, LinkState>,
    cuts: BTreeMap<CutId, Cut>,
    cuts_made: u32,
    spared: BTreeSet<Endpoint>,
    took: BTreeMap<NetFault, u64>,
}

impl Net {
    /// A network where nothing is under way. All its draws follow from the seed.
    #[must_use]
    pub const fn new(seed: u64, weather: Weather) -> Self {
        Self {
            draws: Draws::new(seed),
            weather,
            own_weather: BTreeMap::new(),
            links: BTreeMap::new(),
            cuts: BTreeMap::new(),
            cuts_made: 0,
            spared: BTreeSet::new(),
            took: BTreeMap::new(),
        }
    }

    /// Sends a packet of so many bytes. What goes from somebody to itself arrives at once.
    pub fn send(&mut self, now: u64, from: Endpoint, to: Endpoint, bytes: u64) -> Sent {
        let link = Link::new(from, to);
        let state = self.links.entry(link).or_default();
        let nth = state.sent;
        state.sent += 1;
        let packet = Packet { link, nth, copy: 0 };
        let mut sent = Sent {
            packet,
            arrivals: Vec::new(),
            lost: Vec::new(),
            reset: false,
        };
        if from == to {
            self.plan(&mut sent, packet, now);
            return sent;
        }
        let weather = self.weather_of(link);
        // Also what is lost on its way was sent, and took its time.
        let leaves = self.leaves_at(now, link, bytes, &weather);
        if let Some(fault) = self.blocked(link) {
            self.count(fault);
            sent.lost.push((packet, fault));
            return sent;
        }
        if self.draw(Purpose::NetReset, packet).ppm(weather.reset_ppm) {
            let under_way = self.reset(from, to);
            sent.lost = under_way
                .into_iter()
                .map(|it| (it, NetFault::Reset))
                .collect();
            sent.lost.push((packet, NetFault::Reset));
            sent.reset = true;
            return sent;
        }
        if self.draw(Purpose::NetDrop, packet).ppm(weather.drop_ppm) {
            self.count(NetFault::Drop);
            sent.lost.push((packet, NetFault::Drop));
            return sent;
        }
        self.plan_drawn(&mut sent, packet, leaves, &weather);
        let dup = self.draw(Purpose::NetDup, packet);
        if dup.ppm(weather.dup_ppm) {
            self.count(NetFault::Dup);
            self.plan_drawn(&mut sent, Packet { copy: 1, ..packet }, leaves, &weather);
        }
        self.shed(&mut sent, packet, &weather);
        sent
    }

    /// Says what becomes of an arrival whose time has come. Each is asked for until it is there or
    /// lost; asking for what never was under way is a mistake of the caller's.
    pub fn deliver(&mut self, now: u64, packet: Packet) -> Delivery {
        let key = (packet.nth, packet.copy);
        let blocked = self.blocked(packet.link);
        let state = self.links.get_mut(&packet.link);
        let state = state.expect("an arrival is of a link that somebody sent on");
        if let Some(fault) = state.lost.remove(&key) {
            return Delivery::Lost(fault);
        }
        assert!(
            state.under_way.contains(&key),
            "packet {key:?} of {} is not under way",
            packet.link
        );
        if let Some(fault) = blocked {
            state.under_way.remove(&key);
            self.count(fault);
            return Delivery::Lost(fault);
        }
        if state.clogged_until > now {
            let until = state.clogged_until;
            self.count(NetFault::Clog);
            return Delivery::Later(until);
        }
        state.under_way.remove(&key);
        let overtaken = packet.nth < state.arrived_end;
        state.arrived_end = state.arrived_end.max(packet.nth + 1);
        if overtaken && packet.copy == 0 {
            self.count(NetFault::Reorder);
        }
        Delivery::Arrived
    }

    /// Until when a packet whose time has come stands still with its link, if it does and nothing
    /// else becomes of it.
    #[must_use]
    pub fn waits(&self, now: u64, packet: Packet) -> Option<u64> {
        let state = self.links.get(&packet.link)?;
        let under_way = state.under_way.contains(&(packet.nth, packet.copy));
        let waits = under_way && state.clogged_until > now && self.blocked(packet.link).is_none();
        waits.then_some(state.clogged_until)
    }

    /// Loses a packet that is under way; `false` when it is not.
    pub fn lose(&mut self, packet: Packet) -> bool {
        let Some(state) = self.links.get_mut(&packet.link) else {
            return false;
        };
        let found = state.lose((packet.nth, packet.copy), NetFault::Drop);
        if found {
            self.count(NetFault::Drop);
        }
        found
    }

    /// The connection between two dies: says what was under way on it, which is lost. Both are to
    /// be told: neither knows what the other one got.
    pub fn reset(&mut self, one: Endpoint, other: Endpoint) -> Vec<Packet> {
        let there = Link::new(one, other);
        let mut lost = Vec::new();
        for link in [there, there.reverse()] {
            let Some(state) = self.links.get_mut(&link) else {
                continue;
            };
            for (nth, copy) in state.under_way.clone() {
                state.lose((nth, copy), NetFault::Reset);
                lost.push(Packet { link, nth, copy });
            }
        }
        self.count(NetFault::Reset);
        lost
    }

    /// All connections of one die, as with a crash: says what was under way on them.
    pub fn reset_all(&mut self, end: Endpoint) -> Vec<Packet> {
        let of_end = |link: &&Link| (link.from == end) != (link.to == end);
        let other = |link: &Link| if link.from == end { link.to } else { link.from };
        let others: BTreeSet<_> = self.links.keys().filter(of_end).map(other).collect();
        let resets = others.into_iter().map(|other| self.reset(end, other));
        resets.collect::<Vec<_>>().concat()
    }

    /// Begins a partition. What is under way is lost when it arrives while the partition lasts.
    pub fn cut(&mut self, cut: Cut) -> CutId {
        let id = CutId(self.cuts_made);
        self.cuts_made += 1;
        self.cuts.insert(id, cut);
        id
    }

    /// Ends one partition; `false` when it is over.
    pub fn heal(&mut self, id: CutId) -> bool {
        self.cuts.remove(&id).is_some()
    }

    /// Ends all partitions, and all that links stand still or have of weather of their own. What
    /// was told to come later comes when it was told.
    pub fn heal_all(&mut self) {
        self.cuts.clear();
        self.own_weather.clear();
        for state in self.links.values_mut() {
            state.clogged_until = 0;
        }
    }

    /// The partitions that there are.
    #[must_use]
    pub const fn cuts(&self) -> &BTreeMap<CutId, Cut> {
        &self.cuts
    }

    /// Whether what is sent now would get through, but for chance.
    #[must_use]
    pub fn reaches(&self, from: Endpoint, to: Endpoint) -> bool {
        from == to || self.blocked(Link::new(from, to)).is_none()
    }

    /// A link stands still until this time, in microseconds; then everything arrives.
    pub fn clog(&mut self, link: Link, until: u64) {
        let state = self.links.entry(link).or_default();
        state.clogged_until = state.clogged_until.max(until);
    }

    /// Changes what links do, but those that have weather of their own.
    pub const fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// What links do that have no weather of their own.
    #[must_use]
    pub const fn weather(&self) -> Weather {
        self.weather
    }

    /// Gives a link weather of its own, or takes it away.
    pub fn set_link_weather(&mut self, link: Link, weather: Option<Weather>) {
        match weather {
            Some(weather) => self.own_weather.insert(link, weather),
            None => self.own_weather.remove(&link),
        };
    }

    /// From now on these reach each other without faults, whatever else is broken: the healed core
    /// of a run's second phase. An empty set ends that.
    pub fn spare(&mut self, core: BTreeSet<Endpoint>) {
        for (link, state) in &mut self.links {
            if core.contains(&link.from) && core.contains(&link.to) {
                state.clogged_until = 0;
            }
        }
        self.spared = core;
    }

    /// How often each fault took effect; see [`NetFault::about`] for what is one time.
    #[must_use]
    pub const fn took(&self) -> &BTreeMap<NetFault, u64> {
        &self.took
    }

    /// Packets under way: planned and neither arrived nor lost.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.links.values().map(|link| link.under_way.len()).sum()
    }

    fn is_spared(&self, link: Link) -> bool {
        self.spared.contains(&link.from) && self.spared.contains(&link.to)
    }

    fn weather_of(&self, link: Link) -> Weather {
        if self.is_spared(link) {
            return Weather {
                delay_min_us: self.weather.delay_min_us,
                delay_mean_us: self.weather.delay_mean_us,
                ..Weather::CALM
            };
        }
        self.own_weather.get(&link).copied().unwrap_or(self.weather)
    }

    fn blocked(&self, link: Link) -> Option<NetFault> {
        if self.is_spared(link) {
            return None;
        }
        let mut cuts = self.cuts.values();
        cuts.find(|cut| cut.blocks(link)).map(Cut::fault)
    }

    /// When the last byte of a packet is on its way.
    fn leaves_at(&mut self, now: u64, link: Link, bytes: u64, weather: &Weather) -> u64 {
        let Some(rate) = weather.bytes_per_second else {
            return now;
        };
        let state = self.links.entry(link).or_default();
        let micros = (u128::from(bytes) * 1_000_000).div_ceil(u128::from(rate.max(1)));
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        state.busy_until = state.busy_until.max(now).saturating_add(micros);
        let leaves = state.busy_until;
        if leaves > now {
            self.count(NetFault::Slow);
        }
        leaves
    }

    fn plan_drawn(&mut self, sent: &mut Sent, packet: Packet, leaves: u64, weather: &Weather) {
        let draw = self.draw(Purpose::NetDelay, packet);
        let draw = if packet.copy == 0 { draw } else { draw.next() };
        let extra = draw.exponential(weather.delay_mean_us);
        if extra > weather.delay_mean_us.saturating_mul(3) {
            self.count(NetFault::Delay);
        }
        let at = leaves
            .saturating_add(weather.delay_min_us)
            .saturating_add(extra);
        let clogged_until = self.links.entry(packet.link).or_default().clogged_until;
        if clogged_until > at {
            self.count(NetFault::Clog);
        }
        self.plan(sent, packet, at.max(clogged_until));
    }

    fn plan(&mut self, sent: &mut Sent, packet: Packet, at: u64) {
        let state = self.links.entry(packet.link).or_default();
        state.under_way.insert((packet.nth, packet.copy));
        sent.arrivals.push(Arrival { at, packet });
    }

    /// A full link loses some of what is under way on it.
    fn shed(&mut self, sent: &mut Sent, packet: Packet, weather: &Weather) {
        let Some(capacity) = weather.capacity else {
            return;
        };
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        let mut draw = self.draw(Purpose::NetCapacity, packet);
        let link = packet.link;
        loop {
            let state = self.links.entry(link).or_default();
            if state.under_way.len() <= capacity {
                return;
            }
            let at = draw.below(state.under_way.len() as u64);
            let mut under_way = state.under_way.iter();
            let nth = under_way.nth(usize::try_from(at).unwrap_or(usize::MAX));
            let victim = *nth.expect("the draw is below the count");
            state.lose(victim, NetFault::Capacity);
            draw = draw.next();
            let (nth, copy) = victim;
            sent.lost
                .push((Packet { link, nth, copy }, NetFault::Capacity));
            self.count(NetFault::Capacity);
        }
    }

    fn draw(&self, purpose: Purpose, packet: Packet) -> Draw {
        let link = packet.link;
        let entity = mix(mix(0, link.from.key()), link.to.key());
        self.draws.draw(purpose, entity, packet.nth)
    }

    fn count(&mut self, fault: NetFault) {
        *self.took.entry(fault).or_insert(0) += 1;
    }
}

impl LinkState {
    fn lose(&mut self, key: (u64, u8), fault: NetFault) -> bool {
        let found = self.under_way.remove(&key);
        if found {
            self.lost.insert(key, fault);
        }
        found
    }
}
