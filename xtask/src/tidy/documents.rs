//! The documents hold together. That each error code and metric has its paragraph is a test of the
//! server, beside the tables of both.

use std::path::Path;

use super::Text;

/// The longest that a reader is asked to follow to find a file.
const ARCHITECTURE_LINES_MAX: usize = 200;

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    let architecture = Path::new("docs/ARCHITECTURE.md");
    if let Some(file) = files.iter().find(|file| file.path == architecture)
        && file.text.lines().count() > ARCHITECTURE_LINES_MAX
    {
        wrong.push(format!(
            "docs/ARCHITECTURE.md: at most {ARCHITECTURE_LINES_MAX} lines"
        ));
    }
    wrong.extend(check_links(files));
    wrong
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
