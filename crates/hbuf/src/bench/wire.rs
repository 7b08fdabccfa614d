//! A lean HTTP/1.1 client for measuring: one connection, one outstanding request, no allocation on
//! the way.
//!
//! The client shares the machine's cores with the server that it measures, so whatever it spends is
//! missing from the server's figures. It owns one input buffer, reads from the socket straight into
//! it, understands the few reply headers that it needs and hands body bytes out in place. It is not
//! a general client: no redirects, no pooling, no trailers but those it skips.
//!
//! Invariants: `start <= end <= input.len()`; the unread part of a reply is described by `body`,
//! and the next request is refused until it is `Body::Done`.

use std::{fmt, io, net::SocketAddr};

use memchr::memchr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why an exchange failed. After any of these the connection is of no use.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The socket refused, broke or timed out.
    Io(io::Error),
    /// The server closed the connection in the middle of a reply.
    Closed,
    /// The bytes are not a reply that this client understands.
    Malformed(&'static str),
    /// The reply's head does not fit the input buffer.
    HeadTooLong(usize),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "connection failed: {e}"),
            Self::Closed => {
                f.write_str("the server closed the connection in the middle of a reply")
            }
            Self::Malformed(what) => write!(f, "the server did not answer in HTTP/1.1: {what}"),
            Self::HeadTooLong(max) => write!(f, "the head of the reply is over {max} bytes"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<io::Error> for WireError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// The part of a reply's head that measuring needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The server will close the connection after this reply.
    pub(crate) closes: bool,
    /// `x-hbuf-seq`: the seq of an append, or of the first message of a batch.
    pub(crate) seq: Option<u64>,
    /// `x-hbuf-settled`, when all that the request settled was acked: how many messages.
    pub(crate) acked: Option<u64>,
}

/// How much of the reply's body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Done,
    /// So many bytes.
    Length(u64),
    /// Bytes left of the current chunk, its CRLF not counted; zero means a chunk size line is next.
    Chunk(u64),
    /// The CRLF behind a chunk is next.
    ChunkEnd,
    /// The server ends the body by closing.
    Close,
}

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    body: Body,
}

