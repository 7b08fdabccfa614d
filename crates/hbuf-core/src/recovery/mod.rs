//! Recovery: from what a directory and the journal hold to a log that may be used again.
//!
//! Pure: files are [`Source`]s, the result is an [`Opening`] and the repairs that make the files
//! say the same. The shell performs the repairs durably before anything else, and the simulator
//! performs them on its own disk. A second recovery after a crash in the middle of the first comes
//! to the same end: repairs only write what is valid at this place, or cut what was never
//! acknowledged.
//!
//! ```text
//! mark or first head ─▶ walk ─▶ stop ─▶ journal has the next record? ─yes─▶ write it, walk on
//!                        ▲                 │no
//!                        └── next file ◀───┤ its first seq is due
//!                                          └─▶ classify: clean, torn (cut), corrupt (read only)
//! ```

mod before_mark;
#[cfg(test)]
mod cursor_damage_tests;
#[cfg(test)]
mod cursor_journal_tests;
#[cfg(test)]
mod cursor_tests;
#[cfg(test)]
mod held_tests;
mod journaled;
mod messages;
mod replay;
mod second_log;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unreadable_tests;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use journaled::FoundEntry;
use journaled::ReadEntry;
use replay::Replay;

use crate::buffer::{CursorsEnd, DamagedAt, Opening};
use crate::dedupe::table::{self, Tables};
use crate::ids::{NodeId, Seq, Uuid};
use crate::input::{BufferConfig, BufferState};
use crate::journal::{Entry, encode_unapplied};
use crate::mark::Mark;
use crate::replication::{Assignment, NodeEpoch};
use crate::rules::Rules;
use crate::segment::{LogKind, ReadFailed, Source};

/// One file of a log.
#[derive(Clone, Copy)]
pub struct FoundFile<'a> {
    /// The first seq, from its name.
    pub first: Seq,
    /// Its bytes.
    pub source: &'a dyn Source,
}

/// What a buffer's directory and the journal hold, and what the manager says about it.
pub struct Found<'a> {
    /// The registration.
    pub buffer: Uuid,
    /// The log's id.
    pub log: Uuid,
    /// This node.
    pub node: NodeId,
    /// Its registration.
    pub node_epoch: NodeEpoch,
    /// What the manager has decided, as of that registration or later.
    pub assignment: Arc<Assignment>,
    /// The configuration.
    pub config: BufferConfig,
    /// The state.
    pub state: BufferState,
    /// The newer good slot of the mark, if there is one.
    pub mark: Option<Mark>,
    /// The segments in the order of their first seqs.
    pub segments: Vec<FoundFile<'a>>,
    /// The cursors files in the order of their first seqs.
    pub cursors: Vec<FoundFile<'a>>,
    /// This buffer's journal entries in the order of their positions.
    pub journal: Vec<FoundEntry<'a>>,
    /// These entries are durable in a journal that stays until a mark covers them.
    pub journal_stays: bool,
    /// The table file that the mark names.
    pub tables: Option<&'a [u8]>,
}

/// A change to a file that recovery asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// Write what only the journal held; offset 0 makes the file.
    Write {
        /// Which of the two logs.
        log: LogKind,
        /// First seq of the file.
        file: Seq,
        /// Where.
        offset: u64,
        /// What.
        bytes: Box<[u8]>,
    },
    /// Cut a tail that was never acknowledged.
    Truncate {
        /// Which of the two logs.
        log: LogKind,
        /// First seq of the file.
        file: Seq,
        /// The length to keep.
        offset: u64,
    },
    /// Remove a file that holds nothing acknowledged, or that retention let go.
    Remove {
        /// Which of the two logs.
        log: LogKind,
        /// First seq of the file.
        file: Seq,
    },
}

/// What cannot be used and must be kept for repair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Damage {
    /// Which of the two logs.
    pub log: LogKind,
    /// The first seq that is missing or damaged.
    pub seq: Seq,
    /// First seq of the file.
    pub file: Seq,
    /// What is wrong, for a person.
    pub reason: String,
}

/// A stretch of the log that no file gives: a segment whose head line is not good or that is
/// missing. It goes on to the next segment, or to the log's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unreadable {
    /// The first seq; if there is a file, the one that names it.
    pub first: Seq,
    /// What is wrong, for a person.
    pub reason: String,
}

