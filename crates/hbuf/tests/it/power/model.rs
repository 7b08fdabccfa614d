//! The file system in memory: names, inodes, faults and the moment when the power goes.
//!
//! It knows nothing of FUSE, so its rules are tested without mounting. Every operation that changes
//! or syncs something has a number; the cut comes at a number of one class of operations. The
//! operation at the cut takes effect as an unsynced one and fails, as do all that follow.

mod contents;
mod entries;
mod loss;

pub(crate) use loss::Loss;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::SystemTime;

use super::file::FileData;
use super::names::{Ino, Names};
use super::pages::PAGE_BYTES;

/// The root directory.
pub(crate) const ROOT: Ino = 1;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Exists,
    Invalid,
    Io,
    IsDir,
    NoSpace,
    NotDir,
    NotEmpty,
    NotFound,
}

/// Classes of operations that a cut can count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    /// Every operation of the classes below.
    Any,
    /// A create, mkdir, link, unlink, rmdir or rename.
    Name,
    /// A change of a file's length or a reservation.
    Resize,
    /// An fsync or fdatasync of a file.
    Sync,
    /// An fsync of a directory.
    SyncDir,
    /// A write.
    Write,
    /// A sync that a changed server leaves out: it says so instead (see [`Model::left_out`]).
    LeftOut,
}

/// When the power goes: before operation `number` (from 1) of `class` has finished, or that many
/// operations `later`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) class: Class,
    pub(crate) number: u64,
    /// Operations of all classes that still happen after that one.
    pub(crate) later: u64,
}

/// What the next sync does instead of its work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SyncFault {
    /// Fails, and what was dirty is never written: the next sync succeeds over it.
    Dropped,
    /// Fails, and what was dirty stays dirty.
    Kept,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Dir,
    File(FileData),
    Link(OsString),
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) ino: Ino,
    pub(crate) kind: StatKind,
    pub(crate) len: u64,
    pub(crate) pages: u64,
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) modified: SystemTime,
}

/// The kind of an inode in a `Stat`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StatKind {
    Dir,
    File,
    Link,
}

#[derive(Clone, Debug)]
struct Inode {
    node: Node,
    mode: u16,
    links: u32,
    opens: u32,
    modified: SystemTime,
}

/// How often each class of operation happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) names: u64,
    pub(crate) resizes: u64,
    pub(crate) syncs: u64,
    pub(crate) dir_syncs: u64,
    pub(crate) writes: u64,
    pub(crate) left_out: u64,
}

impl Counts {
    fn of(&self, class: Class) -> u64 {
        match class {
            Class::LeftOut => self.left_out,
            Class::Any => self.names + self.resizes + self.syncs + self.dir_syncs + self.writes,
            Class::Name => self.names,
            Class::Resize => self.resizes,
            Class::Sync => self.syncs,
            Class::SyncDir => self.dir_syncs,
            Class::Write => self.writes,
        }
    }
}

/// A sync that has begun: it will cover what changed before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    upto: u64,
}

/// The whole file system.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    inodes: BTreeMap<Ino, Inode>,
    pub(super) names: Names,
    next_ino: Ino,
    next_change: u64,
    counts: Counts,
    cut: Option<Cut>,
    /// The number of all operations at which the power goes, once the cut's own was reached.
    cut_at: Option<u64>,
    is_cut: bool,
    /// What left-out syncs would have covered: the inode, and the last change before the call.
    doomed: Vec<(Ino, u64)>,
    sync_fault: Option<SyncFault>,
    /// Syncs of this class say that they did, and do nothing.
    forgets: Option<Class>,
    capacity_pages: Option<u64>,
    used_pages: u64,
    bad_ranges: Vec<(Ino, u64, u64)>,
}

impl Default for Model {
    fn default() -> Self {
        let mut model = Self {
            inodes: BTreeMap::new(),
            names: Names::default(),
            next_ino: ROOT,
            next_change: 1,
            counts: Counts::default(),
            cut: None,
            cut_at: None,
            is_cut: false,
            doomed: Vec::new(),
            sync_fault: None,
            forgets: None,
            capacity_pages: None,
            used_pages: 0,
            bad_ranges: Vec::new(),
        };
        let root = model.add(Node::Dir, 0o755);
        model.names.add_dir(root);
        model
    }
}

// Faults and the cut.
impl Model {
    /// The process ended at the cut and the power did not go: the page cache is as it was.
    pub(crate) fn resume(&mut self) {
        (self.cut, self.cut_at, self.is_cut) = (None, None, false);
    }

