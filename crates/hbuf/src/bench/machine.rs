//! The machine that figures belong to.

use std::fs;

use serde::Serialize;

/// What a reader needs to know to judge a figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) system: String,
}

impl Machine {
    /// Reads it from `/proc`; what cannot be read is `unknown`.
    pub(crate) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let cpu = field(&text("/proc/cpuinfo"), "model name");
        let kib = field(&text("/proc/meminfo"), "MemTotal");
        let kib: f64 = kib.trim_end_matches(" kB").parse().unwrap_or(0.0);
        let release = text("/proc/sys/kernel/osrelease");
        let release = if release.is_empty() {
            "unknown"
        } else {
            release.trim()
        };
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            system: format!("{} {release}", std::env::consts::OS),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self {
            cpu,
            cores,
            memory_gib,
            system,
        } = self;
        format!("{cores} x {cpu}, {memory_gib} GiB, {system}")
    }
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim());
    value.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_core_and_a_line() {
        let machine = Machine::read();
        assert!(machine.cores >= 1);
        assert!(machine.line().contains(&machine.system));
    }
}
