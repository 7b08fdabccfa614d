//! Writes requests: from prepared pieces into one reused buffer.
//!
//! Everything random comes from one small seeded generator per connection, so that two runs with
//! the same arguments send the same requests.

use std::io::Write as _;
use std::sync::Arc;

use super::frames::{STAMP, STAMP_DIGITS};
use super::plan::{KeyDraw, Node, Plan, Sizes};

/// Bytes of the text that bodies are cut from, besides the longest body.
const TEXT_BYTES: usize = 1 << 20;
const TEXT_LINE: &[u8] = b"content-type: text/plain\r\n";
/// Bodies are made of these 64 characters.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// SplitMix64: enough for choosing sizes, keys and operations.
#[derive(Clone)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, even over all of `u64`.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// A number in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Chooses keys by number.
enum Keys {
    None,
    Uniform(usize),
    /// Share of all keys up to each.
    Zipf(Vec<f64>),
}

impl Keys {
    fn new(count: usize, draw: KeyDraw) -> Self {
        match draw {
            _ if count == 0 => Self::None,
            KeyDraw::Uniform => Self::Uniform(count),
            KeyDraw::Zipf(exponent) => {
                let mut sum = 0.0;
                let mut upto: Vec<f64> = Vec::with_capacity(count);
                for n in 1..=count {
                    sum += (n as f64).powf(-exponent);
                    upto.push(sum);
                }
                upto.iter_mut().for_each(|share| *share /= sum);
                Self::Zipf(upto)
            }
        }
    }

    fn draw(&self, draws: &mut Draws) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Uniform(count) => Some(draws.below(*count)),
            Self::Zipf(upto) => {
                let at = draws.unit();
                Some(
                    upto.partition_point(|&share| share <= at)
                        .min(upto.len() - 1),
                )
            }
        }
    }
}

/// What all connections of a run share.
pub(crate) struct Shape {
    sizes: Sizes,
    keys: Keys,
    tags: usize,
    tag_pool: usize,
    batch: usize,
    read_limit: u64,
    stamped: bool,
    /// Header lines that every request has.
    lines: String,
    /// Header lines that every append has.
    append_lines: String,
    text: Vec<u8>,
}

impl Shape {
    pub(crate) fn new(plan: &Plan) -> Self {
        let args = &plan.args;
        let mut draws = Draws::new(1);
        let text = (0..TEXT_BYTES + args.size.max)
            .map(|_| LETTERS[draws.below(64)])
            .collect();
        let lines = args
            .header
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect();
        let append_lines = args
            .ack
            .as_ref()
            .map_or_else(String::new, |ack| format!("x-hbuf-ack: {ack}\r\n"));
        Self {
            sizes: args.size,
            keys: Keys::new(args.keys, args.key_draw),
            tags: args.tags,
            tag_pool: args.tag_pool.max(1),
            batch: args.batch,
            read_limit: args.read_limit,
            stamped: args.tails > 0,
            lines,
            append_lines,
            text,
        }
    }

    /// True when every append to a buffer has the same bytes, so that one request serves for all.
    pub(crate) fn is_fixed(&self) -> bool {
        let plain = matches!(self.keys, Keys::None) && self.tags == 0 && !self.stamped;
        plain && self.sizes.min == self.sizes.max
    }
}

/// Where a request goes.
pub(crate) struct Target<'a> {
    pub(crate) node: &'a Node,
    pub(crate) buffer: &'a str,
}

/// Writes the requests of one connection.
pub(crate) struct Writer {
    shape: Arc<Shape>,
    pub(crate) draws: Draws,
    out: Vec<u8>,
    body: Vec<u8>,
    /// Bodies of the request written last.
    pub(crate) body_bytes: u64,
    /// Messages of the request written last.
    pub(crate) messages: u64,
}

impl Writer {
    pub(crate) fn new(shape: Arc<Shape>, seed: u64) -> Self {
        let draws = Draws::new(seed);
        Self {
            shape,
            draws,
            out: Vec::new(),
            body: Vec::new(),
            body_bytes: 0,
            messages: 0,
        }
    }

    /// One message; `stamp` is its time of sending where tails measure.
    pub(crate) fn append(&mut self, target: &Target<'_>, stamp: u64) -> &[u8] {
        self.begin(b"POST", target, "");
        self.out
            .extend_from_slice(self.shape.append_lines.as_bytes());
        if self.shape.stamped {
            // As text, so that an event carries the stamp as it is.
            self.out.extend_from_slice(TEXT_LINE);
        }
        let key = self.key();
        self.out.extend_from_slice(&key);
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        self.message(&mut body, stamp);
        self.messages = 1;
        self.body_bytes = body.len() as u64;
        self.finish(&body);
        self.body = body;
        &self.out
    }

