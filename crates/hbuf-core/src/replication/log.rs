//! A log as its roles hand it on.

use super::epochs::Epochs;
use crate::ids::Seq;

/// A log as a role takes it over.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// Its end.
    pub end: Seq,
    /// The last seq that a crash would leave.
    pub durable: Seq,
    /// What is known as committed.
    pub commit: Seq,
    /// The epochs of its records.
    pub epochs: Epochs,
}
