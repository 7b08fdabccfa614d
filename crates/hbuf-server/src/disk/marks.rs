//! Writing marks, with the tables that they name.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hbuf_core::mark::{Mark, SLOT_LEN};

use super::layout::Layout;
use super::sync::{self, SyncPoint};

/// Writes the tables and then the mark. What the mark covers must be durable already.
///
/// A crash before the mark's sync leaves the other slot, which names the older tables.
pub(crate) fn write(layout: &Layout, mark: &mut Mark, tables: Option<&[u8]>) -> io::Result<()> {
    let directory = layout.buffer(mark.buffer);
    if let Some(tables) = tables {
        let name = format!("tables-{}", mark.generation);
        write_tables(&directory, &name, tables)?;
        mark.table = Some(name.into());
    }
    let new = !layout.mark(mark.buffer).exists();
    let file = place(layout, mark)?;
    sync::sync_data(&file, SyncPoint::Mark)?;
    if new {
        sync::sync_dir(&directory, SyncPoint::MarkEntry)?;
    }
    remove_old_tables(&directory, mark);
    Ok(())
}

/// Writes a mark's slot without making it durable.
pub(crate) fn place(layout: &Layout, mark: &Mark) -> io::Result<File> {
    let path = layout.mark(mark.buffer);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let mut slot = [0; SLOT_LEN];
    mark.encode(&mut slot);
    file.write_all_at(&slot, (mark.slot() * SLOT_LEN) as u64)?;
    Ok(file)
}

/// The tables get a name that no mark uses yet. A crash leaves an unused file.
fn write_tables(directory: &Path, name: &str, tables: &[u8]) -> io::Result<()> {
    let mut file = File::create(directory.join(name))?;
    file.write_all(tables)?;
    sync::sync_data(&file, SyncPoint::Tables)?;
    sync::sync_dir(directory, SyncPoint::TablesEntry)
}

/// Removes the tables that neither slot names any more.
fn remove_old_tables(directory: &Path, mark: &Mark) {
    let Some(entries) = mark
        .table
        .as_ref()
        .and_then(|_| fs::read_dir(directory).ok())
    else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let generation = name.to_str().and_then(|name| name.strip_prefix("tables-"));
        let generation = generation.and_then(|number| number.parse::<u64>().ok());
        if generation.is_some_and(|generation| generation + 1 < mark.generation) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
