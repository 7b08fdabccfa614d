//! What operators and workers choose, whatever the world: where a consumer begins, what is set on
//! it, what becomes of a message.

use hbuf_core::consumer::{Config, Filter, Settling, Start};
use hbuf_core::ids::{Micros, Seq, Uuid};

use crate::draw::{Draw, Draws, Purpose};
use crate::filters::filter_name;

/// What a worker wants of a message; none when it keeps it.
pub(crate) fn some_settling(draw: Draw) -> Option<Settling> {
    let ms = draw.next().below(120);
    match draw.below(100) {
        0..60 => Some(Settling::Ack),
        60..75 => {
            let delay_ms = if ms < 40 { 0 } else { ms };
            Some(Settling::Nack { delay_ms })
        }
        75..85 => Some(Settling::Extend { lease_ms: ms + 100 }),
        _ => None,
    }
}

/// A place to begin at, near what there is.
pub(crate) fn some_start(draw: Draw, now: Micros, commit: Seq) -> Start {
    let next = draw.next();
    match draw.below(20) {
        0..12 => Start::First,
        12..14 => Start::Last,
        14..18 => Start::Seq(Seq(next.within(1, commit.0 + 4))),
        _ => Start::Time(Micros(now.0.saturating_sub(next.below(300_000)))),
    }
}

/// What may be changed of a consumer: all but where it begins and when a message counts as done.
/// Its dead letters may go into one of `into`; stored filters are named up to `stored`.
pub(crate) fn some_config(draws: &Draws, entity: u64, into: &[Uuid], stored: u64) -> Config {
    let draw = |ordinal| draws.draw(Purpose::Consumer, entity, ordinal);
    let mut filter = Filter::default();
    match draw(0).below(10) {
        0 => filter.tags = [b"b"[..].into(), b"c"[..].into()].into(),
        1 | 2 => filter.tags = [b"b"[..].into()].into(),
        3 => filter.key = Some(b"k1"[..].into()),
        4 => filter.tags = [b"c"[..].into()].into(),
        5..8 if stored > 0 => {
            let number = draw(12).below(stored);
            filter.stored = Some(filter_name(number).into());
            if draw(13).percent(20) {
                filter.tags = [b"c"[..].into()].into();
            }
        }
        _ => {}
    }
    let chosen = usize::try_from(draw(1).below(into.len().max(1) as u64)).expect("few");
    let most = u32::try_from(draw(3).within(1, 3)).expect("three at most");
    let in_flight = u32::try_from(draw(5).within(1, 4)).expect("four at most");
    Config {
        filter,
        start: Start::First,
        lease_ms: draw(4).within(100, 160),
        deliveries_max: draw(6).percent(50).then_some(most),
        dead_letter: into.get(chosen).filter(|_| draw(2).percent(80)).copied(),
        in_flight_max: if draw(7).percent(50) {
            in_flight
        } else {
            1_000
        },
        order_by_key: draw(8).percent(40),
        expire_ms: draw(9).percent(25).then(|| draw(10).within(20, 300)),
        ttl_seconds: draw(11).percent(20).then_some(1),
        ..Config::default()
    }
}

/// What a reader takes: some of the tags that messages have, a key, or everything.
pub(crate) fn some_filter(draw: Draw) -> Filter {
    let mut filter = Filter::default();
    match draw.below(5) {
        0 => filter.tags = [b"b"[..].into()].into(),
        1 => filter.tags = [b"c"[..].into()].into(),
        2 => filter.tags = [b"b"[..].into(), b"c"[..].into()].into(),
        3 => filter.key = Some(b"k1"[..].into()),
        _ => {}
    }
    filter
}
