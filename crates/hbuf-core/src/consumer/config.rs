//! What can be set on a consumer, in which range, and what is assumed when nothing is said.

use alloc::boxed::Box;

use crate::filter::BadTag;
use crate::ids::{Micros, Seq, Uuid};
use crate::limits::{
    CONSUMER_DELIVERIES_MAX, CONSUMER_EXPIRE_MS_MAX, CONSUMER_IN_FLIGHT_DEFAULT,
    CONSUMER_IN_FLIGHT_MAX, CONSUMER_LEASE_MS_DEFAULT, CONSUMER_LEASE_MS_MAX,
    CONSUMER_LEASE_MS_MIN, CONSUMER_TAGS_MAX, CONSUMER_TTL_SECONDS_MAX, KEY_BYTES_MAX,
};

/// What a consumer is handed; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    /// Any of these tags; none is no condition.
    pub tags: Box<[Box<[u8]>]>,
    /// The name of a stored filter, which each buffer of a topic must have.
    pub stored: Option<Box<str>>,
    /// This key, as it is stored: percent-encoded.
    pub key: Option<Box<[u8]>>,
}

/// Where a consumer begins in a buffer that it has no cursor in. It is judged once, when the
/// consumer first meets the buffer; the cursor that follows from it is put on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Start {
    /// With the oldest message that is kept.
    #[default]
    First,
    /// With what comes after the last message.
    Last,
    /// With this message.
    Seq(Seq),
    /// With the first message of this time or later.
    Time(Micros),
}

/// When a message counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AckMode {
    /// When a worker acknowledges it.
    #[default]
    Explicit,
    /// When it is handed out: at most once.
    OnDelivery,
}

/// The configuration of a consumer. A limit that is not set does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Config {
    /// What it is handed.
    pub filter: Filter,
    /// Where it begins.
    pub start: Start,
    /// When a message counts as done.
    pub ack: AckMode,
    /// How long a message is a worker's own, in milliseconds; then it is handed out again.
    pub lease_ms: u64,
    /// A message that was handed out so often and is not done is not handed out again: it becomes a
    /// dead letter.
    pub deliveries_max: Option<u32>,
    /// Where dead letters go: a buffer's registration. Without one they are dropped and counted.
    pub dead_letter: Option<Uuid>,
    /// How many messages of one buffer may be leased at the same time.
    pub in_flight_max: u32,
    /// No message of a key is handed out while an earlier one of that key is not done.
    pub order_by_key: bool,
    /// A message older than this, in milliseconds by the server's time, is not handed out again: it
    /// becomes a dead letter.
    pub expire_ms: Option<u64>,
    /// The consumer is removed when nobody used it for so many seconds.
    pub ttl_seconds: Option<u64>,
}

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConfigError {
    /// Too many tags.
    #[error(
        "the filter of a consumer names at most {CONSUMER_TAGS_MAX} tags; {got} are named: store more as a filter of the buffer and name that"
    )]
    Tags {
        /// Tags that are named.
        got: usize,
    },
    /// A tag that no message can have.
    #[error("tag {number} of `tags` {why}")]
    Tag {
        /// Which one, counting from 1.
        number: usize,
        /// What is wrong with it.
        why: BadTag,
    },
    /// A key that no message can have.
    #[error("the key of a filter has 1 to {KEY_BYTES_MAX} bytes; this one has {got}")]
    Key {
        /// Bytes of the key.
        got: usize,
    },
    /// The first seq is no seq.
    #[error("messages count from 1 to 2^63; {got} is none: begin at `first`, or name a seq")]
    StartSeq {
        /// The value asked for.
        got: u64,
    },
    /// The lease is out of range.
    #[error(
        "`lease_ms` is {got}; choose between {CONSUMER_LEASE_MS_MIN} and {CONSUMER_LEASE_MS_MAX} milliseconds"
    )]
    Lease {
        /// The value asked for.
        got: u64,
    },
    /// The number of deliveries is out of range.
    #[error(
        "`deliveries_max` is {got}; choose between 1 and {CONSUMER_DELIVERIES_MAX}, or leave it out to try for ever"
    )]
    Deliveries {
        /// The value asked for.
        got: u32,
    },
    /// The number of leases is out of range.
    #[error("`in_flight_max` is {got}; choose between 1 and {CONSUMER_IN_FLIGHT_MAX} messages")]
    InFlight {
        /// The value asked for.
        got: u32,
    },
    /// The age is out of range.
    #[error(
        "`expire_ms` is {got}; choose between 1 and {CONSUMER_EXPIRE_MS_MAX} milliseconds, or leave it out"
    )]
    Expire {
        /// The value asked for.
        got: u64,
    },
    /// The time to live is out of range.
    #[error(
        "`ttl_seconds` is {got}; choose between 1 and {CONSUMER_TTL_SECONDS_MAX} seconds, or leave it out to keep the consumer"
    )]
    Ttl {
        /// The value asked for.
        got: u64,
    },
}

