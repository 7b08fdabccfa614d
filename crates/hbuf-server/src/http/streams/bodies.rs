//! The bodies of a run of records, one behind the other: what a stream's content is. However long
//! the run or a message in it is, no more than a piece of it is held.

use bytes::Bytes;
use hbuf_core::record::{Kind, LINE_LEN, Line, State};

use crate::http::body::{Body, BrokenOff, Source, Step};
use crate::read::{Pieces, ReadError};

/// The content of a run of records on its way.
pub(super) struct Bodies {
    pieces: Pieces,
    strip: Strip,
}

impl Bodies {
    /// In JSON mode the bodies are the elements of an array.
    pub(super) fn new(pieces: Pieces, json: bool) -> Self {
        let strip = Strip::new(json);
        Self { pieces, strip }
    }

    /// The next bytes; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, ReadError> {
        while !self.strip.ended {
            let mut out = Vec::new();
            match self.pieces.next().await.transpose()? {
                Some(piece) => {
                    out.reserve(piece.bytes.len());
                    self.strip.push(&piece.bytes, &mut out);
                }
                None => self.strip.end(&mut out),
            }
            if !out.is_empty() {
                return Ok(Some(Bytes::from(out)));
            }
        }
        Ok(None)
    }
}

/// The reply's body. An error at its start is still a problem and not a broken reply, and what is
/// short needs no chunks.
pub(super) async fn bodies(mut bodies: Bodies) -> Result<Body, ReadError> {
    let mut start = Vec::new();
    while start.len() < WHOLE_BYTES {
        match bodies.piece().await? {
            Some(piece) => start.extend_from_slice(&piece),
            None => return Ok(Body::full(start)),
        }
    }
    let first = Some(Bytes::from(start));
    Ok(Body::stream(Box::new(Streamed { bodies, first })))
}

/// A reply of fewer bytes is made before it is sent.
const WHOLE_BYTES: usize = 64 << 10;

struct Streamed {
    bodies: Bodies,
    first: Option<Bytes>,
}

impl Source for Streamed {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            let piece = match self.first.take() {
                Some(first) => Some(first),
                None => {
                    let piece = self.bodies.piece().await;
                    piece.map_err(|error| BrokenOff(error.to_string()))?
                }
            };
            Ok(piece.map(|piece| (piece.into(), self as Box<dyn Source>)))
        })
    }
}

/// Takes the heads off records that arrive in pieces of any length.
struct Strip {
    json: bool,
    begun: bool,
    ended: bool,
    state: At,
}

/// Where in a record the next byte is.
enum At {
    /// In its head, of which this much came.
    Head(Vec<u8>),
    /// In its body, of which so much is left, and which counts or not.
    Body { left: u64, counts: bool },
    /// In the line end behind it.
    End { left: usize },
}

impl Strip {
    const fn new(json: bool) -> Self {
        let state = At::Head(Vec::new());
        Self {
            json,
            begun: false,
            ended: false,
            state,
        }
    }

    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                At::Head(_) => self.head(bytes, out),
                At::Body { left, counts } => {
                    let take = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    let (body, rest) = bytes.split_at(take);
                    if *counts {
                        out.extend_from_slice(body);
                    }
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = At::End { left: LINE_END };
                    }
                    rest
                }
                At::End { left } => {
                    let take = (*left).min(bytes.len());
                    *left -= take;
                    if *left == 0 {
                        self.state = At::Head(Vec::new());
                    }
                    &bytes[take..]
                }
            };
        }
    }

    /// Collects the head; at its end it is known whether the body counts.
    fn head<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let At::Head(head) = &mut self.state else {
            return bytes;
        };
        let wanted = head_len(head).unwrap_or(LINE_LEN);
        let (more, rest) = bytes.split_at((wanted - head.len()).min(bytes.len()));
        head.extend_from_slice(more);
        let Some(length) = head_len(head).filter(|length| *length == head.len()) else {
            return rest;
        };
        debug_assert!(length > LINE_LEN);
        let line = Line::parse(&head[..LINE_LEN]).expect("the pieces were checked");
        let counts = line.state == State::Live && kind(head) == Some(Kind::Data);
        if counts && self.json {
            out.push(if self.begun { b',' } else { b'[' });
        }
        self.begun |= counts;
        let left = u64::from(line.body_len);
        self.state = match left {
            0 => At::End { left: LINE_END },
            left => At::Body { left, counts },
        };
        rest
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        if self.json {
            out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        }
    }
}

/// The line end behind a body.
const LINE_END: usize = 2;

/// The length of the head, once its line is there.
fn head_len(head: &[u8]) -> Option<usize> {
    let line = Line::parse(head.get(..LINE_LEN)?).expect("the pieces were checked");
    Some(line.head_len as usize)
}

/// What the record is: the line that says so, when there is one, is the third behind the first.
fn kind(head: &[u8]) -> Option<Kind> {
    let mut lines = head[LINE_LEN..].split(|&byte| byte == b'\n').skip(2);
    let line = lines.next()?.trim_ascii_end();
    match line.strip_prefix(b"x-hbuf-kind: ") {
        Some(kind) => Kind::parse(kind),
        None => Some(Kind::Data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbuf_core::ids::{Epoch, Hash, Micros, Seq};
    use hbuf_core::record::{Facts, Frame, Proof, encode};

    fn record(seq: u64, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
        let frame = Frame {
            seq: Seq(seq),
            time: Micros(1_795_173_322_123_456),
            epoch: Epoch(1),
            distance: 1,
            rest: 0,
            facts: &Facts::of(kind),
            lines: b"content-type: text/plain\r\nce-x: \r\n",
            proof: Proof::Salted {
                salt: [7; 32],
                id: Hash([9; 32]),
            },
            body,
        };
        encode(&frame, out);
    }

    fn stripped(records: &[u8], json: bool, step: usize) -> Vec<u8> {
        let (mut strip, mut out) = (Strip::new(json), Vec::new());
        for piece in records.chunks(step) {
            strip.push(piece, &mut out);
        }
        strip.end(&mut out);
        out
    }

    #[test]
    fn only_bodies_of_messages_are_left_however_the_pieces_are_cut() {
        let mut records = Vec::new();
        record(1, Kind::Stream, b"stream: use\n", &mut records);
        record(2, Kind::Data, b"{\"a\":1}", &mut records);
        record(3, Kind::Data, b"2", &mut records);
        record(4, Kind::Stream, b"stream: close\n", &mut records);
        record(5, Kind::Data, b"\"POST /x\"", &mut records);
        for step in 1..records.len() + 1 {
            assert_eq!(
                stripped(&records, true, step),
                b"[{\"a\":1},2,\"POST /x\"]",
                "{step}"
            );
            assert_eq!(
                stripped(&records, false, step),
                b"{\"a\":1}2\"POST /x\"",
                "{step}"
            );
        }
    }

    #[test]
    fn a_run_without_messages_is_empty() {
        let mut records = Vec::new();
        record(1, Kind::Stream, b"stream: use\n", &mut records);
        assert_eq!(stripped(&records, true, 7), b"[]");
        assert_eq!(stripped(&records, false, 7), b"");
    }
}
