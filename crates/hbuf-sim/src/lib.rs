//! Worlds around hbuf's core: one node, a disk that lies, clients, faults, invariants.
//!
//! | question | file |
//! |---|---|
//! | which faults there are, what a seed makes of them | `plan.rs` |
//! | what must hold | `invariants.rs` |
//! | what can be done wrong on purpose | `bugs/` |
//! | which events there are | `kinds.rs` |
//! | what a disk keeps | `disk.rs` |
//! | the shell around the core's shard | `node.rs`, `world/` |
//! | what the log should be | `model.rs` |
//! | what the stored filters should be | `filters.rs` |
//! | what a consumer may hand out, what it owes | `ledger.rs` |
//! | one run; many runs | `run.rs` |
//! | what a node's clocks show, when its timers fire | `clock.rs` |
//! | what a trace's lines say, how they are read and told | `tracefile/` |
//! | what a run of many nodes is made of, which faults a seed plans | `swarm/` |
//! | what can be made to happen, and be expected, in words | `scenario/`, `scenarios/` |
//! | what a hand changes in a run | `overrides.rs` |
//! | how a failure becomes a small one | `shrink.rs` |
//! | when packets arrive, twice, or never | `net/` |
//! | two groups of the manager on every node, what crashes between them leave | `regions/` |
//! | the replication of one log, every interleaving | `cluster/` |
//! | were clients told the truth: logs, keys, locks | `history/` |
//!
//! Architecture invariant: a run is a function of (version, seed, bug). No clock, no thread, no
//! randomness but keyed draws, and ordered maps only.

/// Compiles only if the rows of a table, which begin with their variants, stand in the order of
/// those.
macro_rules! in_order_of_variants {
    ($table:ident) => {
        const _: () = {
            let mut at = 0;
            while at < $table.len() {
                assert!(
                    $table[at].0 as usize == at,
                    "the table follows the order of the variants"
                );
                at += 1;
            }
        };
    };
}

mod bugs;
mod choices;
mod clients;
pub mod clock;
pub mod cluster;
mod disk;
mod draw;
mod filters;
mod founding;
mod group_files;
pub mod history;
mod invariants;
mod kinds;
mod ledger;
mod model;
pub mod net;
mod node;
pub mod nodes;
pub mod overrides;
mod plan;
pub mod regions;
mod registry;
mod run;
pub mod scenario;
pub mod shrink;
pub mod swarm;
mod trace;
pub mod tracefile;
mod world;

pub use bugs::{Bug, Hunt, Shows};
pub use invariants::{Broken, Invariant};
pub use kinds::Kind;
pub use plan::{CRASH_POINTS, Fault};
pub use run::{Outcome, Sweep, run, sweep};
pub use tracefile::EventId;