impl AckMode {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::OnDelivery => "on-delivery",
        }
    }

    /// Reads the word of the API.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "explicit" => Some(Self::Explicit),
            "on-delivery" => Some(Self::OnDelivery),
            _ => None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            start: Start::First,
            ack: AckMode::Explicit,
            lease_ms: CONSUMER_LEASE_MS_DEFAULT,
            deliveries_max: None,
            dead_letter: None,
            in_flight_max: CONSUMER_IN_FLIGHT_DEFAULT,
            order_by_key: false,
            expire_ms: None,
            ttl_seconds: None,
        }
    }
}

impl Start {
    /// Checks that a message can have its seq.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Seq(seq) if !(Seq::FIRST..=Seq::MAX).contains(seq) => {
                Err(ConfigError::StartSeq { got: seq.0 })
            }
            _ => Ok(()),
        }
    }
}

impl Filter {
    /// True when every message fits.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.tags.is_empty() && self.stored.is_none() && self.key.is_none()
    }

    fn check(&self) -> Result<(), ConfigError> {
        let got = self.tags.len();
        if got > CONSUMER_TAGS_MAX {
            return Err(ConfigError::Tags { got });
        }
        if let Some((number, why)) = BadTag::find(&self.tags) {
            return Err(ConfigError::Tag { number, why });
        }
        match self.key.as_ref().map(|key| key.len()) {
            Some(got) if !(1..=KEY_BYTES_MAX).contains(&got) => Err(ConfigError::Key { got }),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// Checks every value against its range. Whether a dead-letter buffer leads in a circle is the
    /// manager's to see.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.filter.check()?;
        self.start.check()?;
        if !(CONSUMER_LEASE_MS_MIN..=CONSUMER_LEASE_MS_MAX).contains(&self.lease_ms) {
            return Err(ConfigError::Lease { got: self.lease_ms });
        }
        if !(1..=CONSUMER_IN_FLIGHT_MAX).contains(&self.in_flight_max) {
            let got = self.in_flight_max;
            return Err(ConfigError::InFlight { got });
        }
        match (self.deliveries_max, self.expire_ms, self.ttl_seconds) {
            (Some(got), _, _) if !(1..=CONSUMER_DELIVERIES_MAX).contains(&got) => {
                Err(ConfigError::Deliveries { got })
            }
            (_, Some(got), _) if !(1..=CONSUMER_EXPIRE_MS_MAX).contains(&got) => {
                Err(ConfigError::Expire { got })
            }
            (_, _, Some(got)) if !(1..=CONSUMER_TTL_SECONDS_MAX).contains(&got) => {
                Err(ConfigError::Ttl { got })
            }
            _ => Ok(()),
        }
    }

    /// Whether nobody has used the consumer for as long as it is kept without use.
    #[must_use]
    pub fn is_unused(&self, used: Micros, now: Micros) -> bool {
        let idle = now.0.saturating_sub(used.0);
        self.ttl_seconds
            .is_some_and(|ttl| idle >= ttl.saturating_mul(1_000_000))
    }

    /// How long a lease lasts, in microseconds.
    #[must_use]
    pub const fn lease_micros(&self) -> u64 {
        self.lease_ms * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TAG_BYTES_MAX;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn a_consumer_is_unused_when_its_time_without_use_is_over() {
        let config = Config {
            ttl_seconds: Some(2),
            ..Config::default()
        };
        let used = Micros(5_000_000);
        assert!(!config.is_unused(used, Micros(6_999_999)));
        assert!(config.is_unused(used, Micros(7_000_000)));
        assert!(!config.is_unused(used, Micros(0)), "a clock that went back");
        assert!(!Config::default().is_unused(used, Micros::MAX), "kept");
    }

    #[test]
    fn values_at_their_limits_are_taken_and_behind_them_refused() {
        assert_eq!(check(|_| ()), Ok(()));
        let lease = |ms| move |c: &mut Config| c.lease_ms = ms;
        assert_eq!(check(lease(CONSUMER_LEASE_MS_MIN)), Ok(()));
        assert_eq!(check(lease(CONSUMER_LEASE_MS_MAX)), Ok(()));
        assert!(check(lease(CONSUMER_LEASE_MS_MIN - 1)).is_err());
        assert!(check(lease(CONSUMER_LEASE_MS_MAX + 1)).is_err());
        let deliveries = |most| move |c: &mut Config| c.deliveries_max = Some(most);
        assert_eq!(check(deliveries(1)), Ok(()));
        assert_eq!(check(deliveries(CONSUMER_DELIVERIES_MAX)), Ok(()));
        let refused = Err(ConfigError::Deliveries { got: 0 });
        assert_eq!(check(deliveries(0)), refused);
        assert!(check(deliveries(CONSUMER_DELIVERIES_MAX + 1)).is_err());
        let in_flight = |most| move |c: &mut Config| c.in_flight_max = most;
        assert_eq!(check(in_flight(1)), Ok(()));
        assert_eq!(check(in_flight(CONSUMER_IN_FLIGHT_MAX)), Ok(()));
        assert!(check(in_flight(0)).is_err());
        assert!(check(in_flight(CONSUMER_IN_FLIGHT_MAX + 1)).is_err());
        let expire = |ms| move |c: &mut Config| c.expire_ms = Some(ms);
        assert_eq!(check(expire(CONSUMER_EXPIRE_MS_MAX)), Ok(()));
        assert!(check(expire(0)).is_err());
        assert!(check(expire(CONSUMER_EXPIRE_MS_MAX + 1)).is_err());
        let ttl = |seconds| move |c: &mut Config| c.ttl_seconds = Some(seconds);
        assert_eq!(check(ttl(CONSUMER_TTL_SECONDS_MAX)), Ok(()));
        assert!(check(ttl(0)).is_err());
        assert!(check(ttl(CONSUMER_TTL_SECONDS_MAX + 1)).is_err());
    }

    #[test]
    fn a_refusal_names_the_setting_as_it_is_written() {
        let says = |change: fn(&mut Config)| check(change).unwrap_err().to_string();
        let texts = [
            (says(|c| c.lease_ms = 1), "`lease_ms` is 1; "),
            (
                says(|c| c.deliveries_max = Some(0)),
                "`deliveries_max` is 0; ",
            ),
            (says(|c| c.in_flight_max = 0), "`in_flight_max` is 0; "),
            (says(|c| c.expire_ms = Some(0)), "`expire_ms` is 0; "),
            (says(|c| c.ttl_seconds = Some(0)), "`ttl_seconds` is 0; "),
        ];
        for (text, start) in texts {
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn a_start_is_a_seq_that_a_message_can_have() {
        let start = |seq| move |c: &mut Config| c.start = Start::Seq(Seq(seq));
        assert_eq!(check(start(1)), Ok(()));
        assert_eq!(check(start(1 << 63)), Ok(()));
        assert_eq!(check(start(0)), Err(ConfigError::StartSeq { got: 0 }));
        assert!(check(start((1 << 63) + 1)).is_err());
    }

    #[test]
    fn a_filter_names_tags_and_keys_that_messages_can_have() {
        let tags = |tags: Vec<Box<[u8]>>| move |c: &mut Config| c.filter.tags = tags.into();
        let tag: Box<[u8]> = vec![b'a'; TAG_BYTES_MAX].into();
        assert_eq!(check(tags(vec![tag.clone(); CONSUMER_TAGS_MAX])), Ok(()));
        let got = CONSUMER_TAGS_MAX + 1;
        let refused = Err(ConfigError::Tags { got });
        assert_eq!(check(tags(vec![tag; got])), refused);
        for (bad, why) in [
            (&b""[..], BadTag::Empty),
            (b"a,b", BadTag::Comma),
            (&[b'a'; TAG_BYTES_MAX + 1], BadTag::Long),
        ] {
            let refused = check(tags(vec![b"a"[..].into(), bad.into()]));
            assert_eq!(refused, Err(ConfigError::Tag { number: 2, why }));
        }
        let comma = check(tags(vec![b"a,b"[..].into()]))
            .unwrap_err()
            .to_string();
        assert!(
            comma.starts_with("tag 1 of `tags` holds a comma"),
            "{comma}"
        );
        let key = |len| move |c: &mut Config| c.filter.key = Some(vec![b'k'; len].into());
        assert_eq!(check(key(KEY_BYTES_MAX)), Ok(()));
        assert!(check(key(0)).is_err());
        assert!(check(key(KEY_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn words_of_the_api_read_back() {
        for mode in [AckMode::Explicit, AckMode::OnDelivery] {
            assert_eq!(AckMode::parse(mode.as_str()), Some(mode));
        }
        assert_eq!(AckMode::parse("none"), None);
    }
}
