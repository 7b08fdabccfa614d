//! A connection whose replies are read in place: one buffer, no copy of what arrived.

use std::net::SocketAddr;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Size of one read; a reply longer than the buffer makes it grow.
const INPUT_BYTES: usize = 256 << 10;

/// One connection and what arrived on it: `bytes[start..end]` is not taken yet.
pub(crate) struct Input {
    pub(crate) stream: TcpStream,
    pub(crate) bytes: Vec<u8>,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whose it is, for the error.
    server: &'static str,
}

impl Input {
    pub(crate) async fn connect(address: SocketAddr, server: &'static str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            bytes: vec![0; INPUT_BYTES],
            start: 0,
            end: 0,
            server,
        })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// What arrived and is not taken yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Reads on; the place of what is not taken yet may change.
    pub(crate) async fn fill(&mut self) -> anyhow::Result<()> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.bytes.len() {
            if self.start == 0 {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = self.stream.read(&mut self.bytes[self.end..]).await?;
        ensure!(n > 0, "{} closed the connection", self.server);
        self.end += n;
        Ok(())
    }
}
