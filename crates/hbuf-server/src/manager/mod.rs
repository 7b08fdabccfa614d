//! The manager's loop: the one thread that owns the catalog and its log.
//!
//! ```text
//! propose ─▶ queue ─▶ [ take all that wait ─▶ append ─▶ one sync ─▶ apply ─▶ reply ] ─▶ queue …
//!                                                                      └─▶ view, watch
//! ```
//!
//! Invariants: a command is applied, seen by a view and answered only after its record is on disk;
//! after a failed sync nothing is appended any more, while views go on.

mod log;
mod recover;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::limits::COMMANDS_WAITING_MAX;
use hbuf_manager::{Action, Applied, Catalog, Command, Refused, State};
use tokio::sync::{mpsc, oneshot, watch};

use log::{Log, LogError};

pub use log::LogOptions;
pub use recover::OpenError;

/// The file name of the group that owns names, nodes and topics.
pub const GLOBAL: &str = "global";

/// Why a command was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The manager's rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no room on the manager's disk; nothing was changed.
    #[error("the manager's disk is full; free some space, then try again")]
    Full,
    /// The manager's disk failed; whether the command will be found after a restart is unknown.
    #[error("the manager's disk failed ({why}); restart the node once the disk is sound")]
    Failed {
        /// What the disk said.
        why: Arc<str>,
    },
    /// The node is stopping.
    #[error("the node is stopping; try another one, or try again")]
    Stopping,
}

/// Asks the manager for changes and looks at what it knows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
}

/// The running manager. Dropped with all its handles it ends too, but leaves no snapshot.
#[derive(Debug)]
pub struct Manager {
    handle: ManagerHandle,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    catalog: RwLock<Catalog>,
    applied: watch::Sender<u64>,
    failed: RwLock<Option<Arc<str>>>,
}

#[derive(Debug)]
enum Message {
    Propose(Proposal),
    Stop,
}

#[derive(Debug)]
struct Proposal {
    action: Action,
    reply: oneshot::Sender<Result<Applied, ProposeError>>,
}

impl Manager {
    /// Reads the log in `directory`, which must exist, and starts the loop. `client` names this
    /// life of the process in commands; `clock` tells the time.
    pub fn open(
        directory: &Path,
        options: LogOptions,
        client: Uuid,
        clock: impl Fn() -> Micros + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (catalog, log) = recover::recover(directory, options, clock())?;
        let started = Self::start(catalog, log, client, clock);
        started.map_err(|why| OpenError::Io {
            path: directory.to_path_buf(),
            doing: "start the manager's thread for",
            why,
        })
    }

    fn start(
        catalog: Catalog,
        log: Log,
        client: Uuid,
        clock: impl Fn() -> Micros + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = mpsc::channel(COMMANDS_WAITING_MAX);
        let number = catalog.last_number(client);
        let shared = Arc::new(Shared {
            applied: watch::Sender::new(catalog.applied()),
            catalog: RwLock::new(catalog),
            failed: RwLock::new(None),
        });
        let state = Loop {
            shared: Arc::clone(&shared),
            log,
            client,
            number,
            clock,
        };
        let run = move || state.run(messages);
        let thread = thread::Builder::new()
            .name("manager".to_string())
            .spawn(run)?;
        Ok(Self {
            handle: ManagerHandle { shared, queue },
            thread,
        })
    }

    /// A handle for whoever proposes or looks.
    #[must_use]
    pub fn handle(&self) -> ManagerHandle {
        self.handle.clone()
    }

    /// Answers what waits, leaves a snapshot when that shortens the next start, and ends the loop.
    /// Blocks until it has ended, so it must not be called on a thread that runs async tasks.
    pub fn stop(self) {
        // A loop that has ended already has dropped the queue's other end: nothing is left to do.
        let _ = self.handle.queue.blocking_send(Message::Stop);
        if self.thread.join().is_err() {
            tracing::error!(event = "manager_panicked");
        }
    }
}