/// The end of a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// What the shard opens.
    pub opening: Opening,
    /// What must be done to the files first, in order.
    pub repairs: Vec<Repair>,
    /// Damage, after which the buffer is read only.
    pub damage: Option<Damage>,
    /// Below [`Opening::end`], and not in [`Opening::segments`]: whoever reads there must be told
    /// that it is damaged, and never that it was dropped.
    pub unreadable: Vec<Unreadable>,
    /// A journal file ([`encode_unapplied`]) with what a damaged buffer's log could not take. It
    /// must be durable beside the log before the journal goes; `None`: such a file may go, after
    /// the repairs.
    pub unapplied: Option<Box<[u8]>>,
    /// Everything that no mark vouches for stands in a journal that stays, and no file loses
    /// anything: until a mark covers them, the messages need no sync.
    pub in_journal: bool,
    /// Records that were restored from the journal.
    pub replayed: u64,
    /// Bytes that were cut as torn.
    pub torn_bytes: u64,
}

impl Recovered {
    /// Whether a repair must wait until everything else is durable: it removes what retention let
    /// go, and the record that says so may be in the page cache alone.
    #[must_use]
    pub fn comes_last(&self, repair: &Repair) -> bool {
        let first = self.opening.first;
        matches!(repair, Repair::Remove { log: LogKind::Messages, file } if *file < first)
    }
}

/// Recovers one buffer.
pub fn recover(rules: &Rules, found: &Found<'_>) -> Result<Recovered, ReadFailed> {
    let mut repairs = Vec::new();
    let mut damage = None;
    let mut cursors_log = Replay::new(rules, found, LogKind::Cursors);
    let cursors = second_log::recover(rules, &mut cursors_log, found, (&mut repairs, &mut damage))?;
    let mut unapplied: Vec<_> = cursors_log.behind_gap().collect::<Result<_, _>>()?;
    let kept = found.mark.as_ref().map_or(Seq::ZERO, |mark| mark.first);
    let kept = cursors.keep_from.max(kept).max(Seq::FIRST);
    let mut log = messages::Messages::start(found, kept, &mut damage);
    let mut replay = Replay::new(rules, found, LogKind::Messages);
    log.walk(rules, found, &mut replay, (&mut repairs, &mut damage))?;
    for entry in replay.behind_gap() {
        unapplied.push(entry?);
    }
    let first = check_kept(&mut log, kept, &mut damage).min(log.end().next());
    // Nor does a paused directory change because the node was started anew.
    let vouches = |_: &&Mark| found.state != BufferState::Paused;
    let vouched = found
        .mark
        .as_ref()
        .filter(vouches)
        .map_or(Seq::ZERO, |mark| mark.file);
    log.drop_below(first, vouched, &mut repairs);
    if damage.is_some() {
        // What is damaged is kept as it is: nothing is cut, nothing is removed.
        repairs.retain(|repair| matches!(repair, Repair::Write { .. }));
    }
    let progress = log.progress;
    let unreadable = core::mem::take(&mut log.unreadable);
    let opening = opening_of((rules, found), (cursors, log), first, damage.as_ref());
    Ok(Recovered {
        unapplied: damage
            .as_ref()
            .and_then(|_| unapplied_file(found.buffer, &unapplied)),
        in_journal: damage.is_none()
            && found.journal_stays
            && in_journal(&replay, &opening, &repairs),
        opening,
        repairs,
        damage,
        unreadable,
        replayed: progress.replayed,
        torn_bytes: progress.torn_bytes,
    })
}

