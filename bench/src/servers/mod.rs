//! The servers that are measured: how each is started, asked for its settings and spoken to.

pub(crate) mod bare;
pub(crate) mod child;
pub(crate) mod hbuf;
pub(crate) mod http;
pub(crate) mod input;
pub(crate) mod nats;
pub(crate) mod pages;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod tagged;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// What a server says of itself.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// Read back from the running server.
    pub(crate) settings: Vec<String>,
}

/// Lets this process and its children open as many files as the system allows.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).context("the limit of open files cannot be raised")
}
