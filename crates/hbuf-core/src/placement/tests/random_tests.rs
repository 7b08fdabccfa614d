//! All rules over random clusters, and that nothing is left to plan.

use alloc::string::String;
use core::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn any_node() -> impl Strategy<Value = Node> {
    let zone = prop_oneof![Just(""), Just("a"), Just("b"), Just("c")];
    let off = prop_oneof![12 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4)];
    (zone, off, 1..4_u64, 0..40_u64).prop_map(|(zone, off, size, other)| {
        let mut one = node(0, zone);
        one.total_bytes = size * 100_000;
        // What else is on the disk.
        one.free_bytes = one.total_bytes - one.total_bytes * other / 100;
        one.alive = off != 1;
        one.draining = off == 2;
        one.worker = off != 3;
        one.region = name(if off == 4 { "s" } else { "r" });
        one
    })
}

fn any_buffer() -> impl Strategy<Value = Buffer> {
    let copies = prop::collection::vec(0..1_000_u32, 0..4);
    let special = prop::collection::vec(0..1_000_u32, 0..2);
    (
        0..30_000_u64,
        0..50_u64,
        1..4_usize,
        copies,
        special.clone(),
        special,
        any::<bool>(),
    )
        .prop_map(|(bytes, load, wanted, copies, pinned, excluded, lead)| {
            let mut one = buffer(0, bytes, wanted, &copies);
            one.load = load;
            one.pinned = pinned.into_iter().map(NodeId).collect();
            one.excluded = excluded.into_iter().map(NodeId).collect();
            one.primary = one.primary.filter(|_| lead);
            one
        })
}

fn any_asked() -> impl Strategy<Value = Asked> {
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::collection::btree_set(0..1_000_u32, 0..3),
    )
        .prop_map(|(fill, drain, rebalance, replace)| Asked {
            fill,
            drain,
            rebalance,
            replace: replace.into_iter().map(NodeId).collect(),
        })
}

/// So many cases; failing ones are told and not kept in a file.
fn cases(count: u32) -> Config {
    Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    }
}

type Cluster = (Vec<Node>, Vec<Buffer>, Asked);

/// A cluster whose numbers fit together.
fn clusters() -> impl Strategy<Value = Cluster> {
    let nodes = prop::collection::vec(any_node(), 1..9);
    let buffers = prop::collection::vec(any_buffer(), 0..40);
    (nodes, buffers, any_asked()).prop_map(|(mut nodes, mut buffers, mut asked)| {
        let count = u32::try_from(nodes.len()).unwrap();
        let fold = |id: &NodeId| NodeId(id.0 % count);
        for (id, node) in (0..).zip(&mut nodes) {
            node.id = NodeId(id);
        }
        for (number, one) in (0..).zip(&mut buffers) {
            one.uuid = uuid(number);
            let mut copies: Vec<_> = one.copies.iter().map(fold).collect();
            copies.sort();
            copies.dedup();
            copies.retain(|id| {
                let node = &mut nodes[usize::try_from(id.0).unwrap()];
                let fits = node.free_bytes >= one.bytes;
                node.free_bytes -= if fits { one.bytes } else { 0 };
                fits
            });
            one.copies = copies;
            let led = one.primary.is_some();
            one.primary = one.copies.last().copied().filter(|_| led);
            one.pinned = one.pinned.iter().map(fold).collect();
            one.excluded = one.excluded.iter().map(fold).collect();
        }
        asked.replace = asked.replace.iter().map(fold).collect();
        (nodes, buffers, asked)
    })
}

/// Rules that hold for every move of every plan.
fn check_moves((nodes, buffers, asked): &Cluster, plan: &Plan) -> Result<(), String> {
    let node = |id: NodeId| nodes.iter().find(|node| node.id == id).unwrap();
    let one = |uuid: Uuid| buffers.iter().find(|it| it.uuid == uuid).unwrap();
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_string()) };
    for step in &plan.moves {
        let (to, buffer) = (node(step.to), one(step.buffer));
        must(
            to.alive && !to.draining && to.worker,
            "goes to a node that takes none",
        )?;
        must(to.region == buffer.region, "goes to another region")?;
        must(
            !buffer.excluded.contains(&to.id),
            "goes to an excluded node",
        )?;
        must(!buffer.copies.contains(&to.id), "goes to where a copy is")?;
        must(step.bytes == buffer.bytes, "has other bytes")?;
        let Some(from) = step.from.map(node) else {
            must(
                asked.fill && step.why == Why::Missing,
                "fills what nobody asked for",
            )?;
            continue;
        };
        let replaced = !from.alive && asked.replace.contains(&from.id);
        must(from.alive || replaced, "takes from a dead node")?;
        let drained = asked.drain && from.draining;
        must(
            asked.rebalance || replaced || drained,
            "moves what nobody asked for",
        )?;
        let source = buffer.copies.iter().any(|copy| node(*copy).alive);
        must(source, "has nothing to copy from")?;
        let pin = buffer.pinned.contains(&from.id);
        let allowed = from.worker && from.region == buffer.region;
        let allowed = allowed && !buffer.excluded.contains(&from.id);
        must(
            !pin || replaced || drained || !allowed,
            "leaves a pinned node",
        )?;
    }
    Ok(())
}

