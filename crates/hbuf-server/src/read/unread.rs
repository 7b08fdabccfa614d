//! Parts of a stream that leave without a look at them: ranges of sealed segments.
//!
//! A sealed segment is trusted, so where all of it is wanted its bytes need not come into this
//! process at all: a part is a range of the file, to be sent by the system. What is not in the page
//! cache is read on blocking threads instead, like every other piece, so that no one who sends has
//! to wait for a disk.

use std::fs::File;
use std::io::IoSliceMut;
use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::index::Place;
use hbuf_core::limits::FILE_RANGE_BYTES;
use rustix::io::ReadWriteFlags;

use super::pieces::{Cursor, Piece, Pieces, wanted};
use super::segments::View;
use super::shared::{FileKey, FileKind};
use super::{ReadError, Readable};

/// Some of a stream's bytes, in memory or not.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes.
    Memory(Bytes),
    /// Bytes of a file.
    File(FileRange),
}

/// Bytes of a sealed segment that were in the page cache a moment ago.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file as it was then: one that is replaced or removed stays as it is for who holds it.
    pub file: Arc<File>,
    /// Where the bytes begin.
    pub offset: u64,
    /// How many they are, at least one.
    pub len: usize,
}

impl Pieces {
    /// The next part; `None` at the end. As [`Pieces::next`], but the lines of a sealed segment are
    /// not looked at once its first piece was, unless damage was met in the buffer.
    pub async fn next_part(&mut self) -> Option<Result<Part, ReadError>> {
        if self.ahead.is_none()
            && let Some(cursor) = &mut self.cursor
            && let Some(range) = self.buffer.unread_range(cursor, self.cold == 0)
        {
            return Some(Ok(Part::File(range)));
        }
        let piece = self.next().await?;
        Some(piece.map(|piece| Part::Memory(piece.bytes)))
    }
}

impl Readable {
    /// The range of a sealed segment that is next, if there is one. While the disk is read, `warm`
    /// is false and there is none.
    fn unread_range(&self, cursor: &mut Cursor, warm: bool) -> Option<FileRange> {
        let (at, offset) = cursor.place?;
        let view = self.view(cursor.next).ok()??;
        if view.file != at || !self.leaves_unread(cursor, &view) {
            return None;
        }
        // From here on nobody knows where records begin.
        cursor.unread = true;
        if !warm {
            return None;
        }
        let key = FileKey {
            buffer: self.number,
            file: at,
            kind: FileKind::Segment,
        };
        let file = self.shared.files().get(key)?;
        let left = usize::try_from(view.bytes - offset).unwrap_or(usize::MAX);
        let len = left.min(FILE_RANGE_BYTES);
        if !is_cached(&file, offset, len) {
            return None;
        }
        cursor.pass(&view, offset, len);
        Some(FileRange { file, offset, len })
    }

    /// Whether all of the rest of the file is wanted, and trusted.
    fn leaves_unread(&self, cursor: &Cursor, view: &View) -> bool {
        let whole = view.next_file == Some(view.last.next()) && view.last <= cursor.through;
        view.sealed && whole && (cursor.unread || self.damage().is_none())
    }

    /// Reads the next bytes of a sealed segment without a look at them.
    pub(super) fn fetch_unread(
        &self,
        cursor: &mut Cursor,
        view: &View,
        file: &File,
        offset: u64,
    ) -> Result<Piece, ReadError> {
        let mut memory = self.shared.spare();
        memory
            .fill(file, offset, wanted(view, offset))
            .map_err(|source| ReadError::Io {
                file: view.file,
                source,
            })?;
        let bytes = Bytes::from_owner(memory);
        if bytes.is_empty() {
            let due = Place {
                seq: cursor.next,
                offset,
            };
            return Err(self.no_record(view, due));
        }
        cursor.pass(view, offset, bytes.len());
        let whole = if cursor.unread { 0 } else { bytes.len() };
        let last = cursor.next.prev();
        Ok(Piece { bytes, whole, last })
    }
}

impl Cursor {
    /// Passes `len` bytes of a sealed segment whose records were not looked at.
    fn pass(&mut self, view: &View, offset: u64, len: usize) {
        let end = offset + len as u64;
        if end < view.bytes {
            self.place = Some((view.file, end));
            return;
        }
        self.next = view.last.next();
        self.inside = 0;
        self.place = None;
        self.unread = false;
    }
}

/// Whether the page cache holds a range, as far as a look here and there can tell. Between the
/// places that are looked at, and between now and the sending, pages may be missing: whoever sends
/// then waits for the disk, for at most this range.
fn is_cached(file: &File, offset: u64, len: usize) -> bool {
    let last = offset + len as u64 - 1;
    let places = (offset..last).step_by(PROBE_STRIDE_BYTES);
    places.chain([last]).all(|at| {
        let byte = &mut [0];
        let slices = &mut [IoSliceMut::new(byte)];
        rustix::io::preadv2(file, slices, at, ReadWriteFlags::NOWAIT) == Ok(1)
    })
}

/// Bytes between two looks: half of what the system reads ahead at once, unless told otherwise.
const PROBE_STRIDE_BYTES: usize = 64 << 10;
