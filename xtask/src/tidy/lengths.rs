//! Lines, functions and files have a largest length.
//!
//! Functions over the limit stand in `xtask/long-functions.txt`, each with its exact length: that
//! list may lose entries and lines, never gain any.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Text, source};
use crate::shell;

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;
/// Above this a file is named, without failing.
const FILE_LINES_AIM: usize = 500;
const RATCHET: &str = "xtask/long-functions.txt";

pub(crate) fn check(root: &Path, files: &[Text]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut long = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        wrong.extend(check_lines(file));
        long.extend(long_functions(file));
    }
    let text = files.iter().find(|file| file.path == Path::new(RATCHET));
    let listed = parse(text.map_or("", |file| file.text.as_str()))?;
    wrong.extend(compare(&long, &listed));
    let before = ["show", &format!("HEAD:{RATCHET}")];
    // A tree without history, or without the list yet, has nothing to compare with.
    if let Ok(text) = shell::output(shell::command("git", &before).current_dir(root)) {
        wrong.extend(grown(&listed, &parse(&text)?));
    }
    Ok(wrong)
}

fn check_lines(file: &Text) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in file.text.lines() {
        count += 1;
        let columns = line.chars().count();
        // The formatter breaks no string, and a broken message is hard to search for.
        if columns > COLUMNS_MAX && !line.contains('"') && !line.contains("https://") {
            wrong.push(format!(
                "{}:{count}: {columns} columns, at most 100",
                file.shown()
            ));
        }
    }
    if count > FILE_LINES_MAX {
        wrong.push(format!(
            "{}: {count} lines, at most {FILE_LINES_MAX}",
            file.shown()
        ));
    } else if count > FILE_LINES_AIM {
        println!(
            "tidy: {}: {count} lines (the aim is {FILE_LINES_AIM})",
            file.shown()
        );
    }
    wrong
}

/// Path and name of each function over the limit, with its length. Functions of one name in one
/// file count as the longest of them.
fn long_functions(file: &Text) -> BTreeMap<String, usize> {
    let mut long = BTreeMap::new();
    for function in source::functions(&source::blank(&file.text)) {
        if function.lines > FUNCTION_LINES_MAX {
            let key = format!("{} {}", file.shown(), function.name);
            let held = long.entry(key).or_insert(0);
            *held = function.lines.max(*held);
        }
    }
    long
}

fn parse(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut listed = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let (key, lines) = line
            .rsplit_once(' ')
            .with_context(|| format!("{RATCHET}: {line}"))?;
        let lines = lines
            .parse()
            .with_context(|| format!("{RATCHET}: {line}"))?;
        listed.insert(key.to_owned(), lines);
    }
    Ok(listed)
}

fn compare(long: &BTreeMap<String, usize>, listed: &BTreeMap<String, usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, lines) in long {
        match listed.get(key) {
            Some(known) if known == lines => {}
            Some(known) if lines < known => {
                wrong.push(format!(
                    "{key} shrank to {lines} lines: write that in {RATCHET}"
                ));
            }
            _ => wrong.push(format!(
                "{key}: {lines} lines, at most {FUNCTION_LINES_MAX}"
            )),
        }
    }
    let gone = listed.keys().filter(|key| !long.contains_key(*key));
    wrong.extend(gone.map(|key| format!("{key} is short now: take it out of {RATCHET}")));
    wrong
}

fn grown(now: &BTreeMap<String, usize>, before: &BTreeMap<String, usize>) -> Vec<String> {
    now.iter()
        .filter(|(key, lines)| before.get(*key).is_none_or(|known| known < lines))
        .map(|(key, lines)| format!("{RATCHET} may only shrink, and `{key} {lines}` is new"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(entries: &[(&str, usize)]) -> BTreeMap<String, usize> {
        entries
            .iter()
            .map(|(key, lines)| ((*key).to_owned(), *lines))
            .collect()
    }

    #[test]
    fn a_long_function_is_found_and_a_listed_one_is_not() {
        let body = "    x();\n".repeat(FUNCTION_LINES_MAX);
        let file = Text {
            path: "a.rs".into(),
            text: format!("fn long() {{\n{body}}}\n"),
        };
        let long = long_functions(&file);
        assert_eq!(long, listed(&[("a.rs long", 72)]));
        assert_eq!(compare(&long, &listed(&[])).len(), 1);
        assert_eq!(compare(&long, &listed(&[("a.rs long", 72)])), [""; 0]);
        assert!(compare(&long, &listed(&[("a.rs long", 80)]))[0].contains("shrank"));
        assert!(compare(&listed(&[]), &listed(&[("a.rs long", 72)]))[0].contains("is short now"));
    }

    #[test]
    fn the_list_may_only_shrink() {
        let before = listed(&[("a.rs f", 80)]);
        assert_eq!(grown(&listed(&[("a.rs f", 75)]), &before), [""; 0]);
        assert_eq!(grown(&listed(&[("a.rs f", 81)]), &before).len(), 1);
        assert_eq!(grown(&listed(&[("a.rs g", 71)]), &before).len(), 1);
    }

    #[test]
    fn a_wide_line_and_a_large_file_are_found() {
        let wide = Text {
            path: "a.rs".into(),
            text: "x".repeat(101),
        };
        assert_eq!(check_lines(&wide).len(), 1);
        let large = Text {
            path: "a.rs".into(),
            text: "\n".repeat(1_201),
        };
        assert_eq!(check_lines(&large).len(), 1);
    }
}
