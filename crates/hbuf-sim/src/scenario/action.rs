//! What a scenario, a seed or a hand can make happen, typed and as text.

use std::collections::BTreeMap;
use std::fmt;

use crate::swarm::{Opt, Unit};

/// Which node is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeRef {
    /// The one of this name: `n1`, or that of a clone.
    Named(String),
    /// Whoever is primary of this buffer at that time: `primary of b1`.
    PrimaryOf(String),
    /// The copy of this buffer with the lowest number that is not its primary: `replica of b1`.
    ReplicaOf(String),
}

impl NodeRef {
    /// The node of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::PrimaryOf(buffer) => write!(f, "primary of {buffer}"),
            Self::ReplicaOf(buffer) => write!(f, "replica of {buffer}"),
        }
    }
}

/// Somebody at the end of a link: a node or a client (`c1`).
pub type EndRef = NodeRef;

/// Makes an enum of words: each variant has the one that texts use.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(super) use words;

words! {
    /// What happens to the disk of a node.
    DiskFault {
        /// The next sync fails, and what it should have kept may be gone.
        SyncFails = "sync-fails",
        /// There is no room.
        Full = "full",
        /// There is room again.
        Room = "room",
        /// A durable byte changes by itself.
        Rots = "rots",
        /// The next loss of power loses all that is not synced; otherwise chance decides.
        LosesUnsynced = "loses-unsynced",
        /// The next loss of power keeps only a part of the last write.
        Tears = "tears",
        /// Syncs are as fast as before.
        Fast = "fast",
    }
}

words! {
    /// The state that an operator asks for.
    StateWord {
        /// It takes appends.
        Open = "open",
        /// Nothing on disk changes.
        Paused = "paused",
        /// It takes no more appends.
        Closed = "closed",
    }
}

words! {
    /// Which program a node runs when it starts next.
    Version {
        /// This one.
        Current = "current",
        /// The one before.
        Previous = "previous",
    }
}

words! {
    /// How a rebalance chooses places.
    Placement {
        /// Fewest bytes moved.
        Fewest = "fewest-bytes",
        /// Load spread evenly.
        Load = "even-load",
        /// Bytes spread evenly.
        Bytes = "even-bytes",
    }
}

words! {
    /// What a client asks for.
    Verb {
        /// Appends a message, or a batch.
        Append = "append",
        /// Reads messages.
        Read = "read",
        /// Reads the tail, linearizably.
        Tail = "tail",
        /// Reads the newest message of a key.
        Get = "get",
        /// Writes a tombstone for a key.
        Delete = "delete",
        /// Takes a lock, named by a key.
        Lock = "lock",
        /// Gives it back.
        Unlock = "unlock",
        /// Reads a topic.
        ReadTopic = "read-topic",
        /// Takes messages of a consumer.
        Next = "next",
        /// Acknowledges what it took.
        Ack = "ack",
        /// Gives it back.
        Nack = "nack",
    }
}

words! {
    /// What a request says besides whom it is for.
    Field {
        /// The message's key, the lock's name.
        Key = "key",
        /// A tag of the message.
        Tag = "tag",
        /// Only if the log ends with this seq.
        IfMatch = "if-match",
        /// The idempotency key.
        Idem = "idem",
        /// The producer's name: its numbers count up by themselves.
        Producer = "producer",
        /// Messages in the batch.
        Batch = "batch",
        /// Bytes of each body, if no text is given.
        Bytes = "bytes",
        /// The node that is asked; otherwise the client knows whom to ask.
        To = "to",
        /// Behind this seq.
        After = "after",
        /// So many at most.
        Limit = "limit",
        /// The consumer's name.
        Consumer = "consumer",
        /// `on`: the client asks again until it knows the outcome.
        Retry = "retry",
        /// The lock that the append relies on: its token, as far as the client knows, is the
        /// epoch of the producer of that name.
        Token = "token",
        /// How long a lock is respected that its holder does not take again.
        Lease = "lease",
    }
}

