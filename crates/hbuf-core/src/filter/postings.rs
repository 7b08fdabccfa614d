//! One list of messages, by their places in a segment: gaps and runs, as bytes.
//!
//! Each entry is a number of 7 bits a byte, lowest first: twice the gap behind the message before,
//! plus one when a run follows; then, if so, how many messages follow without a gap.

use alloc::vec::Vec;

use super::bits::Bits;

/// Appends a number, 7 bits a byte, the lowest first; the highest bit says that more follow.
pub(super) fn push_number(mut number: u128, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a number from the front of `bytes`.
#[inline]
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u128> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u128::from(first));
    }
    let (mut number, mut shift) = (0_u128, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u128::from(byte & 0x7f);
        // Eighteen groups hold 126 bits; a nineteenth has room for two.
        if shift > 126 || (shift == 126 && part > 3) {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

/// Appends the postings of places that rise.
pub(super) fn push_postings(places: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    let mut places = places.peekable();
    let mut expected = 0_u64;
    while let Some(place) = places.next() {
        let gap = u64::from(place) - expected;
        let mut run = 0_u64;
        while places
            .next_if(|&next| u64::from(next) == u64::from(place) + run + 1)
            .is_some()
        {
            run += 1;
        }
        push_number(u128::from(gap << 1 | u64::from(run > 0)), out);
        if run > 0 {
            push_number(u128::from(run), out);
        }
        expected = u64::from(place) + run + 1;
    }
}

/// The runs of postings, each as first place and length; `None` in it when the bytes are none.
pub(super) fn runs(mut bytes: &[u8], records: u32) -> impl Iterator<Item = Option<(u32, u32)>> {
    let mut expected = 0_u64;
    core::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let run = take_run(&mut bytes, &mut expected, records);
        if run.is_none() {
            bytes = b"";
        }
        Some(run)
    })
}

fn take_run(bytes: &mut &[u8], expected: &mut u64, records: u32) -> Option<(u32, u32)> {
    let number = u64::try_from(take_number(bytes)?).ok()?;
    let first = expected.checked_add(number >> 1)?;
    let more = match number & 1 {
        0 => 0,
        _ => u64::try_from(take_number(bytes)?).ok()?,
    };
    let end = first.checked_add(more)?.checked_add(1)?;
    if end > u64::from(records) {
        return None;
    }
    *expected = end;
    Some((first as u32, (end - first) as u32))
}

/// Puts the places of postings into `out`; false when the bytes are none.
pub(super) fn collect(bytes: &[u8], records: u32, out: &mut Bits) -> bool {
    for run in runs(bytes, records) {
        let Some((first, count)) = run else {
            return false;
        };
        out.insert_run(first, count);
    }
    true
}

/// The last place of postings; `None` when the bytes are none.
pub(super) fn last(bytes: &[u8], records: u32) -> Option<u32> {
    let run = runs(bytes, records).last().flatten()?;
    Some(run.0 + run.1 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(numbers in proptest::collection::vec(
            (any::<u128>(), 0_u32..128).prop_map(|(number, shift)| number >> shift), 0..20)) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|&number| push_number(number, &mut bytes));
            let mut rest = bytes.as_slice();
            for &number in &numbers {
                prop_assert_eq!(take_number(&mut rest), Some(number));
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn postings_read_back(
            places: BTreeSet<u16>, starts in proptest::collection::vec(0_u16.., 0..3),
        ) {
            let mut places: BTreeSet<u32> = places.into_iter().map(u32::from).collect();
            for start in starts {
                places.extend((0..40).map(|more| u32::from(start) + more));
            }
            let mut bytes = Vec::new();
            push_postings(places.iter().copied(), &mut bytes);
            let mut bits = Bits::default();
            prop_assert!(collect(&bytes, 70_000, &mut bits));
            prop_assert!(bits.iter().eq(places.iter().copied()));
            if let Some(&end) = places.last() {
                prop_assert_eq!(last(&bytes, 70_000), Some(end));
                prop_assert!(!collect(&bytes, end, &mut Bits::default()));
            }
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let mut bits = Bits::default();
            collect(&bytes, 1000, &mut bits);
            prop_assert!(bits.next(1000).is_none());
            let _ = take_number(&mut bytes.as_slice());
        }
    }

    #[test]
    fn a_message_in_every_place_takes_two_bytes() {
        let mut bytes = Vec::new();
        push_postings(0..100, &mut bytes);
        assert_eq!(bytes, [1, 99]);
        push_postings(core::iter::once(u32::MAX - 1), &mut bytes);
        assert_eq!(last(&bytes[2..], u32::MAX), Some(u32::MAX - 1));
    }
}
