//! Between the model and plain directories: what survived is written out, and a directory is read
//! in as the durable start of the next round.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::FileData;
use super::model::{Fault, Model, Node, ROOT, Surviving, SurvivingNode};
use super::names::Ino;

impl Surviving {
    /// Writes the surviving tree into `target`, which must not exist yet.
    pub(crate) fn write_to(&self, target: &Path) -> io::Result<()> {
        let mut links = BTreeMap::new();
        self.write_node(ROOT, target, &mut links)
    }

    fn write_node(
        &self,
        ino: Ino,
        path: &Path,
        links: &mut BTreeMap<Ino, PathBuf>,
    ) -> io::Result<()> {
        match self.nodes.get(&ino) {
            None => Ok(()),
            Some(SurvivingNode::Dir(entries)) => {
                fs::create_dir(path)?;
                for (name, child) in entries {
                    self.write_node(*child, &path.join(name), links)?;
                }
                Ok(())
            }
            Some(SurvivingNode::Link(target)) => std::os::unix::fs::symlink(target, path),
            Some(SurvivingNode::File(pages)) => {
                if let Some(first) = links.get(&ino) {
                    return fs::hard_link(first, path);
                }
                links.insert(ino, path.to_owned());
                fs::write(path, pages.read(0, pages.len()))
            }
        }
    }
}

impl Model {
    /// A file system that holds a copy of `source`, all of it durable.
    pub(crate) fn load(source: &Path) -> io::Result<Self> {
        let mut model = Self::default();
        model.load_dir(source, ROOT)?;
        model.sync_everything();
        Ok(model)
    }

    fn load_dir(&mut self, source: &Path, dir: Ino) -> io::Result<()> {
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let node = if kind.is_dir() {
                Node::Dir
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(entry.path())?.into_os_string())
            } else {
                Node::File(FileData::durable(&fs::read(entry.path())?))
            };
            let made = self
                .make(dir, &entry.file_name(), node, 0o755)
                .map_err(|fault: Fault| io::Error::other(format!("{fault:?}")))?;
            if kind.is_dir() {
                self.load_dir(&entry.path(), made.ino)?;
            }
        }
        Ok(())
    }
}
