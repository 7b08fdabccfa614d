//! What can be configured, in which range, and what is assumed when nothing is said.

use core::num::NonZeroU64;

use hbuf_core::filter::BadTag;
use hbuf_core::limits::{
    COPIES_MAX, MIRROR_TAGS_MAX, RETENTION_SECONDS_MAX, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
};

use crate::lines::{FieldError, Fields, Writer};

/// What old segments a buffer may drop. A limit that is not set keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Retention {
    /// Drop segments whose newest message is older than this.
    pub age_seconds: Option<NonZeroU64>,
    /// Drop the oldest segments while the rest still holds at least so many bytes.
    pub bytes: Option<NonZeroU64>,
    /// Drop the oldest segments while the rest still holds at least so many messages.
    pub count: Option<NonZeroU64>,
}

/// The configuration of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferConfig {
    /// Size at which a segment rolls.
    pub segment_bytes: u64,
    /// What may be dropped.
    pub retention: Retention,
    /// Copies besides the primary.
    pub replicas: u8,
    /// Copies that must hold a message before it is acknowledged; unset: `min(2, copies)`.
    pub min_insync: Option<u8>,
}

/// The configuration of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantConfig {
    /// Whether an append to an unknown buffer or topic creates it.
    pub create_on_append: bool,
    /// The configuration of buffers that are created without one.
    pub buffer: BufferConfig,
}

/// Why a configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConfigError {
    /// The segment size is out of range.
    #[error(
        "`segment_bytes` is {got}; choose between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX} bytes"
    )]
    SegmentBytes {
        /// The value asked for.
        got: u64,
    },
    /// The age is out of range.
    #[error(
        "`retention_seconds` is {got}; choose at most {RETENTION_SECONDS_MAX}, or leave it out to keep everything"
    )]
    RetentionAge {
        /// The value asked for.
        got: u64,
    },
    /// More copies than a buffer may have.
    #[error(
        "`replicas` is {got}; choose at most {}, since a buffer has at most {COPIES_MAX} copies",
        COPIES_MAX - 1
    )]
    Replicas {
        /// The value asked for.
        got: u8,
    },
    /// Too many tags of a mirror.
    #[error("a mirror takes at most {MIRROR_TAGS_MAX} tags; {got} are named")]
    MirrorTags {
        /// Tags that are named.
        got: usize,
    },
    /// A tag of a mirror that no message can have.
    #[error("tag {number} of the mirror's `tags` {why}")]
    MirrorTag {
        /// Which one, counting from 1.
        number: usize,
        /// What is wrong with it.
        why: BadTag,
    },
    /// `min_insync` is 0 or more than the copies.
    #[error("`min_insync` is {got}; choose between 1 and the {copies} copies (replicas + 1)")]
    MinInsync {
        /// The value asked for.
        got: u8,
        /// Copies of the buffer.
        copies: u8,
    },
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            retention: Retention::default(),
            replicas: 0,
            min_insync: None,
        }
    }
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            create_on_append: true,
            buffer: BufferConfig::default(),
        }
    }
}

impl BufferConfig {
    /// Checks every value against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(ConfigError::SegmentBytes {
                got: self.segment_bytes,
            });
        }
        if let Some(age) = self.retention.age_seconds
            && age.get() > RETENTION_SECONDS_MAX
        {
            return Err(ConfigError::RetentionAge { got: age.get() });
        }
        if usize::from(self.replicas) >= COPIES_MAX {
            return Err(ConfigError::Replicas { got: self.replicas });
        }
        match self.min_insync {
            Some(got) if !(1..=self.copies()).contains(&got) => Err(ConfigError::MinInsync {
                got,
                copies: self.copies(),
            }),
            _ => Ok(()),
        }
    }

    /// Copies of the buffer, its primary included.
    #[must_use]
    pub const fn copies(&self) -> u8 {
        self.replicas + 1
    }

    /// Copies that must hold a message before it is acknowledged.
    #[must_use]
    pub fn effective_min_insync(&self) -> u8 {
        self.min_insync.unwrap_or_else(|| self.copies().min(2))
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.field("segment-bytes", self.segment_bytes);
        out.optional("retain-seconds", self.retention.age_seconds);
        out.optional("retain-bytes", self.retention.bytes);
        out.optional("retain-count", self.retention.count);
        out.field("replicas", self.replicas);
        out.optional("min-insync", self.min_insync);
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            segment_bytes: fields.parse("segment-bytes")?,
            retention: Retention {
                age_seconds: fields.parse_optional("retain-seconds")?,
                bytes: fields.parse_optional("retain-bytes")?,
                count: fields.parse_optional("retain-count")?,
            },
            replicas: fields.parse("replicas")?,
            min_insync: fields.parse_optional("min-insync")?,
        })
    }
}

impl TenantConfig {
    /// Checks every value against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.buffer.check()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.field("create-on-append", self.create_on_append);
        self.buffer.write(out);
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            create_on_append: fields.parse("create-on-append")?,
            buffer: BufferConfig::read(fields)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut BufferConfig)) -> Result<(), ConfigError> {
        let mut config = BufferConfig::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn values_at_their_limits_are_taken_and_behind_them_refused() {
        assert_eq!(check(|c| c.segment_bytes = SEGMENT_BYTES_MIN), Ok(()));
        assert_eq!(check(|c| c.segment_bytes = SEGMENT_BYTES_MAX), Ok(()));
        assert!(check(|c| c.segment_bytes = SEGMENT_BYTES_MIN - 1).is_err());
        assert!(check(|c| c.segment_bytes = SEGMENT_BYTES_MAX + 1).is_err());
        let age = |seconds| {
            move |c: &mut BufferConfig| c.retention.age_seconds = NonZeroU64::new(seconds)
        };
        assert_eq!(check(age(RETENTION_SECONDS_MAX)), Ok(()));
        assert!(check(age(RETENTION_SECONDS_MAX + 1)).is_err());
        assert_eq!(check(|c| c.replicas = 7), Ok(()));
        assert_eq!(
            check(|c| c.replicas = 8),
            Err(ConfigError::Replicas { got: 8 })
        );
        assert_eq!(check(|c| c.min_insync = Some(1)), Ok(()));
        assert!(check(|c| c.min_insync = Some(0)).is_err());
        let refused = Err(ConfigError::MinInsync { got: 2, copies: 1 });
        assert_eq!(check(|c| c.min_insync = Some(2)), refused);
    }

    #[test]
    fn min_insync_defaults_to_two_or_all_copies() {
        let with = |replicas| BufferConfig {
            replicas,
            ..BufferConfig::default()
        };
        assert_eq!(with(0).effective_min_insync(), 1);
        assert_eq!(with(1).effective_min_insync(), 2);
        assert_eq!(with(4).effective_min_insync(), 2);
    }
}
