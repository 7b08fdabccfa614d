//! What commands do, told as stories; then any sequence of commands against the invariants.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, Hash, Micros, NodeId, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::limits::{BUFFERS_PER_TOPIC_MAX, COMMAND_CLIENTS_MAX, TOPICS_PER_BUFFER_MAX};
use hbuf_core::name::Name;
use hbuf_core::topic::Slot;

use super::*;

mod any_sequence;
mod text;

/// A catalog, and commands of one client numbered upwards.
#[derive(Clone)]
struct World {
    catalog: Catalog,
    number: u64,
}

fn uuid(n: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Uuid::from_random(bytes)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(name).collect()
}

fn dash() -> Name {
    Name::default_tenant()
}

fn register(node: &str, disk: u64, bad: &[Uuid]) -> Action {
    let (node, disk, bad) = (name(node), uuid(disk), bad.to_vec());
    Action::RegisterNode(RegisterNode {
        node,
        disk,
        clean: true,
        bad,
        versions: CLUSTER_VERSIONS,
    })
}

fn create_on(buffer: &str, id: u64, copies: &str, topics: &str) -> Action {
    let copies = names(copies);
    let replicas = u8::try_from(copies.len() - 1).unwrap();
    Action::CreateBuffer(Box::new(CreateBuffer {
        tenant: dash(),
        name: name(buffer),
        uuid: uuid(id),
        log: uuid(id + 1_000_000),
        history: uuid(id + 2_000_000),
        idem_key: Hash([7; 32]),
        config: BufferConfig {
            replicas,
            ..BufferConfig::default()
        },
        copies,
        topics: names(topics),
    }))
}

fn create(buffer: &str, id: u64, topics: &str) -> Action {
    create_on(buffer, id, "n1", topics)
}

fn confirm(id: u64) -> Action {
    Action::ConfirmBuffer { uuid: uuid(id) }
}

fn set_state(id: u64, state: BufferState) -> Action {
    Action::SetBufferState {
        uuid: uuid(id),
        expected: None,
        state,
    }
}

fn delete(id: u64, force: bool) -> Action {
    Action::DeleteBuffer {
        uuid: uuid(id),
        force,
    }
}

fn drop_buffer(id: u64) -> Action {
    Action::DropBuffer { uuid: uuid(id) }
}

fn topic(topic: &str, buffers: &str) -> Action {
    Action::CreateTopic {
        tenant: dash(),
        topic: name(topic),
        buffers: names(buffers),
    }
}

fn delete_topic(topic: &str, buffers: LastTopic) -> Action {
    Action::DeleteTopic {
        tenant: dash(),
        topic: name(topic),
        buffers,
    }
}

impl World {
    /// A founded cluster with the node `n1`.
    fn new() -> Self {
        let mut world = Self {
            catalog: Catalog::new(),
            number: 0,
        };
        world.ok(Action::FoundCluster { cluster: uuid(9) });
        world.ok(register("n1", 1, &[]));
        world
    }

    fn with_buffers(buffers: &[(&str, u64, &str)]) -> Self {
        let mut world = Self::new();
        for (buffer, id, topics) in buffers {
            world.ok(create(buffer, *id, topics));
            world.ok(confirm(*id));
        }
        world
    }

    fn send(&mut self, action: Action) -> Result<Outcome, Refused> {
        self.number += 1;
        let command = Command {
            client: uuid(77),
            number: self.number,
            time: Micros(5),
            action,
        };
        let done = self.catalog.apply(self.catalog.applied() + 1, &command);
        assert_eq!(self.catalog.broken_invariant(), None);
        done.map(|applied| applied.outcome)
    }

    fn ok(&mut self, action: Action) -> Outcome {
        self.send(action).unwrap()
    }

    fn refused(&mut self, action: Action) -> Refused {
        self.send(action).unwrap_err()
    }

    fn buffer(&self, id: u64) -> &Buffer {
        self.catalog.buffer(uuid(id)).unwrap()
    }

    fn topics_of(&self, id: u64) -> Vec<&str> {
        self.catalog
            .topics_of_buffer(uuid(id))
            .map(|topic| &*topic.name)
            .collect()
    }
}

