//! Any sequence of commands keeps the invariants, and means the same everywhere.

use alloc::collections::BTreeMap;
use core::num::NonZeroU64;

use proptest::prelude::*;

use hbuf_core::consumer::{AckMode, Config, Filter, Start};

use super::any_assignment;
use super::text::read_back;
use super::*;

/// Few names and uuids, so that commands meet each other.
fn any_name() -> impl Strategy<Value = Name> {
    prop::sample::select(["a", "A", "b", "c", "d.e"].map(name).to_vec())
}

fn any_tenant() -> impl Strategy<Value = Name> {
    prop_oneof![4 => Just(dash()), 1 => prop::sample::select(names("coke pepsi"))]
}

fn any_names() -> impl Strategy<Value = Vec<Name>> {
    prop::collection::vec(any_name(), 0..4)
}

fn any_uuid() -> impl Strategy<Value = Uuid> {
    (0_u64..8).prop_map(uuid)
}

fn any_config() -> impl Strategy<Value = BufferConfig> {
    let limit = || prop::option::of(1_u64..9).prop_map(|n| n.and_then(NonZeroU64::new));
    let retention = (limit(), limit(), limit()).prop_map(|(age_seconds, bytes, count)| Retention {
        age_seconds,
        bytes,
        count,
    });
    let segment = prop::sample::select([4096_u64, 1 << 20, 1].to_vec());
    (segment, retention, 0_u8..3, prop::option::of(0_u8..4)).prop_map(
        |(segment_bytes, retention, replicas, min_insync)| BufferConfig {
            segment_bytes,
            retention,
            replicas,
            min_insync,
        },
    )
}

fn any_version() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.3, 1_u64..5)
}

fn any_registration() -> impl Strategy<Value = Action> {
    let bad = prop::collection::vec(any_uuid(), 0..3);
    let life = prop::option::weighted(0.3, 0_u64..8);
    let change = any_assignment::any_change();
    let start = (1_u64..4, 0_u64..2, bad, any::<bool>(), life, change);
    start.prop_map(|(node, disk, bad, clean, life, change)| {
        let (node, disk) = (name(&format!("n{node}")), uuid(node * 10 + disk));
        Action::RegisterNode(RegisterNode {
            clean,
            bad,
            life: life.map(uuid),
            earlier: (0..life.unwrap_or(0) & 3).map(uuid).collect(),
            change,
            ..RegisterNode::new(node, disk, CLUSTER_VERSIONS)
        })
    })
}

fn any_mirror(of: Uuid) -> Box<MirrorConfig> {
    Box::new(MirrorConfig {
        of,
        name: name("o"),
        after: Seq(5),
        tags: vec![b"a b".as_slice().into()],
    })
}

fn any_creation() -> impl Strategy<Value = Action> {
    let copies = prop::collection::vec((1_u64..4).prop_map(|n| name(&format!("n{n}"))), 1..3);
    (
        any_tenant(),
        any_name(),
        any_uuid(),
        any_config(),
        copies,
        any_names(),
        prop::option::weighted(0.2, any_uuid()),
        prop::option::weighted(0.2, any_name()),
    )
        .prop_map(|(tenant, name, uuid, config, copies, topics, of, region)| {
            let copies = copies.into_iter().filter(|_| region.is_none()).collect();
            let (log, history, idem_key) = (uuid, uuid, Hash([1; 32]));
            let create = CreateBuffer {
                tenant,
                name,
                uuid,
                log,
                history,
                idem_key,
                config,
                region,
                copies,
                topics,
                mirror: of.map(any_mirror),
            };
            Action::CreateBuffer(Box::new(create))
        })
}

