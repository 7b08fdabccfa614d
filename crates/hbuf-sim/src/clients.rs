//! Clients: what each sends, what it waits for, what it repeats.

use hbuf_core::append::{AckLevel, AppendRequest, Item};
use hbuf_core::commitment::commitment;
use hbuf_core::consumer::Letter;
use hbuf_core::ids::{Hash, Micros, Seq};
use hbuf_core::record::{Facts, Frame, Kind, Producer, Proof, encode};
use hbuf_core::time::{self, TIME_LEN};

use crate::draw::{Draws, Purpose, mix};
use crate::model::{Content, DedupeKey};
use crate::plan::Plan;

/// A client; it waits for one answer at a time.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// What it must send again: it does not know whether it was stored.
    pub(crate) again: Option<Ask>,
    /// Its producer's epoch and next number, a buffer each.
    pub(crate) producers: Vec<(u32, u64)>,
    pub(crate) turns: u64,
}

/// The client that is the mirror's task and none of the others.
pub(crate) const MIRROR: usize = usize::MAX;
/// The client that puts dead letters away.
pub(crate) const LETTERS: usize = usize::MAX - 1;

/// An append that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) client: usize,
    pub(crate) buffer: usize,
    pub(crate) contents: Vec<Content>,
    pub(crate) ack: AckLevel,
    pub(crate) if_match: Option<Seq>,
    pub(crate) producer: Option<Producer>,
    pub(crate) idem: Option<Hash>,
    /// Where the shard put it, when it did so for this ask.
    pub(crate) framed: Option<(Seq, Seq)>,
    /// The dead letter that it is.
    pub(crate) letter: Option<Letter>,
}

impl Client {
    pub(crate) fn new(buffers: usize) -> Self {
        Self {
            again: None,
            producers: vec![(1, 0); buffers],
            turns: 0,
        }
    }
}

impl Ask {
    /// A client's next append.
    pub(crate) fn new(
        draws: &Draws,
        plan: &Plan,
        place: (usize, usize),
        client: &Client,
        (end, now): (Seq, Micros),
    ) -> Self {
        let (number, buffer) = place;
        let turn = mix(number as u64, client.turns);
        let draw = |ordinal| draws.draw(Purpose::Workload, turn, ordinal);
        let count = if draw(1).percent(plan.batches) {
            draw(2).within(2, 6)
        } else {
            1
        };
        let contents = (0..count)
            .map(|index| content(draws, plan, mix(turn, index), now))
            .collect();
        let ack = match draw(3).below(100) {
            0..70 => AckLevel::InSync,
            70..85 => AckLevel::Local,
            _ => AckLevel::None,
        };
        let (epoch, next) = client.producers[buffer];
        let producer = draw(4).percent(plan.producers).then(|| Producer {
            id: format!("c{number}").into(),
            epoch: u64::from(epoch),
            number: next,
        });
        let keyed = producer.is_none() && draw(5).percent(plan.keys);
        let idem = keyed.then(|| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&draw(6).0.to_be_bytes());
            Hash(bytes)
        });
        let if_match = draw(7)
            .percent(plan.matches)
            .then(|| Seq(end.0.saturating_sub(draw(8).below(2))));
        Self {
            client: number,
            buffer,
            contents,
            ack,
            if_match,
            producer,
            idem,
            framed: None,
            letter: None,
        }
    }

    /// What repeats this append.
    pub(crate) fn keys(&self) -> Vec<DedupeKey> {
        let producer = self.producer.clone().map(DedupeKey::Producer);
        producer
            .into_iter()
            .chain(self.idem.map(DedupeKey::Idem))
            .collect()
    }

    /// Whether it may be sent again without being stored twice.
    pub(crate) const fn is_repeatable(&self) -> bool {
        self.producer.is_some() || self.idem.is_some()
    }

    /// The request, with these contents.
    pub(crate) fn request(&self, contents: &[Content]) -> AppendRequest {
        let item = |content: &Content| Item {
            kind: Kind::Data,
            lines_len: u32::try_from(content.lines.len()).expect("a few lines"),
            body_len: u32::try_from(content.body.len()).expect("a short body"),
            commitment: commitment(&content.salt, &content.lines, &content.body),
        };
        AppendRequest {
            items: contents.iter().map(item).collect(),
            ack: self.ack,
            if_match: self.if_match,
            producer: self.producer.clone(),
            idem: self.idem,
            stream: None,
            mirrored: None,
        }
    }
}

/// A message. Some bodies hold a whole record, to see that nobody takes it for one.
fn content(draws: &Draws, plan: &Plan, entity: u64, now: Micros) -> Content {
    let draw = draws.draw(Purpose::Content, entity, 0);
    let mut salt = [0; 32];
    for (ordinal, word) in (0..).zip(salt.chunks_exact_mut(8)) {
        word.copy_from_slice(&draws.draw(Purpose::Salt, entity, ordinal).0.to_be_bytes());
    }
    let lines = lines(draws, entity, now);
    let body = if draw.next().percent(3) {
        planted(entity)
    } else {
        plain(plan, entity, draws)
    };
    Content {
        lines: lines.into(),
        body: body.into(),
        salt,
    }
}

/// Header lines in the order in which they are stored.
fn lines(draws: &Draws, entity: u64, now: Micros) -> Vec<u8> {
    let draw = |ordinal| draws.draw(Purpose::Content, entity, ordinal);
    let mut lines = String::new();
    if draw(4).percent(50) {
        lines += &format!("x-hbuf-key: k{}\r\n", draw(5).below(4));
    }
    if draw(3).percent(40) {
        lines += ["x-hbuf-tag: b\r\n", "x-hbuf-tag: b, c\r\n"][usize::from(draw(6).percent(30))];
    }
    if draw(0).percent(50) {
        lines += "content-type: text/plain\r\n";
    }
    if draw(7).percent(6) {
        let mut text = [0; TIME_LEN];
        let at = now.0 + draw(8).within(1, 60_000);
        time::write(Micros(at), &mut text);
        let text = String::from_utf8_lossy(&text);
        lines += &format!("x-hbuf-deliver-at: {text}\r\n");
    }
    lines.into_bytes()
}

fn plain(plan: &Plan, entity: u64, draws: &Draws) -> Vec<u8> {
    let length = draws
        .draw(Purpose::Content, entity, 1)
        .below(plan.body_max + 1);
    let word = draws.draw(Purpose::Content, entity, 2).0;
    (0..length)
        .map(|at| b'a' + u8::try_from((word >> (at % 56)) % 26).unwrap_or(0))
        .collect()
}

/// A record in a body, with a seq and a known commit that a scan would like to believe.
fn planted(entity: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = Frame {
        seq: Seq(entity % 300 + 2),
        time: Micros(1_767_225_600_000_000),
        epoch: hbuf_core::ids::Epoch(1),
        distance: 1,
        rest: 0,
        facts: &Facts::default(),
        lines: b"",
        proof: Proof::Salted {
            salt: [7; 32],
            id: Hash([7; 32]),
        },
        body: b"planted",
    };
    encode(&frame, &mut bytes);
    bytes
}