    /// Lets the power go at a moment that is counted from now on.
    pub(crate) fn cut_after_now(&mut self, cut: Cut) {
        self.cut = Some(Cut {
            number: cut.number + self.counts.of(cut.class),
            ..cut
        });
    }

    pub(crate) fn cut_now(&mut self) {
        self.is_cut = true;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Operations that changed or synced something.
    pub(crate) fn operations(&self) -> u64 {
        self.counts.of(Class::Any)
    }

    /// A server that was changed to leave out a sync tells of it here. It is no operation of a disk
    /// and makes nothing durable, but a cut can count it: what follows it is what may be lost.
    pub(crate) fn left_out(&mut self, ino: Ino) -> Result<(), Fault> {
        self.alive()?;
        self.doomed.push((ino, self.next_change));
        self.counts.left_out += 1;
        self.done(Class::LeftOut)
    }

    /// A disk whose syncs of files, or of directories, are a lie.
    pub(crate) fn forget(&mut self, class: Class) {
        self.forgets = Some(class);
    }

    pub(crate) fn forgets(&self, class: Class) -> bool {
        self.forgets == Some(class)
    }

    pub(crate) fn fail_next_sync(&mut self, fault: SyncFault) {
        self.sync_fault = Some(fault);
    }

    /// True while a fault that was asked for has not happened yet.
    pub(crate) fn sync_fault_waits(&self) -> bool {
        self.sync_fault.is_some()
    }

    /// Space for `bytes` beyond what is used now; `None` is space without end.
    pub(crate) fn leave_space(&mut self, bytes: Option<u64>) {
        self.capacity_pages = bytes.map(|bytes| self.used_pages + bytes / PAGE_BYTES);
    }

    /// Pages in use and free.
    pub(crate) fn space(&self) -> (u64, u64) {
        let capacity = self.capacity_pages.unwrap_or(self.used_pages + (1 << 28));
        (self.used_pages, capacity.saturating_sub(self.used_pages))
    }

    /// Reads of this range of a file fail from now on.
    pub(crate) fn fail_reads(&mut self, ino: Ino, offset: u64, len: u64) {
        self.bad_ranges.push((ino, offset, len));
    }

    /// Inverts one bit of a file, in the cache and on the disk.
    pub(crate) fn flip(&mut self, ino: Ino, offset: u64, bit: u8) -> Result<(), Fault> {
        self.file_mut(ino)?.flip(offset, bit);
        Ok(())
    }

    /// The inode at a path below the root.
    pub(crate) fn resolve(&self, path: &std::path::Path) -> Result<Ino, Fault> {
        path.iter().try_fold(ROOT, |dir, name| {
            self.names.find(dir, name).ok_or(Fault::NotFound)
        })
    }

    fn alive(&self) -> Result<(), Fault> {
        if self.is_cut { Err(Fault::Io) } else { Ok(()) }
    }

    /// Counts an operation; true when the power goes during it.
    fn count(&mut self, class: Class) -> Result<u64, Fault> {
        self.alive()?;
        match class {
            Class::Any | Class::LeftOut => unreachable!("an operation has a class of its own"),
            Class::Name => self.counts.names += 1,
            Class::Resize => self.counts.resizes += 1,
            Class::Sync => self.counts.syncs += 1,
            Class::SyncDir => self.counts.dir_syncs += 1,
            Class::Write => self.counts.writes += 1,
        }
        let id = self.next_change;
        self.next_change += 1;
        Ok(id)
    }

    /// The end of an operation that took effect: it fails after all when the power went.
    fn done(&mut self, class: Class) -> Result<(), Fault> {
        let operations = self.operations();
        if let Some(cut) = self.cut {
            let counts = cut.class == Class::Any || cut.class == class;
            if counts && self.counts.of(cut.class) >= cut.number {
                self.cut_at = self.cut_at.or(Some(operations + cut.later));
            }
        }
        if self.cut_at.is_some_and(|at| operations >= at) {
            self.is_cut = true;
        }
        self.alive()
    }
}

/// The state that a disk comes back with.
#[derive(Debug)]
pub(crate) struct Surviving {
    pub(super) nodes: BTreeMap<Ino, SurvivingNode>,
}

/// One inode that came back.
#[derive(Debug)]
pub(crate) enum SurvivingNode {
    Dir(BTreeMap<OsString, Ino>),
    File(super::pages::Pages),
    Link(OsString),
}

#[cfg(test)]
mod tests;
