use std::collections::BTreeMap;

use super::*;

/// Runs until a check is red, at most so many seeds.
fn first_red(bent: RegionsBent, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| Some((seed, run_regions(seed, Some(bent)).broken?)))
}

#[test]
fn crashes_between_the_groups_leave_nothing_half_done() {
    let first: u64 = std::env::var("TEST_SEED").map_or(0, |text| text.parse().unwrap());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in first..first + 20 {
        let outcome = run_regions(seed, None);
        assert_eq!(outcome.broken, None, "TEST_SEED={seed}");
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
    for what in [
        "told",
        "deleted",
        "configured",
        "makers lost",
        "steps refused",
        "rolled",
        "power lost",
        "killed",
        "swept: confirmed",
        "swept: name freed",
        "swept: dropped",
        "swept: settings told",
    ] {
        assert!(
            counts.contains_key(what),
            "{what} never happened: {counts:?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_states() {
    let (one, two) = (run_regions(7, None), run_regions(7, None));
    assert_eq!((one.hashes, one.counts), (two.hashes, two.counts));
    assert_ne!(one.hashes, run_regions(8, None).hashes);
}

#[test]
fn what_is_bent_is_noticed() {
    for bent in [
        RegionsBent::Unswept,
        RegionsBent::DropsAnything,
        RegionsBent::ConfirmsAnything,
    ] {
        let red = first_red(bent, 40);
        assert!(red.is_some(), "{bent:?} is not noticed");
        println!("{bent:?}: {red:?}");
    }
}
