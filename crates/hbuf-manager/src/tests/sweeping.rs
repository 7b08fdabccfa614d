//! Regions: their list in `global`, their own state and text, and what crashes between the two
//! leave.

use alloc::collections::{BTreeMap, BTreeSet};

use hbuf_core::limits::REGIONS_MAX;
use hbuf_core::replication::MoveRefused;
use proptest::prelude::*;

use super::any_assignment::any_assign;
use super::text::read_back;
use super::*;
use crate::region::{PlaceBuffer, Region, RegionAction, RegionCommand, Sweep, sweep};

fn create_region(region: &str, group: u64) -> Action {
    let (region, group) = (name(region), uuid(group));
    Action::CreateRegion { region, group }
}

fn create_in(buffer: &str, id: u64, region: &str, copies: &str) -> Action {
    let Action::CreateBuffer(mut create) = create(buffer, id, "") else {
        unreachable!("it makes a buffer");
    };
    create.region = Some(name(region));
    create.copies = names(copies);
    Action::CreateBuffer(create)
}

fn place(id: u64, reserved: u64) -> RegionAction {
    RegionAction::from(PlaceBuffer {
        uuid: uuid(id),
        history: uuid(id + 2_000_000),
        copies: vec![NodeId(1)],
        min_in_sync: 1,
        reserved,
        version: 1,
    })
}

/// A region and commands of one client.
#[derive(Clone)]
struct RegionWorld {
    region: Region,
    number: u64,
}

impl RegionWorld {
    /// A founded region with the node 1.
    fn new() -> Self {
        let mut world = Self {
            region: Region::new(),
            number: 0,
        };
        let (group, version) = (uuid(500), 2);
        world
            .send(RegionAction::FoundRegion { group, version })
            .unwrap();
        world.send(starts("n1", 1)).unwrap();
        world
    }

    fn send(&mut self, action: RegionAction) -> Result<Outcome, Refused> {
        self.number += 1;
        let command = RegionCommand {
            client: uuid(77),
            number: self.number,
            time: Micros(5),
            action,
        };
        let read = RegionCommand::decode(&command.encode());
        assert_eq!(read.as_ref(), Ok(&command));
        let done = self.region.apply(self.region.applied() + 1, &command);
        assert_eq!(self.region.broken_invariant(), None);
        done.map(|applied| applied.outcome)
    }
}

fn starts(node: &str, id: u32) -> RegionAction {
    let start = RegisterNode::new(name(node), uuid(id.into()), CLUSTER_VERSIONS);
    let id = NodeId(id);
    RegionAction::RegisterNode { id, start }
}

#[test]
fn a_region_is_made_once_and_forgotten_when_it_is_empty() {
    let mut world = World::new();
    let made = world.ok(create_region("eu", 500));
    assert_eq!(made, Outcome::Region { id: RegionId(1) });
    assert_eq!(world.ok(create_region("eu", 500)), made);
    let exists = |region: &str| Refused::RegionExists {
        region: name(region),
    };
    assert_eq!(world.refused(create_region("EU", 501)), exists("EU"));
    assert_eq!(
        world.refused(create_region("Global", 501)),
        exists("Global")
    );
    let taken = Refused::UuidTaken { uuid: uuid(500) };
    assert_eq!(world.refused(create_region("us", 500)), taken);
    for n in 2..REGIONS_MAX as u64 {
        world.ok(create_region(&format!("r{n}"), 600 + n));
    }
    let full = world.refused(create_region("more", 700));
    assert_eq!(full, Refused::TooManyRegions);
    world.ok(create_in("a", 1, "eu", ""));
    let delete = |region: &str| Action::DeleteRegion {
        region: name(region),
    };
    let (region, buffers) = (name("eu"), 1);
    let in_use = Refused::RegionInUse { region, buffers };
    assert_eq!(world.refused(delete("eu")), in_use);
    world.ok(drop_buffer(1));
    world.ok(delete("eu"));
    let gone = Refused::NoSuchRegion { region: name("eu") };
    assert_eq!(world.refused(delete("eu")), gone);
    assert_eq!(world.refused(create_in("a", 1, "eu", "")), gone);
    let made = world.ok(create_region("eu", 800));
    assert_eq!(made, Outcome::Region { id: RegionId(16) }, "a new number");
}

