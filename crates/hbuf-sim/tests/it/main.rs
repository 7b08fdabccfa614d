//! Whole runs: all invariants hold, each bug is noticed, the same seed gives the same trace.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod hand;
mod nodes;
mod operate;
mod replication;
mod scenarios;

use std::collections::BTreeSet;

use hbuf_sim::tracefile::{Event, TraceFile};
use hbuf_sim::{Bug, Hunt, Invariant, Shows, run, sweep};

/// Seeds within which each bug must be noticed.
const NOTICED_WITHIN: u64 = 400;

#[test]
fn four_hundred_seeds_hold_every_invariant_and_miss_no_fault_no_crash_point_and_no_event() {
    let swept = sweep(0..400, None);
    for failed in &swept.failed {
        println!("{}: {:?}", failed.replay(), failed.broken);
    }
    assert!(
        swept.failed.is_empty(),
        "{} of {} runs failed",
        swept.failed.len(),
        swept.runs
    );
    assert_eq!(swept.missed(), Vec::<&str>::new());
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in [3, 17] {
        let trace = || {
            let mut trace = Vec::new();
            let outcome = run(seed, None, Some(&mut trace)).unwrap();
            (outcome.hash, trace)
        };
        let (one, two) = (trace(), trace());
        assert!(one == two);
        assert_eq!(
            run(seed, None, None).unwrap().hash,
            one.0,
            "also without a trace"
        );
    }
}

#[test]
fn a_trace_is_json_lines_whose_ids_are_unique_and_whose_causes_came_before() {
    let mut written = Vec::new();
    let outcome = run(5, None, Some(&mut written)).unwrap();
    let written = String::from_utf8(written).unwrap();
    let trace = TraceFile::parse(&written).unwrap();
    assert_eq!(
        (trace.header.scenario.as_str(), trace.header.seed),
        ("one-node", 5)
    );
    assert_eq!(trace.events.len() as u64, outcome.events);
    for (place, event) in trace.events.iter().enumerate() {
        assert_eq!(event.n, place as u64 + 1);
        for cause in &event.causes {
            assert!(
                trace.place(*cause).is_some_and(|before| before < place),
                "{event:?}"
            );
        }
    }
    let lines: Vec<String> = trace.events.iter().map(Event::to_line).collect();
    let written: Vec<&str> = written.lines().skip(1).collect();
    assert!(lines == written);
}

#[test]
fn every_invariant_has_a_bug_that_breaks_it() {
    let broken: BTreeSet<Invariant> = Bug::ALL.into_iter().filter_map(Bug::in_one_node).collect();
    assert_eq!(broken.len(), Invariant::ALL.len());
}

#[test]
fn a_failing_run_says_how_to_run_it_again() {
    let outcome = run(0, Some(Bug::AckBeforeSync), None).unwrap();
    assert!(!outcome.broken.is_empty());
    assert_eq!(
        outcome.replay(),
        "hbuf sim run --seed 0 --bug ack-before-sync"
    );
}

fn noticed(bug: Bug) {
    let shows = Shows::OneNode(bug.in_one_node().unwrap());
    let hunt = Hunt::of(bug, shows, 0..NOTICED_WITHIN, 1);
    let name = bug.name();
    assert!(
        hunt.least().is_some(),
        "{NOTICED_WITHIN} seeds did not notice {name}"
    );
}

/// A test a bug, so that they run beside each other.
macro_rules! bugs {
    ($($test:ident: $bug:ident,)*) => {
        $(#[test]
        fn $test() {
            noticed(Bug::$bug);
        })*

        #[test]
        fn every_bug_has_its_test() {
            let shown = Bug::ALL.into_iter().filter(|bug| bug.in_one_node().is_some());
            assert_eq!(vec![$(Bug::$bug),*], shown.collect::<Vec<_>>());
        }
    };
}

bugs! {
    an_answer_before_the_sync_is_noticed: AckBeforeSync,
    a_read_before_the_sync_is_noticed: ReadBeforeSync,
    half_a_batch_is_noticed: HalfBatch,
    a_fence_that_is_ignored_is_noticed: NoFence,
    a_forgotten_producer_is_noticed: ForgetDedupe,
    an_append_to_a_closed_buffer_is_noticed: AppendToClosed,
    an_append_to_a_paused_buffer_is_noticed: AppendToPaused,
    retention_of_what_is_not_committed_is_noticed: RetainUncommitted,
    a_time_that_goes_back_is_noticed: TimeGoesBack,
    a_log_cut_at_damage_is_noticed: CutDamage,
    a_name_that_is_not_synced_is_noticed: NoNameSync,
    a_mark_ahead_of_its_segments_is_noticed: MarkAhead,
    swapped_bodies_are_noticed: SwapBodies,
    another_body_is_noticed: OtherBody,
    a_repair_made_twice_is_noticed: RepairTwice,
    a_sync_that_is_forgotten_is_noticed: ForgetSync,
    replays_that_count_twice_are_noticed: CountReplays,
    a_merge_that_does_not_look_at_all_is_noticed: MergeBlindly,
    a_mirror_that_forgets_its_place_is_noticed: MirrorForgets,
    a_log_cut_at_a_gap_in_the_journal_is_noticed: CutAtGap,
    lost_cursors_are_noticed: CursorsLost,
    an_ack_answered_before_the_disk_is_noticed: AckedInMemory,
    a_nack_that_counts_as_an_ack_is_noticed: NackDone,
    a_lease_that_never_lapses_is_noticed: LeasesStay,
    a_delivery_before_the_commit_is_noticed: UncommittedGiven,
    a_delivery_while_paused_is_noticed: PausedGives,
    a_lease_for_two_is_noticed: LeaseShared,
    too_many_leases_are_noticed: InFlightIgnored,
    keys_out_of_order_are_noticed: KeysIgnored,
    too_many_deliveries_are_noticed: DeliveriesIgnored,
    a_delivery_before_its_time_is_noticed: DeliveredEarly,
    a_message_given_up_early_is_noticed: GivenUpEarly,
    a_lost_dead_letter_is_noticed: LetterLost,
    a_journal_that_goes_though_a_start_relied_on_it_is_noticed: DropHeldJournal,
    a_cursors_log_cut_at_damage_is_noticed: CutCursors,
    an_ack_of_what_is_passed_with_nothing_on_record_is_noticed: PassedUnrecorded,
    a_look_that_fails_and_passes_all_is_noticed: FailedLookPasses,
    a_look_by_an_older_filter_is_noticed: FilterStale,
    a_filter_that_is_renamed_before_it_is_synced_is_noticed: FilterUnsynced,
}
