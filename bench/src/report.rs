//! The table for people (Markdown) and the raw figures for programs.

use std::fmt::Write as _;

use anyhow::Context;
use serde::Serialize;

use crate::Settings;
use crate::build::first_line;
use crate::machine::Machine;
use crate::rows::{Bound, Check, Row, Target, Unit};
use crate::stats::{Spread, spread};

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// All rows, and what they belong to.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) load_average: String,
    pub(crate) command: String,
    pub(crate) runs: usize,
    pub(crate) warm_s: f64,
    pub(crate) measured_s: f64,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn begin(settings: &Settings) -> anyhow::Result<Self> {
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let mut commit = first_line("git", &["rev-parse", "--short=12", "HEAD"]);
        if first_line("git", &["status", "--porcelain", "--untracked-files=no"]) != "unknown" {
            commit.push_str(" with changes");
        }
        let given: Vec<String> = std::env::args().skip(1).collect();
        Ok(Self {
            commit,
            date: first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            machine: Machine::read(),
            load_average: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            command: format!("cargo run --release -- {}", given.join(" "))
                .trim_end()
                .to_owned(),
            runs: settings.runs,
            warm_s: settings.warm.as_secs_f64(),
            measured_s: settings.measured.as_secs_f64(),
            rows: Vec::new(),
        })
    }

    /// The whole as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Commit {}, {}, {} (load {} at the start).\n`{}`: {} alternating runs, {} s warm, {} s \
             measured, bodies of {} bytes.\n\n",
            self.commit,
            self.date,
            self.machine.line(),
            self.load_average,
            self.command,
            self.runs,
            self.warm_s,
            self.measured_s,
            crate::rows::BODY_BYTES,
        );
        text.push_str(
            "| row | what | median (lowest–highest) | must | goal |\n|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            for check in &row.checks {
                let _ = writeln!(
                    text,
                    "| {} | {} | **{}** ({}) | {} | {} |",
                    row.name,
                    check.what,
                    figure(check.spread.median),
                    range(check.spread),
                    bound(check.must, check.must_holds, "passed", "**missed**"),
                    bound(check.goal, check.goal_holds, "reached", "not reached"),
                );
            }
        }
        for row in &self.rows {
            let _ = write!(text, "\n{}", row_text(row));
        }
        text
    }
}

/// Replaces what stands between the marks of a document.
pub(crate) fn between_marks(document: &str, table: &str) -> anyhow::Result<String> {
    let cut = document.split_once(BEGIN).zip(document.split_once(END));
    let ((before, _), (_, after)) = cut.context("the document has no marks for the figures")?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// One row as Markdown: its client, its targets, its checks.
pub(crate) fn row_text(row: &Row) -> String {
    let mut text = format!("#### {}: {}\n\n{}.", row.name, row.title, row.client);
    if !row.note.is_empty() {
        let _ = write!(text, " {}", row.note);
    }
    text.push_str("\n\n");
    let latencies = row.targets.iter().flat_map(|target| &target.runs);
    if latencies.map(|run| run.summary.samples).sum::<u64>() > 0 {
        text.push_str(
            "| target | value | median | lowest–highest | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms | server CPU µs/message |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
    } else if row.targets.iter().any(|target| !target.runs.is_empty()) {
        text.push_str("| target | value | median | lowest–highest | MB/s of bodies | server CPU µs/message |\n|---|---|---|---|---|---|\n");
    } else {
        text.push_str("| target | value | median | lowest–highest |\n|---|---|---|---|\n");
    }
    for target in &row.targets {
        target_text(&mut text, target);
    }
    text.push('\n');
    for check in &row.checks {
        check_text(&mut text, check);
    }
    text
}

fn target_text(text: &mut String, target: &Target) {
    let about = &target.about;
    let settings = match about.settings.is_empty() {
        true => String::new(),
        false => format!(" ({})", about.settings.join(", ")),
    };
    let unit = match target.unit {
        Unit::MessagesPerS => "messages/s",
        Unit::P50Ms => "p50 ms",
        Unit::P99Ms => "p99 ms",
        Unit::Ms => "ms",
        Unit::S => "s",
        Unit::Mb => "MB",
        Unit::Kib => "KiB",
        Unit::Mib => "MiB",
    };
    let _ = write!(
        text,
        "| {} {}{settings} | {unit} | {} | {} |",
        about.name,
        about.version,
        figure(target.spread.median),
        range(target.spread),
    );
    let median = |of: fn(&crate::drive::Run) -> f64| spread(target.runs.iter().map(of)).median;
    let cpu = match target.runs.iter().all(|run| run.server_cpu_us.is_some()) {
        true => figure(median(|run| run.server_cpu_us.unwrap_or(0.0))),
        false => "–".to_owned(),
    };
    if target.runs.iter().any(|run| run.summary.samples > 0) {
        let _ = write!(
            text,
            " {} | {} | {} | {} | {} | {cpu} |",
            figure(median(|run| run.summary.p50_ms)),
            figure(median(|run| run.summary.p90_ms)),
            figure(median(|run| run.summary.p99_ms)),
            figure(median(|run| run.summary.p999_ms)),
            figure(median(|run| run.summary.max_ms)),
        );
    } else if !target.runs.is_empty() {
        let _ = write!(
            text,
            " {} | {cpu} |",
            figure(median(|run| run.summary.mb_per_s))
        );
    }
    text.push('\n');
}

fn check_text(text: &mut String, check: &Check) {
    let _ = writeln!(
        text,
        "- {}: **{}** ({}); must {}; goal {}",
        check.what,
        figure(check.spread.median),
        range(check.spread),
        bound(check.must, check.must_holds, "passed", "**missed**"),
        bound(check.goal, check.goal_holds, "reached", "not reached"),
    );
}

fn bound(bound: Option<Bound>, holds: Option<bool>, yes: &str, no: &str) -> String {
    let Some((bound, holds)) = bound.zip(holds) else {
        return "–".to_owned();
    };
    let said = if holds { yes } else { no };
    match bound {
        Bound::AtLeast(number) => format!("≥ {}: {said}", figure(number)),
        Bound::AtMost(number) => format!("≤ {}: {said}", figure(number)),
    }
}

fn range(spread: Spread) -> String {
    format!("{}–{}", figure(spread.min), figure(spread.max))
}

/// Three digits that matter, and commas in large numbers.
fn figure(number: f64) -> String {
    match number {
        n if n >= 1_000.0 => {
            let digits = format!("{n:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n if n >= 1.0 => format!("{n:.2}"),
        n => format!("{n:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_what_stood_between_the_marks() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let made = between_marks(&document, "new\n").unwrap();
        assert_eq!(made, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(between_marks("no marks", "new").is_err());
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown: Vec<String> = [1_234_567.0, 123.4, 12.34, 1.234, 0.1234]
            .into_iter()
            .map(figure)
            .collect();
        assert_eq!(shown, ["1,234,567", "123", "12.3", "1.23", "0.123"]);
    }
}
