//! Consumers under the same losses: a message whose ack was answered is never handed out again, and
//! every other one that matches is.

use std::collections::BTreeSet;
use std::io;

use serde_json::{Value, json};

use super::check::{patiently, read_all};
use super::http::{Http, Reply};
use super::ledger::Ledger;
use super::record::Record;

/// The buffer whose messages have tags, of which its consumer wants one.
pub(crate) const TAGGED: &str = "tagged";
/// Buffers with a consumer: a busy one, one that rolls, one whose old segments go, one to choose
/// from.
pub(crate) const CONSUMED: [&str; 4] = ["main", "small-0", "trimmed", TAGGED];
/// The tag that is wanted in `TAGGED`.
const WANTED: &str = "odd";
/// What workers leave lapses within a round.
const LEASE_MS: u64 = 300;
/// Nothing that a checker holds lapses while it looks, however slow the machine is.
const CHECKED_LEASE_MS: u64 = 3_600_000;
/// More messages than any buffer of the workload has; so many may be leased at once.
const MESSAGES_MAX: u64 = 65_536;
/// What the checker leases at once.
const LEASED_AT_ONCE: u64 = 10_000;
/// More answers than any buffer of the workload needs.
const ANSWERS_MAX: usize = 64;

/// What is known of the consumer of a buffer, which many workers share.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerClaims {
    pub(crate) made: bool,
    /// Seqs whose ack was answered.
    pub(crate) acked: BTreeSet<u64>,
    /// Seqs whose ack was sent and not answered.
    pub(crate) tried: BTreeSet<u64>,
}

impl ConsumerClaims {
    pub(crate) fn merge(&mut self, other: Self) {
        self.made |= other.made;
        self.acked.extend(other.acked);
        self.tried.extend(other.tried);
    }

    /// Why what is handed out is not what is left to do of the records.
    fn compare(&self, buffer: &str, records: &[Record], seen: &Seen) -> Vec<String> {
        let mut wrong = Vec::new();
        for seq in self.acked.intersection(&seen.handed) {
            wrong.push(format!("seq {seq} was acked and is handed out again"));
        }
        for Record { seq, body, .. } in records {
            let done = self.acked.contains(seq) || self.tried.contains(seq);
            let handed = seen.handed.contains(seq);
            match (wants(buffer, body), handed) {
                (true, false) if !done => {
                    wrong.push(format!("seq {seq} was not acked and is not handed out"));
                }
                (false, true) => wrong.push(format!("seq {seq} does not match and is handed out")),
                _ => {}
            }
        }
        let last = records.last().map_or(0, |record| record.seq);
        if let Some(seq) = seen.handed.iter().find(|seq| **seq > last) {
            wrong.push(format!(
                "seq {seq} is handed out, and the last one is {last}"
            ));
        }
        let Seen { cursor, commit, .. } = seen;
        if cursor > commit || *commit > last {
            let ends = format!("commit {commit}, last seq {last}");
            wrong.push(format!("its cursor is {cursor}, {ends}"));
        }
        // Retention moves the cursor too, over what it dropped.
        let kept = records.iter().map(|record| &record.seq);
        let passed = kept.take_while(|seq| *seq <= cursor);
        for seq in passed.filter(|seq| seen.handed.contains(seq)) {
            wrong.push(format!(
                "seq {seq} is handed out, though its cursor is {cursor}"
            ));
        }
        wrong
    }

    /// The doubt is settled: what was not handed out is done.
    fn settle(&mut self, handed: &BTreeSet<u64>) {
        let tried = std::mem::take(&mut self.tried);
        self.acked.extend(tried.difference(handed));
    }
}

/// The headers of a message: its tags, where there are any.
pub(crate) fn tags(buffer: &str, body: &[u8]) -> Option<(&'static str, &'static str)> {
    let tag = if wants(buffer, body) { WANTED } else { "even" };
    (buffer == TAGGED).then_some(("x-hbuf-tag", tag))
}

/// Whether the consumer of a buffer wants a message. What the checker appends has no tag.
fn wants(buffer: &str, body: &[u8]) -> bool {
    buffer != TAGGED || (body.len() % 2 == 1 && body.starts_with(TAGGED.as_bytes()))
}

/// What a consumer shows.
#[derive(Debug, Default)]
struct Seen {
    handed: BTreeSet<u64>,
    cursor: u64,
    commit: u64,
}

fn path(buffer: &str) -> String {
    format!("/buffers/{buffer}/consumers/workers")
}

