//! The file system in memory: names, inodes, faults and the moment when the power goes.
//!
//! It knows nothing of FUSE, so its rules are tested without mounting. Every operation that changes
//! or syncs something has a number; the cut comes at a number of one class of operations. The
//! operation at the cut takes effect as an unsynced one and fails, as do all that follow.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use super::draw::Draws;
use super::file::FileData;
use super::names::{Edit, Ino, Names};
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
}

/// When the power goes: before operation `number` (from 1) of `class` has finished.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) class: Class,
    pub(crate) number: u64,
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
}

impl Counts {
    fn of(&self, class: Class) -> u64 {
        match class {
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
#[derive(Debug)]
pub(crate) struct Model {
    inodes: BTreeMap<Ino, Inode>,
    pub(super) names: Names,
    next_ino: Ino,
    next_change: u64,
    counts: Counts,
    cut: Option<Cut>,
    is_cut: bool,
    sync_fault: Option<SyncFault>,
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
            is_cut: false,
            sync_fault: None,
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
    pub(crate) fn cut_at(&mut self, cut: Cut) {
        self.cut = Some(cut);
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
            Class::Any => unreachable!("an operation has a class of its own"),
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
        if let Some(cut) = self.cut {
            let counts = cut.class == Class::Any || cut.class == class;
            if counts && self.counts.of(cut.class) >= cut.number {
                self.is_cut = true;
            }
        }
        self.alive()
    }
}

// Names.
impl Model {
    pub(crate) fn lookup(&self, dir: Ino, name: &OsStr) -> Result<Stat, Fault> {
        self.alive()?;
        self.stat(self.names.find(dir, name).ok_or(Fault::NotFound)?)
    }

    pub(crate) fn stat(&self, ino: Ino) -> Result<Stat, Fault> {
        self.alive()?;
        let inode = self.inodes.get(&ino).ok_or(Fault::NotFound)?;
        let (kind, len, pages) = match &inode.node {
            Node::Dir => (StatKind::Dir, PAGE_BYTES, 1),
            Node::File(data) => (
                StatKind::File,
                data.volatile.len(),
                data.volatile.allocated(),
            ),
            Node::Link(target) => (StatKind::Link, target.len() as u64, 0),
        };
        let Inode {
            mode,
            links,
            modified,
            ..
        } = *inode;
        Ok(Stat {
            ino,
            kind,
            len,
            pages,
            mode,
            links,
            modified,
        })
    }

    pub(crate) fn set_mode(&mut self, ino: Ino, mode: u16) -> Result<(), Fault> {
        self.alive()?;
        self.inodes.get_mut(&ino).ok_or(Fault::NotFound)?.mode = mode & 0o7777;
        Ok(())
    }

    pub(crate) fn list(&self, dir: Ino) -> Result<Vec<(OsString, Stat)>, Fault> {
        self.alive()?;
        self.names
            .list(dir)
            .map(|(name, ino)| Ok((name.clone(), self.stat(ino)?)))
            .collect()
    }

    pub(crate) fn make(
        &mut self,
        dir: Ino,
        name: &OsStr,
        node: Node,
        mode: u16,
    ) -> Result<Stat, Fault> {
        self.alive()?;
        self.parent(dir)?;
        if self.names.find(dir, name).is_some() {
            return Err(Fault::Exists);
        }
        let id = self.count(Class::Name)?;
        let is_dir = matches!(node, Node::Dir);
        let ino = self.add(node, mode);
        if is_dir {
            self.names.add_dir(ino);
        }
        self.names.change(
            id,
            vec![Edit {
                dir,
                name: name.into(),
                ino: Some(ino),
            }],
        );
        self.done(Class::Name)?;
        self.stat(ino)
    }

    pub(crate) fn link(&mut self, ino: Ino, dir: Ino, name: &OsStr) -> Result<Stat, Fault> {
        self.alive()?;
        self.parent(dir)?;
        if self.names.find(dir, name).is_some() {
            return Err(Fault::Exists);
        }
        let inode = self.inodes.get_mut(&ino).ok_or(Fault::NotFound)?;
        if matches!(inode.node, Node::Dir) {
            return Err(Fault::IsDir);
        }
        inode.links += 1;
        let id = self.count(Class::Name)?;
        self.names.change(
            id,
            vec![Edit {
                dir,
                name: name.into(),
                ino: Some(ino),
            }],
        );
        self.done(Class::Name)?;
        self.stat(ino)
    }

    pub(crate) fn unlink(&mut self, dir: Ino, name: &OsStr) -> Result<(), Fault> {
        let found = self.lookup(dir, name)?;
        if found.kind == StatKind::Dir {
            return Err(Fault::IsDir);
        }
        self.remove(dir, name, found.ino)
    }

    pub(crate) fn rmdir(&mut self, dir: Ino, name: &OsStr) -> Result<(), Fault> {
        let found = self.lookup(dir, name)?;
        if found.kind != StatKind::Dir {
            return Err(Fault::NotDir);
        }
        if !self.names.is_empty(found.ino) {
            return Err(Fault::NotEmpty);
        }
        self.remove(dir, name, found.ino)
    }

    fn remove(&mut self, dir: Ino, name: &OsStr, ino: Ino) -> Result<(), Fault> {
        let id = self.count(Class::Name)?;
        self.names.change(
            id,
            vec![Edit {
                dir,
                name: name.into(),
                ino: None,
            }],
        );
        self.unreference(ino);
        self.done(Class::Name)
    }

    /// Renames, replacing an existing target unless `keep_target`.
    pub(crate) fn rename(
        &mut self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        keep_target: bool,
    ) -> Result<(), Fault> {
        let source = self.lookup(from.0, from.1)?;
        self.parent(to.0)?;
        let target = self.names.find(to.0, to.1);
        if target == Some(source.ino) {
            return Ok(());
        }
        if let Some(target) = target {
            self.replaceable(&source, target, keep_target)?;
        }
        let id = self.count(Class::Name)?;
        let gone = Edit {
            dir: from.0,
            name: from.1.into(),
            ino: None,
        };
        let here = Edit {
            dir: to.0,
            name: to.1.into(),
            ino: Some(source.ino),
        };
        self.names.change(id, vec![gone, here]);
        if let Some(target) = target {
            self.unreference(target);
        }
        self.done(Class::Name)
    }

    fn replaceable(&self, source: &Stat, target: Ino, keep_target: bool) -> Result<(), Fault> {
        let target = self.stat(target)?;
        match (source.kind, target.kind) {
            _ if keep_target => Err(Fault::Exists),
            (StatKind::Dir, StatKind::Dir) if self.names.is_empty(target.ino) => Ok(()),
            (StatKind::Dir, StatKind::Dir) => Err(Fault::NotEmpty),
            (StatKind::Dir, _) => Err(Fault::NotDir),
            (_, StatKind::Dir) => Err(Fault::IsDir),
            _ => Ok(()),
        }
    }

    pub(crate) fn read_link(&self, ino: Ino) -> Result<&OsStr, Fault> {
        self.alive()?;
        match self.inodes.get(&ino).map(|inode| &inode.node) {
            Some(Node::Link(target)) => Ok(target),
            Some(_) => Err(Fault::Invalid),
            None => Err(Fault::NotFound),
        }
    }

    pub(crate) fn begin_dir_sync(&mut self) -> Result<Ticket, Fault> {
        let upto = self.count(Class::SyncDir)?;
        self.done(Class::SyncDir)?;
        Ok(Ticket { upto })
    }

    pub(crate) fn finish_dir_sync(&mut self, dir: Ino, ticket: Ticket) -> Result<(), Fault> {
        self.alive()?;
        if self.names.is_dirty(dir)
            && let Some(fault) = self.sync_fault.take()
        {
            if fault == SyncFault::Dropped {
                self.names.forget_dirty(dir, ticket.upto);
            }
            return Err(Fault::Io);
        }
        self.names.sync(dir, ticket.upto);
        Ok(())
    }

    fn add(&mut self, node: Node, mode: u16) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        let links = if matches!(node, Node::Dir) { 2 } else { 1 };
        let inode = Inode {
            node,
            mode: mode & 0o7777,
            links,
            opens: 0,
            modified: SystemTime::now(),
        };
        self.inodes.insert(ino, inode);
        ino
    }

    fn parent(&self, dir: Ino) -> Result<(), Fault> {
        match self.inodes.get(&dir).map(|inode| &inode.node) {
            Some(Node::Dir) => Ok(()),
            Some(_) => Err(Fault::NotDir),
            None => Err(Fault::NotFound),
        }
    }

    fn unreference(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            let drop = if matches!(inode.node, Node::Dir) {
                2
            } else {
                1
            };
            inode.links = inode.links.saturating_sub(drop);
        }
        self.free_if_unused(ino);
    }

    /// Gives the space of an inode back when no name and no handle is left. The inode itself stays:
    /// a lost unlink brings its name back.
    fn free_if_unused(&mut self, ino: Ino) {
        if let Some(Inode {
            node: Node::File(data),
            links: 0,
            opens: 0,
            ..
        }) = self.inodes.get(&ino)
        {
            self.used_pages = self.used_pages.saturating_sub(data.volatile.allocated());
        }
    }
}

// Files.
impl Model {
    pub(crate) fn open(&mut self, ino: Ino) -> Result<(), Fault> {
        self.alive()?;
        self.inodes.get_mut(&ino).ok_or(Fault::NotFound)?.opens += 1;
        Ok(())
    }

