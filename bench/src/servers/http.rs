//! Driving anything that speaks HTTP/1.1: hbuf and the bare server, with the same client.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::drive::Work;
use crate::frames::{Frames, Stamps};
use crate::paced::{Receive, Send1};
use crate::wire::{Connection, Reply, WireError};

/// Size of one read of a connection that appends.
const INPUT_BYTES: usize = 16 << 10;
/// Size of one read of a connection that catches up.
const READ_INPUT_BYTES: usize = 256 << 10;

/// Sends a request and drops the body of the reply.
pub(crate) async fn exchange(on: &mut Connection, request: &[u8]) -> Result<Reply, WireError> {
    let reply = on.send(request).await?;
    while on.chunk().await?.is_some() {}
    Ok(reply)
}

/// An append of one message.
pub(crate) fn append_request(
    address: SocketAddr,
    buffer: &str,
    lines: &str,
    body: &[u8],
) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "POST /buffers/{buffer} HTTP/1.1\r\nhost: {address}\r\n{lines}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A batch of `count` messages with the same body.
pub(crate) fn batch_request(
    address: SocketAddr,
    buffer: &str,
    count: usize,
    body: &[u8],
) -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..count {
        let head = format!(
            "POST / HTTP/1.1\r\nhost:\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        inner.extend_from_slice(head.as_bytes());
        inner.extend_from_slice(body);
        inner.extend_from_slice(b"\r\n");
    }
    let lines = "content-type: application/http; msgtype=request\r\n";
    append_request(address, buffer, lines, &inner)
}

/// Sends prepared requests, one after the other, in turn.
pub(crate) struct Appends {
    connection: Connection,
    requests: Vec<Vec<u8>>,
    next: usize,
    messages: u64,
    bytes: u64,
}

impl Appends {
    /// `messages` and `bytes` are what each request carries.
    pub(crate) async fn connect(
        address: SocketAddr,
        requests: Vec<Vec<u8>>,
        messages: u64,
        bytes: u64,
    ) -> anyhow::Result<Self> {
        let connection = Connection::connect(address, INPUT_BYTES).await?;
        Ok(Self {
            connection,
            requests,
            next: 0,
            messages,
            bytes,
        })
    }
}

impl Work for Appends {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        let request = &self.requests[self.next];
        self.next = (self.next + 1) % self.requests.len();
        let reply = exchange(&mut self.connection, request).await?;
        ensure!(
            reply.status == 201,
            "an append was answered with status {}",
            reply.status
        );
        Ok((self.messages, self.bytes))
    }
}

/// Reads a buffer from its start to its end, again and again, and walks every record.
pub(crate) struct CatchUp {
    connection: Connection,
    request: Vec<u8>,
    frames: Frames,
    /// Messages that every pass must deliver.
    expected: u64,
    reading: bool,
}

impl CatchUp {
    pub(crate) async fn connect(
        address: SocketAddr,
        buffer: &str,
        expected: u64,
    ) -> anyhow::Result<Self> {
        let request = format!(
            "GET /buffers/{buffer}/messages?after=0 HTTP/1.1\r\nhost: {address}\r\n\
             accept: application/http\r\n\r\n"
        );
        let connection = Connection::connect(address, READ_INPUT_BYTES).await?;
        let request = request.into_bytes();
        Ok(Self {
            connection,
            request,
            frames: Frames::after(0),
            expected,
            reading: false,
        })
    }
}

impl Work for CatchUp {
    /// One piece of the stream.
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        if !self.reading {
            let reply = self.connection.send(&self.request).await?;
            ensure!(
                reply.status == 200,
                "a read was answered with status {}",
                reply.status
            );
            self.frames = Frames::after(0);
            self.reading = true;
        }
        if let Some(piece) = self.connection.chunk().await? {
            self.frames.feed(piece)?;
            return Ok((self.frames.take_count(), self.frames.take_bytes()));
        }
        let last = self.frames.last();
        ensure!(self.frames.is_whole(), "a read ended within a record");
        ensure!(
            last == self.expected,
            "a read ended at message {last} of {}",
            self.expected
        );
        self.reading = false;
        Ok((0, 0))
    }
}

/// Appends stamped messages.
pub(crate) struct StampedAppends {
    pub(crate) connection: Connection,
    pub(crate) address: SocketAddr,
    pub(crate) buffer: String,
}

impl StampedAppends {
    pub(crate) async fn connect(address: SocketAddr, buffer: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(address, INPUT_BYTES).await?;
        Ok(Self {
            connection,
            address,
            buffer: buffer.to_owned(),
        })
    }
}

impl Send1 for StampedAppends {
    async fn send(&mut self, body: &[u8]) -> anyhow::Result<()> {
        // As text, so that an event carries the body as it is.
        let lines = "content-type: text/plain\r\n";
        let request = append_request(self.address, &self.buffer, lines, body);
        let reply = exchange(&mut self.connection, &request).await?;
        ensure!(
            reply.status == 201,
            "an append was answered with status {}",
            reply.status
        );
        Ok(())
    }
}

/// A tailing reader over server-sent events.
pub(crate) struct Tail {
    connection: Connection,
    found: Stamps,
}

impl Tail {
    /// Follows `buffer` from behind `after`. `input_bytes` is what this reader costs the client.
    pub(crate) async fn connect(
        address: SocketAddr,
        buffer: &str,
        after: u64,
        input_bytes: usize,
    ) -> anyhow::Result<Self> {
        let mut connection = Connection::connect(address, input_bytes).await?;
        let request = format!(
            "GET /buffers/{buffer}/messages?after={after} HTTP/1.1\r\nhost: {address}\r\n\
             accept: text/event-stream\r\n\r\n"
        );
        let reply = connection.send(request.as_bytes()).await?;
        ensure!(
            reply.status == 200,
            "a tail was answered with status {}",
            reply.status
        );
        Ok(Self {
            connection,
            found: Stamps::default(),
        })
    }
}

impl Receive for Tail {
    async fn receive(&mut self, stamps: &mut Vec<u64>) -> anyhow::Result<()> {
        let piece = self.connection.chunk().await?;
        let Some(piece) = piece else {
            anyhow::bail!("the server ended the tail")
        };
        self.found.feed(piece, |ns| stamps.push(ns));
        Ok(())
    }
}
