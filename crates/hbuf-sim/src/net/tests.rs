use std::collections::BTreeSet;

use super::*;

const A: Endpoint = Endpoint::Node(1);
const B: Endpoint = Endpoint::Node(2);
const C: Endpoint = Endpoint::Node(3);
const CLIENT: Endpoint = Endpoint::Client(1);
const AB: Link = Link { from: A, to: B };

/// Sends so many packets, one every `gap`, and delivers everything in the order of time. What
/// arrives: (time, number).
fn run(net: &mut Net, count: u64, gap: u64) -> Vec<(u64, u64)> {
    let mut planned = BTreeSet::new();
    for nth in 0..count {
        planned.extend(net.send(nth * gap, A, B, 100).arrivals);
    }
    drain(net, planned)
}

fn drain(net: &mut Net, mut planned: BTreeSet<Arrival>) -> Vec<(u64, u64)> {
    let mut arrived = Vec::new();
    while let Some(Arrival { at, packet }) = planned.pop_first() {
        match net.deliver(at, packet) {
            Delivery::Arrived => arrived.push((at, packet.nth)),
            Delivery::Later(later) => {
                assert!(later > at);
                planned.insert(Arrival { at: later, packet });
            }
            Delivery::Lost(_) => {}
        }
    }
    assert_eq!(net.under_way(), 0);
    arrived
}

fn took(net: &Net, fault: NetFault) -> u64 {
    net.took().get(&fault).copied().unwrap_or(0)
}

fn with(change: impl FnOnce(&mut Weather)) -> Net {
    let mut weather = Weather::CALM;
    change(&mut weather);
    Net::new(42, weather)
}

#[test]
fn calm_weather_delivers_each_packet_once_and_lets_some_overtake() {
    let mut net = with(|_| {});
    let arrived = run(&mut net, 1_000, 50);
    let numbers: BTreeSet<u64> = arrived.iter().map(|(_, nth)| *nth).collect();
    assert_eq!((arrived.len(), numbers.len()), (1_000, 1_000));
    assert!(arrived.iter().all(|(at, nth)| *at >= nth * 50 + 100));
    assert!(took(&net, NetFault::Reorder) > 100);
    assert!((30..70).contains(&took(&net, NetFault::Delay)));
    assert_eq!(net.took().len(), 2, "{:?}", net.took());
}

#[test]
fn packets_are_lost_and_doubled_at_their_rates() {
    let mut net = with(|weather| (weather.drop_ppm, weather.dup_ppm) = (200_000, 100_000));
    let arrived = run(&mut net, 10_000, 10);
    let (dropped, doubled) = (took(&net, NetFault::Drop), took(&net, NetFault::Dup));
    assert!((1_900..2_100).contains(&dropped), "{dropped}");
    assert!((720..880).contains(&doubled), "{doubled}");
    assert_eq!(arrived.len() as u64, 10_000 - dropped + doubled);
}

#[test]
fn a_fault_that_is_taken_away_leaves_the_other_packets_as_they_were() {
    let mut rough = with(|weather| (weather.drop_ppm, weather.dup_ppm) = (100_000, 50_000));
    let mut calm = with(|_| {});
    let (rough, calm) = (run(&mut rough, 500, 10), run(&mut calm, 500, 10));
    let first = |arrived: &[(u64, u64)], number| {
        let mut times = arrived.iter().filter(|(_, nth)| *nth == number);
        times.next().copied()
    };
    let calm: BTreeSet<_> = calm.into_iter().collect();
    let kept = (0..500).filter_map(|number| first(&rough, number));
    let same = kept.filter(|arrival| calm.contains(arrival)).count();
    // Only a doubled one may come earlier than it did, by its second copy.
    assert!(same > 420, "{same}");
}

#[test]
fn the_same_seed_gives_the_same_arrivals_and_another_seed_others() {
    let arrivals = |seed| run(&mut Net::new(seed, Weather::CALM), 50, 10);
    assert_eq!(arrivals(1), arrivals(1));
    assert_ne!(arrivals(1), arrivals(2));
}

