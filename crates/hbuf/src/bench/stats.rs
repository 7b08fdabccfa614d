//! What a measurement collects: a latency histogram, counts, and errors by kind.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies above this are recorded as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// Latencies and counts of one kind of operation.
pub(crate) struct Recorder {
    latency_ns: Histogram<u64>,
    /// Operations that succeeded.
    pub(crate) ops: u64,
    /// Messages that they carried.
    pub(crate) messages: u64,
    /// Bytes of the bodies of these messages.
    pub(crate) bytes: u64,
    /// Failures by problem type or cause.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        let latency_ns = Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3)
            .expect("the bounds and the precision are constants that the histogram allows");
        Self {
            latency_ns,
            ops: 0,
            messages: 0,
            bytes: 0,
            errors: BTreeMap::new(),
        }
    }
}

impl Recorder {
    /// One success of `messages` messages with `bytes` of bodies.
    pub(crate) fn success(&mut self, latency: Duration, messages: u64, bytes: u64) {
        self.latency(latency);
        self.ops += 1;
        self.messages += messages;
        self.bytes += bytes;
    }

    /// A latency alone.
    pub(crate) fn latency(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX);
        self.latency_ns.saturating_record(ns);
    }

    /// One failure.
    pub(crate) fn failure(&mut self, kind: &str) {
        if let Some(count) = self.errors.get_mut(kind) {
            *count += 1;
        } else {
            self.errors.insert(kind.to_owned(), 1);
        }
    }

    /// Takes over what another one collected.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latency_ns += &other.latency_ns;
        self.ops += other.ops;
        self.messages += other.messages;
        self.bytes += other.bytes;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
    }

    /// The figures of `seconds` of measurement.
    pub(crate) fn summary(&self, seconds: f64) -> Summary {
        let at = |quantile: f64| ms(self.latency_ns.value_at_quantile(quantile));
        Summary {
            seconds,
            ops: self.ops,
            messages: self.messages,
            ops_per_s: self.ops as f64 / seconds,
            messages_per_s: self.messages as f64 / seconds,
            mb_per_s: self.bytes as f64 / seconds / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(self.latency_ns.max()),
            samples: self.latency_ns.len(),
            errors: self.errors.clone(),
        }
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The figures of one operation in one run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    pub(crate) ops: u64,
    pub(crate) messages: u64,
    pub(crate) ops_per_s: f64,
    pub(crate) messages_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// Latencies that the percentiles rest on.
    pub(crate) samples: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Median, lowest and highest of some runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The spread of `values`; zeros when there are none.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let Some((&min, &max)) = sorted.first().zip(sorted.last()) else {
        return Spread::default();
    };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Spread { median, min, max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_what_was_merged() {
        let mut one = Recorder::default();
        one.success(Duration::from_millis(2), 10, 2_560);
        one.failure("about:blank");
        let mut two = Recorder::default();
        two.success(Duration::from_millis(4), 10, 2_560);
        two.failure("about:blank");
        one.merge(&two);
        let summary = one.summary(2.0);
        assert_eq!((summary.ops, summary.messages, summary.samples), (2, 20, 2));
        assert!((summary.messages_per_s - 10.0).abs() < 1e-9);
        assert!((summary.max_ms - 4.0).abs() < 0.01);
        assert_eq!(summary.errors["about:blank"], 2);
    }

    #[test]
    fn a_latency_beyond_the_histogram_is_recorded_as_its_end() {
        let mut one = Recorder::default();
        one.latency(Duration::from_secs(100_000));
        assert!(one.summary(1.0).max_ms >= 119_000.0);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(
            spread([4.0, 1.0, 3.0, 2.0]),
            Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            }
        );
        assert_eq!(spread([]), Spread::default());
    }
}
