//! A bounded read: some records behind a position, as they stand in the file.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::index::Place;
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::record::LINE_LEN;
use hbuf_core::skim::{crc_holds, skim, time_of};

use super::segments::View;
use super::shared::lock;
use super::walk::{NO_TIME, read_at};
use super::{ReadError, Readable};

/// Whole records, back to back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The records' bytes.
    pub bytes: Bytes,
    /// Seq of the first record.
    pub first: Seq,
    /// Seq of the last record; one before `first` when there is none.
    pub last: Seq,
    /// How many there are.
    pub count: u64,
}

/// What a read that takes nothing longer than its bound found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// Records, or none when nothing is committed.
    Records(Records),
    /// The next record alone is longer.
    Long {
        /// Its seq.
        seq: Seq,
        /// Its time.
        time: Micros,
    },
}

impl Readable {
    /// As [`Readable::read`], but a first record that is longer than `max_bytes` is only told of.
    pub async fn read_within(
        self: &Arc<Self>,
        after: Seq,
        limit: u64,
        max_bytes: usize,
    ) -> Result<Within, ReadError> {
        let records = match self.read_at_once(after, limit, max_bytes)? {
            Some(records) if records.count == 1 && records.bytes.len() > max_bytes => {
                let no_time = || ReadError::Damaged {
                    seq: records.first,
                    file: Seq::ZERO,
                    what: NO_TIME.into(),
                };
                return Ok(Within::Long {
                    seq: records.first,
                    time: time_of(&records.bytes).ok_or_else(no_time)?,
                });
            }
            Some(records) => records,
            None => {
                let read = move |buffer: &Self| buffer.read_files(after, limit, max_bytes, true);
                match self.blocking(read).await? {
                    (_, Some(time)) => {
                        let seq = after.next();
                        return Ok(Within::Long { seq, time });
                    }
                    (records, None) => records,
                }
            }
        };
        Ok(Within::Records(records))
    }

    /// The committed records behind `after`: at most `limit`, and at most `max_bytes` unless the
    /// first one alone is longer. None when nothing behind `after` is committed.
    pub async fn read(
        self: &Arc<Self>,
        after: Seq,
        limit: u64,
        max_bytes: usize,
    ) -> Result<Records, ReadError> {
        match self.read_at_once(after, limit, max_bytes)? {
            Some(records) => Ok(records),
            None => self
                .blocking(move |buffer| buffer.read_files(after, limit, max_bytes, false))
                .await
                .map(|(records, _)| records),
        }
    }

    /// What can be had without a file: nothing, or records in memory.
    fn read_at_once(
        &self,
        after: Seq,
        limit: u64,
        max_bytes: usize,
    ) -> Result<Option<Records>, ReadError> {
        let commit = self.commit();
        if after >= commit || limit == 0 {
            // Also of nothing: what was dropped is not the same as what is not there yet.
            self.view(after.next())?;
            let (first, last) = (after.next(), after);
            return Ok(Some(Records {
                bytes: Bytes::new(),
                first,
                last,
                count: 0,
            }));
        }
        let tail = lock(&self.tail);
        Ok(tail
            .as_ref()
            .and_then(|tail| tail.read(after, commit, limit, max_bytes)))
    }

