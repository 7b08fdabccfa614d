//! Which of the core's rules decided something in a run.
//!
//! A rule has decided something when the core, asked once more with that rule bent, says something
//! else. The state machines are pure, so they can be asked twice. A rule that has decided once in a
//! run is not asked of again: what is counted is runs.

use std::cell::Cell;

use hbuf_core::append::{AppendRefused, Appended};
use hbuf_core::ids::{Micros, NodeId, Uuid};
use hbuf_core::input::Input;
use hbuf_core::recovery::{Found, Recovered, recover};
use hbuf_core::replication::{Event, ToCopy};
use hbuf_core::rules::Rules;
use hbuf_core::segment::LogKind;
use hbuf_manager::{Catalog, Command, State as _};

use super::World;
use super::reach::Reach;
use crate::swarm::{Opt, Options};

/// A row is the rule, its field among [`Rules`], in how many of a thousand runs that can have it it
/// decided something when that was measured, and in which runs it can.
macro_rules! rules {
    ($($rule:ident $field:ident $of_thousand:literal $reach:expr;)*) => {
        /// A rule of the core.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum RuleName {
            $($rule,)*
        }

        impl RuleName {
            pub(super) const ALL: [Self; [$(stringify!($field)),*].len()] = [$(Self::$rule),*];

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$rule => stringify!($field),)* }
            }

            /// Where it can decide something.
            pub(super) const fn reach(self) -> Reach {
                match self { $(Self::$rule => $reach,)* }
            }

            /// In how many of a thousand such runs it does.
            pub(super) const fn of_thousand(self) -> u64 {
                match self { $(Self::$rule => $of_thousand,)* }
            }

            /// The product's rules without this one.
            const fn bent(self) -> Rules {
                let mut rules = Rules::correct();
                match self { $(Self::$rule => rules.$field = false,)* }
                rules
            }
        }

        /// A rule without a row does not compile.
        const _: fn(Rules) = |rules| {
            let Rules { $($field: _,)* } = rules;
        };
    };
}

/// What workers ask is not asked twice, for that takes a copy of all that a consumer has.
const NO_WORKERS: Reach = Reach::Nowhere("what workers ask is not asked twice in this world");
const NO_JOURNAL: Reach = Reach::Nowhere("nodes of this world write no journal");
const NEVER_RIGHTLY: Reach = Reach::Nowhere("it decides only when another rule is bent");

