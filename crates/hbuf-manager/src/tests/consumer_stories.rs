//! What commands do to consumers.

use hbuf_core::consumer::{Config, Filter, Start};
use hbuf_core::limits::CONSUMERS_PER_BUFFER_MAX;

use super::*;

fn on_buffer(id: u64) -> ConsumerOwner {
    ConsumerOwner::Buffer(uuid(id))
}

fn on_topic(world: &World, topic: &str) -> ConsumerOwner {
    ConsumerOwner::Topic(world.catalog.resolve_topic("-", topic).unwrap().id)
}

fn make(owner: ConsumerOwner, consumer: &str, id: u64, config: Config) -> Action {
    Action::CreateConsumer(Box::new(CreateConsumer {
        owner,
        name: name(consumer),
        uuid: uuid(id),
        config,
    }))
}

fn plain(owner: ConsumerOwner, consumer: &str, id: u64) -> Action {
    make(owner, consumer, id, Config::default())
}

/// A configuration that gives up into this buffer.
fn dead_into(id: u64) -> Config {
    Config {
        deliveries_max: Some(1),
        dead_letter: Some(uuid(id)),
        ..Config::default()
    }
}

fn configure(id: u64, expected: Option<u64>, config: Config) -> Action {
    Action::ConfigureConsumer {
        uuid: uuid(id),
        expected,
        config: Box::new(config),
    }
}

fn members(topic: &str, buffers: &str) -> Action {
    Action::ConfigureTopic {
        tenant: dash(),
        topic: name(topic),
        expected: None,
        buffers: names(buffers),
    }
}

fn cycle(buffer: &str) -> Refused {
    Refused::DeadLetterCycle {
        buffer: name(buffer),
    }
}

#[test]
fn a_consumers_name_is_unique_within_its_owner_ignoring_case() {
    let mut world = World::with_buffers(&[("a", 1, "t"), ("b", 2, "t")]);
    world.ok(plain(on_buffer(1), "c", 100));
    world.ok(plain(on_buffer(2), "c", 101));
    let topic = on_topic(&world, "t");
    world.ok(plain(topic, "c", 102));
    let refused = world.refused(plain(on_buffer(1), "C", 103));
    let existing = name("c");
    assert_eq!(
        refused,
        Refused::ConsumerExists {
            existing,
            uuid: uuid(100)
        }
    );
    // A repetition is the same consumer; its uuid under another name is none.
    let again = world.ok(plain(on_buffer(1), "c", 100));
    assert_eq!(
        again,
        Outcome::Consumer {
            uuid: uuid(100),
            version: 1
        }
    );
    let taken = world.refused(plain(on_buffer(1), "d", 100));
    assert_eq!(taken, Refused::UuidTaken { uuid: uuid(100) });
    let found: Vec<_> = world.catalog.consumers_of_buffer(uuid(1)).collect();
    assert_eq!(found.len(), 2, "its own and the topic's");
    assert_eq!(
        world.catalog.buffers_of_consumer(found[1]),
        [uuid(1), uuid(2)]
    );
}

#[test]
fn a_consumer_is_configured_by_version_and_keeps_its_start() {
    let mut world = World::with_buffers(&[("a", 1, "")]);
    world.ok(plain(on_buffer(1), "c", 100));
    let slow = Config {
        lease_ms: 60_000,
        ..Config::default()
    };
    let done = world.ok(configure(100, Some(1), slow.clone()));
    assert_eq!(
        done,
        Outcome::Consumer {
            uuid: uuid(100),
            version: 2
        }
    );
    assert_eq!(world.ok(configure(100, Some(2), slow)), done, "no change");
    let stale = world.refused(configure(100, Some(1), Config::default()));
    assert_eq!(
        stale,
        Refused::Version {
            expected: 1,
            current: 2
        }
    );
    let moved = Config {
        start: Start::Last,
        ..Config::default()
    };
    assert_eq!(
        world.refused(configure(100, None, moved)),
        Refused::ConsumerStart
    );
    let bad = Config {
        in_flight_max: 0,
        ..Config::default()
    };
    assert!(matches!(
        world.refused(configure(100, None, bad)),
        Refused::Consumer(_)
    ));
}

#[test]
fn none_is_made_for_who_expects_a_version() {
    let create = CreateConsumer {
        owner: on_buffer(1),
        name: name("c"),
        uuid: uuid(9),
        config: Config::default(),
    };
    assert_eq!(create.check_expected(None), Ok(()));
    let refused = create.check_expected(Some(7)).unwrap_err();
    let expected = 7;
    let name = name("c");
    assert_eq!(refused, Refused::NoConsumerToConfigure { name, expected });
    assert_eq!(
        format!("{refused}"),
        "there is no consumer `c` that has version 7: leave the version out to make one"
    );
}