/// What a worker does at once: it leases some messages, acks most of them, gives some back and
/// leaves some to lapse. The first time it makes the consumer. Returns the last reply; what a
/// consumer may not do is added to `wrong`.
pub(crate) fn work(
    http: &mut Http,
    buffer: &str,
    claims: &mut ConsumerClaims,
    draw: &dyn Fn(u64, &str) -> u64,
    wrong: &mut Vec<String>,
) -> io::Result<Reply> {
    let path = path(buffer);
    if !claims.made {
        let mut settings = json!({ "lease_ms": LEASE_MS, "in_flight_max": MESSAGES_MAX });
        if buffer == TAGGED {
            settings["tags"] = json!([WANTED]);
        }
        let reply = http.put_json(&path, &settings.to_string())?;
        claims.made = reply.is_success();
        if !claims.made {
            return Ok(reply);
        }
    }
    let limit = 1 + draw(60, "leased");
    let reply = http.post(&format!("{path}/next?limit={limit}"), b"")?;
    let leased = if reply.status == 200 {
        leased(&reply)
    } else {
        Vec::new()
    };
    if leased.is_empty() {
        return Ok(reply);
    }
    let (mut acks, mut nacks, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for (seq, lease) in leased {
        if claims.acked.contains(&seq) {
            wrong.push(format!(
                "consumer of {buffer}: seq {seq} was acked and comes again"
            ));
        }
        let item = json!({ "seq": seq, "lease": lease });
        match draw(10, &format!("fate of {seq}")) {
            0 => {}
            1 => nacks.push(item),
            _ => {
                acks.push(item);
                sent.push(seq);
            }
        }
    }
    let body = json!({ "ack": acks, "nack": nacks }).to_string();
    let reply = http.post(&format!("{path}/acks"), body.as_bytes());
    claims.answered(&sent, reply.as_ref().ok());
    reply
}

impl ConsumerClaims {
    /// Takes down what came of acks.
    fn answered(&mut self, sent: &[u64], reply: Option<&Reply>) {
        let Some(reply) = reply.filter(|reply| reply.status == 200) else {
            self.tried.extend(sent);
            return;
        };
        let json = parse(reply);
        let results = json["ack"].as_array().map_or(&[][..], Vec::as_slice);
        for (seq, item) in sent.iter().zip(results) {
            // A lease that lapsed meanwhile is another worker's.
            if matches!(item["result"].as_str(), Some("acked" | "already-acked")) {
                self.acked.insert(*seq);
            }
        }
    }
}

/// Seqs and leases of what was handed out.
fn leased(reply: &Reply) -> Vec<(u64, String)> {
    let json = parse(reply);
    let messages = json["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let leased = messages.iter().filter_map(|message| {
        let lease = message["lease"].as_str()?.to_owned();
        Some((message["seq"].as_u64()?, lease))
    });
    leased.collect()
}

