//! The only way to stdout: buffered, and a reader that went away is told from a failure.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anyhow::Result;
use serde_json::Value;

/// Standard output. Dropping it flushes without a check; commands end with [`Out::flush`].
#[derive(Debug)]
pub(crate) struct Out {
    stdout: BufWriter<io::Stdout>,
    terminal: bool,
}

impl Out {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            stdout: BufWriter::with_capacity(1 << 16, stdout),
            terminal,
        }
    }

    /// Writes text and a line feed.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    /// Writes a JSON value on a line of its own.
    pub(crate) fn json(&mut self, value: &Value) -> Result<()> {
        self.line(&value.to_string())
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes)?;
        Ok(())
    }

    /// Writes bytes of a stranger: on a terminal, control characters are shown instead of obeyed.
    pub(crate) fn foreign(&mut self, bytes: &[u8]) -> Result<()> {
        if self.terminal {
            self.stdout.write_all(printable(bytes).as_bytes())?;
        } else {
            self.stdout.write_all(bytes)?;
        }
        Ok(())
    }

    /// Hands everything to the reader.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stdout.flush()?;
        Ok(())
    }
}

/// Whether an error only says that nobody reads our output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Text for a terminal: what is not UTF-8 and what would steer the terminal becomes visible.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for letter in String::from_utf8_lossy(bytes).chars() {
        if letter.is_control() && !matches!(letter, '\n' | '\t') {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

/// Rows with columns as wide as their widest cell; the last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_stranger_do_not_reach_the_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\r\n\xff"), "a\\u{1b}[2Jb\\r\n\u{fffd}");
    }

    #[test]
    fn a_table_pads_all_but_the_end_of_a_line() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(
            table(&[row(&["a", "bc"]), row(&["def", "g"])]),
            "a    bc\ndef  g\n"
        );
    }

    #[test]
    fn a_closed_pipe_is_found_under_its_context() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("x");
        assert!(is_closed_pipe(&error));
        assert!(!is_closed_pipe(&anyhow::anyhow!("x")));
    }
}
