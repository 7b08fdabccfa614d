//! Contents: reads, writes, lengths, space, and the sync of a file.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::draw::Draws;
use super::super::file::FileData;
use super::super::names::Ino;
use super::super::pages::PAGE_BYTES;
use super::{Class, Fault, Model, Node, Surviving, SurvivingNode, SyncFault, Ticket};

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
            let fits = ((offset + take).div_ceil(PAGE_BYTES) - needed + free) * PAGE_BYTES;
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

    /// A disk that wrote nothing of its own accord: everything that no sync covered is lost.
    pub(crate) fn lose_unsynced(&mut self) {
        self.names.forget_all();
        for inode in self.inodes.values_mut() {
            if let Node::File(data) = &mut inode.node {
                data.forget_dirty(u64::MAX);
            }
        }
    }

    /// A disk that wrote everything of its own accord but what left-out syncs would have covered.
    pub(crate) fn lose_left_out(&mut self) {
        for (ino, upto) in std::mem::take(&mut self.doomed) {
            match self.file_mut(ino) {
                Ok(file) => file.forget_dirty(upto),
                Err(_) => self.names.forget_dirty(ino, upto),
            }
        }
        self.sync_everything();
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

    pub(super) fn file_mut(&mut self, ino: Ino) -> Result<&mut FileData, Fault> {
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
