//! Messages with tags, and filters of them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

use super::hbuf::{BUFFER, Hbuf};
use super::http::append_request;
use super::pages::send_all;
use crate::drive::on_this_thread;

/// Name of the filter that has every tag but the rare one.
pub(crate) const FILTER: &str = "every";
/// The tag of the few messages that a filter looks for.
pub(crate) const RARE: &str = "rare";
/// It stands on every message whose number is a multiple of this.
pub(crate) const RARE_EVERY: u64 = 1_000;
/// Messages of a batch.
pub(crate) const BATCH: u64 = 1_000;
/// Spreads neighbouring messages over the tags; a prime, so that every tag gets its turn.
const STRIDE: u64 = 2_654_435_761;

/// The tag of message `n`, one of `tags` distinct ones.
fn tag(n: u64, tags: u64) -> u64 {
    n.wrapping_mul(STRIDE) % tags
}

/// A batch of the messages with these numbers, each with its tag.
pub(crate) fn tagged_batch(
    address: SocketAddr,
    numbers: Range<u64>,
    tags: u64,
    body: &[u8],
) -> Vec<u8> {
    let length = body.len();
    let mut inner = Vec::new();
    for n in numbers {
        let rare = match n % RARE_EVERY {
            0 => format!(", {RARE}"),
            _ => String::new(),
        };
        let head = format!(
            "POST / HTTP/1.1\r\nhost:\r\nx-hbuf-tag: user-{:07}{rare}\r\n\
             content-length: {length}\r\n\r\n",
            tag(n, tags)
        );
        inner.extend_from_slice(head.as_bytes());
        inner.extend_from_slice(body);
        inner.extend_from_slice(b"\r\n");
    }
    let lines = "content-type: application/http; msgtype=request\r\n";
    append_request(address, BUFFER, lines, &inner)
}

/// The upload of the filter with every tag.
pub(crate) fn filter_request(address: SocketAddr, tags: u64) -> Vec<u8> {
    let mut lines = String::new();
    for n in 0..tags {
        let _ = writeln!(lines, "user-{n:07}");
    }
    let length = lines.len();
    format!(
        "PUT /buffers/{BUFFER}/filters/{FILTER} HTTP/1.1\r\nhost: {address}\r\n\
         content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{lines}"
    )
    .into_bytes()
}

impl Hbuf {
    /// Stores the filter with every tag.
    pub(crate) fn store_filter(&self, tags: u64) -> anyhow::Result<()> {
        let address = self.process.address;
        let upload = filter_request(address, tags);
        on_this_thread(send_all(address, [upload].into_iter()))
    }

    /// Fills the measured buffer up to `count` messages; all but the first have tags.
    pub(crate) fn fill_tagged(&self, count: u64, tags: u64, body: &[u8]) -> anyhow::Result<()> {
        let address = self.process.address;
        let batches = (1..count).step_by(BATCH as usize);
        let batches = batches.map(|n| n..count.min(n + BATCH));
        let batches = batches.map(|numbers| tagged_batch(address, numbers, tags, body));
        on_this_thread(send_all(address, batches))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_batch_names_each_messages_tag_and_every_thousandth_is_rare() {
        let address = ([127, 0, 0, 1], 1).into();
        let batch = tagged_batch(address, 1..2_001, 70, b"x");
        let text = String::from_utf8(batch).unwrap();
        assert_eq!(text.matches("x-hbuf-tag: user-00000").count(), 2_000);
        assert_eq!(text.matches(", rare\r\n").count(), 2);
    }

    #[test]
    fn neighbouring_messages_have_every_tag_once() {
        let tags: BTreeSet<u64> = (0..5_000).map(|n| tag(n, 5_000)).collect();
        assert_eq!(tags.len(), 5_000);
    }

    #[test]
    fn a_filter_has_a_line_for_each_tag() {
        let upload = filter_request(([127, 0, 0, 1], 1).into(), 3);
        let text = String::from_utf8(upload).unwrap();
        assert!(text.contains("content-length: 39\r\n\r\n"), "{text}");
        assert!(text.ends_with("user-0000000\nuser-0000001\nuser-0000002\n"));
    }
}
