//! The clocks of a node: one that never goes back, and one that jumps.
//!
//! Platforms promise that monotonic time does not decrease, and nothing about the time of day. Both
//! run at the node's own rate, which may be wrong by some ppm. Neither stops while the process is
//! paused: what was due meanwhile is late.
//!
//! Simulated times and readings are microseconds.

use std::collections::BTreeMap;

use hbuf_core::ids::Micros;

/// The largest drift, in millionths: a clock runs at half to one and a half times the true rate.
pub const DRIFT_PPM_MAX: i32 = 500_000;

/// A fault of a clock, or of the process that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockFault {
    /// The time of day is wrong from the start.
    Skew,
    /// The time of day goes back or forth at once.
    Jump,
    /// Both clocks run too fast or too slowly.
    Drift,
    /// The process stands still while time goes on.
    Pause,
}

impl ClockFault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Skew, Self::Jump, Self::Drift, Self::Pause];

    /// Its name in traces, counts and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skew => "clock.skew",
            Self::Jump => "clock.jump",
            Self::Drift => "clock.drift",
            Self::Pause => "pause",
        }
    }

    /// What happens; each time that it is brought about counts.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Skew => "the time of day is wrong from the start",
            Self::Jump => "the time of day goes back or forth at once",
            Self::Drift => "both clocks run too fast or too slowly from now on",
            Self::Pause => "the process stands still while time goes on",
        }
    }
}

/// Whether the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Running {
    Yes,
    /// From this time on, or, if there is none, when somebody resumes it.
    From(Option<u64>),
}

/// The clocks of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// At this simulated time the monotonic clock showed `monotonic_us`.
    since: u64,
    monotonic_us: u64,
    drift_ppm: i32,
    /// The time of day minus the monotonic clock.
    wall_offset_us: i64,
    running: Running,
    took: BTreeMap<ClockFault, u64>,
}

impl Clock {
    /// Clocks that are right: at simulated time `now` the time of day is `wall`, and monotonic time
    /// begins at 0, as at the start of a machine.
    #[must_use]
    pub fn new(now: u64, wall: Micros) -> Self {
        Self {
            since: now,
            monotonic_us: 0,
            drift_ppm: 0,
            wall_offset_us: i64::try_from(wall.0).unwrap_or(i64::MAX),
            running: Running::Yes,
            took: BTreeMap::new(),
        }
    }

    /// The monotonic clock at a simulated time, which is never before the last change.
    #[must_use]
    pub fn monotonic(&self, now: u64) -> u64 {
        let passed = i128::from(now.saturating_sub(self.since));
        let shown = passed * i128::from(1_000_000 + self.drift_ppm) / 1_000_000;
        let shown = u64::try_from(shown).unwrap_or(u64::MAX);
        self.monotonic_us.saturating_add(shown)
    }

    /// The time of day that the node shows, from 1970 on and to the last time that a record holds.
    #[must_use]
    pub fn wall(&self, now: u64) -> Micros {
        let wall = i128::from(self.monotonic(now)) + i128::from(self.wall_offset_us);
        let wall = u64::try_from(wall.max(0)).unwrap_or(u64::MAX);
        Micros(wall).min(Micros::MAX)
    }