#[test]
fn groups_lose_what_goes_between_them_and_spare_who_is_in_none() {
    let mut net = with(|_| {});
    let before = net.send(0, A, B, 1).arrivals[0];
    let cut = net.cut(Cut::Groups(vec![[A].into(), [B, C].into()]));
    assert_eq!(
        net.deliver(before.at, before.packet),
        Delivery::Lost(NetFault::PartitionSym)
    );
    for (from, to) in [(A, B), (B, A), (A, C)] {
        assert!(net.send(10, from, to, 1).arrivals.is_empty());
        assert!(!net.reaches(from, to));
    }
    for (from, to) in [(B, C), (CLIENT, A), (B, CLIENT), (A, A)] {
        assert_eq!(net.send(10, from, to, 1).arrivals.len(), 1);
    }
    assert_eq!(took(&net, NetFault::PartitionSym), 4);
    assert!(net.heal(cut) && !net.heal(cut));
    assert!(net.reaches(A, B));
}

#[test]
fn one_way_cuts_one_direction_and_isolation_all() {
    let mut net = with(|_| {});
    net.cut(Cut::OneWay(AB));
    assert!(!net.reaches(A, B) && net.reaches(B, A) && net.reaches(A, C));
    net.send(0, A, B, 1);
    assert_eq!(took(&net, NetFault::PartitionAsym), 1);
    net.heal_all();
    net.cut(Cut::Isolate(C));
    assert!(net.reaches(A, B) && !net.reaches(C, A) && !net.reaches(CLIENT, C));
}

#[test]
fn a_clogged_link_keeps_everything_and_then_delivers_it() {
    let mut net = with(|_| {});
    let before = net.send(0, A, B, 1).arrivals;
    net.clog(AB, 5_000);
    let mut planned: BTreeSet<_> = before.into_iter().collect();
    planned.extend(net.send(10, A, B, 1).arrivals);
    let back = net.send(10, B, A, 1).arrivals[0];
    assert!(back.at < 5_000);
    planned.insert(back);
    let arrived = drain(&mut net, planned);
    assert_eq!(arrived.iter().filter(|(at, _)| *at == 5_000).count(), 2);
    assert_eq!(took(&net, NetFault::Clog), 2);
}

#[test]
fn a_slow_link_carries_its_bytes_one_after_the_other() {
    let mut net = with(|weather| {
        weather.delay_mean_us = 0;
        weather.bytes_per_second = Some(1_000_000);
    });
    let times = |net: &mut Net| net.send(0, A, B, 1_000).arrivals[0].at;
    assert_eq!([times(&mut net), times(&mut net)], [1_100, 2_100]);
    assert_eq!(net.send(0, B, A, 10).arrivals[0].at, 110);
    assert_eq!(took(&net, NetFault::Slow), 3);
}

#[test]
fn a_full_link_loses_one_for_each_further_packet() {
    let mut net = with(|weather| weather.capacity = Some(4));
    let mut lost = BTreeSet::new();
    let mut planned = BTreeSet::new();
    for _ in 0..10 {
        let sent = net.send(0, A, B, 1);
        planned.extend(sent.arrivals);
        lost.extend(sent.lost.into_iter().map(|(packet, _)| packet.nth));
    }
    assert_eq!(net.under_way(), 4);
    let arrived = drain(&mut net, planned);
    assert_eq!((arrived.len(), lost.len()), (4, 6));
    assert!(arrived.iter().all(|(_, nth)| !lost.contains(nth)));
    assert_ne!(lost, (4..10).collect(), "not always the last one");
    assert_eq!(took(&net, NetFault::Capacity), 6);
}