#[test]
fn consumers_go_with_what_they_read() {
    let mut world = World::with_buffers(&[("a", 1, "t"), ("b", 2, "s")]);
    let (topic, other) = (on_topic(&world, "t"), on_topic(&world, "s"));
    world.ok(plain(on_buffer(1), "c", 100));
    world.ok(plain(topic, "c", 101));
    world.ok(plain(other, "c", 102));
    world.ok(delete(1, true));
    assert_eq!(world.catalog.consumer_count(), 1, "the topic went too");
    let refused = world.refused(plain(on_buffer(1), "d", 103));
    assert_eq!(refused, Refused::NoSuchBuffer { uuid: uuid(1) });
    world.ok(delete_topic("s", LastTopic::Keep));
    assert_eq!(world.catalog.consumer_count(), 0);
    let ConsumerOwner::Topic(id) = other else {
        unreachable!()
    };
    assert_eq!(
        world.refused(plain(other, "d", 104)),
        Refused::NoSuchTopicId { id }
    );
    let gone = Action::DeleteConsumer {
        uuid: uuid(102),
        expected: None,
    };
    assert_eq!(
        world.refused(gone),
        Refused::NoSuchConsumer { uuid: uuid(102) }
    );
}

#[test]
fn a_topics_consumer_stays_when_its_buffers_change() {
    let mut world = World::with_buffers(&[("a", 1, "t"), ("b", 2, "t"), ("c", 3, "")]);
    let topic = on_topic(&world, "t");
    world.ok(plain(topic, "c", 100));
    world.ok(members("t", "b c"));
    let consumer = world.catalog.consumer(uuid(100)).unwrap();
    assert_eq!(
        world.catalog.buffers_of_consumer(consumer),
        [uuid(2), uuid(3)]
    );
    assert_eq!(world.catalog.consumers_of_buffer(uuid(1)).count(), 0);
}

fn following(of: u64) -> MirrorConfig {
    MirrorConfig {
        of: uuid(of),
        name: name("o"),
        after: Seq(0),
        tags: Vec::new(),
    }
}

fn mirror(id: u64, of: u64) -> Action {
    Action::ConfigureBuffer {
        uuid: uuid(id),
        expected: None,
        config: BufferConfig::default(),
        mirror: MirrorChange::Follow(Box::new(following(of))),
    }
}

#[test]
fn dead_letters_that_would_come_back_are_refused() {
    let buffers = [("a", 1, "t"), ("b", 2, ""), ("c", 3, ""), ("d", 4, "")];
    let mut world = World::with_buffers(&buffers);
    // Into itself, and into a buffer of its own topic.
    let own = make(on_buffer(1), "x", 100, dead_into(1));
    assert_eq!(world.refused(own), cycle("a"));
    let topic = on_topic(&world, "t");
    let own = make(topic, "x", 100, dead_into(1));
    assert_eq!(world.refused(own), cycle("a"));
    // Around two corners: a gives up into b, b into c, and c must not into a.
    world.ok(make(topic, "x", 100, dead_into(2)));
    world.ok(make(on_buffer(2), "x", 101, dead_into(3)));
    let back = make(on_buffer(3), "x", 102, dead_into(1));
    assert_eq!(world.refused(back), cycle("a"));
    // Also when a configuration, a topic's buffers or a mirror would close the circle.
    world.ok(plain(on_buffer(3), "x", 102));
    let back = configure(102, None, dead_into(1));
    assert_eq!(world.refused(back), cycle("a"));
    assert_eq!(world.refused(members("t", "a c")), cycle("b"));
    world.ok(members("t", "a d"));
    let circle = world.refused(mirror(1, 3));
    assert_eq!(circle, Refused::MirrorCycle { origin: name("c") });
    // A mirror takes no dead letters, and what takes them becomes no mirror.
    world.ok(mirror(4, 1));
    let into_mirror = make(on_buffer(3), "y", 103, dead_into(4));
    assert_eq!(
        world.refused(into_mirror),
        Refused::IsMirror { buffer: name("d") }
    );
    assert!(matches!(
        world.refused(mirror(2, 4)),
        Refused::TakesDeadLetters { .. }
    ));
}