    /// The records, or with `bounded` the time of the first when it alone is longer than
    /// `max_bytes`.
    fn read_files(
        &self,
        after: Seq,
        limit: u64,
        max_bytes: usize,
        bounded: bool,
    ) -> Result<(Records, Option<Micros>), ReadError> {
        let (out, next) = (Vec::new(), after.next());
        let mut taking = Taking {
            out,
            whole: 0,
            offset: 0,
            next,
            count: 0,
            limit,
            max_bytes,
            bounded,
            long: None,
        };
        while taking.count < limit && taking.out.len() < max_bytes.max(1) {
            match self.take_next(&mut taking) {
                Ok(Room::Left) => {}
                Ok(Room::Full) => break,
                // Dropped or damaged behind what was taken: that is good, and the next read says
                // why it ends there.
                Err(error) if taking.count > 0 => {
                    self.note(&error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        taking.out.truncate(taking.whole);
        let Taking {
            out,
            next,
            count,
            long,
            ..
        } = taking;
        let records = Records {
            bytes: out.into(),
            first: after.next(),
            last: next.prev(),
            count,
        };
        Ok((records, long))
    }

    /// Takes records of the file that holds the next one, as many as there is room for.
    fn take_next(&self, taking: &mut Taking) -> Result<Room, ReadError> {
        let Some(view) = self.view(taking.next)? else {
            return Ok(Room::Full);
        };
        let file = self.segment(view.file)?;
        let checked = !view.sealed || taking.limit == 1;
        let guess = usize::try_from(taking.limit - taking.count).unwrap_or(usize::MAX);
        let mut want = guess
            .saturating_mul(RECORD_GUESS)
            .clamp(2 * RECORD_GUESS, taking.piece_bytes());
        taking.offset = self.locate(&view, &file, taking.next)?;
        let room = loop {
            let have = taking.out.len();
            taking.out.resize(have + want, 0);
            let at = taking.offset + (have - taking.whole) as u64;
            let count =
                read_at(&file, &mut taking.out[have..], at).map_err(|source| ReadError::Io {
                    file: view.file,
                    source,
                })?;
            taking.out.truncate(have + count);
            match self.take_whole(&view, taking, checked)? {
                Need::Bytes(_) if count == 0 => return Err(self.no_record(&view, taking.due())),
                Need::Bytes(more) => want = more.max(want),
                Need::Nothing(room) => break room,
            }
        };
        taking.out.truncate(taking.whole);
        Ok(room)
    }

    /// Takes the whole records among the bytes that were read.
    fn take_whole(
        &self,
        view: &View,
        taking: &mut Taking,
        checked: bool,
    ) -> Result<Need, ReadError> {
        while taking.next <= view.last {
            if taking.count == taking.limit {
                return Ok(Need::Nothing(Room::Full));
            }
            let bytes = &taking.out[taking.whole..];
            let Some(record) = skim(bytes) else {
                if bytes.len() < LINE_LEN {
                    return Ok(Need::Bytes(RECORD_GUESS));
                }
                return Err(self.no_record(view, taking.due()));
            };
            if record.seq != taking.next {
                return Err(self.not_due(view, taking.due(), record.seq));
            }
            let len = self.len_within(view, taking.due(), &record)?;
            if len > taking.max_bytes.saturating_sub(taking.whole) {
                if taking.count > 0 {
                    return Ok(Need::Nothing(Room::Full));
                }
                if taking.bounded {
                    let time = time_of(bytes);
                    taking.long =
                        Some(time.ok_or_else(|| self.damaged(view, taking.next, NO_TIME))?);
                    return Ok(Need::Nothing(Room::Full));
                }
            }
            let Some(record) = bytes.get(..len) else {
                return Ok(Need::Bytes(len - bytes.len()));
            };
            if checked && !crc_holds(record) {
                return Err(self.damaged(view, taking.next, "its CRC is another"));
            }
            taking.whole += len;
            taking.offset += len as u64;
            taking.count += 1;
            taking.next = taking.next.next();
        }
        Ok(Need::Nothing(Room::Left))
    }
}

/// A read under way over the files.
struct Taking {
    out: Vec<u8>,
    /// Bytes of `out` that are taken; what is behind was read and is no whole record yet.
    whole: usize,
    /// Where in the file the record of `next` starts.
    offset: u64,
    next: Seq,
    count: u64,
    limit: u64,
    max_bytes: usize,
    /// Nothing longer than `max_bytes` is taken.
    bounded: bool,
    /// The time of a first record that is.
    long: Option<Micros>,
}

impl Taking {
    /// Bytes to read at once: no more than may be taken, but for what is read to see a record.
    fn piece_bytes(&self) -> usize {
        self.max_bytes.clamp(2 * RECORD_GUESS, PIECE_BYTES)
    }

    const fn due(&self) -> Place {
        Place {
            seq: self.next,
            offset: self.offset,
        }
    }
}

/// What a read needs to go on in a file.
enum Need {
    Bytes(usize),
    Nothing(Room),
}

/// Whether a read may take more, from the next file.
#[derive(PartialEq, Eq)]
enum Room {
    Left,
    Full,
}

/// How long a record is thought to be before it is seen.
const RECORD_GUESS: usize = 2 << 10;