/// Rules that hold when a plan is done.
fn check_end(
    (nodes, buffers, asked): &Cluster,
    before: &Cluster,
    plan: &Plan,
) -> Result<(), String> {
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_string()) };
    for (old, node) in before.0.iter().zip(nodes) {
        let used = node.total_bytes - node.free_bytes;
        let high = node.total_bytes * 850 / 1_000;
        let grew = node.free_bytes < old.free_bytes;
        must(!grew || used <= high, "fills a disk above the mark")?;
    }
    for one in buffers {
        let distinct: BTreeSet<_> = one.copies.iter().collect();
        must(
            distinct.len() == one.copies.len(),
            "two copies are on one node",
        )?;
        let noted = |told: &[Trouble]| {
            let notes = plan.notes.iter();
            notes.into_iter().any(|note| told.contains(&note.trouble))
        };
        let stuck = [Trouble::TooFewNodes, Trouble::NoRoom, Trouble::NoSource];
        let lacks = asked.fill && one.copies.len() < one.wanted;
        must(
            !lacks || noted(&stuck),
            "a copy is missing and nobody says so",
        )?;
        for copy in &one.copies {
            let node = nodes.iter().find(|node| node.id == *copy).unwrap();
            let stays = asked.drain && node.draining && node.alive;
            must(
                !stays || noted(&stuck),
                "a copy is left behind and nobody says so",
            )?;
        }
        if let Some(primary) = one.primary {
            let node = nodes.iter().find(|node| node.id == primary).unwrap();
            let stays = asked.drain && node.draining && node.alive;
            must(
                !stays || noted(&[Trouble::NoPrimary]),
                "a primary is left behind",
            )?;
        }
    }
    Ok(())
}

#[test]
fn every_plan_keeps_the_rules_and_leaves_nothing_to_plan() {
    let (moved, idle, handed) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(cases(3_000));
    let run = runner.run(&clusters(), |before| {
        let plan = planned(&before.0, &before.1, &before.2);
        let counter = if plan.moves.is_empty() { &idle } else { &moved };
        counter.set(counter.get() + 1);
        handed.set(handed.get() + plan.primaries.len());
        check_moves(&before, &plan).map_err(TestCaseError::fail)?;
        let mut after = before.clone();
        apply(&mut after.0, &mut after.1, &plan);
        check_end(&after, &before, &plan).map_err(TestCaseError::fail)?;
        let again = planned(&after.0, &after.1, &after.2);
        prop_assert!(again.is_empty(), "planned again: {again:?}");
        // The order in which things stand means nothing.
        let mut turned = before;
        turned.0.reverse();
        turned.1.reverse();
        for one in &mut turned.1 {
            one.copies.reverse();
        }
        prop_assert_eq!(planned(&turned.0, &turned.1, &turned.2), plan);
        Ok(())
    });
    run.unwrap();
    let counts = (moved.get(), idle.get(), handed.get());
    assert!(
        counts.0 > 500 && counts.1 > 200 && counts.2 > 500,
        "{counts:?}"
    );
}

#[test]
fn zones_are_shared_only_where_no_other_has_room() {
    let mut runner = TestRunner::new(cases(1_500));
    let run = runner.run(&clusters(), |(mut nodes, mut buffers, _)| {
        // Every node may take everything, and nothing is special.
        for node in &mut nodes {
            node.total_bytes = 10_000_000;
            node.free_bytes = 10_000_000;
            (node.alive, node.draining, node.worker) = (true, false, true);
            node.region = name("r");
        }
        for one in &mut buffers {
            (one.pinned, one.excluded) = (BTreeSet::new(), BTreeSet::new());
            one.wanted = one.wanted.max(one.copies.len());
        }
        fill_disks(&mut nodes, &buffers);
        let asked = Asked {
            fill: true,
            rebalance: true,
            ..Asked::default()
        };
        let plan = planned(&nodes, &buffers, &asked);
        apply(&mut nodes, &mut buffers, &plan);
        let zone = |id: &NodeId| {
            let node = nodes.iter().find(|node| node.id == *id).unwrap();
            node.zone.clone().ok_or(node.id)
        };
        let all: BTreeSet<_> = nodes.iter().map(|node| zone(&node.id)).collect();
        for one in &buffers {
            let used: BTreeSet<_> = one.copies.iter().map(zone).collect();
            let copies = one.wanted.min(nodes.len());
            prop_assert_eq!(one.copies.len(), copies);
            prop_assert_eq!(used.len(), copies.min(all.len()));
        }
        Ok(())
    });
    run.unwrap();
}