impl Connection {
    /// Connects, without Nagle's delay; `input_bytes` bounds a reply's head and one read.
    pub(crate) async fn connect(
        address: SocketAddr,
        input_bytes: usize,
    ) -> Result<Self, WireError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let input = vec![0; input_bytes].into_boxed_slice();
        Ok(Self {
            stream,
            input,
            start: 0,
            end: 0,
            body: Body::Done,
        })
    }

    /// Sends a whole request and reads the head of its reply.
    ///
    /// The body must then be taken with [`Self::chunk`], to its end.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Reply, WireError> {
        if self.body != Body::Done {
            return Err(WireError::Malformed(
                "the reply before this request was not read to its end",
            ));
        }
        self.stream.write_all(request).await?;
        self.head().await
    }

    /// The next piece of the reply's body, in place; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<&[u8]>, WireError> {
        loop {
            match self.body {
                Body::Done => return Ok(None),
                Body::Length(0) => self.body = Body::Done,
                Body::Chunk(0) => self.chunk_size().await?,
                Body::ChunkEnd => {
                    self.line_end().await?;
                    self.body = Body::Chunk(0);
                }
                Body::Length(_) | Body::Chunk(_) | Body::Close => break,
            }
        }
        if self.start == self.end && !self.fill().await? {
            if self.body == Body::Close {
                self.body = Body::Done;
                return Ok(None);
            }
            return Err(WireError::Closed);
        }
        let held = self.end - self.start;
        let taken = match self.body {
            Body::Length(left) | Body::Chunk(left) => {
                usize::try_from(left).unwrap_or(held).min(held)
            }
            Body::Done | Body::ChunkEnd | Body::Close => held,
        };
        self.body = match self.body {
            Body::Length(left) => Body::Length(left - taken as u64),
            Body::Chunk(left) if left == taken as u64 => Body::ChunkEnd,
            Body::Chunk(left) => Body::Chunk(left - taken as u64),
            other => other,
        };
        let at = self.start;
        self.start += taken;
        Ok(Some(&self.input[at..at + taken]))
    }

    /// Reads until the blank line behind the head. An interim (1xx) reply is passed over.
    async fn head(&mut self) -> Result<Reply, WireError> {
        loop {
            if let Some((reply, body, bytes)) = parse_head(&self.input[self.start..self.end])? {
                self.start += bytes;
                if (100..200).contains(&reply.status) {
                    continue;
                }
                self.body = body;
                return Ok(reply);
            }
            if !self.fill().await? {
                return Err(WireError::Closed);
            }
        }
    }

    /// Reads a chunk's size line. Behind the last chunk also reads the trailers.
    async fn chunk_size(&mut self) -> Result<(), WireError> {
        let line = self.line().await?;
        let digits = line.split(|&b| b == b';').next().unwrap_or(line);
        let size = hex(digits.trim_ascii()).ok_or(WireError::Malformed("a bad chunk size"))?;
        self.body = Body::Chunk(size);
        if size == 0 {
            while !self.line().await?.is_empty() {}
            self.body = Body::Done;
        }
        Ok(())
    }

    async fn line_end(&mut self) -> Result<(), WireError> {
        if self.line().await?.is_empty() {
            return Ok(());
        }
        Err(WireError::Malformed(
            "a chunk is longer than its size line says",
        ))
    }

    /// The next line, without its CRLF.
    async fn line(&mut self) -> Result<&[u8], WireError> {
        loop {
            if let Some(n) = memchr(b'\n', &self.input[self.start..self.end]) {
                let at = self.start;
                self.start += n + 1;
                return Ok(self.input[at..at + n].trim_ascii_end());
            }
            if !self.fill().await? {
                return Err(WireError::Closed);
            }
        }
    }

    /// Reads once from the socket behind what is held; false when the server has closed.
    async fn fill(&mut self) -> Result<bool, WireError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.input.len() {
            if self.start == 0 {
                return Err(WireError::HeadTooLong(self.input.len()));
            }
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = self.stream.read(&mut self.input[self.end..]).await?;
        self.end += n;
        Ok(n > 0)
    }
}

/// Parses a head if it is there whole: the reply, what body follows, and the head's length.
fn parse_head(bytes: &[u8]) -> Result<Option<(Reply, Body, usize)>, WireError> {
    let Some(first) = memchr(b'\n', bytes) else {
        return Ok(None);
    };
    let status = parse_status(&bytes[..first])?;
    let mut reply = Reply {
        status,
        closes: false,
        seq: None,
        acked: None,
    };
    let mut length = None;
    let mut chunked = false;
    let mut at = first + 1;
    loop {
        let Some(n) = memchr(b'\n', &bytes[at..]) else {
            return Ok(None);
        };
        let line = &bytes[at..at + n];
        at += n + 1;
        if line.len() <= 1 {
            break;
        }
        // The first letter spares the comparison for most lines.
        match line[0] | 0x20 {
            b'c' => {
                if let Some(value) = value_of(line, b"content-length") {
                    let parsed = decimal(value);
                    length = Some(parsed.ok_or(WireError::Malformed("a bad content-length"))?);
                } else if let Some(value) = value_of(line, b"connection") {
                    reply.closes = value.eq_ignore_ascii_case(b"close");
                }
            }
            b't' => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    chunked = value.eq_ignore_ascii_case(b"chunked");
                }
            }
            b'x' => {
                if let Some(value) = value_of(line, b"x-hbuf-seq") {
                    reply.seq = decimal(value);
                } else if let Some(value) = value_of(line, b"x-hbuf-settled") {
                    reply.acked = value.strip_prefix(b"acked=").and_then(decimal);
                }
            }
            _ => {}
        }
    }
    let bodiless = status == 204 || status == 304 || (100..200).contains(&status);
    let body = match length {
        _ if bodiless => Body::Done,
        _ if chunked => Body::Chunk(0),
        Some(0) => Body::Done,
        Some(n) => Body::Length(n),
        None => Body::Close,
    };
    Ok(Some((reply, body, at)))
}