fn parse(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

/// Every consumer hands out what is left to do and nothing else. Nothing of it is acked. No worker
/// may have been at work since the server started.
pub(crate) fn check_consumers(
    http: &mut Http,
    ledger: &mut Ledger,
    go_on: &dyn Fn() -> bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (buffer, claims) in &mut ledger.consumers {
        if !go_on() {
            break;
        }
        // Retention may drop messages at any time: what is there afterwards was there before.
        let seen = look(http, buffer, go_on);
        let seen = seen.and_then(|seen| Ok((seen, read_all(http, buffer)?.unwrap_or_default())));
        match seen {
            Ok((None, _)) if claims.made => {
                wrong.push(format!("consumer of {buffer}: exists no more"));
            }
            Ok((None, _)) => {}
            Ok((Some(seen), records)) => {
                let why = claims.compare(buffer, &records, &seen);
                wrong.extend(why.iter().map(|why| format!("consumer of {buffer}: {why}")));
                claims.settle(&seen.handed);
            }
            Err(why) => wrong.push(format!("consumer of {buffer}: {why}")),
        }
    }
    wrong
}

/// Leases all that a consumer hands out and gives it back; `None` when it does not exist.
fn look(http: &mut Http, buffer: &str, go_on: &dyn Fn() -> bool) -> Result<Option<Seen>, String> {
    let path = path(buffer);
    if ask(go_on, &mut || http.get(&path))?.status == 404 {
        return Ok(None);
    }
    // What lapsed would come again before what is behind it, and a slow check would not get there.
    set_lease(http, &path, CHECKED_LEASE_MS, go_on)?;
    let next = format!("{path}/next?limit={LEASED_AT_ONCE}");
    let (mut seen, mut held) = (Seen::default(), Vec::new());
    for _ in 0..ANSWERS_MAX {
        let lot = leased(&good(ask(go_on, &mut || http.post(&next, b""))?)?);
        if lot.is_empty() {
            let reply = good(ask(go_on, &mut || http.get(&path))?)?;
            let member = &parse(&reply)["members"][0];
            let number = |name: &str| member[name].as_u64().ok_or_else(|| reply.text());
            (seen.cursor, seen.commit) = (number("cursor")?, number("commit")?);
            give_back(http, &path, &held, go_on)?;
            set_lease(http, &path, LEASE_MS, go_on)?;
            return Ok(Some(seen));
        }
        seen.handed.extend(lot.iter().map(|(seq, _)| seq));
        held.push(lot);
    }
    Err(format!("does not end within {ANSWERS_MAX} answers"))
}

fn set_lease(http: &mut Http, path: &str, ms: u64, go_on: &dyn Fn() -> bool) -> Result<(), String> {
    let settings = json!({ "lease_ms": ms }).to_string();
    good(ask(go_on, &mut || http.put_json(path, &settings))?).map(|_| ())
}

fn give_back(
    http: &mut Http,
    path: &str,
    lots: &[Vec<(u64, String)>],
    go_on: &dyn Fn() -> bool,
) -> Result<(), String> {
    for lot in lots {
        let items = lot.iter();
        let items = items.map(|(seq, lease)| json!({ "seq": seq, "lease": lease }));
        let body = json!({ "nack": items.collect::<Vec<_>>() }).to_string();
        let acks = format!("{path}/acks");
        good(ask(go_on, &mut || http.post(&acks, body.as_bytes()))?)?;
    }
    Ok(())
}

fn ask(
    go_on: &dyn Fn() -> bool,
    request: &mut dyn FnMut() -> io::Result<Reply>,
) -> Result<Reply, String> {
    patiently(go_on, request).map_err(|error| error.to_string())
}

fn good(reply: Reply) -> Result<Reply, String> {
    if reply.is_success() {
        return Ok(reply);
    }
    Err(format!("{}: {}", reply.status, reply.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(buffer: &str, lengths: &[usize]) -> Vec<Record> {
        let record = |(at, length): (usize, &usize)| Record {
            seq: at as u64 + 1,
            id: at.to_string(),
            body: [buffer.as_bytes(), &vec![b'.'; *length]].concat(),
        };
        lengths.iter().enumerate().map(record).collect()
    }

    fn seen(handed: &[u64], cursor: u64, commit: u64) -> Seen {
        let handed = handed.iter().copied().collect();
        Seen {
            handed,
            cursor,
            commit,
        }
    }

    #[test]
    fn each_broken_promise_of_a_consumer_is_found() {
        let mut claims = ConsumerClaims {
            made: true,
            acked: [1, 3].into(),
            tried: [4].into(),
        };
        let four = records("b", &[0; 4]);
        for good in [seen(&[2, 4], 1, 4), seen(&[2], 1, 4)] {
            assert_eq!(claims.compare("b", &four, &good), [""; 0]);
        }
        for (bad, why) in [
            (seen(&[2, 3], 1, 4), "seq 3 was acked"),
            (seen(&[4], 1, 4), "seq 2 was not acked"),
            (seen(&[2, 5], 1, 4), "the last one is 4"),
            (seen(&[2], 5, 4), "cursor is 5"),
            (seen(&[2], 1, 5), "commit 5"),
            (seen(&[2], 2, 4), "though its cursor is 2"),
        ] {
            let said = claims.compare("b", &four, &bad).join(", ");
            assert!(said.contains(why), "{bad:?}: {said}");
        }
        // What was not handed out must stay so.
        claims.settle(&[2].into());
        let said = claims.compare("b", &four, &seen(&[2, 4], 1, 4)).join(", ");
        assert!(said.contains("seq 4 was acked"), "{said}");
    }

    #[test]
    fn a_filter_must_hold() {
        let two = records(TAGGED, &[0, 1]);
        let odd = 1 + u64::from(!wants(TAGGED, &two[0].body));
        let claims = ConsumerClaims::default();
        let good = claims.compare(TAGGED, &two, &seen(&[odd], odd - 1, 2));
        assert_eq!(good, [""; 0]);
        let bad = claims
            .compare(TAGGED, &two, &seen(&[1, 2], 0, 2))
            .join(", ");
        assert!(bad.contains("does not match"), "{bad}");
    }
}
