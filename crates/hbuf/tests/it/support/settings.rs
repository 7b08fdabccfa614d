//! How long a test runs, from the environment (CI's short form without any of it), and the
//! server's settings that the tests force. The variables do not begin with `HBUF_`: those are the
//! server's, which refuses what it does not know.

use std::ops::Range;

/// The seeds to run: `TEST_SEED` is the first, `TEST_SEEDS` how many.
pub(crate) fn seeds(default_count: u64) -> Range<u64> {
    let first = number("TEST_SEED").unwrap_or(1);
    first..first + number("TEST_SEEDS").unwrap_or(default_count)
}

/// Whether the server under test leaves out a sync and tells the disk so (`TEST_LEFT_OUT`): the
/// power then goes after that rather than at any moment.
pub(crate) fn leaves_out() -> bool {
    std::env::var_os("TEST_LEFT_OUT").is_some()
}

/// Rounds of kills over all seeds: `TEST_ROUNDS`.
pub(crate) fn rounds(default: u64) -> u64 {
    number("TEST_ROUNDS").unwrap_or(default)
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
    )
}

/// Which way commits take to the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CommitPath {
    /// The server decides by the number of buffers that a commit touches.
    Auto,
    /// Always into the segments.
    Direct,
    /// Always through the journal.
    Journal,
}

impl CommitPath {
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Direct, Self::Journal];

    /// Flags for `serve` that force the path, make checkpoints, rolls of the journal and the
    /// closing of idle buffers happen within a second, and pre-written files so short that they are
    /// used.
    pub(crate) fn settings(self) -> Vec<String> {
        let buffers_max = match self {
            Self::Auto => 2,
            Self::Direct => u64::MAX,
            Self::Journal => 0,
        };
        [
            ("direct-buffers-max", buffers_max),
            ("checkpoint-seconds", 1),
            ("idle-seconds", 1),
            ("retention-sweep-seconds", 1),
            ("journal-bytes", 1 << 20),
            ("prewrite-bytes", 1 << 16),
        ]
        .map(|(name, value)| format!("--{name}={value}"))
        .to_vec()
    }
}
