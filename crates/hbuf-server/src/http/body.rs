//! Bodies of replies: nothing, bytes at hand, or pieces that are made as the client takes them.
//!
//! A body that breaks off does so behind what it has given: hyper drops what it still holds when a
//! body fails, and with it messages that are sound, or the whole head.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hbuf_core::limits::WRITE_STALL_SECONDS_MAX;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::file_ranges::FileBuf;
use super::under_way::{Carried, UnderWay};

/// A reply's body.
pub(crate) struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Stream(Step, UnderWay),
    /// Fails as soon as what was given has left, or the client has taken nothing for too long.
    Breaking(BrokenOff, UnderWay, Pin<Box<Sleep>>),
    /// Of a length that nobody has counted: the head of a stream is answered without making it.
    Uncounted,
}

/// What a body consists of.
pub(crate) enum Data {
    /// Bytes in memory.
    Memory(Bytes),
    /// Bytes that the socket sends out of a file.
    File(FileBuf),
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.remaining(),
            Self::File(file) => file.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes.chunk(),
            Self::File(file) => file.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Memory(bytes) => bytes.advance(count),
            Self::File(file) => file.advance(count),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Memory(bytes) => bytes.chunks_vectored(slices),
            Self::File(file) => file.chunks_vectored(slices),
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        match self {
            Self::Memory(bytes) => bytes.copy_to_bytes(len),
            Self::File(file) => file.copy_to_bytes(len),
        }
    }
}

/// Why a body broke off: the connection is closed, so that nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the reply breaks off: {0}")]
pub(crate) struct BrokenOff(pub(crate) String);

/// The next piece of a stream, with the rest of the stream; `None` at its end.
pub(crate) type Step =
    Pin<Box<dyn Future<Output = Result<Option<(Data, Box<dyn Source>)>, BrokenOff>> + Send>>;

/// Where a stream's pieces come from.
pub(crate) trait Source: Send {
    /// Starts on the next piece.
    fn next(self: Box<Self>) -> Step;
}

impl Body {
    pub(crate) const fn empty() -> Self {
        Self(Inner::Full(None))
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Inner::Full((!bytes.is_empty()).then_some(bytes)))
    }

    /// The body of a reply to `HEAD` where `GET` would stream.
    pub(crate) const fn uncounted() -> Self {
        Self(Inner::Uncounted)
    }

    pub(crate) fn stream(source: Box<dyn Source>) -> Self {
        Self(Inner::Stream(source.next(), UnderWay::default()))
    }

    fn poll_breaking(&mut self, context: &mut Context<'_>) -> Poll<Option<Polled>> {
        let Inner::Breaking(_, under_way, patience) = &mut self.0 else {
            return Poll::Ready(None);
        };
        if under_way.poll_left(context).is_pending() && patience.as_mut().poll(context).is_pending()
        {
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.0, Inner::Full(None)) {
            Inner::Breaking(broken, ..) => Poll::Ready(Some(Err(broken))),
            _ => Poll::Ready(None),
        }
    }
}

/// What a poll of a body answers.
type Polled = Result<Frame<Carried>, BrokenOff>;

impl hyper::body::Body for Body {
    type Data = Carried;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Polled>> {
        match &mut self.0 {
            Inner::Full(bytes) => {
                let bytes = bytes.take();
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(Carried::alone(bytes.into())))))
            }
            Inner::Uncounted => Poll::Ready(None),
            Inner::Breaking(..) => self.poll_breaking(context),
            Inner::Stream(step, under_way) => {
                match std::task::ready!(step.as_mut().poll(context)) {
                    Ok(Some((data, rest))) => {
                        let data = under_way.carry(data);
                        *step = rest.next();
                        Poll::Ready(Some(Ok(Frame::data(data))))
                    }
                    Ok(None) => {
                        self.0 = Inner::Full(None);
                        Poll::Ready(None)
                    }
                    Err(broken) => {
                        let under_way = std::mem::take(under_way);
                        let patience = Box::pin(sleep(BREAK_PATIENCE));
                        self.0 = Inner::Breaking(broken, under_way, patience);
                        self.poll_breaking(context)
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Stream(..) | Inner::Breaking(..) | Inner::Uncounted => SizeHint::default(),
        }
    }
}

/// How long what was given may take to leave before a body breaks off all the same.
const BREAK_PATIENCE: Duration = Duration::from_secs(WRITE_STALL_SECONDS_MAX);
