//! Members of JSON objects and lists, each read as what it must be.

use hbuf_core::ids::{Hash, Uuid};
use serde_json::Value;

use super::register::Condition;

/// What is wrong with a line of a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is no JSON object.
    #[error("it is no JSON object")]
    NoObject,
    /// The first line names no version that is known.
    #[error("the first line is not {{\"hbuf-history\":1}}")]
    Version,
    /// A member is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member is not of the right form.
    #[error("`{0}` is not what it must be")]
    Wrong(&'static str),
    /// A word that has no meaning here.
    #[error("{0:?} is not known")]
    Unknown(String),
    /// A record without a log that it belongs to.
    #[error("a record stands before any log")]
    NoLogBefore,
    /// An operation with an end before its beginning.
    #[error("it ends before it begins")]
    EndsBeforeItBegins,
}

/// The members of an object.
pub(super) struct Members<'a>(std::borrow::Cow<'a, Value>);

/// The items of a list.
pub(super) struct Items<'a>(&'static str, &'a [Value]);

impl Members<'_> {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let value: Value = serde_json::from_str(text).map_err(|_| Problem::NoObject)?;
        match value.is_object() {
            true => Ok(Self(std::borrow::Cow::Owned(value))),
            false => Err(Problem::NoObject),
        }
    }

    pub(super) fn version(&self) -> Result<(), Problem> {
        let version = self.0.get("hbuf-history").and_then(Value::as_u64);
        (version == Some(1)).then_some(()).ok_or(Problem::Version)
    }

    /// A member that is there and not `null`.
    fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A member that may be missing, as what `read` makes of it.
    fn optional<'s, T>(
        &'s self,
        name: &'static str,
        read: impl Fn(&'s Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let member = self.member(name);
        let read = member.map(|value| read(value).ok_or(Problem::Wrong(name)));
        read.transpose()
    }

    pub(super) fn members(&self, name: &'static str) -> Result<Option<Members<'_>>, Problem> {
        self.optional(name, |value| {
            let object = value.is_object();
            object.then_some(Members(std::borrow::Cow::Borrowed(value)))
        })
    }

    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        self.optional(name, Value::as_str)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&str, Problem> {
        self.optional_text(name)?.ok_or(Problem::Missing(name))
    }

    pub(super) fn optional_number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        self.optional(name, Value::as_u64)
    }

    pub(super) fn number(&self, name: &'static str) -> Result<u64, Problem> {
        self.optional_number(name)?.ok_or(Problem::Missing(name))
    }

    pub(super) fn small(&self, name: &'static str) -> Result<u32, Problem> {
        u32::try_from(self.number(name)?).map_err(|_| Problem::Wrong(name))
    }

    /// False when it is missing.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        Ok(self.optional(name, Value::as_bool)?.unwrap_or(false))
    }

    pub(super) fn uuid(&self, name: &'static str) -> Result<Uuid, Problem> {
        Uuid::parse(self.text(name)?).ok_or(Problem::Wrong(name))
    }

    pub(super) fn optional_hash(&self, name: &'static str) -> Result<Option<Hash>, Problem> {
        self.optional(name, hash)
    }

    /// `Always` when it is missing.
    pub(super) fn condition(&self, name: &'static str) -> Result<Condition, Problem> {
        let condition = self.optional(name, |value| match value.as_u64() {
            Some(version) => Some(Condition::Matches(version)),
            None => (value == "absent").then_some(Condition::Absent),
        });
        Ok(condition?.unwrap_or(Condition::Always))
    }

    pub(super) fn list(&self, name: &'static str) -> Result<Option<Items<'_>>, Problem> {
        self.optional(name, |value| value.as_array().map(|it| Items(name, it)))
    }

    fn each<'s, T>(
        &'s self,
        name: &'static str,
        read: impl Fn(&'s Value) -> Option<T>,
    ) -> Result<Vec<T>, Problem> {
        let list = self.list(name)?.ok_or(Problem::Missing(name))?;
        let items = list.1.iter().map(read);
        items.collect::<Option<_>>().ok_or(Problem::Wrong(name))
    }

    pub(super) fn lists(&self, name: &'static str) -> Result<Vec<Items<'_>>, Problem> {
        self.each(name, |value| value.as_array().map(|it| Items(name, it)))
    }

    pub(super) fn numbers(&self, name: &'static str) -> Result<Vec<u64>, Problem> {
        self.each(name, Value::as_u64)
    }

    pub(super) fn hashes(&self, name: &'static str) -> Result<Vec<Hash>, Problem> {
        self.each(name, hash)
    }
}

impl<'a> Items<'a> {
    pub(super) fn text(&self, at: usize) -> Result<&'a str, Problem> {
        let text = self.1.get(at).and_then(Value::as_str);
        text.ok_or(Problem::Wrong(self.0))
    }

    pub(super) fn number(&self, at: usize) -> Result<u64, Problem> {
        let number = self.1.get(at).and_then(Value::as_u64);
        number.ok_or(Problem::Wrong(self.0))
    }

    pub(super) fn optional_hash(&self, at: usize) -> Result<Option<Hash>, Problem> {
        match self.1.get(at) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => hash(value).map(Some).ok_or(Problem::Wrong(self.0)),
        }
    }
}

fn hash(value: &Value) -> Option<Hash> {
    Hash::parse_hex(value.as_str()?.as_bytes())
}
