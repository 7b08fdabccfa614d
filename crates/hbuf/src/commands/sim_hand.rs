//! What a hand changes in a run, and the moment at which somebody looks: `--override`, `--at`.

use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use hbuf_sim::nodes::{At, ClusterSetup, event_at};
use hbuf_sim::overrides::{Override, Overrides};
use hbuf_sim::swarm::Options;

/// What a hand changes.
#[derive(Debug, Default, Args)]
pub(crate) struct HandArgs {
    /// Take these options instead of those that the seed of a swarm draws: NAME=VALUE with spaces
    /// between them; all others are quiet
    #[arg(long, value_name = "OPTIONS", conflicts_with = "set")]
    options: Option<String>,
    /// Change a swarm by hand: `at=EVENT drop` (or delay 5ms, before EVENT, skip, fail, an action
    /// like crash n1), `at=1500ms ACTION`, `at=crash/0 skip`; without at=, there where --at says
    #[arg(long = "override", value_name = "CHANGE")]
    overrides: Vec<String>,
    /// A moment of a swarm: n:17, an event's id, or a time like 1500ms. Shows the world right
    /// before it; with an --override that has no at=, changes it there
    #[arg(long, value_name = "MOMENT")]
    at: Option<String>,
}

impl HandArgs {
    /// Whether it asks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.options.is_none() && self.overrides.is_empty() && self.at.is_none()
    }

    /// The options of a run, changed.
    pub(crate) fn options(&self, drawn: Options, set: &[String]) -> Result<Options> {
        let mut options = match &self.options {
            Some(text) => text.parse()?,
            None => drawn,
        };
        for change in set {
            options.change(change)?;
        }
        options.check()?;
        Ok(options)
    }

    /// The run with its changes.
    pub(crate) fn changed(&self, mut setup: ClusterSetup) -> Result<ClusterSetup> {
        let (placed, here): (Vec<&String>, Vec<&String>) =
            self.overrides.iter().partition(|it| it.starts_with("at="));
        let mut all = Vec::new();
        for text in placed {
            all.push(text.parse::<Override>()?);
        }
        setup.overrides = Overrides::new(all.clone());
        if here.is_empty() {
            return Ok(setup);
        }
        let Some(at) = self.moment()? else {
            bail!("override `{}`: write at= before it, or --at", here[0]);
        };
        let place = match (event_at(&setup, at)?, at) {
            (Some(eid), _) => eid.to_string(),
            (None, At::Time(micros)) => format!("{micros}us"),
            (None, _) => bail!("the run has no such event"),
        };
        for text in here {
            all.push(format!("at={place} {text}").parse()?);
        }
        setup.overrides = Overrides::new(all);
        Ok(setup)
    }

    /// The moment to look at, if that is what is wanted and not to change something there.
    pub(crate) fn look_at(&self) -> Result<Option<At>> {
        let forks = self.overrides.iter().any(|it| !it.starts_with("at="));
        Ok(self.moment()?.filter(|_| !forks))
    }

    fn moment(&self) -> Result<Option<At>> {
        let read = |text: &String| text.parse().map_err(|error| anyhow!("--at {error}"));
        self.at.as_ref().map(read).transpose()
    }

    /// Refuses to be asked of what cannot be changed.
    pub(crate) fn refuse(&self) -> Result<()> {
        ensure!(
            self.is_empty(),
            "--options, --override and --at are for several nodes: name the scenario `swarm`, or another one"
        );
        Ok(())
    }
}

/// The words of a command line that make a run of these options and changes, each begun by a space.
pub(crate) fn words(options: Option<&str>, set: &[String], overrides: &[String]) -> String {
    let options = options.map(|options| format!(" --options {}", quoted(options)));
    let set = set
        .iter()
        .map(|change| format!(" --set {}", quoted(change)));
    let overrides = overrides.iter();
    let overrides = overrides.map(|change| format!(" --override {}", quoted(change)));
    let all = options.into_iter().chain(set).chain(overrides);
    all.collect()
}

/// As a shell takes it for one word.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/.:,%+".contains(&byte);
    match text.bytes().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

impl HandArgs {
    /// The words of the command line that make this run.
    pub(crate) fn replay(&self, set: &[String], setup: &ClusterSetup) -> String {
        words(self.options.as_deref(), set, &setup.overrides.texts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_a_shell_takes_for_one() {
        let overrides = ["at=2s client c1 append b1 \"it's\"".to_owned()];
        let words = words(
            Some("nodes=3 clients=1"),
            &["drop=5ppm".to_owned()],
            &overrides,
        );
        let options = "--options 'nodes=3 clients=1' --set drop=5ppm";
        let change = r#"--override 'at=2s client c1 append b1 "it'\''s"'"#;
        assert_eq!(words, format!(" {options} {change}"));
    }
}
