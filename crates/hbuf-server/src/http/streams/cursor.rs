//! The cursor of live reads: a number that grows with time and with every poll of one client, so
//! that a cache in between never gives a client the reply it had already.

use hbuf_core::ids::Micros;

/// 2024-10-09T00:00:00Z, in microseconds since 1970.
const EPOCH: u64 = 1_728_432_000_000_000;
/// Length of an interval: 20 s, in microseconds.
const INTERVAL: u64 = 20_000_000;
/// Intervals of the longest jump ahead: an hour.
const JUMP_MAX: u64 = 180;

/// The cursor at `now` for a client that sent one; it gets a higher one, by a random jump.
pub(super) fn cursor(now: Micros, sent: Option<u64>, random: u64) -> u64 {
    let current = now.0.saturating_sub(EPOCH) / INTERVAL;
    match sent {
        Some(sent) if sent >= current => sent.saturating_add(1 + random % JUMP_MAX),
        _ => current,
    }
}

/// Reads the cursor that a client sent; what is none counts as if it had sent none.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More than any clock will say is no cursor of ours, and leaves no room to jump ahead.
    let cursor = text.parse().ok().filter(|_| digits)?;
    (cursor < u64::MAX / 2).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_number_of_the_interval_and_always_passes_the_clients() {
        let now = Micros(EPOCH + 1000 * INTERVAL + 7);
        assert_eq!(cursor(now, None, 5), 1000);
        assert_eq!(cursor(now, Some(999), 5), 1000);
        assert_eq!(cursor(now, Some(1000), 0), 1001);
        assert_eq!(cursor(now, Some(1000), 179), 1180);
        assert_eq!(cursor(now, Some(5000), 180), 5001);
        assert_eq!(cursor(Micros(0), None, 0), 0);
    }

    #[test]
    fn what_is_no_cursor_counts_as_none() {
        assert_eq!(parse("1000"), Some(1000));
        for text in [
            "",
            "-1",
            "x",
            "1.0",
            "18446744073709551615",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
