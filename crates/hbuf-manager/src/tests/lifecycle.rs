//! What becomes of a buffer: states, versions, deletion, mirrors.

use super::*;

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
        mirror: MirrorChange::Keep,
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

fn mirror(id: u64, of: u64) -> Action {
    let config = MirrorConfig {
        of: uuid(of),
        name: name("origin"),
        after: Seq(3),
        tags: vec![b"a b".as_slice().into()],
    };
    change_mirror(id, None, MirrorChange::Follow(Box::new(config)))
}

fn change_mirror(id: u64, expected: Option<u64>, mirror: MirrorChange) -> Action {
    Action::ConfigureBuffer {
        uuid: uuid(id),
        expected,
        config: BufferConfig::default(),
        mirror,
    }
}

#[test]
fn a_buffer_follows_its_origin_from_its_first_moment() {
    let mut world = World::with_buffers(&[("a", 1, "")]);
    let with = |of| {
        let mut action = create("m", 2, "");
        let Action::CreateBuffer(create) = &mut action else {
            unreachable!("it is one")
        };
        let Action::ConfigureBuffer { mirror, .. } = mirror(2, of) else {
            unreachable!("it is one")
        };
        create.mirror = mirror.over(None).map(Box::new);
        action
    };
    let nobody = Refused::NoSuchBufferName {
        buffer: name("origin"),
    };
    assert_eq!(world.refused(with(9)), nobody);
    world.ok(with(1));
    assert_eq!(world.catalog.mirrors().count(), 1);
    world.ok(confirm(2));
    assert_eq!(world.buffer(2).mirror.as_ref().unwrap().after, Seq(3));
}

#[test]
fn a_mirror_keeps_its_place_while_it_follows_the_same_origin() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, ""), ("c", 3, "")]);
    let follow = |of, after, tag: &[u8]| {
        let config = MirrorConfig {
            of: uuid(of),
            name: name("origin"),
            after: Seq(after),
            tags: vec![tag.into()],
        };
        change_mirror(3, None, MirrorChange::Follow(Box::new(config)))
    };
    world.ok(follow(1, 3, b"x"));
    world.ok(follow(1, 70, b"y"));
    let mirror = |world: &World| world.buffer(3).mirror.clone().unwrap();
    assert_eq!(
        (mirror(&world).after, &*mirror(&world).tags[0]),
        (Seq(3), &b"y"[..])
    );
    world.ok(follow(2, 70, b"y"));
    assert_eq!(mirror(&world).after, Seq(70));
    world.ok(change_mirror(3, None, MirrorChange::Keep));
    assert_eq!(mirror(&world).of, uuid(2));
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
        Refused::NoSuchBufferName {
            buffer: name("origin")
        }
    );
    let mirrors: Vec<&str> = world
        .catalog
        .mirrors()
        .map(|buffer| &*buffer.name)
        .collect();
    assert_eq!(mirrors, ["b", "c"]);
    let end = change_mirror(2, Some(3), MirrorChange::End);
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
