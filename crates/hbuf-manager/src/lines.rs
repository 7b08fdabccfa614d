//! Text fields: `name: value` lines for commands, `kind name=value …` rows for snapshots.
//!
//! Both are read strictly: a field that is missing, repeated or unknown is an error, since a
//! catalog that skipped what it does not understand would differ from that of a node which does
//! understand.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{Display, Write};
use core::str::FromStr;

use hbuf_core::ids::Uuid;
use hbuf_core::name::Name;

/// Why a text's fields cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The bytes are not UTF-8.
    #[error("the text is not UTF-8")]
    NotText,
    /// A line has no separator.
    #[error("the line {line:?} is not of the form `name: value`")]
    Malformed {
        /// The line.
        line: String,
    },
    /// A field is missing.
    #[error("the field `{field}` is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field's value cannot be read.
    #[error("the field `{field}` holds {value:?}, which cannot be read")]
    Value {
        /// Its name.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A field that this binary does not know, or the second one of a name.
    #[error("the field `{field}` stands twice, or is unknown to this version of hbuf")]
    Unknown {
        /// Its name.
        field: String,
    },
}

/// How fields are laid out.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    /// `name: value` and a line feed each.
    Lines,
    /// One line: each field as ` name=value`.
    Row,
}

/// Writes fields in one of the two layouts.
pub struct Writer {
    pub(crate) text: String,
    layout: Layout,
}

impl Writer {
    pub(crate) const fn new(layout: Layout) -> Self {
        Self {
            text: String::new(),
            layout,
        }
    }

    pub(crate) fn field(&mut self, name: &str, value: impl Display) {
        let written = match self.layout {
            Layout::Lines => writeln!(self.text, "{name}: {value}"),
            Layout::Row => write!(self.text, " {name}={value}"),
        };
        written.expect("writing to a String cannot fail");
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    /// A comma separated list, left out when it is empty.
    pub(crate) fn list<T: Display>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let mut text = String::new();
        for value in values {
            let comma = if text.is_empty() { "" } else { "," };
            write!(text, "{comma}{value}").expect("writing to a String cannot fail");
        }
        if !text.is_empty() {
            self.field(name, text);
        }
    }
}

/// The fields of a text, taken out by name.
pub struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    pub(crate) fn read_lines(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let text = core::str::from_utf8(bytes).map_err(|_| FieldError::NotText)?;
        Self::read(text.lines(), ": ")
    }

    pub(crate) fn read_row(row: &'a str) -> Result<Self, FieldError> {
        Self::read(row.split(' ').filter(|part| !part.is_empty()), "=")
    }

    fn read(parts: impl Iterator<Item = &'a str>, between: &str) -> Result<Self, FieldError> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for part in parts {
            let Some((name, value)) = part.split_once(between) else {
                return Err(FieldError::Malformed {
                    line: part.to_string(),
                });
            };
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// Refuses a name that stands twice: for readers that skip names which they do not know.
    pub(crate) fn each_once(self) -> Result<Self, FieldError> {
        let twice = |at: usize| self.0[..at].iter().any(|(name, _)| *name == self.0[at].0);
        match (0..self.0.len()).find(|at| twice(*at)) {
            None => Ok(self),
            Some(at) => Err(FieldError::Unknown {
                field: self.0[at].0.to_string(),
            }),
        }
    }

    pub(crate) fn take_optional(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Result<&'a str, FieldError> {
        self.take_optional(name)
            .ok_or(FieldError::Missing { field: name })
    }

    pub(crate) fn parse<T: FromStr>(&mut self, name: &'static str) -> Result<T, FieldError> {
        self.with(name, |value| value.parse().ok())
    }

    pub(crate) fn parse_optional<T: FromStr>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, FieldError> {
        self.with_optional(name, |value| value.parse().ok())
    }

    /// Takes a field and reads it by `read`, which gives `None` for a bad value.
    pub(crate) fn with<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FieldError> {
        let value = self.take(name)?;
        read(value).ok_or_else(|| FieldError::Value {
            field: name,
            value: value.to_string(),
        })
    }

    pub(crate) fn with_optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        let Some(value) = self.take_optional(name) else {
            return Ok(None);
        };
        let bad = || FieldError::Value {
            field: name,
            value: value.to_string(),
        };
        read(value).map(Some).ok_or_else(bad)
    }

    /// A comma separated list; a missing field is the empty one.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, FieldError> {
        let Some(value) = self.take_optional(name) else {
            return Ok(Vec::new());
        };
        let bad = || FieldError::Value {
            field: name,
            value: value.to_string(),
        };
        value
            .split(',')
            .map(|part| read(part).ok_or_else(bad))
            .collect()
    }

    pub(crate) fn uuid(&mut self, name: &'static str) -> Result<Uuid, FieldError> {
        self.with(name, Uuid::parse)
    }

    pub(crate) fn name(&mut self, name: &'static str) -> Result<Name, FieldError> {
        self.with(name, |value| Name::parse(value).ok())
    }

    pub(crate) fn tenant(&mut self, name: &'static str) -> Result<Name, FieldError> {
        self.with(name, |value| Name::parse_tenant(value).ok())
    }

    /// Ends the reading: whatever nobody took is unknown, or was taken before under the same name.
    pub(crate) fn finish(self) -> Result<(), FieldError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(FieldError::Unknown {
                field: name.to_string(),
            }),
        }
    }
}