rules! {
    CommitWaitsForDisk commit_waits_for_disk 998 Reach::Always;
    BatchStaysWhole batch_stays_whole 18 Reach::If(|it| it.is_on(Opt::Batches) && loses_power(it));
    ReplayRespectsFence replay_respects_fence 0 NO_JOURNAL;
    GapInJournalProves gap_in_journal_proves 0 NO_JOURNAL;
    DedupeSurvivesRestart dedupe_survives_restart 836
        Reach::If(|it| it.is_on(Opt::Producers) || it.is_on(Opt::Keyed));
    ClosedRefuses closed_refuses 349 Reach::If(|it| it.is_on(Opt::State));
    PausedRefuses paused_refuses 441 Reach::If(|it| it.is_on(Opt::State));
    RetentionSparesUncommitted retention_spares_uncommitted 0
        Reach::Nowhere("buffers of this world keep everything");
    TimeNeverDecreases time_never_decreases 429
        Reach::If(|it| it.is_on(Opt::Jump) || it.is_on(Opt::Skew));
    DamageBelowCommitIsCorruption damage_below_commit_is_corruption 190
        Reach::If(|it| it.is_on(Opt::Rot));
    MergeLooksAtAll merge_looks_at_all 0 Reach::Nowhere("reads of topics are not asked twice in this world");
    MirrorResumesFromItsLog mirror_resumes_from_its_log 0
        Reach::Nowhere("this world has no mirrors");
    CursorsSurviveRestart cursors_survive_restart 0 NO_WORKERS;
    CursorsDamageIsCorruption cursors_damage_is_corruption 0 NO_WORKERS;
    PassedAcksAreRecorded passed_acks_are_recorded 0 NO_WORKERS;
    FailedLooksPassNothing failed_looks_pass_nothing 0 NO_WORKERS;
    ConsumerAnswersWaitForDisk consumer_answers_wait_for_disk 0 NO_WORKERS;
    ConsumersSeeCommitsOnly consumers_see_commits_only 0 NO_WORKERS;
    ConsumersStandStillWhilePaused consumers_stand_still_while_paused 0 NO_WORKERS;
    NackedStaysOpen nacked_stays_open 0 NO_WORKERS;
    LeasesLapse leases_lapse 0 NO_WORKERS;
    LeasesExclude leases_exclude 0 NO_WORKERS;
    InFlightIsBounded in_flight_is_bounded 0 NO_WORKERS;
    OrderByKeyHolds order_by_key_holds 0 NO_WORKERS;
    DeliveriesAreBounded deliveries_are_bounded 0 NO_WORKERS;
    GivenUpWhenSpent given_up_when_spent 0 NO_WORKERS;
    DeliverAtHolds deliver_at_holds 0 NO_WORKERS;
    CopiesTakeWhatFollows copies_take_what_follows 617 Reach::If(copied);
    CopiesAnswerByDisk copies_answer_by_disk 997 Reach::If(copied);
    OnlyMembersAreAppointed only_members_are_appointed 107
        Reach::If(|it| copied(it) && goes_down(it));
    ChangesNameTheirVersion changes_name_their_version 47 Reach::If(copied);
    AppointedKeepsItsLog appointed_keeps_its_log 838 Reach::If(|it| copied(it) && goes_down(it));
    LeadsNameALife leads_name_a_life 76 Reach::If(|it| copied(it) && goes_down(it));
    CommitWaitsForInSync commit_waits_for_in_sync 998 Reach::If(copied);
    CommitWaitsForProposed commit_waits_for_proposed 53 Reach::If(copied);
    RemovalWaitsForManager removal_waits_for_manager 86 Reach::If(copied);
    TailReadsWaitForTheStart tail_reads_wait_for_the_start 9
        Reach::If(|it| copied(it) && it.is_on(Opt::TailReads) && goes_down(it));
    AddedHoldTheStart added_hold_the_start 37 Reach::If(|it| copied(it) && goes_down(it));
    CopiesFenceEpochs copies_fence_epochs 102 Reach::If(copied);
    RegistrationTellsTheEpoch registration_tells_the_epoch 0
        Reach::Nowhere("the walks alone bend it: here a node opens what the manager's record says");
    ReconcileByEpoch reconcile_by_epoch 862 Reach::If(|it| copied(it) && goes_down(it));
    CommittedIsNeverCut committed_is_never_cut 0 NEVER_RIGHTLY;
    RestartTakesANewEpoch restart_takes_a_new_epoch 995 Reach::If(goes_down);
    MembersAreStamped members_are_stamped 172 Reach::If(|it| copied(it) && goes_down(it));
    AddedBeginATenure added_begin_a_tenure 511 Reach::If(|it| copied(it) && it.is_on(Opt::Move));
    TailReadsAskARound tail_reads_ask_a_round 779
        Reach::If(|it| copied(it) && it.is_on(Opt::TailReads));
    WholeMembersAreAppointed whole_members_are_appointed 30
        Reach::If(|it| copied(it) && goes_down(it));
    FilledSegmentsAreWhole filled_segments_are_whole 60 Reach::If(copied);
    MovesWaitForWhole moves_wait_for_whole 419 Reach::If(|it| copied(it) && it.is_on(Opt::Move));
    ForcedLossIsTold forced_loss_is_told 2 Reach::If(|it| copied(it) && it.is_on(Opt::Elect));
    ForcedWaitsForPrimary forced_waits_for_primary 0
        Reach::Nowhere("operators of this world force nothing while a primary lives");
}

fn copied(options: &Options) -> bool {
    options.get(Opt::Copies) > 1
}

