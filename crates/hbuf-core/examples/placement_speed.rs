//! Prints how long plans of 100 nodes and 100,000 buffers take: `cargo run --release --example
//! placement_speed -p hbuf-core`. Best of three runs each.

#![expect(
    clippy::disallowed_types,
    reason = "a measurement reads the clock; the core itself does not"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::name::Name;
use hbuf_core::placement::{Asked, Buffer, Node, Plan, Settings, plan};

const NODES: u32 = 100;
const BUFFERS: u64 = 100_000;

fn main() {
    let mut nodes: Vec<Node> = (1..=NODES).map(node).collect();
    let mut buffers: Vec<Buffer> = (0..BUFFERS).map(buffer).collect();
    let asked = |fill, drain, rebalance| Asked {
        fill,
        drain,
        rebalance,
        replace: BTreeSet::new(),
    };
    let rebalance = asked(false, false, true);
    nodes[NODES as usize - 1].worker = false;
    let filled = measure(
        "fill 99 nodes",
        &nodes,
        &buffers,
        &asked(true, false, false),
    );
    apply(&mut nodes, &mut buffers, &filled);
    measure("rebalance of what is even", &nodes, &buffers, &rebalance);
    nodes[NODES as usize - 1].worker = true;
    let grown = measure("rebalance over a new node", &nodes, &buffers, &rebalance);
    apply(&mut nodes, &mut buffers, &grown);
    measure("the same again", &nodes, &buffers, &rebalance);
    nodes[0].draining = true;
    measure(
        "drain of a node",
        &nodes,
        &buffers,
        &asked(false, true, false),
    );
    for node in &mut nodes[10..60] {
        node.worker = false;
    }
    let halved = measure(
        "rebalance off half of the nodes",
        &nodes,
        &buffers,
        &rebalance,
    );
    apply(&mut nodes, &mut buffers, &halved);
    for node in &mut nodes[10..60] {
        node.worker = true;
    }
    measure("rebalance over as many again", &nodes, &buffers, &rebalance);
}

fn measure(what: &str, nodes: &[Node], buffers: &[Buffer], asked: &Asked) -> Plan {
    let settings = Settings {
        moves_max: 1_000_000,
        ..Settings::default()
    };
    let mut best = Duration::MAX;
    let mut made = Plan::default();
    for _ in 0..3 {
        let start = Instant::now();
        let plan = plan(black_box(nodes), black_box(buffers), asked, &settings);
        best = best.min(start.elapsed());
        made = plan.expect("the cluster fits together");
    }
    let (moves, primaries) = (made.moves.len(), made.primaries.len());
    let gigabytes = made.bytes() >> 30;
    println!(
        "{what:32} {:6} ms  {moves:7} moves  {gigabytes:6} GiB  {primaries:7} hand-overs  {} notes",
        best.as_millis(),
        made.notes.len()
    );
    made
}

fn node(id: u32) -> Node {
    let zone = Name::parse(&format!("z{}", id % 5)).expect("it is a name");
    Node {
        id: NodeId(id),
        zone: Some(zone),
        region: region(),
        worker: true,
        total_bytes: 4 << 40,
        free_bytes: 4 << 40,
        draining: false,
        alive: true,
        clock_off: false,
    }
}

fn region() -> Name {
    Name::parse("global").expect("it is a name")
}

/// Sizes and loads from small to large, a few of them much larger than the others.
fn buffer(number: u64) -> Buffer {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&mixed.to_be_bytes());
    uuid[8..].copy_from_slice(&number.to_be_bytes());
    let scale = mixed >> 60;
    Buffer {
        uuid: Uuid(uuid),
        region: region(),
        bytes: (mixed & 0x3_ffff) << scale,
        load: (mixed >> 20 & 0xff) << (scale / 2),
        wanted: 3,
        copies: Vec::new(),
        primary: None,
        pinned: BTreeSet::new(),
        excluded: BTreeSet::new(),
    }
}

fn apply(nodes: &mut [Node], buffers: &mut [Buffer], plan: &Plan) {
    let numbers: BTreeMap<Uuid, usize> =
        (0..).zip(&*buffers).map(|(at, it)| (it.uuid, at)).collect();
    let at = |id: NodeId| id.0 as usize - 1;
    for step in &plan.moves {
        let one = &mut buffers[numbers[&step.buffer]];
        if let Some(from) = step.from {
            nodes[at(from)].free_bytes += step.bytes;
            one.copies.retain(|copy| *copy != from);
        }
        one.copies.push(step.to);
    }
    for step in &plan.moves {
        nodes[at(step.to)].free_bytes -= step.bytes;
    }
    for step in &plan.primaries {
        buffers[numbers[&step.buffer]].primary = Some(step.to);
    }
}
