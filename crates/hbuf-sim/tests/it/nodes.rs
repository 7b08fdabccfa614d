//! Swarm runs of several nodes: the rules hold whatever happens, and rules that are bent are
//! noticed by the invariant that they are named for.

use std::collections::BTreeMap;

use hbuf_sim::nodes::{ClusterOutcome, ClusterSetup, run_cluster};
use hbuf_sim::{Bug, Hunt, Kind, Shows};

/// The first seed; another part of the seeds with each commit that says so.
fn first_seed() -> u64 {
    let given = std::env::var("TEST_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

fn fails(outcome: &ClusterOutcome) -> Option<String> {
    let broken = outcome.broken.as_ref()?;
    let (seed, name) = (outcome.seed, broken.invariant);
    Some(format!("seed {seed}: {name}: {}", broken.what))
}

#[test]
fn whatever_happens_to_several_nodes_the_invariants_hold() {
    let (mut kinds, mut faults) = (BTreeMap::new(), BTreeMap::new());
    let mut acked = 0;
    let first = first_seed();
    for seed in first..first + 60 {
        let outcome = run_cluster(&ClusterSetup::swarm(seed));
        assert_eq!(fails(&outcome), None);
        assert_eq!(outcome.unplayed, Vec::<String>::new());
        acked += outcome.acked;
        for (kind, count) in outcome.kinds {
            *kinds.entry(kind).or_insert(0) += count;
        }
        for (fault, count) in outcome.faults {
            *faults.entry(fault).or_insert(0) += count;
        }
    }
    assert!(acked > 3_000, "{acked} messages were acknowledged");
    for kind in [
        Kind::PrimaryAppointed,
        Kind::CopyTook,
        Kind::CopyCut,
        Kind::CopyBegan,
        Kind::CopyRemoved,
        Kind::BufferDamaged,
        Kind::LeaderElected,
        Kind::NodeRefused,
        Kind::TailShown,
        Kind::MarkWritten,
        Kind::CoreHealed,
        Kind::MessageAcked,
        Kind::LetterPut,
        Kind::DiskFull,
    ] {
        assert!(kinds.contains_key(&kind), "no run had {}", kind.name());
    }
    for fault in [
        "net.drop",
        "net.dup",
        "net.delay",
        "reset",
        "pause",
        "clock.jump",
    ] {
        assert!(faults.contains_key(fault), "no run had {fault}");
    }
}

#[test]
fn a_seed_gives_the_same_trace_byte_for_byte() {
    let trace = || {
        let setup = ClusterSetup {
            lines: true,
            ..ClusterSetup::swarm(7)
        };
        run_cluster(&setup).trace
    };
    let (one, two) = (trace(), trace());
    assert!(one.lines().count() > 100);
    assert_eq!(one, two);
}

/// Seeds within which each bug must be noticed.
const SEEDS: u64 = 200;
/// So many seeds that notice it are enough.
const ENOUGH: usize = 5;

fn noticed(bug: Bug) {
    let (invariant, set) = bug.in_swarm().unwrap();
    let shows = Shows::Swarm(invariant, set);
    let hunt = Hunt::of(bug, shows, 0..SEEDS, ENOUGH);
    let (name, count, tried) = (bug.name(), hunt.found.len(), hunt.tried);
    assert!(count > 0, "{name} was not noticed");
    let (least, median) = (hunt.least().unwrap(), hunt.median().unwrap());
    println!("{name}: {invariant} at {count} of {tried} seeds, least {least}, median {median}");
    // It is the bug that was noticed, and not something else in these seeds.
    for seed in &hunt.found {
        let setup = ClusterSetup::swarm_set(*seed, &shows.set()).unwrap();
        assert_eq!(fails(&run_cluster(&setup)), None);
    }
}

/// A test for each, so that they run beside each other.
macro_rules! bugs {
    ($($test:ident: $bug:ident,)*) => {
        $(#[test]
        fn $test() {
            noticed(Bug::$bug);
        })*

        #[test]
        fn every_bug_of_the_swarm_has_its_test() {
            let shown = Bug::ALL.into_iter().filter(|bug| bug.in_swarm().is_some());
            assert_eq!(vec![$(Bug::$bug),*], shown.collect::<Vec<_>>());
        }
    };
}

bugs! {
    tables_that_a_failover_loses_are_noticed: ForgetDedupe,
    a_closed_buffer_that_takes_messages_is_noticed: AppendToClosed,
    a_paused_buffer_that_takes_messages_is_noticed: AppendToPaused,
    a_read_of_a_topic_that_waits_for_no_buffer_is_noticed: MergeBlindly,
    cursors_that_a_failover_loses_are_noticed: CursorsLost,
    an_ack_that_is_answered_before_its_record_is_committed_is_noticed: AckedInMemory,
    a_cursor_that_passes_what_was_given_back_is_noticed: NackDone,
    consumers_that_are_handed_what_is_not_committed_are_noticed: UncommittedGiven,
    consumers_of_a_paused_buffer_that_go_on_are_noticed: PausedGives,
    a_leased_message_that_two_workers_have_is_noticed: LeaseShared,
    more_leases_than_there_may_be_are_noticed: InFlightIgnored,
    a_message_that_overtakes_others_of_its_key_is_noticed: KeysIgnored,
    a_message_that_is_handed_out_too_often_is_noticed: DeliveriesIgnored,
    a_message_that_is_given_up_early_is_noticed: GivenUpEarly,
    a_look_that_fails_and_passes_messages_is_noticed: FailedLookPasses,
    a_copy_that_takes_what_does_not_follow_is_noticed: GapTaken,
    a_copy_that_answers_before_its_disk_is_noticed: AckBeforeDisk,
    a_commit_before_the_in_sync_set_has_it_is_noticed: AckBeforeInSync,
    a_member_dropped_on_local_opinion_is_noticed: DroppedTooEarly,
    a_primary_that_cuts_its_log_is_noticed: AppointedCut,
    a_copy_cut_back_to_its_commit_is_noticed: CutToCommit,
    a_member_that_lost_its_disk_is_noticed: ReusedMember,
    a_copy_that_counts_for_what_it_held_before_is_noticed: ReusedTenure,
    a_tail_read_without_a_round_is_noticed: TailUnasked,
    a_copy_that_cuts_what_it_knows_as_committed_is_noticed: CommittedCut,
    a_copy_that_leaves_too_early_is_noticed: LeftTooEarly,
    a_part_of_a_segment_that_counts_is_noticed: FilledInPart,
    a_copy_that_counts_as_whole_although_it_is_not_is_noticed: LedFromTheTail,
    a_member_that_takes_anothers_appointment_is_noticed: TakesAppointments,
    a_vote_that_is_forgotten_is_noticed: VoteForgotten,
    a_command_that_is_passed_over_is_noticed: CommandPassed,
    a_group_without_a_timer_is_noticed: TimerForgotten,
    a_start_that_writes_to_a_paused_buffer_is_noticed: PausedTouched,
    a_stop_that_waits_for_no_sync_is_noticed: StopsUnsynced,
    a_cut_that_was_not_made_is_noticed: CutForgotten,
    news_that_nobody_tells_are_noticed: NewsForgotten,
    a_disk_that_was_set_back_and_counts_as_before_is_noticed: LivesElsewhere,
    a_copy_that_is_not_told_what_an_election_lost_is_noticed: LossUntold,
    an_election_that_keeps_less_than_it_says_is_noticed: KeptOverstated,
}
