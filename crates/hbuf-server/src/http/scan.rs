//! Records for a read: pages of what is committed, only those that were asked for, in the form
//! asked for.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::ids::Seq;
use hbuf_core::limits::{PIECE_BYTES, READ_LIMIT_MAX};
use hbuf_core::record::{Kind, Record, decode};
use hbuf_core::skim::skim;

use super::event_json::push_event;
use super::json::push_record;
use crate::read::{Bounds, Pick, ReadError, Readable};

/// Which messages are wanted; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Any of these tags; none is every message.
    pub(crate) tags: Vec<Vec<u8>>,
    /// This key, as it is stored.
    pub(crate) key: Option<Vec<u8>>,
    /// Any tag of the stored filter with this name.
    pub(crate) stored: Option<String>,
    /// Only the newest of each key.
    pub(crate) latest: bool,
    /// Also hbuf's own records.
    pub(crate) all_kinds: bool,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they stand in the file.
    Raw,
    /// An object a line.
    Lines,
    /// Elements of an array, without its brackets.
    Array,
    /// Server-sent events.
    Events,
    /// CloudEvents in JSON, elements of an array.
    CloudEvents,
}

/// A read on its way through a buffer.
pub(crate) struct Scan {
    pub(crate) buffer: Arc<Readable>,
    /// The last seq that was looked at.
    pub(crate) after: Seq,
    /// The last seq to look at.
    pub(crate) through: Seq,
    /// How many messages are still wanted; `None` is all.
    pub(crate) left: Option<u64>,
    pub(crate) filter: Filter,
    /// What of the filter the files can be asked; `None` while it is under way, or open.
    pub(crate) pick: Option<Pick>,
    pub(crate) form: Form,
    /// Something was written already.
    pub(crate) begun: bool,
    /// The source of CloudEvents.
    pub(crate) source: String,
}

impl Filter {
    /// Whether every data message is wanted.
    pub(crate) fn is_open(&self) -> bool {
        self.tags.is_empty() && self.key.is_none() && self.stored.is_none() && !self.latest
    }

    /// What the files are asked, made ready; `None` for every message.
    pub(crate) async fn pick(&self, buffer: &Arc<Readable>) -> Result<Option<Pick>, ReadError> {
        if self.is_open() {
            return Ok(None);
        }
        let mut pick = Pick {
            tags: self.tags.clone(),
            key: self.key.clone(),
            ..Pick::default()
        };
        if let Some(name) = &self.stored {
            pick.filter = Some(buffer.filter(name.clone()).await?);
        }
        if self.latest {
            pick.newest = Some(buffer.newest().await?);
        }
        Ok(Some(pick))
    }

    /// Whether a record that was found is wanted: its kind, and the bytes of tags and key.
    pub(crate) fn wants(&self, record: &Record<'_>) -> bool {
        if !self.all_kinds && record.facts.kind != Kind::Data {
            return false;
        }
        if self
            .key
            .as_deref()
            .is_some_and(|key| record.key() != Some(key))
        {
            return false;
        }
        self.tags.is_empty()
            || record
                .tags()
                .any(|tag| self.tags.iter().any(|wanted| wanted == tag))
    }
}

impl Scan {
    /// The next page that holds a wanted message; `None` when there is none through the end.
    pub(crate) async fn page(&mut self) -> Result<Option<Bytes>, ReadError> {
        if !self.filter.is_open() {
            return self.picked_page().await;
        }
        while self.after < self.through && self.left != Some(0) {
            let behind = self.through.0 - self.after.0;
            let limit = match self.left {
                Some(left) if self.filter.is_open() => left.min(behind),
                _ => behind.min(READ_LIMIT_MAX),
            };
            let records = self.buffer.read(self.after, limit, PIECE_BYTES).await?;
            if records.count == 0 {
                return Ok(None);
            }
            let plain = self.form == Form::Raw && self.filter == Filter::default();
            let page = if plain && self.buffer.messages_only() {
                // As they are: a read of a plain range costs no more than its bytes.
                self.left = self.left.map(|left| left.saturating_sub(records.count));
                self.after = records.last;
                records.bytes
            } else {
                self.render(&records.bytes, records.last)?
            };
            if !page.is_empty() {
                self.begun = true;
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The next page of a read that wants some messages only.
    async fn picked_page(&mut self) -> Result<Option<Bytes>, ReadError> {
        while self.after < self.through && self.left != Some(0) {
            // An error before has ended the read.
            let Some(pick) = self.pick.take() else {
                return Ok(None);
            };
            let bounds = Bounds {
                through: self.through,
                limit: self.left.unwrap_or(u64::MAX),
                bytes: PIECE_BYTES,
            };
            let (pick, picked) = self.buffer.pick(pick, self.after, bounds).await?;
            self.pick = Some(pick);
            if picked.last <= self.after {
                return Ok(None);
            }
            let page = self.render(&picked.bytes, picked.last)?;
            if !page.is_empty() {
                self.begun = true;
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The page of these records, through `last`. One that ends before a damaged record is good:
    /// the next page says why it ended there.
    fn render(&mut self, mut bytes: &[u8], last: Seq) -> Result<Bytes, ReadError> {
        let first = skim(bytes).map(|line| line.seq);
        self.after = last;
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
        while let Some(line) = skim(bytes)
            && self.left != Some(0)
        {
            let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
            let (record, rest) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            bytes = rest;
            let record = match decode(record) {
                Ok(record) => record,
                Err(error) if first == Some(line.seq) => {
                    return Err(self.buffer.found_damaged(line.seq, error.to_string()));
                }
                Err(_) => {
                    self.after = line.seq.prev();
                    break;
                }
            };
            if !self.filter.wants(&record) {
                continue;
            }
            if self.push(&record, &mut out) {
                self.left = self.left.map(|left| left - 1);
            }
        }
        Ok(Bytes::from(out))
    }

    /// Writes a record; false when it has no place in this form.
    fn push(&self, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
        match self.form {
            Form::Raw => out.extend_from_slice(record.bytes),
            Form::Lines => {
                push_record(record, out);
                out.push(b'\n');
            }
            Form::Array => {
                out.extend_from_slice(if self.begun || !out.is_empty() {
                    b",\n"
                } else {
                    b""
                });
                push_record(record, out);
            }
            Form::Events => {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(record.line.seq.to_string().as_bytes());
                // JSON as it is written here has no line end, so one `data` line holds it.
                out.extend_from_slice(b"\ndata: ");
                push_record(record, out);
                out.extend_from_slice(b"\n\n");
            }
            Form::CloudEvents => {
                let before = out.len();
                out.extend_from_slice(if self.begun || before > 0 {
                    b",\n"
                } else {
                    b""
                });
                if !push_event(&self.source, record, out) {
                    out.truncate(before);
                    return false;
                }
            }
        }
        true
    }
}
