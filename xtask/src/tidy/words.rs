//! Words that must not stand in the tree: unfinished work, tests that do not run, built names.

use super::Text;

/// Each word (in halves, or this file would find itself) and why.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("#[ign", "ore", "a test runs or is removed"),
    ("#[should_", "panic", "assert today's result instead"),
    (
        "TO",
        "DO",
        "finish it or say in the documentation what is missing",
    ),
    ("FIX", "ME", "fix it"),
    ("todo", "!(", "finish it"),
    ("unimpl", "emented!(", "finish it"),
    (
        "format!(\"hb",
        "uf_",
        "metric and event names are literals, so that a search finds them",
    ),
];

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for (at, line) in file.text.lines().enumerate() {
            for (head, tail, reason) in FORBIDDEN {
                let word = format!("{head}{tail}");
                if line.contains(&word) {
                    wrong.push(format!("{}:{}: `{word}`: {reason}", file.shown(), at + 1));
                }
            }
            // What the binary prints as help, and the documents show, has such lines.
            if file.is_rust() && line.ends_with([' ', '\t']) {
                wrong.push(format!("{}:{}: space at the end", file.shown(), at + 1));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_forbidden_word_is_found() {
        for (head, tail, _) in FORBIDDEN {
            let text = format!("x {head}{tail} y\n");
            assert_eq!(
                check(&[Text {
                    path: "a.rs".into(),
                    text
                }])
                .len(),
                1,
                "{head}{tail}"
            );
        }
        assert_eq!(
            check(&[Text {
                path: "a.rs".into(),
                text: "fine\n".to_owned()
            }])
            .len(),
            0
        );
    }
}
