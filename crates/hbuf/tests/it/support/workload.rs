//! Clients that append, create, delete and read at once, each with a ledger of its own.
//!
//! What a client does next is a keyed draw; when it happens is up to the machine. So a seed gives
//! the same kind of run each time, not the same run: the checker needs no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::consuming::{self, CONSUMED, TAGGED};
use super::derived::{MIRROR, ORIGIN};
use super::http::{Http, Reply};
use super::ledger::{Keyed, Ledger, Life, Told};
use super::record;
use crate::power::draw::Draws;

/// Clients that run at once.
pub(crate) const CLIENTS: u64 = 8;
/// Buffers that share the load in turn, so that one commit touches many.
const SPREAD: u64 = 48;
/// Segments so small that they roll all the time.
const SMALL_SEGMENT: &str = r#"{"segment_bytes": 65536}"#;
/// Smaller still, and old ones are dropped.
const TRIMMED: &str = r#"{"segment_bytes": 8192, "retention_count": 100}"#;
/// The count in `TRIMMED`.
const TRIMMED_COUNT: u64 = 100;
/// So busy that its segments are written ahead, and full soon after they are.
const BUSY: &str = "busy";
/// A growing segment must take more syncs than these bytes, or the buffer does not count as busy.
const BUSY_SEGMENT: &str = r#"{"segment_bytes": 307200}"#;
/// Clients of a run with a busy buffer: with more of them a sync would cover too many bytes.
const BUSY_CLIENTS: u64 = 4;

/// What is in flight or done, by kind: what a cut or a kill can hit.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    pub(crate) singles: AtomicU64,
    pub(crate) batches: AtomicU64,
}

/// One client's plan.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) draws: Draws,
    pub(crate) client: u64,
    /// Distinguishes bodies and buffers of the rounds of one seed.
    pub(crate) round: u64,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) flight: Arc<Flight>,
    /// Few clients, nearly all of whose appends go to one buffer.
    pub(crate) busy: bool,
}

/// Starts the clients; each returns its ledger when `stop` is set or the server is gone.
pub(crate) fn start(plan: &Plan) -> Vec<std::thread::JoinHandle<Ledger>> {
    (0..if plan.busy { BUSY_CLIENTS } else { CLIENTS })
        .map(|client| {
            let plan = Plan {
                client,
                ..plan.clone()
            };
            std::thread::spawn(move || run(plan))
        })
        .collect()
}

/// Merges what the clients were told into `ledger`.
pub(crate) fn finish(clients: Vec<std::thread::JoinHandle<Ledger>>, ledger: &mut Ledger) {
    for client in clients {
        ledger.merge(client.join().expect("a client panicked"));
    }
}

fn run(plan: Plan) -> Ledger {
    let http = Http::new(plan.address);
    let mut client = Client {
        plan,
        http,
        ledger: Ledger::default(),
        step: 0,
        own: None,
        seen: Vec::new(),
    };
    while !client.plan.stop.load(Ordering::Relaxed) {
        client.step += 1;
        if !client.step_once() {
            break;
        }
    }
    client.ledger
}

struct Client {
    plan: Plan,
    http: Http,
    ledger: Ledger,
    step: u64,
    /// A buffer that only this client uses, to be deleted again.
    own: Option<String>,
    /// How far the reader came, by buffer.
    seen: Vec<(String, u64)>,
}

impl Client {
    /// One request or two; false when the server is gone.
    fn step_once(&mut self) -> bool {
        if self.plan.busy && self.draw(16, "busy") > 0 {
            return self.append_to_busy();
        }
        match self.draw(100, "what") {
            0..=21 => self.append(self.spread_buffer(), 1),
            22..=25 => self.append(TAGGED.to_owned(), 1),
            26..=33 => self.consume(),
            34..=38 => self.append_to_stream(),
            39 => self.mirror(),
            40..=54 => self.append("main".to_owned(), 1),
            55..=66 => self.append_to_small(1),
            67..=75 => {
                let count = 2 + self.draw(40, "batch");
                self.append_to_small(count)
            }
            76..=79 => self.append_to_trimmed(),
            80..=87 => {
                let count = 2 + self.draw(12, "batch");
                self.append(self.spread_buffer(), count)
            }
            88..=93 => self.make_or_delete(),
            94..=96 => self.change_filter(),
            _ => self.read(),
        }
    }

