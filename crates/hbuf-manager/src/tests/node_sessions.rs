//! Who is fenced and taken back, and when.

use hbuf_core::limits::{CLOCK_OFF_MICROS, NODE_HEARTBEAT_MICROS, NODE_SESSION_MICROS};
use proptest::prelude::*;

use super::*;
use crate::sessions::{Heartbeat, HeartbeatRefused, Moment, Sessions};

const BEAT: u64 = NODE_HEARTBEAT_MICROS;
const SECOND: u64 = 1_000_000;

/// A leader of three nodes, in time.
struct Leader {
    world: World,
    sessions: Sessions,
    now: u64,
    clock: u64,
}

impl Leader {
    fn new() -> Self {
        let mut world = World::new();
        world.ok(register("n2", 2, &[]));
        world.ok(register("n3", 3, &[]));
        let sessions = Sessions::begin(Moment(0), world.catalog.assigned());
        Self {
            world,
            sessions,
            now: 0,
            clock: 1_700_000_000 * SECOND,
        }
    }

    fn alive(&self, node: u32) -> bool {
        self.world.catalog.node_by_id(NodeId(node)).unwrap().alive
    }

    fn epoch(&self, node: u32) -> NodeEpoch {
        self.world.catalog.node_by_id(NodeId(node)).unwrap().epoch
    }

    fn beat(&mut self, node: u32, ahead: i64) -> Result<bool, HeartbeatRefused> {
        let beat = Heartbeat {
            node: NodeId(node),
            epoch: self.epoch(node),
            clock: Micros((self.clock + self.now).wrapping_add_signed(ahead)),
        };
        let clock = Micros(self.clock + self.now);
        let heard = self.sessions.heartbeat(Moment(self.now), clock, beat);
        heard.map(|heard| heard.fenced)
    }

    /// Proposes what is due, which is applied at once; says what it was.
    fn look(&mut self) -> Vec<Assign> {
        let due = self.sessions.due(Moment(self.now));
        for command in &due {
            self.world.ok(Action::Assign(command.clone()));
        }
        self.applied();
        due
    }

    fn applied(&mut self) {
        let assigned = self.world.catalog.assigned();
        self.sessions.on_applied(Moment(self.now), assigned);
    }

    /// So much time in which these nodes are heard, each with its clock.
    fn pass(&mut self, micros: u64, heard: &[(u32, i64)]) -> Vec<Assign> {
        let mut due = Vec::new();
        let end = self.now + micros;
        while self.now < end {
            self.now += BEAT / 2;
            if self.now.is_multiple_of(BEAT) {
                for (node, ahead) in heard {
                    let _ = self.beat(*node, *ahead);
                }
            }
            due.extend(self.look());
        }
        due
    }
}

const ALL: [(u32, i64); 3] = [(1, 0), (2, 0), (3, 0)];

#[test]
fn silent_nodes_are_fenced_within_a_second_and_in_one_batch() {
    let mut leader = Leader::new();
    assert_eq!(leader.pass(3 * SECOND, &ALL), []);
    let due = leader.pass(SECOND, &ALL[..1]);
    let session = |node| (NodeId(node), leader.epoch(node));
    let nodes = vec![session(2), session(3)];
    assert_eq!(due, [Assign::FenceNodes { nodes }]);
    assert!(leader.alive(1) && !leader.alive(2));
}

#[test]
fn a_new_leader_gives_everybody_a_whole_timeout() {
    let mut leader = Leader::new();
    leader.pass(3 * SECOND, &ALL);
    leader.sessions = Sessions::begin(Moment(leader.now), leader.world.catalog.assigned());
    let lapse = leader.sessions.next_lapse();
    assert_eq!(lapse, Some(Moment(leader.now + NODE_SESSION_MICROS)));
    assert_eq!(leader.pass(NODE_SESSION_MICROS - BEAT, &[]), []);
    assert_eq!(leader.pass(2 * BEAT, &[]).len(), 1);
    assert_eq!(leader.sessions.next_lapse(), None);
}

#[test]
fn who_has_been_superseded_or_removed_is_told_to_stop() {
    let mut leader = Leader::new();
    let old = Heartbeat {
        node: NodeId(2),
        epoch: leader.epoch(2),
        clock: Micros(0),
    };
    leader.world.ok(register("n2", 2, &[]));
    let now = leader.epoch(2);
    let send = |epoch, leader: &mut Leader| {
        let beat = Heartbeat { epoch, ..old };
        leader.sessions.heartbeat(Moment(1), Micros(0), beat)
    };
    assert_eq!(send(now, &mut leader), Err(HeartbeatRefused::NotYet));
    leader.applied();
    assert_eq!(
        send(old.epoch, &mut leader),
        Err(HeartbeatRefused::Superseded)
    );
    assert!(send(now, &mut leader).is_ok());
    let stranger = Heartbeat {
        node: NodeId(9),
        ..old
    };
    let refused = leader.sessions.heartbeat(Moment(1), Micros(0), stranger);
    assert_eq!(refused, Err(HeartbeatRefused::Superseded));
}

#[test]
fn who_stops_in_order_is_fenced_at_once_and_stays_so_until_it_registers() {
    let mut leader = Leader::new();
    let epoch = leader.epoch(2);
    leader.sessions.end(NodeId(2), epoch).unwrap();
    assert_eq!(leader.look().len(), 1);
    assert!(!leader.alive(2));
    assert_eq!(leader.beat(2, 0), Err(HeartbeatRefused::Ended));
    assert_eq!(leader.pass(9 * SECOND, &ALL), []);
    leader.world.ok(register("n2", 2, &[]));
    leader.applied();
    assert_eq!(leader.beat(2, 0), Ok(false));
    let late = leader.sessions.end(NodeId(2), epoch);
    assert_eq!(late, Err(HeartbeatRefused::Superseded));
}

