//! A buffer asked directly: promises of time, and what a mirror takes.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::{Buffer, CursorsEnd, Opening, parse_retain};
use crate::append::{AckLevel, AppendRefused, AppendRequest, Item};
use crate::effect::{Effect, Parts, Write};
use crate::ids::{Epoch, Hash, Micros, NodeId, Seq, Uuid};
use crate::input::{BufferConfig, BufferState, DiskHealth, Input, Token};
use crate::limits::{ASK_AGAIN_MICROS, PENDING_APPENDS_MAX};
use crate::mirror::{Copied, Mirrored};
use crate::record::{Kind, decode};
use crate::replication::{Assignment, Event, NodeEpoch, Wish};
use crate::retention::SegmentFacts;
use crate::rules::Rules;
use crate::segment::{self, LogKind};
use crate::shard::Shard;
use crate::tree::Frontier;

const BUFFER: Uuid = Uuid([1; 16]);
const ORIGIN: Uuid = Uuid([7; 16]);

/// An empty buffer.
fn opening(follows: Option<Uuid>) -> Opening {
    Opening {
        buffer: BUFFER,
        log: BUFFER,
        history: BUFFER,
        node: NodeId(1),
        node_epoch: NodeEpoch(1),
        assignment: Arc::new(Assignment::solo(NodeId(1), NodeEpoch(1), Epoch(1), BUFFER)),
        epochs: Vec::new(),
        first: Seq::FIRST,
        end: Seq::ZERO,
        known_commit: Seq::ZERO,
        last_time: Micros(10),
        frontier: Frontier::new(),
        segments: Vec::new(),
        cursors: CursorsEnd::default(),
        consumers: Default::default(),
        producers: Default::default(),
        keys: Default::default(),
        stream: None,
        config: BufferConfig {
            follows,
            ..BufferConfig::default()
        },
        state: BufferState::Open,
        damaged: None,
        sealed: false,
        mark_generation: 0,
        marked: None,
        fence: 0,
    }
}

/// A shard with one empty buffer.
fn shard(follows: Option<Uuid>) -> Shard {
    let mut shard = Shard::new(Rules::correct());
    let open = Input::Open(Box::new(opening(follows)));
    shard.handle(Micros(0), open, &mut Vec::new());
    shard
}

fn handle(shard: &mut Shard, now: u64, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    shard.handle(Micros(now), input, &mut effects);
    effects
}

/// Asks for a promise of time.
fn close(shard: &mut Shard, now: u64) -> Option<Micros> {
    let (buffer, token) = (BUFFER, Token(1));
    match &handle(shard, now, Input::CloseTime { buffer, token })[..] {
        [Effect::TimeClosed { closed, .. }] => *closed,
        other => panic!("{other:?}"),
    }
}

/// Appends one message a record that is mirrored, or one of the buffer's own.
fn append(shard: &mut Shard, now: u64, mirrored: Option<Mirrored>) -> Result<Write, AppendRefused> {
    let item = Item {
        kind: Kind::Data,
        lines_len: 0,
        body_len: 1,
        commitment: Hash([3; 32]),
    };
    let count = mirrored.as_ref().map_or(1, |it| it.records.len());
    let request = AppendRequest {
        items: vec![item; count],
        ack: AckLevel::InSync,
        if_match: None,
        producer: None,
        idem: None,
        stream: None,
        mirrored: mirrored.map(Box::new),
    };
    let (buffer, token) = (BUFFER, Token(2));
    let input = Input::Append {
        buffer,
        token,
        request,
    };
    for effect in handle(shard, now, input) {
        match effect {
            Effect::Write(write) => return Ok(write),
            Effect::Reply {
                outcome: Err(refused),
                ..
            } => return Err(refused),
            _ => {}
        }
    }
    panic!("an append is framed or refused")
}

fn mirrored(of: Uuid, seqs: &[u64]) -> Option<Mirrored> {
    let copied = |seq: &u64| Copied {
        seq: Seq(*seq),
        id: Hash([9; 32]),
        kind: Kind::Data,
    };
    let records = seqs.iter().map(copied).collect();
    Some(Mirrored { of, records })
}

#[test]
fn messages_behind_a_closed_time_are_no_earlier_whatever_the_clock_says() {
    let mut shard = shard(None);
    assert_eq!(close(&mut shard, 5), Some(Micros(10)), "the log is further");
    assert_eq!(close(&mut shard, 100), Some(Micros(100)));
    let write = append(&mut shard, 50, None).unwrap();
    assert_eq!(write.time, Micros(100));
    assert_eq!(close(&mut shard, 200), None, "one is under way");
    let (buffer, log, through) = (BUFFER, LogKind::Messages, Seq(1));
    let synced = Input::Synced {
        buffer,
        log,
        through,
        journal: 0,
    };
    handle(&mut shard, 201, synced);
    assert_eq!(close(&mut shard, 202), Some(Micros(202)));
}

