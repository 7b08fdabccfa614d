//! A map of bounded weight that forgets what was used least recently.
//!
//! Ordered, so that everything of one buffer can be taken out in one range.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Values by key, each with a weight; the sum of weights stays within the bound.
pub(super) struct Lru<K, V> {
    values: BTreeMap<K, Slot<V>>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
    weight: usize,
    weight_max: usize,
}

struct Slot<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Ord + Copy, V: Clone> Lru<K, V> {
    pub(super) fn new(weight_max: usize) -> Self {
        let (values, by_use) = (BTreeMap::new(), BTreeMap::new());
        Self {
            values,
            by_use,
            uses: 0,
            weight: 0,
            weight_max,
        }
    }

    /// The value of `key`, which is now the one used last.
    pub(super) fn get(&mut self, key: K) -> Option<V> {
        let slot = self.values.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(&slot.used);
        self.by_use.insert(self.uses, key);
        slot.used = self.uses;
        Some(slot.value.clone())
    }

    /// Puts a value in the place of another; what was used least recently goes when it is too much.
    pub(super) fn put(&mut self, key: K, value: V, weight: usize) {
        self.remove(key);
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.values.insert(
            key,
            Slot {
                value,
                weight,
                used: self.uses,
            },
        );
        self.weight += weight;
        self.shrink();
    }

    /// Corrects the weight of a value that grew where it stands.
    pub(super) fn reweigh(&mut self, key: K, weight: usize) {
        if let Some(slot) = self.values.get_mut(&key) {
            self.weight = self.weight - slot.weight + weight;
            slot.weight = weight;
            self.shrink();
        }
    }

    pub(super) fn remove(&mut self, key: K) {
        if let Some(slot) = self.values.remove(&key) {
            self.by_use.remove(&slot.used);
            self.weight -= slot.weight;
        }
    }

    pub(super) fn remove_range(&mut self, range: RangeInclusive<K>) {
        let keys: Vec<K> = self.values.range(range).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn shrink(&mut self) {
        while self.weight > self.weight_max
            && let Some((_, key)) = self.by_use.pop_first()
        {
            let slot = self
                .values
                .remove(&key)
                .expect("both maps hold the same keys");
            self.weight -= slot.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lru = Lru::new(3);
        for key in 1..=3 {
            lru.put(key, key * 10, 1);
        }
        assert_eq!(lru.get(1), Some(10));
        lru.put(4, 40, 1);
        assert_eq!(
            (lru.get(2), lru.get(1), lru.get(4)),
            (None, Some(10), Some(40))
        );
        lru.reweigh(4, 2);
        assert_eq!(
            (lru.get(3), lru.get(1), lru.get(4)),
            (None, Some(10), Some(40))
        );
        lru.put(5, 50, 9);
        assert_eq!(lru.len(), 0, "a value beyond the bound is not kept");
    }

    #[test]
    fn a_range_is_forgotten_together() {
        let mut lru = Lru::new(10);
        for key in 1..=6 {
            lru.put(key, (), 1);
        }
        lru.remove_range(2..=4);
        assert_eq!(lru.len(), 3);
        assert!(lru.get(2).is_none() && lru.get(5).is_some());
        for key in 10..=16 {
            lru.put(key, (), 1);
        }
        assert_eq!(
            lru.len(),
            10,
            "the weight of what was removed is free again"
        );
    }
}
