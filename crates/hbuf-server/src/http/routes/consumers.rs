//! Consumers: create, configure, describe, list, delete.

use hbuf_core::consumer::{AckMode, Config, Filter, Start};
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::LIST_LIMIT_MAX;
use hbuf_core::time::parse_rfc3339;
use hbuf_manager::ConsumerOwner;
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::buffers::{created_reply, named, no_content};
use super::json_reply;
use crate::engine::{ConsumerInfo, ConsumerMember, OwnerName};
use crate::http::call::{Call, Reply, parse_name, shown};
use crate::http::json::{decode_key, encode_key};
use crate::http::problem::{Code, Problem};
use crate::http::whole::whole;

/// What a consumer of the route reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Buffer,
    Topic,
}

impl Of {
    /// The owner that the path names.
    pub(super) fn owner(self, name: &str) -> OwnerName<'_> {
        match self {
            Self::Buffer => OwnerName::Buffer(name),
            Self::Topic => OwnerName::Topic(name),
        }
    }
}

/// What a client may set. A name that is not there leaves the value as it is; `null` is the
/// default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    #[serde(deserialize_with = "named")]
    tags: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "named")]
    key: Option<Option<String>>,
    #[serde(deserialize_with = "named")]
    filter: Option<Option<String>>,
    #[serde(deserialize_with = "named")]
    start: Option<Option<Value>>,
    #[serde(deserialize_with = "named")]
    ack: Option<Option<String>>,
    #[serde(deserialize_with = "number")]
    lease_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "number")]
    deliveries_max: Option<Option<u64>>,
    #[serde(deserialize_with = "named")]
    dead_letter: Option<Option<String>>,
    #[serde(deserialize_with = "number")]
    in_flight_max: Option<Option<u64>>,
    #[serde(deserialize_with = "named")]
    order_by_key: Option<Option<bool>>,
    #[serde(deserialize_with = "number")]
    expire_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "number")]
    ttl_seconds: Option<Option<u64>>,
    #[serde(deserialize_with = "whole")]
    version: Option<u64>,
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    whole(from).map(Some)
}

impl Settings {
    /// These settings over a configuration. `dead_letter` is the buffer that they name.
    fn over(
        &self,
        mut config: Config,
        dead_letter: Option<Option<Uuid>>,
    ) -> Result<Config, Box<Problem>> {
        let default = Config::default();
        // A number beyond these is out of range, and refused as that.
        let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        self.filter_over(&mut config.filter)?;
        if let Some(start) = &self.start {
            config.start = match start {
                None => default.start,
                Some(start) => read_start(start)?,
            };
        }
        if let Some(ack) = &self.ack {
            config.ack = ack.as_deref().map_or(Ok(default.ack), read_ack)?;
        }
        if let Some(ms) = self.lease_ms {
            config.lease_ms = ms.unwrap_or(default.lease_ms);
        }
        if let Some(most) = self.deliveries_max {
            config.deliveries_max = most.map(short);
        }
        if let Some(buffer) = dead_letter {
            config.dead_letter = buffer;
        }
        if let Some(most) = self.in_flight_max {
            config.in_flight_max = most.map_or(default.in_flight_max, short);
        }
        if let Some(by_key) = self.order_by_key {
            config.order_by_key = by_key.unwrap_or(default.order_by_key);
        }
        if let Some(ms) = self.expire_ms {
            config.expire_ms = ms;
        }
        if let Some(seconds) = self.ttl_seconds {
            config.ttl_seconds = seconds;
        }
        Ok(config)
    }

    fn filter_over(&self, filter: &mut Filter) -> Result<(), Box<Problem>> {
        if let Some(tags) = &self.tags {
            let tags = tags.iter().flatten();
            filter.tags = tags.map(|tag| tag.trim().as_bytes().into()).collect();
        }
        if let Some(key) = &self.key {
            let key = key.as_deref();
            filter.key = key.map(|key| encode_key(key.as_bytes()).into());
        }
        if let Some(stored) = &self.filter {
            let name = stored.as_deref().map(parse_name).transpose()?;
            filter.stored = name.map(|name| name.as_str().into());
        }
        Ok(())
    }
}