    /// Works after the cut too: the kernel closes what a dead process held.
    pub(crate) fn release(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.opens = inode.opens.saturating_sub(1);
        }
        self.free_if_unused(ino);
    }

    pub(crate) fn read(&self, ino: Ino, offset: u64, len: u64) -> Result<Vec<u8>, Fault> {
        self.alive()?;
        let bad = self.bad_ranges.iter().any(|(bad, start, length)| {
            *bad == ino && offset < start + length && *start < offset + len
        });
        if bad {
            return Err(Fault::Io);
        }
        Ok(self.file(ino)?.volatile.read(offset, len))
    }

    /// Writes; returns how much found space, `NoSpace` when nothing did.
    pub(crate) fn write(&mut self, ino: Ino, offset: u64, data: &[u8]) -> Result<u64, Fault> {
        let mut take = data.len() as u64;
        let free = self.space().1;
        let needed = self.file(ino)?.volatile.holes(offset, take);
        if needed > free {
            // A short write, as far as the last page that still fits.
            let fits =
                (offset / PAGE_BYTES + take.div_ceil(PAGE_BYTES) - needed + free) * PAGE_BYTES;
            take = fits.saturating_sub(offset).min(take);
            if take == 0 || self.file(ino)?.volatile.holes(offset, take) > free {
                return Err(Fault::NoSpace);
            }
        }
        let id = self.count(Class::Write)?;
        self.allocating(ino, |file| file.write(id, offset, &data[..take as usize]))?;
        self.done(Class::Write)?;
        Ok(take)
    }

