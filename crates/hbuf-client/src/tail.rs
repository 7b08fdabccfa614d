//! Following a log by server-sent events, through broken connections: each new connection names the
//! last id that was seen, so no message is lost and none comes twice.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use hyper::body::Incoming;

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client};
use crate::problem::Problem;
use crate::read::ReadOptions;
use crate::retry::random;

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// On a buffer its seq, on a topic a cursor; empty when the event had none.
    pub id: String,
    /// Its type; `message` unless the server said otherwise.
    pub name: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// A log that is followed.
#[derive(Debug)]
pub struct Tail {
    client: Client,
    call: Call,
    body: Option<Incoming>,
    parser: Parser,
    last_id: String,
    /// Attempts since the last event; when they are used up the error is given to the caller.
    failures: u32,
}

impl Client {
    /// Follows a log from `options.after` on: all messages there are, then each new one.
    pub fn tail(
        &self,
        collection: Collection,
        name: &str,
        options: &ReadOptions,
    ) -> Result<Tail, CallError> {
        let target = self.path(collection, name, &format!("/messages{}", options.query()));
        let call = Call::new(Method::GET, target).header("accept", "text/event-stream")?;
        Ok(Tail {
            client: self.clone(),
            call,
            body: None,
            parser: Parser::default(),
            last_id: String::new(),
            failures: 0,
        })
    }
}

impl Tail {
    /// Waits for the next event. An error is final for this connection; calling again connects
    /// anew.
    pub async fn next(&mut self) -> Result<Event, CallError> {
        loop {
            if let Some(event) = self.parser.pop() {
                self.failures = 0;
                if event.name == "problem" {
                    // The stream began well, so its status could not say this any more.
                    self.body = None;
                    return Err(CallError::Problem(Box::new(Problem::from_event(
                        &event.data,
                    ))));
                }
                if !event.id.is_empty() {
                    self.last_id.clone_from(&event.id);
                }
                return Ok(event);
            }
            match self.fill().await {
                Ok(()) => {}
                Err(error @ CallError::Problem(_)) => return Err(error),
                Err(error) => {
                    self.body = None;
                    self.failures += 1;
                    let spread = random().to_le_bytes()[0];
                    match self.client.retry.pause_after(self.failures, None, spread) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(error),
                    }
                }
            }
        }
    }

    /// The id of the last event that was given out: where another reader could go on.
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// Reads one more piece, connecting first where needed.
    async fn fill(&mut self) -> Result<(), CallError> {
        if self.body.is_none() {
            let mut call = self.call.clone();
            if !self.last_id.is_empty() {
                call = call.header("last-event-id", &self.last_id)?;
            }
            let response = self.client.send(call).await?;
            self.parser = Parser::default();
            self.body = Some(response.into_body());
        }
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        match self.client.next_piece(body, SILENCE_MAX).await? {
            Some(piece) => self.parser.push(&piece),
            None => {
                // The server ended the stream, as it does when it stops: come back for more after a
                // pause.
                self.body = None;
                tokio::time::sleep(self.client.retry.pause).await;
                Ok(())
            }
        }
        .map_err(|reason| self.client.not_ours(reason))
    }
}

/// A server sends a comment now and then; longer silence means that the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Longest event: the longest body, as base64 inside JSON, with room for headers.
const EVENT_BYTES_MAX: usize = 160 << 20;

/// Cuts a stream of bytes into events, as the WHATWG HTML standard says.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    event: Event,
    has_data: bool,
    id: String,
    ready: VecDeque<Event>,
}

impl Parser {
    fn pop(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    fn push(&mut self, piece: &Bytes) -> Result<(), &'static str> {
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            // A line ends at CR, LF or CR LF; the LF of a pair may come in the next piece.
            if self.after_cr && rest[0] == b'\n' {
                self.after_cr = false;
                rest = &rest[1..];
                continue;
            }
            self.after_cr = false;
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.line.extend_from_slice(rest);
                break;
            };
            self.line.extend_from_slice(&rest[..end]);
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.take_line(&String::from_utf8_lossy(&line));
        }
        if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err("an event without end");
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) {
        if line.is_empty() {
            self.finish_event();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            _ => {}
        }
    }

    fn finish_event(&mut self) {
        let mut event = std::mem::take(&mut self.event);
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        event.id.clone_from(&self.id);
        if event.name.is_empty() {
            "message".clone_into(&mut event.name);
        }
        self.ready.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&str]) -> Vec<Event> {
        let mut parser = Parser::default();
        for piece in pieces {
            parser
                .push(&Bytes::copy_from_slice(piece.as_bytes()))
                .unwrap();
        }
        parser.ready.into()
    }

    fn event(id: &str, name: &str, data: &str) -> Event {
        Event {
            id: id.into(),
            name: name.into(),
            data: data.into(),
        }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = ": hello\r\nid: 7\r\ndata: a\r\ndata: b\r\n\r\nevent: gap\ndata:x\n\nid: 8\n\n: beat\rdata\r\r";
        let expected = vec![
            event("7", "message", "a\nb"),
            event("7", "gap", "x"),
            event("8", "message", ""),
        ];
        assert_eq!(parse(&[stream]), expected);
        let bytes: Vec<String> = stream.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(parse(&bytes), expected);
        for cut in 1..stream.len() {
            assert_eq!(
                parse(&[&stream[..cut], &stream[cut..]]),
                expected,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn an_event_that_was_cut_off_is_not_given_out() {
        assert_eq!(parse(&["id: 7\ndata: half"]), []);
    }
}
