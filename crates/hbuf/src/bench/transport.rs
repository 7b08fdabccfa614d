//! One connection to a server, over HTTP/1.1 or HTTP/2, with one outstanding request.
//!
//! HTTP/1.1 is the lean client of `wire`. HTTP/2 is hyper's: its framing is no few lines, so its
//! figures hold more of the client's own cost; the table names the protocol.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::wire::{Connection, Reply, WireError, decimal};

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// See the module.
pub(crate) enum Transport {
    Http1(Connection),
    Http2(Http2),
}

/// The HTTP/2 side: the sender, and the body of the reply that is being read.
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    body: Option<Incoming>,
    piece: Bytes,
}

impl Transport {
    /// Connects; `input_bytes` is the HTTP/1.1 client's buffer.
    pub(crate) async fn connect(
        version: Version,
        address: SocketAddr,
        input_bytes: usize,
    ) -> Result<Self, WireError> {
        if version == Version::Http1 {
            return Ok(Self::Http1(
                Connection::connect(address, input_bytes).await?,
            ));
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| WireError::Io(std::io::Error::other(e)))?;
        // Ends with the sender, which this transport owns.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self::Http2(Http2 {
            sender,
            body: None,
            piece: Bytes::new(),
        }))
    }

    /// Sends a request, given as HTTP/1.1 text, and returns the head of the reply.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Reply, WireError> {
        match self {
            Self::Http1(connection) => connection.send(request).await,
            Self::Http2(http2) => http2.send(request).await,
        }
    }

    /// The next piece of the reply's body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<&[u8]>, WireError> {
        match self {
            Self::Http1(connection) => connection.chunk().await,
            Self::Http2(http2) => http2.chunk().await,
        }
    }

    /// Reads the body to its end, keeping at most `bytes_max` of it.
    pub(crate) async fn body_text(&mut self, bytes_max: usize) -> Result<Vec<u8>, WireError> {
        let mut kept = Vec::new();
        while let Some(piece) = self.chunk().await? {
            let room = bytes_max.saturating_sub(kept.len()).min(piece.len());
            kept.extend_from_slice(&piece[..room]);
        }
        Ok(kept)
    }

    /// Reads the body to its end and drops it.
    pub(crate) async fn skip_body(&mut self) -> Result<(), WireError> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }
}

impl Http2 {
    async fn send(&mut self, request: &[u8]) -> Result<Reply, WireError> {
        let request = translate(request).ok_or(WireError::Malformed("a request of our own"))?;
        let failed = |e: hyper::Error| WireError::Io(std::io::Error::other(e));
        self.sender.ready().await.map_err(failed)?;
        let reply = self.sender.send_request(request).await.map_err(failed)?;
        let (head, body) = reply.into_parts();
        self.body = Some(body);
        let seq = head
            .headers
            .get("x-hbuf-seq")
            .and_then(|value| decimal(value.as_bytes()));
        Ok(Reply {
            status: head.status.as_u16(),
            closes: false,
            seq,
            // Nobody settles over it.
            acked: None,
        })
    }

    async fn chunk(&mut self) -> Result<Option<&[u8]>, WireError> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| WireError::Io(std::io::Error::other(e)))?;
            if let Ok(data) = frame.into_data() {
                self.piece = data;
                return Ok(Some(&self.piece));
            }
        }
        self.body = None;
        Ok(None)
    }
}

/// Makes an HTTP/2 request out of the text of an HTTP/1.1 one.
fn translate(request: &[u8]) -> Option<http::Request<Full<Bytes>>> {
    let end = memchr::memmem::find(request, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&request[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?, first.next()?);
    let mut builder = http::Request::builder()
        .method(method)
        .version(http::Version::HTTP_2);
    let mut host = "";
    for line in lines {
        let (name, value) = line.split_once(':')?;
        match name {
            "host" => host = value.trim(),
            "content-length" => {}
            _ => builder = builder.header(name, value.trim()),
        }
    }
    let body = Bytes::copy_from_slice(&request[end + 4..]);
    builder
        .uri(format!("http://{host}{path}"))
        .body(Full::new(body))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http1_request_becomes_an_http2_request() {
        let text = b"POST /buffers/b HTTP/1.1\r\nhost: h:1\r\nx-hbuf-key: k\r\ncontent-length: 2\r\n\r\nab";
        let request = translate(text).unwrap();
        assert_eq!(request.uri(), "http://h:1/buffers/b");
        assert_eq!(request.headers().get("x-hbuf-key").unwrap(), "k");
        assert!(request.headers().get("host").is_none());
    }
}
