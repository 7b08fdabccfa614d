//! The table of idempotency keys: 24 hours or a million keys, whichever ends first.
//!
//! Keys are kept as keyed hashes only (draft-ietf-httpapi-idempotency-key-header): the log never
//! holds what a client put into the header.

use alloc::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::Earlier;
use crate::ids::{Hash, Micros, Seq};
use crate::limits::{IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_MICROS_MAX};

/// The form in which a key is kept: SHA-256 over a label, the buffer's secret and the key.
#[must_use]
pub fn hash(secret: &Hash, key: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(b"hbuf/idem/v1\0");
    sha.update(secret.0);
    sha.update(key);
    Hash(sha.finalize().into())
}

/// Keys with the appends that they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdempotencyKeys {
    by_key: BTreeMap<Hash, Earlier>,
    by_seq: BTreeMap<Seq, Hash>,
}

impl IdempotencyKeys {
    /// The earlier append under this key, if it is still remembered at `now`.
    #[must_use]
    pub fn judge(&self, key: &Hash, now: Micros) -> Option<Earlier> {
        let earlier = self.by_key.get(key)?;
        (now.since(earlier.time) <= IDEMPOTENCY_MICROS_MAX).then_some(*earlier)
    }

    /// Notes an append under its key and forgets what is too old or too much.
    pub fn note(&mut self, key: Hash, earlier: Earlier) {
        if let Some(before) = self.by_key.insert(key, earlier) {
            self.by_seq.remove(&before.first);
        }
        self.by_seq.insert(earlier.first, key);
        self.forget(earlier.time);
    }

    fn forget(&mut self, now: Micros) {
        while let Some(oldest) = self.by_seq.first_entry() {
            let time = self
                .by_key
                .get(oldest.get())
                .map_or(Micros(0), |earlier| earlier.time);
            if self.by_key.len() <= IDEMPOTENCY_KEYS_MAX
                && now.since(time) <= IDEMPOTENCY_MICROS_MAX
            {
                break;
            }
            self.by_key.remove(&oldest.remove());
        }
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Hash, &Earlier)> {
        self.by_key.iter()
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True when no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn key(n: u64) -> Hash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Hash(bytes)
    }

    fn at(first: u64, time: u64) -> Earlier {
        Earlier {
            first: Seq(first),
            rest: 0,
            time: Micros(time),
            epoch: Epoch(1),
        }
    }

    #[test]
    fn a_key_is_forgotten_after_a_day() {
        let mut keys = IdempotencyKeys::default();
        keys.note(key(1), at(1, 0));
        assert_eq!(
            keys.judge(&key(1), Micros(IDEMPOTENCY_MICROS_MAX)),
            Some(at(1, 0))
        );
        assert_eq!(
            keys.judge(&key(1), Micros(IDEMPOTENCY_MICROS_MAX + 1)),
            None
        );
        keys.note(key(2), at(2, IDEMPOTENCY_MICROS_MAX + 1));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn the_oldest_key_makes_room_at_the_limit() {
        let mut keys = IdempotencyKeys::default();
        for n in 0..=IDEMPOTENCY_KEYS_MAX as u64 {
            keys.note(key(n), at(n + 1, 0));
        }
        assert_eq!(keys.len(), IDEMPOTENCY_KEYS_MAX);
        assert_eq!(keys.judge(&key(0), Micros(0)), None);
        assert!(keys.judge(&key(1), Micros(0)).is_some());
    }
}
