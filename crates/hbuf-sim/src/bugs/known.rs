//! The bugs: what each is called, which of the core's rules it bends, what is wrong, and where that
//! is shown. One that bends no rule is a fault of the shell around the core.

use hbuf_core::rules::Rules;

use super::{Rule, Shows};
use crate::cluster::Mood;
use crate::invariants::Invariant;

/// A row is the bug, its name, the rules that it bends, what is wrong, where that is shown.
macro_rules! bugs {
    ($(
        $bug:ident $name:literal [$($rule:ident)*] $about:literal
        => $($place:ident ($($what:expr),+)),+;
    )*) => {
        /// Something done wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $(#[doc = $about] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$bug),*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }

            /// What is wrong.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$bug => $about,)*
                }
            }

            /// Where it is shown, and by which invariant.
            #[must_use]
            pub const fn shows(self) -> &'static [Shows] {
                match self {
                    $(Self::$bug => &[$(Shows::$place($($what),+)),+],)*
                }
            }

            /// The product's rules, but for what it bends.
            #[must_use]
            pub const fn rules(self) -> Rules {
                #[allow(unused_mut, reason = "some bugs bend no rule")]
                let mut rules = Rules::correct();
                match self {
                    $(Self::$bug => {
                        $(rules.$rule = false;)*
                    })*
                }
                rules
            }
        }
    };
}

