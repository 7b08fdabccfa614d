//! Finds buffers under a path: a data directory, a directory of links to buffers, one buffer, one
//! segment.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::mark::{Mark, SLOT_LEN, choose};
use hbuf_core::segment::first_of_name;
use serde_json::Value;

/// A buffer's directory, or one file of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BufferPlace {
    pub(crate) dir: PathBuf,
    /// Its tenant and name, when a link or its own description tells them.
    pub(crate) name: Option<(String, String)>,
    pub(crate) uuid: Option<Uuid>,
    /// In the order of their first seqs.
    pub(crate) segments: Vec<SegmentPlace>,
    /// What its mark says is durable, or why the mark says nothing.
    pub(crate) mark: Result<Option<Mark>, String>,
    alone: bool,
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentPlace {
    pub(crate) path: PathBuf,
    /// The seq that its name says.
    pub(crate) first: Option<Seq>,
    pub(crate) bytes: u64,
}

impl BufferPlace {
    /// The last seq that must be there, as far as the mark tells.
    pub(crate) fn durable(&self) -> Seq {
        match &self.mark {
            Ok(Some(mark)) => mark.durable,
            Ok(None) | Err(_) => Seq::ZERO,
        }
    }

    /// A segment file by itself, without its directory.
    pub(crate) fn is_one_file(&self) -> bool {
        self.alone
    }

    /// The files of its stored filters.
    pub(crate) fn filters(&self) -> Result<Vec<PathBuf>> {
        if self.is_one_file() {
            return Ok(Vec::new());
        }
        let mut files = children(&self.dir.join("filters"))?;
        // An upload under way has another ending.
        files.retain(|path| path.extension().is_some_and(|end| end == "filter"));
        Ok(files)
    }

    /// One of hbuf's own logs, which have neither names nor a tree: the catalog's, or cursors.
    pub(crate) fn is_internal(&self) -> bool {
        let named = |path: Option<&Path>, name: &str| path.is_some_and(|path| path.ends_with(name));
        let dir = fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        named(dir.parent(), "manager") || named(Some(&dir), "cursors")
    }

    /// What people call it: `tenant/name`, or the directory.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some((tenant, name)) => format!("{tenant}/{name}"),
            None => self.dir.display().to_string(),
        }
    }
}

/// All buffers under a path, by title.
pub(crate) fn find(path: &Path) -> Result<Vec<BufferPlace>> {
    let facts = fs::metadata(path).with_context(|| format!("cannot open {}", path.display()))?;
    if facts.is_file() {
        return Ok(vec![one_file(path, facts.len())]);
    }
    let mut found = if is_buffer(path) {
        vec![buffer(path, name_of_link(path))?]
    } else if path.join("buffers").is_dir() {
        data_directory(path)?
    } else {
        directory_of_buffers(path)?
    };
    ensure!(
        !found.is_empty() || path.join("buffers").is_dir(),
        "{} holds no buffers; name a data directory, a buffer's directory (such as \
         hbuf-data/names/-/NAME) or a .hbuf file",
        path.display()
    );
    found.sort_by_key(BufferPlace::title);
    Ok(found)
}

/// hbuf's own logs under a path: the catalog's if it is a data directory, and the cursors of these
/// buffers.
pub(crate) fn find_own(path: &Path, buffers: &[BufferPlace]) -> Result<Vec<PathBuf>> {
    let mut own = Vec::new();
    if path.join("buffers").is_dir() {
        own = children(&path.join("manager"))?;
    }
    let whole = buffers.iter().filter(|place| !place.is_one_file());
    own.extend(whole.map(|place| place.dir.join("cursors")));
    own.retain(|dir| is_buffer(dir));
    Ok(own)
}

/// One of hbuf's own logs, as it is now.
pub(crate) fn own(dir: &Path) -> Result<BufferPlace> {
    buffer(dir, None)
}

