//! Makes a failure small: which of its decisions are needed, and how simple each can be.
//!
//! The decisions are made fewer by delta debugging (ddmin; Zeller and Hildebrandt, "Simplifying and
//! Isolating Failure-Inducing Input", 2002), then each is replaced by simpler forms of itself as
//! long as it still fails. Keyed draws are what makes this work: a fault that is left out leaves
//! the others where they were. Nothing here is random, so the same failure ends in the same way.

/// What is left of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk<T> {
    /// The decisions that are needed, in the order that they had.
    pub items: Vec<T>,
    /// How often it was tried.
    pub runs: u64,
    /// Whether it ended since nothing smaller fails. Otherwise it was tried as often as it may be,
    /// and something smaller may fail too.
    pub minimal: bool,
}

/// Makes `items` smaller as long as `fails` says that they fail in the same way. `simpler` gives
/// the forms of a decision that may replace it, the simplest first; each must be simpler than what
/// it was given, or this would not end before `runs_max` is reached.
///
/// `None` when `items` do not fail to begin with, or may not be tried even once.
///
/// When the result is minimal, no one of its decisions can be left out (it is *1-minimal*), and
/// none can be replaced by a simpler form. That is not the smallest failure that there is: two
/// decisions that could only be left out together stay.
pub fn shrink<T: Clone>(
    items: &[T],
    runs_max: u64,
    fails: impl FnMut(&[T]) -> bool,
    simpler: impl Fn(&T) -> Vec<T>,
) -> Option<Shrunk<T>> {
    let mut tries = Tries {
        fails,
        left: runs_max,
        runs: 0,
    };
    if tries.fails(items) != Some(true) {
        return None;
    }
    let mut items = items.to_vec();
    let mut minimal = false;
    // What became simpler may need fewer others.
    while !minimal {
        let fewer = tries.make_fewer(&mut items);
        let changed = fewer.and_then(|()| tries.make_simpler(&mut items, &simpler));
        match changed {
            None => break,
            Some(changed) => minimal = !changed,
        }
    }
    Some(Shrunk {
        items,
        runs: tries.runs,
        minimal,
    })
}

struct Tries<F> {
    fails: F,
    left: u64,
    runs: u64,
}

impl<F> Tries<F> {
    /// Whether these fail; `None` when it may not be tried any more.
    fn fails<T>(&mut self, items: &[T]) -> Option<bool>
    where
        F: FnMut(&[T]) -> bool,
    {
        self.left = self.left.checked_sub(1)?;
        self.runs += 1;
        Some((self.fails)(items))
    }

    /// ddmin: tries each of the parts alone, then all but one of them, then smaller parts.
    fn make_fewer<T: Clone>(&mut self, items: &mut Vec<T>) -> Option<()>
    where
        F: FnMut(&[T]) -> bool,
    {
        if items.is_empty() || self.fails(&[])? {
            items.clear();
            return Some(());
        }
        let mut parts = 2;
        while items.len() >= 2 {
            if let Some(part) = self.part_that_fails(items, parts)? {
                *items = part;
                parts = 2;
            } else if let Some(rest) = self.rest_that_fails(items, parts)? {
                *items = rest;
                parts = (parts - 1).max(2);
            } else if parts < items.len() {
                parts = (parts * 2).min(items.len());
            } else {
                break;
            }
        }
        Some(())
    }

    fn part_that_fails<T: Clone>(&mut self, items: &[T], parts: usize) -> Option<Option<Vec<T>>>
    where
        F: FnMut(&[T]) -> bool,
    {
        for (from, to) in ranges(items.len(), parts) {
            if self.fails(&items[from..to])? {
                return Some(Some(items[from..to].to_vec()));
            }
        }
        Some(None)
    }

    fn rest_that_fails<T: Clone>(&mut self, items: &[T], parts: usize) -> Option<Option<Vec<T>>>
    where
        F: FnMut(&[T]) -> bool,
    {
        // Of two parts, the rest is the other part.
        if parts == 2 {
            return Some(None);
        }
        for (from, to) in ranges(items.len(), parts) {
            let rest = [&items[..from], &items[to..]].concat();
            if self.fails(&rest)? {
                return Some(Some(rest));
            }
        }
        Some(None)
    }

    /// Replaces decisions by simpler forms; says whether any was.
    fn make_simpler<T: Clone>(
        &mut self,
        items: &mut [T],
        simpler: impl Fn(&T) -> Vec<T>,
    ) -> Option<bool>
    where
        F: FnMut(&[T]) -> bool,
    {
        let mut changed = false;
        for at in 0..items.len() {
            while self.make_one_simpler(items, at, &simpler)? {
                changed = true;
            }
        }
        Some(changed)
    }

