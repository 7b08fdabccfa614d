//! Some of one buffer's messages on their way into a read of a topic: fetched and rendered apart
//! from the others, then taken one by one as their turn comes.
//!
//! Bounded: a page holds about as many bytes as it was asked for. A message that alone is longer is
//! not held; its page says only when it comes, and it is read when its turn is there.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::record::{Record, decode};
use hbuf_core::skim::{skim, time_of};

use super::event_json::push_event;
use super::json::push_record_of;
use super::scan::{Filter, Form};
use crate::read::{Bounds, Pick, ReadError, Readable, Within};

/// Messages of one buffer that are wanted, rendered.
#[derive(Default)]
pub(super) struct Page {
    bytes: Bytes,
    entries: Vec<Entry>,
    /// The last seq that was looked at.
    pub(super) last: Seq,
    /// Entries that were taken.
    at: usize,
    /// What the files were asked, with a filter; the next page goes on with it.
    pub(super) pick: Option<Pick>,
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) time: Micros,
    pub(super) seq: Seq,
    /// Where it ends in the page's bytes; nothing of one that is too long to be held.
    end: Option<usize>,
}

/// How the messages of one buffer are fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) filter: Filter,
    pub(super) form: Form,
    /// The buffer's name.
    pub(super) name: Box<str>,
    /// The source of its CloudEvents.
    pub(super) source: Box<str>,
    /// Bytes that a page holds.
    pub(super) page_bytes: usize,
}

impl Entry {
    /// Whether it is not held, and must be read when its turn comes.
    pub(super) const fn is_long(&self) -> bool {
        self.end.is_none()
    }
}

impl Page {
    /// A page without messages, behind `last`.
    pub(super) fn empty(last: Seq) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// The message that comes next.
    pub(super) fn next(&self) -> Option<Entry> {
        self.entries.get(self.at).copied()
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.entries.len() - self.at
    }

    /// Takes the next message; nothing when it is too long to be here.
    pub(super) fn take(&mut self) -> Option<&[u8]> {
        let start = match self.at {
            0 => 0,
            at => self.entries[at - 1].end?,
        };
        let entry = self.entries.get(self.at)?;
        self.at += 1;
        self.bytes.get(start..entry.end?)
    }
}

impl Fetch {
    /// Reads behind `after` until there is a page, or nothing more through `through`. `pick` is
    /// that of the page before.
    pub(super) async fn page(
        self: Arc<Self>,
        buffer: Arc<Readable>,
        after: Seq,
        through: Seq,
        most: u64,
        pick: Option<Pick>,
    ) -> Result<Page, ReadError> {
        if !self.filter.is_open() {
            return self.picked(buffer, after, through, most, pick).await;
        }
        let mut page = Page::empty(after);
        while page.last < through && page.entries.is_empty() {
            let behind = through.0 - page.last.0;
            let within = buffer
                .read_within(page.last, behind.min(most), self.page_bytes)
                .await?;
            match within {
                Within::Records(records) if records.count == 0 => break,
                Within::Records(records) => {
                    page.last = records.last;
                    self.take(&buffer, &records.bytes, &mut page)?;
                }
                Within::Long { seq, time } => {
                    page.entries.push(Entry {
                        time,
                        seq,
                        end: None,
                    });
                    page.last = seq;
                }
            }
        }
        Ok(page)
    }

    /// The same with a filter: what is not wanted is not read.
    async fn picked(
        &self,
        buffer: Arc<Readable>,
        after: Seq,
        through: Seq,
        most: u64,
        pick: Option<Pick>,
    ) -> Result<Page, ReadError> {
        let mut page = Page::empty(after);
        page.pick = match pick {
            Some(pick) => Some(pick),
            None => self.filter.pick(&buffer).await?,
        };
        while page.last < through
            && page.entries.is_empty()
            && let Some(pick) = page.pick.take()
        {
            let bounds = Bounds {
                through,
                limit: most,
                bytes: self.page_bytes,
            };
            let (pick, picked) = buffer.pick(pick, page.last, bounds).await?;
            page.pick = Some(pick);
            if picked.last <= page.last {
                break;
            }
            page.last = picked.last;
            self.take(&buffer, &picked.bytes, &mut page)?;
        }
        Ok(page)
    }

    /// The one message of `seq`, however long; nothing when it is not wanted.
    pub(super) async fn long(
        &self,
        buffer: &Arc<Readable>,
        seq: Seq,
    ) -> Result<Option<Bytes>, ReadError> {
        let records = buffer.read(seq.prev(), 1, self.page_bytes).await?;
        let mut page = Page::empty(seq);
        self.take(buffer, &records.bytes, &mut page)?;
        Ok(page.next().map(|_| page.bytes))
    }

    /// Takes the wanted ones of whole records into a page that has none. It ends before a damaged
    /// one that is not the first: the next page says so.
    fn take(&self, buffer: &Readable, records: &Bytes, page: &mut Page) -> Result<(), ReadError> {
        let as_they_are = self.form == Form::Raw && self.filter == Filter::default();
        let mut out = Vec::with_capacity(if as_they_are { 0 } else { records.len() });
        let first = skim(records).map(|line| line.seq);
        let mut at = 0;
        while let Some(line) = skim(&records[at..]) {
            let damaged = |what: &str| buffer.found_damaged(line.seq, what.to_owned());
            let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
            let bytes = &records[at..];
            let bytes = bytes.get(..len).ok_or_else(|| damaged("it is cut off"))?;
            let time = time_of(bytes).ok_or_else(|| damaged("its time cannot be read"))?;
            at += len;
            let end = if as_they_are {
                at
            } else {
                let record = match decode(bytes) {
                    Ok(record) => record,
                    Err(error) if first == Some(line.seq) => {
                        return Err(damaged(&error.to_string()));
                    }
                    Err(_) => {
                        page.last = line.seq.prev();
                        break;
                    }
                };
                if !self.filter.wants(&record) {
                    continue;
                }
                if !self.push(&record, &mut out) {
                    continue;
                }
                out.len()
            };
            page.entries.push(Entry {
                time,
                seq: line.seq,
                end: Some(end),
            });
        }
        page.bytes = if as_they_are {
            records.clone()
        } else {
            out.into()
        };
        Ok(())
    }

    /// Writes a record; false when it has no place in this form.
    fn push(&self, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
        match self.form {
            Form::Raw => out.extend_from_slice(record.bytes),
            Form::Lines => {
                push_record_of(&self.name, record, out);
                out.push(b'\n');
            }
            Form::Array => push_record_of(&self.name, record, out),
            Form::Events => {
                // JSON as it is written here has no line end, so one `data` line holds it.
                out.extend_from_slice(b"data: ");
                push_record_of(&self.name, record, out);
                out.extend_from_slice(b"\n\n");
            }
            Form::CloudEvents => return push_event(&self.source, record, out),
        }
        true
    }
}
