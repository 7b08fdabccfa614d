//! How walks of a mood begin: in the middle of a story that chance alone seldom tells, so that what
//! comes after it is looked at often. Each step is one that the cluster offers.

use hbuf_core::ids::NodeId;
use hbuf_core::replication::ToCopy;
use hbuf_core::rules::Rules;

use super::{Action, Cluster, Mood, Packet};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

/// What comes next in a story.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// This step.
    Step(fn() -> Action),
    /// What the first says to the second arrives, and the answer.
    Talk(NodeId, NodeId),
    /// The same, and the message will arrive once more.
    TalkTwice(NodeId, NodeId),
    /// The manager decides what it was asked.
    Decide,
    /// The same, and will once more.
    DecideTwice,
    /// It decides what it was asked last; what it was asked before stays under way.
    DecideLast,
}

/// Node 3 was taken out, in and out again, and is asked in once more by an old word.
const LATE: &[Next] = &[
    Next::Step(|| Action::Learn(ONE)),
    Next::Talk(ONE, TWO),
    Next::Talk(ONE, TWO),
    Next::Talk(ONE, THREE),
    Next::Talk(ONE, THREE),
    Next::Step(|| Action::AskRemove(ONE, THREE)),
    Next::Decide,
    Next::Step(|| Action::Learn(ONE)),
    Next::Step(|| Action::AskAdd(ONE, THREE)),
    Next::DecideTwice,
    Next::Step(|| Action::Learn(ONE)),
    Next::Step(|| Action::AskRemove(ONE, THREE)),
    Next::DecideLast,
    Next::Step(|| Action::Learn(ONE)),
    Next::Decide,
    Next::Step(|| Action::Append(ONE)),
    Next::Step(|| Action::Sync(ONE)),
    Next::Talk(ONE, TWO),
];

/// Nodes 1 and 3 have a record that node 2 never saw, which led in between and has not heard that
/// node 3 leads now. Node 3 commits that record with node 1, which starts again.
const RETURNED: &[Next] = &[
    Next::Step(|| Action::Learn(ONE)),
    Next::Step(|| Action::Append(ONE)),
    Next::Step(|| Action::Sync(ONE)),
    Next::Talk(ONE, THREE),
    Next::Talk(ONE, THREE),
    Next::Talk(ONE, THREE),
    Next::Step(|| Action::Sync(THREE)),
    Next::Step(|| Action::Suspect(ONE)),
    Next::Step(|| Action::Learn(TWO)),
    Next::Step(|| Action::Suspect(TWO)),
    Next::Step(|| Action::Learn(THREE)),
    Next::Step(|| Action::AskRemove(THREE, TWO)),
    Next::Decide,
    Next::Step(|| Action::Learn(THREE)),
    Next::Talk(THREE, ONE),
    Next::Talk(THREE, ONE),
    Next::Talk(THREE, ONE),
    Next::Step(|| Action::Crash(ONE, false)),
    Next::Step(|| Action::Start(ONE, false)),
];

impl Mood {
    const fn story(self) -> &'static [Next] {
        use Next::{Decide, Step, Talk, TalkTwice};
        match self {
            Self::Plain => &[],
            // Node 1 is taken for dead, node 2 leads and commits, and node 1 has not heard of it.
            Self::Deaf => &[
                Step(|| Action::Learn(ONE)),
                Step(|| Action::Suspect(ONE)),
                Step(|| Action::Learn(TWO)),
                Step(|| Action::AskRemove(TWO, ONE)),
                Decide,
                Step(|| Action::Learn(TWO)),
                Step(|| Action::Append(TWO)),
                Step(|| Action::Sync(TWO)),
                Talk(TWO, THREE),
                Talk(TWO, THREE),
                Talk(TWO, THREE),
                Step(|| Action::Sync(THREE)),
                Talk(THREE, TWO),
            ],
            Self::Late => LATE,
            Self::Returned => RETURNED,
            // Node 3 is out of the set. Node 1 commits with node 2, who is not told, and is gone.
            Self::Churn => &[
                Step(|| Action::Learn(ONE)),
                Step(|| Action::AskRemove(ONE, THREE)),
                Decide,
                Step(|| Action::Learn(ONE)),
                Step(|| Action::Append(ONE)),
                Step(|| Action::Sync(ONE)),
                Talk(ONE, TWO),
                Talk(ONE, TWO),
                Talk(ONE, TWO),
                Step(|| Action::Sync(TWO)),
                Talk(TWO, ONE),
                Step(|| Action::Crash(ONE, false)),
            ],
            // Node 3 is led by a word that comes once more, takes a record and starts anew.
            Self::Stale => &[
                Step(|| Action::Learn(ONE)),
                Step(|| Action::AskRemove(ONE, TWO)),
                Decide,
                Step(|| Action::Learn(ONE)),
                Talk(ONE, THREE),
                TalkTwice(ONE, THREE),
                Step(|| Action::Append(ONE)),
                Step(|| Action::Sync(ONE)),
                Talk(ONE, THREE),
                Step(|| Action::Sync(THREE)),
                Talk(THREE, ONE),
                Step(|| Action::Crash(THREE, false)),
                Step(|| Action::Start(THREE, false)),
            ],
        }
    }
}

impl Cluster {
    /// The cluster behind the story of a mood, and the steps that led there.
    #[must_use]
    pub fn begun(self, mood: Mood, rules: &Rules) -> (Self, Vec<Action>) {
        let (mut cluster, mut path) = (self, Vec::new());
        for next in mood.story() {
            for action in cluster.steps_of(*next, rules) {
                if cluster.actions(rules).contains(&action) {
                    cluster = cluster.after(rules, &action);
                    path.push(action);
                }
            }
        }
        (cluster, path)
    }

