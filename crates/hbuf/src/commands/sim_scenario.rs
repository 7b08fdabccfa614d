//! What came of a scenario: its story, its expectations, a summary.

use anyhow::{Context as _, Result};
use hbuf_sim::nodes::{ClusterOutcome, Verdict};
use hbuf_sim::tracefile::{TraceFile, brief};
use serde_json::{Value, json};

use crate::commands::sim_sweep::Failure;
use crate::output::{Out, table};

/// Tells the story, then what became of each expectation.
pub(crate) fn show(out: &mut Out, outcome: &ClusterOutcome, name: &str) -> Result<()> {
    let trace = TraceFile::parse(&outcome.trace).context("the trace of this run")?;
    out.foreign(brief(&trace).as_bytes())?;
    out.line("")?;
    let row = |[one, two, three, four]: [&str; 4]| {
        vec![
            one.to_owned(),
            two.to_owned(),
            three.to_owned(),
            four.to_owned(),
        ]
    };
    let mut rows = vec![row(["LINE", "", "EXPECTED", "FOUND"])];
    for verdict in &outcome.verdicts {
        let word = if verdict.held { "held" } else { "FAILED" };
        let line = verdict.line.to_string();
        rows.push(row([&line, word, &verdict.expected, &verdict.found]));
    }
    out.foreign(table(&rows).as_bytes())?;
    for (line, step) in &outcome.unplayed_lines {
        out.line(&format!(
            "FAILED  line {line}: `{step}` cannot be played yet"
        ))?;
    }
    for (line, step) in &outcome.never {
        out.line(&format!("FAILED  line {line}: this never came: {step}"))?;
    }
    if let Some(broken) = &outcome.broken {
        out.line(&format!(
            "BROKEN  {} at event {}",
            broken.invariant, broken.event
        ))?;
    }
    let held = outcome.verdicts.iter().filter(|it| it.held).count();
    let (of, seed, acked) = (outcome.verdicts.len(), outcome.seed, outcome.acked);
    let events = outcome.events;
    let last = trace.events.last().map_or(0, |event| event.t);
    let seconds = last as f64 / 1e6;
    out.line(&format!(
        "\n{name}, seed {seed}: {held} of {of} expectations held; {acked} messages acknowledged, \
         {events} events in {seconds:.1} s"
    ))
}

/// Whether it came out as it says.
pub(crate) fn is_good(outcome: &ClusterOutcome) -> bool {
    failures(outcome, "").is_empty()
}

/// What did not come out as the scenario says.
pub(crate) fn failures(outcome: &ClusterOutcome, replay: &str) -> Vec<Failure> {
    let failure = |line: usize, what: &str, found: &str| Failure {
        seed: outcome.seed,
        name: format!("line {line}: {what}"),
        what: found.to_owned(),
        replay: replay.to_owned(),
    };
    let failed = outcome.verdicts.iter().filter(|verdict| !verdict.held);
    let failed = failed.map(|it| failure(it.line, &it.expected, &it.found));
    let unplayed = outcome.unplayed_lines.iter();
    let unplayed = unplayed.map(|(line, step)| failure(*line, step, "cannot be played yet"));
    let never = outcome.never.iter();
    let never = never.map(|(line, step)| failure(*line, step, "never came"));
    // One that the scenario did not ask for.
    let asked_for = |it: &Verdict| it.held && it.expected.starts_with("broken ");
    let broken = outcome.broken.as_ref();
    let broken = broken.filter(|_| !outcome.verdicts.iter().any(asked_for));
    let broken = broken.map(|it| Failure {
        seed: outcome.seed,
        name: it.invariant.to_owned(),
        what: it.what.clone(),
        replay: replay.to_owned(),
    });
    broken
        .into_iter()
        .chain(failed)
        .chain(unplayed)
        .chain(never)
        .collect()
}

/// The fields of its outcome in JSON.
pub(crate) fn json(outcome: &ClusterOutcome) -> Value {
    let expectations = outcome.verdicts.iter().map(|it| {
        json!({ "line": it.line, "expected": it.expected, "held": it.held, "found": it.found })
    });
    let steps = |steps: &[(usize, String)]| -> Value {
        let steps = steps.iter();
        steps
            .map(|(line, step)| json!({ "line": line, "step": step }))
            .collect()
    };
    json!({
        "expectations": expectations.collect::<Vec<_>>(),
        "unplayed": steps(&outcome.unplayed_lines),
        "never": steps(&outcome.never),
    })
}
