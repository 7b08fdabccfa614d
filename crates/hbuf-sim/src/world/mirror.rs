//! The last buffer as a mirror of the first: a task that reads what is committed there, appends
//! what the core takes of it, and begins anew after every restart where the log ends.

use hbuf_core::append::{AckLevel, AppendRefused, AppendRequest, Item};
use hbuf_core::commitment::commitment;
use hbuf_core::effect::Write;
use hbuf_core::ids::{Epoch, Seq};
use hbuf_core::input::Input;
use hbuf_core::mirror::{Following, Mirror, Mirrored};
use hbuf_core::record::{
    Facts as RecordFacts, Frame, Kind as RecordKind, Proof, Record, decode, encode,
};

use super::{Due, World};
use crate::clients::{Ask, MIRROR};
use crate::draw::Purpose;
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::model::Content;
use crate::trace::EventId;

/// The origin.
const ORIGIN: usize = 0;
/// What the mirror takes.
const TAG: &[u8] = b"b";

/// The mirror's task.
#[derive(Clone, Debug, Default)]
pub(crate) struct MirrorTask {
    /// Where it stands, in this life of the node.
    mirror: Option<(u64, Mirror)>,
    turns: u64,
}

impl World<'_> {
    /// The buffer that is a mirror, if the plan has one.
    pub(super) const fn mirror(&self) -> Option<usize> {
        match self.plan.mirror {
            true => Some(self.plan.buffers - 1),
            false => None,
        }
    }

    pub(super) fn mirror_turn(&mut self, cause: EventId) {
        let Some(buffer) = self.mirror() else { return };
        if self.draining {
            return;
        }
        self.mirror_task.turns += 1;
        let turn = self.mirror_task.turns;
        let draw = |ordinal| self.draws.draw(Purpose::Mirror, turn, ordinal);
        let (after, most) = (draw(0).within(200, 3_000), draw(1).within(1, 12));
        self.due(cause, after, Due::Mirror);
        let under_way = self.asks.values().any(|ask| ask.client == MIRROR);
        let uuid = self.registry.uuid(buffer);
        if under_way || !self.node.started || self.node.shard.buffer(&uuid).is_none() {
            return;
        }
        let mut mirror = self.mirror_of_this_life(buffer);
        let records = self.origin_records(mirror.place(), most);
        let decoded: Vec<Record<'_>> = records
            .iter()
            .map(|bytes| decode(bytes).expect("it was just framed"))
            .collect();
        let taken = mirror.offer(decoded.iter());
        let life = self.life;
        self.mirror_task.mirror = Some((life, mirror));
        if taken.records.is_empty() {
            return;
        }
        let contents: Vec<Content> = taken
            .places
            .iter()
            .map(|place| self.copy(&decoded[*place], life))
            .collect();
        let mirrored = Mirrored {
            of: self.registry.uuid(ORIGIN),
            records: taken.records,
        };
        self.append_mirrored(cause, buffer, contents, mirrored);
    }

    /// Where the task stands: what it knew in an earlier life is gone.
    fn mirror_of_this_life(&mut self, buffer: usize) -> Mirror {
        if let Some((life, mirror)) = self.mirror_task.mirror.take()
            && life == self.life
        {
            return mirror;
        }
        let (mirror, origin) = (self.registry.uuid(buffer), self.registry.uuid(ORIGIN));
        let log = self.node.shard.buffer(&mirror);
        let last = log.and_then(|log| log.mirrored_through(&origin));
        let following = Following {
            of: origin,
            after: Seq::ZERO,
            tags: [TAG.into()].into(),
        };
        Mirror::resume(following, last, &self.rules())
    }

    /// The committed records of the origin behind a place, framed as they were.
    fn origin_records(&self, after: Seq, most: u64) -> Vec<Vec<u8>> {
        let model = &self.models[ORIGIN];
        let after = after.max(model.first.prev());
        let through = model.commit.min(Seq(after.0 + most));
        (after.0 + 1..=through.0)
            .map(|seq| {
                self.framed_again(ORIGIN, Seq(seq))
                    .expect("it is committed")
            })
            .collect()
    }

    /// A message of the log, framed as it was.
    pub(super) fn framed_again(&self, buffer: usize, seq: Seq) -> Option<Vec<u8>> {
        let entry = self.models[buffer].entry(seq)?;
        let mut bytes = Vec::new();
        let frame = Frame {
            seq,
            time: entry.time,
            epoch: Epoch(1),
            distance: 1,
            rest: u16::try_from(entry.batch_last.0 - seq.0).expect("batches are short"),
            facts: &RecordFacts::default(),
            lines: &entry.content.lines,
            proof: Proof::Salted {
                salt: entry.content.salt,
                id: entry.id,
            },
            body: &entry.content.body,
        };
        encode(&frame, &mut bytes);
        Some(bytes)
    }

    /// The content of a record under a salt of the mirror's own.
    fn copy(&self, record: &Record<'_>, life: u64) -> Content {
        let mut salt = [0; 32];
        for (ordinal, word) in (0..).zip(salt.chunks_exact_mut(8)) {
            let draw = self
                .draws
                .draw(Purpose::Mirror, record.line.seq.0, life * 8 + ordinal);
            word.copy_from_slice(&draw.0.to_be_bytes());
        }
        Content {
            lines: record.lines.into(),
            body: record.body.into(),
            salt,
        }
    }

    fn append_mirrored(
        &mut self,
        cause: EventId,
        buffer: usize,
        contents: Vec<Content>,
        mirrored: Mirrored,
    ) {
        let event = self.buffer_event(cause, Kind::AppendAsked, buffer);
        let item = |content: &Content| Item {
            kind: RecordKind::Data,
            lines_len: u32::try_from(content.lines.len()).expect("a few lines"),
            body_len: u32::try_from(content.body.len()).expect("a short body"),
            commitment: commitment(&content.salt, &content.lines, &content.body),
        };
        let request = AppendRequest {
            items: contents.iter().map(item).collect(),
            ack: AckLevel::InSync,
            if_match: None,
            producer: None,
            idem: None,
            stream: None,
            mirrored: Some(Box::new(mirrored)),
        };
        let ask = Ask {
            client: MIRROR,
            buffer,
            contents,
            ack: AckLevel::InSync,
            if_match: None,
            producer: None,
            idem: None,
            framed: None,
            letter: None,
        };
        let (buffer, token) = (self.registry.uuid(buffer), self.token());
        self.asks.insert(token, ask);
        let input = Input::Append {
            buffer,
            token,
            request,
        };
        self.shard(event, input);
    }

    /// What is framed in a mirror continues what its log holds, without a gap and without a double.
    pub(super) fn check_mirrored(&mut self, buffer: usize, write: &Write) {
        let Some(mirrored) = &write.mirrored else {
            return;
        };
        let origin = &self.models[ORIGIN];
        let wanted = |seq: &Seq| {
            let entry = origin.entry(*seq);
            entry.is_some_and(|entry| has_tag(&entry.content))
        };
        let last = self.models[buffer].last_mirrored();
        let mut due = last.next();
        let mut wrong = None;
        for copied in &mirrored.records {
            // What retention dropped before it was mirrored is no gap of the mirror.
            let skipped = (due.0..copied.seq.0)
                .map(Seq)
                .find(|seq| *seq >= origin.first && wanted(seq));
            if copied.seq < due || skipped.is_some() || !wanted(&copied.seq) {
                wrong = Some(format!(
                    "buffer {buffer}: {} of the origin is mirrored where {due} was due, past {skipped:?}",
                    copied.seq
                ));
                break;
            }
            due = copied.seq.next();
        }
        if let Some(what) = wrong {
            self.broke(Invariant::MirrorFollows, what);
        }
    }

    pub(super) fn mirror_answered(&mut self) {
        if let Some((_, mirror)) = &mut self.mirror_task.mirror {
            mirror.appended();
        }
    }

    pub(super) fn mirror_refused(&mut self, refused: &AppendRefused) {
        if let Some((_, mirror)) = &mut self.mirror_task.mirror {
            mirror.refused();
        }
        match refused {
            // The log was opened anew, and may end elsewhere.
            AppendRefused::NotOpen | AppendRefused::DiskFull | AppendRefused::DiskFailed => {
                self.mirror_task.mirror = None;
            }
            AppendRefused::Mirrored { last } => {
                let what = format!("the mirror has {last} of its origin and asked for less");
                self.broke(Invariant::MirrorFollows, what);
            }
            _ => {}
        }
    }
}

/// Whether the tags of a message let it through.
fn has_tag(content: &Content) -> bool {
    let lines = content.lines.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.strip_prefix(b"x-hbuf-tag: "))
        .any(|tags| {
            tags.split(|byte| *byte == b',')
                .any(|tag| tag.trim_ascii() == TAG)
        })
}
