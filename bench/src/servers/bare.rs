//! Starts the bare HTTP server as a process of its own.

use std::process::Command;

use super::About;
use super::child::{Process, Scratch};
use crate::Settings;
use crate::limits::server::ARGUMENT;

/// What the append rows' reply looks like, if hbuf is not among their targets.
const REPLY: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

/// A running bare server with the file that it answers from.
pub(crate) struct Bare {
    pub(crate) process: Process,
    pub(crate) about: About,
    _data: Scratch,
}

impl Bare {
    /// Replies to every request with `reply`, given as on the wire.
    pub(crate) fn answer(settings: &Settings, reply: Option<&[u8]>) -> anyhow::Result<Self> {
        Self::start(settings, "answer", reply.unwrap_or(REPLY))
    }

    /// The same, but each request goes to another thread and back.
    pub(crate) fn hop(settings: &Settings, reply: Option<&[u8]>) -> anyhow::Result<Self> {
        Self::start(settings, "hop", reply.unwrap_or(REPLY))
    }

    /// Streams files; `list` has a line for each: bytes, space, path.
    pub(crate) fn stream(settings: &Settings, list: &str) -> anyhow::Result<Self> {
        Self::start(settings, "stream", list.as_bytes())
    }

    fn start(settings: &Settings, mode: &'static str, file: &[u8]) -> anyhow::Result<Self> {
        let data = Scratch::new(&settings.dir, "bare")?;
        let path = data.path().join("reply");
        std::fs::write(&path, file)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT).arg(mode).arg(path);
        let process = Process::announced(&mut command)?;
        let name = match mode {
            "answer" => "bare hyper",
            "hop" => "bare hyper, thread hop",
            _ => "bare hyper, same files",
        };
        let about = About {
            name,
            version: "1.12.0".to_owned(),
            settings: vec!["stores nothing, one thread per core".to_owned()],
        };
        Ok(Self {
            process,
            about,
            _data: data,
        })
    }
}
