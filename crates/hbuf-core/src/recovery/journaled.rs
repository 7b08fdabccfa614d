//! A journal entry as recovery finds it: its seqs, and its body where it is until it is needed.
//!
//! After the death of the process alone the files hold what the journal holds, so almost no body is
//! read a second time, and none stays in memory.

use alloc::vec;
use alloc::vec::Vec;

use crate::ids::Uuid;
use crate::journal::{Entry, Span};
use crate::record::JournalFile;
use crate::segment::{ReadFailed, Source};

/// One journal entry of this buffer.
#[derive(Clone, Copy)]
pub struct FoundEntry<'a> {
    /// Its position in the journal.
    pub position: u64,
    /// The buffer.
    pub buffer: Uuid,
    /// The file whose end it belongs to.
    pub file: JournalFile,
    /// The seqs of its lines, if they can be read.
    pub span: Option<Span>,
    /// What holds its body: whole records, perhaps with a head line first.
    pub source: &'a dyn Source,
    /// Where the body begins in it.
    pub offset: u64,
    /// Bytes of the body.
    pub len: usize,
}

/// A journal entry that was read.
#[derive(Clone, Debug)]
pub(super) struct ReadEntry {
    pub(super) position: u64,
    buffer: Uuid,
    file: JournalFile,
    body: Vec<u8>,
}

impl<'a> FoundEntry<'a> {
    /// An entry whose body is in memory.
    #[must_use]
    pub fn held(position: u64, buffer: Uuid, file: JournalFile, body: &'a Vec<u8>) -> Self {
        let entry = Entry { buffer, file, body };
        Self {
            position,
            buffer,
            file,
            span: entry.span(),
            source: body,
            offset: 0,
            len: body.len(),
        }
    }

    pub(super) fn read(&self) -> Result<ReadEntry, ReadFailed> {
        let mut body = vec![0; self.len];
        self.source.read_at(self.offset, &mut body)?;
        Ok(ReadEntry {
            position: self.position,
            buffer: self.buffer,
            file: self.file,
            body,
        })
    }
}

impl ReadEntry {
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            buffer: self.buffer,
            file: self.file,
            body: &self.body,
        }
    }
}