fn read_ack(text: &str) -> Result<AckMode, Box<Problem>> {
    AckMode::parse(text).ok_or_else(|| {
        Problem::new(
            Code::BodyInvalid,
            format!("`ack` is explicit or on-delivery, not `{}`.", shown(text)),
        )
    })
}

/// Reads where a consumer begins.
pub(super) fn read_start(value: &Value) -> Result<Start, Box<Problem>> {
    let read = match value {
        Value::String(word) if word == "first" => Some(Start::First),
        Value::String(word) if word == "last" => Some(Start::Last),
        Value::Object(place) if place.len() == 1 => {
            let seq = place.get("seq").and_then(|seq| whole(seq).ok().flatten());
            let time = place.get("time").and_then(Value::as_str);
            let time = time.and_then(parse_rfc3339);
            seq.map(|seq| Start::Seq(Seq(seq)))
                .or_else(|| time.map(Start::Time))
        }
        _ => None,
    };
    read.ok_or_else(|| {
        Problem::new(
            Code::BodyInvalid,
            "`start` is \"first\", \"last\", {\"seq\": N}, or {\"time\": T} with T as in RFC 3339.",
        )
    })
}

fn start_value(start: Start) -> Value {
    match start {
        Start::First => "first".into(),
        Start::Last => "last".into(),
        Start::Seq(seq) => json!({ "seq": seq.0 }),
        Start::Time(time) => json!({ "time": time.to_string() }),
    }
}

/// `GET /buffers/{buffer}/consumers`
pub(super) async fn list_of_buffer(call: Call) -> Reply {
    list(&call, Of::Buffer)
}

/// `GET /topics/{topic}/consumers`
pub(super) async fn list_of_topic(call: Call) -> Reply {
    list(&call, Of::Topic)
}

fn list(call: &Call, of: Of) -> Reply {
    let query = call.query(&["after", "limit"])?;
    let limit = query.number("limit", 1, LIST_LIMIT_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(LIST_LIMIT_MAX)).unwrap_or(usize::MAX);
    let after = query.get("after").unwrap_or_default();
    let owner = of.owner(call.name());
    let page = call
        .app
        .engine
        .list_consumers(call.tenant(), owner, after, limit)?;
    let next = page.entries.last().filter(|_| page.more);
    let next = next.map(|info| info.name.to_string());
    let consumers: Vec<Value> = page.entries.iter().map(entry).collect();
    let list = json!({ "consumers": consumers, "next": next });
    Ok(json_reply(StatusCode::OK, &list))
}

/// `PUT /buffers/{buffer}/consumers/{consumer}`
pub(super) async fn put_of_buffer(call: Call) -> Reply {
    put(call, Of::Buffer).await
}

/// `PUT /topics/{topic}/consumers/{consumer}`
pub(super) async fn put_of_topic(call: Call) -> Reply {
    put(call, Of::Topic).await
}

async fn put(call: Call, of: Of) -> Reply {
    call.query(&[])?;
    let name = parse_name(call.second_name())?;
    let (app, tenant) = (call.app.clone(), call.tenant().clone());
    let location = call.parts.uri.path().to_owned();
    let owner = call.name().to_owned();
    let settings: Settings = call.json("{}").await?;
    let engine = &app.engine;
    let dead_letter = match &settings.dead_letter {
        None => None,
        Some(None) => Some(None),
        Some(Some(name)) => {
            let buffer = engine.dead_letter_buffer(&tenant, name);
            Some(Some(buffer.map_err(|_| no_dead_letter(name))?))
        }
    };
    let put = engine.put_consumer(&tenant, of.owner(&owner), &name, settings.version, |info| {
        let config = info.map_or_else(Config::default, |info| info.config.clone());
        settings.over(config, dead_letter)
    });
    let (info, created) = put.await?;
    let members = engine.consumer_status(&info).await;
    Ok(created_reply(
        &description(&info, &members),
        created,
        &location,
    ))
}

