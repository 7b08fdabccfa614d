//! The results: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use anyhow::bail;
use serde::Serialize;

use super::BenchArgs;
use super::machine::Machine;
use super::plan::{Op, Plan};
use super::stats::{Spread, Summary, spread};

/// Everything that a program or a person needs to judge the figures.
#[derive(Serialize)]
pub(crate) struct Report {
    program: &'static str,
    version: &'static str,
    unix_seconds: u64,
    machine: Machine,
    settings: BenchArgs,
    /// Figures of each operation in each run.
    runs: Vec<BTreeMap<&'static str, Summary>>,
    /// Median, lowest and highest rate over the runs.
    messages_per_s: BTreeMap<&'static str, Spread>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, runs: Vec<Vec<(Op, Summary)>>) -> Self {
        let named = |run: Vec<(Op, Summary)>| {
            run.into_iter()
                .map(|(op, summary)| (op.name(), summary))
                .collect()
        };
        let runs: Vec<BTreeMap<&'static str, Summary>> = runs.into_iter().map(named).collect();
        let mut messages_per_s = BTreeMap::new();
        for op in Op::ALL {
            let rates: Vec<f64> = runs
                .iter()
                .filter_map(|run| run.get(op.name()))
                .map(|s| s.messages_per_s)
                .collect();
            if !rates.is_empty() {
                messages_per_s.insert(op.name(), spread(rates));
            }
        }
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            program: "hbuf bench",
            version: env!("CARGO_PKG_VERSION"),
            unix_seconds: since_1970.map_or(0, |since| since.as_secs()),
            machine: Machine::read(),
            settings: plan.args.clone(),
            runs,
            messages_per_s,
        }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = self.heading();
        let _ = writeln!(
            text,
            "\n{:<12} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "operation",
            "requests/s",
            "messages/s",
            "MB/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "errors"
        );
        for op in Op::ALL {
            if let Some(range) = self.messages_per_s.get(op.name()) {
                self.row(&mut text, op.name(), *range);
            }
        }
        self.errors(&mut text);
        text
    }

    fn heading(&self) -> String {
        let BenchArgs {
            url,
            connections,
            rate,
            http2,
            size,
            warm,
            seconds,
            runs,
            ..
        } = &self.settings;
        let http = if *http2 { "HTTP/2" } else { "HTTP/1.1" };
        let pace = rate.map_or_else(
            || "closed loop".to_owned(),
            |rate| format!("{rate} requests/s"),
        );
        let sizes = if size.min == size.max {
            format!("{}", size.min)
        } else {
            format!("{}-{}", size.min, size.max)
        };
        let mut text = format!(
            "hbuf bench {}: {} · {http}, {connections} connections, {pace} · bodies of {sizes} bytes\n",
            self.version,
            url.join(" "),
        );
        let BenchArgs {
            buffers,
            tails,
            keys,
            tags,
            batch,
            ..
        } = &self.settings;
        let _ = writeln!(
            text,
            "buffers {buffers} · batch {batch} · keys {keys} · tags {tags} · tails {tails} · \
             {warm} s warm, {seconds} s measured, {runs} runs"
        );
        let _ = writeln!(text, "machine: {}", self.machine.line());
        text
    }

    fn row(&self, text: &mut String, name: &str, range: Spread) {
        let median = |figure: fn(&Summary) -> f64| {
            spread(self.runs.iter().filter_map(|run| run.get(name)).map(figure)).median
        };
        let errors: u64 = self
            .runs
            .iter()
            .filter_map(|run| run.get(name))
            .flat_map(|s| s.errors.values())
            .sum();
        let _ = writeln!(
            text,
            "{name:<12} {:>11} {:>11} {:>9.1} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {errors:>8}",
            thousands(median(|s| s.ops_per_s)),
            thousands(range.median),
            median(|s| s.mb_per_s),
            median(|s| s.p50_ms),
            median(|s| s.p90_ms),
            median(|s| s.p99_ms),
            median(|s| s.p999_ms),
            median(|s| s.max_ms),
        );
        if self.runs.len() > 1 {
            let (min, max) = (thousands(range.min), thousands(range.max));
            let _ = writeln!(text, "{:<12} {:>11} {:>11}", "  lowest", "", min);
            let _ = writeln!(text, "{:<12} {:>11} {:>11}", "  highest", "", max);
        }
    }

    fn errors(&self, text: &mut String) {
        let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (name, summary) in self.runs.iter().flatten() {
            for (kind, count) in &summary.errors {
                *sums.entry((name, kind)).or_default() += count;
            }
        }
        if !sums.is_empty() {
            text.push_str("\nerrors\n");
        }
        for ((name, kind), count) in sums {
            let _ = writeln!(text, "{count:>9}  {name}: {kind}");
        }
    }

    /// Refuses a measurement in which nothing succeeded.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (n, run) in self.runs.iter().enumerate() {
            if run.values().all(|summary| summary.ops == 0) {
                bail!("run {}: no operation succeeded", n + 1);
            }
        }
        Ok(())
    }
}

/// A whole number with a comma every three digits.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
