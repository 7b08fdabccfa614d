//! What may be sent twice, how often, and how long to wait between. Pure but for the jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How often and how patiently a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most times that one call is sent, the first time included.
    pub attempts_max: u32,
    /// Pause before the second attempt; it doubles from there.
    pub pause: Duration,
    /// Longest pause; a longer `retry-after` of the server ends the attempts.
    pub pause_max: Duration,
}

impl RetryPolicy {
    /// One attempt only.
    pub const NEVER: Self = Self {
        attempts_max: 1,
        pause: Duration::ZERO,
        pause_max: Duration::ZERO,
    };

    /// The pause after the failed attempt number `attempt` (from 1), or `None` to give up.
    ///
    /// `spread` in 0..=255 takes up to half of the pause away, so that many clients which failed
    /// together do not come back together.
    pub(crate) fn pause_after(
        &self,
        attempt: u32,
        retry_after: Option<Duration>,
        spread: u8,
    ) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        if let Some(asked) = retry_after {
            return (asked <= self.pause_max).then_some(asked);
        }
        let doubled = self
            .pause
            .saturating_mul(1 << (attempt - 1).min(16))
            .min(self.pause_max);
        Some(doubled - doubled.mul_f64(f64::from(spread) / 512.0))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            pause: Duration::from_millis(50),
            pause_max: Duration::from_secs(5),
        }
    }
}

/// What sending a call twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing: a read, a configuration, or an append under a producer number or idempotency key.
    Harmless,
    /// It might append twice, so only a call that surely never reached the log is repeated.
    Doubles,
}

/// How a call failed, as far as a retry is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: nothing was sent.
    Unsent,
    /// The connection broke after something was sent: nobody knows whether it was taken.
    Unknown,
    /// The server refused with this status.
    Refused(u16),
}

/// Whether a call that failed so may be sent again.
pub(crate) const fn may_repeat(repeat: Repeat, failure: Failure) -> bool {
    match (failure, repeat) {
        // 429 is said before anything is done with the call.
        (Failure::Unsent | Failure::Refused(429), _) => true,
        // 503 may come from a sync that failed after the write, so it counts as unknown.
        (Failure::Unknown | Failure::Refused(503), Repeat::Harmless) => true,
        (Failure::Unknown | Failure::Refused(_), _) => false,
    }
}

/// Reads `retry-after` in its form of seconds; the date form is treated as absent.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// A number nobody can guess, for jitter and producer ids. The standard library seeds it from the
/// system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_end() {
        let policy = RetryPolicy {
            attempts_max: 5,
            pause: Duration::from_millis(100),
            pause_max: Duration::from_millis(300),
        };
        let pauses: Vec<_> = (1..=5)
            .map(|attempt| policy.pause_after(attempt, None, 0))
            .collect();
        let millis = |n| Some(Duration::from_millis(n));
        assert_eq!(
            pauses,
            [millis(100), millis(200), millis(300), millis(300), None]
        );
        let spread = policy.pause_after(1, None, 255).unwrap();
        assert!(spread >= Duration::from_millis(50) && spread < Duration::from_millis(51));
    }

    #[test]
    fn the_servers_wish_is_followed_unless_it_is_too_long() {
        let policy = RetryPolicy::default();
        let second = Duration::from_secs(1);
        assert_eq!(policy.pause_after(1, Some(second), 200), Some(second));
        assert_eq!(
            policy.pause_after(1, Some(Duration::from_secs(60)), 0),
            None
        );
    }

    #[test]
    fn an_append_without_a_number_is_repeated_only_when_it_never_arrived() {
        for (failure, harmless, doubles) in [
            (Failure::Unsent, true, true),
            (Failure::Refused(429), true, true),
            (Failure::Unknown, true, false),
            (Failure::Refused(503), true, false),
            (Failure::Refused(409), false, false),
        ] {
            assert_eq!(
                may_repeat(Repeat::Harmless, failure),
                harmless,
                "{failure:?}"
            );
            assert_eq!(may_repeat(Repeat::Doubles, failure), doubles, "{failure:?}");
        }
    }
}
