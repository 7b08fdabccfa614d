//! Reading the texts of tags out of their dictionary's file.

use alloc::vec::Vec;

use super::dictionary::{Dictionary, TagId};
use crate::limits::TAG_BYTES_MAX;
use crate::segment::{ReadFailed, Source};

/// Reads tags of a dictionary's file; cheap for those that stand behind one another.
pub(super) struct TagText {
    window: Vec<u8>,
    /// Of the window, once it is needed.
    size: usize,
    /// Where the window begins in the file.
    offset: u64,
    /// The tag that the window holds at `at`.
    id: u32,
    at: usize,
    /// Bytes of the window that are read.
    filled: usize,
}

impl TagText {
    /// With a window of so many bytes.
    pub(super) fn new(window: usize) -> Self {
        Self {
            window: Vec::new(),
            size: window,
            offset: 0,
            id: 0,
            at: 0,
            filled: 0,
        }
    }

    /// Whether the tag with this number is `tag`.
    pub(super) fn is(
        &mut self,
        dictionary: &Dictionary,
        id: TagId,
        tag: &[u8],
        text: &impl Source,
    ) -> Result<bool, ReadFailed> {
        let (near, offset, end) = dictionary.near(id);
        let here = self.offset + self.at as u64;
        let goes_on = self.id <= id.0 && near <= self.id && here < end && here >= offset;
        if !goes_on {
            (self.id, self.at) = (near, 0);
            let within = offset.checked_sub(self.offset);
            match within.and_then(|at| usize::try_from(at).ok()) {
                Some(at) if at < self.filled => self.at = at,
                Some(_) | None => (self.offset, self.filled) = (offset, 0),
            }
        }
        while self.id < id.0 {
            let len = self.entry(dictionary, end, text)?.len();
            self.at += len;
            self.id += 1;
        }
        Ok(self.entry(dictionary, end, text)?.get(1..) == Some(tag))
    }

    /// The entry at `at`, whole; empty when the file does not hold it.
    fn entry(
        &mut self,
        dictionary: &Dictionary,
        end: u64,
        text: &impl Source,
    ) -> Result<&[u8], ReadFailed> {
        let len = |cursor: &Self| match cursor.window[..cursor.filled].get(cursor.at) {
            Some(&len) => usize::from(len) + 2,
            None => TAG_BYTES_MAX + 1,
        };
        if self.at + len(self) > self.filled {
            self.offset += self.at as u64;
            self.at = 0;
            let left = usize::try_from(end - self.offset.min(end)).unwrap_or(usize::MAX);
            self.window.resize(self.size, 0);
            self.filled = left.min(self.size);
            let window = &mut self.window[..self.filled];
            match self.offset.checked_sub(dictionary.pending_at()) {
                Some(at) => dictionary.pending().read_at(at, window)?,
                None => text.read_at(self.offset, window)?,
            }
        }
        let whole = self.at..self.at + len(self);
        Ok(self.window[..self.filled].get(whole).unwrap_or_default())
    }
}

/// Bytes of the window to look at one tag, and to look at many; either holds the longest.
pub(super) const NEAR_BYTES: usize = 512;
pub(super) const FAR_BYTES: usize = 64 << 10;

const _: () = assert!(NEAR_BYTES > TAG_BYTES_MAX);
