//! The consumers with which a cluster begins.

use hbuf_core::consumer::AckMode;
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::name::Name;
use hbuf_manager::{Action, Catalog, ConsumerOwner, CreateConsumer, TopicId};

use super::EPOCH;
use super::crew::{Consumer, Crew};
use crate::choices::{some_config, some_start};
use crate::draw::{Draws, Purpose};
use crate::founding::give;
use crate::registry::consumer_uuid;
use crate::swarm::{Opt, Options};

/// Consumers of a run, at most.
const CONSUMERS_MAX: u64 = 4;
/// Around this seq of its buffer, or that time of the run, a consumer may begin.
const BEGIN_NEAR: Seq = Seq(40);
const BEGIN_BEFORE: Micros = Micros(EPOCH.0 + 1_000_000);

/// Makes the consumers that the options ask for, as the manager keeps them.
pub(super) fn enlist(
    catalog: &mut Catalog,
    draws: &Draws,
    options: &Options,
    buffers: &[Uuid],
) -> Crew {
    let mut crew = Crew::default();
    let topic = topic_of_all(catalog, options, buffers.len());
    if !options.is_on(Opt::Consumers) {
        return crew;
    }
    let draw = |number, ordinal| draws.draw(Purpose::Consumer, number, ordinal);
    let count = draw(0, 0).within(1, CONSUMERS_MAX);
    for number in 1..=count {
        let drawn = |ordinal: u64| draw(number, 100 + ordinal);
        let one = usize::try_from(drawn(0).below(buffers.len() as u64)).unwrap_or(0);
        let topic = topic.filter(|_| drawn(4).percent(25));
        let (owner, members, later) = match topic {
            Some(topic) => (
                ConsumerOwner::Topic(topic),
                (0..buffers.len()).collect(),
                &[][..],
            ),
            None => (
                ConsumerOwner::Buffer(buffers[one]),
                vec![one],
                &buffers[one + 1..],
            ),
        };
        // Never back to where the consumer reads.
        let mut config = some_config(draws, drawn(1).0, later, 0);
        config.start = some_start(drawn(2), BEGIN_BEFORE, BEGIN_NEAR);
        if drawn(3).percent(20) {
            config.ack = AckMode::OnDelivery;
        }
        // Nobody sweeps here what was not used for a time.
        config.ttl_seconds = None;
        let name = format!("k{number}");
        let uuid = consumer_uuid(number);
        let create = CreateConsumer {
            owner,
            name: Name::parse(&name).expect("a letter and digits are a name"),
            uuid,
            config,
        };
        give(catalog, Action::CreateConsumer(Box::new(create)));
        crew.consumers.push(Consumer {
            uuid,
            name,
            members,
        });
    }
    crew
}

/// Makes the topic of all buffers, if it is to be read.
fn topic_of_all(catalog: &mut Catalog, options: &Options, buffers: usize) -> Option<TopicId> {
    if !options.is_on(Opt::TopicReads) {
        return None;
    }
    let name = |text: &str| Name::parse(text).expect("a letter and digits are a name");
    let create = Action::CreateTopic {
        tenant: Name::default_tenant(),
        topic: name("t1"),
        buffers: (1..=buffers).map(|at| name(&format!("b{at}"))).collect(),
    };
    give(catalog, create);
    catalog.resolve_topic("-", "t1").map(|topic| topic.id)
}
