//! Key and tags of a record by a look at the start of its head: canonical lines have them first.

use memchr::memchr;
use sha2::{Digest as _, Sha256};

use crate::content::token::trim;
use crate::record::{FACT_NAMES, LINE_LEN};

/// What a message can be found by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels<'a> {
    /// `x-hbuf-key`, percent-encoded.
    pub key: Option<&'a [u8]>,
    tags: &'a [u8],
}

impl<'a> Labels<'a> {
    /// The tags of `x-hbuf-tag`.
    pub fn tags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.tags;
        core::iter::from_fn(move || {
            while !rest.is_empty() {
                let end = memchr(b',', rest).unwrap_or(rest.len());
                let tag = trim(&rest[..end]);
                rest = rest.get(end + 1..).unwrap_or_default();
                if !tag.is_empty() {
                    return Some(tag);
                }
            }
            None
        })
    }

    /// Whether there is neither key nor tag.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.key.is_none() && self.tags.is_empty()
    }
}

/// The labels of the record whose whole head stands at the start of `head`. Anything that is no
/// head has none: who needs to know that it is one decodes it.
#[must_use]
pub fn labels(head: &[u8]) -> Labels<'_> {
    let mut labels = Labels::default();
    let mut rest = head.get(LINE_LEN..).unwrap_or_default();
    while let Some(end) = memchr(b'\r', rest) {
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        if let Some(key) = line.strip_prefix(b"x-hbuf-key: ") {
            labels.key = Some(key);
        } else if let Some(tags) = line.strip_prefix(b"x-hbuf-tag: ") {
            labels.tags = tags;
            break;
        } else if !is_before(line) {
            break;
        }
    }
    labels
}

/// Whether the line comes before key and tags: framing and the server's facts.
fn is_before(line: &[u8]) -> bool {
    line == b"host:"
        || line.starts_with(b"content-length: ")
        || (line.starts_with(b"x-hbuf-")
            && memchr(b':', line).is_some_and(|colon| {
                FACT_NAMES
                    .iter()
                    .any(|name| name.as_bytes() == &line[..colon])
            }))
}

/// What stands for a key in indexes: the first 16 bytes of a SHA-256, so that two keys have the
/// same only if someone breaks that.
#[must_use]
pub fn key_term(key: &[u8]) -> u128 {
    let mut hash = Sha256::new();
    hash.update(b"hbuf/key/v1\0");
    hash.update(key);
    let digest = hash.finalize();
    u128::from_be_bytes(*digest.first_chunk().expect("32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, Hash, Micros, Seq};
    use crate::record::{Facts, Frame, Producer, Proof, decode, encode};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn record(lines: &[u8], facts: &Facts, proof: Proof) -> Vec<u8> {
        let mut out = Vec::new();
        encode(
            &Frame {
                seq: Seq(7),
                time: Micros(1_700_000_000_000_000),
                epoch: Epoch(1),
                distance: 1,
                rest: 0,
                facts,
                lines,
                proof,
                body: b"x-hbuf-tag: body\r\n",
            },
            &mut out,
        );
        out
    }

    proptest! {
        #[test]
        fn labels_agree_with_the_decoded_record(
            key in proptest::option::of("[a-z%]{1,9}"),
            tags in proptest::collection::vec("[a-z]{1,9}", 0..4),
            other in proptest::option::of("(content-type|x-hbuf-meta-tag|zz): [a-z]{1,9}"),
            with_facts: bool, with_proof: bool,
        ) {
            let mut lines = std::string::String::new();
            key.iter().for_each(|key| lines += &std::format!("x-hbuf-key: {key}\r\n"));
            if !tags.is_empty() {
                lines += &std::format!("x-hbuf-tag: {}\r\n", tags.join(", "));
            }
            other.iter().for_each(|other| lines += &std::format!("{other}\r\n"));
            let producer = Producer { id: "p".into(), epoch: 1, number: 2 };
            let facts = Facts {
                producer: with_facts.then_some(producer),
                ..Facts::default()
            };
            let proof = if with_proof {
                Proof::Salted { salt: [7; 32], id: Hash([1; 32]) }
            } else {
                Proof::None
            };
            let bytes = record(lines.as_bytes(), &facts, proof);
            let record = decode(&bytes).unwrap();
            let found = labels(&bytes);
            prop_assert_eq!(found.key, record.key());
            prop_assert_eq!(found.tags().collect::<Vec<_>>(), record.tags().collect::<Vec<_>>());
            prop_assert_eq!(found.is_empty(), key.is_none() && tags.is_empty());
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let mut head = [b'x'; LINE_LEN].to_vec();
            head.extend_from_slice(&bytes);
            let _ = labels(&head).tags().count();
            let _ = labels(&bytes);
        }
    }

    #[test]
    fn a_key_stands_for_itself_alone() {
        assert_eq!(
            key_term(b"user-1717"),
            0xaadf_9e5a_a71d_6d3f_ed8c_b609_9c8c_e657
        );
        assert_ne!(key_term(b"user-1717"), key_term(b"user-1718"));
    }
}
