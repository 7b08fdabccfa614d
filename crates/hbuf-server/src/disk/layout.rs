//! Where everything stands in the data directory.
//!
//! ```text
//! data/node.json  journal/  pool/  manager/<region>/  quarantine/
//! names/<tenant>/<buffer> -> ../../buffers/<2 hex>/<uuid>
//! buffers/<2 hex>/<uuid>/{buffer.json, mark, tables-N, 0…01.hbuf, 0…01.idx, cursors/0…01.hbuf,
//!                         unapplied/N.hbuf}
//! ```

use std::io;
use std::path::{Path, PathBuf};

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::segment::{LogKind, file_name};

/// Says in an error of the system which file it is about.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.root.join("pool")
    }

    pub(crate) fn manager(&self) -> PathBuf {
        self.root.join("manager").join("global")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// The link from a name to its buffer, and what it points to.
    pub(crate) fn name_link(&self, tenant: &str, name: &str, buffer: Uuid) -> (PathBuf, PathBuf) {
        let text = buffer.to_string();
        let target = Path::new("../../buffers").join(&text[..2]).join(&text);
        (self.names().join(tenant).join(name), target)
    }

    pub(crate) fn buffers(&self) -> PathBuf {
        self.root.join("buffers")
    }

    /// The directory that a buffer's directory stands in: the first two digits of its uuid.
    pub(crate) fn fan(&self, buffer: Uuid) -> PathBuf {
        self.buffers().join(&buffer.to_string()[..2])
    }

    pub(crate) fn buffer(&self, buffer: Uuid) -> PathBuf {
        self.fan(buffer).join(buffer.to_string())
    }

    /// The directory of one of a buffer's two logs.
    pub(crate) fn log(&self, buffer: Uuid, log: LogKind) -> PathBuf {
        let directory = self.buffer(buffer);
        if log == LogKind::Cursors {
            directory.join("cursors")
        } else {
            directory
        }
    }

    /// One file of one of a buffer's two logs.
    pub(crate) fn file(&self, buffer: Uuid, log: LogKind, first: Seq) -> PathBuf {
        self.log(buffer, log).join(file_name(first))
    }

    /// The directory of journal entries that a damaged buffer's log could not take.
    pub(crate) fn unapplied(&self, buffer: Uuid) -> PathBuf {
        self.buffer(buffer).join("unapplied")
    }

    pub(crate) fn mark(&self, buffer: Uuid) -> PathBuf {
        self.buffer(buffer).join("mark")
    }
}