fn loses_power(options: &Options) -> bool {
    options.is_on(Opt::Crash)
}

fn goes_down(options: &Options) -> bool {
    let downs = [Opt::Crash, Opt::Kill, Opt::Stop];
    downs.into_iter().any(|opt| options.is_on(opt))
}

/// What a copy makes of a primary's message goes by these.
const OF_COPIES: [RuleName; 7] = [
    RuleName::FilledSegmentsAreWhole,
    RuleName::ForcedLossIsTold,
    RuleName::CopiesTakeWhatFollows,
    RuleName::CopiesAnswerByDisk,
    RuleName::LeadsNameALife,
    RuleName::CopiesFenceEpochs,
    RuleName::ReconcileByEpoch,
];
/// What is committed goes by these.
const OF_COMMITS: [RuleName; 4] = [
    RuleName::CommitWaitsForInSync,
    RuleName::CommitWaitsForProposed,
    RuleName::RemovalWaitsForManager,
    RuleName::MembersAreStamped,
];
/// When the tail is shown goes by these.
const OF_TAILS: [RuleName; 2] = [
    RuleName::TailReadsAskARound,
    RuleName::TailReadsWaitForTheStart,
];
/// What the manager decides goes by these.
const OF_MANAGERS: [RuleName; 7] = [
    RuleName::OnlyMembersAreAppointed,
    RuleName::ChangesNameTheirVersion,
    RuleName::RestartTakesANewEpoch,
    RuleName::MembersAreStamped,
    RuleName::AddedBeginATenure,
    RuleName::WholeMembersAreAppointed,
    RuleName::MovesWaitForWhole,
];
/// What recovery finds goes by these.
const OF_RECOVERY: [RuleName; 3] = [
    RuleName::BatchStaysWhole,
    RuleName::DedupeSurvivesRestart,
    RuleName::DamageBelowCommitIsCorruption,
];

/// The rules that have decided something in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedRules {
    bits: Cell<u64>,
    /// Commands through this index of the manager's log were looked at.
    applied: u64,
}

const _: () = assert!(RuleName::ALL.len() <= 64, "there is a bit for each rule");

impl UsedRules {
    pub(super) fn note(&self, rule: RuleName) {
        self.bits.set(self.bits.get() | 1 << rule as u64);
    }

    fn has(&self, rule: RuleName) -> bool {
        self.bits.get() & 1 << rule as u64 != 0
    }

    /// Asks with each of these rules bent that has decided nothing so far.
    fn ask(&self, rules: &[RuleName], differs: impl Fn(&Rules) -> bool) {
        for rule in rules.iter().copied().filter(|rule| !self.has(*rule)) {
            if differs(&rule.bent()) {
                self.note(rule);
            }
        }
    }

    fn all(&self, rules: &[RuleName]) -> bool {
        rules.iter().all(|rule| self.has(*rule))
    }

    /// A command of the manager's log is about to be applied: each is asked of once.
    pub(super) fn ask_manager(&mut self, catalog: &Catalog, index: u64, command: &Command) {
        if index <= self.applied || self.all(&OF_MANAGERS) {
            return;
        }
        self.applied = index;
        let decides = |rules: &Rules| {
            let mut catalog = catalog.clone().obeying(*rules);
            let _ = catalog.apply(index, command);
            catalog.obeying(Rules::correct())
        };
        let right = decides(&Rules::correct());
        let differs = |bent: &Rules| decides(bent).assigned() != right.assigned();
        self.ask(&OF_MANAGERS, differs);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let decided = RuleName::ALL.into_iter().filter(|rule| self.has(*rule));
        decided.map(RuleName::name)
    }
}

impl World {
    /// Before a shard is given an input.
    pub(super) fn ask_before(&self, host: usize, now: Micros, input: &Input) {
        match input {
            Input::Replication { buffer, event } => match event {
                Event::FromPrimary {
                    log, from, message, ..
                } => self.ask_copy(host, *buffer, *log, (*from, message)),
                Event::FromCopy { .. } => self.ask_who_joins(host, *buffer, now),
                _ => {}
            },
            Input::CopiesDue => {
                for buffer in &self.buffers {
                    self.ask_who_joins(host, *buffer, now);
                }
            }
            _ => {}
        }
    }

