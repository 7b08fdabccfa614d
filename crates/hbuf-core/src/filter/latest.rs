//! Which messages are the newest of their key, over all sealed segments of a buffer at once.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::bits::Bits;
use super::postings::{last, runs};
use super::terms::{BlockTerms, Terms, TermsError};
use crate::segment::Source;

/// Which segment's terms could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("terms of segment {at}: {error}")]
pub struct LatestError {
    /// Its place among the segments, from 0.
    pub at: usize,
    /// What is wrong.
    pub error: TermsError,
}

/// For each segment, the oldest first, the places of messages that no later one of the same key
/// supersedes; those without a key are among them. Reads every file once, a block of each at a
/// time.
pub fn latest<S: Source>(segments: &[(&Terms, S)]) -> Result<Vec<Bits>, LatestError> {
    let mut out: Vec<Bits> = segments
        .iter()
        .map(|(terms, _)| Bits::full(terms.records()))
        .collect();
    let mut streams = Vec::with_capacity(segments.len());
    let mut heap = BinaryHeap::with_capacity(segments.len());
    for (at, (terms, file)) in segments.iter().enumerate() {
        let failed = |error| LatestError { at, error };
        let mut stream = Stream {
            terms,
            file,
            next: 0,
            block: None,
        };
        heap.extend(
            stream
                .term()
                .map_err(failed)?
                .map(|term| Reverse((term, Reverse(at)))),
        );
        streams.push(stream);
    }
    let mut before = None;
    // Of equal terms the newest segment comes first.
    while let Some(Reverse((term, Reverse(at)))) = heap.pop() {
        let failed = |error| LatestError { at, error };
        let newest = before != Some(term);
        streams[at].strike(newest, &mut out[at]).map_err(failed)?;
        before = Some(term);
        let next = streams[at].pass().map_err(failed)?;
        heap.extend(next.map(|term| Reverse((term, Reverse(at)))));
    }
    Ok(out)
}

/// The terms of one segment, one after the other.
struct Stream<'a, S> {
    terms: &'a Terms,
    file: &'a S,
    /// The next block to read.
    next: usize,
    block: Option<BlockTerms>,
}

impl<S: Source> Stream<'_, S> {
    fn term(&mut self) -> Result<Option<u128>, TermsError> {
        loop {
            if let Some(block) = &mut self.block
                && let Some(term) = block.term()?
            {
                return Ok(Some(term));
            }
            if self.next == self.terms.blocks() {
                return Ok(None);
            }
            self.block = Some(BlockTerms::read(self.terms, self.next, self.file)?);
            self.next += 1;
        }
    }

    fn pass(&mut self) -> Result<Option<u128>, TermsError> {
        if let Some(block) = &mut self.block {
            block.pass()?;
        }
        self.term()
    }

    /// Takes out the messages of the term at hand, but for the last one if this is the newest
    /// segment that has it.
    fn strike(&self, newest: bool, out: &mut Bits) -> Result<(), TermsError> {
        let postings = self.block.as_ref().map_or(&b""[..], BlockTerms::postings);
        let records = self.terms.records();
        let kept = if newest {
            Some(last(postings, records).ok_or(TermsError::Order)?)
        } else {
            None
        };
        for run in runs(postings, records) {
            let (first, count) = run.ok_or(TermsError::Order)?;
            let gone = (first..first + count).filter(|&place| Some(place) != kept);
            gone.for_each(|place| out.remove(place));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dictionary::Stamp;
    use super::super::terms::{TermKind, TermsOf, encode_terms};
    use super::*;
    use crate::ids::{Seq, Uuid};
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    const LOG: Uuid = Uuid([1; 16]);

    const fn of(records: u32) -> TermsOf {
        let (first, bytes) = (Seq(1), 9);
        TermsOf {
            first,
            records,
            bytes,
        }
    }

    proptest! {
        #[test]
        fn the_last_of_each_key_stays_and_so_does_what_has_none(
            segments in proptest::collection::vec(
                proptest::collection::vec(proptest::option::of(0_u128..30), 1..60), 0..6),
            spread in 1_u128..1 << 120,
        ) {
            let files: Vec<Vec<u8>> = segments.iter().map(|keys| {
                let keyed = keys.iter().enumerate();
                let mut pairs: Vec<(u128, u32)> = keyed
                    .filter_map(|(at, key)| Some(((*key)? * spread, at as u32)))
                    .collect();
                let of = of(keys.len() as u32);
                encode_terms(TermKind::Keys, LOG, of, Stamp::default(), &mut pairs)
            }).collect();
            let terms: Vec<Terms> = files
                .iter()
                .map(|file| Terms::open(file, TermKind::Keys, LOG).unwrap())
                .collect();
            let both: Vec<_> = terms.iter().zip(files.iter()).collect();
            let found = latest(&both).unwrap();
            let mut newest = BTreeMap::new();
            for (segment, keys) in segments.iter().enumerate() {
                for (at, key) in keys.iter().enumerate() {
                    key.map(|key| newest.insert(key, (segment, at)));
                }
            }
            for (segment, keys) in segments.iter().enumerate() {
                for (at, key) in keys.iter().enumerate() {
                    let stays = key.is_none_or(|key| newest[&key] == (segment, at));
                    prop_assert_eq!(found[segment].contains(at as u32), stays);
                }
            }
        }
    }

    #[test]
    fn the_segment_that_cannot_be_read_is_named() {
        let file = |at: u32| {
            let mut pairs = std::vec![(u128::from(at), 0)];
            encode_terms(TermKind::Keys, LOG, of(1), Stamp::default(), &mut pairs)
        };
        let mut files = [file(1), file(2), file(3)];
        let terms = files
            .each_ref()
            .map(|file| Terms::open(file, TermKind::Keys, LOG).unwrap());
        *files[1].last_mut().unwrap() ^= 1;
        let both: Vec<_> = terms.iter().zip(files.iter()).collect();
        let error = latest(&both).unwrap_err();
        assert_eq!(
            error,
            LatestError {
                at: 1,
                error: TermsError::Crc
            }
        );
    }
}
