//! Random walks through the small cluster: its rules hold, and each one that is bent is noticed.

use hbuf_core::rules::Rules;
use hbuf_sim::cluster::{Bounds, WALK_STEPS, mood_of, walk};
use hbuf_sim::{Bug, Hunt, Shows};

#[test]
fn the_rules_hold_in_every_walk_and_walks_come_far() {
    let mut acked = 0;
    for seed in 0..1_000 {
        let walk = walk(
            seed,
            mood_of(seed),
            &Rules::correct(),
            Bounds::WALK,
            WALK_STEPS,
        );
        assert_eq!(walk.broken, None, "seed {seed}: {:#?}", walk.path);
        acked += walk.acked;
    }
    assert!(acked > 1_000, "{acked} messages were acknowledged");
}

/// Seeds within which a bent rule must be noticed.
const SEEDS: u64 = 200;

fn noticed(bug: Bug) {
    let (mood, rule) = bug.in_walks().unwrap();
    let hunt = Hunt::of(bug, Shows::Walk(mood, rule), 0..SEEDS, usize::MAX);
    let (least, median) = (hunt.least(), hunt.median());
    let (name, count) = (bug.name(), hunt.found.len());
    assert!(count > 0, "{name} was not noticed");
    let (least, median) = (least.unwrap(), median.unwrap());
    println!("{name}: {count} of {SEEDS} seeds, least {least}, median {median}");
}

/// A test for each, so that they run beside each other.
macro_rules! bent {
    ($($test:ident: $bug:ident,)*) => {
        $(#[test]
        fn $test() {
            noticed(Bug::$bug);
        })*

        #[test]
        fn every_rule_that_can_be_bent_has_its_test() {
            let shown = Bug::ALL.into_iter().filter(|bug| bug.in_walks().is_some());
            assert_eq!(vec![$(Bug::$bug),*], shown.collect::<Vec<_>>());
        }
    };
}

bent! {
    a_copy_that_takes_what_does_not_follow_is_noticed: GapTaken,
    a_copy_that_answers_before_its_disk_is_noticed: AckBeforeDisk,
    a_commit_before_the_in_sync_set_has_it_is_noticed: AckBeforeInSync,
    a_commit_without_who_is_being_added_is_noticed: AddedTooLate,
    a_member_dropped_on_local_opinion_is_noticed: DroppedTooEarly,
    a_change_for_an_older_version_is_noticed: LateChange,
    a_primary_that_was_no_member_is_noticed: UncleanElection,
    a_primary_that_cuts_its_log_is_noticed: AppointedCut,
    a_tail_read_before_the_epochs_start_is_committed_is_noticed: TailBeforeStart,
    a_copy_added_below_the_epochs_start_is_noticed: AddedBelowStart,
    a_copy_that_does_not_fence_is_noticed: NoEpochFence,
    a_copy_cut_back_to_its_commit_is_noticed: CutToCommit,
    a_word_to_an_earlier_life_is_noticed: LeadOfOldLife,
    a_primary_that_resumes_its_epoch_is_noticed: ResumedEpoch,
    a_member_that_lost_its_disk_is_noticed: ReusedMember,
    a_tail_read_without_a_round_is_noticed: TailUnasked,
    a_start_that_is_not_told_the_epoch_is_noticed: EpochForgotten,
}
