//! Drains, rebalances, and nodes that stop: what comes next, until nothing does.

use hbuf_core::placement::{Asked, Settings};
use hbuf_core::replication::{Alter, Change, Member};

use super::*;
use crate::moves::{DiskUse, Measured, Steps, Throttle, Weight, next_steps};

/// Every disk is as full, every buffer weighs as much.
struct Same;

impl Measured for Same {
    fn disk(&self, _: NodeId) -> DiskUse {
        let (total, free) = (1 << 30, 1 << 29);
        DiskUse { total, free }
    }

    fn weight(&self, _: Uuid) -> Weight {
        let (bytes, load) = (1 << 20, 1_000);
        Weight { bytes, load }
    }
}

/// Four nodes; six buffers of two copies each on n1 and n2.
fn crowded() -> World {
    let mut world = World::new();
    for (node, n) in [("n2", 2), ("n3", 3), ("n4", 4)] {
        world.ok(register(node, n, &[]));
    }
    for n in 1..=6 {
        world.ok(create_on(&format!("b{n}"), n, "n1 n2", ""));
        world.ok(confirm(n));
    }
    world
}

fn drain(world: &mut World, node: u32) {
    world.ok(Action::Assign(Assign::SetNode {
        node: NodeId(node),
        change: NodeChange {
            draining: Some(true),
            ..NodeChange::default()
        },
    }));
}

const DRAIN: Asked = Asked {
    fill: false,
    drain: true,
    replace: alloc::collections::BTreeSet::new(),
    rebalance: false,
};

const REBALANCE: Asked = Asked {
    fill: false,
    drain: false,
    replace: alloc::collections::BTreeSet::new(),
    rebalance: true,
};

fn steps(world: &World, asked: &Asked, throttle: Throttle) -> Steps {
    let settings = Settings::default();
    next_steps(&world.catalog, &Same, asked, &settings, &throttle).unwrap()
}

/// Every copy that is behind catches up.
fn catch_up(world: &mut World) {
    let all: Vec<(Uuid, Assignment)> = world
        .catalog
        .assigned()
        .all()
        .map(|(uuid, it)| (uuid, it.clone()))
        .collect();
    for (uuid, it) in all {
        let stays = |node: &&NodeId| !world.catalog.node_by_id(**node).unwrap().draining;
        let mut behind = it.copies.iter().filter(stays);
        let behind = behind.find(|node| !it.in_sync.contains_key(node));
        let (Some(node), Some(by)) = (behind, it.primary) else {
            continue;
        };
        let node_epoch = world.catalog.node_by_id(*node).unwrap().epoch;
        let from = Seq::FIRST;
        let alter = Alter {
            by,
            epoch: it.epoch,
            version: it.version,
            change: Change::Add(*node, Member { node_epoch, from }),
        };
        world.ok(Action::Assign(Assign::AlterInSync { uuid, alter }));
    }
}

/// Does what comes next again and again; how many commands that were.
fn run(world: &mut World, asked: &Asked, throttle: Throttle) -> usize {
    let mut done = 0;
    for _ in 0..100 {
        let next = steps(world, asked, throttle);
        assert!(next.under_way <= throttle.buffers);
        if next.is_done() {
            return done;
        }
        done += next.commands.len();
        for command in next.commands {
            world.ok(Action::Assign(command));
        }
        catch_up(world);
    }
    panic!("it does not end");
}

fn copies_on(world: &World, node: u32) -> usize {
    let all = world.catalog.assigned().all();
    all.filter(|(_, it)| it.copies.contains(&NodeId(node)))
        .count()
}

const FEW: Throttle = Throttle {
    buffers: 2,
    arrivals: 1,
};

#[test]
fn a_drained_node_ends_with_no_copies_and_then_nothing_is_left_to_do() {
    let mut world = crowded();
    assert!(steps(&world, &DRAIN, FEW).is_done());
    drain(&mut world, 1);
    assert_eq!(run(&mut world, &DRAIN, FEW), 6);
    assert_eq!(copies_on(&world, 1), 0);
    assert!(steps(&world, &DRAIN, FEW).notes.is_empty());
    for (_, it) in world.catalog.assigned().all() {
        assert_eq!(it.copies.len(), 2);
        assert_ne!(it.primary, Some(NodeId(1)));
    }
}

