//! Messages as bytes: what is written is read back, and whatever else comes is refused.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use ::raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};
use hbuf_core::limits::COMMAND_BYTES_MAX;
use proptest::prelude::*;

use super::world::{GROUP, disk_of};
use crate::raft::members::MemberChange;
use crate::raft::message::Body;
use crate::raft::{MemberId, Members, MessageError, PeerMessage};

fn wrapped(message: Message) -> PeerMessage {
    PeerMessage {
        group: GROUP,
        body: Body::Raft(Box::new(message)),
    }
}

fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    Entry {
        index,
        term,
        data: data.to_vec().into(),
        ..Entry::default()
    }
}

fn append(term: u64, index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
    let mut message = Message {
        from: 1,
        to: 2,
        term,
        index,
        log_term,
        commit: index,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgAppend);
    message.set_entries(entries.into());
    message
}

fn change() -> Entry {
    let change = MemberChange {
        learners: [MemberId(4)].into(),
        disks: [(MemberId(4), disk_of(4))].into(),
        ..MemberChange::default()
    };
    let mut entry = entry(8, 3, b"");
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    entry.context = change.encode().into();
    entry
}

fn snapshot() -> Message {
    let members = Members::founding(&[(MemberId(1), disk_of(1)), (MemberId(2), disk_of(2))].into());
    let mut message = append(3, 0, 0, vec![]);
    message.set_msg_type(MessageType::MsgSnapshot);
    let mut snapshot = Snapshot {
        data: [&members.encode()[..], b"\ncatalog\n"].concat().into(),
        ..Snapshot::default()
    };
    let meta = snapshot.mut_metadata();
    (meta.index, meta.term) = (20, 3);
    meta.set_conf_state(members.conf_state());
    message.set_snapshot(snapshot);
    message
}

fn back(message: &PeerMessage) -> PeerMessage {
    PeerMessage::decode(&message.encode()).unwrap()
}

#[test]
fn entries_changes_and_snapshots_are_read_back() {
    let mut leave = entry(9, 3, b"");
    leave.set_entry_type(EntryType::EntryConfChangeV2);
    let entries = vec![
        entry(7, 2, b"command: x\n"),
        change(),
        leave,
        entry(10, 3, b""),
    ];
    let whole = wrapped(append(3, 6, 2, entries));
    assert_eq!(back(&whole), whole);
    let whole = wrapped(snapshot());
    assert_eq!(back(&whole), whole);
    let removed = PeerMessage {
        group: GROUP,
        body: Body::Removed {
            from: MemberId(1),
            to: MemberId(3),
            term: 9,
        },
    };
    assert_eq!(back(&removed), removed);
}

#[test]
fn what_the_library_encodes_of_a_change_does_not_travel() {
    let mut entry = change();
    entry.data = b"library's own bytes".to_vec().into();
    let read = back(&wrapped(append(3, 7, 2, vec![entry])));
    let Body::Raft(message) = read.body else {
        panic!("another kind");
    };
    assert!(message.get_entries()[0].data.is_empty());
}

#[test]
fn the_message_is_text_that_a_person_can_read() {
    let text = wrapped(append(3, 6, 2, vec![])).encode();
    let (first, rest) = core::str::from_utf8(&text)
        .unwrap()
        .split_once('\n')
        .unwrap();
    assert!(first.starts_with("raft 1 "), "{first}");
    let lines = "kind: append\ngroup: 07070707-0707-0707-0707-070707070707\n\
                 from: 1\nto: 2\nterm: 3\nlog-term: 2\nindex: 6\ncommit: 6\n\n";
    assert_eq!(rest, lines);
}

/// A message of fields as they stand, with a good first line.
fn framed(rest: &str) -> Vec<u8> {
    let crc = crc32c::crc32c(rest.as_bytes());
    format!("raft 1 {crc:08x} {}\n{rest}", rest.len()).into_bytes()
}

fn fields(more: &str) -> String {
    format!("kind: heartbeat\ngroup: {GROUP}\nfrom: 1\nto: 2\nterm: 3\n{more}\n")
}

