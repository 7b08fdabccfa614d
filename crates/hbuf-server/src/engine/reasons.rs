//! Why the node is not as it should be, for its status: what was found damaged, each once.

use std::collections::BTreeSet;
use std::sync::Mutex;

use hbuf_core::ids::Uuid;
use hbuf_core::recovery::Damage;
use hbuf_core::segment::LogKind;
use hbuf_manager::Lifecycle;

use super::{Engine, lock};
use crate::read::ReadError;

/// The reasons so far; they stay until the node starts anew.
#[derive(Debug, Default)]
pub(super) struct Reasons(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    texts: Vec<String>,
    damaged: BTreeSet<Uuid>,
}

impl Reasons {
    /// With what is wrong with no buffer alone.
    pub(super) fn new(texts: Vec<String>) -> Self {
        Self(Mutex::new(Found {
            texts,
            damaged: BTreeSet::new(),
        }))
    }

    /// Damage that a start or an opening found.
    pub(super) fn push(&self, buffer: Uuid, text: String) {
        let mut found = lock(&self.0);
        found.damaged.insert(buffer);
        if !found.texts.contains(&text) {
            found.texts.push(text);
        }
    }

    /// Damage that a read or the scrubber met.
    pub(super) fn damaged(&self, buffer: Uuid, error: &ReadError) {
        let text = format!("buffer {buffer}: {error}");
        let mut found = lock(&self.0);
        found.damaged.insert(buffer);
        if found.texts.len() < MET_MAX && !found.texts.contains(&text) {
            found.texts.push(text);
        }
    }

    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.0).texts.clone()
    }

    /// How many buffers were found damaged, of those that are there still.
    fn damaged_count(&self, is_there: impl Fn(Uuid) -> bool) -> usize {
        let found = lock(&self.0);
        found.damaged.iter().filter(|it| is_there(**it)).count()
    }
}

/// What a recovery says of damage.
pub(super) fn told(buffer: Uuid, damage: &Damage) -> String {
    let Damage {
        log, seq, reason, ..
    } = damage;
    match log {
        LogKind::Cursors => format!(
            "buffer {buffer} is read only, its messages are good: record {seq} of its cursors log is \
             damaged: {reason}"
        ),
        _ => format!("buffer {buffer} is damaged at seq {seq} and read only: {reason}"),
    }
}

impl Engine {
    /// Buffers of which damage is known, whoever found it.
    #[must_use]
    pub fn damaged_buffers(&self) -> usize {
        self.inner.manager.view(|catalog| {
            let live = |it: &hbuf_manager::Buffer| it.lifecycle == Lifecycle::Live;
            let is_there = |uuid| catalog.buffer(uuid).is_some_and(live);
            self.inner.reasons.damaged_count(is_there)
        })
    }
}

/// With so many reasons, nothing more that is met is added.
const MET_MAX: usize = 100;
