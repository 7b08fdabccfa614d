//! What becomes of messages that were handed out: acks, nacks, extended leases; and seeks, which
//! move the consumer as a whole.

use std::borrow::Cow;

use hbuf_core::ids::Seq;
use hbuf_core::limits::{
    CONSUMER_ACKS_BYTES_MAX, CONSUMER_ACKS_MAX, CONSUMER_DELAY_MS_MAX, CONSUMER_LEASE_MS_MAX,
    CONSUMER_LEASE_MS_MIN,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::consumers::{Of, description, find, read_start};
use super::json_reply;
use crate::engine::{
    ConsumerInfo, Settle, SettleResult, Settled, Settling, parse_lease, settled_word,
};
use crate::http::call::{Call, Reply, shown};
use crate::http::object::{Object, objects};
use crate::http::problem::{Code, Problem};
use crate::http::whole::whole;

/// The messages of a body, and what is to become of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Acks<'a> {
    #[serde(borrow, deserialize_with = "objects")]
    ack: Vec<Item<'a>>,
    #[serde(borrow, deserialize_with = "objects")]
    nack: Vec<Item<'a>>,
    #[serde(borrow, deserialize_with = "objects")]
    extend: Vec<Item<'a>>,
}

/// One message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    /// A buffer's own consumer needs no name.
    #[serde(borrow)]
    buffer: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "whole")]
    seq: Option<u64>,
    #[serde(borrow)]
    lease: Cow<'a, str>,
    #[serde(default, deserialize_with = "whole")]
    delay_ms: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    lease_ms: Option<u64>,
}

/// What is answered.
#[derive(Debug, Serialize)]
pub(super) struct Answered<'a> {
    ack: Vec<AnsweredItem<'a>>,
    extend: Vec<AnsweredItem<'a>>,
    nack: Vec<AnsweredItem<'a>>,
}

/// One message, with what came of it.
#[derive(Debug, Serialize)]
struct AnsweredItem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    buffer: Option<&'a str>,
    /// Why its buffer could not take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    result: &'static str,
    seq: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seek {
    start: Value,
}

/// `POST /buffers/{buffer}/consumers/{consumer}/acks`
pub(super) async fn acks_of_buffer(call: Call) -> Reply {
    acks(call, Of::Buffer).await
}

/// `POST /topics/{topic}/consumers/{consumer}/acks`
pub(super) async fn acks_of_topic(call: Call) -> Reply {
    acks(call, Of::Topic).await
}

async fn acks(call: Call, of: Of) -> Reply {
    call.query(&[])?;
    let info = find(&call, of)?;
    let app = call.app.clone();
    let bytes = call.bytes(CONSUMER_ACKS_BYTES_MAX).await?;
    let acks = Acks::read(&bytes)?;
    let wanted = acks.wanted(&info)?;
    let settling = app.engine.settle(&info, &asked(&wanted)).await;
    let results = all_results(&wanted, settling.results().await?);
    Ok(json_reply(StatusCode::OK, &acks.answered(&results)))
}

/// Those that the consumer's buffers are asked: what it does not read is answered here.
pub(super) fn asked(wanted: &[Option<Settle>]) -> Vec<Settle> {
    wanted.iter().flatten().copied().collect()
}

/// What came of all that is wanted, by what came of those that were asked.
pub(super) fn all_results(
    wanted: &[Option<Settle>],
    results: Vec<SettleResult>,
) -> Vec<SettleResult> {
    let mut results = results.into_iter();
    let all = wanted.iter().map(|settle| match settle {
        Some(_) => results.next().unwrap_or(Ok(Settled::Unknown)),
        None => Ok(Settled::Unknown),
    });
    all.collect()
}

/// `POST /buffers/{buffer}/consumers/{consumer}/seek`
pub(super) async fn seek_of_buffer(call: Call) -> Reply {
    seek(call, Of::Buffer).await
}

/// `POST /topics/{topic}/consumers/{consumer}/seek`
pub(super) async fn seek_of_topic(call: Call) -> Reply {
    seek(call, Of::Topic).await
}

async fn seek(call: Call, of: Of) -> Reply {
    call.query(&[])?;
    let info = find(&call, of)?;
    let app = call.app.clone();
    let Seek { start } = call.json("{}").await?;
    app.engine.seek(&info, read_start(&start)?).await?;
    let members = app.engine.consumer_status(&info).await;
    Ok(json_reply(StatusCode::OK, &description(&info, &members)))
}

