//! Scratch.
use hbuf_sim::nodes::{ClusterSetup, run_cluster};
fn main() {
    let mut args = std::env::args().skip(1);
    let from: u64 = args.next().unwrap().parse().unwrap();
    let count: u64 = args.next().unwrap().parse().unwrap();
    let begun = std::time::Instant::now();
    let (mut events, mut steps, mut acked, mut failed) = (0, 0, 0, 0);
    for seed in from..from + count {
        let mut setup = ClusterSetup::swarm(seed);
        if count == 1 {
            setup.lines = true;
        }
        let Ok(outcome) = std::panic::catch_unwind(|| run_cluster(&setup)) else {
            println!("seed {seed}: PANIC");
            failed += 1;
            continue;
        };
        if count == 1 {
            std::fs::write("/tmp/trace.jsonl", &outcome.trace).unwrap();
            println!("{:?} {:?}", outcome.kinds, outcome.faults);
        }
        events += outcome.events;
        steps += outcome.steps;
        acked += outcome.acked;
        if let Some(op) = std::env::args().nth(3) {
            for a in &outcome.history.appends {
                if a.id.0.to_string() == op || format!("{:?}", a.call).contains(&op) {
                    println!("{a:?}");
                }
            }
            for a in &outcome.history.reads {
                if a.id.0.to_string() == op {
                    println!("{a:?}");
                }
            }
        }
        if let Some(broken) = outcome.broken {
            failed += 1;
            println!(
                "seed {seed}: {} at {}: {}",
                broken.invariant, broken.event, broken.what
            );
        }
    }
    let s = begun.elapsed().as_secs_f64();
    println!(
        "{count} seeds, {failed} failed, {steps} steps, {events} events, {acked} acked, {s:.1} s, {:.0} steps/s",
        steps as f64 / s
    );
}