    fn draw(&self, bound: u64, purpose: &str) -> u64 {
        self.plan
            .draws
            .below(bound, purpose, self.entity(), self.step)
    }

    fn entity(&self) -> u64 {
        self.plan.client << 32 | self.plan.round
    }

    fn spread_buffer(&self) -> String {
        format!("spread-{:03}", self.draw(SPREAD, "buffer"))
    }

    /// Appends to a buffer whose segments are so small that they roll all the time.
    fn append_to_small(&mut self, count: u64) -> bool {
        let name = format!("small-{}", self.plan.client % 2);
        if self.ledger.buffer(&name).life == Life::CreateTried
            && !self.configure(&name, SMALL_SEGMENT)
        {
            return false;
        }
        self.append(name, count)
    }

    fn append_to_busy(&mut self) -> bool {
        let new = self.ledger.buffer(BUSY).life == Life::CreateTried;
        (!new || self.configure(BUSY, BUSY_SEGMENT)) && self.append(BUSY.to_owned(), 1)
    }

    /// Appends to a buffer whose old segments go.
    fn append_to_trimmed(&mut self) -> bool {
        let name = "trimmed".to_owned();
        let claims = self.ledger.buffer(&name);
        claims.keeps = Some(TRIMMED_COUNT);
        if claims.life == Life::CreateTried && !self.configure(&name, TRIMMED) {
            return false;
        }
        let count = 1 + self.draw(30, "batch");
        self.append(name, count)
    }

    /// Adds a line to a stream of its own.
    fn append_to_stream(&mut self) -> bool {
        let Plan { client, round, .. } = self.plan;
        let name = format!("lines-{client}");
        let path = format!("/v1/stream/{name}");
        let text = [("content-type", "text/plain")];
        if !self.ledger.streams.entry(name.clone()).or_default().made {
            let reply = self.http.send("PUT", &path, &text, b"");
            let made = matches!(&reply, Ok(reply) if reply.is_success());
            self.ledger.streams.entry(name.clone()).or_default().made = made;
            if !made {
                return self.goes_on(reply);
            }
        }
        let line = format!("{client}/{round}/{}", self.step);
        let claims = self.ledger.streams.entry(name).or_default();
        claims.tried.push(line.clone());
        let body = format!("{line}\n");
        let reply = self.http.send("POST", &path, &text, body.as_bytes());
        if matches!(&reply, Ok(reply) if reply.is_success()) {
            claims.told.push(line);
        }
        self.goes_on(reply)
    }