impl Verb {
    /// What a request of this verb can say.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        use Field::{
            After, Batch, Bytes, Consumer, Idem, IfMatch, Key, Lease, Limit, Producer, Retry, Tag,
            To, Token,
        };
        match self {
            Self::Append => &[
                Key, Tag, IfMatch, Idem, Producer, Batch, Bytes, To, Retry, Token,
            ],
            Self::Read => &[After, Limit, To],
            Self::ReadTopic => &[After, Limit, Tag, To],
            Self::Tail => &[To],
            Self::Get => &[Key, To],
            Self::Delete => &[Key, IfMatch, Idem, To, Retry],
            Self::Lock => &[Key, To, Retry, Lease],
            Self::Unlock => &[Key, To, Retry],
            Self::Next => &[Consumer, Limit, To],
            Self::Ack | Self::Nack => &[Consumer, To],
        }
    }

    /// Whether it carries a text.
    #[must_use]
    pub const fn takes_text(self) -> bool {
        matches!(self, Self::Append)
    }
}

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask {
    /// Who asks.
    pub client: String,
    /// For what.
    pub verb: Verb,
    /// Of which buffer or topic.
    pub target: String,
    /// The body.
    pub text: Option<String>,
    /// Everything else. Numbers were checked when it was read.
    pub with: BTreeMap<Field, String>,
}

impl Ask {
    /// A field that is a number.
    #[must_use]
    pub fn number(&self, field: Field) -> Option<u64> {
        self.with.get(&field)?.parse().ok()
    }
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "fields are named for what they are; units are in the variants"
)]
pub enum Action {
    /// The node loses power: what is not synced may be lost.
    Crash(NodeRef),
    /// The process is killed: the page cache stays.
    Kill(NodeRef),
    /// The process ends in order.
    Stop(NodeRef),
    /// The process starts; one that runs goes on.
    Start(NodeRef),
    /// All processes that are down start.
    StartAll,
    /// The process stands still, for so many microseconds or until it is resumed.
    Pause { node: NodeRef, last: Option<u64> },
    /// It goes on.
    Resume(NodeRef),
    /// The node loses its disk and keeps its name; when it runs, it loses power first.
    Reformat(NodeRef),
    /// The disk as it is now is started a second time, as a node of another name.
    Clone { node: NodeRef, name: String },
    /// The disk as it is now is kept under a name.
    Snapshot { node: NodeRef, name: String },
    /// The node starts next with a disk that was kept.
    Restore { node: NodeRef, name: String },
    /// The node runs this program from its next start on.
    Version { node: NodeRef, version: Version },
    /// An operator allows what the next cluster version brings.
    Raise,
    /// Groups that do not reach each other; who is in none reaches all.
    Partition(Vec<Vec<EndRef>>),
    /// Nothing gets through in this direction.
    Cut { from: EndRef, to: EndRef },
    /// Nobody reaches it, nor does it reach anybody.
    Isolate(EndRef),
    /// All partitions end, and whatever single links do.
    Heal,
    /// The link stands still for so many microseconds.
    Clog { from: EndRef, to: EndRef, last: u64 },
    /// The link carries so many bytes a second.
    Slow {
        from: EndRef,
        to: EndRef,
        bytes: u64,
    },
    /// The connection dies with all that is under way on it.
    Reset { one: EndRef, other: EndRef },
    /// Options of all links change.
    Net(Vec<(Opt, u64)>),
    /// Something happens to a disk.
    Disk { node: NodeRef, fault: DiskFault },
    /// Each sync takes so many microseconds longer.
    SlowDisk { node: NodeRef, by: u64 },
    /// The time of day jumps, in microseconds.
    Jump { node: NodeRef, by: i64 },
    /// The clocks run at another rate, in ppm, at most half of it.
    Drift { node: NodeRef, ppm: i32 },
    /// The copies of a buffer go to these nodes.
    Move { buffer: String, to: Vec<NodeRef> },
    /// Another copy becomes the primary, in order.
    HandOver { buffer: String, to: NodeRef },
    /// All copies leave a node.
    Drain(NodeRef),
    /// It may hold copies again.
    Undrain(NodeRef),
    /// An operator asks for places anew.
    Rebalance(Placement),
    /// If nobody can lead a buffer, the copy that has come furthest does, whatever is lost.
    Elect(String),
    /// This copy becomes the primary, whatever is lost: a new history.
    Force { buffer: String, node: NodeRef },
    /// A buffer is created, with so many copies.
    Create { buffer: String, copies: u64 },
    /// A topic of these buffers.
    Topic { topic: String, buffers: Vec<String> },
    /// A buffer's state is changed.
    State { buffer: String, state: StateWord },
    /// A client asks for something.
    Client(Ask),
}

