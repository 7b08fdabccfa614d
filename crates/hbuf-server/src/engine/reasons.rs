//! Why the node is not as it should be, for its status: what was found damaged, each once.

use std::sync::Mutex;

use hbuf_core::ids::Uuid;

use super::lock;
use crate::read::ReadError;

/// The reasons so far; they stay until the node starts anew.
pub(super) struct Reasons(Mutex<Vec<String>>);

impl Reasons {
    pub(super) fn new(found: Vec<String>) -> Self {
        Self(Mutex::new(found))
    }

    /// Damage that an opening found.
    pub(super) fn push(&self, reason: String) {
        let mut reasons = lock(&self.0);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    /// Damage that a read or the scrubber met.
    pub(super) fn damaged(&self, buffer: Uuid, error: &ReadError) {
        let reason = format!("buffer {buffer}: {error}");
        let mut reasons = lock(&self.0);
        if reasons.len() < MET_MAX && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

/// With so many reasons, nothing more that is met is added.
const MET_MAX: usize = 100;
