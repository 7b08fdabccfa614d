//! How many streams of a connection of HTTP/2 are open: from the head of a request until its reply
//! was taken. Pings are none.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::{Body, BrokenOff};
use super::under_way::Carried;

/// The count of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenStreams(Arc<watch::Sender<usize>>);

impl OpenStreams {
    /// Counts one more until what is given is dropped.
    pub(crate) fn enter(&self) -> OpenStream {
        self.0.send_modify(|count| *count += 1);
        OpenStream(self.clone())
    }

    /// Waits until none was open for so long.
    pub(crate) async fn idle_for(&self, time: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // Its sender is held here: it does not fail.
            let _ = count.wait_for(|&count| count == 0).await;
            if timeout(time, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// One that is open.
#[derive(Debug)]
pub(crate) struct OpenStream(OpenStreams);

impl OpenStream {
    /// It is open until nothing of the reply is left.
    pub(crate) fn until_sent(self, reply: Response<Body>) -> Response<CountedBody> {
        reply.map(|body| CountedBody {
            body,
            stream: Arc::new(self),
        })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// A body whose stream is counted.
pub(crate) struct CountedBody {
    body: Body,
    stream: Arc<OpenStream>,
}

/// A piece of one. A slow client may take long over the last, when the body has no more.
pub(crate) struct CountedPiece {
    piece: Carried,
    _stream: Arc<OpenStream>,
}

impl Buf for CountedPiece {
    fn remaining(&self) -> usize {
        self.piece.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.piece.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.piece.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.piece.chunks_vectored(slices)
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.piece.copy_to_bytes(len)
    }
}

impl hyper::body::Body for CountedBody {
    type Data = CountedPiece;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<CountedPiece>, BrokenOff>>> {
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let counted = |piece| CountedPiece {
            piece,
            _stream: Arc::clone(&self.stream),
        };
        Poll::Ready(polled.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_no_stream_was_open_for_the_time() {
        let streams = OpenStreams::default();
        let time = Duration::from_secs(30);
        let reply = streams.enter().until_sent(Response::new(Body::empty()));
        assert!(timeout(2 * time, streams.idle_for(time)).await.is_err());
        drop(reply);
        // A piece that was not taken yet counts as well.
        let mut reply = streams.enter().until_sent(Response::new(Body::full("m")));
        let frame = reply.body_mut().frame().await.unwrap().unwrap();
        drop(reply);
        assert!(timeout(2 * time, streams.idle_for(time)).await.is_err());
        drop(frame);
        let idle = streams.idle_for(time);
        let between = async {
            tokio::time::sleep(time / 2).await;
            drop(streams.enter());
        };
        let both = async { tokio::join!(idle, between) };
        let start = tokio::time::Instant::now();
        both.await;
        assert_eq!(start.elapsed().as_secs(), 45);
    }
}