#[test]
fn fields_of_a_newer_version_are_skipped_and_repeated_ones_refused() {
    assert!(PeerMessage::decode(&framed(&fields("mood: good\n"))).is_ok());
    assert!(PeerMessage::decode(&framed(&fields("commit: 1\ncommit: 2\n"))).is_err());
    assert!(PeerMessage::decode(&framed(&fields("mood: good\nmood: bad\n"))).is_err());
    let newer = PeerMessage::decode(b"raft 2 00000000 0\n");
    assert_eq!(newer, Err(MessageError::Version { version: 2 }));
}

#[test]
fn what_the_library_would_stumble_over_is_refused() {
    let bad = |text: String| PeerMessage::decode(&framed(&text)).unwrap_err();
    bad(fields("").replace("from: 1", "from: 0"));
    bad(fields("").replace("from: 1", "from: 2"));
    bad(fields("").replace("term: 3", "term: 0"));
    bad(fields("").replace("term: 3", "term: 4294967296"));
    bad(fields("").replace("heartbeat", "propose"));
    bad(fields("").replace("heartbeat", "snapshot"));
    bad(fields("commit: 9223372036854775809\n"));
    bad(fields("context: 0\n"));
    bad(fields("") + "POST /");
    for entries in [
        vec![entry(8, 3, b"")],
        vec![entry(7, 3, b""), entry(9, 3, b"")],
        vec![entry(7, 1, b"")],
        vec![entry(7, 4, b"")],
    ] {
        let message = wrapped(append(3, 6, 2, entries));
        let refused = PeerMessage::decode(&message.encode()).unwrap_err();
        assert!(
            matches!(refused, MessageError::Contradiction { .. }),
            "{refused}"
        );
    }
    let long = vec![0; COMMAND_BYTES_MAX + 1];
    let message = wrapped(append(3, 6, 2, vec![entry(7, 3, &long)]));
    assert!(matches!(
        PeerMessage::decode(&message.encode()),
        Err(MessageError::Entry(_))
    ));
    let claimed = PeerMessage::decode(b"raft 1 00000000 99999999999\n");
    assert!(matches!(claimed, Err(MessageError::TooLong { .. })));
}

#[test]
fn every_changed_byte_of_a_message_is_refused() {
    for message in [append(3, 7, 2, vec![change()]), snapshot()] {
        let bytes = wrapped(message).encode();
        for at in 0..bytes.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                assert!(PeerMessage::decode(&bytes).is_err(), "byte {at}");
            }
            assert!(PeerMessage::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}

proptest! {
    #[test]
    fn any_append_is_read_back(
        (index, log_term) in (0..1_u64 << 62, 0..1_000_u64),
        (commit, commit_term) in (0..1_u64 << 62, 0..1_000_u64),
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
        context in prop::collection::vec(any::<u8>(), 0..=64),
        (reject, hint) in (any::<bool>(), 0..1_u64 << 62),
    ) {
        // Text that starts as a change of members is one, and no command.
        prop_assume!(bodies.iter().all(|body| !body.starts_with(b"command: change")));
        let entries = (index + 1..).zip(&bodies).map(|(at, body)| entry(at, log_term + 1, body));
        let mut message = append(log_term + 2, index, log_term, entries.collect());
        (message.commit, message.commit_term) = (commit, commit_term);
        (message.reject, message.reject_hint) = (reject, hint);
        message.context = context.into();
        let message = wrapped(message);
        prop_assert_eq!(back(&message), message);
    }

    #[test]
    fn any_bytes_are_refused_and_nothing_panics(
        rest in prop::collection::vec(any::<u8>(), 0..300),
        text in "kind: (append|snapshot|vote)\n(group: [0-9a-f-]{36}\n)?(from: [0-9]\n)?[ -~\n]{0,90}",
    ) {
        prop_assert!(PeerMessage::decode(&rest).is_err());
        let framed_bytes = framed(&text);
        let _ = PeerMessage::decode(&framed_bytes);
    }
}