    fn make_one_simpler<T: Clone>(
        &mut self,
        items: &mut [T],
        at: usize,
        simpler: impl Fn(&T) -> Vec<T>,
    ) -> Option<bool>
    where
        F: FnMut(&[T]) -> bool,
    {
        for form in simpler(&items[at]) {
            let before = std::mem::replace(&mut items[at], form);
            match self.fails(items) {
                Some(true) => return Some(true),
                Some(false) => items[at] = before,
                None => {
                    items[at] = before;
                    return None;
                }
            }
        }
        Some(false)
    }
}

/// Parts of about the same length.
fn ranges(length: usize, parts: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..parts).map(move |part| (length * part / parts, length * (part + 1) / parts))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn never<T>(_: &T) -> Vec<T> {
        Vec::new()
    }

    #[test]
    fn what_does_not_fail_is_not_made_smaller() {
        assert_eq!(shrink(&[1, 2], 100, |_| false, never), None);
        assert_eq!(shrink(&[1, 2], 0, |_| true, never), None);
    }

    #[test]
    fn what_fails_without_any_decision_ends_without_any() {
        let shrunk = shrink(&[1, 2, 3], 100, |_| true, never).unwrap();
        assert_eq!(
            (shrunk.items, shrunk.runs, shrunk.minimal),
            (vec![], 2, true)
        );
    }

    #[test]
    fn decisions_are_made_simpler_and_then_fewer_again() {
        // The 8 is needed only while the other one is above 3.
        let fails = |items: &[u32]| match items {
            [large, 8] => *large > 3,
            [small] => (1..=3).contains(small),
            _ => false,
        };
        let halves = |item: &u32| if *item > 1 { vec![item / 2] } else { vec![] };
        let shrunk = shrink(&[40, 8], 1_000, fails, halves).unwrap();
        assert_eq!((shrunk.items, shrunk.minimal), (vec![5, 8], true));
        let fails = |items: &[u32]| match items {
            [_, 8] => true,
            [small] => *small <= 3,
            _ => false,
        };
        let shrunk = shrink(&[40, 8], 1_000, fails, halves).unwrap();
        assert_eq!((shrunk.items, shrunk.minimal), (vec![1], true));
    }

    #[test]
    fn it_is_tried_as_often_as_it_may_be_and_no_more() {
        let items: Vec<u32> = (0..64).collect();
        let fails = |items: &[u32]| [3, 17, 60].iter().all(|it| items.contains(it));
        let all = shrink(&items, 1_000, fails, never).unwrap();
        assert!(all.minimal && all.runs < 200, "{}", all.runs);
        for most in 1..all.runs {
            let mut runs = 0;
            let counted = |items: &[u32]| {
                runs += 1;
                fails(items)
            };
            let shrunk = shrink(&items, most, counted, never).unwrap();
            assert!(fails(&shrunk.items) && !shrunk.minimal);
            assert_eq!((runs, shrunk.runs), (most, most));
        }
    }

    proptest! {
        #[test]
        fn the_needed_decisions_are_what_is_left(
            count in 1_usize..60,
            picks in prop::collection::btree_set(0_usize..60, 0..6),
        ) {
            let needed: BTreeSet<usize> = picks.into_iter().filter(|it| *it < count).collect();
            let items: Vec<usize> = (0..count).collect();
            let fails = |items: &[usize]| needed.iter().all(|it| items.contains(it));
            let shrunk = shrink(&items, 100_000, fails, never).unwrap();
            prop_assert!(shrunk.minimal);
            prop_assert_eq!(shrunk.items, needed.into_iter().collect::<Vec<_>>());
        }

        /// It fails as soon as one of several sets is there: monotone, with several smallest ends.
        #[test]
        fn no_one_decision_can_be_left_out_of_what_is_left(
            sets in prop::collection::vec(prop::collection::btree_set(0_u8..24, 1..5), 1..5),
        ) {
            let items: Vec<u8> = (0..24).collect();
            let holds = |items: &[u8], set: &BTreeSet<u8>| set.iter().all(|it| items.contains(it));
            let fails = |items: &[u8]| sets.iter().any(|set| holds(items, set));
            let shrunk = shrink(&items, 100_000, fails, never).unwrap();
            prop_assert!(fails(&shrunk.items) && shrunk.minimal);
            for without in 0..shrunk.items.len() {
                let mut fewer = shrunk.items.clone();
                fewer.remove(without);
                prop_assert!(!fails(&fewer));
            }
            prop_assert_eq!(shrink(&items, 100_000, fails, never), Some(shrunk));
        }

        #[test]
        fn no_form_of_what_is_left_can_be_simpler(
            items in prop::collection::vec(0_u32..1_000, 1..20),
            bound in 1_u32..2_000,
        ) {
            let fails = |items: &[u32]| items.iter().sum::<u32>() >= bound;
            let less = |item: &u32| if *item > 0 { vec![item / 2, item - 1] } else { vec![] };
            if let Some(shrunk) = shrink(&items, 1_000_000, fails, less) {
                prop_assert!(shrunk.minimal);
                prop_assert_eq!(shrunk.items.iter().sum::<u32>(), bound);
            } else {
                prop_assert!(!fails(&items));
            }
        }
    }
}