    /// Lets a buffer follow another one, which need not exist yet.
    fn mirror(&mut self) -> bool {
        if self.plan.client > 0 || self.ledger.mirror_made {
            return self.append(ORIGIN.to_owned(), 1);
        }
        let json = format!(r#"{{"mirror": {{"of": "{ORIGIN}", "from": "start"}}}}"#);
        let reply = self.http.put_json(&format!("/buffers/{MIRROR}"), &json);
        self.ledger.mirror_made = matches!(&reply, Ok(reply) if reply.is_success());
        matches!(&reply, Ok(reply) if reply.status == 404) || self.goes_on(reply)
    }

    /// Takes part in the work of a consumer.
    fn consume(&mut self) -> bool {
        let which = self.draw(CONSUMED.len() as u64, "consumed") as usize;
        let buffer = CONSUMED[which];
        let mut claims = self.ledger.consumers.remove(buffer).unwrap_or_default();
        let mut wrong = Vec::new();
        let (draws, step) = (self.plan.draws, self.step);
        let entity = self.entity();
        let draw = |bound, purpose: &str| draws.below(bound, purpose, entity, step);
        let reply = consuming::work(&mut self.http, buffer, &mut claims, &draw, &mut wrong);
        self.ledger.consumers.insert(buffer.to_owned(), claims);
        self.ledger.refused.extend(wrong);
        // Nobody has appended to the buffer yet.
        matches!(&reply, Ok(reply) if reply.status == 404) || self.goes_on(reply)
    }

    fn configure(&mut self, name: &str, json: &str) -> bool {
        self.ledger.buffer(name);
        let reply = self.http.put_json(&format!("/buffers/{name}"), json);
        if matches!(&reply, Ok(reply) if reply.is_success()) {
            self.ledger.buffer(name).life = Life::Exists;
        }
        self.goes_on(reply)
    }

    fn append(&mut self, name: String, count: u64) -> bool {
        let bodies: Vec<Vec<u8>> = (0..count).map(|index| self.body(&name, index)).collect();
        self.ledger.buffer(&name).tried.push(bodies.clone());
        let path = format!("/buffers/{name}");
        let flight = Arc::clone(&self.plan.flight);
        let kind = if count == 1 {
            &flight.singles
        } else {
            &flight.batches
        };
        kind.fetch_add(1, Ordering::Relaxed);
        let key = self.key(&name, &bodies);
        let reply = match (bodies.as_slice(), &key) {
            ([body], Some(key)) => self.http.post_once(&path, key, body),
            ([body], None) => {
                let tags = consuming::tags(&name, body);
                self.http.send("POST", &path, tags.as_slice(), body)
            }
            (bodies, _) => self.http.post_batch(&path, bodies),
        };
        if reply.is_ok() {
            kind.fetch_sub(1, Ordering::Relaxed);
        }
        if let Ok(reply) = &reply
            && reply.status == 201
        {
            self.told(&name, reply, bodies, key);
        }
        self.goes_on(reply)
    }

    /// The idempotency key of an append, if it gets one: in the buffers that roll, so that their
    /// keys outlive the segments.
    fn key(&self, name: &str, bodies: &[Vec<u8>]) -> Option<String> {
        let keyed = name == "trimmed" || name.starts_with("small");
        let [body] = bodies else { return None };
        let label = body.split(|byte| *byte == b' ').next().unwrap_or(body);
        (keyed && self.draw(2, "key") == 0).then(|| String::from_utf8_lossy(label).into_owned())
    }

    fn told(&mut self, name: &str, reply: &Reply, bodies: Vec<Vec<u8>>, key: Option<String>) {
        let first = reply.number("x-hbuf-seq").expect("a 201 says its seq");
        let single = bodies.len() == 1;
        let claims = self.ledger.buffer(name);
        claims.life = Life::Exists;
        claims.keyed.extend(key.map(|key| Keyed {
            key,
            seq: first,
            body: bodies[0].clone(),
        }));
        for (index, body) in bodies.into_iter().enumerate() {
            let id = reply
                .header("x-hbuf-id")
                .filter(|_| single)
                .map(str::to_owned);
            claims.told.push(Told {
                seq: first + index as u64,
                id,
                body,
            });
        }
    }

    /// Bodies are unique and say who sent them; some are larger than a sector, few than a page.
    fn body(&self, buffer: &str, index: u64) -> Vec<u8> {
        let Plan { client, round, .. } = self.plan;
        let mut body = format!("{buffer}/{round}/{client}/{}/{index} ", self.step).into_bytes();
        let length = match self.draw(20, "size") {
            _ if buffer == BUSY => 0,
            0 => 0,
            1 => 6_000,
            2..=6 => 900,
            _ => 120,
        };
        body.resize(body.len() + self.draw(length + 1, "length") as usize, b'.');
        body
    }

    /// Makes a buffer of its own, uses it, and deletes it the next time.
    fn make_or_delete(&mut self) -> bool {
        let Some(name) = self.own.take() else {
            let name = format!("own-{}-{}-{}", self.plan.client, self.plan.round, self.step);
            self.own = Some(name.clone());
            return self.configure(&name, SMALL_SEGMENT) && self.append(name, 3);
        };
        let life = &mut self.ledger.buffer(&name).life;
        let never_made = *life == Life::CreateTried;
        *life = Life::DeleteTried;
        let reply = self.http.delete(&format!("/buffers/{name}"));
        if never_made && matches!(&reply, Ok(reply) if reply.status == 404) {
            return true;
        }
        if matches!(&reply, Ok(reply) if reply.is_success()) {
            self.ledger.buffer(&name).life = Life::Deleted;
        }
        self.goes_on(reply)
    }

    /// Stores a filter, replaces it, or removes it.
    fn change_filter(&mut self) -> bool {
        let Plan { client, round, .. } = self.plan;
        let buffer = match self.draw(2, "filtered") {
            0 => "main".to_owned(),
            _ => format!("small-{}", client % 2),
        };
        let name = format!("f-{client}-{round}");
        let path = format!("/buffers/{buffer}/filters/{name}");
        let tags = match self.draw(4, "remove") {
            0 => 0,
            _ => self.step,
        };
        let key = (buffer, name);
        let claim = self
            .ledger
            .filters
            .entry(key.clone())
            .or_insert_with(|| vec![0]);
        claim.push(tags);
        let reply = if tags == 0 {
            self.http.delete(&path)
        } else {
            let lines: String = (0..tags).map(|tag| format!("tag-{tag}\n")).collect();
            self.http.put_text(&path, &lines)
        };
        match &reply {
            Ok(reply) if reply.is_success() => {
                self.ledger.filters.insert(key, vec![tags]);
            }
            // Nobody has appended to the buffer yet, or there is no such filter.
            Ok(reply) if reply.status == 404 => return true,
            Ok(_) | Err(_) => {}
        }
        self.goes_on(reply)
    }

    /// What a reader saw is committed: it must not vanish either.
    fn read(&mut self) -> bool {
        let name = match self.draw(3, "which") {
            0 => "main".to_owned(),
            1 => format!("small-{}", self.plan.client % 2),
            _ => self.spread_buffer(),
        };
        let known = self.seen.iter().position(|(seen, _)| *seen == name);
        let known = known.unwrap_or_else(|| {
            self.seen.push((name.clone(), 0));
            self.seen.len() - 1
        });
        let after = self.seen[known].1;
        let reply = self
            .http
            .get(&format!("/buffers/{name}/messages?after={after}&limit=200"));
        if matches!(&reply, Ok(reply) if reply.status == 404) {
            // Nobody has appended to it yet.
            return true;
        }
        if let Ok(reply) = &reply
            && reply.status == 200
        {
            let records = record::split(&reply.body).expect("a read is well formed");
            self.seen[known].1 = records.last().map_or(after, |record| record.seq);
            let claims = self.ledger.buffer(&name);
            for record::Record { seq, id, body } in records {
                claims.told.push(Told {
                    seq,
                    id: Some(id),
                    body,
                });
            }
        }
        self.goes_on(reply)
    }

    /// False when the connection broke or the server said that it takes no more.
    fn goes_on(&mut self, reply: std::io::Result<Reply>) -> bool {
        match reply {
            // Not taken now, and said so: the next step goes on.
            Ok(reply) if reply.text().contains("\"retry\":true") && reply.status < 500 => true,
            Ok(reply) if reply.text().contains(":buffer-opening\"") => true,
            Ok(reply) if (400..500).contains(&reply.status) => {
                self.ledger
                    .refused
                    .push(format!("{}: {}", reply.status, reply.text()));
                false
            }
            // Space may come back.
            Ok(reply) => reply.status < 500 || reply.status == 507,
            Err(_) => false,
        }
    }
}