impl<'a> Acks<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Box<Problem>> {
        let read: Result<Object<Self>, _> = serde_json::from_slice(bytes);
        let Object(acks) = read.map_err(|error| invalid(error.to_string()))?;
        Ok(acks)
    }

    fn items(&self) -> impl Iterator<Item = &Item<'a>> {
        self.ack.iter().chain(&self.nack).chain(&self.extend)
    }

    /// What is wanted of each message, in order; `None` where the consumer does not read the
    /// buffer. Everything is checked before anything is done.
    pub(super) fn wanted(&self, info: &ConsumerInfo) -> Result<Vec<Option<Settle>>, Box<Problem>> {
        let count = self.items().count();
        if count > CONSUMER_ACKS_MAX {
            return Err(invalid(format!(
                "it settles {count} messages, at most {CONSUMER_ACKS_MAX} are taken at once"
            )));
        }
        let ack = |item: &Item<'_>| item.only(false, false).map(|()| Settling::Ack);
        let nack = |item: &Item<'_>| {
            item.only(true, false)?;
            let delay_ms = item.delay_ms.unwrap_or(0);
            in_range("delay_ms", delay_ms, 0, CONSUMER_DELAY_MS_MAX)?;
            Ok(Settling::Nack { delay_ms })
        };
        let extend = |item: &Item<'_>| {
            item.only(false, true)?;
            let lease_ms = item.lease_ms.unwrap_or(info.config.lease_ms);
            let (min, max) = (CONSUMER_LEASE_MS_MIN, CONSUMER_LEASE_MS_MAX);
            in_range("lease_ms", lease_ms, min, max)?;
            Ok(Settling::Extend { lease_ms })
        };
        let mut wanted = Vec::with_capacity(count);
        let acks = self.ack.iter().map(|item| (item, ack(item)));
        let nacks = self.nack.iter().map(|item| (item, nack(item)));
        let extends = self.extend.iter().map(|item| (item, extend(item)));
        for (item, what) in acks.chain(nacks).chain(extends) {
            wanted.push(item.settle(info, what?)?);
        }
        Ok(wanted)
    }

    /// The lists again, each message with what came of it.
    pub(super) fn answered(&self, results: &[SettleResult]) -> Answered<'_> {
        let mut results = results.iter();
        Answered {
            ack: answered(&self.ack, &mut results),
            nack: answered(&self.nack, &mut results),
            extend: answered(&self.extend, &mut results),
        }
    }
}

fn answered<'a>(
    items: &'a [Item<'_>],
    results: &mut std::slice::Iter<'_, SettleResult>,
) -> Vec<AnsweredItem<'a>> {
    let items = items.iter().zip(results);
    let answered = items.map(|(item, settled)| AnsweredItem {
        buffer: item.buffer.as_deref(),
        reason: settled.as_ref().err().map(ToString::to_string),
        result: settled_word(settled),
        seq: item.seq,
    });
    answered.collect()
}

impl Item<'_> {
    fn only(&self, delay: bool, lease: bool) -> Result<(), Box<Problem>> {
        if self.delay_ms.is_some() && !delay {
            return Err(invalid("`delay_ms` belongs to a nack".to_owned()));
        }
        if self.lease_ms.is_some() && !lease {
            return Err(invalid("`lease_ms` belongs to an extend".to_owned()));
        }
        Ok(())
    }

    fn settle(&self, info: &ConsumerInfo, what: Settling) -> Result<Option<Settle>, Box<Problem>> {
        let seq = self.seq.map(Seq);
        let seq = seq.filter(|seq| (Seq::FIRST..=Seq::MAX).contains(seq));
        let seq = seq.ok_or_else(|| invalid("a `seq` is no number of a message".to_owned()))?;
        let lease = parse_lease(&self.lease);
        let lease = lease.ok_or_else(|| {
            invalid(format!(
                "`{}` is no lease: send back what the message came with",
                shown(&self.lease)
            ))
        })?;
        let member = match &self.buffer {
            Some(name) => info.members.iter().find(|(_, of)| of.as_str() == name),
            None if info.members.len() == 1 => info.members.first(),
            None => {
                return Err(invalid(
                    "the topic has several buffers: name the `buffer` of each message".to_owned(),
                ));
            }
        };
        Ok(member.map(|(buffer, _)| Settle {
            buffer: *buffer,
            seq,
            lease,
            what,
        }))
    }
}

fn in_range(name: &str, got: u64, min: u64, max: u64) -> Result<(), Box<Problem>> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(invalid(format!(
        "`{name}` is {got}; choose between {min} and {max}"
    )))
}