#[test]
fn no_more_moves_at_once_than_may() {
    let mut world = crowded();
    drain(&mut world, 1);
    for (buffers, arrivals, begun) in [(1, 2, 1), (4, 1, 2), (4, 2, 4), (16, 9, 6)] {
        let next = steps(&world, &DRAIN, Throttle { buffers, arrivals });
        assert_eq!(next.commands.len(), begun, "{buffers} {arrivals}");
        // Six copies, and as many primaries that leave with them.
        assert_eq!(next.left, 12);
    }
    // What is under way counts, whoever began it.
    let first = steps(&world, &DRAIN, FEW).commands;
    for command in first {
        world.ok(Action::Assign(command));
    }
    let next = steps(&world, &DRAIN, FEW);
    assert_eq!((next.under_way, next.left), (2, 8));
    assert_eq!(next.commands, []);
    // A late repetition names another version.
    catch_up(&mut world);
    assert_ne!(steps(&world, &DRAIN, FEW).commands, []);
}

#[test]
fn a_node_that_has_nowhere_to_go_to_keeps_its_copies_and_the_note_says_so() {
    let mut world = World::new();
    world.ok(register("n2", 2, &[]));
    world.ok(create_on("a", 1, "n1 n2", ""));
    world.ok(confirm(1));
    drain(&mut world, 1);
    let next = steps(&world, &DRAIN, FEW);
    assert_eq!(next.notes.len(), 1, "{:?}", next.notes);
    // The primary goes to the one that stays.
    assert_eq!(run(&mut world, &DRAIN, FEW), 1);
    assert_eq!(copies_on(&world, 1), 1);
    let it = world.catalog.assignment(uuid(1)).unwrap();
    assert_eq!(it.primary, Some(NodeId(2)));
}

#[test]
fn a_rebalance_ends_and_what_it_left_is_even() {
    let mut world = crowded();
    assert!(run(&mut world, &REBALANCE, FEW) >= 6);
    let copies: Vec<usize> = (1..=4).map(|node| copies_on(&world, node)).collect();
    assert_eq!(copies, [3, 3, 3, 3]);
    assert!(steps(&world, &REBALANCE, FEW).is_done());
}

#[test]
fn a_move_to_a_node_that_drains_meanwhile_is_turned_elsewhere() {
    let mut world = crowded();
    let to = [NodeId(2), NodeId(3)];
    world.ok(Action::Assign(Assign::SetCopies {
        uuid: uuid(1),
        expected: None,
        copies: to.to_vec(),
    }));
    drain(&mut world, 3);
    // Nobody is taken in there, so this move would never end.
    run(&mut world, &DRAIN, FEW);
    assert_eq!(copies_on(&world, 3), 0);
    let it = world.catalog.assignment(uuid(1)).unwrap();
    assert!(it.leaving.is_empty() && it.copies.len() == 2, "{it:?}");
}

#[test]
fn a_node_that_stops_hands_over_what_others_can_lead_then_the_group_then_ends() {
    let mut world = crowded();
    world.ok(create_on("alone", 9, "n1", ""));
    world.ok(confirm(9));
    let Stopping::HandOver(steps) = stopping(&world.catalog, NodeId(1), true) else {
        panic!("it leads six buffers");
    };
    assert_eq!(steps.len(), 6);
    for step in steps {
        world.ok(Action::Assign(step));
    }
    assert_eq!(
        stopping(&world.catalog, NodeId(1), true),
        Stopping::Transfer
    );
    assert_eq!(stopping(&world.catalog, NodeId(1), false), Stopping::End);
    // The one that nobody else has stays where it is.
    let it = world.catalog.assignment(uuid(9)).unwrap();
    assert_eq!(it.primary, Some(NodeId(1)));
    // Nobody is handed over to who leaves.
    drain(&mut world, 1);
    assert_eq!(stopping(&world.catalog, NodeId(2), false), Stopping::End);
}