#[test]
fn a_buffer_of_a_region_has_a_name_in_global_and_its_assignment_there() {
    let mut world = World::new();
    world.ok(create_region("eu", 500));
    let named = world.refused(create_in("a", 1, "eu", "n1"));
    assert_eq!(named, Refused::PlacedByRegion);
    world.ok(create_in("a", 1, "eu", ""));
    assert_eq!(world.buffer(1).region, Some(RegionId(1)));
    assert_eq!(world.catalog.assignment(uuid(1)), None);
    let elsewhere = Action::Assign(Assign::HandOver {
        uuid: uuid(1),
        expected: None,
        to: NodeId(1),
    });
    let (uuid, region) = (uuid(1), name("eu"));
    let refused = Refused::InRegion { uuid, region };
    assert_eq!(world.refused(elsewhere), refused);
    let read = read_back(&world.catalog, 80);
    assert_eq!(read, Ok(world.catalog.clone()));
    let mut config = world.buffer(1).config;
    config.segment_bytes = 1 << 20;
    let other = Refused::OtherReservation { uuid };
    assert_eq!(world.refused(confirm(1)), other, "it says for which");
    let reserved = Some(world.buffer(1).reserved);
    world.ok(Action::ConfirmBuffer { uuid, reserved });
    world.ok(Action::ConfigureBuffer {
        uuid,
        expected: None,
        config,
        mirror: MirrorChange::Keep,
    });
}

#[test]
fn a_region_places_a_buffer_once_by_the_same_rules() {
    let mut world = RegionWorld::new();
    let done = world.send(place(1, 7)).unwrap();
    assert_eq!(world.send(place(1, 7)), Ok(done), "it is the same");
    let RegionAction::PlaceBuffer(other) = place(1, 7) else {
        unreachable!("it places a buffer");
    };
    let history = uuid(4);
    let other = RegionAction::from(PlaceBuffer { history, ..*other });
    let taken = Refused::UuidTaken { uuid: uuid(1) };
    assert_eq!(world.send(other), Err(taken));
    let on = |copies: &[u32]| {
        RegionAction::from(PlaceBuffer {
            uuid: uuid(2),
            history: uuid(3),
            copies: copies.iter().copied().map(NodeId).collect(),
            min_in_sync: 1,
            reserved: 7,
            version: 1,
        })
    };
    let count = |got| Refused::Move(MoveRefused::Count { got, least: 1 });
    assert_eq!(world.send(on(&[])), Err(count(0)));
    assert_eq!(world.send(on(&[1, 1])), Err(count(1)));
    let unknown = Refused::Move(MoveRefused::Unknown(NodeId(9)));
    assert_eq!(world.send(on(&[9])), Err(unknown));
    world.send(starts("n1", 1)).unwrap();
    let it = world.region.assignment(uuid(1)).unwrap();
    assert_eq!((it.primary, it.epoch), (Some(NodeId(1)), Epoch(2)));
    let drop = |reserved| RegionAction::DropBuffer {
        uuid: uuid(1),
        reserved,
    };
    world.send(drop(6)).unwrap();
    assert_eq!(world.region.buffers().count(), 1, "of an older reservation");
    world.send(drop(7)).unwrap();
    world.send(drop(7)).unwrap();
    assert_eq!(world.region.buffers().count(), 0);
}

#[test]
fn settings_are_those_of_the_reservation_for_which_a_buffer_was_placed_last() {
    let mut world = RegionWorld::new();
    world.send(place(1, 7)).unwrap();
    let set = |reserved, version, min_in_sync| RegionAction::SetMinInSync {
        uuid: uuid(1),
        reserved,
        version,
        min_in_sync,
    };
    let min = |world: &RegionWorld| world.region.assignment(uuid(1)).unwrap().min_in_sync;
    world.send(set(7, 5, 2)).unwrap();
    world.send(set(7, 4, 3)).unwrap();
    assert_eq!(min(&world), 2, "it comes late");
    // The name was freed and reserved anew before anything was dropped here.
    world.send(place(1, 9)).unwrap();
    assert_eq!(min(&world), 1);
    world.send(set(7, 6, 3)).unwrap();
    assert_eq!(min(&world), 1, "it is meant for what was placed before");
    world.send(set(9, 2, 3)).unwrap();
    assert_eq!(min(&world), 3, "its versions count anew");
    world.send(place(1, 7)).unwrap();
    assert_eq!(min(&world), 3);
}

#[test]
fn a_region_is_founded_once_and_follows_the_cluster_version() {
    let mut world = RegionWorld {
        region: Region::new(),
        number: 0,
    };
    assert_eq!(world.send(starts("n1", 1)), Err(Refused::NotFounded));
    let found = |group: u64| RegionAction::FoundRegion {
        group: uuid(group),
        version: 1,
    };
    world.send(found(500)).unwrap();
    world.send(found(500)).unwrap();
    let other = Refused::OtherGroup { group: uuid(500) };
    assert_eq!(world.send(found(501)), Err(other));
    let versions = VersionRange { min: 1, max: 1 };
    let start = RegisterNode::new(name("old"), uuid(9), versions);
    let id = NodeId(9);
    world
        .send(RegionAction::RegisterNode { id, start })
        .unwrap();
    let two = RegionAction::SetClusterVersion { version: 2 };
    let too_old = Refused::NodeTooOld {
        node: name("old"),
        version: 2,
    };
    assert_eq!(world.send(two.clone()), Err(too_old));
    world.send(starts("old", 9)).unwrap();
    world.send(two).unwrap();
    assert_eq!(world.region.cluster_version(), 2);
    let one = RegionAction::SetClusterVersion { version: 1 };
    let (version, current) = (1, 2);
    let step = Refused::ClusterVersionStep { version, current };
    assert_eq!(world.send(one), Err(step));
}

