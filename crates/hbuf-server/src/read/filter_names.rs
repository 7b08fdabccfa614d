//! The names of a buffer's stored filters on the disk: looked at, given and taken away.
//!
//! Whoever looks sees only what no loss of power takes back. The last life may have ended between
//! the change of a name and its sync, so the first look of an opening syncs what it finds; and
//! while a name changes nobody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use hbuf_core::input::BufferState;
use hbuf_core::limits::FILTERS_PER_BUFFER_MAX;
use tokio::sync::watch;

use super::shared::lock;
use super::stored_filter::FilterError;
use super::{ReadError, Readable};
use crate::disk::sync::{self, SyncPoint};

/// The directory of filters in that of the buffer.
const FILTERS_DIRECTORY: &str = "filters";
const FILTER_SUFFIX: &str = ".filter";
const UNFINISHED_SUFFIX: &str = ".filter.tmp";

/// What is known of the names; whoever changes one, or looks, holds it.
#[derive(Debug, Default)]
pub(super) struct FilterNames {
    /// What the last life left is on the disk.
    synced: bool,
    /// Most buffers have none, and are to be small.
    checked: Option<Box<Checked>>,
}

/// Filters whose files were read to their ends in this opening, and were good.
#[derive(Debug, Default)]
struct Checked(BTreeSet<String>);

/// Filters that are being uploaded, by the names of their files, and how each hears of a pause.
#[derive(Debug, Default)]
pub(super) struct Uploads(BTreeMap<String, watch::Sender<bool>>);

/// The file of an upload, until it gets its name.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Turns true when the buffer is paused: the file is gone then, and nothing may be written.
    pub(super) paused: watch::Receiver<bool>,
}

