//! A shard's host: the only caller of its state machine.
//!
//! Inputs wait in a mailbox; whoever posts one tries to become the runner and then works for all
//! who posted meanwhile. So a single append needs no other thread until the disk, nobody ever waits
//! for the lock of a busy shard, and busy shards get their inputs in batches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use hbuf_core::append::{AppendRefused, AppendRequest, Appended};
use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall, ConsumerTask, Opening};
use hbuf_core::effect::{Effect, Effects, Write, WriteBytes};
use hbuf_core::ids::{Hash, Micros, Seq, Uuid};
use hbuf_core::input::{BufferState, DiskHealth, Input, Token};
use hbuf_core::record::Kind;
use hbuf_core::rules::Rules;
use hbuf_core::segment::LogKind;
use hbuf_core::shard::Shard;
use hbuf_core::stream::StreamSeen;
use tokio::sync::{Notify, mpsc, oneshot};

use super::append::Content;
use super::buffer::Buffer;
use super::consumer_hand_out::returned;
use super::counters::Counters;
use crate::clock;
use crate::disk::committer::{Chunk, Committer};
use crate::disk::keeper::{Job, Keeper};
use crate::read::SegmentAt;

/// The good end of an append, with the ids that the caller asked for.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) appended: Appended,
    pub(crate) ids: Vec<Hash>,
}

/// An append with its contents, on its way to the shard.
#[derive(Debug)]
pub(crate) struct AppendMail {
    pub(crate) buffer: Uuid,
    pub(crate) request: AppendRequest,
    pub(crate) contents: Vec<Content>,
    pub(crate) ids: bool,
    pub(crate) reply: oneshot::Sender<Result<Placed, AppendRefused>>,
}

/// What waits in a mailbox.
#[derive(Debug)]
pub(crate) enum Mail {
    Append(AppendMail),
    Open(Box<Opening>, Arc<Buffer>),
    SetState(Uuid, BufferState, u64, oneshot::Sender<BufferState>),
    StreamUsed(Uuid, oneshot::Sender<StreamUsed>),
    CloseTime(Uuid, oneshot::Sender<Option<Micros>>),
    Consumer {
        buffer: Uuid,
        consumer: Uuid,
        token: Token,
        call: ConsumerCall,
        reply: Option<oneshot::Sender<ConsumerAnswer>>,
    },
    Evict(Uuid),
    Remove(Uuid),
    Input(Input),
}

/// What a reader of a stream finds.
#[derive(Debug)]
pub(crate) struct StreamUsed {
    pub(crate) seen: StreamSeen,
    /// The use should be put on record.
    pub(crate) due: bool,
}

#[derive(Debug)]
enum Waiter {
    Append(oneshot::Sender<Result<Placed, AppendRefused>>, Vec<Hash>),
    Stream(oneshot::Sender<StreamUsed>),
    State(oneshot::Sender<BufferState>),
    Time(oneshot::Sender<Option<Micros>>),
    Consumer(oneshot::Sender<ConsumerAnswer>),
}

/// The shard and what belongs to it, behind the runner's lock.
#[derive(Debug)]
struct Core {
    shard: Shard,
    buffers: HashMap<Uuid, Arc<Buffer>>,
    waiters: HashMap<Token, Waiter>,
    next_token: u64,
    effects: Effects,
    chunks: Vec<Chunk>,
}

/// One shard with its mailbox.
#[derive(Debug)]
pub(crate) struct ShardHost {
    mailbox: Mutex<Vec<Mail>>,
    core: Mutex<Core>,
    committer: Arc<Committer>,
    keeper: Arc<Keeper>,
    counters: Arc<Counters>,
    /// What consumers want of the shell. At most one look and the dead letters of each are here.
    wanted: mpsc::UnboundedSender<Wanted>,
    take: Mutex<Option<mpsc::UnboundedReceiver<Wanted>>>,
    /// When consumers have something to do next.
    due: AtomicU64,
    due_bell: Arc<Notify>,
}

