//! The head lines of a raw read of a topic: before each run of records of one buffer, which buffer
//! that is; behind the last one, where to go on.
//!
//! They are records of kind `run`, outside every numbering, and never stored.

use alloc::string::String;
use alloc::vec::Vec;

use crate::digits::push_uuid;
use crate::ids::{Epoch, Micros, Seq, Uuid};
use crate::record::{Facts, Frame, Kind, Proof, Record, encode};
use crate::segment::{Fields, push_field};

/// A head line of a raw read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunHead {
    /// The records up to the next head line are of this buffer.
    Run {
        /// The buffer.
        buffer: Uuid,
        /// Its history.
        history: Uuid,
        /// Seq of the first of them.
        first: Seq,
        /// Its server time.
        time: Micros,
    },
    /// The read ends here.
    End {
        /// Where to go on; nothing when the topic has more buffers than a cursor holds.
        cursor: Option<String>,
        /// Buffers of which something is missing, each as `<name>; reason=<reason>`.
        gaps: Vec<String>,
    },
}

impl RunHead {
    /// Appends the head line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let (seq, time, buffer) = match self {
            Self::Run {
                buffer,
                history,
                first,
                time,
            } => {
                push_field("history", &mut body, |out| push_uuid(history, out));
                (*first, *time, Some(*buffer))
            }
            Self::End { cursor, gaps } => {
                if let Some(cursor) = cursor {
                    push_field("cursor", &mut body, |out| {
                        out.extend_from_slice(cursor.as_bytes())
                    });
                }
                for gap in gaps {
                    push_field("gap", &mut body, |out| {
                        out.extend_from_slice(gap.as_bytes())
                    });
                }
                (Seq::ZERO, Micros(0), None)
            }
        };
        let facts = Facts {
            buffer,
            ..Facts::of(Kind::Run)
        };
        let frame = Frame {
            seq,
            time,
            epoch: Epoch(0),
            distance: 0,
            rest: 0,
            facts: &facts,
            lines: b"",
            proof: Proof::None,
            body: &body,
        };
        encode(&frame, out);
    }

    /// Reads a record of kind `run`; `None` when it is no such head line.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Option<Self> {
        if record.facts.kind != Kind::Run {
            return None;
        }
        let mut fields = Fields::new(record.body);
        let head = match record.facts.buffer {
            Some(buffer) => Self::Run {
                buffer,
                history: fields.uuid("history").ok()?,
                first: record.line.seq,
                time: record.line.time,
            },
            None => {
                let text = |value: &[u8]| core::str::from_utf8(value).ok().map(String::from);
                let cursor = fields.optional("cursor").map(text);
                let mut gaps = Vec::new();
                while let Some(gap) = fields.optional("gap") {
                    gaps.push(text(gap)?);
                }
                Self::End {
                    cursor: cursor.map_or(Some(None), |cursor| cursor.map(Some))?,
                    gaps,
                }
            }
        };
        fields.end().ok()?;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::decode;
    use crate::skim::skim;

    fn round_trip(head: &RunHead) {
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        let record = decode(&bytes).unwrap();
        assert_eq!(RunHead::of(&record).as_ref(), Some(head));
        assert_eq!(skim(&bytes).unwrap().record_len(), bytes.len() as u64);
    }

    #[test]
    fn heads_are_records_that_read_back() {
        round_trip(&RunHead::Run {
            buffer: Uuid([1; 16]),
            history: Uuid([2; 16]),
            first: Seq(42),
            time: Micros(1_700_000_000_000_000),
        });
        round_trip(&RunHead::End {
            cursor: Some("AQ-_".into()),
            gaps: ["a; reason=paused".into(), "b; reason=damaged".into()].into(),
        });
        round_trip(&RunHead::End {
            cursor: None,
            gaps: Vec::new(),
        });
    }
}
