use std::collections::BTreeSet;

use super::*;
use crate::scenario::{Action, DiskFault, Step, When};

#[test]
fn options_are_read_as_they_are_shown() {
    for seed in 0..300 {
        let options = Options::of_seed(seed);
        let text = options.to_string();
        assert!(!text.contains('\n'));
        assert_eq!(text.parse(), Ok(options), "{text}");
    }
    assert_eq!("".parse(), Ok(Options::default()));
    assert_eq!(
        Options::default().to_string().parse(),
        Ok(Options::default())
    );
}

#[test]
fn a_seed_keeps_to_the_ranges_and_to_what_goes_together() {
    for seed in 0..300 {
        let options = Options::of_seed(seed);
        options.check().unwrap();
        for opt in Opt::all() {
            let (least, most) = opt.row().range;
            let value = options.get(opt);
            assert!((least..=most).contains(&value), "{}={value}", opt.name());
        }
        assert!((3..=5).contains(&options.get(Opt::Nodes)));
        let reads = [Opt::TailReads, Opt::TopicReads, Opt::Consumers];
        assert!(reads.map(|opt| options.get(opt)).iter().sum::<u64>() < 100);
    }
}

#[test]
fn each_fault_is_on_in_some_seeds_and_off_in_others() {
    for opt in Opt::all() {
        let values: BTreeSet<u64> = (0..200)
            .map(|seed| Options::of_seed(seed).get(opt))
            .collect();
        let maybe = matches!(opt.row().choice, Choice::Maybe(..));
        // A scenario says what its clients ask for; a seed always lets them ask by themselves.
        let always = opt == Opt::Workload;
        assert_eq!(values.len() == 1, always, "{}", opt.name());
        assert_eq!(maybe, values.contains(&0), "{}", opt.name());
    }
}

#[test]
fn options_are_changed_one_by_one_and_mistakes_say_what_is_allowed() {
    let mut options = Options::default();
    options.change("crash=250ms").unwrap();
    options.change("drop=off").unwrap();
    assert_eq!(options.get(Opt::Crash), 250_000);
    assert!(!options.is_on(Opt::Drop));
    let mut error = |text| options.change(text).unwrap_err().to_string();
    assert_eq!(error("crash"), "`crash` is no option: write name=value");
    let unknown = error("crush=1s");
    assert!(unknown.starts_with("there is no option `crush`; there are: nodes, copies, "));
    assert_eq!(
        error("crash=4"),
        "`4` cannot be crash; allowed: a time like 20us, 500ms or 2s, from off to 3600s"
    );
    assert_eq!(
        error("nodes=10"),
        "`10` cannot be nodes; allowed: a number like 3, from 1 to 9"
    );
    let error = |text: &str| text.parse::<Options>().unwrap_err().to_string();
    assert_eq!(error("nodes=3 copies=4"), "copies=4 is more than nodes=3");
    assert_eq!(
        error("copies=1 min-in-sync=2"),
        "min-in-sync=2 is more than copies=1"
    );
}

#[test]
fn a_plan_is_that_of_its_seed_and_ends_with_the_first_phase() {
    let (mut faults, mut longest) = (BTreeSet::new(), 0);
    for seed in 0..200 {
        let options = Options::of_seed(seed);
        let all = planned(seed, &options);
        assert_eq!(all, planned(seed, &options));
        let names: BTreeSet<String> = all.iter().map(Planned::name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.is_sorted_by_key(Planned::at));
        for planned in &all {
            assert!(!planned.actions.is_empty());
            assert!(planned.actions.is_sorted_by_key(|(at, _)| *at));
            let end = options.get(Opt::Safety);
            assert!(planned.actions.iter().all(|(at, _)| *at <= end));
            faults.insert(planned.fault);
        }
        longest = longest.max(all.len());
    }
    let wanted = [
        "partition",
        "clog",
        "crash",
        "kill",
        "pause",
        "jump",
        "sync-fails",
        "rot",
        "reformat",
        "full",
        "slow-disk",
        "move",
        "state",
        "drain",
        "rebalance",
        "clone",
        "restore",
        "stop",
        "upgrade",
        "elect",
        "create",
        "skew",
        "drift",
    ];
    assert_eq!(faults, wanted.into_iter().collect());
    assert!(longest > 30, "{longest}");
}

#[test]
fn a_fault_that_is_switched_off_leaves_the_others_where_they_were() {
    let mut options = Options::of_seed(3);
    options.change("crash=500ms").unwrap();
    options.change("partition=500ms").unwrap();
    let with = planned(3, &options);
    options.change("crash=off").unwrap();
    let without = planned(3, &options);
    let others: Vec<Planned> = with
        .into_iter()
        .filter(|planned| planned.fault != "crash")
        .collect();
    assert!(!without.is_empty());
    assert_eq!(others, without);
}

#[test]
fn what_destroys_durable_data_happens_to_one_node_alone() {
    let mut hit = BTreeSet::new();
    for seed in 0..100 {
        let text = "rot=200ms sync-fails=200ms reformat=200ms nodes=5 safety=10s";
        let all = planned(seed, &text.parse().unwrap());
        let victims: BTreeSet<_> = all
            .iter()
            .flat_map(|planned| &planned.actions)
            .filter_map(|(_, action)| match action {
                Action::Reformat(node) => Some(node.clone()),
                Action::Disk { node, fault } => {
                    assert!(matches!(fault, DiskFault::Rots | DiskFault::SyncFails));
                    Some(node.clone())
                }
                _ => None,
            })
            .collect();
        assert_eq!(victims.len(), 1, "{victims:?}");
        hit.extend(victims);
    }
    assert_eq!(hit.len(), 5);
}

#[test]
fn a_plan_can_be_read_as_a_scenario() {
    for seed in 0..50 {
        let options = Options::of_seed(seed);
        let all = planned(seed, &options);
        let scenario = scenario_of("drawn", &options, &all);
        assert_eq!(scenario.to_string().parse(), Ok(scenario.clone()));
        // The steps say what would otherwise be planned once more.
        assert_eq!(planned(seed, &scenario.options), []);
        for opt in [Opt::Nodes, Opt::Drop, Opt::DownLast, Opt::Workload] {
            assert_eq!(scenario.options.get(opt), options.get(opt));
        }
        let count = all
            .iter()
            .map(|planned| planned.actions.len())
            .sum::<usize>();
        assert_eq!(scenario.steps.len(), count);
        let time = |step: &Step| match step.when {
            When::At(at) => at,
            _ => unreachable!("a plan has times"),
        };
        assert!(scenario.steps.is_sorted_by_key(time));
    }
}
