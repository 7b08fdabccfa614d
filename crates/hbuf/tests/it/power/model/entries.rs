//! Names: lookups, creations, removals, renames, and the sync of a directory.

use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use super::super::names::{Edit, Ino};
use super::super::pages::PAGE_BYTES;
use super::{Class, Fault, Inode, Model, Node, Stat, StatKind, SyncFault, Ticket};

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

    pub(super) fn add(&mut self, node: Node, mode: u16) -> Ino {
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
    pub(super) fn free_if_unused(&mut self, ino: Ino) {
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
