//! The only place that reads the time or draws randomness.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use hbuf_core::ids::{Micros, Uuid};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The wall clock, as the record's line can hold it.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)).min(Micros::MAX)
}

thread_local! {
    /// A generator a thread, seeded by the system when the thread first needs it. A process never
    /// shares its state with another one: hbuf does not fork.
    static SALTS: RefCell<ChaCha12Rng> = RefCell::new(ChaCha12Rng::from_seed(seed()));
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system has randomness");
    seed
}

/// 32 random bytes, for a salt or a key.
pub(crate) fn random_32() -> [u8; 32] {
    let mut bytes = [0; 32];
    SALTS.with_borrow_mut(|salts| salts.fill_bytes(&mut bytes));
    bytes
}

/// A new uuid.
pub(crate) fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&random_32()[..16]);
    Uuid::from_random(bytes)
}