    /// A batch of requests, as `application/http`.
    pub(crate) fn batch(&mut self, target: &Target<'_>, stamp: u64) -> &[u8] {
        self.begin(b"POST", target, "");
        self.out
            .extend_from_slice(self.shape.append_lines.as_bytes());
        self.out
            .extend_from_slice(b"content-type: application/http; msgtype=request\r\n");
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        self.body_bytes = 0;
        for _ in 0..self.shape.batch {
            body.extend_from_slice(b"POST / HTTP/1.1\r\nhost:\r\n");
            if self.shape.stamped {
                body.extend_from_slice(TEXT_LINE);
            }
            let key = self.key();
            body.extend_from_slice(&key);
            let size = self.size();
            let _ = write!(body, "content-length: {size}\r\n\r\n");
            self.sized(&mut body, size, stamp);
            body.extend_from_slice(b"\r\n");
            self.body_bytes += size as u64;
        }
        self.messages = self.shape.batch as u64;
        self.finish(&body);
        self.body = body;
        &self.out
    }

    /// A batch as lines of JSON.
    pub(crate) fn ndjson(&mut self, target: &Target<'_>, stamp: u64) -> &[u8] {
        self.begin(b"POST", target, "");
        self.out
            .extend_from_slice(self.shape.append_lines.as_bytes());
        self.out
            .extend_from_slice(b"content-type: application/x-ndjson\r\n");
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        self.body_bytes = 0;
        for _ in 0..self.shape.batch {
            let size = self.size();
            body.extend_from_slice(b"{\"body\":\"");
            self.sized(&mut body, size, stamp);
            body.extend_from_slice(b"\"}\n");
            self.body_bytes += size as u64;
        }
        self.messages = self.shape.batch as u64;
        self.finish(&body);
        self.body = body;
        &self.out
    }

    /// A read behind `after`, with `accept`.
    pub(crate) fn read(&mut self, target: &Target<'_>, after: u64, accept: &str) -> &[u8] {
        let query = match self.shape.read_limit {
            0 => format!("/messages?after={after}"),
            limit => format!("/messages?after={after}&limit={limit}"),
        };
        self.get(target, &query, accept)
    }

    /// Any request without a body.
    pub(crate) fn get(&mut self, target: &Target<'_>, query: &str, accept: &str) -> &[u8] {
        self.begin(b"GET", target, query);
        let _ = write!(self.out, "accept: {accept}\r\n\r\n");
        &self.out
    }

    fn begin(&mut self, method: &[u8], target: &Target<'_>, query: &str) {
        let Node { base, host, .. } = target.node;
        self.out.clear();
        self.out.extend_from_slice(method);
        let buffer = target.buffer;
        let _ = write!(
            self.out,
            " {base}/buffers/{buffer}{query} HTTP/1.1\r\nhost: {host}\r\n"
        );
        self.out.extend_from_slice(self.shape.lines.as_bytes());
    }

    fn finish(&mut self, body: &[u8]) {
        let _ = write!(self.out, "content-length: {}\r\n\r\n", body.len());
        self.out.extend_from_slice(body);
    }

    /// The header lines of a drawn key and drawn tags.
    fn key(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        if let Some(key) = self.shape.keys.draw(&mut self.draws) {
            let _ = write!(lines, "x-hbuf-key: user-{key}\r\n");
        }
        for n in 0..self.shape.tags {
            let tag = self.draws.below(self.shape.tag_pool);
            let comma = if n == 0 { "x-hbuf-tag: " } else { ", " };
            let _ = write!(lines, "{comma}tag-{tag}");
        }
        if self.shape.tags > 0 {
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }

    fn size(&mut self) -> usize {
        let Sizes { min, max } = self.shape.sizes;
        if min == max {
            min
        } else {
            min + self.draws.below(max - min + 1)
        }
    }

    fn message(&mut self, body: &mut Vec<u8>, stamp: u64) {
        let size = self.size();
        self.sized(body, size, stamp);
    }

    fn sized(&mut self, body: &mut Vec<u8>, size: usize, stamp: u64) {
        let at = self.draws.below(TEXT_BYTES);
        let begun = body.len();
        if self.shape.stamped {
            body.extend_from_slice(STAMP);
            let _ = write!(body, "{stamp:0width$x}", width = STAMP_DIGITS);
        }
        let rest = size - (body.len() - begun);
        body.extend_from_slice(&self.shape.text[at..at + rest]);
    }
}
