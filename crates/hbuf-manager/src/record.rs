//! Commands and snapshots as records of the manager's log, in the one record format.
//!
//! A segment of the log is its head line, then the snapshot of everything before it (none in the
//! first segment), then commands: seq = index, epoch = term, no salt, no id. The pieces of a
//! snapshot carry the index up to which it reaches.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, Micros, Seq};
use hbuf_core::record::{Facts, Frame, Kind, Proof, Record, encode};

use crate::command::{Command, CommandError};

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its index.
    pub index: u64,
    /// The term of the voter that appended it.
    pub term: Epoch,
    /// When it was appended.
    pub time: Micros,
    /// The index minus the highest one known to be committed when it was framed.
    pub distance: u32,
}

/// What a record of the manager's log holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry<'a> {
    /// A command, to be applied at the record's seq.
    Command(Box<Command>),
    /// Rows of the snapshot that reaches up to the record's seq.
    Snapshot(&'a [u8]),
}

/// Why a record has no place in the manager's log. The node must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The record is of another kind.
    #[error(
        "the manager's log holds a record of the kind `{kind}` at index {index}, which this version of hbuf does not apply; start the version that wrote it, or a newer one"
    )]
    Kind {
        /// Its index.
        index: u64,
        /// Its kind.
        kind: &'static str,
    },
    /// The command cannot be read.
    #[error("index {index}: {why}")]
    Command {
        /// Its index.
        index: u64,
        /// What is wrong.
        why: CommandError,
    },
}

/// Appends a command's record.
pub fn encode_command(place: &Place, command: &Command, out: &mut Vec<u8>) {
    encode_entry(place, Kind::Command, &command.encode(), out);
}

/// Appends a record with a piece of a snapshot.
pub fn encode_snapshot(place: &Place, piece: &[u8], out: &mut Vec<u8>) {
    encode_entry(place, Kind::Snapshot, piece, out);
}

/// Appends a record of the log.
pub(crate) fn encode_entry(place: &Place, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    let frame = Frame {
        seq: Seq(place.index),
        time: place.time,
        epoch: place.term,
        distance: place.distance,
        rest: 0,
        facts: &Facts::of(kind),
        lines: b"",
        proof: Proof::None,
        body,
    };
    encode(&frame, out);
}

/// Reads what a record holds.
pub fn decode_entry<'a>(record: &Record<'a>) -> Result<Entry<'a>, EntryError> {
    let index = record.line.seq.0;
    match record.facts.kind {
        Kind::Command => match Command::decode(record.body) {
            Ok(command) => Ok(Entry::Command(Box::new(command))),
            Err(why) => Err(EntryError::Command { index, why }),
        },
        Kind::Snapshot => Ok(Entry::Snapshot(record.body)),
        kind => Err(EntryError::Kind {
            index,
            kind: kind.text(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use hbuf_core::ids::Uuid;
    use hbuf_core::record::decode;

    fn place() -> Place {
        Place {
            index: 7,
            term: Epoch(1),
            time: Micros(1_700_000_000_000_000),
            distance: 1,
        }
    }

    #[test]
    fn commands_and_snapshots_are_read_back_from_their_records() {
        let action = Action::FoundCluster {
            cluster: Uuid([1; 16]),
            version: 2,
        };
        let command = Command {
            client: Uuid([2; 16]),
            number: 1,
            time: Micros(3),
            action,
        };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        encode_command(&place(), &command, &mut one);
        encode_snapshot(&place(), b"rows\n", &mut two);
        let record = decode(&one).unwrap();
        assert_eq!((record.line.seq, record.line.epoch), (Seq(7), Epoch(1)));
        assert_eq!(decode_entry(&record), Ok(Entry::Command(Box::new(command))));
        assert_eq!(
            decode_entry(&decode(&two).unwrap()),
            Ok(Entry::Snapshot(b"rows\n"))
        );
    }

    #[test]
    fn a_record_of_another_kind_or_an_unknown_command_stops_the_node() {
        let mut bytes = Vec::new();
        encode_entry(&place(), Kind::Retain, b"", &mut bytes);
        let error = decode_entry(&decode(&bytes).unwrap()).unwrap_err();
        assert_eq!(
            error,
            EntryError::Kind {
                index: 7,
                kind: "retain"
            }
        );
        bytes.clear();
        let text =
            b"command: fold\nclient: 00000000-0000-4000-8000-000000000003\nnumber: 1\ntime: 1\n";
        encode_entry(&place(), Kind::Command, text, &mut bytes);
        let error = decode_entry(&decode(&bytes).unwrap()).unwrap_err();
        let unknown = CommandError::Unknown {
            name: "fold".into(),
        };
        assert_eq!(
            error,
            EntryError::Command {
                index: 7,
                why: unknown
            }
        );
    }
}