fn invalid(what: String) -> Box<Problem> {
    Problem::new(
        Code::BodyInvalid,
        format!("The body is not what is expected here: {what}. Nothing was settled."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::engine::{ConsumerError, LeaseId};
    use hbuf_core::consumer::Config;
    use hbuf_core::ids::{Micros, Uuid};
    use hbuf_core::name::Name;
    use hbuf_manager::ConsumerOwner;

    fn info(members: &[&str]) -> ConsumerInfo {
        let name = |text: &str| Name::parse(text).unwrap();
        let member = |(n, text): (u8, &&str)| (Uuid([n; 16]), name(text));
        ConsumerInfo {
            name: name("c"),
            uuid: Uuid([9; 16]),
            owner: ConsumerOwner::Buffer(Uuid([1; 16])),
            owner_name: name("o"),
            config: Config::default(),
            dead_letter: None,
            version: 1,
            created: Micros(1),
            members: (1..).zip(members).map(member).collect(),
        }
    }

    const LEASE: &str = "00000000000000ff";

    fn settle(text: &str, members: &[&str]) -> Result<Vec<Option<Settle>>, Code> {
        let acks = Acks::read(text.as_bytes()).map_err(|problem| problem.code)?;
        acks.wanted(&info(members)).map_err(|problem| problem.code)
    }

    #[test]
    fn each_message_is_settled_as_its_list_says() {
        let text = format!(
            r#"{{"ack": [{{"seq": 1, "lease": "{LEASE}"}}],
                "nack": [{{"seq": 2, "lease": "{LEASE}", "delay_ms": 5}}, {{"seq": 3, "lease": "{LEASE}"}}],
                "extend": [{{"buffer": "a", "seq": 4, "lease": "{LEASE}"}}, {{"buffer": "z", "seq": 4, "lease": "{LEASE}"}}]}}"#
        );
        let wanted = settle(&text, &["a"]).unwrap();
        let what: Vec<_> = wanted.iter().map(|one| one.map(|one| one.what)).collect();
        assert_eq!(
            what,
            [
                Some(Settling::Ack),
                Some(Settling::Nack { delay_ms: 5 }),
                Some(Settling::Nack { delay_ms: 0 }),
                Some(Settling::Extend { lease_ms: 30_000 }),
                None,
            ]
        );
        assert_eq!(wanted[0].unwrap().lease, LeaseId(255));
        let acks = Acks::read(text.as_bytes()).unwrap();
        let paused = || Err(Arc::new(ConsumerError::Paused));
        let results = [Ok(Settled::Acked), paused(), Ok(Settled::LeaseLost)];
        let rest = [Ok(Settled::Extended), Ok(Settled::Unknown)];
        let results = [&results[..], &rest].concat();
        let answered = serde_json::to_value(acks.answered(&results)).unwrap();
        assert_eq!(answered["ack"][0]["result"], "acked");
        assert_eq!(answered["ack"][0].get("reason"), None);
        assert_eq!(answered["nack"][0]["result"], "refused");
        let reason = answered["nack"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("paused"), "{reason}");
        assert_eq!(answered["nack"][1]["result"], "lease-lost");
        assert_eq!(answered["extend"][1]["buffer"], "z");
        assert_eq!(answered["extend"][1]["result"], "unknown");
    }

    #[test]
    fn one_bad_item_refuses_the_whole() {
        let one = |item: &str| format!(r#"{{"ack": [{item}]}}"#);
        for (bad, members) in [
            (one(r#"{"seq": 1}"#), &["a"][..]),
            // What is meant is said by name, not by place.
            (one(r#"[null, 1, "00000000000000ff", null, null]"#), &["a"]),
            ("[[], [], []]".to_owned(), &["a"]),
            (one(r#"{"seq": 0, "lease": "00000000000000ff"}"#), &["a"]),
            (one(r#"{"lease": "00000000000000ff"}"#), &["a"]),
            (one(r#"{"seq": 1, "lease": "ff"}"#), &["a"]),
            (one(r#"{"seq": 1, "lease": "00000000000000FF"}"#), &["a"]),
            (
                one(r#"{"seq": 1, "lease": "00000000000000ff", "delay_ms": 1}"#),
                &["a"],
            ),
            (
                one(r#"{"seq": 1, "lease": "00000000000000ff"}"#),
                &["a", "b"],
            ),
            (r#"{"acks": []}"#.to_owned(), &["a"]),
        ] {
            assert_eq!(settle(&bad, members), Err(Code::BodyInvalid), "{bad}");
        }
        let extend = |ms: u64| {
            format!(r#"{{"extend": [{{"seq": 1, "lease": "{LEASE}", "lease_ms": {ms}}}]}}"#)
        };
        assert!(settle(&extend(CONSUMER_LEASE_MS_MAX), &["a"]).is_ok());
        assert!(settle(&extend(CONSUMER_LEASE_MS_MAX + 1), &["a"]).is_err());
        assert!(settle(&extend(CONSUMER_LEASE_MS_MIN - 1), &["a"]).is_err());
        let nack = |ms: u64| {
            format!(r#"{{"nack": [{{"seq": 1, "lease": "{LEASE}", "delay_ms": {ms}}}]}}"#)
        };
        assert!(settle(&nack(CONSUMER_DELAY_MS_MAX), &["a"]).is_ok());
        assert!(settle(&nack(CONSUMER_DELAY_MS_MAX + 1), &["a"]).is_err());
    }

    #[test]
    fn as_many_as_fit_are_settled_at_once_and_one_more_is_refused() {
        let many = |count: usize| {
            let item = format!(r#"{{"seq": 1, "lease": "{LEASE}"}}"#);
            format!(r#"{{"ack": [{}]}}"#, vec![item; count].join(","))
        };
        assert!(settle(&many(CONSUMER_ACKS_MAX), &["a"]).is_ok());
        assert!(settle(&many(CONSUMER_ACKS_MAX + 1), &["a"]).is_err());
    }
}