fn no_dead_letter(name: &str) -> Box<Problem> {
    Problem::new(
        Code::NamedMissing,
        format!(
            "There is no buffer `{}` to take dead letters: create it first.",
            shown(name)
        ),
    )
}

/// `GET /buffers/{buffer}/consumers/{consumer}`
pub(super) async fn describe_of_buffer(call: Call) -> Reply {
    describe(call, Of::Buffer).await
}

/// `GET /topics/{topic}/consumers/{consumer}`
pub(super) async fn describe_of_topic(call: Call) -> Reply {
    describe(call, Of::Topic).await
}

async fn describe(call: Call, of: Of) -> Reply {
    call.query(&[])?;
    let info = find(&call, of)?;
    let members = call.app.engine.consumer_status(&info).await;
    Ok(json_reply(StatusCode::OK, &description(&info, &members)))
}

/// `DELETE /buffers/{buffer}/consumers/{consumer}`
pub(super) async fn delete_of_buffer(call: Call) -> Reply {
    delete(call, Of::Buffer).await
}

/// `DELETE /topics/{topic}/consumers/{consumer}`
pub(super) async fn delete_of_topic(call: Call) -> Reply {
    delete(call, Of::Topic).await
}

async fn delete(call: Call, of: Of) -> Reply {
    call.query(&[])?;
    let info = find(&call, of)?;
    call.app.engine.delete_consumer(&info).await?;
    Ok(no_content())
}

/// The consumer that the path names.
pub(super) fn find(call: &Call, of: Of) -> Result<ConsumerInfo, Box<Problem>> {
    let engine = &call.app.engine;
    let owner = of.owner(call.name());
    Ok(engine.describe_consumer(call.tenant(), owner, call.second_name())?)
}

/// What the manager knows of a consumer.
fn entry(info: &ConsumerInfo) -> Value {
    let config = &info.config;
    let tags = config.filter.tags.iter();
    let tags: Vec<_> = tags.map(|tag| String::from_utf8_lossy(tag)).collect();
    let key = config.filter.key.as_deref().map(decode_key);
    let mut value = json!({
        "name": info.name.as_str(),
        "uuid": info.uuid.to_string(),
        "created": info.created.to_string(),
        "version": info.version,
        "tags": tags,
        "key": key.map(|key| String::from_utf8_lossy(&key).into_owned()),
        "filter": config.filter.stored,
        "start": start_value(config.start),
        "ack": config.ack.as_str(),
        "lease_ms": config.lease_ms,
        "deliveries_max": config.deliveries_max,
        "dead_letter": info.dead_letter.as_ref().map(ToString::to_string),
        "in_flight_max": config.in_flight_max,
        "order_by_key": config.order_by_key,
        "expire_ms": config.expire_ms,
        "ttl_seconds": config.ttl_seconds,
    });
    if let Some(gone) = config.dead_letter.filter(|_| info.dead_letter.is_none()) {
        value["dead_letter_deleted"] = gone.to_string().into();
    }
    let owner = match info.owner {
        ConsumerOwner::Buffer(_) => "buffer",
        ConsumerOwner::Topic(_) => "topic",
    };
    value[owner] = info.owner_name.as_str().into();
    value
}

/// The same with how it stands, in all and in each buffer.
pub(super) fn description(info: &ConsumerInfo, members: &[ConsumerMember]) -> Value {
    let mut value = entry(info);
    let sum = |of: fn(&ConsumerMember) -> u64| members.iter().map(of).sum::<u64>();
    value["lag"] = sum(lag).into();
    value["pending"] = sum(|member| member.pending).into();
    value["in_flight"] = sum(|member| member.in_flight).into();
    value["redelivered"] = sum(|member| member.redelivered).into();
    value["dead_lettered"] = sum(|member| member.dead_lettered).into();
    value["lost"] = sum(|member| member.lost).into();
    let oldest = members.iter().filter_map(|member| member.oldest_unacked);
    value["oldest_unacked"] = oldest.min().map(|time| time.to_string()).into();
    value["members"] = members.iter().map(member_value).collect();
    value
}

