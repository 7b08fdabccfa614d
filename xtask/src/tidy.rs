//! Checks of the tree that no other tool makes. Each is a file with a table of what it forbids and
//! a test that shows it finding it.

mod arrows;
mod documents;
mod lengths;
mod names;
mod purity;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{Options, shell};

/// A file of the tree, by its path from the root.
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Text {
    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    /// Test code by its place: nothing of it is in the binary.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let in_tests = self.path.iter().any(|part| part == "tests");
        in_tests || name == "tests.rs" || name.ends_with("_tests.rs")
    }
}

pub(crate) fn run(_: &Options) -> Result<()> {
    let wrong = check(&shell::root())?;
    if wrong.is_empty() {
        println!("tidy: nothing to say");
        return Ok(());
    }
    bail!("{} findings\n  {}", wrong.len(), wrong.join("\n  "));
}

/// Every finding in the tree at `root`.
fn check(root: &Path) -> Result<Vec<String>> {
    let files = read_tree(root)?;
    let mut wrong = arrows::check(root)?;
    wrong.extend(documents::check(&files));
    wrong.extend(lengths::check(root, &files)?);
    wrong.extend(names::check(&files));
    wrong.extend(purity::check(&files));
    wrong.extend(words::check(&files));
    Ok(wrong)
}

/// The files that git knows or would know, as far as they are text.
fn read_tree(root: &Path) -> Result<Vec<Text>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let names = shell::output(shell::command("git", &list).current_dir(root))?;
    let mut files = Vec::new();
    for name in names.lines() {
        let known = [".rs", ".md", ".toml", ".txt", "run"];
        let path = root.join(name);
        if !known.iter().any(|end| name.ends_with(end)) || !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| name.to_owned())?;
        files.push(Text {
            path: name.into(),
            text,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let wrong = check(&shell::root()).unwrap();
        assert!(wrong.is_empty(), "\n  {}", wrong.join("\n  "));
    }
}