#[test]
fn nothing_happens_before_the_cluster_is_founded_and_it_is_founded_once() {
    let mut world = World {
        catalog: Catalog::new(),
        number: 0,
    };
    assert_eq!(world.refused(create("a", 1, "")), Refused::NotFounded);
    world.ok(Action::FoundCluster { cluster: uuid(9) });
    world.ok(Action::FoundCluster { cluster: uuid(9) });
    let other = Action::FoundCluster { cluster: uuid(8) };
    assert_eq!(
        world.refused(other),
        Refused::AlreadyFounded { cluster: uuid(9) }
    );
}

#[test]
fn a_created_buffer_is_reserved_then_live_and_led_by_its_first_copy() {
    let mut world = World::new();
    world.ok(create("foo", 1, ""));
    assert_eq!(world.buffer(1).lifecycle, Lifecycle::Reserved);
    let refused = world.refused(set_state(1, BufferState::Closed));
    assert_eq!(refused, Refused::NotConfirmed { uuid: uuid(1) });
    let done = world.ok(confirm(1));
    assert_eq!(
        done,
        Outcome::Buffer {
            uuid: uuid(1),
            version: 2,
            epoch: Epoch(1)
        }
    );
    assert_eq!(
        world.ok(confirm(1)),
        done,
        "confirming again changes nothing"
    );
    let buffer = world.catalog.resolve_buffer("-", "foo").unwrap();
    assert_eq!(
        (buffer.lifecycle, buffer.primary),
        (Lifecycle::Live, Some(NodeId(1)))
    );
    assert_eq!(
        buffer.in_sync[0].node_epoch, 2,
        "the index of the node's registration"
    );
}

#[test]
fn creating_again_with_the_same_uuid_is_the_same_creation() {
    let mut world = World::new();
    let first = world.ok(create("foo", 1, ""));
    assert_eq!(world.ok(create("foo", 1, "")), first);
    assert_eq!(
        world.refused(create("bar", 1, "")),
        Refused::UuidTaken { uuid: uuid(1) }
    );
}

#[test]
fn names_are_unique_ignoring_case_and_found_only_as_written() {
    let mut world = World::with_buffers(&[("foo", 1, "foo")]);
    let (existing, lifecycle) = (name("foo"), Lifecycle::Live);
    let taken = Refused::BufferExists {
        existing,
        uuid: uuid(1),
        lifecycle,
    };
    assert_eq!(world.refused(create("FOO", 2, "")), taken);
    assert_eq!(
        world.refused(topic("Foo", "foo")),
        Refused::TopicExists {
            existing: name("foo")
        }
    );
    let clash = world.refused(create("bar", 2, "Foo"));
    assert_eq!(
        clash,
        Refused::TopicExists {
            existing: name("foo")
        }
    );
    assert!(world.catalog.resolve_buffer("-", "FOO").is_none());
    assert!(
        world
            .catalog
            .resolve_buffer_ignoring_case("-", "FOO")
            .is_some()
    );
    assert!(world.catalog.resolve_topic("-", "Foo").is_none());
}

#[test]
fn an_append_to_an_unknown_topic_makes_it_with_one_buffer_unless_that_name_is_taken() {
    let mut world = World::with_buffers(&[("t", 1, "t"), ("u", 2, "")]);
    let made = world.catalog.resolve_topic("-", "t").unwrap();
    assert_eq!(&*made.buffers, &[uuid(1)]);
    assert!(matches!(
        world.refused(create("u", 3, "u")),
        Refused::BufferExists { .. }
    ));
    assert!(
        world.catalog.resolve_topic("-", "u").is_none(),
        "a refusal changes nothing"
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
            epoch: index
        }
    );
    let a = world.buffer(1);
    assert_eq!(
        (a.epoch, a.version, a.primary),
        (Epoch(2), 3, Some(NodeId(1)))
    );
    assert_eq!(a.in_sync[0].node_epoch, index);
    assert_eq!(
        world.buffer(2).primary,
        None,
        "its last copy is bad: offline"
    );
    world.ok(register("n1", 1, &[]));
    let b = world.buffer(2);
    assert_eq!(
        (b.primary, b.epoch),
        (Some(NodeId(1)), Epoch(3)),
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
    let a = world.buffer(1);
    assert_eq!((a.primary, a.in_sync.len()), (Some(NodeId(2)), 1));
    assert_eq!(&*a.copies, &[NodeId(1), NodeId(2)]);
    let before = a.epoch;
    world.ok(register("n1", 3, &[]));
    assert_eq!(
        world.buffer(1).epoch,
        before,
        "n1 is not in sync, so nothing changes"
    );
}

