//! A client's connection as hyper sees it: a TCP stream that gives up on a client that takes
//! nothing, that sends ranges of files, and that gives hyper's own bare refusals a body.
//!
//! hyper answers what is not HTTP by a status line alone, before any route is asked. A refusal
//! without a sentence helps nobody, so such a head is replaced by a whole problem on its way out.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hbuf_core::limits::LINGER_SECONDS_MAX;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::file_ranges::{FileRanges, Front, front, stands_in};
use super::problem::{Code, Problem};

/// See the module.
pub(crate) struct Socket {
    stream: TokioIo<TcpStream>,
    patience: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// A refusal that stands in for hyper's.
    refusal: Bytes,
    /// Our side is closed, and what the client still sends is thrown away until this runs out.
    lingering: Option<Pin<Box<Sleep>>>,
    /// Something came while it ran.
    sends: bool,
    /// The ranges of files that hyper's slices may stand for.
    ranges: Option<FileRanges>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, patience: Duration, ranges: Option<FileRanges>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            patience,
            stalled: None,
            refusal: Bytes::new(),
            lingering: None,
            sends: false,
            ranges,
        }
    }

    /// Sends a problem as the last that the client gets. Where a reply still waits for the client
    /// to take it, the problem would stand within that reply, and is not sent.
    pub(crate) async fn refuse(mut self, problem: &Problem) {
        if self.stalled.is_some() {
            return;
        }
        self.refusal = plain_reply(problem);
        // Whoever does not take it is gone all the same.
        let _ = poll_fn(|context| Pin::new(&mut self).poll_shutdown(context)).await;
    }

    /// Writes memory and ranges of files, in turn.
    fn poll_write_ranges(
        &mut self,
        context: &mut Context<'_>,
        ranges: &FileRanges,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ranges.check()?;
        let stream = self.stream.inner();
        loop {
            std::task::ready!(stream.poll_write_ready(context))?;
            let written = stream.try_io(Interest::WRITABLE, || match front(slices) {
                Front::File(bytes) => ranges.send(stream, bytes),
                Front::Memory(count, more) => send(stream, &slices[..count], more),
            });
            match written {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Takes what a client still sends of a body that was refused. Closing with bytes unread makes
    /// the system reset the connection, and the reset can overtake the reply that says why. A
    /// client that neither closes nor sends anything soon is not waited for.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut thrown_away = [0; LINGER_PIECE_BYTES];
        let lingering = loop {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            let read = Pin::new(self.stream.inner_mut()).poll_read(context, &mut buffer);
            let lingering = self
                .lingering
                .get_or_insert_with(|| Box::pin(sleep(LINGER_FIRST)));
            match read {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break lingering,
            }
            if !self.sends {
                self.sends = true;
                let end = Instant::now() + Duration::from_secs(LINGER_SECONDS_MAX);
                lingering.as_mut().reset(end);
            }
            if lingering.is_elapsed() {
                return Poll::Ready(Ok(()));
            }
        };
        lingering.as_mut().poll(context).map(Ok)
    }

    /// Notes progress, or starts the clock; when it runs out the connection is broken off.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::TimedOut.into())),
        }
    }

    /// Sends what stands in for hyper's refusal.
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.refusal.has_remaining() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.refusal);
            match self.watch(written, context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.refusal.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(refusal) = refusal(buffer) {
            self.refusal = refusal;
            return match self.poll_refusal(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                // What is left is sent by the flush that follows.
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(buffer.len())),
            };
        }
        if stands_in(buffer) {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [buffer] = buffers
            && refusal(buffer).is_some()
        {
            return self.poll_write(context, buffer);
        }
        let written = match self.ranges.clone() {
            Some(ranges) => self.poll_write_ranges(context, &ranges, buffers),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, buffers),
        };
        self.watch(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_refusal(context) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            match self.poll_refusal(context) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            match Pin::new(&mut self.stream).poll_shutdown(context) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
        self.poll_linger(context)
    }
}

/// Writes slices of memory. When a file's bytes follow, the system waits for them with the packet.
fn send(stream: &TcpStream, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, more);
    let sent = sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), flags)?;
    Ok(sent)
}

/// How soon a client must send or close, once our side is closed.
const LINGER_FIRST: Duration = Duration::from_millis(500);
/// Bytes that are thrown away at a time.
const LINGER_PIECE_BYTES: usize = 16 << 10;

/// What goes out in place of a bare refusal of hyper's; `None` for everything else. Replies of ours
/// with such a status always have a content type.
fn refusal(buffer: &[u8]) -> Option<Bytes> {
    if !buffer.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let (code, detail) = match buffer.get(9..12)? {
        b"400" => (
            Code::RequestMalformed,
            "The request does not follow HTTP/1.1 (RFC 9112): look at its request line, its header lines \
             and its content-length.",
        ),
        b"414" => (
            Code::TargetTooLong,
            "The path and query have more than 65,534 bytes: shorten them.",
        ),
        b"431" => (
            Code::HeadTooLarge,
            "The request has more than 100 header lines or more than 81,920 bytes of them: send fewer.",
        ),
        _ => return None,
    };
    let head = std::str::from_utf8(buffer).ok()?.to_ascii_lowercase();
    if !head.ends_with("\r\n\r\n") || head.contains("\r\ncontent-type:") {
        return None;
    }
    let problem = Problem::new(code, detail);
    Some(plain_reply(&problem))
}

/// A whole reply in bytes, for where there is no hyper to write it. The connection closes behind
/// it.
pub(crate) fn plain_reply(problem: &Problem) -> Bytes {
    let row = problem.code.row();
    let mut body = problem.document().to_string();
    body.push('\n');
    let reason = row.status.canonical_reason().unwrap_or_default();
    let retry = match row.retry {
        super::problem::Retry::No => String::new(),
        super::problem::Retry::After(seconds) => format!("retry-after: {seconds}\r\n"),
    };
    Bytes::from(format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {}\r\nx-content-type-options: nosniff\r\n\
         cache-control: no-store\r\n{retry}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        row.status.as_u16(),
        super::problem::MEDIA_TYPE,
        body.len(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_refusal_gets_a_body_and_a_whole_reply_stays() {
        let bare = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let text = String::from_utf8(refusal(bare).unwrap().to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(
            text.contains("urn:hbuf:problem:request-malformed"),
            "{text}"
        );
        for whole in [
            &b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 201 Created\r\n\r\n",
            b"HTTP/1.1 4",
        ] {
            assert_eq!(refusal(whole), None);
        }
    }
}