fn any_buffer_change() -> impl Strategy<Value = Action> {
    use BufferState::{Closed, Open, Paused};
    let state = prop::sample::select([Open, Closed, Paused].to_vec());
    prop_oneof![
        3 => any_uuid().prop_map(|uuid| Action::ConfirmBuffer { uuid, reserved: None }),
        1 => (any_uuid(), 3_u64..9).prop_map(|(uuid, reserved)| {
            let reserved = Some(reserved);
            Action::ConfirmBuffer { uuid, reserved }
        }),
        1 => any_uuid().prop_map(|uuid| Action::DropBuffer { uuid }),
        1 => (any_uuid(), any::<bool>())
            .prop_map(|(uuid, force)| Action::DeleteBuffer { uuid, force }),
        1 => (any_uuid(), any_version(), prop::option::weighted(0.7, any_uuid())).prop_map(
            |(uuid, expected, of)| {
                let follow = |of| MirrorChange::Follow(any_mirror(of));
                let mirror = of.map_or(MirrorChange::End, follow);
                let config = BufferConfig::default();
                Action::ConfigureBuffer { uuid, expected, config, mirror }
            }),
        1 => (any_uuid(), any_version(), any_config())
            .prop_map(|(uuid, expected, config)| {
                let mirror = MirrorChange::Keep;
                Action::ConfigureBuffer { uuid, expected, config, mirror }
            }),
        2 => (any_uuid(), any_version(), state)
            .prop_map(|(uuid, expected, state)| Action::SetBufferState { uuid, expected, state }),
    ]
}

fn any_topic_change() -> impl Strategy<Value = Action> {
    use LastTopic::{Delete, Keep, Refuse};
    let last = prop::sample::select([Refuse, Keep, Delete].to_vec());
    prop_oneof![
        (any_tenant(), any_name(), any_names()).prop_map(|(tenant, topic, buffers)| {
            Action::CreateTopic {
                tenant,
                topic,
                buffers,
            }
        }),
        (any_tenant(), any_name(), any_version(), any_names()).prop_map(
            |(tenant, topic, expected, buffers)| Action::ConfigureTopic {
                tenant,
                topic,
                expected,
                buffers
            }
        ),
        (any_tenant(), any_name(), last).prop_map(|(tenant, topic, buffers)| {
            Action::DeleteTopic {
                tenant,
                topic,
                buffers,
            }
        }),
    ]
}

fn any_tenant_change() -> impl Strategy<Value = Action> {
    let config = || {
        (any::<bool>(), any_config()).prop_map(|(create_on_append, buffer)| TenantConfig {
            create_on_append,
            buffer,
        })
    };
    prop_oneof![
        (any_tenant(), config())
            .prop_map(|(tenant, config)| Action::CreateTenant { tenant, config }),
        (any_tenant(), any_version(), config()).prop_map(|(tenant, expected, config)| {
            Action::ConfigureTenant {
                tenant,
                expected,
                config,
            }
        }),
        (0_u32..3).prop_map(|version| Action::SetClusterVersion { version }),
        (8_u64..10).prop_map(found),
        (any_name(), 500_u64..504).prop_map(|(region, group)| {
            let group = uuid(group);
            Action::CreateRegion { region, group }
        }),
        any_name().prop_map(|region| Action::DeleteRegion { region }),
    ]
}

fn any_consumer_config() -> impl Strategy<Value = Config> {
    let start = prop_oneof![
        Just(Start::First),
        Just(Start::Last),
        (0_u64..3).prop_map(|seq| Start::Seq(Seq(seq))),
        (0_u64..3).prop_map(|time| Start::Time(Micros(time))),
    ];
    let ack = prop::sample::select([AckMode::Explicit, AckMode::OnDelivery].to_vec());
    let deliveries = prop::option::weighted(0.8, 1_u32..9);
    let ttl = prop::option::weighted(0.8, 0_u64..9);
    let dead = prop::option::weighted(0.7, any_uuid());
    let key = prop::option::of(Just(b"a, b%".as_slice().into()));
    let stored = prop::option::of(any_name().prop_map(|name| name.as_str().into()));
    let tags = prop::collection::vec(Just(b"t 1".as_slice().into()), 0..3);
    let filter = (tags, key, stored).prop_map(|(tags, key, stored)| Filter {
        tags: tags.into(),
        stored,
        key,
    });
    (
        start,
        ack,
        deliveries,
        ttl,
        dead,
        filter,
        99_u64..200,
        any::<bool>(),
    )
        .prop_map(
            |(start, ack, deliveries_max, ttl_seconds, dead_letter, filter, lease_ms, by_key)| {
                Config {
                    filter,
                    start,
                    ack,
                    lease_ms,
                    deliveries_max,
                    dead_letter,
                    in_flight_max: 7,
                    order_by_key: by_key,
                    expire_ms: ttl_seconds,
                    ttl_seconds,
                }
            },
        )
}

