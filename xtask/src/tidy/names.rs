//! File names say what is inside, and one name means one file within a crate.

use std::collections::BTreeMap;
use std::path::Path;

use super::Text;

/// Names that say nothing about the content.
const BANNED: &[&str] = &[
    "common", "data", "helper", "helpers", "impls", "info", "misc", "process", "types", "util",
    "utils",
];
/// Names that the language or a habit gives to many files.
const SHARED: &[&str] = &["build", "lib", "main", "mod", "tests"];

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let name = file
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let shown = file.shown();
        if BANNED.contains(&name.as_str()) {
            wrong.push(format!(
                "{shown}: `{name}` says nothing about what is inside"
            ));
        }
        if SHARED.contains(&name.as_str()) {
            continue;
        }
        let key = (crate_of(&file.path), name.clone());
        if let Some(other) = seen.insert(key, shown.clone()) {
            wrong.push(format!(
                "{shown}: {other} has the same name in the same crate"
            ));
        }
    }
    wrong
}

/// What is compiled together: `crates/x/src`, `crates/x/tests`, `xtask/src`.
fn crate_of(path: &Path) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let end = parts
        .iter()
        .position(|part| part == "src" || part == "tests");
    parts[..=end.unwrap_or(0)].join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(paths: &[&str]) -> usize {
        let file = |path: &&str| Text {
            path: path.into(),
            text: String::new(),
        };
        check(&paths.iter().map(file).collect::<Vec<_>>()).len()
    }

    #[test]
    fn empty_names_and_doubled_names_are_found() {
        assert_eq!(findings(&["crates/a/src/utils.rs"]), 1);
        assert_eq!(
            findings(&["crates/a/src/read.rs", "crates/a/src/x/read.rs"]),
            1
        );
        let fine = [
            "crates/a/src/read.rs",
            "crates/b/src/read.rs",
            "crates/a/tests/it/read.rs",
        ];
        assert_eq!(findings(&fine), 0);
        assert_eq!(
            findings(&["crates/a/src/x/tests.rs", "crates/a/src/y/tests.rs"]),
            0
        );
    }
}
