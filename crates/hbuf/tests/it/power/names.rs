//! Directory entries between the page cache and the disk.
//!
//! Every create, link, unlink, rename, mkdir and rmdir is one atomic change of one or two entries.
//! It is volatile until *that directory* is synced: neither syncing the file nor syncing the parent
//! of the directory is enough. (Common file systems promise a little more; the model promises what
//! POSIX does.) A change that survives takes along the earlier changes of the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::draw::Draws;
use super::file::Fate;

/// An inode number.
pub(crate) type Ino = u64;

type Tree = BTreeMap<Ino, BTreeMap<OsString, Ino>>;

/// One entry that appears (`Some`) or disappears.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) dir: Ino,
    pub(crate) name: OsString,
    pub(crate) ino: Option<Ino>,
}

#[derive(Clone, Debug)]
struct Change {
    id: u64,
    edits: Vec<Edit>,
}

impl Change {
    fn only_removes(&self) -> bool {
        self.edits.iter().all(|edit| edit.ino.is_none())
    }
}

/// All directories of the file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    volatile: Tree,
    stable: Tree,
    pending: Vec<Change>,
}

impl Names {
    pub(crate) fn add_dir(&mut self, dir: Ino) {
        self.volatile.entry(dir).or_default();
    }

    pub(crate) fn find(&self, dir: Ino, name: &OsStr) -> Option<Ino> {
        self.volatile.get(&dir)?.get(name).copied()
    }

    pub(crate) fn list(&self, dir: Ino) -> impl Iterator<Item = (&OsString, Ino)> {
        self.volatile
            .get(&dir)
            .into_iter()
            .flatten()
            .map(|(name, ino)| (name, *ino))
    }

    pub(crate) fn is_empty(&self, dir: Ino) -> bool {
        self.volatile.get(&dir).is_none_or(BTreeMap::is_empty)
    }

    pub(crate) fn change(&mut self, id: u64, edits: Vec<Edit>) {
        apply(&mut self.volatile, &edits);
        self.pending.push(Change { id, edits });
    }

    /// Moves the changes of `dir` up to `upto` to the disk, with those that they build on.
    pub(crate) fn sync(&mut self, dir: Ino, upto: u64) {
        let keep = self
            .closed(|change| change.id <= upto && change.edits.iter().any(|edit| edit.dir == dir));
        self.settle(&keep);
    }

    /// Moves everything up to `upto` to the disk.
    pub(crate) fn sync_all(&mut self, upto: u64) {
        let keep = self.closed(|change| change.id <= upto);
        self.settle(&keep);
    }

    /// Drops the changes of `dir` up to `upto` without telling readers: a failed sync.
    pub(crate) fn forget_dirty(&mut self, dir: Ino, upto: u64) {
        self.pending
            .retain(|c| c.id > upto || !c.edits.iter().any(|edit| edit.dir == dir));
    }

    /// Drops every change that no sync covered.
    pub(crate) fn forget_all(&mut self) {
        self.pending.clear();
    }

    /// Drops every name that appeared or was moved, and that no sync covered.
    pub(crate) fn forget_creations(&mut self) {
        self.pending.retain(Change::only_removes);
    }

    /// Drops every removal of a name that no sync covered.
    pub(crate) fn forget_removals(&mut self) {
        self.pending.retain(|change| !change.only_removes());
    }

    pub(crate) fn is_dirty(&self, dir: Ino) -> bool {
        self.pending
            .iter()
            .any(|c| c.edits.iter().any(|edit| edit.dir == dir))
    }

    /// The entries that the disk holds after the power went.
    pub(crate) fn surviving(&self, draws: Draws) -> BTreeMap<Ino, BTreeMap<OsString, Ino>> {
        let fate = Fate::draw(draws, "names", 0);
        let count = self.pending.len() as u64;
        let mut index = 0;
        let keep = self.closed(|_| {
            index += 1;
            fate.keeps(draws, "name", 0, (index - 1, count))
        });
        let mut tree = self.stable.clone();
        for change in self
            .pending
            .iter()
            .filter(|change| keep.contains(&change.id))
        {
            apply(&mut tree, &change.edits);
        }
        tree
    }

