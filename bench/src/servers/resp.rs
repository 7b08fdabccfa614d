//! A raw client of Redis' protocol (RESP2) that walks every frame and copies none.

use std::net::SocketAddr;

use anyhow::{bail, ensure};
use memchr::memchr;

use super::input::Input;
use crate::wire::decimal;

/// One connection.
pub(crate) struct Client {
    input: Input,
}

/// One element of a reply: the header of an array, or a string in place.
enum Element {
    /// An array of so many elements; none if it is null.
    Array(u64),
    /// Where the string lies in the input.
    Text(usize, usize),
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let input = Input::connect(address, "Redis").await?;
        Ok(Self { input })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.input.send(bytes).await
    }

    /// Reads `count` replies that are single strings or numbers.
    pub(crate) async fn replies(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            match self.element().await? {
                Element::Text(..) => {}
                Element::Array(_) => bail!("Redis answered with an array"),
            }
        }
        Ok(())
    }

    /// Sends a command and returns all strings of its reply, however nested.
    pub(crate) async fn ask(&mut self, parts: &[&str]) -> anyhow::Result<Vec<String>> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        self.send(&command(&parts)).await?;
        let mut left = 1;
        let mut texts = Vec::new();
        while left > 0 {
            left -= 1;
            match self.element().await? {
                Element::Array(count) => left += count,
                Element::Text(at, end) => {
                    texts.push(String::from_utf8_lossy(&self.input.bytes[at..end]).into_owned());
                }
            }
        }
        Ok(texts)
    }

    /// Reads the reply of an XREAD of one stream: calls `value` with each message's value, leaves
    /// the last id in `last`, returns the messages.
    pub(crate) async fn entries(
        &mut self,
        last: &mut Vec<u8>,
        mut value: impl FnMut(&[u8]),
    ) -> anyhow::Result<u64> {
        let Element::Array(streams) = self.element().await? else {
            bail!("XREAD gave no array")
        };
        if streams == 0 {
            return Ok(0);
        }
        self.array(2).await?;
        self.text().await?;
        let Element::Array(entries) = self.element().await? else {
            bail!("a stream is no array")
        };
        for n in 0..entries {
            self.array(2).await?;
            let (at, end) = self.text().await?;
            if n + 1 == entries {
                last.clear();
                last.extend_from_slice(&self.input.bytes[at..end]);
            }
            self.array(2).await?;
            self.text().await?;
            let (at, end) = self.text().await?;
            value(&self.input.bytes[at..end]);
        }
        Ok(entries)
    }

    async fn array(&mut self, expected: u64) -> anyhow::Result<()> {
        match self.element().await? {
            Element::Array(count) if count == expected => Ok(()),
            _ => bail!("no array of {expected} where one must be"),
        }
    }

    async fn text(&mut self) -> anyhow::Result<(usize, usize)> {
        match self.element().await? {
            Element::Text(at, end) => Ok((at, end)),
            Element::Array(_) => bail!("an array where a string must be"),
        }
    }

    async fn element(&mut self) -> anyhow::Result<Element> {
        loop {
            if let Some(element) = self.parse()? {
                return Ok(element);
            }
            self.input.fill().await?;
        }
    }

    /// The next element, if it is there whole.
    fn parse(&mut self) -> anyhow::Result<Option<Element>> {
        let bytes = self.input.rest();
        let Some(n) = memchr(b'\n', bytes) else {
            return Ok(None);
        };
        ensure!(
            n >= 2 && bytes[n - 1] == b'\r',
            "Redis does not answer in RESP"
        );
        let (kind, line) = (bytes[0], &bytes[1..n - 1]);
        let at = self.input.start + 1;
        let after = self.input.start + n + 1;
        let element = match kind {
            b'*' if line == b"-1" => Element::Array(0),
            b'*' => Element::Array(number(line)?),
            b'+' | b':' => Element::Text(at, after - 2),
            b'$' if line == b"-1" => Element::Text(at, at),
            b'$' => {
                let end = after + usize::try_from(number(line)?)?;
                if end + 2 > self.input.end {
                    return Ok(None);
                }
                self.input.start = end + 2;
                return Ok(Some(Element::Text(after, end)));
            }
            b'-' => bail!("Redis refused: {}", String::from_utf8_lossy(line)),
            _ => bail!("Redis does not answer in RESP"),
        };
        self.input.start = after;
        Ok(Some(element))
    }
}

fn number(digits: &[u8]) -> anyhow::Result<u64> {
    decimal(digits).ok_or_else(|| anyhow::anyhow!("Redis does not answer in RESP: a bad number"))
}

/// A command as an array of strings.
pub(crate) fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
