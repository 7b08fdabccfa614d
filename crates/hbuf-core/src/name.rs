//! Names of tenants, buffers, topics and consumers.
//!
//! A name starts with a letter or digit, so `.` and `..` are none, and a name is safe as a file's.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::ops::Deref;

use crate::limits::NAME_BYTES_MAX;

/// A checked name. Two names that differ only in case are one: compare [`Name::fold`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name needs at least one character")]
    Empty,
    /// The text is longer than a name may be.
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// `-` is the default tenant's name and nothing else's.
    #[error("`-` alone is reserved for defaults; choose a name that starts with a letter or digit")]
    Reserved,
    /// The first character is none that a name starts with.
    #[error("a name starts with a letter or digit, not with {found:?}")]
    Start {
        /// The first character.
        found: char,
    },
    /// A character that names do not have.
    #[error("a name has letters, digits, `_`, `.` and `-` only, not {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
}

impl Name {
    /// The tenant of requests that name none.
    pub const DEFAULT_TENANT: &'static str = "-";

    /// Checks a name of a buffer, topic, consumer or tenant.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if text == Self::DEFAULT_TENANT {
            return Err(NameError::Reserved);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start { found: first });
        }
        match text.chars().find(|&c| !is_name_character(c)) {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(Self(text.into())),
        }
    }

    /// Checks a name of a tenant, which may also be `-`.
    pub fn parse_tenant(text: &str) -> Result<Self, NameError> {
        if text == Self::DEFAULT_TENANT {
            return Ok(Self::default_tenant());
        }
        Self::parse(text)
    }

    /// The name `-`.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self(Self::DEFAULT_TENANT.into())
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key under which a name is unique: lower case.
    #[must_use]
    pub fn fold(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

const fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for text in [
            "a",
            "0",
            "coke.deployments",
            "A-b_c.9",
            &"x".repeat(NAME_BYTES_MAX),
        ] {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert_eq!(Name::parse("-"), Err(NameError::Reserved));
        assert_eq!(Name::parse(".."), Err(NameError::Start { found: '.' }));
        assert_eq!(Name::parse("-a"), Err(NameError::Start { found: '-' }));
        assert_eq!(Name::parse("a/b"), Err(NameError::Character { found: '/' }));
        assert_eq!(
            Name::parse("a\u{e9}"),
            Err(NameError::Character { found: '\u{e9}' })
        );
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            Name::parse(&long),
            Err(NameError::TooLong {
                bytes: NAME_BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn only_a_tenant_may_be_the_default_one() {
        assert_eq!(Name::parse_tenant("-"), Ok(Name::default_tenant()));
        assert_eq!(
            Name::parse_tenant("-x"),
            Err(NameError::Start { found: '-' })
        );
    }

    #[test]
    fn names_that_differ_in_case_have_one_key() {
        assert_eq!(
            Name::parse("Orders").unwrap().fold(),
            Name::parse("oRDERS").unwrap().fold()
        );
    }
}
