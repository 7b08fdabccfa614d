//! The cluster and its nodes: founding, registrations, versions.

use super::*;

#[test]
fn nothing_happens_before_the_cluster_is_founded_and_it_is_founded_once() {
    let mut world = World {
        catalog: Catalog::new(),
        number: 0,
    };
    assert_eq!(world.refused(create("a", 1, "")), Refused::NotFounded);
    world.ok(found(9));
    world.ok(found(9));
    let other = found(8);
    assert_eq!(
        world.refused(other),
        Refused::AlreadyFounded { cluster: uuid(9) }
    );
}

#[test]
fn a_registration_raises_the_epoch_of_every_buffer_that_the_node_leads() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, "")]);
    let index = world.catalog.applied() + 1;
    let done = world.ok(register("n1", 1, &[uuid(2)]));
    assert_eq!(
        done,
        Outcome::Node {
            id: NodeId(1),
            epoch: index,
            disk: DiskFound::Same,
        }
    );
    let a = world.assignment(1);
    assert_eq!((a.epoch, a.primary), (Epoch(2), Some(NodeId(1))));
    assert_eq!(a.in_sync[&NodeId(1)].node_epoch, NodeEpoch(index));
    assert_eq!(world.buffer(1).version, 2, "it is configured as before");
    assert_eq!(
        world.assignment(2).primary,
        None,
        "its last copy is bad: offline"
    );
    world.ok(register("n1", 1, &[]));
    let b = world.assignment(2);
    assert_eq!(
        (b.primary, b.epoch),
        (Some(NodeId(1)), Epoch(2)),
        "the copy is usable again"
    );
}

#[test]
fn a_lost_copy_leaves_the_in_sync_set_and_another_one_leads() {
    let mut world = World::new();
    world.ok(register("n2", 2, &[]));
    world.ok(create_on("a", 1, "n1 n2", ""));
    world.ok(confirm(1));
    let taken = Refused::DiskTaken {
        disk: uuid(1),
        node: name("n1"),
    };
    assert_eq!(world.refused(register("n3", 1, &[])), taken);
    world.ok(register("n1", 3, &[]));
    let a = world.assignment(1);
    assert_eq!((a.primary, a.in_sync.len()), (Some(NodeId(2)), 1));
    assert_eq!(a.preferred, [NodeId(1), NodeId(2)]);
    let before = a.epoch;
    world.ok(register("n1", 3, &[]));
    assert_eq!(
        world.assignment(1).epoch,
        before,
        "n1 is not in sync, so nothing changes"
    );
}

#[test]
fn a_node_must_know_the_cluster_version_and_versions_rise_one_by_one() {
    let mut world = World::new();
    let versions = VersionRange { min: 4, max: 5 };
    let new = Action::RegisterNode(RegisterNode::new(name("n2"), uuid(2), versions));
    assert_eq!(
        world.refused(new),
        Refused::NodeVersions {
            versions,
            current: 3
        }
    );
    let four = Action::SetClusterVersion { version: 4 };
    assert_eq!(
        world.refused(four),
        Refused::NodeTooOld {
            node: name("n1"),
            version: 4
        }
    );
    let nine = Action::SetClusterVersion { version: 9 };
    assert_eq!(
        world.refused(nine),
        Refused::ClusterVersionStep {
            version: 9,
            current: 3
        }
    );
}

#[test]
fn a_cluster_takes_so_many_nodes_and_no_more_and_known_ones_start_again() {
    let mut world = World::new();
    let nodes = hbuf_core::limits::NODES_MAX as u64;
    for n in 2..=nodes {
        world.ok(register(&format!("n{n}"), n, &[]));
    }
    assert_eq!(
        world.refused(register("more", 9_999, &[])),
        Refused::TooManyNodes
    );
    world.ok(register("n7", 7, &[]));
}
