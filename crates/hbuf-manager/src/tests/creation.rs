//! Creating buffers: names, uuids, topics made on the way, tenants.

use super::*;

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
        (buffer.lifecycle, world.assignment(1).primary),
        (Lifecycle::Live, Some(NodeId(1)))
    );
    assert_eq!(
        world.assignment(1).in_sync[&NodeId(1)].node_epoch,
        NodeEpoch(2),
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
fn a_creation_that_was_given_up_leaves_no_name_and_no_topic() {
    let mut world = World::new();
    world.ok(create("a", 1, "t"));
    world.ok(drop_buffer(1));
    assert!(world.catalog.resolve_buffer("-", "a").is_none());
    assert!(world.catalog.resolve_topic("-", "t").is_none());
    world.ok(create("a", 2, "t"));
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
            .assigned()
            .all()
            .all(|(_, it)| it.epoch == Epoch(2))
    );
    assert_eq!(started.catalog.broken_invariant(), None);
    assert!(size_of::<Buffer>() <= 272, "{}", size_of::<Buffer>());
}
