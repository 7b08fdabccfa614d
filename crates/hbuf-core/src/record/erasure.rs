//! The body of an `erase` record: the seqs whose content is erased, one seq or range a line.
//!
//! ```text
//! 17
//! 20-29 right to be forgotten, request 4711
//! ```
//!
//! What follows a space says who and why; it is for people, and must not repeat what was erased.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::digits::{push_decimal, read_decimal_plain};
use crate::ids::Seq;

/// Appends one line.
pub fn push_erasure(seqs: &RangeInclusive<Seq>, reason: &str, out: &mut Vec<u8>) {
    debug_assert!(!reason.contains(['\r', '\n']), "a reason is one line");
    push_decimal(seqs.start().0, out);
    if seqs.start() != seqs.end() {
        out.push(b'-');
        push_decimal(seqs.end().0, out);
    }
    if !reason.is_empty() {
        out.push(b' ');
        out.extend_from_slice(reason.as_bytes());
    }
    out.push(b'\n');
}

/// What the body names; `None` when a line is neither a seq nor a range.
#[must_use]
pub fn erasures(body: &[u8]) -> Option<Vec<RangeInclusive<Seq>>> {
    let lines = body
        .strip_suffix(b"\n")
        .unwrap_or(body)
        .split(|&byte| byte == b'\n');
    lines.map(erasure).collect()
}

fn erasure(line: &[u8]) -> Option<RangeInclusive<Seq>> {
    let seqs = line.split(|&byte| byte == b' ').next()?;
    let mut ends = seqs.split(|&byte| byte == b'-');
    let first = Seq(read_decimal_plain(ends.next()?)?);
    let last = match ends.next() {
        Some(last) => Seq(read_decimal_plain(last)?),
        None => first,
    };
    let fits = ends.next().is_none() && Seq::FIRST <= first && first <= last && last <= Seq::MAX;
    fits.then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_read_back() {
        let mut body = Vec::new();
        push_erasure(&(Seq(17)..=Seq(17)), "", &mut body);
        push_erasure(&(Seq(20)..=Seq(29)), "request 4-7", &mut body);
        assert_eq!(body, b"17\n20-29 request 4-7\n");
        assert_eq!(
            erasures(&body).unwrap(),
            [Seq(17)..=Seq(17), Seq(20)..=Seq(29)]
        );
    }

    #[test]
    fn what_is_neither_seq_nor_range_is_refused() {
        for body in [
            "", "\n", "0", "x", "017", "3-2", "1-2-3", "1-", "-1", "1\n\n2", " 1",
        ] {
            assert_eq!(erasures(body.as_bytes()), None, "{body:?}");
        }
    }
}
