//! The consumers with which a cluster begins.

use hbuf_core::consumer::AckMode;
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::name::Name;
use hbuf_manager::{Action, Catalog, ConsumerOwner, CreateConsumer};

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
    if !options.is_on(Opt::Consumers) {
        return crew;
    }
    let draw = |number, ordinal| draws.draw(Purpose::Consumer, number, ordinal);
    let count = draw(0, 0).within(1, CONSUMERS_MAX);
    for number in 1..=count {
        let drawn = |ordinal: u64| draw(number, 100 + ordinal);
        let one = usize::try_from(drawn(0).below(buffers.len() as u64)).unwrap_or(0);
        // Never back to where the consumer reads.
        let mut config = some_config(draws, drawn(1).0, &buffers[one + 1..], 0);
        config.start = some_start(drawn(2), BEGIN_BEFORE, BEGIN_NEAR);
        if drawn(3).percent(20) {
            config.ack = AckMode::OnDelivery;
        }
        // Nobody sweeps here what was not used for a time.
        config.ttl_seconds = None;
        let name = format!("k{number}");
        let uuid = consumer_uuid(number);
        let create = CreateConsumer {
            owner: ConsumerOwner::Buffer(buffers[one]),
            name: Name::parse(&name).expect("a letter and digits are a name"),
            uuid,
            config,
        };
        give(catalog, Action::CreateConsumer(Box::new(create)));
        let members = vec![one];
        crew.consumers.push(Consumer {
            uuid,
            name,
            members,
        });
    }
    crew
}
