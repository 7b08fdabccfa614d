//! `hbuf sim sweep --bug`: the first seed that notices what is done wrong on purpose.

use std::ops::Range;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use hbuf_sim::{Bug, Shows};
use serde_json::json;

use crate::commands::sim_sweep::say_on_panic;
use crate::output::Out;

/// How a bug is shown in a world of this name.
pub(crate) fn shown_in(bug: Bug, world: &str) -> Result<Shows> {
    let mut shows = bug.shows().iter();
    let shows = shows.find(|shows| shows.world() == world).copied();
    ensure!(
        shows.is_some(),
        "{} is not shown in this world: it breaks {}",
        bug.name(),
        bug.breaks()
    );
    Ok(shows.expect("it was looked at"))
}

/// Looks for the first seed at which a bug breaks the invariant that it is known to break.
pub(crate) fn hunt(seeds: Range<u64>, bug: Bug, world: &str, as_json: bool) -> Result<ExitCode> {
    let shows = shown_in(bug, world)?;
    let (name, invariant) = (bug.name(), shows.invariant());
    let mut out = Out::new();
    let tried = seeds.end - seeds.start;
    for seed in seeds {
        let replay = shows.replay(bug, seed);
        say_on_panic(replay.clone());
        let Some(what) = shows.notices(bug, seed) else {
            continue;
        };
        match as_json {
            true => out.json(&json!({
                "bug": name,
                "invariant": invariant,
                "seed": seed,
                "what": what,
                "replay": replay,
            }))?,
            false => {
                out.line(&format!("{name} breaks {invariant}: {what}"))?;
                out.line(&replay)?;
            }
        }
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    out.line(&format!(
        "{tried} seeds did not notice {name}: {invariant} held"
    ))?;
    out.flush()?;
    Ok(ExitCode::FAILURE)
}
