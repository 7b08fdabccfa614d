//! Ranges of files on their way into a connection: sent by sendfile, never copied into memory.
//!
//! hyper writes a reply as slices of memory. A range of a file stands among them as slices of one
//! stand-in, whose bytes nobody reads: the socket knows such a slice by its address, sends as many
//! bytes of the range that is next, and says that the slice was written. So hyper frames the
//! reply, and the file's bytes pass it by.
//!
//! Bytes of the stand-in never leave. What the socket sent of a range, hyper must count off that
//! range before anything else is written ([`FileBuf::advance`]); a range that is copied, skipped,
//! dropped, or written out of turn breaks the connection off before the next byte.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Buf;
use rustix::fd::AsFd;

use crate::read::FileRange;

/// The ranges that a connection's replies hold and the socket has not sent, in their order.
#[derive(Clone, Default)]
pub(crate) struct FileRanges(Arc<Mutex<Ranges>>);

#[derive(Default)]
struct Ranges {
    queue: VecDeque<Unsent>,
    /// Number of the range that comes next into the queue.
    next: u64,
    /// What the socket sent last, until hyper has counted it off.
    sent: Option<Sent>,
    /// Why nothing may be written any more.
    broken: Option<&'static str>,
}

struct Unsent {
    number: u64,
    file: Arc<File>,
    offset: u64,
    len: usize,
}

#[derive(Clone, Copy)]
struct Sent {
    number: u64,
    len: usize,
}

impl FileRanges {
    /// Puts a range behind those before it; the reply's next frame must be what comes back.
    pub(crate) fn push(&self, range: FileRange) -> FileBuf {
        let FileRange { file, offset, len } = range;
        let mut ranges = self.lock();
        let number = ranges.next;
        ranges.next += 1;
        ranges.queue.push_back(Unsent {
            number,
            file,
            offset,
            len,
        });
        drop(ranges);
        FileBuf {
            number,
            left: len,
            ranges: self.clone(),
        }
    }

    /// Called before each write: fails once the ranges and what hyper holds may differ.
    pub(crate) fn check(&self) -> io::Result<()> {
        let mut ranges = self.lock();
        if ranges.sent.is_some() {
            ranges.broken = Some("a range was sent and not counted off");
        }
        match ranges.broken {
            None => Ok(()),
            Some(why) => Err(io::Error::other(why)),
        }
    }

    /// Sends bytes of the range that is next, at most `most`; answers how many. A file that is
    /// shorter than the range is an error: nothing is put in place of what is missing.
    pub(crate) fn send(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let mut ranges = self.lock();
        let Some(unsent) = ranges.queue.front_mut() else {
            ranges.broken = Some("a range is to be sent and none is known");
            return Err(ErrorKind::InvalidData.into());
        };
        let (number, want) = (unsent.number, unsent.len.min(most));
        let count = rustix::fs::sendfile(socket, &*unsent.file, Some(&mut unsent.offset), want)?;
        if count == 0 {
            ranges.broken = Some("a file ends before the range of it that was to be sent");
            return Err(ErrorKind::UnexpectedEof.into());
        }
        unsent.len -= count;
        if unsent.len == 0 {
            ranges.queue.pop_front();
        }
        ranges.sent = Some(Sent { number, len: count });
        Ok(count)
    }

    fn counted_off(&self, number: u64, len: usize) {
        let mut ranges = self.lock();
        match ranges.sent.take() {
            Some(sent) if sent.number == number && sent.len == len => {}
            _ => ranges.broken = Some("a range was copied, or written out of turn"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ranges> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A range of a file as hyper sees it: slices of the stand-in.
pub(crate) struct FileBuf {
    number: u64,
    left: usize,
    ranges: FileRanges,
}

impl Buf for FileBuf {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        &STAND_IN[..self.left.min(STAND_IN_BYTES)]
    }

    fn advance(&mut self, count: usize) {
        if count > 0 {
            self.ranges.counted_off(self.number, count);
            self.left = self.left.saturating_sub(count);
        }
    }
}

impl Drop for FileBuf {
    fn drop(&mut self) {
        if self.left > 0 {
            self.ranges.lock().broken = Some("a range was let go before it was sent");
        }
    }
}

/// How the slices begin that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// With so many slices of memory; whether a range of a file follows.
    Memory(usize, bool),
    /// With so many bytes of files.
    File(usize),
}

/// Looks at what hyper wants written.
pub(crate) fn front(slices: &[IoSlice<'_>]) -> Front {
    let files = slices.iter().take_while(|slice| stands_in(slice));
    match files.map(|slice| slice.len()).sum() {
        0 => {
            let memory = slices.iter().take_while(|slice| !stands_in(slice)).count();
            Front::Memory(memory, memory < slices.len())
        }
        bytes => Front::File(bytes),
    }
}

/// Whether a slice stands for bytes of a file.
pub(crate) fn stands_in(slice: &[u8]) -> bool {
    STAND_IN.as_ptr_range().contains(&slice.as_ptr())
}

/// Never read and never written: zeroed memory that the system has not even made yet.
static STAND_IN: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; STAND_IN_BYTES].into_boxed_slice());

/// A range that is longer is written in several calls.
const STAND_IN_BYTES: usize = hbuf_core::limits::FILE_RANGE_BYTES;

#[cfg(test)]
mod streaming;