bugs! {
    AckBeforeSync "ack-before-sync" [commit_waits_for_disk]
        "answers do not wait for the disk"
        => OneNode(Invariant::AckNeverAheadOfDisk);
    ReadBeforeSync "read-before-sync" [commit_waits_for_disk]
        "readers see what is not on disk"
        => OneNode(Invariant::CommitMonotonic);
    HalfBatch "half-batch" [batch_stays_whole]
        "recovery keeps the first part of a torn batch"
        => OneNode(Invariant::BatchAllOrNothing);
    NoFence "no-fence" [replay_respects_fence]
        "replay applies journal entries below the fence"
        => OneNode(Invariant::FenceRespected);
    ForgetDedupe "forget-dedupe" [dedupe_survives_restart]
        "producers and keys are forgotten at a restart"
        => OneNode(Invariant::NoDupAppend), Swarm("no-dup-append", "");
    AppendToClosed "append-to-closed" [closed_refuses]
        "a closed buffer takes messages"
        => OneNode(Invariant::ClosedStaysClosed),
        Swarm("halted-takes-nothing", "state=300ms state-last=1s pace=2ms");
    AppendToPaused "append-to-paused" [paused_refuses]
        "a paused buffer takes messages"
        => OneNode(Invariant::PauseMeansNoChange),
        Swarm("halted-takes-nothing", "state=300ms state-last=1s pace=2ms");
    RetainUncommitted "retain-uncommitted" [retention_spares_uncommitted]
        "retention drops what is not committed"
        => OneNode(Invariant::RetentionKeepsWhatItMust);
    TimeGoesBack "time-goes-back" [time_never_decreases]
        "records carry the clock as it is"
        => OneNode(Invariant::TimeNeverDecreases);
    CutDamage "cut-damage" [damage_below_commit_is_corruption]
        "recovery cuts the log at damage, whatever was acknowledged"
        => OneNode(Invariant::AckedNeverLost);
    NoNameSync "no-name-sync" []
        "new files' directories are not synced"
        => OneNode(Invariant::AckNeverAheadOfDisk);
    MarkAhead "mark-ahead" []
        "a mark is written before what it covers is synced"
        => OneNode(Invariant::NoFalseDamage);
    SwapBodies "swap-bodies" []
        "two bodies of a batch change places on the way to the disk"
        => OneNode(Invariant::HashChainIntact);
    OtherBody "other-body" []
        "a body changes before it is committed to"
        => OneNode(Invariant::BytesEqual);
    RepairTwice "repair-twice" []
        "recovery writes a journal entry twice"
        => OneNode(Invariant::SeqDenseUnique);
    ForgetSync "forget-sync" []
        "now and then the shard is not told of a sync"
        => OneNode(Invariant::EveryAskAnswered);
    CountReplays "count-replays" []
        "repeated appends count as new messages"
        => OneNode(Invariant::StatsEqualRecount);
    MergeBlindly "merge-blindly" [merge_looks_at_all]
        "a read over all buffers does not wait until the next message of each is known"
        => OneNode(Invariant::TopicInOrder), Swarm("topic-read-monotonic", "topic-reads=40% buffers=3");
    MirrorForgets "mirror-forgets" [mirror_resumes_from_its_log]
        "a mirror begins anew after a restart, whatever its log holds"
        => OneNode(Invariant::MirrorFollows);
    CutAtGap "cut-at-gap" [gap_in_journal_proves]
        "recovery cuts the log before a gap in the journal, whatever was acknowledged there"
        => OneNode(Invariant::AckedNeverLost);
    CursorsLost "cursors-lost" [cursors_survive_restart]
        "how far consumers have come is forgotten at a restart"
        => OneNode(Invariant::AckedNeverAgain), Swarm("consumer-ack-not-lost", "consumers=40%");
    AckedInMemory "acked-in-memory" [consumer_answers_wait_for_disk]
        "an ack is answered before it is on disk"
        => OneNode(Invariant::AckedNeverAgain), Swarm("consumer-ack-not-lost", "consumers=40%");
    NackDone "nack-done" [nacked_stays_open]
        "the cursor passes what was given back"
        => OneNode(Invariant::ConsumerPassesNothing), Swarm("filter-complete", "consumers=40%");
    LeasesStay "leases-stay" [leases_lapse]
        "a lease that lapses is forgotten, and its message with it"
        => OneNode(Invariant::ConsumerPassesNothing);
    UncommittedGiven "uncommitted-given" [consumers_see_commits_only]
        "consumers are handed what is not committed"
        => OneNode(Invariant::ConsumerWithinCommit), Swarm("consumer-within-commit", "consumers=40%");
    PausedGives "paused-gives" [consumers_stand_still_while_paused]
        "consumers of a paused buffer go on"
        => OneNode(Invariant::PauseStopsConsumers), Swarm("pause-stops-consumers", "consumers=40% state=500ms");
    LeaseShared "lease-shared" [leases_exclude]
        "a leased message is handed to the next worker too"
        => OneNode(Invariant::LeaseExclusive), Swarm("lease-exclusive", "consumers=40%");
    InFlightIgnored "in-flight-ignored" [in_flight_is_bounded]
        "more is leased than may be"
        => OneNode(Invariant::InFlightBounded), Swarm("in-flight-bounded", "consumers=40%");
    KeysIgnored "keys-ignored" [order_by_key_holds]
        "a message does not wait for the earlier ones of its key"
        => OneNode(Invariant::KeyInOrder), Swarm("key-in-order", "consumers=40%");
    DeliveriesIgnored "deliveries-ignored" [deliveries_are_bounded]
        "a message is handed out more often than it may be"
        => OneNode(Invariant::DeliveriesBounded), Swarm("deliveries-bounded", "consumers=40%");
    DeliveredEarly "delivered-early" [deliver_at_holds]
        "a message is handed out before its time"
        => OneNode(Invariant::NotBeforeItsTime);
    GivenUpEarly "given-up-early" [given_up_when_spent]
        "a message is given up one delivery before its last"
        => OneNode(Invariant::GivenUpByRule), Swarm("given-up-by-rule", "consumers=40%");
    LetterLost "letter-lost" []
        "a dead letter counts as put away before it is"
        => OneNode(Invariant::DeadLetterOnce);
    DropHeldJournal "drop-held-journal" []
        "a start lets go of the journal that answers for what it did not sync"
        => OneNode(Invariant::AckedNeverLost);
    CutCursors "cut-cursors" [cursors_damage_is_corruption]
        "recovery cuts the cursors log at damage, whatever was acked there"
        => OneNode(Invariant::AckedNeverAgain);
    PassedUnrecorded "passed-unrecorded" [passed_acks_are_recorded]
        "an ack of what the filter passed is answered with nothing on record"
        => OneNode(Invariant::AckedNeverAgain);
    FailedLookPasses "failed-look-passes" [failed_looks_pass_nothing]
        "a look that fails, as without the stored filter, passes what it was to look at"
        => OneNode(Invariant::ConsumerPassesNothing), Swarm("filter-complete", "consumers=40%");
    FilterStale "filter-stale" []
        "looks go by a stored filter as it was first read"
        => OneNode(Invariant::FilterOfItsTime);
    FilterUnsynced "filter-unsynced" []
        "a filter gets its name before its bytes are on disk"
        => OneNode(Invariant::FiltersKept);
    GapTaken "gap-taken" [copies_take_what_follows]
        "a copy takes records that do not follow its log"
        => Walk(Mood::Plain, Rule::PrefixAgreement), Swarm("seq-dense-unique", "");
    AckBeforeDisk "ack-before-disk" [copies_answer_by_disk]
        "a copy answers for what its disk does not hold yet"
        => Walk(Mood::Plain, Rule::AckedNeverLost), Swarm("commit-on-in-sync", "");
    AckBeforeInSync "ack-before-in-sync" [commit_waits_for_in_sync]
        "the primary's own disk is enough for a commit"
        => Walk(Mood::Plain, Rule::AckedNeverLost), Swarm("commit-on-in-sync", "");
    AddedTooLate "added-too-late" [commit_waits_for_proposed]
        "who is being added to the in-sync set does not count yet"
        => Walk(Mood::Churn, Rule::AckedNeverLost);
    DroppedTooEarly "dropped-too-early" [removal_waits_for_manager]
        "a member is dropped before the manager has said so"
        => Walk(Mood::Plain, Rule::AckedNeverLost),
        Swarm("commit-on-in-sync", "nodes=3 copies=3 min-in-sync=2 tail-reads=50% crash=1s down-last=2s \
            partition=1s partition-last=2s safety=15s");
    LateChange "late-change" [changes_name_their_version]
        "a change of the set that was made for an older version counts"
        => Walk(Mood::Late, Rule::AckedNeverLost);
    UncleanElection "unclean-election" [only_members_are_appointed]
        "when no member is alive any copy becomes the primary"
        => Walk(Mood::Plain, Rule::CommittedNeverCut);
    AppointedCut "appointed-cut" [appointed_keeps_its_log]
        "a new primary begins with what it knows as committed"
        => Walk(Mood::Plain, Rule::AckedNeverLost), Swarm("committed-never-cut", "");
    TailBeforeStart "tail-before-start" [tail_reads_wait_for_the_start]
        "a new primary shows the tail before it knows what was committed"
        => Walk(Mood::Churn, Rule::TailIsFresh);
    AddedBelowStart "added-below-start" [added_hold_the_start]
        "a new primary takes in who lacks what primaries before may have committed"
        => Walk(Mood::Churn, Rule::AckedNeverLost);
    NoEpochFence "no-epoch-fence" [copies_fence_epochs]
        "a copy takes records of a primary that is none any more"
        => Walk(Mood::Deaf, Rule::CommittedNeverCut);
    CutToCommit "cut-to-commit" [reconcile_by_epoch]
        "a copy cuts its log back to what it knows as committed"
        => Walk(Mood::Plain, Rule::CommittedNeverCut), Swarm("committed-never-cut", "");
    LeadOfOldLife "lead-of-old-life" [leads_name_a_life]
        "a word that was meant for an earlier life makes a copy cut its log"
        => Walk(Mood::Stale, Rule::CommittedNeverCut);
    ResumedEpoch "resumed-epoch" [restart_takes_a_new_epoch]
        "a primary goes on in its epoch after a restart"
        => Walk(Mood::Plain, Rule::PrefixAgreement);
    ReusedMember "reused-member" [members_are_stamped]
        "a member is one whatever became of its disk"
        => Walk(Mood::Plain, Rule::AckedNeverLost),
        Swarm("acked-never-lost", "nodes=3 copies=3 min-in-sync=2 pace=5ms reformat=1s down-last=1s \
            safety=10s");
    ReusedTenure "reused-tenure" [added_begin_a_tenure]
        "a copy that was removed and added again counts for what it held before"
        => Swarm("acked-never-lost", "nodes=4 copies=2 min-in-sync=2 buffers=4 pace=20ms \
            segment-bytes=64KiB move=80ms pause=150ms pause-last=400ms safety=15s full=0 \
            consumers=0 topic-reads=0 filtered-reads=0 create=0");
    TailUnasked "tail-unasked" [tail_reads_ask_a_round]
        "the tail is read without asking anybody"
        => Walk(Mood::Deaf, Rule::TailIsFresh),
        Swarm("tail-is-fresh", "nodes=3 copies=3 min-in-sync=2 tail-reads=50% crash=1s down-last=2s \
            partition=1s partition-last=2s safety=15s");
    CommittedCut "committed-cut" [reconcile_by_epoch committed_is_never_cut]
        "a copy cuts off what it knows as committed"
        => Swarm("committed-never-cut", "");
    EpochForgotten "epoch-forgotten" [registration_tells_the_epoch]
        "a node that starts anew knows no epoch but that of its log"
        => Walk(Mood::Returned, Rule::CommittedNeverCut);
    LeftTooEarly "left-too-early" [moves_wait_for_whole]
        "a copy leaves before enough others hold all that is kept"
        => Swarm("moves-leave-enough", "copies=3 min-in-sync=1 move=500ms crash=500ms");
    FilledInPart "filled-in-part" [filled_segments_are_whole]
        "a copy counts as whole with a part of a segment that it fills in"
        => Swarm("seq-dense-unique", "nodes=4 copies=2 min-in-sync=2 buffers=4 pace=1ms \
            segment-bytes=4KiB body-max=1000B fill-rate=32KiB move=300ms crash=1s down-last=200ms \
            safety=8s full=0 consumers=0 topic-reads=0 filtered-reads=0 create=0");
    LedFromTheTail "led-from-the-tail" [whole_members_are_appointed]
        "a copy that lacks the beginning of what is kept counts as one that holds all"
        => Swarm("moves-leave-enough", "nodes=4 copies=3 min-in-sync=2 move=500ms crash=500ms \
            segment-bytes=4KiB pace=1ms");
    TakesAppointments "takes-appointments" []
        "a member takes the appointment of another one for its own"
        => Swarm("one-primary-per-epoch", "");
    VoteForgotten "vote-forgotten" []
        "a member of the manager's group that starts again has forgotten its last vote"
        => Swarm("one-leader-per-term", "nodes=5 copies=3 kill=60ms crash=60ms down-last=10ms \
            partition=200ms partition-last=300ms delay-mean=30ms delay-min=2ms safety=15s");
    CommandPassed "command-passed" []
        "now and then a node passes over a command of the manager's log"
        => Swarm("catalogs-agree", "");
    TimerForgotten "timer-forgotten" []
        "the manager's group has no timer in a process that was started again"
        => Swarm("core-makes-progress", "core=10s kill=300ms crash=300ms");
    PausedTouched "paused-touched" []
        "a start writes to a paused buffer"
        => Swarm("paused-stays-as-it-is", "state=300ms state-last=2s kill=300ms");
    StopsUnsynced "stops-unsynced" []
        "a process that stops in order says so although not all is synced"
        => Swarm("clean-start-mends-nothing", "nodes=3 copies=3 min-in-sync=1 clients=6 pace=500us \
            stop=300ms slow-disk=200ms slow-last=2s");
    CutForgotten "cut-forgotten" []
        "a copy says that it has cut its log back, and has not"
        => Swarm("prefix-agreement", "");
    NewsForgotten "news-forgotten" []
        "now and then nobody tells a copy that there is news"
        => Swarm("converges", "");
    LivesElsewhere "lives-elsewhere" []
        "a disk that was set back passes for the one that ran last"
        => Swarm("acked-never-lost", "nodes=3 copies=3 min-in-sync=2 restore=500ms restore-last=1s safety=8s");
    LossUntold "loss-untold" [forced_loss_is_told]
        "a copy goes by what it knows as committed, whatever an election has lost"
        => Swarm("converges", "nodes=5 copies=2 min-in-sync=1 buffers=4 pace=20ms elect=50ms \
            kill=1s down-last=8s safety=60s full=0 consumers=0 topic-reads=0 filtered-reads=0 \
            create=0");
    KeptOverstated "kept-overstated" []
        "an election is said to keep all that the copy holds"
        => Swarm("prefix-agreement", "nodes=5 copies=2 min-in-sync=1 buffers=4 pace=20ms elect=50ms \
            kill=1s down-last=8s safety=60s full=0 consumers=0 topic-reads=0 filtered-reads=0 \
            create=0");
}
