//! The rows of the table: one function a row.

mod appends;
mod fanout;
mod filtered;
mod footprint;
mod reads;
mod scale;

pub(crate) use footprint::Many;

use anyhow::bail;
use serde::Serialize;

use crate::Settings;
use crate::drive::Run;
use crate::servers::About;
use crate::stats::{Spread, spread};

/// Names of the rows, in the order of the table.
pub(crate) const NAMES: [&str; 19] = [
    "append-64",
    "append-1",
    "batch-4",
    "catchup-1",
    "catchup-8",
    "tail",
    "buffers-5000",
    "start",
    "start-many",
    "rss",
    "rss-many",
    "rss-tails",
    "consumer",
    "consumers-idle",
    "topic-16",
    "filtered-tail",
    "filtered-catchup",
    "filter-consumer",
    "tails-1000",
];

/// Bytes of a body, in every row.
pub(crate) const BODY_BYTES: usize = 256;

/// Measures one row.
pub(crate) fn measure(name: &str, settings: &Settings, many: &mut Many) -> anyhow::Result<Row> {
    match name {
        "append-64" => appends::append_64(settings),
        "append-1" => appends::append_1(settings),
        "batch-4" => appends::batch_4(settings),
        "catchup-1" => reads::catchup(settings, 1),
        "catchup-8" => reads::catchup(settings, 8),
        "tail" => reads::tail(settings),
        "buffers-5000" => appends::buffers_5000(settings),
        "start" => footprint::start(settings),
        "start-many" => footprint::start_many(settings, many),
        "rss" => footprint::rss(settings),
        "rss-many" => footprint::rss_many(settings, many),
        "rss-tails" => footprint::rss_tails(settings),
        "consumer" => scale::consumer(settings),
        "consumers-idle" => scale::consumers_idle(settings),
        "topic-16" => scale::topic(settings),
        "filtered-tail" => filtered::tail(settings),
        "filtered-catchup" => filtered::catchup(settings),
        "filter-consumer" => footprint::filter_consumer(settings),
        "tails-1000" => fanout::tails(settings),
        _ => bail!("no row {name}"),
    }
}

/// One row: what was measured, on what, and whether it is good enough.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Who sends, over how many connections, in which form.
    pub(crate) client: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) checks: Vec<Check>,
    pub(crate) note: &'static str,
}

/// One target of a row: a figure per run.
#[derive(Serialize)]
pub(crate) struct Target {
    pub(crate) about: About,
    pub(crate) unit: Unit,
    pub(crate) values: Vec<f64>,
    pub(crate) spread: Spread,
    /// The whole figures of each run, where there is more than the value.
    pub(crate) runs: Vec<Run>,
}

/// What a target's value is.
#[derive(Clone, Copy, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "messages/s")]
    MessagesPerS,
    #[serde(rename = "p50 ms")]
    P50Ms,
    #[serde(rename = "p99 ms")]
    P99Ms,
    #[serde(rename = "ms")]
    Ms,
    #[serde(rename = "s")]
    S,
    #[serde(rename = "MB")]
    Mb,
    #[serde(rename = "KiB")]
    Kib,
    #[serde(rename = "MiB")]
    Mib,
}

impl Target {
    fn of_runs(about: About, unit: Unit, runs: Vec<Run>) -> Self {
        let value = |run: &Run| match unit {
            Unit::MessagesPerS => run.summary.messages_per_s,
            Unit::P99Ms => run.summary.p99_ms,
            Unit::P50Ms | Unit::Ms | Unit::S | Unit::Mb | Unit::Kib | Unit::Mib => {
                run.summary.p50_ms
            }
        };
        let values: Vec<f64> = runs.iter().map(value).collect();
        Self {
            spread: spread(values.iter().copied()),
            about,
            unit,
            values,
            runs,
        }
    }

    fn of_values(about: About, unit: Unit, values: Vec<f64>) -> Self {
        Self {
            spread: spread(values.iter().copied()),
            about,
            unit,
            values,
            runs: Vec::new(),
        }
    }
}

/// On which side of a number a figure must be.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// A figure with its bounds: computed in each run, then its median judged.
#[derive(Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) spread: Spread,
    pub(crate) must: Option<Bound>,
    pub(crate) goal: Option<Bound>,
    pub(crate) must_holds: Option<bool>,
    pub(crate) goal_holds: Option<bool>,
}

impl Check {
    fn new(
        what: &'static str,
        values: Vec<f64>,
        must: impl Into<Option<Bound>>,
        goal: impl Into<Option<Bound>>,
    ) -> Self {
        let spread = spread(values.iter().copied());
        let (must, goal) = (must.into(), goal.into());
        let must_holds = must.map(|bound| bound.holds(spread.median));
        let goal_holds = goal.map(|bound| bound.holds(spread.median));
        Self {
            what,
            values,
            spread,
            must,
            goal,
            must_holds,
            goal_holds,
        }
    }
}

