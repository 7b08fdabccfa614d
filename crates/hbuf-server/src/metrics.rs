//! Every metric of the node: its name, its help, and where its value comes from.
//!
//! The engine counts in plain atomics of its own; requests are counted here. A scrape reads both.
//! All names are literals, listed in `docs/API.md`; no label holds a name of a client's.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use hbuf_core::consumer::Load;
use hbuf_core::ids::Micros;
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::clock;
use crate::engine::NodeStatus;
use crate::engine::counters::Counters;
use crate::read::scrub::ScrubProgress;

/// What HTTP counts.
#[derive(Debug)]
pub struct Metrics {
    /// Method and pattern of each route, in the order of the table; behind them, what had none.
    routes: Vec<(&'static str, &'static str)>,
    /// Replies by route and class of status, 1xx to 5xx.
    replies: Vec<[AtomicU64; 5]>,
    /// Time from a request's head to its reply's head, by route.
    seconds: Vec<Durations>,
    connections: AtomicI64,
    tails: AtomicI64,
}

/// How often something took how long.
#[derive(Debug, Default)]
struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Upper bounds in microseconds; the last bucket has none.
const BOUNDS: [u64; 14] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000,
    10_000_000,
];

/// Something that is open, counted until it is dropped.
pub(crate) struct Open {
    metrics: Arc<Metrics>,
    what: fn(&Metrics) -> &AtomicI64,
}

impl Open {
    pub(crate) fn connection(metrics: &Arc<Metrics>) -> Self {
        Self::new(metrics, |metrics| &metrics.connections)
    }

    pub(crate) fn tail(metrics: &Arc<Metrics>) -> Self {
        Self::new(metrics, |metrics| &metrics.tails)
    }

    fn new(metrics: &Arc<Metrics>, what: fn(&Metrics) -> &AtomicI64) -> Self {
        what(metrics).fetch_add(1, Ordering::Relaxed);
        Self {
            metrics: Arc::clone(metrics),
            what,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.what)(&self.metrics).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Durations {
    fn add(&self, micros: u64) {
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn new(routes: &[(&'static str, &'static str)]) -> Self {
        let rows = routes.len() + 1;
        Self {
            routes: routes.to_vec(),
            replies: (0..rows).map(|_| Default::default()).collect(),
            seconds: (0..rows).map(|_| Durations::default()).collect(),
            connections: AtomicI64::new(0),
            tails: AtomicI64::new(0),
        }
    }

    /// Counts a reply whose head is ready.
    pub(crate) fn request(&self, route: Option<usize>, status: StatusCode, started: Instant) {
        let row = route.unwrap_or(self.routes.len());
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.replies[row][class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.seconds[row].add(micros);
    }

    /// Everything, in the text form of OpenMetrics.
    pub(crate) fn text(
        self: &Arc<Self>,
        engine: &Arc<Counters>,
        status: &NodeStatus,
        damaged_buffers: usize,
        consumers: Load,
    ) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape {
            metrics: Arc::clone(self),
            engine: Arc::clone(engine),
            buffers: status.buffers,
            open_buffers: status.open_buffers,
            damaged_buffers,
            mirrors: status.mirrors,
            consumers,
            now: clock::now(),
            ready: status.ready,
        }));
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing into a string cannot fail");
        text
    }

    fn route(&self, row: usize) -> (&'static str, &'static str) {
        self.routes.get(row).copied().unwrap_or(("", "none"))
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut replies = encoder.encode_descriptor(
            "hbuf_http_replies",
            "Replies by route and class of status",
            None,
            MetricType::Counter,
        )?;
        for (row, classes) in self.replies.iter().enumerate() {
            for (class, count) in classes.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let (method, route) = self.route(row);
                    let labels = [
                        ("method", method),
                        ("route", route),
                        ("status", CLASSES[class]),
                    ];
                    ConstCounter::new(count).encode(replies.encode_family(&labels)?)?;
                }
            }
        }
        let mut seconds = encoder.encode_descriptor(
            "hbuf_http_request_duration_seconds",
            "Time from a request's head to its reply's head",
            None,
            MetricType::Histogram,
        )?;
        for (row, durations) in self.seconds.iter().enumerate() {
            let (method, route) = self.route(row);
            let labels = [("method", method), ("route", route)];
            encode_durations(durations, &mut seconds.encode_family(&labels)?)?;
        }
        gauge(
            encoder,
            "hbuf_http_connections_open",
            "Connections of clients",
            self.connections.load(Ordering::Relaxed),
        )?;
        gauge(
            encoder,
            "hbuf_http_tails_open",
            "Clients that follow a buffer by events",
            self.tails.load(Ordering::Relaxed),
        )
    }
}

