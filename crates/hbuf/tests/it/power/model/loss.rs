//! Disks that a loss of power may leave, chosen rather than drawn: each keeps all that it may keep
//! but one kind of change, or nothing that it need not keep.

use std::path::Path;

use super::super::file::FileData;
use super::{Model, Node};

/// What no sync covered and is lost; everything else is on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Loss {
    /// All of it.
    Unsynced,
    /// What files hold, and their lengths.
    Contents,
    /// What files hold, but for the newest write of each: it was the first to reach the disk.
    OlderWrites,
    /// What files hold from the first shrink of each on: the old end comes back.
    Shrinks,
    /// Names that appeared or were moved.
    Creations,
    /// Names that went.
    Removals,
}

impl Loss {
    pub(crate) const ALL: [Self; 6] = [
        Self::Unsynced,
        Self::Contents,
        Self::OlderWrites,
        Self::Shrinks,
        Self::Creations,
        Self::Removals,
    ];
}

impl Model {
    /// Lets everything else reach the disk.
    pub(crate) fn lose(&mut self, loss: Loss) {
        let forget_dirty: fn(&mut FileData) = |file| file.forget_dirty(u64::MAX);
        match loss {
            Loss::Unsynced => self.lose_unsynced(),
            Loss::Contents => self.each_file(forget_dirty),
            Loss::OlderWrites => self.each_file(FileData::forget_older_writes),
            Loss::Shrinks => self.each_file(FileData::forget_from_shrink),
            Loss::Creations => self.names.forget_creations(),
            Loss::Removals => self.names.forget_removals(),
        }
        self.sync_everything();
    }

    /// Lets one file reach the disk, if there is one of that name.
    pub(crate) fn keep(&mut self, path: &Path) {
        if let Ok(ino) = self.resolve(path)
            && let Ok(file) = self.file_mut(ino)
        {
            file.sync(u64::MAX);
        }
    }

    fn each_file(&mut self, change: impl Fn(&mut FileData)) {
        for inode in self.inodes.values_mut() {
            if let Node::File(data) = &mut inode.node {
                change(data);
            }
        }
    }
}