/// `top / bottom` in each run.
fn ratios(top: &[f64], bottom: &[f64]) -> Vec<f64> {
    top.iter()
        .zip(bottom)
        .map(|(top, bottom)| top / bottom)
        .collect()
}

/// Measures a target once.
type Measure<'a> = Box<dyn FnMut() -> anyhow::Result<(About, Run)> + 'a>;

/// Runs the targets in turn, each run beginning with another one, and collects the figures.
fn alternate(
    settings: &Settings,
    unit: Unit,
    targets: &mut [Measure<'_>],
) -> anyhow::Result<Vec<Target>> {
    let mut abouts = vec![About::default(); targets.len()];
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); targets.len()];
    for run in 0..settings.runs {
        for turn in 0..targets.len() {
            let n = (run + turn) % targets.len();
            let (about, figures) = targets[n]()?;
            let summary = &figures.summary;
            eprintln!(
                "   run {} {}: {:.0} messages/s, p50 {:.3} ms, p99 {:.3} ms",
                run + 1,
                about.name,
                summary.messages_per_s,
                summary.p50_ms,
                summary.p99_ms
            );
            abouts[n] = about;
            runs[n].push(figures);
        }
    }
    let both = abouts.into_iter().zip(runs);
    Ok(both
        .map(|(about, runs)| Target::of_runs(about, unit, runs))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drive::closed_loop;
    use crate::paced::{Pace, end_to_end};
    use crate::servers::nats::{self, Nats, Pulls};
    use crate::servers::redis::{self, Reads, Redis};
    use crate::servers::resp;

    /// With hbuf as the workspace's tests build it.
    pub(super) fn settings_with_hbuf() -> Settings {
        let _ = crate::servers::raise_file_limit();
        Settings {
            hbuf: crate::build::debug_hbuf().unwrap(),
            ..settings()
        }
    }

    fn settings() -> Settings {
        Settings {
            runs: 1,
            warm: Duration::from_millis(100),
            measured: Duration::from_millis(400),
            idle: Duration::ZERO,
            many: 0,
            filtered_messages: 20_000,
            filter_tags: 5_000,
            hbuf: "hbuf".into(),
            dir: std::env::temp_dir(),
        }
    }

    #[test]
    fn a_check_judges_the_median() {
        let check = Check::new(
            "x",
            vec![0.1, 0.5, 0.9],
            Bound::AtLeast(0.45),
            Bound::AtMost(0.4),
        );
        assert_eq!(
            (check.must_holds, check.goal_holds),
            (Some(true), Some(false))
        );
    }

    /// The readers themselves fail when a pass does not deliver every message.
    #[test]
    fn readers_of_the_peers_get_every_message() {
        const COUNT: u64 = 20_000;
        let settings = settings();
        let redis = Redis::start(&settings).unwrap();
        redis.fill(COUNT, &[b'x'; BODY_BYTES]).unwrap();
        let address = redis.process.address;
        let connect = |_| Reads::connect(address, COUNT);
        let run = closed_loop(&settings, redis.process.pid(), 2, connect).unwrap();
        assert!(run.summary.messages > COUNT, "{run:?}");
        let nats = Nats::start(&settings).unwrap();
        nats.fill(COUNT, &[b'x'; BODY_BYTES]).unwrap();
        let address = nats.process.address;
        let connect = |_| Pulls::connect(address, COUNT, None);
        let run = closed_loop(&settings, nats.process.pid(), 2, connect).unwrap();
        assert!(run.summary.messages > COUNT, "{run:?}");
    }

    #[test]
    fn a_filtered_reader_of_nats_gets_every_thousandth_message() {
        const COUNT: u64 = 20_000;
        let settings = settings();
        let nats = Nats::start(&settings).unwrap();
        nats.fill_with_rare(COUNT, &[b'x'; BODY_BYTES]).unwrap();
        let address = nats.process.address;
        let connect = |_| Pulls::connect(address, COUNT / 1_000, Some(nats::RARE));
        let run = closed_loop(&settings, nats.process.pid(), 1, connect).unwrap();
        assert!(run.summary.messages > COUNT / 1_000, "{run:?}");
    }

    #[test]
    fn tails_of_the_peers_see_every_message() {
        let settings = settings();
        let pace = Pace {
            connections: 4,
            per_second: 1_000.0,
            measured: Duration::from_millis(500),
            body_bytes: BODY_BYTES,
            readers: 1,
        };
        let redis = Redis::start(&settings).unwrap();
        let address = redis.process.address;
        let run = end_to_end(
            &settings,
            &pace,
            redis.process.pid(),
            |_| resp::Client::connect(address),
            |_| redis::Tail::connect(address),
        );
        assert!(run.unwrap().summary.messages > 400);
        let nats = Nats::start(&settings).unwrap();
        let address = nats.process.address;
        let run = end_to_end(
            &settings,
            &pace,
            nats.process.pid(),
            |_| nats::Client::connect(address),
            |_| nats::Tail::connect(address),
        );
        assert!(run.unwrap().summary.messages > 400);
    }
}
