//! Mounts that a killed test process left behind.
//!
//! Each mount names its process as the source, so that a later run detaches only what is dead: a
//! mount of a process that still runs is never touched.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rustix::mount::UnmountFlags;

const PREFIX: &str = "powerloss-";

/// The source of this process's mounts: its number and when it started, since numbers come again.
pub(crate) fn source_of_this_process() -> String {
    let process = std::process::id();
    let started = started(process).expect("a process sees itself in /proc");
    format!("{PREFIX}{process}-{started}")
}

/// Detaches the mounts of processes that ended, once in a process.
pub(crate) fn detach_all_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        for at in dead_mounts(&table, started) {
            eprintln!("detaching {}, left by a test that was killed", at.display());
            detach(&at);
        }
    });
}

/// Takes a mount from its place at once; it ends when the last file in it is closed.
pub(crate) fn detach(at: &Path) {
    if let Err(error) = rustix::mount::unmount(at, UnmountFlags::DETACH) {
        eprintln!("cannot unmount {}: {error}", at.display());
    }
}

/// When a process started, in ticks since the system did; `None` when there is none.
fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Where the mounts of a table stand whose process is gone, by what `started` says of it.
fn dead_mounts(table: &[u8], started: impl Fn(u32) -> Option<u64>) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let dead = lines.filter_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let source = std::str::from_utf8(fields.get(dash + 2)?).ok()?;
        let (process, since) = source.strip_prefix(PREFIX)?.split_once('-')?;
        let alive = started(process.parse().ok()?) == Some(since.parse().ok()?);
        (!alive).then(|| unescape(fields.get(4).copied().unwrap_or_default()))
    });
    dead.collect()
}

/// The kernel writes blanks in paths as `\\040`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped.filter(|_| *byte == b'\\') {
            Some(escaped) => {
                out.push(escaped);
                rest = &after[3..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_dead_processes_are_taken() {
        let table = b"29 1 0:26 / /proc rw - proc proc rw\n\
            40 1 0:50 / /tmp/a\\040b rw,noatime shared:1 - fuse powerloss-7-100 rw\n\
            41 1 0:51 / /tmp/c rw - fuse powerloss-8-100 rw\n\
            42 1 0:52 / /tmp/d rw - fuse powerloss-9-100 rw\n\
            43 1 0:53 / /tmp/e rw - fuse another rw\n";
        let started = |process| match process {
            8 => Some(100),
            9 => Some(101),
            _ => None,
        };
        let dead = dead_mounts(table, started);
        assert_eq!(dead, [PathBuf::from("/tmp/a b"), PathBuf::from("/tmp/d")]);
    }

    #[test]
    fn this_process_is_alive() {
        let source = source_of_this_process();
        let table = format!("40 1 0:50 / /tmp/a rw - fuse {source} rw\n");
        assert!(dead_mounts(table.as_bytes(), started).is_empty());
    }
}