#[test]
fn a_node_must_know_the_cluster_version_and_versions_rise_one_by_one() {
    let mut world = World::new();
    let versions = VersionRange { min: 2, max: 3 };
    let (node, disk, bad) = (name("n2"), uuid(2), Vec::new());
    let new = Action::RegisterNode(RegisterNode {
        node,
        disk,
        clean: true,
        bad,
        versions,
    });
    assert_eq!(
        world.refused(new),
        Refused::NodeVersions {
            versions,
            current: 1
        }
    );
    let two = Action::SetClusterVersion { version: 2 };
    assert_eq!(
        world.refused(two),
        Refused::NodeTooOld {
            node: name("n1"),
            version: 2
        }
    );
    let nine = Action::SetClusterVersion { version: 9 };
    assert_eq!(
        world.refused(nine),
        Refused::ClusterVersionStep {
            version: 9,
            current: 1
        }
    );
}

#[test]
fn a_state_stays_until_another_is_set() {
    let mut world = World::with_buffers(&[("a", 1, "")]);
    for state in [BufferState::Closed, BufferState::Paused, BufferState::Open] {
        world.ok(set_state(1, state));
        world.ok(set_state(1, state));
        assert_eq!(world.buffer(1).state, state);
    }
    assert_eq!(
        world.buffer(1).version,
        5,
        "the same state again is no change"
    );
}

#[test]
fn a_change_meant_for_another_version_is_refused() {
    let mut world = World::with_buffers(&[("a", 1, "t")]);
    let config = BufferConfig {
        segment_bytes: 1 << 20,
        ..BufferConfig::default()
    };
    let change = |expected| Action::ConfigureBuffer {
        uuid: uuid(1),
        expected,
        config,
    };
    let refused = Refused::Version {
        expected: 1,
        current: 2,
    };
    assert_eq!(world.refused(change(Some(1))), refused);
    world.ok(change(Some(2)));
    world.ok(change(Some(3)));
    assert_eq!(
        world.buffer(1).version,
        3,
        "the same configuration again is no change"
    );
    let state = |expected| Action::SetBufferState {
        uuid: uuid(1),
        expected,
        state: BufferState::Paused,
    };
    assert!(matches!(
        world.refused(state(Some(1))),
        Refused::Version { .. }
    ));
    let buffers = |expected| Action::ConfigureTopic {
        tenant: dash(),
        topic: name("t"),
        expected,
        buffers: names("a"),
    };
    assert!(matches!(
        world.refused(buffers(Some(7))),
        Refused::Version { .. }
    ));
}

#[test]
fn a_buffer_in_a_topic_or_paused_is_deleted_only_by_force() {
    let mut world = World::with_buffers(&[("a", 1, "t s"), ("b", 2, "t"), ("c", 3, "")]);
    let refused = Refused::InTopics {
        topic: name("t"),
        count: 2,
    };
    assert_eq!(world.refused(delete(1, false)), refused);
    world.ok(set_state(3, BufferState::Paused));
    assert_eq!(
        world.refused(delete(3, false)),
        Refused::Paused { buffer: name("c") }
    );
    assert_eq!(
        world.ok(delete(1, true)),
        Outcome::Deleting {
            buffers: [uuid(1)].into()
        }
    );
    assert!(
        world.catalog.resolve_topic("-", "s").is_none(),
        "an empty topic is gone"
    );
    assert_eq!(world.topics_of(2), ["t"]);
    assert!(matches!(
        world.refused(create("a", 4, "")),
        Refused::BufferExists { .. }
    ));
    world.ok(drop_buffer(1));
    world.ok(drop_buffer(1));
    world.ok(create("a", 4, ""));
    assert_eq!(
        world.refused(drop_buffer(2)),
        Refused::NotDeleting { uuid: uuid(2) }
    );
}