/// The file before goes as soon as the new one is durable, and with it what it said.
#[test]
fn a_new_cursors_file_says_what_is_kept_though_nobody_acted_on_it_yet() {
    let mut buffer = Buffer::open(&Rules::correct(), opening(None));
    let mut effects = Vec::new();
    buffer.retain(Seq(5), Micros(1), &mut effects);
    let rolled = loop {
        effects.clear();
        buffer.write_cursor(Kind::Cursor, vec![b'x'; 4096], Micros(2), &mut effects);
        if let [Effect::WriteBytes(write)] = &effects[..]
            && write.offset == 0
        {
            break write.bytes.clone();
        }
    };
    let (_, position) = segment::open(&*rolled).unwrap();
    let mut kept = Vec::new();
    segment::walk(&*rolled, position, |_, record| {
        kept.extend(parse_retain(record.body));
    })
    .unwrap();
    assert_eq!(kept, [Seq(5)]);
}

#[test]
fn a_mirror_takes_records_of_its_origin_each_once_and_nothing_else() {
    let mut shard = shard(Some(ORIGIN));
    let refused = append(&mut shard, 1, None).unwrap_err();
    assert_eq!(refused, AppendRefused::IsMirror);
    let other = Uuid([8; 16]);
    let refused = append(&mut shard, 1, mirrored(other, &[4])).unwrap_err();
    assert_eq!(refused, AppendRefused::NotFollowed { of: other });
    append(&mut shard, 1, mirrored(ORIGIN, &[4, 7])).unwrap();
    for again in [&[4][..], &[7], &[7, 8]] {
        let refused = append(&mut shard, 1, mirrored(ORIGIN, again)).unwrap_err();
        assert_eq!(refused, AppendRefused::Mirrored { last: Seq(7) });
    }
    append(&mut shard, 1, mirrored(ORIGIN, &[8])).unwrap();
    let log = shard.buffer(&BUFFER).unwrap();
    assert_eq!(log.mirrored_through(&ORIGIN), Some(Seq(8)));
    let mut plain = self::shard(None);
    let refused = append(&mut plain, 1, mirrored(ORIGIN, &[4])).unwrap_err();
    assert_eq!(refused, AppendRefused::NotFollowed { of: ORIGIN });
}

#[test]
fn each_record_of_a_mirrored_batch_says_where_it_is_from() {
    let mut shard = shard(Some(ORIGIN));
    let write = append(&mut shard, 1, mirrored(ORIGIN, &[4, 7])).unwrap();
    let mut bytes = Vec::new();
    let part = Parts {
        lines: b"",
        salt: [5; 32],
        body: b"x",
    };
    write.encode([part; 2].into_iter(), &mut bytes);
    assert_eq!(
        bytes.len() as u64,
        write.bytes,
        "the core knows every length"
    );
    let first = bytes.len() - (write.placed[1].head_len as usize + 3);
    for (record, seq) in [(&bytes[..first], 4), (&bytes[first..], 7)] {
        let record = decode(record).unwrap();
        let origin = record.facts.origin.unwrap();
        assert_eq!((origin.buffer, origin.seq), (ORIGIN, Seq(seq)));
        assert_eq!(record.facts.origin_id, Some(Hash([9; 32])));
    }
}

/// Its head may be in the journal, which brings it back at the next start.
#[test]
fn a_cut_back_keeps_a_segment_without_a_message_whose_head_is_durable() {
    let mut shard = Shard::new(Rules::correct());
    let mut opening = opening(None);
    opening.config.retention.age_micros = Some(1);
    let open = Input::Open(Box::new(opening));
    shard.handle(Micros(0), open, &mut Vec::new());
    append(&mut shard, 20, None).unwrap();
    let synced = |shard: &mut Shard, now| {
        let synced = Input::Synced {
            buffer: BUFFER,
            log: LogKind::Messages,
            through: Seq(1),
            journal: 0,
        };
        handle(shard, now, synced)
    };
    synced(&mut shard, 30);
    let begun = handle(&mut shard, 1_000, Input::Retention);
    let head = begun.iter().find_map(|effect| match effect {
        Effect::WriteBytes(write) if write.log == LogKind::Messages => Some(write),
        _ => None,
    });
    let head = head.expect("the expired segment is left for an empty one");
    assert_eq!((head.file, head.offset), (Seq(2), 0));
    let length = head.bytes.len() as u64;
    let cut = |shard: &mut Shard| {
        append(shard, 1_100, None).unwrap();
        let effects = handle(shard, 1_200, Input::WriteFailed { buffer: BUFFER });
        effects.into_iter().find_map(|effect| match effect {
            Effect::Reopen { file, offset, .. } => Some((file, offset)),
            _ => None,
        })
    };
    synced(&mut shard, 1_050);
    assert_eq!(cut(&mut shard), Some((Seq(2), length)));
}

