//! Where the bytes of a segment come from, and a window that slides over them.

use alloc::string::String;
use alloc::vec::Vec;

/// A file as the core sees it: its length, and bytes at an offset.
pub trait Source {
    /// Bytes in the file.
    fn len(&self) -> u64;

    /// Fills `buf` with the bytes at `offset`, all of them within [`Source::len`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed>;

    /// Whether the file is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The disk did not give the bytes: no verdict about them is possible.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cannot read at offset {offset}: {reason}")]
pub struct ReadFailed {
    /// Where the read began.
    pub offset: u64,
    /// What the disk said.
    pub reason: String,
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|at| self.get(at..)?.get(..buf.len()));
        let past = || ReadFailed {
            offset,
            reason: "past the end".into(),
        };
        buf.copy_from_slice(bytes.ok_or_else(past)?);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Source::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        (**self).read_at(offset, buf)
    }
}

/// Bytes of a window's first read; each further one doubles up to [`WINDOW_BYTES`], so that reading
/// a head line alone costs little.
const FIRST_BYTES: usize = 16 << 10;
/// Bytes of a read unless one record needs more.
pub const WINDOW_BYTES: usize = 1 << 20;

/// A stretch of a file in memory: as long as [`WINDOW_BYTES`] or the longest record asked for.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    filled: usize,
    at: u64,
    ahead: usize,
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            filled: 0,
            at: 0,
            ahead: FIRST_BYTES,
        }
    }

    /// The `count` bytes at `offset`, fewer where the file ends before.
    pub(crate) fn read<S: Source + ?Sized>(
        &mut self,
        source: &S,
        offset: u64,
        count: usize,
    ) -> Result<&[u8], ReadFailed> {
        let behind = offset
            .checked_sub(self.at)
            .and_then(|skip| usize::try_from(skip).ok());
        let start = match behind {
            Some(start) if start + count <= self.filled => start,
            _ => {
                self.slide(source, offset, count)?;
                0
            }
        };
        Ok(&self.bytes[start..self.filled.min(start + count)])
    }

    /// Makes the window begin at `offset`; bytes that it holds already are kept.
    fn slide<S: Source + ?Sized>(
        &mut self,
        source: &S,
        offset: u64,
        count: usize,
    ) -> Result<(), ReadFailed> {
        let skip = offset
            .checked_sub(self.at)
            .and_then(|skip| usize::try_from(skip).ok());
        let kept = match skip {
            Some(skip) if skip < self.filled => {
                self.bytes.copy_within(skip..self.filled, 0);
                self.filled - skip
            }
            _ => 0,
        };
        (self.at, self.filled) = (offset, kept);
        let left = source.len().saturating_sub(offset);
        let goal = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(count.max(self.ahead));
        self.ahead = (self.ahead * 2).min(WINDOW_BYTES);
        if self.bytes.len() < goal {
            self.bytes.resize(goal, 0);
        }
        if goal > kept {
            source.read_at(offset + kept as u64, &mut self.bytes[kept..goal])?;
            self.filled = goal;
        }
        Ok(())
    }
}