#[test]
fn a_creation_that_was_given_up_leaves_no_name_and_no_topic() {
    let mut world = World::new();
    world.ok(create("a", 1, "t"));
    world.ok(drop_buffer(1));
    assert!(world.catalog.resolve_buffer("-", "a").is_none());
    assert!(world.catalog.resolve_topic("-", "t").is_none());
    world.ok(create("a", 2, "t"));
}

#[test]
fn deleting_the_last_topic_of_a_buffer_asks_what_to_do_with_it() {
    let world = World::with_buffers(&[("a", 1, "t s"), ("b", 2, "t")]);
    let mut refuse = world.clone();
    let refused = Refused::LastTopic { buffer: name("b") };
    assert_eq!(
        refuse.refused(delete_topic("t", LastTopic::Refuse)),
        refused
    );
    let mut keep = world.clone();
    keep.ok(delete_topic("t", LastTopic::Keep));
    assert_eq!(keep.topics_of(1), ["s"]);
    assert_eq!(keep.topics_of(2), Vec::<&str>::new());
    assert_eq!(keep.buffer(2).lifecycle, Lifecycle::Live);
    let mut remove = world;
    let done = remove.ok(delete_topic("t", LastTopic::Delete));
    assert_eq!(
        done,
        Outcome::Deleting {
            buffers: [uuid(2)].into()
        }
    );
    assert_eq!(
        remove.buffer(1).lifecycle,
        Lifecycle::Live,
        "it is in another topic"
    );
    let unknown = delete_topic("t", LastTopic::Keep);
    assert_eq!(
        remove.refused(unknown),
        Refused::NoSuchTopic { topic: name("t") }
    );
}

#[test]
fn a_topic_changes_its_buffers_as_a_whole() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "")]);
    world.ok(topic("t", "a b"));
    let change = |buffers| Action::ConfigureTopic {
        tenant: dash(),
        topic: name("t"),
        expected: None,
        buffers: names(buffers),
    };
    world.ok(change("c b"));
    let buffers = &world.catalog.resolve_topic("-", "t").unwrap().buffers;
    assert_eq!(&**buffers, &[uuid(3), uuid(2)]);
    assert_eq!(world.topics_of(1), Vec::<&str>::new());
    assert_eq!(
        world.refused(change("b B")),
        Refused::NamedTwice { name: name("B") }
    );
    let unknown = Refused::NoSuchBufferName { buffer: name("x") };
    assert_eq!(world.refused(change("x")), unknown);
    assert_eq!(world.refused(change("")), Refused::TopicSize { got: 0 });
}

#[test]
fn a_change_of_buffers_is_one_version_and_moves_only_the_slots_it_must() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "s")]);
    world.ok(topic("t", "a b"));
    let of = |world: &World| world.catalog.resolve_topic("-", "t").unwrap().clone();
    let before = of(&world);
    assert_eq!(before.slots.counts(2), [2048, 2048]);
    let change = |buffers, expected| Action::ConfigureTopic {
        tenant: dash(),
        topic: name("t"),
        expected,
        buffers: names(buffers),
    };
    world.ok(change("a b c", Some(1)));
    let after = of(&world);
    assert_eq!(
        (after.version, after.slots.counts(3)),
        (2, vec![1366, 1365, 1365])
    );
    let keys = (0..500).map(|n| Slot::of(format!("k{n}").as_bytes()));
    let moved = |slot: &Slot| {
        let (old, new) = (before.slots.place(*slot), after.slots.place(*slot));
        assert!(new == old || new == 2, "slots go to the new buffer only");
        new != old
    };
    assert!((100..230).contains(&keys.filter(moved).count()));
    let stale = world.refused(change("a b", Some(1)));
    assert_eq!(
        stale,
        Refused::Version {
            expected: 1,
            current: 2
        }
    );
    world.ok(delete(3, true));
    let deleted = of(&world);
    assert_eq!(
        (deleted.version, deleted.slots.counts(2)),
        (3, vec![2048, 2048])
    );
}