/// As a scenario has it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node) => write!(f, "crash {node}"),
            Self::Kill(node) => write!(f, "kill {node}"),
            Self::Stop(node) => write!(f, "stop {node}"),
            Self::Start(node) => write!(f, "start {node}"),
            Self::StartAll => f.write_str("start all"),
            Self::Pause { node, last: None } => write!(f, "pause {node}"),
            Self::Pause {
                node,
                last: Some(last),
            } => write!(f, "pause {node} for {}", time(*last)),
            Self::Resume(node) => write!(f, "resume {node}"),
            Self::Reformat(node) => write!(f, "reformat {node}"),
            Self::Clone { node, name } => write!(f, "clone {node} as {name}"),
            Self::Snapshot { node, name } => write!(f, "snapshot {node} as {name}"),
            Self::Restore { node, name } => write!(f, "restore {node} from {name}"),
            Self::Raise => f.write_str("raise"),
            Self::Version { node, version } => write!(f, "version {node} {version}"),
            Self::Disk { node, fault } => write!(f, "disk {node} {fault}"),
            Self::SlowDisk { node, by } => write!(f, "disk {node} slow {}", time(*by)),
            Self::Jump { node, by } => write!(f, "clock {node} jump {}", signed(*by)),
            Self::Drift { node, ppm } => write!(f, "clock {node} drift {ppm:+}ppm"),
            Self::Client(ask) => write!(f, "{ask}"),
            Self::Partition(_)
            | Self::Cut { .. }
            | Self::Isolate(_)
            | Self::Heal
            | Self::Clog { .. }
            | Self::Slow { .. }
            | Self::Reset { .. }
            | Self::Net(_) => self.show_net(f),
            _ => self.show_operator(f),
        }
    }
}

impl Action {
    fn show_net(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(groups) => {
                let groups: Vec<String> = groups.iter().map(|group| spaced(group)).collect();
                write!(f, "partition {}", groups.join(" | "))
            }
            Self::Cut { from, to } => write!(f, "cut {from} -> {to}"),
            Self::Isolate(end) => write!(f, "isolate {end}"),
            Self::Clog { from, to, last } => write!(f, "clog {from} -> {to} for {}", time(*last)),
            Self::Slow { from, to, bytes } => {
                write!(f, "slow {from} -> {to} {}", Unit::Bytes.show(*bytes))
            }
            Self::Reset { one, other } => write!(f, "reset {one} {other}"),
            Self::Net(options) => {
                f.write_str("net")?;
                options.iter().try_for_each(|(opt, value)| {
                    write!(f, " {}={}", opt.name(), opt.unit().show(*value))
                })
            }
            _ => f.write_str("heal"),
        }
    }

    fn show_operator(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move { buffer, to } => write!(f, "move {buffer} to {}", spaced(to)),
            Self::HandOver { buffer, to } => write!(f, "hand-over {buffer} to {to}"),
            Self::Drain(node) => write!(f, "drain {node}"),
            Self::Undrain(node) => write!(f, "undrain {node}"),
            Self::Rebalance(placement) => write!(f, "rebalance {placement}"),
            Self::Elect(buffer) => write!(f, "elect {buffer} accepting-loss"),
            Self::Force { buffer, node } => write!(f, "force {buffer} to {node}"),
            Self::Create { buffer, copies } => write!(f, "create {buffer} copies {copies}"),
            Self::Topic { topic, buffers } => write!(f, "topic {topic} of {}", spaced(buffers)),
            Self::State { buffer, state } => write!(f, "state {buffer} {state}"),
            other => unreachable!("{other:?} is shown above"),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} {} {}", self.client, self.verb, self.target)?;
        if let Some(text) = &self.text {
            write!(f, " {}", quoted(text))?;
        }
        for (field, value) in &self.with {
            write!(f, " {field}={}", plain_or_quoted(value))?;
        }
        Ok(())
    }
}

pub(crate) fn time(micros: u64) -> String {
    // `off` is for options; a time of nothing is written as a number.
    match micros {
        0 => "0".to_owned(),
        micros => Unit::Micros.show(micros).to_string(),
    }
}

fn signed(micros: i64) -> String {
    let sign = if micros < 0 { '-' } else { '+' };
    format!("{sign}{}", time(micros.unsigned_abs()))
}

fn spaced<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(" ")
}

/// In quotes, with `\"`, `\\` and `\n`.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

fn plain_or_quoted(value: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_.*/%:".contains(it);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        quoted(value)
    }
}
