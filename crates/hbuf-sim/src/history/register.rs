//! One key of a collection: a register whose values have versions that only grow.
//!
//! Versions are given by whoever keeps the register, so nobody knows that of a put without an
//! answer. The state then holds what is known of it: it is above all earlier ones, and it is none
//! that a later condition was refused for. The first answer that names it settles it.
//!
//! Values that end by themselves after a time are none of this: no clock is part of the model.
//! Versions need to grow per key only; gaps are fine, as where all keys share one log.

use std::collections::BTreeSet;
use std::fmt;

use super::linear::Model;

/// A register that nobody has written to yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register;

/// What is asked of a register.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterCall {
    /// What is the value?
    Get,
    /// Set the value.
    Put {
        /// The new value, or a digest of it.
        value: String,
        /// Only when this holds.
        when: Condition,
    },
    /// Take the value away.
    Delete {
        /// Only when this holds.
        when: Condition,
    },
}

/// On what a change depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// On nothing.
    Always,
    /// There is a value of this version: `If-Match`.
    Matches(u64),
    /// There is no value: `If-None-Match: *`.
    Absent,
}

/// What a register answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterAnswer {
    /// The value that was asked for.
    Value {
        /// It.
        value: String,
        /// Its version, from 1.
        version: u64,
    },
    /// There is none.
    Absent,
    /// The new value is there.
    Stored {
        /// Its version.
        version: u64,
    },
    /// The value is gone.
    Deleted {
        /// The version of its absence.
        version: u64,
    },
    /// The condition did not hold; nothing changed.
    Refused,
}

/// What is known of a register between two operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    value: Option<String>,
    /// The version of the value, where an answer named it.
    version: Option<u64>,
    /// Every later version is above this one; so is the present one where it is not known.
    floor: u64,
    /// What an unknown version is not.
    not: BTreeSet<u64>,
}

impl Model for Register {
    type State = Entry;
    type Call = RegisterCall;
    type Answer = RegisterAnswer;

    fn initial(&self) -> Entry {
        Entry::default()
    }

    fn step(
        &self,
        state: &Entry,
        call: &RegisterCall,
        answer: Option<&RegisterAnswer>,
    ) -> Option<Entry> {
        match call {
            RegisterCall::Get => state.get(answer),
            RegisterCall::Put { value, when } => state.change(Some(value), *when, answer),
            RegisterCall::Delete { when } => state.change(None, *when, answer),
        }
    }

    /// Versions only grow, so whoever was told one that is passed must have come before.
    fn never(&self, state: &Entry, _: &RegisterCall, answer: &RegisterAnswer) -> bool {
        match answer {
            RegisterAnswer::Stored { version } | RegisterAnswer::Deleted { version } => {
                *version <= state.floor
            }
            RegisterAnswer::Value { version, .. } => {
                *version < state.floor || *version == state.floor && state.version.is_none()
            }
            RegisterAnswer::Absent | RegisterAnswer::Refused => false,
        }
    }
}

impl Entry {
    fn get(&self, answer: Option<&RegisterAnswer>) -> Option<Self> {
        match answer {
            None => Some(self.clone()),
            Some(RegisterAnswer::Value { value, version }) => {
                let same = self.value.as_ref() == Some(value);
                same.then(|| self.of_version(*version)).flatten()
            }
            Some(RegisterAnswer::Absent) => self.value.is_none().then(|| self.clone()),
            Some(_) => None,
        }
    }

    /// A put, or a delete where there is no new value.
    fn change(
        &self,
        value: Option<&String>,
        when: Condition,
        answer: Option<&RegisterAnswer>,
    ) -> Option<Self> {
        let version = match (value, answer) {
            (_, None) => {
                // Without effect where the condition surely fails. Where that is not known, being
                // refused is the same as being left out.
                let before = self.fulfilling(when);
                return Some(before.map_or_else(|| self.clone(), |it| it.changed(value, None)));
            }
            (Some(_), Some(RegisterAnswer::Stored { version })) => *version,
            (None, Some(RegisterAnswer::Deleted { version })) if self.value.is_some() => *version,
            (None, Some(RegisterAnswer::Absent)) => {
                return self.value.is_none().then(|| self.clone());
            }
            (_, Some(RegisterAnswer::Refused)) => return self.refusing(when),
            _ => return None,
        };
        let before = self.fulfilling(when)?;
        (version > before.floor).then(|| before.changed(value, Some(version)))
    }

    fn changed(self, value: Option<&String>, version: Option<u64>) -> Self {
        Self {
            // Of an absent value only the floor matters.
            version: value.and(version),
            value: value.cloned(),
            floor: version.unwrap_or(self.floor),
            not: BTreeSet::new(),
        }
    }

    /// This entry, given that its value has this version.
    fn of_version(&self, version: u64) -> Option<Self> {
        let possible = match (&self.value, self.version) {
            (None, _) => false,
            (Some(_), Some(known)) => known == version,
            (Some(_), None) => version > self.floor && !self.not.contains(&version),
        };
        possible.then(|| Self {
            value: self.value.clone(),
            version: Some(version),
            floor: version,
            not: BTreeSet::new(),
        })
    }

    /// This entry, given that the condition holds.
    fn fulfilling(&self, when: Condition) -> Option<Self> {
        match when {
            Condition::Always => Some(self.clone()),
            Condition::Matches(version) => self.of_version(version),
            Condition::Absent => self.value.is_none().then(|| self.clone()),
        }
    }

    /// This entry, given that the condition does not hold.
    fn refusing(&self, when: Condition) -> Option<Self> {
        match when {
            Condition::Always => None,
            Condition::Absent => self.value.is_some().then(|| self.clone()),
            Condition::Matches(version) if self.of_version(version).is_none() => Some(self.clone()),
            Condition::Matches(_) if self.version.is_some() => None,
            Condition::Matches(version) => {
                let mut other = self.clone();
                other.not.insert(version);
                Some(other)
            }
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, self.version) {
            (None, _) => write!(f, "no value (versions through {} are used)", self.floor),
            (Some(value), Some(version)) => write!(f, "{value} of version {version}"),
            (Some(value), None) => write!(f, "{value} of a version above {}", self.floor),
        }
    }
}

impl fmt::Display for RegisterCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => f.write_str("get"),
            Self::Put { value, when } => write!(f, "put {value}{when}"),
            Self::Delete { when } => write!(f, "delete{when}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => Ok(()),
            Self::Matches(version) => write!(f, " if of version {version}"),
            Self::Absent => f.write_str(" if there is no value"),
        }
    }
}

impl fmt::Display for RegisterAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { value, version } => write!(f, "{value} of version {version}"),
            Self::Absent => f.write_str("no value"),
            Self::Stored { version } => write!(f, "stored as version {version}"),
            Self::Deleted { version } => write!(f, "deleted as version {version}"),
            Self::Refused => f.write_str("refused by its condition"),
        }
    }
}
