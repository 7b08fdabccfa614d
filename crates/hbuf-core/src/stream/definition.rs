//! What defines a stream: the type of its content and how long it lives.

use alloc::boxed::Box;

use crate::ids::Micros;
use crate::limits::{RETENTION_SECONDS_MAX, STREAM_TYPE_BYTES_MAX};
use crate::time::parse_rfc3339;

const SECOND: u64 = 1_000_000;

/// How long a stream lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Life {
    /// Until it is deleted.
    #[default]
    Lasting,
    /// Until nobody has used it for so many seconds (`Stream-TTL`).
    Idle {
        /// At most [`RETENTION_SECONDS_MAX`].
        seconds: u64,
    },
    /// Until a moment (`Stream-Expires-At`).
    Until(Micros),
}

/// What a stream is, told at its creation and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Definition {
    /// The content type as it was given.
    content_type: Box<str>,
    /// How long the stream lives.
    pub life: Life,
}

/// Why a stream cannot be defined so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DefinitionError {
    /// The content type is no media type.
    #[error(
        "`content-type` is no media type of at most {STREAM_TYPE_BYTES_MAX} bytes: send for example `content-type: application/json`"
    )]
    ContentType,
    /// The time to live is no plain number.
    #[error(
        "`stream-ttl` is a number of seconds, in decimal digits without sign or leading zeros, at most {RETENTION_SECONDS_MAX}"
    )]
    Ttl,
    /// The time of expiry is none.
    #[error(
        "`stream-expires-at` is no time: write it as in RFC 3339, for example 2026-11-20T11:15:22Z"
    )]
    ExpiresAt,
    /// Both were given.
    #[error("`stream-ttl` and `stream-expires-at` both say when the stream ends: send one of them")]
    Both,
}

impl Definition {
    /// Checks what a request gives.
    pub fn parse(
        content_type: &str,
        ttl: Option<&str>,
        expires_at: Option<&str>,
    ) -> Result<Self, DefinitionError> {
        let life = match (ttl, expires_at) {
            (Some(_), Some(_)) => return Err(DefinitionError::Both),
            (None, None) => Life::Lasting,
            (Some(text), None) => Life::Idle {
                seconds: parse_ttl(text).ok_or(DefinitionError::Ttl)?,
            },
            (None, Some(text)) => {
                Life::Until(parse_rfc3339(text).ok_or(DefinitionError::ExpiresAt)?)
            }
        };
        Self::new(content_type, life).ok_or(DefinitionError::ContentType)
    }

    /// `None` when the content type is none.
    #[must_use]
    pub fn new(content_type: &str, life: Life) -> Option<Self> {
        let (main, sub) = essence(content_type).split_once('/')?;
        let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let whole = content_type.len() <= STREAM_TYPE_BYTES_MAX
            && content_type.trim() == content_type
            && content_type.bytes().all(printable);
        (whole && token(main) && token(sub)).then(|| Self {
            content_type: content_type.into(),
            life,
        })
    }

    /// The content type as it was given.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Whether messages are values of JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        is_json(&self.content_type)
    }

    /// Whether messages may stand in server-sent events as they are.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let essence = essence(&self.content_type);
        let main = essence.split_once('/').map_or("", |(main, _)| main);
        main.eq_ignore_ascii_case("text") || self.is_json()
    }

    /// Whether content of this type belongs into the stream: the media types are the same,
    /// whatever their parameters.
    #[must_use]
    pub fn takes(&self, content_type: &str) -> bool {
        essence(&self.content_type).eq_ignore_ascii_case(essence(content_type))
    }

    /// Whether another definition asks for the same stream.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.takes(&other.content_type) && self.life == other.life
    }
}

impl Life {
    /// When a stream ends that was last used at `used`; `None` for never.
    #[must_use]
    pub const fn deadline(self, used: Micros) -> Option<Micros> {
        match self {
            Self::Lasting => None,
            Self::Idle { seconds } => Some(Micros(
                used.0.saturating_add(seconds.saturating_mul(SECOND)),
            )),
            Self::Until(moment) => Some(moment),
        }
    }

    /// How much use may go unrecorded, in microseconds: an eighth of the time to live, and at
    /// least a second.
    #[must_use]
    pub const fn grain(self) -> u64 {
        match self {
            Self::Idle { seconds } if seconds > 8 => seconds.saturating_mul(SECOND) / 8,
            Self::Lasting | Self::Idle { .. } | Self::Until(_) => SECOND,
        }
    }
}

/// Whether a content type is that of JSON.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("application/json")
}

/// The media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type
        .split_once(';')
        .map_or(content_type, |(essence, _)| essence)
        .trim()
}

const fn is_token(byte: u8) -> bool {
    let marks = matches!(
        byte,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'|' | b'~'
    );
    byte.is_ascii_alphanumeric() || marks || matches!(byte, b'^'..=b'`')
}

fn parse_ttl(text: &str) -> Option<u64> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let seconds = text.parse().ok().filter(|_| plain)?;
    (seconds <= RETENTION_SECONDS_MAX).then_some(seconds)
}
