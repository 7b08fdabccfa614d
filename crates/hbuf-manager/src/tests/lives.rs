//! Registrations by lives: disks that are copied, set back, replaced, and processes that were
//! superseded.

use super::*;

/// What a disk knows of the lives on it.
#[derive(Clone)]
struct DiskState {
    disk: u64,
    lives: Vec<Uuid>,
}

impl DiskState {
    const fn new(disk: u64) -> Self {
        Self {
            disk,
            lives: Vec::new(),
        }
    }

    /// A process starts: its life is on the disk before it registers.
    fn starts(&mut self, life: u64) -> Action {
        let earlier = self.lives.clone();
        self.lives.push(uuid(life));
        Action::RegisterNode(RegisterNode {
            life: Some(uuid(life)),
            earlier,
            ..RegisterNode::new(name("n1"), uuid(self.disk), CLUSTER_VERSIONS)
        })
    }
}

/// A cluster whose one buffer is on `n1`, which has registered with the life 100.
fn world(disk: &mut DiskState) -> World {
    let mut world = World {
        catalog: Catalog::new(),
        number: 0,
    };
    world.ok(found(9));
    world.ok(disk.starts(100));
    world.ok(create("a", 1, ""));
    world.ok(confirm(1));
    world
}

/// The session of `n1` lapses, or is ended in order.
fn lapse(world: &mut World) {
    let epoch = world.catalog.node_by_id(NodeId(1)).unwrap().epoch;
    world.ok(Action::Assign(Assign::FenceNodes {
        nodes: vec![(NodeId(1), epoch)],
    }));
}

fn found_disk(outcome: &Outcome) -> DiskFound {
    match outcome {
        Outcome::Node { disk, .. } => *disk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restart_within_the_session_waits_for_its_end_and_goes_on_then() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    let start = disk.starts(101);
    let in_use = Refused::DiskInUse {
        disk: uuid(1),
        node: name("n1"),
    };
    assert_eq!(world.refused(start.clone()), in_use);
    lapse(&mut world);
    let done = world.ok(start);
    assert_eq!(found_disk(&done), DiskFound::Same);
    let it = world.assignment(1);
    assert_eq!((it.primary, it.epoch), (Some(NodeId(1)), Epoch(2)));
}

#[test]
fn a_process_that_registers_again_is_answered_as_before() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    lapse(&mut world);
    let start = disk.starts(101);
    let done = world.ok(start.clone());
    let epoch = world.assignment(1).epoch;
    assert_eq!(world.ok(start), done);
    assert_eq!(world.assignment(1).epoch, epoch);
}

#[test]
fn a_disk_that_was_set_back_counts_as_lost() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    let mut snapshot = disk.clone();
    lapse(&mut world);
    world.ok(disk.starts(101));
    lapse(&mut world);
    let done = world.ok(snapshot.starts(102));
    assert_eq!(found_disk(&done), DiskFound::SetBack);
    assert_eq!(world.assignment(1).primary, None);
    lapse(&mut world);
    let done = world.ok(snapshot.starts(103));
    assert_eq!(found_disk(&done), DiskFound::Same, "of what it is now");
    assert_eq!(
        world.assignment(1).primary,
        None,
        "what it lacks stays lost"
    );
}

#[test]
fn of_two_copies_of_a_disk_only_one_goes_on() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    let mut clone = disk.clone();
    lapse(&mut world);
    world.ok(disk.starts(101));
    let refused = world.refused(clone.starts(102));
    assert!(matches!(refused, Refused::DiskCopied { .. }), "{refused:?}");
    lapse(&mut world);
    let done = world.ok(clone.starts(103));
    assert_eq!(found_disk(&done), DiskFound::SetBack);
}

