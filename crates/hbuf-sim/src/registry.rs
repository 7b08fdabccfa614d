//! What the manager knows: the real catalog, driven by commands. Its own log is tested elsewhere,
//! so here it survives every crash.

use hbuf_core::consumer::Config;
use hbuf_core::ids::{Epoch, Hash, Micros, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::name::Name;
use hbuf_manager::{
    Action, BufferConfig, CLUSTER_VERSIONS, Catalog, Command, ConsumerOwner, CreateBuffer,
    CreateConsumer, Outcome, RegisterNode, State,
};

/// The disk's id.
pub(crate) const DISK: Uuid = Uuid([0xd1; 16]);

/// The manager of a run.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    catalog: Catalog,
    number: u64,
    uuids: Vec<Uuid>,
}

impl Registry {
    /// A founded cluster with so many buffers on one node.
    pub(crate) fn new(buffers: usize) -> Self {
        let uuid =
            |index: usize| Uuid::from_random([u8::try_from(index + 1).unwrap_or(u8::MAX); 16]);
        let uuids: Vec<Uuid> = (0..buffers).map(uuid).collect();
        let mut registry = Self {
            catalog: Catalog::new(),
            number: 0,
            uuids,
        };
        registry.apply(Action::FoundCluster {
            cluster: DISK,
            version: CLUSTER_VERSIONS.max,
        });
        registry.register(true);
        for index in 0..buffers {
            registry.create(index);
        }
        let names = (0..buffers).map(buffer_name);
        registry.apply(Action::CreateTopic {
            tenant: Name::default_tenant(),
            topic: topic_name(),
            buffers: names.collect(),
        });
        registry
    }

    fn create(&mut self, index: usize) {
        let uuid = self.uuids[index];
        let name = buffer_name(index);
        self.apply(Action::CreateBuffer(Box::new(CreateBuffer {
            tenant: Name::default_tenant(),
            name,
            uuid,
            log: uuid,
            history: uuid,
            idem_key: Hash([1; 32]),
            config: BufferConfig::default(),
            region: None,
            copies: vec![node_name()],
            topics: Vec::new(),
            mirror: None,
        })));
        self.apply(Action::ConfirmBuffer {
            uuid,
            reserved: None,
        });
    }

    /// The node starts; tells its new epoch.
    pub(crate) fn register(&mut self, clean: bool) -> u64 {
        let start = RegisterNode {
            clean,
            ..RegisterNode::new(node_name(), DISK, CLUSTER_VERSIONS)
        };
        match self.apply(Action::RegisterNode(start)) {
            Outcome::Node { epoch, .. } => epoch,
            other => unreachable!("a registration gives a node epoch, not {other:?}"),
        }
    }

    pub(crate) fn set_state(&mut self, buffer: usize, state: BufferState) {
        self.apply(Action::SetBufferState {
            uuid: self.uuids[buffer],
            expected: None,
            state,
        });
    }

    /// Makes the consumer of this number of one buffer, or of the topic of all.
    pub(crate) fn create_consumer(&mut self, number: u64, of: Option<usize>, config: Config) {
        let owner = match of {
            Some(buffer) => ConsumerOwner::Buffer(self.uuids[buffer]),
            None => {
                let tenant = Name::default_tenant();
                let topic = self
                    .catalog
                    .resolve_topic(tenant.as_str(), topic_name().as_str());
                ConsumerOwner::Topic(topic.expect("it was made at the start").id)
            }
        };
        let name = Name::parse(&format!("c{number}")).expect("a letter and digits are a name");
        self.apply(Action::CreateConsumer(Box::new(CreateConsumer {
            owner,
            name,
            uuid: consumer_uuid(number),
            config,
        })));
    }

    pub(crate) fn configure_consumer(&mut self, uuid: Uuid, config: Config) {
        self.apply(Action::ConfigureConsumer {
            uuid,
            expected: None,
            config: Box::new(config),
        });
    }

    pub(crate) fn delete_consumer(&mut self, uuid: Uuid) {
        self.apply(Action::DeleteConsumer {
            uuid,
            expected: None,
        });
    }

    /// What is set on a consumer, and the version of that.
    pub(crate) fn consumer(&self, uuid: Uuid) -> Option<(&Config, u64)> {
        let consumer = self.catalog.consumer(uuid)?;
        Some((&consumer.config, consumer.version))
    }

    pub(crate) fn uuid(&self, buffer: usize) -> Uuid {
        self.uuids[buffer]
    }

    pub(crate) fn index(&self, uuid: Uuid) -> usize {
        self.uuids
            .iter()
            .position(|other| *other == uuid)
            .expect("only these buffers exist")
    }

    pub(crate) fn epoch(&self, buffer: usize) -> Epoch {
        self.catalog
            .assignment(self.uuids[buffer])
            .expect("buffers are not deleted")
            .epoch
    }

    fn apply(&mut self, action: Action) -> Outcome {
        self.number += 1;
        let command = Command {
            client: DISK,
            number: self.number,
            time: Micros(0),
            action,
        };
        let applied = self.catalog.apply(self.number, &command);
        applied
            .expect("the simulator asks for nothing that the rules refuse")
            .outcome
    }
}

/// The registration of the consumer of this number.
pub(crate) fn consumer_uuid(number: u64) -> Uuid {
    let mut bytes = [0xc0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Uuid::from_random(bytes)
}

fn buffer_name(index: usize) -> Name {
    Name::parse(&format!("b{index}")).expect("a letter and digits are a name")
}

fn topic_name() -> Name {
    Name::parse("all").expect("three letters are a name")
}

fn node_name() -> Name {
    Name::parse("n1").expect("n1 is a name")
}