impl Readable {
    /// The names as they are on the disk, held still.
    pub(super) fn filter_names(&self) -> io::Result<MutexGuard<'_, FilterNames>> {
        let mut names = lock(&self.filter_names);
        if !names.synced {
            let directory = self.dir.join(FILTERS_DIRECTORY);
            if directory.try_exists()? {
                sync::sync_dir(&self.dir, SyncPoint::FilterDirectory)?;
                sync::sync_dir(&directory, SyncPoint::FilterEntry)?;
            }
            names.synced = true;
        }
        Ok(names)
    }

    /// Waits for the change of a name, or the write of an upload, that is under way, and breaks the
    /// uploads off: the next one finds that the buffer is paused.
    pub(crate) fn settle_filters(&self) {
        let names = lock(&self.filter_names);
        for (key, paused) in lock(&self.uploads).iter().flat_map(|them| &them.0) {
            paused.send_replace(true);
            // What stays is no filter, and the next upload of the name overwrites it.
            drop(fs::remove_file(self.unfinished_path(key)));
        }
        drop(names);
    }

    /// Makes the file of an upload, which is the only one of its name until
    /// [`Self::forget_upload`]. Refused when the buffer is paused, as `state` says.
    pub(super) fn start_upload(
        &self,
        key: &str,
        state: impl FnOnce() -> Option<BufferState>,
    ) -> Result<Unfinished, FilterError> {
        self.filters_directory()?;
        let others = self.filter_files()?;
        if !others.contains(key) && others.len() >= FILTERS_PER_BUFFER_MAX {
            return Err(FilterError::TooMany);
        }
        // A pause after this look finds the upload, and one before it is seen.
        let _names = self.filter_names()?;
        takes_filters(state())?;
        let mut uploads = lock(&self.uploads);
        let Uploads(uploads) = &mut **uploads.get_or_insert_default();
        if uploads.contains_key(key) {
            return Err(FilterError::Busy);
        }
        let path = self.unfinished_path(key);
        let file = File::create(&path)?;
        let (pause, paused) = watch::channel(false);
        uploads.insert(key.to_owned(), pause);
        Ok(Unfinished { file, path, paused })
    }

    /// Writes to the file of an upload, unless the buffer was paused since it began.
    pub(super) fn write_upload(
        &self,
        unfinished: &mut Unfinished,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), FilterError> {
        let _names = self.filter_names()?;
        self.goes_on(unfinished)?;
        Ok(write(&mut unfinished.file)?)
    }

    /// Whether an upload may go on: neither paused meanwhile nor opened again, with readers that
    /// know the filter of before.
    fn goes_on(&self, unfinished: &Unfinished) -> Result<(), FilterError> {
        if *unfinished.paused.borrow() {
            return Err(FilterError::Paused);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed.into());
        }
        Ok(())
    }

    /// Lets others upload a filter of this name.
    pub(super) fn forget_upload(&self, key: &str) {
        let mut uploads = lock(&self.uploads);
        if let Some(left) = uploads.as_mut() {
            left.0.remove(key);
        }
        uploads.take_if(|left| left.0.is_empty());
    }

    /// Gives an upload its name, and answers whether there was none of this name. Refused when the
    /// buffer was paused meanwhile, or is now as `state` says: its directory is being copied.
    ///
    /// A crash before the rename leaves the filter of before; behind it, the new one.
    pub(super) fn name_filter(
        &self,
        unfinished: &Unfinished,
        state: impl FnOnce() -> Option<BufferState>,
    ) -> Result<bool, FilterError> {
        let names = self.filter_names()?;
        takes_filters(state())?;
        self.goes_on(unfinished)?;
        let path = unfinished.path.with_extension("");
        let new = !path.exists();
        fs::rename(&unfinished.path, &path)?;
        sync::sync_dir(&self.dir.join(FILTERS_DIRECTORY), SyncPoint::FilterEntry)?;
        drop(names);
        Ok(new)
    }

    /// Takes a name away; answers whether there was one. Refused as [`Self::name_filter`].
    pub(super) fn unname_filter(
        &self,
        key: &str,
        state: impl FnOnce() -> Option<BufferState>,
    ) -> Result<bool, FilterError> {
        let names = self.filter_names()?;
        takes_filters(state())?;
        match fs::remove_file(self.filter_path(key)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        sync::sync_dir(&self.dir.join(FILTERS_DIRECTORY), SyncPoint::FilterRemoved)?;
        drop(names);
        Ok(true)
    }

    pub(super) fn is_checked(&self, key: &str) -> bool {
        let names = lock(&self.filter_names);
        names
            .checked
            .as_ref()
            .is_some_and(|them| them.0.contains(key))
    }

    pub(super) fn checked(&self, key: String) {
        let mut names = lock(&self.filter_names);
        names.checked.get_or_insert_default().0.insert(key);
    }

    /// The file of a filter.
    pub(super) fn filter_file(&self, key: &str) -> io::Result<File> {
        let _names = self.filter_names()?;
        File::open(self.filter_path(key))
    }

    pub(super) fn filter_path(&self, key: &str) -> PathBuf {
        let name = format!("{key}{FILTER_SUFFIX}");
        self.dir.join(FILTERS_DIRECTORY).join(name)
    }

    fn unfinished_path(&self, key: &str) -> PathBuf {
        let name = format!("{key}{UNFINISHED_SUFFIX}");
        self.dir.join(FILTERS_DIRECTORY).join(name)
    }

    /// The directory of filters, made when it is not there.
    fn filters_directory(&self) -> io::Result<()> {
        let _names = self.filter_names()?;
        let directory = self.dir.join(FILTERS_DIRECTORY);
        match fs::create_dir(&directory) {
            Ok(()) => sync::sync_dir(&self.dir, SyncPoint::FilterDirectory)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The names of the filters, as they name their files, in order.
    pub(super) fn filter_files(&self) -> io::Result<BTreeSet<String>> {
        let _names = self.filter_names()?;
        let entries = match fs::read_dir(self.dir.join(FILTERS_DIRECTORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name
                .to_str()
                .and_then(|name| name.strip_suffix(FILTER_SUFFIX));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }
}

/// Whether a buffer in this state takes filters; one that is being opened again has none.
fn takes_filters(state: Option<BufferState>) -> Result<(), FilterError> {
    match state {
        Some(state) if !state.takes_filters() => Err(FilterError::Paused),
        _ => Ok(()),
    }
}