fn one_file(path: &Path, bytes: u64) -> BufferPlace {
    let dir = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let segment = SegmentPlace {
        path: path.to_owned(),
        first: first_of(path),
        bytes,
    };
    BufferPlace {
        dir,
        name: None,
        uuid: None,
        segments: vec![segment],
        mark: Ok(None),
        alone: true,
    }
}

/// `buffers/<2 hex>/<uuid>`, with the names that `names/<tenant>/<buffer>` links to them.
fn data_directory(path: &Path) -> Result<Vec<BufferPlace>> {
    let mut names = BTreeMap::new();
    for tenant in children(&path.join("names"))? {
        for link in children(&tenant)? {
            if let (Ok(target), Some(name)) = (fs::canonicalize(&link), name_of_link(&link)) {
                names.insert(target, name);
            }
        }
    }
    let mut found = Vec::new();
    for prefix in children(&path.join("buffers"))? {
        for dir in children(&prefix)?.iter().filter(|dir| is_buffer(dir)) {
            let name = fs::canonicalize(dir)
                .ok()
                .and_then(|target| names.remove(&target));
            found.push(buffer(dir, name)?);
        }
    }
    Ok(found)
}

/// Any directory with buffers in it, such as `names/-`.
fn directory_of_buffers(path: &Path) -> Result<Vec<BufferPlace>> {
    let dirs = children(path)?;
    let dirs = dirs.iter().filter(|dir| is_buffer(dir));
    dirs.map(|dir| buffer(dir, name_of_link(dir))).collect()
}

fn buffer(dir: &Path, name: Option<(String, String)>) -> Result<BufferPlace> {
    let description = fs::read(dir.join("buffer.json")).ok();
    let description: Option<Value> =
        description.and_then(|text| serde_json::from_slice(&text).ok());
    let text = |key: &str| Some(description.as_ref()?.get(key)?.as_str()?.to_owned());
    let name = text("tenant").zip(text("name")).or(name);
    let resolved =
        fs::canonicalize(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    let uuid = resolved
        .file_name()
        .and_then(|name| Uuid::parse(name.to_str()?));
    let mut segments = Vec::new();
    for path in children(dir)? {
        // A name that is no seq is no segment: a file made ahead, or one put into quarantine.
        if let Some(first) = first_of(&path) {
            let bytes = fs::metadata(&path)
                .with_context(|| format!("cannot open {}", path.display()))?
                .len();
            segments.push(SegmentPlace {
                path,
                first: Some(first),
                bytes,
            });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    let mark = read_mark(&dir.join("mark"));
    Ok(BufferPlace {
        dir: dir.to_owned(),
        name,
        uuid,
        segments,
        mark,
        alone: false,
    })
}

/// The newer slot of a mark. A file that is missing or short is as if never written.
fn read_mark(path: &Path) -> Result<Option<Mark>, String> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    bytes.resize(2 * SLOT_LEN, 0);
    let (first, second) = bytes.split_at(SLOT_LEN);
    choose(first, second).map_err(|error| error.to_string())
}

fn is_buffer(dir: &Path) -> bool {
    dir.join("buffer.json").is_file()
        || children(dir).is_ok_and(|files| files.iter().any(|path| first_of(path).is_some()))
}

/// The seq in a segment's file name.
fn first_of(path: &Path) -> Option<Seq> {
    first_of_name(path.file_name()?.to_str()?)
}

/// Tenant and name of a path `…/<tenant>/<name>` that is a link, as those under `names/` are.
fn name_of_link(path: &Path) -> Option<(String, String)> {
    fs::read_link(path).ok()?;
    let name = path.file_name()?.to_str()?.to_owned();
    let tenant = path.parent()?.file_name()?.to_str()?.to_owned();
    Some((tenant, name))
}

/// What a directory holds, in order; nothing when there is no such directory.
fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot list {}", dir.display()))?;
    paths.sort();
    Ok(paths)
}