#[test]
fn what_may_be_a_stream_takes_no_dead_letters_and_follows_nothing() {
    let buffers = [
        ("a", 1, ""),
        ("stream.s", 2, ""),
        ("stream", 3, ""),
        ("stream.T", 4, ""),
    ];
    let mut world = World::with_buffers(&buffers);
    let named = |buffer: &str| Refused::NamedAsStream {
        buffer: name(buffer),
    };
    let into_stream = make(on_buffer(1), "x", 100, dead_into(2));
    assert_eq!(world.refused(into_stream), named("stream.s"));
    assert_eq!(world.refused(mirror(2, 1)), named("stream.s"));
    let Action::CreateBuffer(mut new) = create("stream.new", 5, "") else {
        unreachable!("that is what it makes")
    };
    new.mirror = Some(Box::new(following(1)));
    assert_eq!(
        world.refused(Action::CreateBuffer(new)),
        named("stream.new")
    );
    // No path of a stream leads to these.
    world.ok(make(on_buffer(1), "x", 100, dead_into(3)));
    world.ok(configure(100, None, dead_into(4)));
    assert_eq!(
        world.refused(configure(100, None, dead_into(2))),
        named("stream.s")
    );
    world.ok(mirror(3, 1));
    // A stream may be followed.
    world.ok(mirror(3, 2));
}

#[test]
fn a_buffer_that_takes_dead_letters_is_deleted_by_force_only() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, "t")]);
    let nowhere = make(on_buffer(1), "x", 100, dead_into(9));
    assert_eq!(
        world.refused(nowhere),
        Refused::NoDeadLetterBuffer { uuid: uuid(9) }
    );
    world.ok(make(on_buffer(1), "x", 100, dead_into(2)));
    let refused = Refused::TakesDeadLetters {
        consumer: name("x"),
        count: 1,
    };
    assert_eq!(
        world.refused(delete_topic("t", LastTopic::Delete)),
        refused.clone()
    );
    world.ok(delete_topic("t", LastTopic::Keep));
    assert_eq!(world.refused(delete(2, false)), refused);
    world.ok(delete(2, true));
    world.ok(drop_buffer(2));
    // The consumer still says where; another buffer must not take that place by its uuid.
    assert_eq!(
        world.refused(create("b", 2, "")),
        Refused::UuidTaken { uuid: uuid(2) }
    );
    world.ok(configure(100, None, Config::default()));
    world.ok(create("b", 2, ""));
}

#[test]
fn the_limit_of_consumers_is_reached_and_not_passed() {
    let mut world = World::with_buffers(&[("a", 1, ""), ("b", 2, "")]);
    // Without the check of every invariant, which walks them all.
    for n in 0..=CONSUMERS_PER_BUFFER_MAX as u64 {
        let command = Command {
            client: uuid(78),
            number: n + 1,
            time: Micros(5),
            action: plain(on_buffer(1), &format!("c{n}"), 1_000 + n),
        };
        let done = world.catalog.apply(world.catalog.applied() + 1, &command);
        let fits = n < CONSUMERS_PER_BUFFER_MAX as u64;
        assert_eq!(done.is_ok(), fits, "{n}");
        if !fits {
            assert_eq!(done, Err(Refused::TooManyConsumers));
        }
    }
    world.ok(plain(on_buffer(2), "c", 100));
    // Those of topics count, whichever comes first.
    world.ok(topic("t", "b"));
    let owner = on_topic(&world, "t");
    world.ok(plain(owner, "c", 101));
    assert_eq!(
        world.refused(members("t", "b a")),
        Refused::TooManyConsumers
    );
    world.ok(topic("s", "a b"));
    let owner = on_topic(&world, "s");
    assert_eq!(
        world.refused(plain(owner, "c", 102)),
        Refused::TooManyConsumers
    );
}

#[test]
fn a_consumer_is_lines_that_a_person_can_grep() {
    let config = Config {
        filter: Filter {
            tags: [&b"web7"[..], b"eu west"].map(Into::into).into(),
            key: Some(b"user1".as_slice().into()),
            stored: Some("f".into()),
        },
        start: Start::Seq(Seq(7)),
        expire_ms: Some(3),
        ttl_seconds: Some(4),
        ..dead_into(2)
    };
    let command = Command {
        client: uuid(3),
        number: 4,
        time: Micros(5),
        action: make(on_buffer(1), "c", 100, config),
    };
    let expected = "\
command: create-consumer
client: 00000000-0000-4000-8000-000000000003
number: 4
time: 5
buffer: 00000000-0000-4000-8000-000000000001
consumer: c
uuid: 00000000-0000-4000-8000-000000000064
tags: web7,eu%20west
key: user1
filter: f
start: seq:7
ack: explicit
lease-ms: 30000
deliveries-max: 1
dead-letter: 00000000-0000-4000-8000-000000000002
in-flight-max: 1000
order-by-key: false
expire-ms: 3
ttl-seconds: 4
";
    let text = command.encode();
    assert_eq!(core::str::from_utf8(&text).unwrap(), expected);
    assert_eq!(Command::decode(&text), Ok(command));
}