fn mirror(id: u64, of: u64) -> Action {
    let config = MirrorConfig {
        of: uuid(of),
        name: name("origin"),
        after: Seq(3),
        tags: vec![b"a b".as_slice().into()],
    };
    Action::SetMirror {
        uuid: uuid(id),
        expected: None,
        mirror: Some(Box::new(config)),
    }
}

#[test]
fn mirrors_may_be_chained_and_never_follow_themselves() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "")]);
    world.ok(mirror(2, 1));
    world.ok(mirror(3, 2));
    let cycle = |origin| Refused::MirrorCycle {
        origin: name(origin),
    };
    assert_eq!(world.refused(mirror(1, 3)), cycle("c"));
    assert_eq!(world.refused(mirror(2, 2)), cycle("b"));
    assert_eq!(
        world.refused(mirror(2, 9)),
        Refused::NoSuchBuffer { uuid: uuid(9) }
    );
    let mirrors: Vec<&str> = world
        .catalog
        .mirrors()
        .map(|buffer| &*buffer.name)
        .collect();
    assert_eq!(mirrors, ["b", "c"]);
    let end = Action::SetMirror {
        uuid: uuid(2),
        expected: Some(3),
        mirror: None,
    };
    world.ok(end.clone());
    assert_eq!(
        world.refused(end),
        Refused::Version {
            expected: 3,
            current: 4
        }
    );
    world.ok(mirror(1, 3));
    world.ok(delete(3, false));
    world.ok(drop_buffer(3));
    assert_eq!(
        world.catalog.mirrors().count(),
        1,
        "who followed it goes on to say so"
    );
    assert_eq!(world.buffer(1).mirror.as_ref().unwrap().of, uuid(3));
}

#[test]
fn topics_and_buffers_are_bounded_by_each_other() {
    let mut world = World::new();
    let many: Vec<String> = (0..TOPICS_PER_BUFFER_MAX)
        .map(|n| format!("t{n}"))
        .collect();
    world.ok(create("wide", 1, &many.join(" ")));
    world.ok(confirm(1));
    let refused = Refused::TooManyTopics {
        buffer: name("wide"),
    };
    assert_eq!(world.refused(topic("more", "wide")), refused);
    let wider = format!("{} more", many.join(" "));
    assert!(matches!(
        world.refused(create("wider", 2, &wider)),
        Refused::TooManyTopics { .. }
    ));

    for n in 1..BUFFERS_PER_TOPIC_MAX {
        let n = u64::try_from(n).unwrap();
        world.ok(create(&format!("b{n}"), 10 + n, "t0"));
    }
    let full = Refused::TopicSize {
        got: BUFFERS_PER_TOPIC_MAX + 1,
    };
    assert_eq!(world.refused(create("b0", 2, "t0")), full);
}

#[test]
fn copies_must_be_known_nodes_named_once_and_not_more_than_configured() {
    let mut world = World::new();
    let unknown = world.refused(create_on("a", 1, "n1 n2", ""));
    assert_eq!(unknown, Refused::NoSuchNode { node: name("n2") });
    let twice = world.refused(create_on("a", 1, "n1 n1", ""));
    assert_eq!(twice, Refused::Copies { got: 1, wanted: 2 });
}

