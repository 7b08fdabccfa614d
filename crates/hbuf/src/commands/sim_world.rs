//! What a run is of: one node, a swarm, or a scenario.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hbuf_sim::nodes::ClusterSetup;
use hbuf_sim::scenario::{BUILT_IN, Source, built_in};
use hbuf_sim::swarm::Options;

/// What a run is of.
#[derive(Clone, Debug)]
pub(crate) enum World {
    /// One node, with every step of its disk, journal and recovery.
    OneNode,
    /// Several nodes with a manager, a network and clients; the seed draws everything.
    Swarm,
    /// The same, but what happens is in a file.
    Scenario {
        /// As the command line had it.
        name: String,
        source: Arc<Source>,
    },
}

impl World {
    /// Reads the name of a world or a scenario, or the path of a file with one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let source = match text {
            "one-node" => return Ok(Self::OneNode),
            "swarm" => return Ok(Self::Swarm),
            name => match built_in(name) {
                Some(source) => source,
                None => from_file(name)?,
            },
        };
        Ok(Self::Scenario {
            name: text.to_owned(),
            source: Arc::new(source),
        })
    }

    /// Its name on the command line.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::OneNode => "one-node",
            Self::Swarm => "swarm",
            Self::Scenario { name, .. } => name,
        }
    }

    pub(crate) const fn is_one_node(&self) -> bool {
        matches!(self, Self::OneNode)
    }

    pub(crate) const fn scenario(&self) -> Option<&Arc<Source>> {
        match self {
            Self::Scenario { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The options with which it runs, before any is changed.
    pub(crate) fn options(&self, seed: u64) -> Options {
        match self.scenario() {
            Some(source) => source.scenario.options.clone(),
            None => Options::of_seed(seed),
        }
    }

    /// The run of a seed with these options.
    pub(crate) fn setup(&self, seed: u64, options: Options) -> ClusterSetup {
        match self.scenario() {
            Some(source) => ClusterSetup::playing(seed, Arc::clone(source), options),
            None => ClusterSetup::of(seed, options),
        }
    }
}

fn from_file(path: &str) -> Result<Source, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(_) if !Path::new(path).exists() => {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            return Err(format!(
                "there is no such scenario; there are one-node, swarm, {names}, and any file with one"
            ));
        }
        Err(error) => return Err(error.to_string()),
    };
    Source::read(&text).map_err(|error| error.to_string())
}
