//! What holds whatever happens, over many seeds.

use super::world::*;
use crate::raft::{Change, Input, MemberId, Members};

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Runs so many seeds, or as many as `HBUF_SEEDS` says, or the one of `HBUF_SEED`. A failing run
/// shows which seed it had.
fn each_seed(count: u64, mut run: impl FnMut(u64)) {
    let set = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match set("HBUF_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..set("HBUF_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        std::println!("to run this again: HBUF_SEED={seed} cargo nextest run -p hbuf-manager raft");
        run(seed);
    }
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
        for id in world.down() {
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
    each_seed(12, |seed| drop(storm(seed, 3 + 2 * (seed % 2), 30)));
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
fn long_story(seed: u64, commands: u64) -> World {
    let mut world = World::new(seed, 3, ROUGH);
    world.elect();
    world.commit(commands / 2);
    let old = world.elect();
    world.crash(old);
    world.commit(commands / 2);
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
    each_seed(12, |seed| drop(long_story(seed, 400)));
    assert_eq!(long_story(1, 100).trace, long_story(1, 100).trace);
    long_story(2, 10_000);
}

/// Members come and go while others crash and lose sight of each other.
fn storm_of_members(seed: u64) -> World {
    let mut world = World::new(seed, 3, ROUGH);
    world.elect();
    for _ in 0..40 {
        for _ in 0..20 {
            world.propose();
            world.tick();
        }
        change_something(&mut world, seed);
        let ids: Vec<u64> = world.nodes.keys().copied().collect();
        let id = ids[usize::try_from(world.rng.below(ids.len() as u64)).unwrap()];
        match world.rng.below(8) {
            0 => world.crash(id),
            1 => world.isolate(id),
            2 | 3 => world.cut.clear(),
            4 => drop(world.input(id, Input::Compact)),
            5 => drop(world.input(id, Input::Transfer)),
            _ => {
                let down = |id: &&u64| world.nodes[*id].group.is_none();
                if let Some(id) = ids.iter().find(down) {
                    world.start(*id);
                }
            }
        }
    }
    world.heal_and_check();
    world
}

fn change_something(world: &mut World, seed: u64) {
    let Some(leader) = world.leader() else {
        return;
    };
    let members = world.group(leader).members().clone();
    let next = world.nodes.keys().max().unwrap() + 1;
    let any = |set: Vec<MemberId>, draw: u64| set.get(usize::try_from(draw).unwrap() % 8).copied();
    let draw = world.rng.below(8);
    let learner = any(members.learners.iter().copied().collect(), draw % 3);
    let voter = any(members.voters.iter().copied().collect(), draw % 5);
    let mut change = Change::default();
    match world.rng.below(5) {
        0 | 1 if next < 12 && members.disks.len() < 7 => {
            world.make(next, &Members::default(), seed);
            change.add = [(MemberId(next), disk_of(next))].into();
        }
        2 => change.promote.extend(learner),
        3 => change.remove.extend(learner.or(voter)),
        _ => {
            change.promote = members.learners.clone();
            change.demote.extend(voter);
        }
    }
    // Refused as often as not: two voters, nobody caught up, another change under way.
    let _ = world.input(leader, Input::Change(change));
}

#[test]
fn members_that_come_and_go_in_a_storm_lose_nothing() {
    let (mut runs, mut ids) = (0, 0);
    each_seed(8, |seed| {
        let world = storm_of_members(seed);
        let leader = world.leader().unwrap();
        ids += world.group(leader).members().last_id;
        runs += 1;
    });
    assert!(ids > 3 * runs, "no member came");
}
