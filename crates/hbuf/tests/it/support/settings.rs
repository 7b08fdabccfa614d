//! How long a test runs, from the environment: CI's short form without any of it.

use std::ops::Range;

/// The seeds to run: `HBUF_TEST_SEED` is the first, `HBUF_TEST_SEEDS` how many.
pub(crate) fn seeds(default_count: u64) -> Range<u64> {
    let first = number("HBUF_TEST_SEED").unwrap_or(1);
    first..first + number("HBUF_TEST_SEEDS").unwrap_or(default_count)
}

/// Rounds of kills over all seeds: `HBUF_TEST_ROUNDS`.
pub(crate) fn rounds(default: u64) -> u64 {
    number("HBUF_TEST_ROUNDS").unwrap_or(default)
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}