    /// The ids of the wanted changes and of all earlier ones that touch a name they touch.
    fn closed(&self, mut wanted: impl FnMut(&Change) -> bool) -> BTreeSet<u64> {
        let mut keep: BTreeSet<u64> = self
            .pending
            .iter()
            .filter(|change| wanted(change))
            .map(|change| change.id)
            .collect();
        let mut names: BTreeSet<(Ino, &OsString)> = BTreeSet::new();
        for change in self.pending.iter().rev() {
            let touches = change
                .edits
                .iter()
                .any(|edit| names.contains(&(edit.dir, &edit.name)));
            if touches || keep.contains(&change.id) {
                keep.insert(change.id);
                names.extend(change.edits.iter().map(|edit| (edit.dir, &edit.name)));
            }
        }
        keep
    }

    fn settle(&mut self, keep: &BTreeSet<u64>) {
        let (settled, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|c| keep.contains(&c.id));
        self.pending = pending;
        let settled: Vec<Change> = settled;
        for change in settled {
            apply(&mut self.stable, &change.edits);
        }
    }
}

fn apply(tree: &mut Tree, edits: &[Edit]) {
    for edit in edits {
        let dir = tree.entry(edit.dir).or_default();
        match edit.ino {
            Some(ino) => dir.insert(edit.name.clone(), ino),
            None => dir.remove(&edit.name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: Ino, name: &str, ino: Ino) -> Edit {
        Edit {
            dir,
            name: name.into(),
            ino: Some(ino),
        }
    }

    fn cut(dir: Ino, name: &str) -> Edit {
        Edit {
            dir,
            name: name.into(),
            ino: None,
        }
    }

    fn survivors(names: &Names) -> Vec<BTreeMap<OsString, Ino>> {
        (0..200)
            .map(|seed| {
                names
                    .surviving(Draws::new(seed))
                    .remove(&1)
                    .unwrap_or_default()
            })
            .collect()
    }

    #[test]
    fn an_entry_is_sure_only_after_its_directory_was_synced() {
        let mut names = Names::default();
        names.change(1, vec![put(1, "a", 2)]);
        assert!(survivors(&names).iter().any(BTreeMap::is_empty));
        assert!(survivors(&names).iter().any(|dir| dir.len() == 1));
        names.sync(7, 1);
        assert!(
            survivors(&names).iter().any(BTreeMap::is_empty),
            "another directory's sync"
        );
        names.sync(1, 1);
        assert!(survivors(&names).iter().all(|dir| dir.len() == 1));
    }

    #[test]
    fn a_rename_is_atomic_and_takes_the_creation_of_its_source_along() {
        let mut names = Names::default();
        names.change(1, vec![put(1, "final", 2)]);
        names.sync(1, 1);
        names.change(2, vec![put(1, "tmp", 3)]);
        names.change(3, vec![cut(1, "tmp"), put(1, "final", 3)]);
        for dir in survivors(&names) {
            let found = dir.get(OsStr::new("final")).copied();
            match found {
                Some(2) => {}
                Some(3) => assert!(!dir.contains_key(OsStr::new("tmp"))),
                other => panic!("final names {other:?}"),
            }
        }
        names.sync(1, 3);
        assert!(
            survivors(&names)
                .iter()
                .all(|dir| dir.len() == 1 && dir[OsStr::new("final")] == 3)
        );
    }

    #[test]
    fn a_rename_between_directories_is_whole_after_either_was_synced() {
        let mut names = Names::default();
        names.change(1, vec![put(1, "a", 3)]);
        names.change(2, vec![cut(1, "a"), put(2, "b", 3)]);
        names.sync(2, 2);
        for seed in 0..50 {
            let tree = names.surviving(Draws::new(seed));
            assert_eq!(tree[&2][OsStr::new("b")], 3);
            assert!(tree[&1].is_empty());
        }
    }
}
