//! Reading hbuf in pages of lines, and working for a consumer: as a client without a library does.

use std::net::SocketAddr;

use anyhow::ensure;
use memchr::memmem;
use serde::Deserialize;

use crate::drive::Work;
use crate::wire::{Connection, Reply};

/// Size of one read of a connection.
const INPUT_BYTES: usize = 256 << 10;

/// What a line says: a message, or where a topic's page ends.
#[derive(Deserialize)]
struct Line {
    seq: Option<u64>,
    cursor: Option<String>,
}

/// One connection that asks below one path for at most so many messages at a time.
struct Caller {
    connection: Connection,
    address: SocketAddr,
    path: String,
    limit: u64,
    /// The body of the last reply.
    page: Vec<u8>,
}

impl Caller {
    async fn connect(address: SocketAddr, path: String, limit: u64) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::connect(address, INPUT_BYTES).await?,
            address,
            path,
            limit,
            page: Vec::new(),
        })
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Reply> {
        whole(&mut self.connection, request, &mut self.page).await
    }

    fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        let lines = self.page.split(|&byte| byte == b'\n');
        lines.filter(|line| !line.is_empty())
    }
}

/// Reads pages from the start to the end, again and again.
pub(crate) struct Pages {
    caller: Caller,
    /// What is asked for besides the place and the limit.
    query: &'static str,
    /// Only messages that have this text count, and the client looks for it itself.
    wanted: Option<memmem::Finder<'static>>,
    after: String,
    read: u64,
    expected: u64,
}

impl Pages {
    /// `path` is that of a buffer or a topic with `expected` messages; `limit` those of a page.
    pub(crate) async fn connect(
        address: SocketAddr,
        path: String,
        limit: u64,
        expected: u64,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            caller: Caller::connect(address, path, limit).await?,
            query: "",
            wanted: None,
            after: "0".to_owned(),
            read: 0,
            expected,
        })
    }

    /// Asks for some messages only; `query` begins with `&`.
    pub(crate) const fn asking(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    /// Asks for all, and takes only those that have this text.
    pub(crate) fn taking(mut self, wanted: &'static str) -> Self {
        self.wanted = Some(memmem::Finder::new(wanted));
        self
    }

    /// Begins behind this message.
    pub(crate) fn behind(mut self, seq: u64) -> Self {
        self.after = seq.to_string();
        self
    }

    /// The next page; how many messages it has, and how many of them are wanted.
    pub(crate) async fn page(&mut self) -> anyhow::Result<(u64, u64)> {
        let request = format!(
            "GET {}/messages?after={}&limit={}{} HTTP/1.1\r\nhost: {}\r\n\
             accept: application/x-ndjson\r\n\r\n",
            self.caller.path, self.after, self.caller.limit, self.query, self.caller.address
        );
        self.caller.ask(request.as_bytes()).await?;
        let messages = self.pass_page()?;
        let wanted = match &self.wanted {
            None => messages,
            Some(finder) => finder.find_iter(&self.caller.page).count() as u64,
        };
        Ok((messages, wanted))
    }

    /// Bytes of the last page.
    pub(crate) fn page_bytes(&self) -> u64 {
        self.caller.page.len() as u64
    }

    /// Goes on behind the page; says how many messages it had.
    fn pass_page(&mut self) -> anyhow::Result<u64> {
        let mut lines = self.caller.lines();
        let count = lines.clone().count() as u64;
        let Some(last) = lines.next_back() else {
            return Ok(0);
        };
        let last: Line = serde_json::from_slice(last)?;
        let (after, messages) = match (last.seq, last.cursor) {
            (Some(seq), _) => (seq.to_string(), count),
            (None, Some(cursor)) => (cursor, count - 1),
            _ => anyhow::bail!("the last line has neither a seq nor a cursor"),
        };
        self.after = after;
        Ok(messages)
    }
}

impl Work for Pages {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        let (messages, wanted) = self.page().await?;
        self.read += wanted;
        if messages == 0 {
            let (read, expected) = (self.read, self.expected);
            ensure!(read == expected, "pages ended after {read} of {expected}");
            (self.read, self.after) = (0, "0".to_owned());
        }
        Ok((wanted, self.page_bytes()))
    }
}

/// Takes messages in hundreds and acks them. Of each line it looks for the two values that an ack
/// needs and passes the rest, as the reader of pages does: what is measured is the server.
pub(crate) struct Worker {
    caller: Caller,
    /// Acks go with the next request, instead of in one of their own.
    together: bool,
    /// What was handed out last, and how many messages that were.
    acks: (String, u64),
}

