//! `hbuf sim shrink`: makes a run that fails smaller.

use std::process::ExitCode;

use anyhow::{Result, bail};
use hbuf_sim::nodes::{ClusterSetup, Smaller, smaller};
use serde_json::json;

use crate::commands::sim_hand::words;
use crate::output::Out;

/// Makes it smaller; `begins` is the line that runs it, without its options and changes.
pub(crate) fn shrink(
    setup: &ClusterSetup,
    begins: &str,
    tries: u64,
    as_json: bool,
) -> Result<ExitCode> {
    let Some(small) = smaller(setup, tries) else {
        bail!("the run does not fail: every invariant held");
    };
    let options = small.setup.options.in_short();
    let overrides = small.setup.overrides.texts();
    let replay = format!("{begins}{}", words(Some(&options), &[], &overrides));
    let mut out = Out::new();
    if as_json {
        out.json(&json!({
            "invariant": small.invariant,
            "what": small.what,
            "options": options,
            "overrides": overrides,
            "faults_before": small.faults.0,
            "faults": small.faults.1,
            "events_before": small.events.0,
            "events": small.events.1,
            "tries": small.runs,
            "minimal": small.minimal,
            "replay": replay,
        }))?;
    } else {
        show(&mut out, &small, &options, &overrides)?;
        out.line(&replay)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut Out, small: &Smaller, options: &str, overrides: &[String]) -> Result<()> {
    out.line(&format!("BROKEN  {}: {}", small.invariant, small.what))?;
    let ((faults, kept), (events, now)) = (small.faults, small.events);
    out.line(&format!(
        "{faults} faults became {kept}, {events} events became {now}, in {} tries",
        small.runs
    ))?;
    if !small.minimal {
        out.line("something smaller may fail too: --tries allows more")?;
    }
    out.line(&format!("options  {options}"))?;
    for change in overrides {
        out.line(&format!("change   {change}"))?;
    }
    Ok(())
}