fn encode_durations(durations: &Durations, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    let mut buckets = [(0.0, 0); BOUNDS.len() + 1];
    let mut count = 0;
    for (place, (bucket, found)) in buckets.iter_mut().zip(&durations.buckets).enumerate() {
        let bound = BOUNDS
            .get(place)
            .map_or(f64::MAX, |&micros| micros as f64 / 1e6);
        let found = found.load(Ordering::Relaxed);
        count += found;
        *bucket = (bound, found);
    }
    if count == 0 {
        return Ok(());
    }
    let sum = durations.micros.load(Ordering::Relaxed) as f64 / 1e6;
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// One look at everything.
#[derive(Debug)]
struct Scrape {
    metrics: Arc<Metrics>,
    engine: Arc<Counters>,
    buffers: usize,
    open_buffers: usize,
    damaged_buffers: usize,
    mirrors: (usize, usize, u64),
    consumers: Load,
    now: Micros,
    ready: bool,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.metrics.encode(encoder)?;
        let counters = &*self.engine;
        let mut batches = encoder.encode_descriptor(
            "hbuf_commit_batches",
            "Batches of the commit pipeline by the path that they took",
            None,
            MetricType::Counter,
        )?;
        for (path, count) in [
            ("direct", &counters.batches_direct),
            ("journal", &counters.batches_journal),
        ] {
            let count = count.load(Ordering::Relaxed);
            ConstCounter::new(count).encode(batches.encode_family(&[("path", path)])?)?;
        }
        let scrub = scrub_counters(&counters.scrub);
        for (name, help, count) in consumer_counters(counters)
            .into_iter()
            .chain(engine_counters(counters))
            .chain(scrub)
        {
            let count = ConstCounter::new(count.load(Ordering::Relaxed));
            count.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let gauges = consumer_gauges(&self.consumers, self.now);
        for (name, help, value) in self.buffer_gauges().into_iter().chain(gauges) {
            gauge(
                encoder,
                name,
                help,
                i64::try_from(value).unwrap_or(i64::MAX),
            )?;
        }
        gauge(
            encoder,
            "hbuf_ready",
            "1 when the node takes requests",
            i64::from(self.ready),
        )
    }
}

/// What consumers have before them, by name. A buffer that is not in memory counts for nothing:
/// nobody works there.
fn consumer_gauges(load: &Load, now: Micros) -> [(&'static str, &'static str, u64); 6] {
    let oldest = load.oldest_unacked.map_or(0, |time| now.since(time));
    [
        (
            "hbuf_consumers_open",
            "Consumers of buffers that are in memory, once for each buffer",
            load.consumers,
        ),
        (
            "hbuf_consumer_lag_messages",
            "Messages behind the cursors of all consumers",
            load.lag,
        ),
        (
            "hbuf_consumer_lag_messages_max",
            "Messages behind the cursor of the consumer that has most of them in one buffer",
            load.lag_max,
        ),
        (
            "hbuf_consumer_pending_messages",
            "Messages that were found to match and are not done, as far as was looked ahead",
            load.pending,
        ),
        (
            "hbuf_consumer_in_flight_messages",
            "Messages that are leased",
            load.in_flight,
        ),
        (
            "hbuf_consumer_oldest_unacked_seconds",
            "Age of the earliest message that was handed out and is not done",
            oldest / 1_000_000,
        ),
    ]
}

impl Scrape {
    fn buffer_gauges(&self) -> [(&'static str, &'static str, u64); 6] {
        let (mirrors, stopped, lag) = self.mirrors;
        [
            (
                "hbuf_buffers_open",
                "Buffers that are in memory",
                self.open_buffers as u64,
            ),
            (
                "hbuf_buffers",
                "Buffers that the node knows",
                self.buffers as u64,
            ),
            (
                "hbuf_buffers_damaged",
                "Buffers of which damage is known, found by a start, an opening, a read or the scrubber",
                self.damaged_buffers as u64,
            ),
            (
                "hbuf_mirrors",
                "Buffers that follow another one",
                mirrors as u64,
            ),
            (
                "hbuf_mirrors_stopped",
                "Mirrors that do not follow, for the reason in their description",
                stopped as u64,
            ),
            (
                "hbuf_mirror_lag_messages",
                "Messages of their origins that mirrors have still to deal with",
                lag,
            ),
        ]
    }
}

/// Counters of the engine by name; the text form adds `_total` to each.
fn consumer_counters(counters: &Counters) -> [(&'static str, &'static str, &AtomicU64); 3] {
    [
        (
            "hbuf_consumer_deliveries",
            "Messages that consumers handed out",
            &counters.consumer_deliveries,
        ),
        (
            "hbuf_consumer_redeliveries",
            "Messages that consumers handed out again",
            &counters.consumer_redeliveries,
        ),
        (
            "hbuf_consumer_dead_letters",
            "Messages that consumers gave up",
            &counters.consumer_dead_letters,
        ),
    ]
}

fn engine_counters(counters: &Counters) -> [(&'static str, &'static str, &AtomicU64); 13] {
    [
        (
            "hbuf_mirrored_messages",
            "Messages that mirrors took from their origins",
            &counters.mirrored,
        ),
        (
            "hbuf_committed_bytes",
            "Bytes that the commit pipeline wrote",
            &counters.committed_bytes,
        ),
        (
            "hbuf_appends",
            "Appends that were placed in a log",
            &counters.appends,
        ),
        (
            "hbuf_appended_messages",
            "Messages that were placed in a log",
            &counters.messages,
        ),
        (
            "hbuf_append_replays",
            "Appends that were answered with an earlier reply",
            &counters.replays,
        ),
        (
            "hbuf_append_refusals",
            "Appends that were refused by the rules",
            &counters.refusals,
        ),
        (
            "hbuf_segment_rolls",
            "Segments that were rolled",
            &counters.rolls,
        ),
        (
            "hbuf_segments_dropped",
            "Segments that retention removed",
            &counters.segments_dropped,
        ),
        (
            "hbuf_checkpoints",
            "Checkpoints that were started",
            &counters.checkpoints,
        ),
        ("hbuf_marks", "Marks that were written", &counters.marks),
        (
            "hbuf_recoveries",
            "Buffers that were opened through recovery",
            &counters.recoveries,
        ),
        (
            "hbuf_recovery_torn_bytes",
            "Bytes that recovery cut as torn",
            &counters.torn_bytes,
        ),
        (
            "hbuf_recovery_replayed_records",
            "Records that recovery restored from the journal",
            &counters.replayed_records,
        ),
    ]
}

/// What the scrubber did, by name.
fn scrub_counters(scrub: &ScrubProgress) -> [(&'static str, &'static str, &AtomicU64); 4] {
    [
        (
            "hbuf_scrub_bytes",
            "Bytes of sealed segments that the scrubber checked",
            &scrub.bytes,
        ),
        (
            "hbuf_scrub_segments",
            "Segments that the scrubber checked to their end",
            &scrub.segments,
        ),
        (
            "hbuf_scrub_damaged",
            "Damaged messages and head lines that the scrubber met, each time",
            &scrub.damaged,
        ),
        (
            "hbuf_scrub_passes",
            "Passes of the scrubber over all buffers",
            &scrub.passes,
        ),
    ]
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let metrics = Arc::new(Metrics::new(&[("POST", "/buffers/{buffer}")]));
        metrics.request(Some(0), StatusCode::CREATED, Instant::now());
        metrics.request(None, StatusCode::NOT_FOUND, Instant::now());
        let _open = Open::connection(&metrics);
        let counters = Arc::new(Counters::default());
        counters.batches_journal.store(3, Ordering::Relaxed);
        let status = NodeStatus {
            ready: true,
            draining: false,
            disk: hbuf_core::input::DiskHealth::Sound,
            reasons: Vec::new(),
            buffers: 5,
            mirrors: (0, 0, 0),
            open_buffers: 1,
            started: Micros(0),
        };
        let consumers = Load {
            lag: 9,
            ..Load::default()
        };
        metrics.text(&counters, &status, 2, consumers)
    }

    #[test]
    fn what_was_counted_is_shown() {
        let text = text();
        for line in [
            "hbuf_http_replies_total{method=\"POST\",route=\"/buffers/{buffer}\",status=\"2xx\"} 1\n",
            "hbuf_http_replies_total{method=\"\",route=\"none\",status=\"4xx\"} 1\n",
            "hbuf_commit_batches_total{path=\"journal\"} 3\n",
            "hbuf_http_connections_open 1\n",
            "hbuf_buffers 5\n",
            "hbuf_buffers_open 1\n",
            "hbuf_buffers_damaged 2\n",
            "hbuf_consumer_lag_messages 9\n",
            "hbuf_http_request_duration_seconds_count{method=\"POST\",route=\"/buffers/{buffer}\"} 1\n",
            "# EOF\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_in_the_reference() {
        let api = include_str!("../../../docs/API.md");
        for line in text()
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
        {
            let name = line.split(' ').next().unwrap();
            assert!(api.contains(&format!("`{name}")), "{name} is missing");
        }
    }
}