#[test]
fn as_many_appends_wait_as_may_and_one_more_is_refused() {
    let mut shard = shard(None);
    for _ in 0..PENDING_APPENDS_MAX {
        append(&mut shard, 50, None).unwrap();
    }
    let waiting = PENDING_APPENDS_MAX;
    let busy = Err(AppendRefused::Busy { waiting });
    assert_eq!(append(&mut shard, 50, None), busy);
    let synced = Input::Synced {
        buffer: BUFFER,
        log: LogKind::Messages,
        through: Seq(1),
        journal: 0,
    };
    handle(&mut shard, 51, synced);
    assert_eq!(
        append(&mut shard, 52, None).unwrap().first,
        Seq(waiting as u64 + 1)
    );
    assert_eq!(append(&mut shard, 52, None), busy);
}

#[test]
fn the_last_seq_is_given_and_none_behind_it() {
    let end = Seq::MAX.prev();
    let nodes = vec![Hash([5; 32]); end.0.count_ones() as usize];
    let opening = Opening {
        end,
        frontier: Frontier::from_parts(end.0, nodes).unwrap(),
        sealed: true,
        segments: vec![SegmentFacts {
            first: end,
            bytes: 500,
            last_time: Micros(9),
        }],
        ..opening(None)
    };
    let mut shard = Shard::new(Rules::correct());
    shard.handle(Micros(0), Input::Open(Box::new(opening)), &mut Vec::new());
    assert_eq!(append(&mut shard, 50, None).unwrap().first, Seq::MAX);
    assert_eq!(
        append(&mut shard, 51, None),
        Err(AppendRefused::SeqExhausted)
    );
}

/// A copy on node 1 that is appointed, before or after its disk failed; whether it is to lead.
fn appointed_on(health: DiskHealth) -> bool {
    let copies = [(NodeId(2), NodeEpoch(1)), (NodeId(1), NodeEpoch(1))];
    let assignment = Assignment::new(BUFFER, &copies, 1);
    let mut shard = Shard::new(Rules::correct());
    let open = Opening {
        assignment: Arc::new(assignment.clone()),
        ..opening(None)
    };
    handle(&mut shard, 0, Input::Open(Box::new(open)));
    handle(&mut shard, 1, Input::Disk(health));
    let mut assignment = assignment;
    (assignment.primary, assignment.epoch) = (Some(NodeId(1)), Epoch(2));
    assignment.version += 1;
    let (buffer, event) = (BUFFER, Event::Decided(Arc::new(assignment.clone())));
    let effects = handle(&mut shard, 2, Input::Replication { buffer, event });
    let promotes = |effect: &Effect| {
        let Effect::Replication { wish, .. } = effect else {
            return false;
        };
        matches!(wish, Wish::Promote)
    };
    let promoted = effects.iter().any(promotes);
    // What is read all the same, because it was asked for before, opens nothing either.
    let open = Opening {
        assignment: Arc::new(assignment),
        ..opening(None)
    };
    handle(&mut shard, 3, Input::Open(Box::new(open)));
    assert_eq!(promoted, shard.buffer(&BUFFER).is_some());
    promoted
}

#[test]
fn a_copy_on_a_disk_that_failed_leads_nothing() {
    assert!(appointed_on(DiskHealth::Sound));
    assert!(!appointed_on(DiskHealth::Failed));
}

/// How often the manager is told of damage by what these effects say.
fn told(effects: &[Effect]) -> usize {
    let tells = |effect: &&Effect| {
        let Effect::Replication { wish, .. } = effect else {
            return false;
        };
        matches!(wish, Wish::TellDamaged(_))
    };
    effects.iter().filter(tells).count()
}

#[test]
fn the_manager_is_told_of_damage_until_its_record_says_that_it_knows() {
    let copies = [(NodeId(1), NodeEpoch(1)), (NodeId(2), NodeEpoch(1))];
    let mut assignment = Assignment::new(BUFFER, &copies, 1);
    let mut shard = Shard::new(Rules::correct());
    let open = Opening {
        assignment: Arc::new(assignment.clone()),
        ..opening(None)
    };
    handle(&mut shard, 0, Input::Open(Box::new(open)));
    let buffer = BUFFER;
    let event = |event| Input::Replication { buffer, event };
    assert_eq!(told(&handle(&mut shard, 1, event(Event::Damaged))), 1);
    assert_eq!(told(&handle(&mut shard, 2, Input::CopiesDue)), 0);
    let later = 1 + ASK_AGAIN_MICROS;
    assert_eq!(told(&handle(&mut shard, later, Input::CopiesDue)), 1);

    // Somebody else is appointed for another reason: what is damaged here stays so.
    (assignment.primary, assignment.epoch) = (Some(NodeId(2)), Epoch(2));
    assignment.version += 1;
    let decided = Event::Decided(Arc::new(assignment.clone()));
    handle(&mut shard, later, event(decided));
    assert!(shard.copy(&BUFFER).unwrap().damaged());
    let later = later + ASK_AGAIN_MICROS;
    assert_eq!(told(&handle(&mut shard, later, Input::CopiesDue)), 1);

    assert!(assignment.found_damaged(NodeId(1)));
    let decided = Event::Decided(Arc::new(assignment));
    handle(&mut shard, later, event(decided));
    let later = later + ASK_AGAIN_MICROS;
    assert_eq!(told(&handle(&mut shard, later, Input::CopiesDue)), 0);
}