#[test]
fn whoever_sees_that_its_disk_was_copied_takes_a_life_that_the_copy_does_not_know() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    let epoch = world.catalog.node_by_id(NodeId(1)).unwrap().epoch;
    let mut clone = disk.clone();
    // The disk was copied while its process lived: the copy knows that process.
    let start = clone.starts(102);
    let refused = world.refused(start.clone());
    assert!(matches!(refused, Refused::DiskInUse { .. }), "{refused:?}");
    let Action::RegisterNode(start) = start else {
        panic!("{start:?}")
    };
    assert!(start.is_of_a_copy(uuid(1), uuid(100)));
    assert!(!start.is_of_a_copy(uuid(1), uuid(102)));
    assert!(!start.is_of_a_copy(uuid(2), uuid(100)));
    let life = uuid(200);
    let renew = Action::Assign(Assign::RenewLife {
        node: NodeId(1),
        epoch,
        life,
    });
    world.ok(renew.clone());
    world.ok(renew);
    let node = world.catalog.node_by_id(NodeId(1)).unwrap();
    assert_eq!((node.life, node.epoch), (Some(life), epoch));
    let refused = world.refused(clone.starts(103));
    assert!(matches!(refused, Refused::DiskCopied { .. }), "{refused:?}");
    // Also when it comes first after the end of that process.
    lapse(&mut world);
    let done = world.ok(clone.starts(104));
    assert_eq!(found_disk(&done), DiskFound::SetBack);
    let late = world.refused(Action::Assign(Assign::RenewLife {
        node: NodeId(1),
        epoch,
        life: uuid(201),
    }));
    assert_eq!(late, Refused::NodeSuperseded { node: NodeId(1) });
}

#[test]
fn a_life_that_was_tried_and_not_confirmed_is_still_known() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    lapse(&mut world);
    // It was applied, and the process died before it heard so.
    world.ok(disk.starts(101));
    lapse(&mut world);
    for life in 102..110 {
        let _ = disk.starts(life);
    }
    let done = world.ok(disk.starts(110));
    assert_eq!(found_disk(&done), DiskFound::Same);
}

#[test]
fn another_disk_takes_a_name_when_its_session_is_over_and_holds_nothing() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    let mut other = DiskState::new(2);
    let start = other.starts(200);
    let in_use = Refused::NameInUse { node: name("n1") };
    assert_eq!(world.refused(start.clone()), in_use);
    lapse(&mut world);
    let done = world.ok(start);
    assert_eq!(found_disk(&done), DiskFound::Replaced);
    assert_eq!(world.assignment(1).primary, None);
}

#[test]
fn who_has_registered_with_a_life_does_so_for_ever_and_names_few() {
    let mut disk = DiskState::new(1);
    let mut world = world(&mut disk);
    lapse(&mut world);
    let without = register("n1", 1, &[]);
    assert_eq!(world.refused(without), Refused::NoLife { node: name("n1") });
    disk.lives = (0..hbuf_core::limits::NODE_LIVES_MAX as u64 + 1)
        .map(uuid)
        .collect();
    assert_eq!(world.refused(disk.starts(300)), Refused::TooManyLives);
    disk.lives.pop();
    disk.lives.pop();
    let done = world.ok(disk.starts(301));
    assert_eq!(found_disk(&done), DiskFound::SetBack);
}

#[test]
fn lives_and_assignments_wait_for_cluster_version_two() {
    let mut world = World {
        catalog: Catalog::new(),
        number: 0,
    };
    world.ok(Action::FoundCluster {
        cluster: uuid(9),
        version: 1,
    });
    let needs = Refused::ClusterVersion {
        needed: 2,
        current: 1,
    };
    let mut disk = DiskState::new(1);
    assert_eq!(world.refused(disk.starts(100)), needs);
    world.ok(register("n1", 1, &[]));
    let remove = Action::Assign(Assign::RemoveNode { node: NodeId(1) });
    assert_eq!(world.refused(remove), needs);
    world.ok(Action::SetClusterVersion { version: 2 });
    let start = disk.starts(101);
    world.ok(start);
    let down = Action::SetClusterVersion { version: 1 };
    let step = Refused::ClusterVersionStep {
        version: 1,
        current: 2,
    };
    assert_eq!(world.refused(down), step);
}
