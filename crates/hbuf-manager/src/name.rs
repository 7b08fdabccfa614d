//! Names of tenants, buffers, topics and nodes.
//!
//! A name is also a file name (`names/<tenant>/<buffer>`) and a path segment of a URL, so it needs
//! no escaping in either: that is why the alphabet is small and why names that differ only in case
//! are not allowed side by side.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;

use hbuf_core::limits::NAME_BYTES_MAX;

/// A checked name: starts with a letter or digit, then `[A-Za-z0-9_.-]`, at most 200 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the name is empty; give at least one letter or digit")]
    Empty,
    /// The text is too long.
    #[error("the name has {length} bytes; use at most {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The first character is neither a letter nor a digit.
    #[error("the name starts with {found:?}; start it with an ASCII letter or digit")]
    Start {
        /// The first character.
        found: char,
    },
    /// A character outside the alphabet.
    #[error("the name holds {found:?}; use only ASCII letters, digits, `_`, `.` and `-`")]
    Character {
        /// The first such character.
        found: char,
    },
}

impl Name {
    /// The tenant that every cluster has, used where no tenant is named.
    pub const DEFAULT_TENANT: &'static str = "-";

    /// Checks the name of a buffer, topic or node.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start { found: first });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            return Err(NameError::Character { found });
        }
        Ok(Self(text.into()))
    }

    /// Checks the name of a tenant, which alone may also be `-`.
    pub fn parse_tenant(text: &str) -> Result<Self, NameError> {
        if text == Self::DEFAULT_TENANT {
            return Ok(Self::default_tenant());
        }
        Self::parse(text)
    }

    /// The name of the default tenant.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self(Self::DEFAULT_TENANT.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Runs `look_up` with the lower-case form of `name`, without allocating: this is on the path of
/// every request. A text that is too long to be a name has no form, and `None` comes back.
pub(crate) fn with_folded<T>(name: &str, look_up: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut space = [0_u8; NAME_BYTES_MAX];
    let folded = space.get_mut(..name.len())?;
    folded.copy_from_slice(name.as_bytes());
    folded.make_ascii_lowercase();
    look_up(core::str::from_utf8(folded).ok()?)
}

/// The lower-case form, the key under which a name is kept.
pub(crate) fn folded(name: &str) -> Box<str> {
    name.to_ascii_lowercase().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_are_refused_with_the_reason() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert_eq!(Name::parse(&long), Err(NameError::TooLong { length: 201 }));
        assert_eq!(Name::parse(".."), Err(NameError::Start { found: '.' }));
        assert_eq!(Name::parse("-"), Err(NameError::Start { found: '-' }));
        assert_eq!(Name::parse("a/b"), Err(NameError::Character { found: '/' }));
        assert_eq!(Name::parse("aé"), Err(NameError::Character { found: 'é' }));
        assert_eq!(&*Name::parse(&long[1..]).unwrap(), &long[1..]);
        assert_eq!(
            &*Name::parse("coke.deployments_2-x").unwrap(),
            "coke.deployments_2-x"
        );
    }

    #[test]
    fn only_a_tenant_may_be_called_dash() {
        assert_eq!(Name::parse_tenant("-").unwrap(), Name::default_tenant());
        assert!(Name::parse_tenant("--").is_err());
    }

    #[test]
    fn folding_a_text_that_is_too_long_finds_nothing() {
        let long = "A".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(with_folded(&long, |_| Some(())), None);
        assert_eq!(with_folded("AbC", |f| (f == "abc").then_some(())), Some(()));
    }
}
