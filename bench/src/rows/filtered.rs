//! The rows of filtered reads: at the tail with a large stored filter, and catching up with a few
//! messages of many.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{BODY_BYTES, Bound, Check, Measure, Row, Unit, alternate, ratios};
use crate::Settings;
use crate::drive::{Run, closed_loop, finished, on_this_thread};
use crate::servers::hbuf::{BUFFER, Hbuf};
use crate::servers::http::exchange;
use crate::servers::nats::{self, Nats, Pulls};
use crate::servers::pages::Pages;
use crate::servers::tagged::{BATCH, RARE_EVERY, tagged_batch};
use crate::stats::Recorder;
use crate::wire::Connection;

const BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];
/// Messages of a page: the most that a page has.
const PAGE: u64 = 10_000;
/// Asks for what the stored filter matches.
const EVERY: &str = "&filter=every";
/// Asks for the few messages with the rare tag.
const RARE_ONLY: &str = "&tag=rare";
/// The rare tag as it stands in a line.
const RARE_TEXT: &str = "\"rare\"";

/// Pages of the measured buffer, each pass of which finds `expected` messages.
async fn pages(hbuf: &Hbuf, expected: u64) -> anyhow::Result<Pages> {
    let path = format!("/buffers/{BUFFER}");
    Pages::connect(hbuf.process.address, path, PAGE, expected).await
}

/// Appends a batch, then reads what it brought, again and again; only the reading is timed.
async fn follow(settings: &Settings, hbuf: &Hbuf, query: &'static str) -> anyhow::Result<Run> {
    let address = hbuf.process.address;
    let mut writer = Connection::connect(address, 16 << 10).await?;
    // The message of the start has no tag.
    let mut reader = pages(hbuf, 0).await?.asking(query).behind(1);
    let (mut recorder, mut reading) = (Recorder::default(), Duration::ZERO);
    let warm_end = Instant::now() + settings.warm;
    let mut next = 1;
    while reading < settings.measured {
        let batch = tagged_batch(address, next..next + BATCH, settings.filter_tags, &BODY);
        let status = exchange(&mut writer, &batch).await?.status;
        ensure!(status == 201, "a batch was answered with status {status}");
        next += BATCH;
        let from = Instant::now();
        let (found, _) = reader.page().await?;
        let took = from.elapsed();
        ensure!(found == BATCH, "{found} of {BATCH} messages were found");
        if from >= warm_end {
            recorder.success(took, found, reader.page_bytes());
            reading += took;
        }
    }
    Ok(finished(&recorder, reading, None))
}

fn followed<'a>(settings: &'a Settings, name: &'static str, query: &'static str) -> Measure<'a> {
    Box::new(move || {
        let mut hbuf = Hbuf::start(settings)?;
        // In both, so that nothing differs but what is asked.
        hbuf.store_filter(settings.filter_tags)?;
        hbuf.about.name = name;
        let run = on_this_thread(follow(settings, &hbuf, query))?;
        Ok((hbuf.about.clone(), run))
    })
}

/// A tail through a large filter that every message matches, against one without.
pub(super) fn tail(settings: &Settings) -> anyhow::Result<Row> {
    let mut targets = [
        followed(settings, "hbuf, filtered", EVERY),
        followed(settings, "hbuf, unfiltered", ""),
    ];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_open = ratios(&targets[0].values, &targets[1].values);
    Ok(Row {
        name: "filtered-tail",
        title: "a tail through a stored filter of 5,000,000 tags, every message matching",
        client: format!(
            "1 connection appends a batch of 1,000, each with one of {} tags; another then reads \
             them as lines (application/x-ndjson), and only that is timed",
            settings.filter_tags
        ),
        targets,
        checks: vec![Check::new(
            "filtered / unfiltered",
            to_open,
            Bound::AtLeast(0.7),
            Bound::AtLeast(0.9),
        )],
        note: "The filter is stored in both. A message comes once, so each is found for the first \
               time.",
    })
}

