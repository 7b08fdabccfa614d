//! Bodies of replies: nothing, bytes at hand, or pieces that are made as the client takes them.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};

use super::file_ranges::FileBuf;

/// A reply's body.
pub(crate) struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Stream(Step),
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
        Self(Inner::Stream(source.next()))
    }
}

impl hyper::body::Body for Body {
    type Data = Data;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, BrokenOff>>> {
        match &mut self.0 {
            Inner::Full(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes.into()))))
            }
            Inner::Uncounted => Poll::Ready(None),
            Inner::Stream(step) => {
                let piece = match step.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(piece) => piece,
                };
                match piece {
                    Ok(Some((data, rest))) => {
                        self.0 = Inner::Stream(rest.next());
                        Poll::Ready(Some(Ok(Frame::data(data))))
                    }
                    Ok(None) => {
                        self.0 = Inner::Full(None);
                        Poll::Ready(None)
                    }
                    Err(broken) => {
                        self.0 = Inner::Full(None);
                        Poll::Ready(Some(Err(broken)))
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
            Inner::Stream(_) | Inner::Uncounted => SizeHint::default(),
        }
    }
}