    pub(crate) fn set_len(&mut self, ino: Ino, len: u64) -> Result<(), Fault> {
        self.file(ino)?;
        let id = self.count(Class::Resize)?;
        self.allocating(ino, |file| file.set_len(id, len))?;
        self.done(Class::Resize)
    }

    pub(crate) fn reserve(
        &mut self,
        ino: Ino,
        offset: u64,
        len: u64,
        keep_len: bool,
    ) -> Result<(), Fault> {
        if self.file(ino)?.volatile.holes(offset, len) > self.space().1 {
            return Err(Fault::NoSpace);
        }
        let id = self.count(Class::Resize)?;
        self.allocating(ino, |file| file.reserve(id, offset, len, keep_len))?;
        self.done(Class::Resize)
    }

    pub(crate) fn begin_sync(&mut self) -> Result<Ticket, Fault> {
        let upto = self.count(Class::Sync)?;
        self.done(Class::Sync)?;
        Ok(Ticket { upto })
    }

    pub(crate) fn finish_sync(&mut self, ino: Ino, ticket: Ticket) -> Result<(), Fault> {
        self.alive()?;
        let is_dirty = self.file(ino)?.is_dirty();
        if is_dirty && let Some(fault) = self.sync_fault.take() {
            if fault == SyncFault::Dropped {
                self.file_mut(ino)?.forget_dirty(ticket.upto);
            }
            return Err(Fault::Io);
        }
        self.file_mut(ino)?.sync(ticket.upto);
        Ok(())
    }

    /// Everything is on the disk: what a clean unmount does, and how a test begins.
    pub(crate) fn sync_everything(&mut self) {
        let upto = self.next_change;
        self.names.sync_all(upto);
        for inode in self.inodes.values_mut() {
            if let Node::File(data) = &mut inode.node {
                data.sync(upto);
            }
        }
    }

    /// What the disk holds after the power went, by the draws of a seed.
    pub(crate) fn surviving(&self, draws: Draws) -> Surviving {
        let tree = self.names.surviving(draws);
        let mut files = BTreeMap::new();
        for (ino, inode) in &self.inodes {
            let node = match &inode.node {
                Node::Dir => SurvivingNode::Dir(tree.get(ino).cloned().unwrap_or_default()),
                Node::File(data) => {
                    let pages = data.surviving(draws, *ino);
                    SurvivingNode::File(pages)
                }
                Node::Link(target) => SurvivingNode::Link(target.clone()),
            };
            files.insert(*ino, node);
        }
        Surviving { nodes: files }
    }

    fn file(&self, ino: Ino) -> Result<&FileData, Fault> {
        match self.inodes.get(&ino).map(|inode| &inode.node) {
            Some(Node::File(data)) => Ok(data),
            Some(Node::Dir) => Err(Fault::IsDir),
            Some(Node::Link(_)) => Err(Fault::Invalid),
            None => Err(Fault::NotFound),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Result<&mut FileData, Fault> {
        match self.inodes.get_mut(&ino).map(|inode| &mut inode.node) {
            Some(Node::File(data)) => Ok(data),
            Some(Node::Dir) => Err(Fault::IsDir),
            Some(Node::Link(_)) => Err(Fault::Invalid),
            None => Err(Fault::NotFound),
        }
    }

    fn allocating(&mut self, ino: Ino, work: impl FnOnce(&mut FileData)) -> Result<(), Fault> {
        let file = self.file_mut(ino)?;
        let before = file.volatile.allocated();
        work(file);
        let after = file.volatile.allocated();
        self.used_pages = (self.used_pages + after).saturating_sub(before);
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.modified = SystemTime::now();
        }
        Ok(())
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
#[path = "model_tests.rs"]
mod tests;
