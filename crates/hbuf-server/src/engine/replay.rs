//! The start's work with the journal that an earlier life left: every buffer in it is recovered.
//!
//! After the death of the process alone, the journal holds all that no mark covers. It is kept
//! then, and the node goes on where that life stopped, so that a start writes next to nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::recovery::{Recovered, keep_all};
use hbuf_manager::Lifecycle;

use super::counters::Counters;
use super::described;
use super::lock;
use super::reasons::{Reasons, told};
use super::start::StartError;
use crate::disk::doubt::Cache;
use crate::disk::journal_found::JournalFound;
use crate::disk::layout::Layout;
use crate::disk::marks;
use crate::disk::recovery::{JournalStays, RecoverError, recover_buffer};
use crate::disk::side_by_side::side_by_side;
use crate::disk::unapplied;
use crate::manager::ManagerHandle;

/// What it needs.
pub(super) struct Replay<'a> {
    pub(super) layout: &'a Layout,
    pub(super) manager: &'a ManagerHandle,
    pub(super) node: NodeId,
    pub(super) cache: Cache,
    pub(super) counters: &'a Counters,
    /// The last position before those of this life.
    pub(super) last: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Buffers that the journal still answers for, with the position of their last entry.
    pub(super) held: Vec<(Recovered, u64)>,
    /// The journal's files, for a checkpoint to let go of.
    pub(super) rolled: Vec<(u64, PathBuf)>,
    /// What a person must look at.
    pub(super) reasons: Reasons,
}

/// What the threads found.
#[derive(Debug, Default)]
struct Findings {
    held: Vec<(Recovered, u64)>,
    damaged: BTreeMap<Uuid, String>,
}

impl Replay<'_> {
    /// A crash in the middle leaves the journal whole: buffers that have their mark ignore it.
    pub(super) fn run(&self) -> Result<Replayed, StartError> {
        let directory = self.layout.journal();
        let journal = JournalFound::read(&directory, self.cache)?;
        let stays = if journal.sync(&directory)? {
            JournalStays::UntilMarked
        } else {
            JournalStays::No
        };
        let found = self.recover_all(&journal, stays)?;
        let damage = journal.damage.iter();
        let damage = damage.map(|damage| format!("the journal is damaged: {damage}"));
        let reasons = Reasons::new(damage.collect());
        for (buffer, text) in found.damaged {
            reasons.push(buffer, text);
        }
        // What nobody may rely on longer is set aside now; the rest goes with a checkpoint.
        let rolled = match stays {
            JournalStays::UntilMarked => journal.into_rolled(),
            JournalStays::No => {
                journal.remove(&self.layout.quarantine())?;
                Vec::new()
            }
        };
        Ok(Replayed {
            held: found.held,
            rolled,
            reasons,
        })
    }

    fn recover_all(
        &self,
        journal: &JournalFound,
        stays: JournalStays,
    ) -> Result<Findings, StartError> {
        let buffers = journal.buffers();
        let found = Mutex::default();
        side_by_side(buffers.len(), |number| {
            self.recover_one(buffers[number], (journal, stays), &found)
        })?;
        Ok(found.into_inner().unwrap_or_default())
    }

    /// Restores what the segments lack. What the journal does not answer for is durable then, and
    /// marked.
    fn recover_one(
        &self,
        buffer: Uuid,
        journal: (&JournalFound, JournalStays),
        found: &Mutex<Findings>,
    ) -> Result<(), StartError> {
        let expected = self.manager.view(|catalog| {
            let buffer = catalog.buffer(buffer)?;
            let live = buffer.lifecycle == Lifecycle::Live;
            let expected = described::expected(catalog, buffer, self.node);
            expected.filter(|_| live)
        });
        // A buffer that was deleted since needs nothing of the journal.
        let Some(expected) = expected else {
            return Ok(());
        };
        let recovered = match recover_buffer(self.layout, &expected, journal, self.cache) {
            Err(RecoverError::Missing(path)) => {
                let reason = self.set_aside(buffer, journal.0, &path)?;
                lock(found).damaged.insert(buffer, reason);
                return Ok(());
            }
            recovered => recovered?,
        };
        if let (true, Some(last)) = (recovered.in_journal, journal.0.last_of(buffer)) {
            lock(found).held.push((recovered, last));
            return Ok(());
        }
        Counters::add(&self.counters.replayed_records, recovered.replayed);
        if let Some(damage) = &recovered.damage {
            lock(found).damaged.insert(buffer, told(buffer, damage));
            return Ok(());
        }
        let (mut mark, tables) = recovered.opening.mark(self.last);
        marks::write(self.layout, &mut mark, tables.as_deref())?;
        Ok(())
    }

    /// A buffer whose directory is missing stops nobody else: its entries are kept, since the
    /// journal goes.
    fn set_aside(
        &self,
        buffer: Uuid,
        journal: &JournalFound,
        missing: &Path,
    ) -> Result<String, StartError> {
        let entries: Vec<_> = journal.entries_of(buffer).collect();
        let kept = keep_all(buffer, &entries).map_err(io::Error::other)?;
        let missing = missing.display();
        let Some(bytes) = kept else {
            return Ok(format!("buffer {buffer}: {missing} is missing"));
        };
        let kept = unapplied::set_aside(self.layout, buffer, &bytes)?;
        let kept = kept.display();
        Ok(format!(
            "buffer {buffer}: {missing} is missing; what the journal held of it is in {kept}: \
             restore the directory from a backup or a replica, move {kept} into it as `unapplied`, \
             and restart; or delete the buffer"
        ))
    }
}
