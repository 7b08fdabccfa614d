//! A list of numbers that grows without being moved: in pieces, each of which stays where it is.
//!
//! A list that is moved to grow leaves the memory of the one before, which stays with the process
//! for as long as nobody asks for as much again.

use alloc::vec::Vec;

/// Numbers of so many bytes each, by their places.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieced<const BYTES: usize> {
    /// Every piece but the last has [`PIECE`].
    pieces: Vec<Vec<[u8; BYTES]>>,
    len: usize,
}

impl<const BYTES: usize> Pieced<BYTES> {
    /// The highest number that fits.
    pub(super) const MAX: u64 = u64::MAX >> (64 - 8 * BYTES);

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn at(&self, at: usize) -> u64 {
        read(&self.pieces[at / PIECE][at % PIECE])
    }

    #[inline]
    pub(super) fn put(&mut self, at: usize, number: u64) {
        self.pieces[at / PIECE][at % PIECE] = written(number);
    }

    /// Adds one at the end.
    pub(super) fn push(&mut self, number: u64) {
        self.last().push(written(number));
        self.len += 1;
    }

    /// Adds the same number until there are so many.
    pub(super) fn extend(&mut self, len: usize, number: u64) {
        while self.len < len {
            let left = len - self.len;
            let last = self.last();
            let more = left.min(PIECE - last.len());
            last.reserve_exact(more);
            last.resize(last.len() + more, written(number));
            self.len += more;
        }
    }

    /// The piece that has room. A short list takes little; of one that is long enough to have
    /// several pieces, each is allotted whole, since one that grows is moved.
    fn last(&mut self) -> &mut Vec<[u8; BYTES]> {
        if self.len.is_multiple_of(PIECE) {
            let room = if self.len == 0 { 0 } else { PIECE };
            self.pieces.push(Vec::with_capacity(room));
        }
        self.pieces.last_mut().expect("there is room in the last")
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        let pieces = self.pieces.capacity() * size_of::<Vec<[u8; BYTES]>>();
        pieces + self.pieces.iter().map(Vec::capacity).sum::<usize>() * BYTES
    }
}

/// Two reads of four bytes, which may overlap: the processor has none of five or seven.
#[inline]
fn read<const BYTES: usize>(bytes: &[u8; BYTES]) -> u64 {
    const { assert!(4 <= BYTES && BYTES <= 8) }
    let four = |bytes: Option<&[u8; 4]>| u32::from_le_bytes(*bytes.expect("at least four"));
    let (low, high) = (four(bytes.first_chunk()), four(bytes.last_chunk()));
    u64::from(low) | (u64::from(high) << (8 * (BYTES - 4)))
}

#[inline]
fn written<const BYTES: usize>(number: u64) -> [u8; BYTES] {
    debug_assert!(number <= Pieced::<BYTES>::MAX, "{number} takes more bytes");
    let bytes = number.to_le_bytes();
    *bytes.first_chunk().expect("at most eight")
}

/// Numbers of a piece. Times five and times seven bytes it is a size that allocators have, so that
/// nothing between two pieces is lost.
const PIECE: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_places_over_the_ends_of_pieces() {
        let mut list = Pieced::<5>::default();
        for number in 0..20_000 {
            list.push(number);
        }
        list.extend(40_000, 7);
        list.extend(3, 9);
        list.push(8);
        list.put(8_192, 5);
        assert_eq!((list.len(), list.pieces.len()), (40_001, 5));
        let found = [0, 8_191, 8_192, 19_999, 20_000, 39_999, 40_000].map(|at| list.at(at));
        assert_eq!(found, [0, 8_191, 5, 19_999, 7, 7, 8]);
        assert!(list.memory() < 6 * PIECE * 5);
    }

    #[test]
    fn numbers_of_any_width_come_back_whole() {
        fn check<const BYTES: usize>() {
            let mut list = Pieced::<BYTES>::default();
            list.extend(3, Pieced::<BYTES>::MAX);
            let mixed = 0xf1e2_d3c4_b5a6_9788 & Pieced::<BYTES>::MAX;
            list.put(1, mixed);
            let found = [0, 1, 2].map(|at| list.at(at));
            assert_eq!(found, [Pieced::<BYTES>::MAX, mixed, Pieced::<BYTES>::MAX]);
        }
        check::<4>();
        check::<5>();
        check::<7>();
        check::<8>();
    }

    #[test]
    fn a_piece_of_a_long_list_stays_where_it_is() {
        let mut list = Pieced::<7>::default();
        list.extend(PIECE + 1, 1);
        let place = list.pieces[1].as_ptr();
        for number in 0..PIECE as u64 - 1 {
            list.push(number);
        }
        assert_eq!(list.pieces[1].as_ptr(), place);
        let mut few = Pieced::<7>::default();
        few.push(1);
        assert!(few.memory() < 200);
    }
}