/// A consumer of a buffer wants something of the shell.
pub(crate) type Wanted = (Uuid, Uuid, ConsumerTask);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShardHost {
    pub(crate) fn new(
        committer: Arc<Committer>,
        keeper: Arc<Keeper>,
        counters: Arc<Counters>,
    ) -> Self {
        let core = Core {
            shard: Shard::new(Rules::correct()),
            buffers: HashMap::new(),
            waiters: HashMap::new(),
            next_token: 0,
            effects: Effects::new(),
            chunks: Vec::new(),
        };
        let (wanted, take) = mpsc::unbounded_channel();
        Self {
            mailbox: Mutex::default(),
            core: Mutex::new(core),
            committer,
            keeper,
            counters,
            wanted,
            take: Mutex::new(Some(take)),
            due: AtomicU64::new(u64::MAX),
            due_bell: Arc::default(),
        }
    }

    /// What consumers want of the shell; asked for once.
    pub(crate) fn consumer_tasks(&self) -> mpsc::UnboundedReceiver<Wanted> {
        lock(&self.take).take().expect("it is asked for once")
    }

    /// When consumers have something to do next, and what rings when that comes earlier.
    pub(crate) fn consumers_due(&self) -> (Micros, Arc<Notify>) {
        let due = Micros(self.due.load(Ordering::Relaxed));
        (due, Arc::clone(&self.due_bell))
    }

    fn note_due(&self, core: &Core) {
        let due = core.shard.next_due().map_or(u64::MAX, |due| due.0);
        if due < self.due.swap(due, Ordering::Relaxed) {
            self.due_bell.notify_one();
        }
    }

    /// Posts one input.
    pub(crate) fn post(&self, mail: Mail) {
        lock(&self.mailbox).push(mail);
        self.run();
    }

    /// Posts several inputs at once.
    pub(crate) fn post_all(&self, mails: impl IntoIterator<Item = Mail>) {
        lock(&self.mailbox).extend(mails);
        self.run();
    }

    /// How the shard was told that the disk is.
    pub(crate) fn disk(&self) -> DiskHealth {
        lock(&self.core).shard.disk()
    }

    /// Looks at a buffer's state machine.
    pub(crate) fn look<T>(
        &self,
        buffer: &Uuid,
        look: impl FnOnce(&hbuf_core::buffer::Buffer) -> T,
    ) -> Option<T> {
        lock(&self.core).shard.buffer(buffer).map(look)
    }

    /// Works until the mailbox is empty, unless another thread does so already: that one looks
    /// again after it gave the lock back, so no mail is left behind.
    fn run(&self) {
        loop {
            let mut core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.drain(&mut core);
            drop(core);
            if lock(&self.mailbox).is_empty() {
                return;
            }
        }
    }

    fn drain(&self, core: &mut Core) {
        loop {
            let mails = std::mem::take(&mut *lock(&self.mailbox));
            if mails.is_empty() {
                return;
            }
            for mail in mails {
                self.handle(core, mail);
            }
            self.committer.push(&mut core.chunks);
            self.note_due(core);
        }
    }

    fn handle(&self, core: &mut Core, mail: Mail) {
        let now = clock::now();
        match mail {
            Mail::Append(mail) => self.append(core, mail),
            Mail::Open(opening, buffer) => {
                core.buffers.insert(buffer.uuid(), buffer);
                core.shard
                    .handle(now, Input::Open(opening), &mut core.effects);
                self.perform(core, None);
            }
            Mail::SetState(buffer, state, journal, reply) => {
                let token = core.token(Waiter::State(reply));
                let input = Input::SetState {
                    buffer,
                    token,
                    state,
                    journal,
                };
                core.shard.handle(now, input, &mut core.effects);
                self.perform(core, None);
            }
            Mail::StreamUsed(buffer, reply) => {
                let token = core.token(Waiter::Stream(reply));
                self.input(core, now, Input::StreamUsed { buffer, token });
            }
            Mail::CloseTime(buffer, reply) => {
                let token = core.token(Waiter::Time(reply));
                self.input(core, now, Input::CloseTime { buffer, token });
            }
            Mail::Consumer {
                buffer,
                consumer,
                token,
                call,
                reply,
            } => {
                let waiter = reply.map(|reply| (token, Waiter::Consumer(reply)));
                core.waiters.extend(waiter);
                self.input(
                    core,
                    now,
                    Input::Consumer {
                        buffer,
                        consumer,
                        token,
                        call,
                    },
                );
            }
            Mail::Evict(buffer) => {
                core.shard
                    .handle(now, Input::Evict { buffer }, &mut core.effects);
                if core.shard.buffer(&buffer).is_none() {
                    core.buffers.remove(&buffer);
                }
            }
            Mail::Remove(buffer) => {
                core.shard
                    .handle(now, Input::Remove { buffer }, &mut core.effects);
                self.perform(core, None);
                core.buffers.remove(&buffer);
            }
            Mail::Input(input) => self.input(core, now, input),
        }
    }

    fn input(&self, core: &mut Core, now: Micros, input: Input) {
        core.shard.handle(now, input, &mut core.effects);
        self.perform(core, None);
    }

    fn append(&self, core: &mut Core, mail: AppendMail) {
        let AppendMail {
            buffer,
            request,
            contents,
            ids,
            reply,
        } = mail;
        let token = core.token(Waiter::Append(reply, Vec::new()));
        let input = Input::Append {
            buffer,
            token,
            request,
        };
        core.shard.handle(clock::now(), input, &mut core.effects);
        self.perform(
            core,
            Some(Framing {
                token,
                contents,
                ids,
            }),
        );
    }

    /// Performs the effects of one input in order.
    fn perform(&self, core: &mut Core, mut framing: Option<Framing>) {
        let mut effects = std::mem::take(&mut core.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Write(write) => {
                    let framing = framing.take().expect("only an append writes messages");
                    self.write(core, write, framing);
                }
                Effect::WriteBytes(write) => self.write_bytes(core, write),
                Effect::Reply { token, outcome } => self.reply(core, token, outcome),
                Effect::Committed {
                    buffer,
                    commit,
                    file,
                    offset,
                } => {
                    if let Some(buffer) = core.buffers.get(&buffer) {
                        buffer.readable().committed(commit, file, offset);
                    }
                }
                Effect::WriteMark {
                    mark,
                    tables,
                    cause,
                } => {
                    self.keep(core, mark.buffer, |buffer| Job::Mark {
                        buffer,
                        mark,
                        tables,
                        cause,
                    });
                }
                Effect::DropSegments { buffer, keep_from } => {
                    self.keep(core, buffer, |buffer| {
                        buffer.readable().dropped(keep_from);
                        Job::Drop { buffer, keep_from }
                    });
                }
                Effect::DropCursors { buffer, keep_from } => {
                    let job = |buffer| Job::DropCursors { buffer, keep_from };
                    self.keep(core, buffer, job);
                }
                Effect::Consumer {
                    buffer,
                    consumer,
                    task,
                } => self.consumer(core, buffer, consumer, task),
                Effect::StateReached { token, state } => {
                    core.answer(token, |waiter| waiter.state(state));
                }
                Effect::StreamUsed { token, seen, due } => {
                    core.answer(token, |waiter| waiter.stream(StreamUsed { seen, due }));
                }
                Effect::TimeClosed { token, closed } => {
                    core.answer(token, |waiter| waiter.time(closed));
                }
                Effect::Replication { .. } | Effect::Tail { .. } => {
                    unreachable!("every buffer has one copy, and this node is its primary")
                }
                Effect::Reopen {
                    buffer,
                    durable: _,
                    file,
                    offset,
                } => self.reopen(core, buffer, file, offset),
            }
        }
        core.effects = effects;
    }

    /// Lets a buffer go whose writes failed: it is cut back and opened again.
    fn reopen(&self, core: &mut Core, buffer: Uuid, file: Seq, offset: u64) {
        if let Some(buffer) = core.buffers.remove(&buffer) {
            self.keeper.push(Job::Reopen {
                buffer,
                file,
                offset,
            });
        }
    }

    /// Gives the keeper work on a buffer that is here.
    fn keep(&self, core: &Core, buffer: Uuid, job: impl FnOnce(Arc<Buffer>) -> Job) {
        if let Some(buffer) = core.buffers.get(&buffer) {
            self.keeper.push(job(Arc::clone(buffer)));
        }
    }

    /// Answers a worker, or lets the shell work for a consumer. What is handed out to somebody who
    /// went away goes back.
    fn consumer(&self, core: &mut Core, buffer: Uuid, consumer: Uuid, task: ConsumerTask) {
        let ConsumerTask::Answer { token, answer } = task else {
            // Without a receiver the engine is stopping.
            let _ = self.wanted.send((buffer, consumer, task));
            return;
        };
        if let ConsumerAnswer::Given(given) = &answer {
            let again = given.iter().filter(|one| one.deliveries > 1).count();
            Counters::add(&self.counters.consumer_deliveries, given.len() as u64);
            Counters::add(&self.counters.consumer_redeliveries, again as u64);
        }
        let Some(Waiter::Consumer(reply)) = core.waiters.remove(&token) else {
            return;
        };
        if let Err(ConsumerAnswer::Given(given)) = reply.send(answer)
            && let Some(call) = returned(&given)
        {
            lock(&self.mailbox).push(Mail::Consumer {
                buffer,
                consumer,
                token: Token(0),
                call,
                reply: None,
            });
        }
    }

    /// Frames the messages of one append and queues them for the disk.
    fn write(&self, core: &mut Core, write: Write, framing: Framing) {
        let Some(buffer) = core.buffers.get(&write.buffer) else {
            return;
        };
        Counters::add(&self.counters.appends, 1);
        Counters::add(&self.counters.messages, write.placed.len() as u64);
        let head_len = write.head.as_ref().map_or(0, |head| head.len());
        let records = usize::try_from(write.bytes).expect("an append fits memory");
        let mut bytes = Vec::with_capacity(head_len + records);
        if let Some(head) = &write.head {
            Counters::add(&self.counters.rolls, u64::from(write.first.0 > 1));
            bytes.extend_from_slice(head);
            buffer.readable().rolled(SegmentAt {
                first: write.file,
                bytes: head_len as u64,
            });
        }
        if write
            .facts
            .as_ref()
            .is_some_and(|facts| facts.kind != Kind::Data)
        {
            buffer.readable().holds_controls();
        }
        let contents = framing.contents.iter().map(Content::parts);
        write.encode(contents, &mut bytes);
        assert_eq!(
            bytes.len(),
            head_len + records,
            "the core knows every length"
        );
        if framing.ids
            && let Some(Waiter::Append(_, ids)) = core.waiters.get_mut(&framing.token)
        {
            ids.extend(write.placed.iter().map(|placed| placed.id));
        }
        let bytes = Bytes::from(bytes);
        buffer
            .readable()
            .framed(write.first, write.last(), bytes.slice(head_len..));
        core.chunks.push(Chunk {
            buffer: Arc::clone(buffer),
            log: LogKind::Messages,
            file: write.file,
            offset: if head_len > 0 { 0 } else { write.offset },
            bytes,
            through: write.last(),
        });
    }

    fn write_bytes(&self, core: &mut Core, write: WriteBytes) {
        let Some(buffer) = core.buffers.get(&write.buffer) else {
            return;
        };
        if write.log == LogKind::Messages && write.offset == 0 {
            Counters::add(&self.counters.rolls, 1);
            let bytes = write.bytes.len() as u64;
            buffer.readable().rolled(SegmentAt {
                first: write.file,
                bytes,
            });
        }
        core.chunks.push(Chunk {
            buffer: Arc::clone(buffer),
            log: write.log,
            file: write.file,
            offset: write.offset,
            bytes: Bytes::from(write.bytes.into_vec()),
            through: write.through,
        });
    }

    fn reply(&self, core: &mut Core, token: Token, outcome: Result<Appended, AppendRefused>) {
        let Some(Waiter::Append(reply, ids)) = core.waiters.remove(&token) else {
            return;
        };
        match &outcome {
            Ok(appended) if appended.replayed => Counters::add(&self.counters.replays, 1),
            Ok(_) => {}
            Err(_) => Counters::add(&self.counters.refusals, 1),
        }
        // A caller that went away loses its answer, never its message.
        let _ = reply.send(outcome.map(|appended| Placed { appended, ids }));
    }
}

/// Whoever went away meanwhile needs no answer.
impl Waiter {
    fn state(self, state: BufferState) {
        if let Self::State(reply) = self {
            let _ = reply.send(state);
        }
    }

    fn stream(self, used: StreamUsed) {
        if let Self::Stream(reply) = self {
            let _ = reply.send(used);
        }
    }

    fn time(self, closed: Option<Micros>) {
        if let Self::Time(reply) = self {
            let _ = reply.send(closed);
        }
    }
}

impl Core {
    fn answer(&mut self, token: Token, answer: impl FnOnce(Waiter)) {
        if let Some(waiter) = self.waiters.remove(&token) {
            answer(waiter);
        }
    }

    fn token(&mut self, waiter: Waiter) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.waiters.insert(token, waiter);
        token
    }
}

/// The contents of the append that is being handled.
struct Framing {
    token: Token,
    contents: Vec<Content>,
    ids: bool,
}