fn any_region_action() -> impl Strategy<Value = RegionAction> {
    let buffer = || 0_u64..8;
    prop_oneof![
        3 => (buffer(), 0_u64..9).prop_map(|(id, reserved)| place(id, reserved)),
        1 => (buffer(), 0_u64..9).prop_map(|(id, reserved)| {
            let uuid = uuid(id);
            RegionAction::DropBuffer { uuid, reserved }
        }),
        1 => (buffer(), 0_u64..9, 0_u64..4, 1_usize..4).prop_map(
            |(id, reserved, version, min_in_sync)| {
                let uuid = uuid(id);
                RegionAction::SetMinInSync { uuid, reserved, version, min_in_sync }
            },
        ),
        1 => (1_u32..4).prop_map(|id| starts(&format!("n{id}"), id)),
        4 => any_assign().prop_map(RegionAction::Assign),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_region_reads_back_as_it_was_written_and_goes_on_the_same(
        actions in prop::collection::vec(any_region_action(), 1..40),
        cut in 0_usize..40,
        piece_bytes in 1_usize..2_000,
    ) {
        let mut one = RegionWorld::new();
        let mut two = one.clone();
        for (at, action) in actions.into_iter().enumerate() {
            if at == cut {
                let mut reader = SnapshotReader::new();
                let Ok(_) = two.region.encode(piece_bytes, |piece| {
                    reader.push(piece).unwrap();
                    Ok::<(), core::convert::Infallible>(())
                });
                two.region = reader.finish().unwrap();
            }
            prop_assert_eq!(one.send(action.clone()), two.send(action));
        }
        prop_assert_eq!(one.region, two.region);
    }
}

/// Somebody who makes or deletes a buffer, by three steps.
#[derive(Clone, Debug)]
struct Maker {
    id: u64,
    deletes: bool,
    done: u8,
    reserved: u64,
    /// The reservation for which the region placed it.
    placed: u64,
    gone: bool,
}

/// `global`, a region, those at work, and what clients were told.
struct Sweeping {
    global: World,
    region: RegionWorld,
    makers: Vec<Maker>,
    /// Buffers by number and reservation.
    told: BTreeSet<(u64, u64)>,
    deleted: BTreeSet<(u64, u64)>,
    old: (Catalog, Region),
}

#[derive(Clone, Debug)]
enum Event {
    Create(u64),
    Delete(u64),
    /// A maker takes its next step, or the one before once more.
    Step(usize, bool),
    Crash(usize),
    Configure(u64, u8),
    /// The states as they are now are seen again later.
    Keep,
    /// A sweep of new or old states, with or without the knowledge of who is at work.
    Sweep {
        old_global: bool,
        old_region: bool,
        blind: bool,
    },
}

impl Sweeping {
    fn new() -> Self {
        let mut global = World::new();
        global.ok(create_region("eu", 500));
        let region = RegionWorld::new();
        let old = (global.catalog.clone(), region.region.clone());
        let (makers, told, deleted) = Default::default();
        Self {
            global,
            region,
            makers,
            told,
            deleted,
            old,
        }
    }

    fn step(&mut self, at: usize, again: bool) {
        let Some(maker) = self.makers.get(at).cloned().filter(|maker| !maker.gone) else {
            return;
        };
        let step = match again {
            true => maker.done.saturating_sub(1),
            false => maker.done,
        };
        let id = maker.id;
        let went = match (maker.deletes, step) {
            (false, 0) => self.global.send(create_in(&format!("b{id}"), id, "eu", "")),
            (false, 1) => self.region.send(place(id, maker.reserved)),
            (false, 2) => self.global.send(Action::ConfirmBuffer {
                uuid: uuid(id),
                reserved: Some(maker.placed),
            }),
            (true, 0) => self.global.send(delete(id, true)),
            (true, 1) => self.region.send(RegionAction::DropBuffer {
                uuid: uuid(id),
                reserved: maker.reserved,
            }),
            (true, 2) => self.global.send(drop_buffer(id)),
            _ => return,
        };
        let maker = &mut self.makers[at];
        if went.is_err() {
            maker.gone = true;
            return;
        }
        if step == 0 {
            let buffer = self.global.catalog.buffer(uuid(id)).unwrap();
            maker.reserved = buffer.reserved;
        }
        if step == 1 {
            maker.placed = maker.reserved;
        }
        maker.done = maker.done.max(step + 1);
        match (maker.deletes, step) {
            (false, 2) => drop(self.told.insert((id, maker.placed))),
            (true, 0) => drop(self.deleted.insert((id, maker.reserved))),
            _ => {}
        }
    }

    fn sweep(&mut self, old_global: bool, old_region: bool, blind: bool) -> usize {
        let global = if old_global {
            &self.old.0
        } else {
            &self.global.catalog
        };
        let region = if old_region {
            &self.old.1
        } else {
            &self.region.region
        };
        let busy = |id: Uuid| {
            let at_work = |maker: &&Maker| uuid(maker.id) == id && !maker.gone && maker.done < 3;
            self.makers.iter().any(|maker| at_work(&maker))
        };
        let steps = sweep(global, RegionId(1), region, |uuid| blind || !busy(uuid));
        let count = steps.len();
        for step in steps {
            match step {
                Sweep::Global(action) => drop(self.global.send(action)),
                Sweep::Region(action) => drop(self.region.send(action)),
                Sweep::Missing(_) => {}
            }
        }
        count
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Create(id) | Event::Delete(id) => self.makers.push(Maker {
                id: *id,
                deletes: matches!(event, Event::Delete(_)),
                done: 0,
                reserved: 0,
                placed: 0,
                gone: false,
            }),
            Event::Step(at, again) => self.step(*at, *again),
            Event::Crash(at) => {
                if let Some(maker) = self.makers.get_mut(*at) {
                    maker.gone = true;
                }
            }
            Event::Configure(id, min) => {
                let config = BufferConfig {
                    replicas: 2,
                    min_insync: Some(*min),
                    ..BufferConfig::default()
                };
                let (uuid, expected, mirror) = (uuid(*id), None, MirrorChange::Keep);
                let _ = self.global.send(Action::ConfigureBuffer {
                    uuid,
                    expected,
                    config,
                    mirror,
                });
            }
            Event::Keep => {
                self.old = (self.global.catalog.clone(), self.region.region.clone());
            }
            Event::Sweep {
                old_global,
                old_region,
                blind,
            } => drop(self.sweep(*old_global, *old_region, *blind)),
        }
    }

    /// What a client was told of is there, in both, until somebody deletes it.
    fn lost(&self) -> Option<u64> {
        let live = |(id, reserved): &(u64, u64)| {
            let buffer = self.global.catalog.buffer(uuid(*id));
            let live = |it: &Buffer| it.lifecycle == Lifecycle::Live && it.reserved == *reserved;
            buffer.is_some_and(live) && self.region.region.assignment(uuid(*id)).is_some()
        };
        let mut kept = self.told.difference(&self.deleted);
        kept.find(|it| !live(it)).map(|(id, _)| *id)
    }

    /// Both say the same: every name has its assignment, and the other way round.
    fn agree(&self) -> bool {
        let of_global: BTreeMap<Uuid, usize> = self
            .global
            .catalog
            .buffers()
            .filter(|buffer| buffer.lifecycle == Lifecycle::Live)
            .map(|buffer| (buffer.uuid, buffer.config.effective_min_insync().into()))
            .collect();
        let all = self.region.region.assigned().all();
        let of_region: BTreeMap<Uuid, usize> =
            all.map(|(uuid, it)| (uuid, it.min_in_sync)).collect();
        of_global == of_region && of_global.len() == self.global.catalog.buffer_count()
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = || 1_u64..5;
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        2 => id().prop_map(Event::Create),
        1 => id().prop_map(Event::Delete),
        12 => (0_usize..8, prop::bool::weighted(0.2))
            .prop_map(|(at, again)| Event::Step(at, again)),
        1 => (0_usize..8).prop_map(Event::Crash),
        1 => (id(), 1_u8..4).prop_map(|(id, min)| Event::Configure(id, min)),
        1 => Just(Event::Keep),
        3 => flags.prop_map(|(old_global, old_region, blind)| {
            Event::Sweep { old_global, old_region, blind }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_between_any_two_steps_ends_with_both_states_agreeing(
        events in prop::collection::vec(any_event(), 1..100),
    ) {
        let mut world = Sweeping::new();
        for event in &events {
            world.take(event);
            prop_assert_eq!(world.lost(), None, "behind {:?}", event);
        }
        for maker in &mut world.makers {
            maker.gone = true;
        }
        let mut sweeps = 0;
        while world.sweep(false, false, false) > 0 {
            sweeps += 1;
            prop_assert!(sweeps < 5, "sweeping does not come to an end");
        }
        prop_assert!(world.agree());
        prop_assert_eq!(world.lost(), None);
    }
}
