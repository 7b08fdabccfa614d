//! A stream of committed records of any length: the files' own bytes.
//!
//! What the page cache has is read where it is asked for; anything else on blocking threads, one
//! piece ahead.
//!
//! A piece may end within a record that is longer than what is left of it; [`Piece::whole`] says
//! where the last record in it ends, so that a reader can stop between messages. Bytes leave only
//! when the line before them was the one due, and out of an open segment only when the CRC holds.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::ids::Seq;
use hbuf_core::index::Place;
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::skim::{CrcCheck, Skim, Skimmer, crc_holds};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::segments::View;
use super::shared::{FileKey, FileKind, PieceMemory};
use super::{ReadError, Readable};

/// Some of a stream's bytes.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The bytes, continuing those of the piece before.
    pub bytes: Bytes,
    /// How many of them are through the end of a record; 0 when none ends here.
    pub whole: usize,
    /// The last record that has ended, in this piece or before.
    pub last: Seq,
}

/// The committed records behind a position, through another, in pieces.
pub struct Pieces {
    pub(super) buffer: Arc<Readable>,
    pub(super) cursor: Option<Cursor>,
    pub(super) ahead: Option<oneshot::Receiver<Fetched>>,
    /// Pieces to read on other threads before the page cache is tried again.
    pub(super) cold: u32,
    permit: Option<OwnedSemaphorePermit>,
}

/// A cursor that moved, and the piece that it moved over.
pub(super) type Fetched = (Cursor, Result<Option<Piece>, ReadError>);

/// Where the next piece begins.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    /// The first record that has not ended.
    pub(super) next: Seq,
    pub(super) through: Seq,
    /// Bytes of `next` that are still to come, when the piece before ended within it.
    pub(super) inside: u64,
    /// The file and offset of the next byte, once known.
    pub(super) place: Option<(Seq, u64)>,
    /// Records pass unread, to the file's end: `next` and `inside` stay as they were before.
    pub(super) unread: bool,
}

impl Readable {
    /// Streams the committed records behind `after` through `through`, or through the commit of now
    /// when that is lower.
    #[must_use]
    pub fn stream(self: &Arc<Self>, after: Seq, through: Seq) -> Pieces {
        let through = through.min(self.commit());
        let cursor = Cursor {
            next: after.next(),
            through,
            inside: 0,
            place: None,
            unread: false,
        };
        let permit = Arc::clone(&self.shared.ahead).try_acquire_owned().ok();
        Pieces {
            buffer: Arc::clone(self),
            cursor: Some(cursor),
            ahead: None,
            cold: 0,
            permit,
        }
    }

    /// Reads the next piece; `None` when the stream has ended.
    fn fetch(&self, cursor: &mut Cursor) -> Result<Option<Piece>, ReadError> {
        if cursor.next > cursor.through {
            return Ok(None);
        }
        let Some(view) = self.view(cursor.next)? else {
            return Ok(None);
        };
        let file = self.segment(view.file)?;
        let offset = match cursor.place {
            Some((at, offset)) if at == view.file => offset,
            Some(_) | None => {
                assert!(!cursor.unread, "a file is left unread to its end");
                self.locate(&view, &file, cursor.next)?
            }
        };
        if cursor.unread {
            return self.fetch_unread(cursor, &view, &file, offset).map(Some);
        }
        let mut memory = self.shared.spare();
        memory
            .fill(&file, offset, wanted(&view, offset))
            .map_err(|source| ReadError::Io {
                file: view.file,
                source,
            })?;
        self.cut_piece(cursor, &view, &file, offset, memory)
            .map(Some)
    }

    /// The next piece, if it is there without waiting: within a sealed segment that is open
    /// already, out of the page cache. Two thousand changes of thread for half a gigabyte are
    /// saved.
    fn fetch_now(&self, cursor: &mut Cursor) -> Option<Result<Piece, ReadError>> {
        let (at, offset) = cursor.place.filter(|_| !cursor.unread)?;
        let view = self.view(cursor.next).ok()??;
        if !view.sealed || view.file != at {
            return None;
        }
        let key = FileKey {
            buffer: self.number,
            file: at,
            kind: FileKind::Segment,
        };
        let file = self.shared.files().get(key)?;
        let mut memory = self.shared.spare();
        if !memory.fill_now(&file, offset, wanted(&view, offset)) {
            return None;
        }
        Some(self.cut_piece(cursor, &view, &file, offset, memory))
    }

