//! A list of numbers that grows without being moved: in pieces, each of which stays where it is.
//!
//! A list that is moved to grow leaves the memory of the one before, which stays with the process
//! for as long as nobody asks for as much again.

use alloc::vec::Vec;

/// Numbers by their places.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieced {
    /// Every piece but the last has [`PIECE`].
    pieces: Vec<Vec<u64>>,
    len: usize,
}

impl Pieced {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn at(&self, at: usize) -> u64 {
        self.pieces[at / PIECE][at % PIECE]
    }

    #[inline]
    pub(super) fn put(&mut self, at: usize, number: u64) {
        self.pieces[at / PIECE][at % PIECE] = number;
    }

    /// Adds one at the end.
    pub(super) fn push(&mut self, number: u64) {
        if self.len.is_multiple_of(PIECE) {
            self.pieces.push(Vec::new());
        }
        let last = self.pieces.last_mut().expect("there is room in the last");
        last.push(number);
        self.len += 1;
    }

    /// Adds the same number until there are so many.
    pub(super) fn extend(&mut self, len: usize, number: u64) {
        while self.len < len {
            if self.len.is_multiple_of(PIECE) {
                self.pieces.push(Vec::new());
            }
            let last = self.pieces.last_mut().expect("there is room in the last");
            let more = (len - self.len).min(PIECE - last.len());
            last.reserve_exact(more);
            last.resize(last.len() + more, number);
            self.len += more;
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        let pieces = self.pieces.capacity() * size_of::<Vec<u64>>();
        pieces + self.pieces.iter().map(Vec::capacity).sum::<usize>() * 8
    }
}

/// Numbers of a piece.
const PIECE: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_places_over_the_ends_of_pieces() {
        let mut list = Pieced::default();
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
        assert!(list.memory() < 6 * PIECE * 8);
    }
}