    /// The first simulated time at which the monotonic clock shows at least `reading`; when it does
    /// already, the time since which it is known to. A drift that changes later moves it: whoever
    /// is called at that time looks at the clock and asks again when it is too early.
    #[must_use]
    pub fn when(&self, reading: u64) -> u64 {
        let missing = i128::from(reading.saturating_sub(self.monotonic_us));
        // The first x with floor(x * rate / 1e6) >= missing.
        let rate = i128::from(1_000_000 + self.drift_ppm);
        let passed = (missing * 1_000_000 + rate - 1) / rate;
        self.since
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// When a timer fires that is set now for `delay_us` of the node's own time: not while the
    /// process stands still. `None` when it does so until somebody resumes it.
    #[must_use]
    pub fn fires(&self, now: u64, delay_us: u64) -> Option<u64> {
        self.runs_at(self.would_fire(now, delay_us))
    }

    /// When it fires if the process never stands still.
    #[must_use]
    pub fn would_fire(&self, now: u64, delay_us: u64) -> u64 {
        let reading = self.monotonic(now).saturating_add(delay_us);
        self.when(reading).max(now)
    }

    /// The first time from `at` on at which the process runs; `None` when that is not known.
    #[must_use]
    pub fn runs_at(&self, at: u64) -> Option<u64> {
        match self.running {
            Running::Yes => Some(at),
            Running::From(from) => from.map(|from| from.max(at)),
        }
    }

    /// The time of day is wrong by so much: for the start of a run.
    pub fn skew(&mut self, by_us: i64) {
        self.wall_offset_us = self.wall_offset_us.saturating_add(by_us);
        self.count(ClockFault::Skew);
    }

    /// The time of day goes back or forth; the monotonic clock does not notice.
    pub fn jump(&mut self, by_us: i64) {
        self.wall_offset_us = self.wall_offset_us.saturating_add(by_us);
        self.count(ClockFault::Jump);
    }

    /// Both clocks run at another rate from now on. What they show now stays. At most
    /// [`DRIFT_PPM_MAX`] in either direction.
    pub fn drift(&mut self, now: u64, ppm: i32) {
        assert!(
            (-DRIFT_PPM_MAX..=DRIFT_PPM_MAX).contains(&ppm),
            "a drift of {ppm} ppm, at most {DRIFT_PPM_MAX}"
        );
        self.monotonic_us = self.monotonic(now);
        self.since = self.since.max(now);
        self.drift_ppm = ppm;
        self.count(ClockFault::Drift);
    }

    /// The time of day is right again, and both clocks run at the true rate: as when the node asks
    /// a time server. `wall` is the right time.
    pub fn correct(&mut self, now: u64, wall: Micros) {
        self.monotonic_us = self.monotonic(now);
        self.since = self.since.max(now);
        self.drift_ppm = 0;
        let right = i64::try_from(wall.0).unwrap_or(i64::MAX);
        let monotonic = i64::try_from(self.monotonic_us).unwrap_or(i64::MAX);
        self.wall_offset_us = right.saturating_sub(monotonic);
    }

    /// The machine starts again: the time of day goes on, the monotonic clock begins at 0.
    pub fn reboot(&mut self, now: u64) {
        let before = i64::try_from(self.monotonic(now)).unwrap_or(i64::MAX);
        self.wall_offset_us = self.wall_offset_us.saturating_add(before);
        self.monotonic_us = 0;
        self.since = self.since.max(now);
        self.running = Running::Yes;
    }

    /// The process stands still until `until`, or until it is resumed. Both clocks go on.
    pub fn pause(&mut self, until: Option<u64>) {
        self.running = Running::From(until);
        self.count(ClockFault::Pause);
    }

    /// The process goes on.
    pub const fn resume(&mut self) {
        self.running = Running::Yes;
    }

    /// Whether the process stands still at this time.
    #[must_use]
    pub fn is_paused(&self, now: u64) -> bool {
        self.runs_at(now) != Some(now)
    }

    /// How often each fault was brought about.
    #[must_use]
    pub const fn took(&self) -> &BTreeMap<ClockFault, u64> {
        &self.took
    }

    fn count(&mut self, fault: ClockFault) {
        *self.took.entry(fault).or_insert(0) += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEW_YEAR: Micros = Micros(1_767_225_600_000_000);

    #[test]
    fn a_right_clock_shows_what_has_passed() {
        let clock = Clock::new(500, NEW_YEAR);
        assert_eq!(clock.monotonic(500), 0);
        assert_eq!(clock.monotonic(1_500), 1_000);
        assert_eq!(clock.wall(1_500), NEW_YEAR.plus(1_000));
        assert_eq!(clock.fires(1_000, 250), Some(1_250));
    }

    #[test]
    fn a_jump_moves_the_time_of_day_alone_and_stops_at_1970() {
        let mut clock = Clock::new(0, NEW_YEAR);
        clock.jump(-20_000_000);
        assert_eq!(clock.wall(0).0, NEW_YEAR.0 - 20_000_000);
        assert_eq!(clock.monotonic(7), 7);
        clock.jump(i64::MIN);
        assert_eq!(clock.wall(0), Micros(0));
        clock.skew(i64::MAX);
        clock.skew(i64::MAX);
        assert_eq!(clock.wall(0), Micros::MAX);
        assert_eq!(clock.took()[&ClockFault::Jump], 2);
        assert_eq!(clock.took()[&ClockFault::Skew], 2);
    }

    #[test]
    fn drift_changes_the_rate_from_now_on() {
        let mut clock = Clock::new(0, NEW_YEAR);
        clock.drift(1_000_000, 200);
        assert_eq!(clock.monotonic(1_000_000), 1_000_000);
        assert_eq!(clock.monotonic(2_000_000), 2_000_200);
        // A second of the node's own time ends early for one that runs fast.
        assert_eq!(clock.fires(2_000_000, 1_000_000), Some(2_999_801));
        clock.correct(3_000_000, NEW_YEAR);
        assert_eq!(clock.wall(3_000_500), NEW_YEAR.plus(500));
    }

    #[test]
    fn a_paused_process_is_called_when_it_runs_again() {
        let mut clock = Clock::new(0, NEW_YEAR);
        clock.pause(Some(5_000));
        assert!(clock.is_paused(4_999) && !clock.is_paused(5_000));
        assert_eq!(clock.fires(1_000, 10), Some(5_000));
        assert_eq!(clock.fires(1_000, 9_000), Some(10_000));
        assert_eq!(clock.monotonic(5_000), 5_000, "time goes on");
        clock.pause(None);
        assert_eq!(clock.fires(1_000, 10), None);
        clock.resume();
        assert_eq!(clock.fires(6_000, 10), Some(6_010));
    }

    #[test]
    fn a_reboot_begins_monotonic_time_anew_and_keeps_the_time_of_day() {
        let mut clock = Clock::new(0, NEW_YEAR);
        clock.pause(None);
        clock.reboot(3_000);
        assert_eq!(clock.monotonic(3_000), 0);
        assert_eq!(clock.wall(3_000), NEW_YEAR.plus(3_000));
        assert!(!clock.is_paused(3_000));
    }

    proptest! {
        #[test]
        fn monotonic_time_never_goes_back_and_timers_fire_at_the_first_moment(
            changes in prop::collection::vec((0_u64..5_000_000, -500_000_i32..=500_000), 0..6),
            delays in prop::collection::vec(0_u64..10_000_000, 1..6),
        ) {
            let mut clock = Clock::new(0, NEW_YEAR);
            let (mut now, mut shown) = (0, 0);
            for (passes, ppm) in changes {
                now += passes;
                prop_assert!(clock.monotonic(now) >= shown);
                shown = clock.monotonic(now);
                clock.drift(now, ppm);
                prop_assert_eq!(clock.monotonic(now), shown);
            }
            for delay in delays {
                let fires = clock.fires(now, delay).unwrap();
                prop_assert!(clock.monotonic(fires) >= shown + delay);
                prop_assert!(fires == now || clock.monotonic(fires - 1) < shown + delay);
            }
        }
    }
}