fn parse_status(line: &[u8]) -> Result<u16, WireError> {
    let digits = match line.get(..12) {
        Some(head) if head.starts_with(b"HTTP/1.") && head[8] == b' ' => &head[9..12],
        _ => return Err(WireError::Malformed("no HTTP/1 status line")),
    };
    let status = decimal(digits).and_then(|n| u16::try_from(n).ok());
    status.ok_or(WireError::Malformed("a status code that is no number"))
}

/// The trimmed value of a header line if its name is `name` (given in lower case).
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if line.len() <= name.len() || line[name.len()] != b':' {
        return None;
    }
    line[..name.len()]
        .eq_ignore_ascii_case(name)
        .then(|| line[name.len() + 1..].trim_ascii())
}

/// A decimal number of at most 18 digits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, &b| {
        b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
    })
}

/// A hexadecimal number of at most 15 digits.
pub(crate) fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, &b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            _ => return None,
        };
        Some(n << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Serves `replies` to one connection, one per request head; cut into pieces of `piece` bytes.
    async fn served(replies: &'static [u8], piece: usize) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            for part in replies.chunks(piece) {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Connection::connect(address, 256).await.unwrap()
    }

    async fn body(connection: &mut Connection) -> Result<Vec<u8>, WireError> {
        let mut kept = Vec::new();
        while let Some(piece) = connection.chunk().await? {
            kept.extend_from_slice(piece);
        }
        Ok(kept)
    }

    async fn check(replies: &'static [u8], status: u16, expected: &[u8]) {
        for piece in [1, 7, replies.len()] {
            let mut connection = served(replies, piece).await;
            let reply = connection.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert_eq!(reply.status, status);
            assert_eq!(body(&mut connection).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn every_kind_of_body_is_read_to_its_end() {
        check(
            b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc",
            201,
            b"abc",
        )
        .await;
        check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\na: b\r\n\r\n", 200, b"abcde").await;
        check(
            b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nuntil the end",
            200,
            b"until the end",
        )
        .await;
        check(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"").await;
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
            201,
            b"",
        )
        .await;
    }

    #[tokio::test]
    async fn a_reply_that_is_cut_short_is_an_error() {
        let mut connection = served(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", 64).await;
        connection.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(
            body(&mut connection).await,
            Err(WireError::Closed)
        ));
    }

    #[tokio::test]
    async fn something_else_than_http_is_named_as_such() {
        let mut connection = served(b"-ERR unknown command\r\n", 64).await;
        let e = connection
            .send(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .unwrap_err();
        assert_eq!(
            e.to_string(),
            "the server did not answer in HTTP/1.1: no HTTP/1 status line"
        );
    }

    #[tokio::test]
    async fn a_head_longer_than_the_buffer_is_refused() {
        const LONG: [u8; 600] = {
            let mut bytes = [b'a'; 600];
            let first = b"HTTP/1.1 200 OK\r\n";
            let mut i = 0;
            while i < first.len() {
                bytes[i] = first[i];
                i += 1;
            }
            bytes
        };
        let mut connection = served(&LONG, 600).await;
        let e = connection
            .send(b"GET / HTTP/1.1\r\n\r\n")
            .await
            .unwrap_err();
        assert!(matches!(e, WireError::HeadTooLong(256)));
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        assert_eq!(decimal(b"1234"), Some(1234));
        assert_eq!(decimal(b"12a"), None);
        assert_eq!(decimal(b"9999999999999999999"), None);
        assert_eq!(hex(b"1fA"), Some(0x1fa));
        assert_eq!(hex(b"1234567890abcdef"), None);
    }
}
