//! Files of zeros, made before they are needed.
//!
//! A small sync into a file that was written before changes neither size nor extents, so the file
//! system has nothing to journal. Only a busy buffer or journal asks for one; an idle node makes
//! none.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::layout::at;
use super::space;
use super::sync;

const COMPLETE: &str = "zero";
const UNFINISHED: &str = "part";
/// A file is made only while this many of it would fit.
const ROOM_FACTOR: u64 = 16;
/// Zeros are written in pieces of this many bytes.
const PIECE: usize = 1 << 20;

#[derive(Debug, Default)]
struct State {
    ready: Vec<PathBuf>,
    wanted: usize,
    next: u64,
    stopping: bool,
}

/// The pool of pre-written files of one disk.
#[derive(Debug)]
pub(crate) struct Pool {
    directory: PathBuf,
    file_bytes: u64,
    state: Mutex<State>,
    wake: Condvar,
}

impl Pool {
    /// Takes over the complete files that an earlier run left and removes unfinished ones. What was
    /// not made here is not touched.
    pub(crate) fn open(directory: PathBuf, file_bytes: u64) -> io::Result<Arc<Self>> {
        let mut state = State::default();
        for entry in fs::read_dir(&directory).map_err(at(&directory))? {
            let entry = entry?;
            let path = entry.path();
            let Some(number) = number_of(&path).filter(|_| is_file(&entry)) else {
                tracing::warn!(event = "pool_foreign_file", path = %path.display());
                continue;
            };
            state.next = state.next.max(number + 1);
            let is_complete = path.extension().is_some_and(|end| end == COMPLETE);
            if is_complete && entry.metadata().map_err(at(&path))?.len() == file_bytes {
                state.ready.push(path);
            } else {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(Arc::new(Self {
            directory,
            file_bytes,
            state: Mutex::new(state),
            wake: Condvar::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Length of every file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// A ready file, if there is one; another is made in its place.
    pub(crate) fn take(&self) -> Option<PathBuf> {
        let path = self.state().ready.pop();
        self.want();
        path
    }

    /// True when a file is ready; otherwise one is made.
    pub(crate) fn ready(&self) -> bool {
        if self.state().ready.is_empty() {
            self.want();
            return false;
        }
        true
    }

    fn want(&self) {
        let mut state = self.state();
        if state.ready.is_empty() && state.wanted == 0 {
            state.wanted = 1;
            self.wake.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.state().stopping = true;
        self.wake.notify_one();
    }

    /// Starts the thread that makes files.
    pub(crate) fn spawn(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let pool = Arc::clone(self);
        thread::Builder::new()
            .name("hbuf-prewrite".into())
            .spawn(move || pool.run())
    }

    fn run(&self) {
        loop {
            let number = {
                let mut state = self.state();
                while state.wanted == 0 && !state.stopping {
                    state = self
                        .wake
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                if state.stopping {
                    return;
                }
                state.next += 1;
                state.next
            };
            let made = self.has_room(self.file_bytes).then(|| self.make(number));
            let mut state = self.state();
            state.wanted = 0;
            match made.transpose() {
                Ok(path) => state.ready.extend(path),
                // Growing files serve as well, only slower.
                Err(error) => tracing::warn!(event = "prewrite_failed", %error),
            }
        }
    }

    /// True when the disk has room for much more than so many zeros: they must never be what fills
    /// it.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let free = space::free_bytes(&self.directory);
        free.is_some_and(|free| free / ROOM_FACTOR > bytes)
    }

    /// A crash before the rename leaves an unfinished file, which the next start removes.
    fn make(&self, number: u64) -> io::Result<PathBuf> {
        let unfinished = self.directory.join(format!("{number}.{UNFINISHED}"));
        let path = self.directory.join(format!("{number}.{COMPLETE}"));
        let written = write_zeros(&unfinished, self.file_bytes);
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }
}

/// The number of a file that has a name of the pool.
fn number_of(path: &Path) -> Option<u64> {
    let ours = path
        .extension()
        .is_some_and(|end| end == COMPLETE || end == UNFINISHED);
    path.file_stem().filter(|_| ours)?.to_str()?.parse().ok()
}

fn is_file(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_file())
}

fn write_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PIECE as u64);
        file.write_all(&zeros[..usize::try_from(piece).expect("at most PIECE")])?;
        left -= piece;
    }
    sync::write_ahead(&file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn files_are_made_on_demand_and_leftovers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("7.part"), b"x").unwrap();
        fs::write(dir.path().join("8.zero"), b"short").unwrap();
        let foreign = ["notes.txt", "x.zero", "9.zero.bak"];
        for name in foreign {
            fs::write(dir.path().join(name), b"not ours").unwrap();
        }
        fs::create_dir(dir.path().join("9.zero")).unwrap();
        let pool = Pool::open(dir.path().to_path_buf(), 8192).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), foreign.len() + 1);
        let thread = pool.spawn().unwrap();
        while !pool.ready() {
            thread::sleep(Duration::from_millis(1));
        }
        let path = pool.take().unwrap();
        assert_eq!(fs::read(path).unwrap(), vec![0; 8192]);
        pool.stop();
        thread.join().unwrap();
    }
}