    /// What the manager was asked and has not decided, as far as it is under way.
    fn asked(&self) -> impl Iterator<Item = Packet> {
        let alters = self.net.iter().filter(|it| matches!(it, Packet::Alter(_)));
        alters.cloned()
    }

    fn steps_of(&self, next: Next, rules: &Rules) -> Vec<Action> {
        match next {
            Next::Step(step) => vec![step()],
            Next::Decide => self.asked().map(Action::Deliver).collect(),
            Next::DecideTwice => self.asked().map(Action::Repeat).collect(),
            Next::DecideLast => self
                .asked()
                .last()
                .map(Action::Deliver)
                .into_iter()
                .collect(),
            Next::Talk(from, to) => self.talk(rules, from, to, Action::Deliver),
            Next::TalkTwice(from, to) => self.talk(rules, from, to, Action::Repeat),
        }
    }

    /// A message and its answer, as far as one comes at once.
    fn talk(
        &self,
        rules: &Rules,
        from: NodeId,
        to: NodeId,
        arrives: fn(Packet) -> Action,
    ) -> Vec<Action> {
        let mut steps = Vec::new();
        let mut cluster = self.clone();
        let send = Action::Send(from, to);
        if cluster.actions(rules).contains(&send) {
            cluster = cluster.after(rules, &send);
            steps.push(send);
        }
        let between = |packet: &&Packet, one: NodeId, other: NodeId| match packet {
            Packet::ToCopy { from, to, .. } | Packet::FromCopy { from, to, .. } => {
                (*from, *to) == (one, other)
            }
            Packet::Alter(_) => false,
        };
        let mut said = cluster.net.iter().filter(|it| between(it, from, to));
        let old_lead = |packet: &&Packet| {
            let lead = |message: &ToCopy| matches!(message, ToCopy::Lead { .. });
            let repeated = matches!(packet, Packet::ToCopy { message, .. } if lead(message));
            !(repeated && steps.is_empty())
        };
        let Some(said) = said.rfind(old_lead).cloned() else {
            return steps;
        };
        let arrives = arrives(said);
        cluster = cluster.after(rules, &arrives);
        steps.push(arrives);
        let answers = |packet: &&Packet| matches!(packet, Packet::FromCopy { .. });
        let mut back = cluster.net.iter().filter(answers);
        let answer = back.find(|it| between(it, to, from));
        steps.extend(answer.cloned().map(Action::Deliver));
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bugs::Bug;
    use crate::cluster::{Bounds, Role};

    fn begun(mood: Mood) -> (Cluster, Vec<Action>) {
        Cluster::new(Bounds::WALK).begun(mood, &Rules::correct())
    }

    #[test]
    fn an_old_word_is_under_way_to_a_node_that_has_started_anew() {
        let (cluster, path) = begun(Mood::Stale);
        let leads = |packet: &&Packet| packet.leads();
        let old: Vec<_> = cluster.net.iter().filter(leads).collect();
        assert_eq!(old.len(), 1, "{path:#?}");
        let three = &cluster.nodes[&THREE];
        assert!(three.up && three.records.len() == 1, "{path:#?}");
        assert_eq!(cluster.acked.len(), 1, "{path:#?}");
    }

    #[test]
    fn who_starts_again_may_be_spoken_to_by_a_primary_that_is_none_any_more() {
        let (cluster, path) = begun(Mood::Returned);
        assert_eq!(cluster.acked.len(), 1, "{path:#?}");
        let (one, two) = (&cluster.nodes[&ONE], &cluster.nodes[&TWO]);
        assert!(one.up && one.records.len() == 1, "{path:#?}");
        assert!(cluster.assignment.in_sync.contains_key(&ONE), "{path:#?}");
        assert!(matches!(two.role, Role::Primary(_)), "{path:#?}");
        assert!(two.epoch() < one.epoch(), "{path:#?}");
        let (bent, _) =
            Cluster::new(Bounds::WALK).begun(Mood::Returned, &Bug::EpochForgotten.rules());
        assert!(bent.nodes[&ONE].epoch() < two.epoch());
    }

    #[test]
    fn a_primary_has_not_heard_that_another_one_leads() {
        let (cluster, path) = begun(Mood::Deaf);
        let of = |node: &NodeId| cluster.nodes[node].epoch();
        assert!(of(&ONE) < of(&TWO), "{path:#?}");
        assert!(!cluster.assignment.in_sync.contains_key(&ONE), "{path:#?}");
    }

    #[test]
    fn an_old_word_takes_nobody_in_unless_a_rule_is_bent() {
        let taken_in = |rules: &Rules| {
            let (cluster, path) = Cluster::new(Bounds::WALK).begun(Mood::Late, rules);
            let Role::Primary(primary) = &cluster.nodes[&ONE].role else {
                panic!("{path:#?}");
            };
            let counted = primary.assignment().in_sync.contains_key(&THREE);
            assert!(!counted, "{path:#?}");
            cluster.assignment.in_sync.contains_key(&THREE)
        };
        assert!(!taken_in(&Rules::correct()));
        assert!(taken_in(&Bug::LateChange.rules()));
    }

    #[test]
    fn a_member_has_what_was_committed_and_does_not_know_that_it_was() {
        let (cluster, path) = begun(Mood::Churn);
        let two = cluster.nodes[&TWO].log();
        assert_eq!(cluster.acked.len(), 1, "{path:#?}");
        assert!(
            two.durable > two.commit && !cluster.nodes[&ONE].up,
            "{path:#?}"
        );
    }
}