fn any_consumer_change() -> impl Strategy<Value = Action> {
    let owner = prop_oneof![
        any_uuid().prop_map(ConsumerOwner::Buffer),
        (1_u64..4).prop_map(|id| ConsumerOwner::Topic(TopicId(id))),
    ];
    let consumer = || (100_u64..106).prop_map(uuid);
    prop_oneof![
        4 => (owner, any_name(), consumer(), any_consumer_config()).prop_map(
            |(owner, name, uuid, config)| {
                Action::CreateConsumer(Box::new(CreateConsumer { owner, name, uuid, config }))
            }),
        2 => (consumer(), any_version(), any_consumer_config()).prop_map(
            |(uuid, expected, config)| {
                Action::ConfigureConsumer { uuid, expected, config: Box::new(config) }
            }),
        1 => (consumer(), any_version())
            .prop_map(|(uuid, expected)| Action::DeleteConsumer { uuid, expected }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let action = prop_oneof![
        4 => any_creation(),
        4 => any_buffer_change(),
        3 => any_topic_change(),
        3 => any_consumer_change(),
        1 => any_tenant_change(),
        1 => any_registration(),
        4 => any_assignment::any_assign().prop_map(Action::Assign),
    ];
    (0_u64..3, 0_u64..40, any::<u32>(), action).prop_map(|(client, number, time, action)| Command {
        client: uuid(client + 50),
        number,
        time: Micros(time.into()),
        action,
    })
}

/// The version of everything that has one.
fn versions(catalog: &Catalog) -> BTreeMap<String, u64> {
    let buffers = catalog
        .buffers
        .values()
        .map(|b| (format!("buffer {}", b.uuid), b.version));
    let assigned = catalog.assigned.all().flat_map(|(uuid, it)| {
        let epoch = (format!("epoch {uuid}"), it.epoch.0.into());
        [epoch, (format!("assignment {uuid}"), it.version)]
    });
    let topics = catalog
        .topics
        .values()
        .map(|t| (format!("topic {}", t.id.0), t.version));
    let nodes = catalog
        .nodes()
        .map(|(id, n)| (format!("node {}", id.0), n.epoch.0));
    let consumers = catalog
        .consumers()
        .map(|c| (format!("consumer {}", c.uuid), c.version));
    let places = buffers.chain(assigned).chain(topics).chain(nodes);
    places.chain(consumers).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_command_reads_back_as_it_was_written(command in any_command()) {
        prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
    }

    #[test]
    fn commands_keep_the_invariants_and_versions_only_grow(
        commands in prop::collection::vec(any_command(), 1..80),
    ) {
        let mut catalog = World::new().catalog;
        for node in ["n2", "n3"] {
            let action = register(node, node.len().try_into().unwrap_or(0), &[]);
            let command = Command { client: uuid(60), number: 1, time: Micros(0), action };
            let _ = catalog.apply(catalog.applied() + 1, &command);
        }
        for (number, command) in (1_u64..).zip(&commands) {
            // Every other command is a fresh one, so that repetitions do not take over.
            let mut command = command.clone();
            if number % 2 == 0 {
                (command.client, command.number) = (uuid(99), number);
            }
            let before = catalog.clone();
            let result = catalog.apply(before.applied() + 1, &command);
            prop_assert_eq!(catalog.broken_invariant(), None);
            let after = versions(&catalog);
            for (what, version) in versions(&before) {
                prop_assert!(after.get(&what).is_none_or(|now| *now >= version), "{} fell", what);
            }
            if result.is_err() {
                let (applied, clients) = (catalog.applied, catalog.clients.clone());
                prop_assert_eq!(&Catalog { applied, clients, ..before }, &catalog);
            }
        }
    }

    #[test]
    fn the_same_log_gives_the_same_catalog_also_through_a_snapshot_in_between(
        commands in prop::collection::vec(any_command(), 1..60),
        cut in 0_usize..60,
        piece_bytes in 1_usize..2_000,
    ) {
        let mut one = World::new().catalog;
        let mut two = one.clone();
        for (at, command) in commands.iter().enumerate() {
            if at == cut {
                two = read_back(&two, piece_bytes).unwrap();
                prop_assert_eq!(&one, &two);
            }
            let index = one.applied() + 1;
            let read = Command::decode(&command.encode()).unwrap();
            prop_assert_eq!(one.apply(index, command), two.apply(index, &read));
        }
        prop_assert_eq!(one.state_hash(), two.state_hash());
        prop_assert_eq!(one, two);
    }
}
