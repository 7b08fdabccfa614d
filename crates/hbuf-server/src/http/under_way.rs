//! What a reply has given to hyper and hyper has not written: known by what hyper lets go of.
//!
//! Over HTTP/1.1 a piece is let go of once the socket has taken its last byte; over HTTP/2 once its
//! last frame is with the frames to be written, which a reset of its stream no longer takes back.

use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::body::Data;

/// Counts the pieces that were given and are still held.
#[derive(Default)]
pub(super) struct UnderWay(Arc<Held>);

#[derive(Default)]
struct Held {
    pieces: AtomicUsize,
    /// Who waits for the last of them.
    waits: Mutex<Option<Waker>>,
}

/// A piece of a body on its way to the client.
pub(crate) struct Carried {
    data: Data,
    held: Option<Arc<Held>>,
}

impl UnderWay {
    /// Counts the piece until it is let go of.
    pub(super) fn carry(&self, data: Data) -> Carried {
        self.0.pieces.fetch_add(1, Ordering::AcqRel);
        Carried {
            data,
            held: Some(Arc::clone(&self.0)),
        }
    }

    /// Ready once nothing is held any more.
    pub(super) fn poll_left(&self, context: &Context<'_>) -> Poll<()> {
        let mut waits = self.0.waits.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: the last piece wakes whoever stands there when it goes.
        if self.0.pieces.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        *waits = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Carried {
    /// A piece behind which nothing can break off.
    pub(super) const fn alone(data: Data) -> Self {
        Self { data, held: None }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let Some(held) = &self.held else { return };
        if held.pieces.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut waits = held.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waits.take() {
            drop(waits);
            waker.wake();
        }
    }
}

impl Buf for Carried {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.data.copy_to_bytes(len)
    }
}