    fn ask_copy(&self, host: usize, buffer: Uuid, log: LogKind, (from, it): (NodeId, &ToCopy)) {
        if self.used.all(&OF_COPIES) {
            return;
        }
        let shard = &self.hosts[host].shard;
        if let Some(led) = shard.buffer(&buffer) {
            if it.epoch() <= led.epoch() {
                self.used.note(RuleName::CopiesFenceEpochs);
            }
            return;
        }
        let Some(copy) = shard.copy(&buffer) else {
            return;
        };
        let says = |rules: &Rules| copy.clone().on_message(rules, log, from, it);
        let right = says(&Rules::correct());
        self.used.ask(&OF_COPIES, |bent| says(bent) != right);
    }

    fn ask_who_joins(&self, host: usize, buffer: Uuid, now: Micros) {
        let rule = [RuleName::AddedHoldTheStart];
        let Some(led) = self.hosts[host].shard.buffer(&buffer) else {
            return;
        };
        let it = led.leader().assignment();
        if self.used.all(&rule) || it.copies.len() == it.in_sync.len() {
            return;
        }
        let asks = |rules: &Rules| led.leader().clone().on_time(rules, now);
        let right = asks(&Rules::correct());
        self.used.ask(&rule, |bent| asks(bent) != right);
    }

    /// A shard was given an input that may let a commit advance, or the tail be shown.
    pub(super) fn ask_behind(&self, host: usize, buffer: Uuid) {
        let Some(led) = self.hosts[host].shard.buffer(&buffer) else {
            return;
        };
        let leader = led.leader();
        if !self.used.all(&OF_COMMITS) {
            let right = leader.agreed(&Rules::correct(), LogKind::Messages);
            let differs = |bent: &Rules| leader.agreed(bent, LogKind::Messages) != right;
            self.used.ask(&OF_COMMITS, differs);
        }
        if !self.used.all(&OF_TAILS) {
            let shown = |rules: &Rules| leader.clone().tails(rules);
            let right = shown(&Rules::correct());
            self.used.ask(&OF_TAILS, |bent| shown(bent) != right);
        }
    }

    /// A node has become a primary.
    pub(super) fn ask_appointed(&self, host: usize, buffer: Uuid) {
        let led = self.hosts[host].shard.buffer(&buffer);
        if led.is_some_and(|led| led.leader().log(LogKind::Messages).commit < led.end()) {
            self.used.note(RuleName::AppointedKeepsItsLog);
        }
    }

    /// A recovery has found this.
    pub(super) fn ask_recovery(&self, found: &Found<'_>, right: &Recovered) {
        let relevant = OF_RECOVERY.into_iter().filter(|rule| match rule {
            RuleName::BatchStaysWhole => right.torn_bytes > 0,
            RuleName::DamageBelowCommitIsCorruption => right.damage.is_some(),
            _ => true,
        });
        let relevant: Vec<RuleName> = relevant.collect();
        self.used.ask(&relevant, |bent| {
            recover(bent, found).as_ref().ok() != Some(right)
        });
    }

    /// Messages are framed for the log.
    pub(super) fn ask_framed(&self, host: usize, time: Micros) {
        self.used.note(RuleName::CommitWaitsForDisk);
        if time != self.wall(host) {
            self.used.note(RuleName::TimeNeverDecreases);
        }
    }

    /// An append was answered.
    pub(super) fn ask_refused(&self, outcome: &Result<Appended, AppendRefused>) {
        match outcome {
            Err(AppendRefused::Closed) => self.used.note(RuleName::ClosedRefuses),
            Err(AppendRefused::Paused) => self.used.note(RuleName::PausedRefuses),
            _ => {}
        }
    }
}