#[test]
fn tenants_own_their_names() {
    let mut world = World::with_buffers(&[("a", 1, "")]);
    let config = TenantConfig::default();
    let tenant = |tenant: &str| Action::CreateTenant {
        tenant: name(tenant),
        config,
    };
    world.ok(tenant("coke"));
    assert_eq!(
        world.refused(tenant("Coke")),
        Refused::TenantExists {
            existing: name("coke")
        }
    );
    let mut other = create("a", 2, "");
    if let Action::CreateBuffer(create) = &mut other {
        create.tenant = name("coke");
    }
    world.ok(other);
    assert_ne!(
        world.catalog.resolve_buffer("-", "a").unwrap().uuid,
        world.catalog.resolve_buffer("coke", "a").unwrap().uuid,
    );
    assert!(world.catalog.resolve_buffer("Coke", "a").is_none());
    let change = TenantConfig {
        create_on_append: false,
        ..config
    };
    let configure = |expected| Action::ConfigureTenant {
        tenant: name("coke"),
        expected,
        config: change,
    };
    assert_eq!(world.ok(configure(Some(1))), Outcome::Tenant { version: 2 });
    assert!(matches!(
        world.refused(configure(Some(1))),
        Refused::Version { .. }
    ));
}

#[test]
fn lists_go_on_behind_a_name_in_lower_case_order() {
    let world = World::with_buffers(&[("b", 1, "T"), ("A", 2, "s"), ("c", 3, "")]);
    let list = |after| -> Vec<&str> {
        world
            .catalog
            .buffers_of_tenant("-", after)
            .map(|buffer| &*buffer.name)
            .collect()
    };
    assert_eq!(list(""), ["A", "b", "c"]);
    assert_eq!(list("B"), ["c"]);
    assert_eq!(world.catalog.topics_of_tenant("-", "").count(), 2);
    assert_eq!(world.catalog.tenants("").count(), 1);
    assert_eq!(world.catalog.buffers_of_tenant("none", "").count(), 0);
}

#[test]
fn a_repeated_command_gets_its_first_answer_and_an_older_one_none() {
    let mut world = World::new();
    let send = |world: &mut World, number, action| {
        let command = Command {
            client: uuid(5),
            number,
            time: Micros(1),
            action,
        };
        world.catalog.apply(world.catalog.applied() + 1, &command)
    };
    let first = send(&mut world, 1, create("a", 1, ""));
    let hash = world.catalog.clone();
    assert_eq!(send(&mut world, 1, create("a", 1, "")), first);
    assert_eq!(world.catalog.buffers, hash.buffers);
    send(&mut world, 2, create("A", 2, "")).unwrap_err();
    let again = send(&mut world, 2, create("b", 2, ""));
    assert_eq!(again, Err(Refused::RefusedBefore { number: 2 }));
    let old = send(&mut world, 1, create("c", 3, ""));
    assert_eq!(old, Err(Refused::Superseded { number: 1, last: 2 }));
}

#[test]
fn the_table_of_clients_is_bounded_and_forgets_the_one_silent_for_longest() {
    let mut world = World::new();
    for client in 0..=u64::try_from(COMMAND_CLIENTS_MAX).unwrap() {
        let action = Action::ConfirmBuffer { uuid: uuid(1) };
        let command = Command {
            client: uuid(client + 100),
            number: 1,
            time: Micros(1),
            action,
        };
        world
            .catalog
            .apply(world.catalog.applied() + 1, &command)
            .unwrap_err();
    }
    assert_eq!(world.catalog.clients.len(), COMMAND_CLIENTS_MAX);
    assert!(!world.catalog.clients.contains_key(&uuid(100)));
}

#[test]
fn a_hundred_thousand_buffers_are_made_registered_and_found_quickly() {
    let mut world = World::new();
    for id in 0..100_000 {
        // `send` would walk all invariants for every command.
        let command = Command {
            client: uuid(77),
            number: id + 10,
            time: Micros(5),
            action: create(
                &format!("buffer-{id}"),
                id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8,
                "",
            ),
        };
        world
            .catalog
            .apply(world.catalog.applied() + 1, &command)
            .unwrap();
    }
    let mut started = world.clone();
    let command = Command {
        client: uuid(78),
        number: 1,
        time: Micros(5),
        action: register("n1", 1, &[]),
    };
    started
        .catalog
        .apply(world.catalog.applied() + 1, &command)
        .unwrap();
    assert!(
        started
            .catalog
            .buffers()
            .all(|buffer| buffer.epoch == Epoch(2))
    );
    assert_eq!(started.catalog.broken_invariant(), None);
    assert!(size_of::<Buffer>() <= 272, "{}", size_of::<Buffer>());
}