    /// What of the bytes may leave.
    fn cut_piece(
        &self,
        cursor: &mut Cursor,
        view: &View,
        file: &File,
        offset: u64,
        mut memory: PieceMemory,
    ) -> Result<Piece, ReadError> {
        let last = view.last.min(cursor.through);
        let mut hop = Hop {
            view,
            file,
            offset,
            last,
            at: 0,
            whole: 0,
            skimmer: Skimmer::default(),
        };
        hop.over(self, cursor, memory.as_ref())?;
        let Hop { at, whole, .. } = hop;
        memory.truncate(at);
        // None at the file's end: the next piece is in another.
        let within = cursor.inside > 0 || cursor.next <= view.last;
        cursor.place = within.then_some((view.file, offset + at as u64));
        let (bytes, last) = (Bytes::from_owner(memory), cursor.next.prev());
        Ok(Piece { bytes, whole, last })
    }
}

impl Pieces {
    /// The next piece; `None` at the end. After an error there is nothing more. A call that is
    /// dropped before it answers loses nothing.
    pub async fn next(&mut self) -> Option<Result<Piece, ReadError>> {
        if self.ahead.is_none() {
            let cursor = self.cursor.as_ref()?;
            if cursor.next > cursor.through {
                return None;
            }
            if self.cold == 0
                && let Some(outcome) = self.now()
            {
                return Some(outcome);
            }
            let cursor = self.cursor.take()?;
            // Where a file begins, only its place is not known yet.
            self.cold = cursor.place.map_or(1, |_| COLD_PIECES);
            self.ahead = Some(self.start(cursor));
        }
        let fetched = self.ahead.as_mut()?.await;
        self.ahead = None;
        let Ok((cursor, outcome)) = fetched else {
            return Some(Err(ReadError::Stopping));
        };
        self.cold = self.cold.saturating_sub(1);
        match outcome {
            Ok(Some(piece)) => {
                let more = cursor.next <= cursor.through;
                if more && self.cold > 0 && self.permit.is_some() {
                    self.ahead = Some(self.start(cursor));
                } else {
                    self.cursor = Some(cursor);
                }
                Some(Ok(piece))
            }
            Ok(None) => None,
            Err(error) => {
                self.buffer.note(&error);
                Some(Err(error))
            }
        }
    }

    /// The next piece without waiting, if that is possible.
    fn now(&mut self) -> Option<Result<Piece, ReadError>> {
        let cursor = self.cursor.as_mut()?;
        let outcome = self.buffer.fetch_now(cursor)?;
        if let Err(error) = &outcome {
            self.buffer.note(error);
            self.cursor = None;
        }
        Some(outcome)
    }

    /// Reads the next piece on a blocking thread.
    fn start(&self, mut cursor: Cursor) -> oneshot::Receiver<Fetched> {
        let (send, receive) = oneshot::channel();
        let buffer = Arc::clone(&self.buffer);
        tokio::task::spawn_blocking(move || {
            // Nobody is waiting any more: the stream was let go before its turn came.
            if send.is_closed() {
                return;
            }
            let outcome = buffer.fetch(&mut cursor);
            drop(send.send((cursor, outcome)));
        });
        receive
    }
}

/// Goes over a piece's records by their lines.
struct Hop<'a> {
    view: &'a View,
    file: &'a File,
    /// Of the piece's first byte.
    offset: u64,
    last: Seq,
    /// Bytes of the piece that may leave.
    at: usize,
    /// Bytes of the piece through the end of a record.
    whole: usize,
    skimmer: Skimmer,
}

