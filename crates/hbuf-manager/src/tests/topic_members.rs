//! Topics and their buffers.

use super::*;

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
