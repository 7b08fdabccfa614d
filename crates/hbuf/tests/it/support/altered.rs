//! Altering files on the disk, as rot does.

use std::fs;
use std::path::Path;

/// Writes a file anew with its bytes changed.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where a text stands first; it must be there.
pub(crate) fn find(bytes: &[u8], text: &str) -> usize {
    let mut places = bytes.windows(text.len());
    places.position(|at| at == text.as_bytes()).unwrap()
}