#[test]
fn a_reset_loses_what_is_under_way_between_two_and_nothing_else() {
    let mut net = with(|_| {});
    let there = net.send(0, A, B, 1).arrivals[0];
    let back = net.send(0, B, A, 1).arrivals[0];
    let other = net.send(0, A, C, 1).arrivals[0];
    assert_eq!(net.reset(A, B), [there.packet, back.packet]);
    for arrival in [there, back] {
        let lost = Delivery::Lost(NetFault::Reset);
        assert_eq!(net.deliver(arrival.at, arrival.packet), lost);
    }
    assert_eq!(net.deliver(other.at, other.packet), Delivery::Arrived);
    net.send(10, A, B, 1);
    net.send(10, C, A, 1);
    assert_eq!(net.reset_all(A).len(), 2);
    assert_eq!(net.under_way(), 0);
}

#[test]
fn a_drawn_reset_takes_the_packet_and_what_is_under_way_with_it() {
    let mut net = with(|weather| weather.reset_ppm = 100_000);
    let mut under_way = 0;
    for _ in 0..200 {
        let sent = net.send(0, A, B, 1);
        if sent.reset {
            assert_eq!(sent.lost.len(), under_way + 1);
            assert!(sent.arrivals.is_empty());
            under_way = 0;
        }
        under_way += sent.arrivals.len();
    }
    assert!((10..30).contains(&took(&net, NetFault::Reset)));
}

#[test]
fn a_packet_that_somebody_picks_is_lost_once() {
    let mut net = with(|_| {});
    let Arrival { at, packet } = net.send(0, A, B, 1).arrivals[0];
    assert!(net.lose(packet) && !net.lose(packet));
    assert_eq!(net.deliver(at, packet), Delivery::Lost(NetFault::Drop));
}

#[test]
fn a_spared_core_has_no_faults_while_the_rest_stays_broken() {
    let mut net = with(|weather| weather.drop_ppm = 1_000_000);
    net.cut(Cut::Isolate(A));
    net.clog(AB, 1_000_000);
    net.spare([A, B].into());
    let arrival = net.send(0, A, B, 1).arrivals[0];
    assert!(arrival.at < 100_000);
    assert_eq!(net.deliver(arrival.at, arrival.packet), Delivery::Arrived);
    assert!(net.send(0, A, C, 1).arrivals.is_empty());
    assert!(net.send(0, B, C, 1).arrivals.is_empty());
}

#[test]
fn drawn_partitions_have_the_shape_of_their_manner() {
    let ends: Vec<Endpoint> = (1..=5).map(Endpoint::Node).collect();
    for split in Split::ALL {
        let mut seen = BTreeSet::new();
        for random in 0..200 {
            let random = mix(7, random);
            let cut = Cut::drawn(split, &ends, random).unwrap();
            if let Cut::Groups(groups) = &cut {
                let sizes: Vec<usize> = groups.iter().map(BTreeSet::len).collect();
                assert_eq!(sizes.iter().sum::<usize>(), 5);
                assert!(sizes.iter().all(|size| *size > 0));
                assert!(split != Split::Halves || sizes == [2, 3]);
            }
            if let Cut::OneWay(link) = &cut {
                assert_ne!(link.from, link.to);
            }
            seen.insert(cut);
        }
        assert!(seen.len() >= 5, "{split:?}: {}", seen.len());
    }
    assert_eq!(Cut::drawn(Split::Halves, &ends[..1], 1), None);
}

#[test]
fn options_make_weather() {
    let options =
        "delay-min=1ms delay-mean=2ms drop=3ppm dup=4ppm reset=5ppm bandwidth=6KiB capacity=7";
    let weather = Weather {
        delay_min_us: 1_000,
        delay_mean_us: 2_000,
        drop_ppm: 3,
        dup_ppm: 4,
        reset_ppm: 5,
        bytes_per_second: Some(6 << 10),
        capacity: Some(7),
    };
    assert_eq!(Weather::of(&options.parse().unwrap()), weather);
    assert_eq!(Weather::of(&"".parse().unwrap()), Weather::CALM);
    let mut calm = weather;
    for opt in Weather::OPTIONS {
        calm.change(opt, 0);
    }
    assert_eq!(
        (calm.bytes_per_second, calm.capacity, calm.drop_ppm),
        (None, None, 0)
    );
}