impl ManagerHandle {
    /// Has a command put on disk and applied. Waits while too many commands wait.
    pub async fn propose(&self, action: Action) -> Result<Applied, ProposeError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Propose(Proposal { action, reply });
        let sent = self.queue.send(message).await;
        sent.map_err(|_| ProposeError::Stopping)?;
        answer.await.map_err(|_| ProposeError::Stopping)?
    }

    /// The same from a thread that may block.
    pub fn propose_blocking(&self, action: Action) -> Result<Applied, ProposeError> {
        let (reply, answer) = oneshot::channel();
        let sent = self
            .queue
            .blocking_send(Message::Propose(Proposal { action, reply }));
        sent.map_err(|_| ProposeError::Stopping)?;
        answer.blocking_recv().map_err(|_| ProposeError::Stopping)?
    }

    /// Looks at the catalog. `look` runs under a read lock, so it must be short and must not block.
    pub fn view<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(
            &self
                .shared
                .catalog
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Tells the index of the last command applied, now and whenever it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// What the disk said when it failed; from then on nothing is applied any more.
    #[must_use]
    pub fn failed(&self) -> Option<Arc<str>> {
        self.shared
            .failed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What the thread owns.
struct Loop<C> {
    shared: Arc<Shared>,
    log: Log,
    client: Uuid,
    number: u64,
    clock: C,
}

impl<C: Fn() -> Micros> Loop<C> {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        let mut stopping = false;
        while !stopping {
            let Some(first) = messages.blocking_recv() else {
                break;
            };
            stopping = take(first, &mut batch);
            // Whatever queued while the last sync ran shares the next one.
            while !stopping
                && batch.len() < COMMANDS_WAITING_MAX
                && let Ok(next) = messages.try_recv()
            {
                stopping = take(next, &mut batch);
            }
            self.commit(&mut batch);
        }
        messages.close();
        self.leave_snapshot();
    }

    /// Puts a batch on disk, applies it, answers it.
    fn commit(&mut self, batch: &mut Vec<Proposal>) {
        let (commands, replies): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|proposal| (self.number(proposal.action), proposal.reply))
            .unzip();
        if commands.is_empty() {
            return;
        }
        if let Err(error) = self.append(&commands) {
            replies
                .into_iter()
                .for_each(|reply| answer(reply, Err(error.clone())));
            return;
        }
        let results = self.apply(&commands);
        for (reply, result) in replies.into_iter().zip(results) {
            answer(reply, result.map_err(ProposeError::Refused));
        }
        if self.log.wants_roll() {
            self.roll();
        }
    }

    fn number(&mut self, action: Action) -> Command {
        self.number += 1;
        Command {
            client: self.client,
            number: self.number,
            time: (self.clock)(),
            action,
        }
    }

    fn append(&mut self, commands: &[Command]) -> Result<(), ProposeError> {
        if let Some(why) = self.failed() {
            return Err(ProposeError::Failed { why });
        }
        match self.log.append(commands, (self.clock)()) {
            Ok(()) => Ok(()),
            Err(LogError::Full) => Err(ProposeError::Full),
            Err(LogError::Failed(why)) => Err(ProposeError::Failed {
                why: self.fail(&why),
            }),
        }
    }

    fn apply(&self, commands: &[Command]) -> Vec<Result<Applied, Refused>> {
        let mut catalog = self
            .shared
            .catalog
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let apply = |command| {
            let index = catalog.applied() + 1;
            catalog.apply(index, command)
        };
        let results = commands.iter().map(apply).collect();
        let applied = catalog.applied();
        drop(catalog);
        self.shared.applied.send_replace(applied);
        results
    }

    /// Replaces the log by a snapshot. Without room the log grows on and this is tried again later.
    fn roll(&mut self) {
        let catalog = self
            .shared
            .catalog
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let rolled = self.log.roll(&catalog, (self.clock)());
        drop(catalog);
        match rolled {
            Ok(()) => {}
            Err(LogError::Full) => tracing::warn!(event = "manager_roll_without_room"),
            Err(LogError::Failed(why)) => {
                self.fail(&why);
            }
        }
    }

    fn leave_snapshot(&mut self) {
        if self.failed().is_none() && self.log.worth_a_snapshot() {
            self.roll();
        }
    }

    fn failed(&self) -> Option<Arc<str>> {
        self.shared
            .failed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A disk that failed once is not trusted again before a restart has read it anew.
    fn fail(&self, why: &io::Error) -> Arc<str> {
        let why: Arc<str> = why.to_string().into();
        tracing::error!(event = "manager_failed", why = &*why);
        let mut failed = self
            .shared
            .failed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *failed = Some(Arc::clone(&why));
        why
    }
}

/// Whether the message asks to stop; a proposal joins the batch.
fn take(message: Message, batch: &mut Vec<Proposal>) -> bool {
    match message {
        Message::Propose(proposal) => {
            batch.push(proposal);
            false
        }
        Message::Stop => true,
    }
}

/// An asker that has gone away does not want its answer.
fn answer(
    reply: oneshot::Sender<Result<Applied, ProposeError>>,
    result: Result<Applied, ProposeError>,
) {
    let _ = reply.send(result);
}
