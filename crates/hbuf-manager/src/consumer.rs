//! What a consumer reads and how it is set, in the text form of commands and snapshots. What can be
//! set, and in which range, is the core's.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use hbuf_core::consumer::{AckMode, Config, Filter, Start};
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::name::Name;

use crate::catalog::TopicId;
use crate::lines::{FieldError, Fields, Writer};
use crate::mirror::{escaped, unescaped};

/// What a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerOwner {
    /// A buffer, by its registration.
    Buffer(Uuid),
    /// A topic: each of its buffers.
    Topic(TopicId),
}

/// A new consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateConsumer {
    /// What it reads.
    pub owner: ConsumerOwner,
    /// Its name, unique among the consumers of its owner.
    pub name: Name,
    /// The name of its records in the cursors logs.
    pub uuid: Uuid,
    /// Its configuration.
    pub config: Config,
}

impl ConsumerOwner {
    pub(crate) fn write(self, out: &mut Writer) {
        match self {
            Self::Buffer(uuid) => out.field("buffer", uuid),
            Self::Topic(id) => out.field("topic", id.0),
        }
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        if let Some(uuid) = fields.with_optional("buffer", Uuid::parse)? {
            return Ok(Self::Buffer(uuid));
        }
        Ok(Self::Topic(TopicId(fields.parse("topic")?)))
    }
}

impl CreateConsumer {
    pub(crate) fn write(&self, out: &mut Writer) {
        self.owner.write(out);
        out.field("consumer", &self.name);
        out.field("uuid", self.uuid);
        write_config(&self.config, out);
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            owner: ConsumerOwner::read(fields)?,
            name: fields.name("consumer")?,
            uuid: fields.uuid("uuid")?,
            config: read_config(fields)?,
        })
    }
}

pub(crate) fn write_config(config: &Config, out: &mut Writer) {
    let filter = &config.filter;
    out.list("tags", filter.tags.iter().map(|tag| escaped(tag)));
    let key: Option<String> = filter.key.as_ref().map(|key| escaped(key));
    out.optional("key", key);
    out.optional("filter", filter.stored.as_ref());
    out.field("start", start_text(config.start));
    out.field("ack", config.ack.as_str());
    out.field("lease-ms", config.lease_ms);
    out.optional("deliveries-max", config.deliveries_max);
    out.optional("dead-letter", config.dead_letter);
    out.field("in-flight-max", config.in_flight_max);
    out.field("order-by-key", config.order_by_key);
    out.optional("expire-ms", config.expire_ms);
    out.optional("ttl-seconds", config.ttl_seconds);
}

pub(crate) fn read_config(fields: &mut Fields<'_>) -> Result<Config, FieldError> {
    let stored = |value: &str| Name::parse(value).ok().map(|name| name.as_str().into());
    let stored: Option<Box<str>> = fields.with_optional("filter", stored)?;
    Ok(Config {
        filter: Filter {
            tags: fields.list("tags", unescaped)?.into_boxed_slice(),
            stored,
            key: fields.with_optional("key", unescaped)?,
        },
        start: fields.with("start", read_start)?,
        ack: fields.with("ack", AckMode::parse)?,
        lease_ms: fields.parse("lease-ms")?,
        deliveries_max: fields.parse_optional("deliveries-max")?,
        dead_letter: fields.with_optional("dead-letter", Uuid::parse)?,
        in_flight_max: fields.parse("in-flight-max")?,
        order_by_key: fields.parse("order-by-key")?,
        expire_ms: fields.parse_optional("expire-ms")?,
        ttl_seconds: fields.parse_optional("ttl-seconds")?,
    })
}

fn start_text(start: Start) -> String {
    match start {
        Start::First => "first".into(),
        Start::Last => "last".into(),
        Start::Seq(seq) => format!("seq:{seq}"),
        Start::Time(time) => format!("time:{}", time.0),
    }
}

fn read_start(text: &str) -> Option<Start> {
    Some(match text.split_once(':') {
        None if text == "first" => Start::First,
        None if text == "last" => Start::Last,
        Some(("seq", seq)) => Start::Seq(Seq(seq.parse().ok()?)),
        Some(("time", time)) => Start::Time(Micros(time.parse().ok()?)),
        _ => return None,
    })
}
