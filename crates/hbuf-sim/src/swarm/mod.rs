//! What a run of many nodes is made of, from its seed: options, and the faults with their times.
//!
//! A seed first chooses *which* faults and operations a run has at all, and only then their rates
//! (swarm testing, Groce et al. 2012): a run with everything at once hides what only a run with
//! little shows. Each choice is keyed by its option's name, so a new option leaves the others of
//! every saved seed as they were.
//!
//! | question | file |
//! |---|---|
//! | which options there are, their ranges and how a seed chooses | `options.rs` |
//! | which faults a seed plans, and when | `planned.rs` |
//! | which operations | `operations.rs` |
//! | how numbers are written | `quantity.rs` |

mod operations;
mod options;
mod planned;
mod quantity;
#[cfg(test)]
mod tests;

pub use options::{Opt, OptionError, Options};
pub use planned::{Planned, planned, scenario_of};
pub use quantity::{Quantity, Unit};

use crate::draw::{Draws, Purpose, key};
use options::Choice;

impl Options {
    /// The options that a seed makes.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let draws = Draws::new(seed);
        let mut options = Self::default();
        for opt in Opt::all() {
            let row = opt.row();
            let draw = draws.draw(Purpose::Options, key(row.name), 0);
            let value = match row.choice {
                Choice::Within(low, high) => draw.within(low, high),
                Choice::Maybe(percent, low, high) if draw.percent(percent) => {
                    draw.next().within(low, high)
                }
                Choice::Maybe(..) => 0,
            };
            options.set(opt, value);
        }
        for (opt, limit) in [(Opt::Copies, Opt::Nodes), (Opt::MinInSync, Opt::Copies)] {
            options.set(opt, options.get(opt).min(options.get(limit)));
        }
        options
    }
}