impl Hop<'_> {
    fn over(
        &mut self,
        buffer: &Readable,
        cursor: &mut Cursor,
        bytes: &[u8],
    ) -> Result<(), ReadError> {
        if cursor.inside > 0 {
            self.leave(cursor, cursor.inside, bytes.len());
        }
        while cursor.inside == 0 && cursor.next <= self.last {
            match self.step(buffer, cursor, bytes) {
                Ok(true) => {}
                // What comes before leaves first; the next piece starts with the record, cut or
                // damaged as it is.
                Ok(false) => break,
                Err(_) if self.at > 0 => break,
                Err(error) => return Err(error),
            }
        }
        // The file ends within a record that began before.
        if self.at == 0 {
            let due = Place {
                seq: cursor.next,
                offset: self.offset,
            };
            return Err(buffer.no_record(self.view, due));
        }
        Ok(())
    }

    /// Goes over one record; `false` when it should start the next piece.
    fn step(
        &mut self,
        buffer: &Readable,
        cursor: &mut Cursor,
        bytes: &[u8],
    ) -> Result<bool, ReadError> {
        let rest = &bytes[self.at..];
        let due = Place {
            seq: cursor.next,
            offset: self.offset + self.at as u64,
        };
        let Some(record) = self.skimmer.skim(rest) else {
            return Err(buffer.no_record(self.view, due));
        };
        if record.seq != due.seq {
            return Err(buffer.not_due(self.view, due, record.seq));
        }
        if !self.view.sealed && !self.checked(buffer, &record, due, rest)? {
            return Ok(false);
        }
        self.leave(cursor, record.record_len(), bytes.len());
        Ok(true)
    }

    /// Lets `len` bytes of the record `next` leave, or as many of them as the piece has.
    fn leave(&mut self, cursor: &mut Cursor, len: u64, piece: usize) {
        let rest = (piece - self.at) as u64;
        if len > rest {
            cursor.inside = len - rest;
            self.at = piece;
            return;
        }
        cursor.inside = 0;
        cursor.next = cursor.next.next();
        self.at += usize::try_from(len).expect("no longer than the piece");
        self.whole = self.at;
    }

    /// Whether a record of an open segment may leave now: `false` when it should start the next
    /// piece.
    fn checked(
        &self,
        buffer: &Readable,
        record: &Skim,
        due: Place,
        bytes: &[u8],
    ) -> Result<bool, ReadError> {
        let len = usize::try_from(record.record_len()).unwrap_or(usize::MAX);
        let holds = match bytes.get(..len) {
            Some(record) => crc_holds(record),
            None if self.at > 0 => return Ok(false),
            None => {
                let io = |source| ReadError::Io {
                    file: self.view.file,
                    source,
                };
                long_crc_holds(buffer.shared.spare(), self.file, due, record).map_err(io)?
            }
        };
        if holds {
            Ok(true)
        } else {
            Err(buffer.damaged(self.view, due.seq, "its CRC is another"))
        }
    }
}

/// Checks a record that is longer than a piece, before any of it leaves.
fn long_crc_holds(
    mut memory: PieceMemory,
    file: &File,
    due: Place,
    record: &Skim,
) -> std::io::Result<bool> {
    let mut check: Option<CrcCheck> = None;
    let (mut offset, end) = (due.offset, due.offset + record.record_len());
    while offset < end {
        let want = usize::try_from(end - offset).unwrap_or(usize::MAX);
        memory.fill(file, offset, want)?;
        let bytes = memory.as_ref();
        if bytes.is_empty() {
            return Ok(false);
        }
        match &mut check {
            Some(check) => check.feed(bytes),
            None => check = CrcCheck::start(bytes),
        }
        offset += bytes.len() as u64;
    }
    Ok(check.is_some_and(|check| check.holds()))
}

/// How much to read: no more than is known to be there.
pub(super) fn wanted(view: &View, offset: u64) -> usize {
    match view.bytes.checked_sub(offset) {
        Some(rest) if rest > 0 => usize::try_from(rest).unwrap_or(usize::MAX).min(PIECE_BYTES),
        Some(_) | None => PIECE_BYTES,
    }
}

/// Pieces that are read ahead on other threads once one was not in the page cache.
const COLD_PIECES: u32 = 8;
