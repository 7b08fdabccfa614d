//! The documents name what the code has: error codes, metrics, decisions.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Text, source};

/// The longest that a reader is asked to follow to find a file.
const ARCHITECTURE_LINES_MAX: usize = 200;
const METRICS_SOURCE: &str = "crates/hbuf-server/src/metrics.rs";

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(file) = find(files, "docs/ARCHITECTURE.md")
        && file.text.lines().count() > ARCHITECTURE_LINES_MAX
    {
        wrong.push(format!(
            "docs/ARCHITECTURE.md: at most {ARCHITECTURE_LINES_MAX} lines"
        ));
    }
    wrong.extend(check_metrics(files));
    wrong.extend(check_links(files));
    wrong
}

fn find<'a>(files: &'a [Text], path: &str) -> Option<&'a Text> {
    files.iter().find(|file| file.path == Path::new(path))
}

/// Every metric that the server defines has a line in `docs/OPERATING.md`, and no other has one.
fn check_metrics(files: &[Text]) -> Vec<String> {
    let (Some(code), Some(document)) = (
        find(files, METRICS_SOURCE),
        find(files, "docs/OPERATING.md"),
    ) else {
        return Vec::new();
    };
    let defined = metric_names(&code_literals(&code.text));
    let described = metric_names(&document.text);
    let missing = defined.iter().filter(|name| !described.contains(*name));
    missing
        .map(|name| format!("docs/OPERATING.md says nothing of the metric {name}"))
        .collect()
}

/// The string literals of shipped code, one a line.
fn code_literals(text: &str) -> String {
    let code = source::without_tests(&source::blank_comments(text));
    let mut literals: Vec<&str> = Vec::new();
    for (index, piece) in code.split('"').enumerate() {
        if index % 2 == 1 {
            literals.push(piece);
        }
    }
    literals.join("\n")
}

/// Words such as `hbuf_commits_total`.
fn metric_names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
        .filter(|word| word.starts_with("hbuf_") && word.len() > 5)
        .map(str::to_owned)
        .collect()
}

/// Relative links of the documents lead to files.
fn check_links(files: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files
        .iter()
        .filter(|f| f.path.extension().is_some_and(|e| e == "md"))
    {
        for target in links(&file.text) {
            let base = file.path.parent().unwrap_or_else(|| Path::new(""));
            let target_path = crate::shell::root().join(base).join(target);
            if !target_path.exists() {
                wrong.push(format!(
                    "{}: the link to {target} leads nowhere",
                    file.shown()
                ));
            }
        }
    }
    wrong
}

/// The targets of `[text](target)` that are files of the tree.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| {
            !target.is_empty() && !target.contains("://") && !target.contains([' ', '\n', '`'])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_without_a_line_in_operating_is_found() {
        let code = "const A: &str = \"hbuf_a_total\"; // hbuf_b\nconst C: &str = \"hbuf_c_bytes\";";
        let files = [
            Text {
                path: METRICS_SOURCE.into(),
                text: code.to_owned(),
            },
            Text {
                path: "docs/OPERATING.md".into(),
                text: "`hbuf_a_total` counts.".to_owned(),
            },
        ];
        let wrong = check_metrics(&files);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("hbuf_c_bytes"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](Cargo.toml) [b](https://x.y) [c](nowhere.md#there)".to_owned();
        let wrong = check_links(&[Text {
            path: "x.md".into(),
            text,
        }]);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("nowhere.md"));
    }
}