#[test]
fn a_node_that_flaps_is_taken_back_later_every_time() {
    let mut leader = Leader::new();
    let mut waits = Vec::new();
    for _ in 0..4 {
        leader.pass(SECOND, &ALL[..2]);
        assert!(!leader.alive(3));
        assert_eq!(leader.beat(3, 0), Ok(true), "it is told so");
        let before = leader.now;
        while !leader.alive(3) {
            leader.pass(BEAT, &ALL);
        }
        waits.push((leader.now - before).div_ceil(NODE_SESSION_MICROS / 2));
    }
    assert!(waits.windows(2).all(|two| two[0] < two[1]), "{waits:?}");
    assert!(waits[3] >= 3 * waits[1], "{waits:?}");
    leader.pass(hbuf_core::limits::NODE_CALM_MICROS + SECOND, &ALL);
    leader.pass(SECOND, &ALL[..2]);
    let before = leader.now;
    while !leader.alive(3) {
        leader.pass(BEAT, &ALL);
    }
    assert!(leader.now - before <= 2 * NODE_SESSION_MICROS, "forgotten");
}

#[test]
fn a_node_that_is_heard_now_and_then_is_not_taken_back() {
    let mut leader = Leader::new();
    leader.pass(SECOND, &ALL[..2]);
    for _ in 0..40 {
        leader.pass(NODE_SESSION_MICROS - BEAT, &ALL[..2]);
        let _ = leader.beat(3, 0);
    }
    assert!(!leader.alive(3));
}

#[test]
fn a_leader_that_was_paused_takes_nobody_for_dead() {
    let mut leader = Leader::new();
    leader.pass(SECOND, &ALL);
    leader.now += 60 * SECOND;
    assert_eq!(leader.look(), []);
    assert_eq!(leader.pass(BEAT, &ALL), []);
    assert_eq!(leader.pass(SECOND, &[]).len(), 1, "the pause is over");
}

#[test]
fn what_was_not_applied_is_asked_for_again_and_not_before_a_timeout() {
    let mut leader = Leader::new();
    let lapse = leader.sessions.next_lapse().unwrap().0;
    let mut asked = Vec::new();
    for at in (0..=3 * lapse).step_by(usize::try_from(BEAT).unwrap()) {
        if !leader.sessions.due(Moment(at)).is_empty() {
            asked.push(at);
        }
    }
    assert_eq!(asked, [lapse, 2 * lapse, 3 * lapse]);
}

#[test]
fn a_wrong_clock_is_told_by_several_readings_and_must_be_well_right_again() {
    let mut leader = Leader::new();
    let ahead = |micros: u64| [(1, 0), (2, 0), (3, micros.cast_signed())];
    let off = |leader: &Leader| {
        let node = leader.world.catalog.node_by_id(NodeId(3)).unwrap();
        node.clock_off
    };
    leader.pass(SECOND, &ahead(CLOCK_OFF_MICROS));
    assert!(!off(&leader));
    leader.pass(BEAT, &ahead(CLOCK_OFF_MICROS + 1));
    leader.pass(SECOND, &ALL);
    assert!(!off(&leader), "one reading");
    leader.pass(SECOND, &ahead(CLOCK_OFF_MICROS + 1));
    assert!(off(&leader));
    leader.pass(SECOND, &ahead(CLOCK_OFF_MICROS * 3 / 4));
    assert!(off(&leader), "not well within");
    leader.pass(SECOND, &ahead(CLOCK_OFF_MICROS / 2));
    assert!(!off(&leader));
}

#[test]
fn the_leaders_own_clock_condemns_nobody_when_it_is_the_wrong_one() {
    let mut leader = Leader::new();
    let hour = 3_600 * SECOND.cast_signed();
    leader.pass(3 * SECOND, &[(1, 0), (2, hour), (3, hour)]);
    let off = |node| {
        let node = leader.world.catalog.node_by_id(NodeId(node)).unwrap();
        node.clock_off
    };
    assert_eq!([off(1), off(2), off(3)], [true, false, false]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn who_is_heard_is_never_fenced_and_who_is_silent_always_is(
        rounds in prop::collection::vec((0_u8..8, 1_u64..20), 1..40),
    ) {
        let mut leader = Leader::new();
        let mut spoke_before = [true; 3];
        let mut silent_since = [0; 3];
        for (who, beats) in rounds {
            let spoke = [1, 2, 4].map(|bit| who & bit > 0);
            let nodes = ALL.into_iter().zip(spoke).filter(|(_, spoke)| *spoke);
            let nodes: Vec<(u32, i64)> = nodes.map(|(node, _)| node).collect();
            let alive = [1, 2, 3].map(|node| leader.alive(node));
            leader.pass(beats * BEAT, &nodes);
            for at in 0..3 {
                let now = leader.alive(u32::try_from(at).unwrap() + 1);
                if spoke[at] {
                    silent_since[at] = leader.now;
                    let kept = !alive[at] || !spoke_before[at] || now;
                    prop_assert!(kept, "node {} was heard", at + 1);
                } else if leader.now - silent_since[at] >= NODE_SESSION_MICROS + BEAT {
                    prop_assert!(!now, "node {} is silent", at + 1);
                }
            }
            spoke_before = spoke;
        }
    }
}