fn read<'a>(
    settings: &'a Settings,
    hbuf: &'a Hbuf,
    name: &'static str,
    expected: u64,
    as_asked: impl Fn(Pages) -> Pages + 'a,
) -> Measure<'a> {
    Box::new(move || {
        let mut about = hbuf.about.clone();
        about.name = name;
        let connect = async |_| Ok(as_asked(pages(hbuf, expected).await?));
        let run = closed_loop(settings, hbuf.process.pid(), 1, connect)?;
        Ok((about, run))
    })
}

/// The few messages with one tag, against reading all and looking oneself, and against NATS.
pub(super) fn catchup(settings: &Settings) -> anyhow::Result<Row> {
    let count = settings.filtered_messages;
    ensure!(
        count > RARE_EVERY,
        "--filtered-messages {count}: none would match"
    );
    eprintln!("   filling hbuf and NATS with {count} messages each");
    let hbuf = Hbuf::start(settings)?;
    hbuf.fill_tagged(count, settings.filter_tags, &BODY)?;
    let nats = Nats::start(settings)?;
    nats.fill_with_rare(count, &BODY)?;
    let rare = (count - 1) / RARE_EVERY;
    let pulls: Measure<'_> = Box::new(|| {
        let (process, expected) = (&nats.process, count.div_ceil(RARE_EVERY));
        let connect = |_| Pulls::connect(process.address, expected, Some(nats::RARE));
        let run = closed_loop(settings, process.pid(), 1, connect)?;
        Ok((nats.about.clone(), run))
    });
    let mut targets = [
        read(settings, &hbuf, "hbuf, filtered", rare, |pages| {
            pages.asking(RARE_ONLY)
        }),
        read(settings, &hbuf, "hbuf, filtered by the client", rare, |p| {
            p.taking(RARE_TEXT)
        }),
        pulls,
    ];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_client = ratios(&targets[0].values, &targets[1].values);
    let to_nats = ratios(&targets[0].values, &targets[2].values);
    Ok(Row {
        name: "filtered-catchup",
        title: "catching up with 0.1 % of 10,000,000 messages",
        client: format!(
            "1 connection, from the first message to the last of {count} and again: pages of \
             10,000 lines (application/x-ndjson) with `tag=`, or of all; a pull consumer with \
             `filter_subject`. Messages are those that match; in hbuf each has one of {} tags too",
            settings.filter_tags
        ),
        targets,
        checks: vec![
            Check::new(
                "filtered / filtered by the client",
                to_client,
                Bound::AtLeast(20.0),
                Bound::AtLeast(100.0),
            ),
            Check::new("hbuf / NATS", to_nats, Bound::AtLeast(5.0), None),
        ],
        note: "Latencies are those of a page of hbuf, and of a thousand messages of NATS or what \
               is left.",
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings_with_hbuf;
    use super::*;

    /// The readers fail when a page misses a message.
    #[test]
    fn a_filtered_tail_finds_every_message() {
        let row = tail(&settings_with_hbuf()).unwrap();
        let found = row.targets.iter().map(|target| target.spread.median);
        assert!(found.into_iter().all(|rate| rate > 0.0));
        assert_eq!(row.checks[0].values.len(), 1);
    }

    #[test]
    fn a_filtered_catch_up_finds_what_the_client_finds() {
        let settings = settings_with_hbuf();
        let hbuf = Hbuf::start(&settings).unwrap();
        hbuf.fill_tagged(5_500, settings.filter_tags, &BODY)
            .unwrap();
        let found = |reader: fn(Pages) -> Pages| {
            on_this_thread(async {
                let (mut reader, mut found) = (reader(pages(&hbuf, 0).await?), 0);
                loop {
                    match reader.page().await? {
                        (0, _) => return Ok(found),
                        (_, wanted) => found += wanted,
                    }
                }
            })
        };
        assert_eq!(found(|pages| pages.asking(RARE_ONLY)).unwrap(), 5);
        assert_eq!(found(|pages| pages.taking(RARE_TEXT)).unwrap(), 5);
    }
}
