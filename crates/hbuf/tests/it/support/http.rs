//! A small blocking HTTP/1.1 client: one connection, one request at a time.
//!
//! It shares no code with the server or with `hbuf-client`, so that a misunderstanding of theirs
//! about the wire does not cancel out.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence that a test accepts from the server.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// One connection, opened when it is first needed.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a header that holds a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send("GET", path, &[("accept", "application/http")], b"")
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.send("POST", path, &[], body)
    }

    /// Appends once however often it is sent.
    pub(crate) fn post_once(&mut self, path: &str, key: &str, body: &[u8]) -> io::Result<Reply> {
        self.send("POST", path, &[("idempotency-key", key)], body)
    }

    pub(crate) fn put_json(&mut self, path: &str, json: &str) -> io::Result<Reply> {
        self.send(
            "PUT",
            path,
            &[("content-type", "application/json")],
            json.as_bytes(),
        )
    }

    pub(crate) fn put_text(&mut self, path: &str, text: &str) -> io::Result<Reply> {
        self.send(
            "PUT",
            path,
            &[("content-type", "text/plain")],
            text.as_bytes(),
        )
    }

    pub(crate) fn delete(&mut self, path: &str) -> io::Result<Reply> {
        self.send("DELETE", path, &[], b"")
    }

    /// Appends bodies as one batch.
    pub(crate) fn post_batch(&mut self, path: &str, bodies: &[Vec<u8>]) -> io::Result<Reply> {
        let mut batch = Vec::new();
        for body in bodies {
            let head = format!(
                "POST / HTTP/1.1\r\nhost:\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            batch.extend_from_slice(head.as_bytes());
            batch.extend_from_slice(body);
            batch.extend_from_slice(b"\r\n");
        }
        let headers = [("content-type", "application/http; msgtype=request")];
        self.send("POST", path, &headers, &batch)
    }

    /// Sends a request and reads its whole reply. After an error the connection is not used again.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        stream.get_mut().write_all(&bytes)?;
        let (reply, keep) = read_reply(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(reply)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, SILENCE_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        Ok(BufReader::new(stream))
    }
}

fn read_reply(stream: &mut BufReader<TcpStream>) -> io::Result<(Reply, bool)> {
    let status_line = read_line(stream)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| bad(&format!("status line {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| bad(&format!("header {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    let mut keep = reply.header("connection") != Some("close");
    if reply.header("transfer-encoding") == Some("chunked") {
        read_chunks(stream, &mut reply.body)?;
    } else if let Some(length) = reply.number("content-length") {
        reply.body.resize(length as usize, 0);
        stream.read_exact(&mut reply.body)?;
    } else if status != 204 && status != 304 {
        stream.read_to_end(&mut reply.body)?;
        keep = false;
    }
    Ok((reply, keep))
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(stream)?;
        let digits = line.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(digits, 16).map_err(|_| bad("chunk length"))?;
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..])?;
        if length == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(());
        }
        read_line(stream)?;
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\r' | b'\n'))
    {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| bad("a line that is not text"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what}"))
}
