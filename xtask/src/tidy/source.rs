//! Rust source with its comments and literals blanked, so that braces and words can be counted.

/// The text with every comment, string and character literal replaced by spaces; line breaks stay.
pub(crate) fn blank(text: &str) -> String {
    let out = Vec::with_capacity(text.len());
    let mut scanner = Scanner {
        text: text.as_bytes(),
        at: 0,
        out,
    };
    while scanner.at < scanner.text.len() {
        scanner.step();
    }
    String::from_utf8(scanner.out).unwrap_or_default()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with(b"//") {
            self.blank_until(|rest| rest[0] == b'\n');
            return;
        }
        if rest.starts_with(b"/*") {
            self.block_comment();
            return;
        }
        if let Some(hashes) = self.raw_string() {
            let mut close = vec![b'"'];
            close.extend(std::iter::repeat_n(b'#', hashes));
            self.blank_until(|rest| rest.starts_with(&close));
            self.blank_some(close.len());
        } else if rest[0] == b'"' {
            self.quoted(b'"');
        } else if rest[0] == b'\'' && is_char(rest) {
            self.quoted(b'\'');
        } else {
            self.out.push(rest[0]);
            self.at += 1;
        }
    }

    /// At the start of a raw string: skips its opening and returns the number of hashes.
    fn raw_string(&mut self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let prefix = [&b"r"[..], b"br"].into_iter().find(|prefix| {
            rest.starts_with(prefix) && matches!(rest.get(prefix.len()), Some(b'"' | b'#'))
        })?;
        let before = self.at.checked_sub(1).map(|at| self.text[at]);
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let hashes = rest[prefix.len()..]
            .iter()
            .take_while(|byte| **byte == b'#')
            .count();
        if rest.get(prefix.len() + hashes) != Some(&b'"') {
            return None;
        }
        self.blank_some(prefix.len() + hashes + 1);
        Some(hashes)
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with(b"/*") {
                depth += 1;
                self.blank_some(2);
            } else if rest.starts_with(b"*/") {
                depth -= 1;
                self.blank_some(2);
            } else if rest.is_empty() {
                return;
            } else {
                self.blank_some(1);
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self, quote: u8) {
        self.blank_some(1);
        while let Some(byte) = self.text.get(self.at) {
            let width = if *byte == b'\\' { 2 } else { 1 };
            let last = *byte == quote;
            self.blank_some(width);
            if last {
                return;
            }
        }
    }

    fn blank_until(&mut self, stop: impl Fn(&[u8]) -> bool) {
        while self.at < self.text.len() && !stop(&self.text[self.at..]) {
            self.blank_some(1);
        }
    }

    fn blank_some(&mut self, count: usize) {
        for _ in 0..count {
            let Some(byte) = self.text.get(self.at) else {
                return;
            };
            self.out.push(if *byte == b'\n' { b'\n' } else { b' ' });
            self.at += 1;
        }
    }
}

/// A quote that opens a character, not a lifetime.
fn is_char(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => rest[1..].iter().take(6).any(|byte| *byte == b'\''),
        None => false,
    }
}

/// The blanked text without the items under `#[cfg(test)]`.
pub(crate) fn without_tests(blanked: &str) -> String {
    let mut out = String::new();
    let mut rest = blanked;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item_end(item);
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// Where an item ends: at its closing brace, or at a semicolon before any brace.
fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// A function: its name, the line it begins on (from 1) and how many lines it has.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body.
pub(crate) fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in blanked.match_indices("fn ") {
        let before = blanked[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let item = &blanked[at..];
        let name: String = item[3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let end = body_end(item);
        if name.is_empty() || !item[..end].ends_with('}') {
            continue;
        }
        let line = blanked[..at].matches('\n').count() + 1;
        let lines = item[..end].matches('\n').count() + 1;
        found.push(Function { name, line, lines });
    }
    found
}

/// As `item_end`, but a semicolon inside brackets, as in `[u8; 4]`, ends nothing.
fn body_end(item: &str) -> usize {
    let mut brackets = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if brackets == 0 => return at + 1,
            '{' => return at + item_end(&item[at..]),
            _ => {}
        }
    }
    item.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lifetimes_are_not() {
        let text =
            "let a = \"{ \\\" }\"; // {\nlet b = '{'; /* { /* */ } */ let c = r#\"{\"#; &'a x";
        let blanked = blank(text);
        assert!(!blanked.contains('{'));
        assert!(blanked.ends_with("&'a x"));
        assert_eq!(blanked.len(), text.len());
        assert_eq!(blanked.matches('\n').count(), 1);
    }

    #[test]
    fn functions_are_measured_from_their_first_line_to_their_brace() {
        let text = "fn a() {}\ntrait T { fn b(x: [u8; 4]) -> u8; }\nfn c(\n) {\n  { }\n}\n";
        let found = functions(text);
        let lines: Vec<(&str, usize, usize)> = found
            .iter()
            .map(|f| (f.name.as_str(), f.line, f.lines))
            .collect();
        assert_eq!(lines, [("a", 1, 1), ("c", 3, 4)]);
    }

    #[test]
    fn test_modules_are_left_out() {
        let text = "use core::x;\n#[cfg(test)]\nmod tests {\n use std::y;\n}\nfn z() {}\n";
        let kept = without_tests(text);
        assert!(!kept.contains("std"));
        assert!(kept.contains("core") && kept.contains("fn z"));
        assert_eq!(kept.matches('\n').count(), text.matches('\n').count());
    }
}
