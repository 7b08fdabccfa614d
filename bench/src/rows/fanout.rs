//! The row of many tailing readers of one buffer.

use super::{BODY_BYTES, Bound, Check, Measure, Row, Unit, alternate};
use crate::Settings;
use crate::paced::{Pace, end_to_end};
use crate::servers::hbuf::{BUFFER, Hbuf};
use crate::servers::http::{StampedAppends, Tail};

const READERS: usize = 1_000;
const PER_S: f64 = 100.0;
/// What a tailing reader costs this client.
const INPUT_BYTES: usize = 4 << 10;

/// From sending to arrival, over all readers.
pub(super) fn tails(settings: &Settings) -> anyhow::Result<Row> {
    let pace = Pace {
        connections: 4,
        per_second: PER_S,
        measured: settings.measured,
        body_bytes: BODY_BYTES,
        readers: READERS,
    };
    let hbuf: Measure<'_> = Box::new(|| {
        let hbuf = Hbuf::start(settings)?;
        let address = hbuf.process.address;
        let run = end_to_end(
            settings,
            &pace,
            hbuf.process.pid(),
            |_| StampedAppends::connect(address, BUFFER),
            |_| Tail::connect(address, BUFFER, 1, INPUT_BYTES),
        )?;
        Ok((hbuf.about.clone(), run))
    });
    let targets = alternate(settings, Unit::P99Ms, &mut [hbuf])?;
    let p99 = targets[0].values.clone();
    Ok(Row {
        name: "tails-1000",
        title: "end to end at 100 messages/s, 1,000 tailing readers",
        client: "4 connections at 100 messages/s in all, 1,000 readers of their buffer over \
                 connections of their own (server-sent events); every delivery counts"
            .to_owned(),
        targets,
        checks: vec![Check::new(
            "p99 ms of a delivery",
            p99,
            Bound::AtMost(50.0),
            Bound::AtMost(10.0),
        )],
        note: "The client's one thread takes 100,000 events a second, and what they wait for it \
               counts.",
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings_with_hbuf;
    use super::*;

    /// The measurement fails when a reader misses a message.
    #[test]
    fn every_reader_sees_every_message() {
        let row = tails(&settings_with_hbuf()).unwrap();
        let summary = &row.targets[0].runs[0].summary;
        let per_reader = summary.messages / READERS as u64;
        assert!(per_reader > 0, "{summary:?}");
        assert_eq!(summary.messages, per_reader * READERS as u64);
    }
}