/// The ack of the messages of a page, and how many they are.
fn acks<'p>(lines: impl Iterator<Item = &'p [u8]>) -> (String, u64) {
    let (seq, lease) = (
        memmem::Finder::new("\"seq\":"),
        memmem::Finder::new("\"lease\":"),
    );
    let value = |line: &'p [u8], name: &memmem::Finder<'_>| {
        let value = &line[name.find(line)? + name.needle().len()..];
        let end = value.iter().position(|byte| matches!(byte, b',' | b'}'))?;
        std::str::from_utf8(&value[..end]).ok()
    };
    let (mut acks, mut count) = (String::from("{\"ack\":["), 0);
    for line in lines {
        let (Some(seq), Some(lease)) = (value(line, &seq), value(line, &lease)) else {
            continue;
        };
        let comma = if count > 0 { "," } else { "" };
        acks.push_str(&format!("{comma}{{\"seq\":{seq},\"lease\":{lease}}}"));
        count += 1;
    }
    acks.push_str("]}");
    (acks, count)
}

impl Worker {
    /// `path` is that of a consumer that exists.
    pub(crate) async fn connect(
        address: SocketAddr,
        path: String,
        limit: u64,
        together: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            caller: Caller::connect(address, path, limit).await?,
            together,
            acks: (String::new(), 0),
        })
    }

    async fn post(&mut self, to: &str, json: &str) -> anyhow::Result<Reply> {
        let request = format!(
            "POST {}/{to} HTTP/1.1\r\nhost: {}\r\naccept: application/x-ndjson, */*;q=0.5\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            self.caller.path,
            self.caller.address,
            json.len()
        );
        self.caller.ask(request.as_bytes()).await
    }

    /// Takes the next messages, and acks those of before in the same request; how many were acked,
    /// and bytes.
    async fn next_with_acks(&mut self) -> anyhow::Result<(u64, u64)> {
        let next = format!("next?limit={}", self.caller.limit);
        let (before, count) = std::mem::take(&mut self.acks);
        let acked = self.post(&next, &before).await?.acked.unwrap_or(0);
        ensure!(acked == count, "{acked} of {count} messages were acked");
        self.acks = acks(self.caller.lines());
        let bytes = self.caller.page.len() as u64;
        if self.acks.1 == 0 {
            self.acks.0.clear();
            self.post("seek", r#"{"start": "first"}"#).await?;
        }
        Ok((count, bytes))
    }
}

impl Work for Worker {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        if self.together {
            return self.next_with_acks().await;
        }
        let next = format!("next?limit={}", self.caller.limit);
        self.post(&next, "").await?;
        let (acks, count) = acks(self.caller.lines());
        if count == 0 {
            self.post("seek", r#"{"start": "first"}"#).await?;
            return Ok((0, 0));
        }
        let bytes = self.caller.page.len() as u64;
        self.post("acks", &acks).await?;
        let acked = memmem::find_iter(&self.caller.page, b"\"acked\"").count() as u64;
        ensure!(acked == count, "{acked} of {count} messages were acked");
        Ok((count, bytes))
    }
}

/// Sends a request and takes the whole body of its reply, which must be a success.
async fn whole(on: &mut Connection, request: &[u8], body: &mut Vec<u8>) -> anyhow::Result<Reply> {
    body.clear();
    let reply = on.send(request).await?;
    while let Some(piece) = on.chunk().await? {
        body.extend_from_slice(piece);
    }
    let text = || String::from_utf8_lossy(body).into_owned();
    let status = reply.status;
    ensure!((200..300).contains(&status), "status {status}: {}", text());
    Ok(reply)
}

/// Sends prepared requests, one after the other; each must succeed.
pub(crate) async fn send_all(
    address: SocketAddr,
    requests: impl Iterator<Item = Vec<u8>>,
) -> anyhow::Result<()> {
    let mut connection = Connection::connect(address, INPUT_BYTES).await?;
    let mut body = Vec::new();
    for request in requests {
        whole(&mut connection, &request, &mut body).await?;
    }
    Ok(())
}

/// A request with JSON.
pub(crate) fn json_request(address: SocketAddr, method: &str, path: &str, json: &str) -> Vec<u8> {
    let length = json.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{json}"
    )
    .into_bytes()
}

/// The path of consumer `n` of a buffer.
pub(crate) fn consumer_path(buffer: &str, n: usize) -> String {
    format!("/buffers/{buffer}/consumers/c{n}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_acks_what_each_line_names() {
        let lines: [&[u8]; 3] = [
            br#"{"buffer":"b","lease":"00000000000000ff","deliveries":1,"seq":7,"body":"x"}"#,
            br#"{"passed":[]}"#,
            br#"{"buffer":"b","lease":null,"deliveries":1,"seq":8}"#,
        ];
        let wanted = r#"{"ack":[{"seq":7,"lease":"00000000000000ff"},{"seq":8,"lease":null}]}"#;
        assert_eq!(acks(lines.into_iter()), (wanted.to_owned(), 2));
    }
}