fn lag(member: &ConsumerMember) -> u64 {
    member.commit.0.saturating_sub(member.cursor.0)
}

fn member_value(member: &ConsumerMember) -> Value {
    if let Some(why) = &member.unavailable {
        return json!({ "buffer": member.name.as_str(), "unavailable": why });
    }
    json!({
        "buffer": member.name.as_str(),
        "cursor": member.cursor.0,
        "commit": member.commit.0,
        "lag": lag(member),
        "pending": member.pending,
        "in_flight": member.in_flight,
        "oldest_unacked": member.oldest_unacked.map(|time| time.to_string()),
        "redelivered": member.redelivered,
        "dead_lettered": member.dead_lettered,
        "lost": member.lost,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbuf_core::ids::Micros;

    fn settings(text: &str) -> Settings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_named_stays_and_null_is_the_default() {
        let all = r#"{"tags": ["a", " b "], "key": "k 1", "filter": "f", "start": "last",
            "ack": "on-delivery", "lease_ms": 500, "deliveries_max": 3, "in_flight_max": 7.0,
            "order_by_key": true, "expire_ms": 9, "ttl_seconds": 8}"#;
        let dead = Some(Some(Uuid([1; 16])));
        let set = settings(all).over(Config::default(), dead).unwrap();
        assert_eq!(set.filter.tags[1].as_ref(), b"b");
        assert_eq!(set.filter.key.as_deref(), Some(&b"k%201"[..]));
        assert_eq!((set.lease_ms, set.in_flight_max), (500, 7));
        assert_eq!((set.start, set.ack), (Start::Last, AckMode::OnDelivery));
        assert_eq!(settings("{}").over(set.clone(), None).unwrap(), set);
        let nulls = r#"{"tags": null, "key": null, "filter": null, "start": null, "ack": null,
            "lease_ms": null, "deliveries_max": null, "in_flight_max": null, "order_by_key": null,
            "expire_ms": null, "ttl_seconds": null}"#;
        let unset = settings(nulls).over(set, Some(None)).unwrap();
        assert_eq!(unset, Config::default());
    }

    #[test]
    fn a_start_is_a_word_a_seq_or_a_time_and_reads_back() {
        let time = Start::Time(Micros(1_795_173_322_123_456));
        for start in [Start::First, Start::Last, Start::Seq(Seq(7)), time] {
            assert_eq!(read_start(&start_value(start)).unwrap(), start);
        }
        for bad in [
            json!("middle"),
            json!(7),
            json!({}),
            json!({ "seq": 1, "time": "2026-11-20T11:15:22Z" }),
            json!({ "seq": -1 }),
            json!({ "time": "soon" }),
            json!(null),
        ] {
            assert_eq!(
                read_start(&bad).unwrap_err().code,
                Code::BodyInvalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn unknown_names_and_other_types_are_refused() {
        for bad in [
            r#"{"max_in_flight": 1}"#,
            r#"{"lease_ms": "1"}"#,
            r#"{"order_by_key": 1}"#,
            r#"{"tags": "a"}"#,
        ] {
            assert!(serde_json::from_str::<Settings>(bad).is_err(), "{bad}");
        }
        let bad_ack = settings(r#"{"ack": "later"}"#).over(Config::default(), None);
        assert_eq!(bad_ack.unwrap_err().code, Code::BodyInvalid);
        let bad_filter = settings(r#"{"filter": "a b"}"#).over(Config::default(), None);
        assert_eq!(bad_filter.unwrap_err().code, Code::NameInvalid);
    }
}