/// What the shard opens.
fn opening_of(
    (rules, found): (&Rules, &Found<'_>),
    (cursors, mut log): (CursorsRecovered, messages::Messages),
    first: Seq,
    damage: Option<&Damage>,
) -> Opening {
    let Tables {
        producers,
        keys,
        stream,
    } = tables_of(rules, &mut log);
    Opening {
        buffer: found.buffer,
        log: found.log,
        history: found.assignment.history,
        node: found.node,
        node_epoch: found.node_epoch,
        assignment: Arc::clone(&found.assignment),
        epochs: log.epochs.clone(),
        first,
        end: log.end(),
        known_commit: log.known_commit(),
        last_time: log.last_time(),
        frontier: log.frontier.clone(),
        segments: log.segments.clone(),
        cursors: cursors.end.clone(),
        consumers: match rules.cursors_survive_restart {
            true => cursors.consumers,
            false => Default::default(),
        },
        producers,
        keys,
        stream,
        config: found.config,
        state: found.state,
        sealed: log.last_is_sealed(),
        damaged: damage.map(|damage| DamagedAt {
            log: damage.log,
            seq: damage.seq,
        }),
        mark_generation: found.mark.as_ref().map_or(0, |mark| mark.generation),
        marked: found.mark.as_ref().map(|mark| mark.durable),
        fence: found.mark.as_ref().map_or(0, |mark| mark.fence),
    }
}

/// See [`Recovered::in_journal`].
fn in_journal(replay: &Replay<'_>, opening: &Opening, repairs: &[Repair]) -> bool {
    let from = opening.marked.map_or(Seq::FIRST, Seq::next);
    let writes = |repair: &Repair| matches!(repair, Repair::Write { .. });
    // A paused buffer writes no mark that could let go of the journal.
    opening.state != BufferState::Paused
        && repairs.iter().all(writes)
        && replay.holds(from, opening.end)
}

fn tables_of(rules: &Rules, log: &mut messages::Messages) -> Tables {
    let tables = log.tables();
    if rules.dedupe_survives_restart {
        return tables;
    }
    Tables {
        stream: tables.stream,
        ..Tables::default()
    }
}

/// The file that keeps these entries; `None` when there are none.
fn unapplied_file(buffer: Uuid, read: &[ReadEntry]) -> Option<Box<[u8]>> {
    let entries = read.iter().map(|read| (read.position, read.entry()));
    let mut entries: Vec<(u64, Entry<'_>)> = entries.collect();
    entries.sort_by_key(|(position, _)| *position);
    // A crash may leave them in such a file and in the journal too.
    let mut seen = BTreeSet::new();
    entries.retain(|(_, entry)| seen.insert((entry.file, entry.body)));
    let some = !entries.is_empty();
    some.then(|| encode_unapplied(buffer, &entries).into())
}

/// The file ([`encode_unapplied`]) that keeps all entries of a buffer whose directory is gone; none
/// if there are none. Beside a log that was brought back, it is found like one of recovery's own.
pub fn keep_all(buffer: Uuid, entries: &[FoundEntry<'_>]) -> Result<Option<Box<[u8]>>, ReadFailed> {
    let read: Vec<ReadEntry> = entries
        .iter()
        .map(FoundEntry::read)
        .collect::<Result<_, _>>()?;
    Ok(unapplied_file(buffer, &read))
}

/// What retention keeps must be there: it says so durably before it removes a file. Answers the
/// first seq that is kept.
fn check_kept(log: &mut messages::Messages, kept: Seq, damage: &mut Option<Damage>) -> Seq {
    // A damaged cursors log may have lost how far retention came.
    let known = damage
        .as_ref()
        .is_none_or(|damage| damage.log == LogKind::Messages);
    let oldest = log.oldest();
    let none = log.segments.is_empty() && log.end() >= kept;
    if !(none || oldest > kept || log.end().next() < kept) {
        return kept;
    }
    let reason = String::from("the segments that hold it are missing");
    // A file that is there, and cannot be used, holds what the others lack.
    let found = log.unreadable.first().is_some_and(|it| it.first <= kept);
    if known && !found {
        log.unreadable.insert(
            0,
            Unreadable {
                first: kept,
                reason: reason.clone(),
            },
        );
    }
    if damage.is_none() {
        *damage = Some(Damage {
            log: LogKind::Messages,
            seq: kept,
            file: kept,
            reason,
        });
    }
    if known { kept } else { kept.max(oldest) }
}

/// What a walk counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Progress {
    replayed: u64,
    torn_bytes: u64,
}

/// The end of the cursors log.
struct CursorsRecovered {
    end: CursorsEnd,
    keep_from: Seq,
    consumers: alloc::collections::BTreeMap<Uuid, crate::consumer::Progress>,
}

/// The tables that the mark names; damaged ones count as damage of the buffer, for repeated appends
/// could no longer be told from new ones.
fn read_tables(found: &Found<'_>, damage: &mut Option<Damage>) -> Tables {
    let Some(mark) = found.mark.as_ref().filter(|mark| mark.table.is_some()) else {
        return Default::default();
    };
    let decoded = found.tables.map(table::decode);
    let reason = match decoded {
        Some(Ok(tables)) => return tables,
        Some(Err(error)) => alloc::format!("the tables of producers and keys: {error}"),
        None => String::from("the file of the tables of producers and keys is missing"),
    };
    *damage = Some(Damage {
        log: LogKind::Messages,
        seq: mark.durable,
        file: mark.file,
        reason,
    });
    Default::default()
}
