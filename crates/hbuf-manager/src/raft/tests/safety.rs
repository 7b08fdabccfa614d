//! What holds whatever happens, over many seeds.

use super::world::*;
use crate::raft::{Change, Input, MemberId, Members};

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// So many seeds, or as many as `HBUF_SEEDS` says.
fn seeds(count: u64) -> core::ops::Range<u64> {
    let more = std::env::var("HBUF_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    0..more.unwrap_or(count)
}

/// A run in which members crash, start again and lose sight of each other while clients propose.
fn storm(seed: u64, voters: u64, rounds: u64) -> World {
    let mut world = World::new(seed, voters, ROUGH);
    for _ in 0..rounds {
        for _ in 0..20 {
            world.propose();
            world.tick();
        }
        let id = 1 + world.rng.below(voters);
        match world.rng.below(6) {
            0 | 1 => world.crash(id),
            2 => world.isolate(id),
            3 => world.cut.clear(),
            4 => drop(world.input(id, Input::Compact)),
            _ => drop(world.input(id, Input::Transfer)),
        }
        let down: Vec<u64> = world
            .nodes
            .iter()
            .filter(|(_, node)| node.group.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in down {
            if world.rng.below(3) == 0 {
                world.start(id);
            }
        }
    }
    world.heal_and_check();
    world
}

#[test]
fn nothing_acknowledged_is_lost_in_a_storm_and_all_members_agree() {
    for seed in seeds(30) {
        storm(seed, 3 + 2 * (seed % 2), 30);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 100..104 {
        assert_eq!(storm(seed, 3, 20).trace, storm(seed, 3, 20).trace);
    }
}

#[test]
fn unrelated_groups_do_not_touch_each_others_trace() {
    let run = |world: &mut World| {
        for _ in 0..200 {
            world.propose();
            world.tick();
        }
    };
    let (mut one, mut other) = (World::new(1, 3, ROUGH), World::new(2, 3, ROUGH));
    run(&mut one);
    run(&mut other);
    // The other way round, and turn by turn.
    let (mut third, mut fourth) = (World::new(2, 3, ROUGH), World::new(1, 3, ROUGH));
    for _ in 0..200 {
        for world in [&mut third, &mut fourth] {
            world.propose();
            world.tick();
        }
    }
    assert_eq!((one.trace, other.trace), (fourth.trace, third.trace));
}

/// Elect, propose, crash the leader, go on, compact, add a member that can only take a snapshot,
/// promote it and remove another in one joint change.
fn long_story(seed: u64) -> World {
    let mut world = World::new(seed, 3, ROUGH);
    world.elect();
    world.commit(60);
    let old = world.elect();
    world.crash(old);
    world.commit(60);
    world.start(old);
    for id in 1..=3 {
        world.until("quiet", |world| {
            let node = &world.nodes[&id];
            node.catalog.applied() == world.group(id).applied()
        });
        let _ = world.input(id, Input::Compact);
    }
    world.make(4, &Members::default(), seed);
    let add = Change {
        add: [(MemberId(4), disk_of(4))].into(),
        ..Change::default()
    };
    world.change(&add);
    world.commit(5);
    let leader = world.elect();
    let out = (1..=3).find(|id| *id != leader).unwrap();
    let swap = Change {
        promote: [MemberId(4)].into(),
        remove: [MemberId(out)].into(),
        ..Change::default()
    };
    world.change(&swap);
    world.commit(20);
    world.until("farewell", |world| world.nodes[&out].removed);
    world.heal_and_check();
    let voters: BTreeSet<u64> = world
        .group(4)
        .members()
        .voters
        .iter()
        .map(|id| id.0)
        .collect();
    let wanted: BTreeSet<u64> = (1..=4).filter(|id| *id != out).collect();
    assert_eq!(voters, wanted);
    world
}

#[test]
fn a_group_outlives_crash_snapshot_and_change_of_members() {
    for seed in seeds(20) {
        long_story(seed);
    }
    assert_eq!(long_story(1).trace, long_story(1).trace);
}
