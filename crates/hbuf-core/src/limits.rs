//! Every bound of hbuf, in one file, with the relations between them.
//!
//! Sizes are in bytes unless a name says otherwise. Each bound has a test at the limit.

/// Longest body of one message: 64 MiB.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
/// Longest block of user header lines of one message, CRLFs included.
pub const HEADERS_BYTES_MAX: u64 = 64 << 10;
/// Most user header lines of one message.
pub const HEADER_LINES_MAX: usize = 80;
/// Headers that the URL of an append may name to be kept.
pub const KEEP_NAMES_MAX: usize = 16;
/// Longest `x-hbuf-key`, as percent-encoded.
pub const KEY_BYTES_MAX: usize = 1 << 10;
/// Longest single tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Most tags of one message.
pub const TAGS_MAX: usize = 64;
/// Longest name of a tenant, buffer or topic.
pub const NAME_BYTES_MAX: usize = 200;
/// Longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Longest content type of a stream.
pub const STREAM_TYPE_BYTES_MAX: usize = 256;
/// Longest `Stream-Seq`.
pub const STREAM_SEQ_BYTES_MAX: usize = 256;
/// Highest epoch or number of a stream's producer: what JavaScript counts exactly.
pub const STREAM_PRODUCER_MAX: u64 = (1 << 53) - 1;
/// Longest producer id in `x-hbuf-producer`.
pub const PRODUCER_ID_BYTES_MAX: usize = 128;

/// Most messages of one batch. `r` has four hex digits, so 65,536 would be the format's own end.
pub const BATCH_MESSAGES_MAX: usize = 10_000;
/// Most messages of one append to a stream: beside them stands the record of its closing.
pub const STREAM_MESSAGES_MAX: usize = BATCH_MESSAGES_MAX - 1;
/// Longest body of one batch request.
pub const BATCH_BYTES_MAX: u64 = 128 << 20;
/// Members of the JSON of one CloudEvent, unset ones included.
pub const EVENT_MEMBERS_MAX: usize = 128;
/// Longest head that hbuf itself writes around the user's header lines (line, facts, salt, id).
pub const HEAD_OVERHEAD_BYTES_MAX: u64 = 8 << 10;
/// Longest head of a record.
pub const HEAD_BYTES_MAX: u64 = HEADERS_BYTES_MAX + HEAD_OVERHEAD_BYTES_MAX;
/// Longest body of a journal entry: the largest record, framed.
pub const JOURNAL_BODY_BYTES_MAX: u64 = BATCH_BYTES_MAX * 2;

/// Producers that one buffer remembers.
pub const PRODUCERS_MAX: usize = 100_000;
/// Idempotency keys that one buffer remembers.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1_000_000;
/// How long an idempotency key is remembered: 24 h, in microseconds.
pub const IDEMPOTENCY_MICROS_MAX: u64 = 24 * 3600 * 1_000_000;
/// Appends of one buffer that may wait for their sync.
pub const PENDING_APPENDS_MAX: usize = 65_536;

/// Records that one message to a copy names at most; they are sent in as many pieces as fit.
pub const COPY_RECORDS_MAX: u64 = 10_000;
/// Old records that one message to a copy which began near the tail names at most.
pub const FILL_RECORDS_MAX: u64 = 1_000;
/// Bytes a second of old records that a node sends to such copies unless it is set otherwise.
pub const FILL_BYTES_PER_SECOND: u64 = 32 << 20;
/// A copy that owes an answer for so many microseconds is sent again what it has not answered.
pub const COPY_SILENT_MICROS: u64 = 500_000;
/// A member of the in-sync set that has not held everything for so many microseconds keeps every
/// append waiting: the manager is asked to take it out. Longer than a slow disk's worst sync.
pub const COPY_LAG_MICROS: u64 = 5_000_000;
/// What the manager has not decided after so many microseconds is taken back, and asked anew.
pub const ASK_AGAIN_MICROS: u64 = 1_000_000;
/// Reads of the tail of one buffer that may wait for their round.
pub const TAIL_READS_MAX: usize = 10_000;

/// Most messages of one read.
pub const READ_LIMIT_MAX: u64 = 10_000;
/// Messages of a read that names no limit and is not a raw stream.
pub const READ_LIMIT_DEFAULT: u64 = 1_000;
/// Bytes of JSON at which a batch of CloudEvents that is read ends; one message may exceed it.
pub const EVENTS_READ_BYTES: usize = 4 << 20;
/// Longest long poll, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 60;

/// Bytes of one piece of a streamed range read: fits the second-level cache, where it is copied
/// twice.
pub const PIECE_BYTES: usize = 256 << 10;
/// Bytes of one range of a sealed segment that a connection sends without reading it.
pub const FILE_RANGE_BYTES: usize = 1 << 20;
/// Pieces that wait in memory to be filled again.
pub const SPARE_PIECES_MAX: usize = 16;
/// Range reads of a node that may read one piece ahead at the same time.
pub const READ_AHEAD_MAX: usize = 512;
/// Reads of a node that may be in the file system at the same time.
pub const DISK_READS_MAX: usize = 64;
/// Segment files that readers of a node keep open.
pub const READ_FILES_MAX: usize = 1_024;
/// Memory of a node for the sparse indexes of segments.
pub const INDEX_MEMORY_MAX: usize = 64 << 20;
/// Memory of a node for subtree roots of the proofs.
pub const TREE_MEMORY_MAX: usize = 32 << 20;
/// Records of one buffer that are kept in memory while someone tails it.
pub const TAIL_BYTES_MAX: usize = 4 << 20;
/// The same, over all buffers of a node.
pub const TAIL_TOTAL_BYTES_MAX: usize = 256 << 20;

/// Tags of one stored filter.
pub const FILTER_TAGS_MAX: u32 = 5_000_000;
/// Longest body that uploads a filter: 2 GiB.
pub const FILTER_BYTES_MAX: u64 = 2 << 30;
/// Longest line of such a body: a tag as a JSON string, each byte of it escaped.
pub const FILTER_LINE_BYTES_MAX: usize = 2 << 10;
/// Stored filters of one buffer.
pub const FILTERS_PER_BUFFER_MAX: usize = 10_000;
/// Distinct tags that a buffer's dictionary takes. Messages with others are still found, by reading
/// them; a filter that names others is refused.
pub const DICTIONARY_TAGS_MAX: u32 = 1 << 24;
/// Memory for the tags that a buffer met last.
pub const RECENT_TAGS_BYTES_MAX: usize = 8 << 20;
/// Memory for the texts of a buffer's tags; what is longer is read where it stands.
pub const TAG_TEXT_HELD_MAX: usize = 128 << 20;
/// Memory of a node for dictionaries, filters, and the tags and keys of open segments.
pub const TAG_MEMORY_MAX: usize = 1 << 30;
/// Memory of a node for the directories of tags and keys of sealed segments.
pub const TERMS_MEMORY_MAX: usize = 64 << 20;
/// Memory of a node for which messages of sealed segments stored filters match.
pub const MATCHED_MEMORY_MAX: usize = 32 << 20;
/// Memory of a node for records that were looked at for consumers and are not handed out yet.
pub const LOOKED_MEMORY_MAX: usize = 64 << 20;
/// Memory of a node for which messages are the newest of their keys.
pub const LATEST_MEMORY_MAX: usize = 128 << 20;

/// Consumers that have a cursor in one buffer: its own and those of its topics.
pub const CONSUMERS_PER_BUFFER_MAX: usize = 10_000;
/// Tags that the configuration of a consumer names; more are stored as a filter.
pub const CONSUMER_TAGS_MAX: usize = 1_000;
/// Shortest and longest lease of a message, in milliseconds: a tenth of a second to 12 hours.
pub const CONSUMER_LEASE_MS_MIN: u64 = 100;
/// See [`CONSUMER_LEASE_MS_MIN`].
pub const CONSUMER_LEASE_MS_MAX: u64 = 12 * 3600 * 1_000;
/// The lease unless the consumer says otherwise: 30 seconds.
pub const CONSUMER_LEASE_MS_DEFAULT: u64 = 30_000;
/// Longest delay of a message that a worker gives back, in milliseconds: 7 days.
pub const CONSUMER_DELAY_MS_MAX: u64 = 7 * 86_400 * 1_000;
/// Messages of one buffer that a consumer has found and that are not done; it looks no further.
pub const CONSUMER_WINDOW_MAX: usize = 65_536;
/// Messages for which a consumer looks at once.
pub const CONSUMER_LOOK_MAX: usize = 1_024;
/// Requests for messages of one consumer and buffer that may wait at the same time.
pub const CONSUMER_WAITING_MAX: usize = 1_024;
/// Bytes of records of one buffer that one request for messages is given; a longer one comes alone.
pub const CONSUMER_NEXT_BYTES_MAX: u64 = 8 << 20;
/// Messages that one request settles.
pub const CONSUMER_ACKS_MAX: usize = 10_000;
/// Longest body of such a request: each message with a buffer's name of the longest, and room.
pub const CONSUMER_ACKS_BYTES_MAX: u64 = 4 << 20;
/// Highest number of deliveries that a consumer can ask for; counts stop there too.
pub const CONSUMER_DELIVERIES_MAX: u32 = 1_000_000;
/// Messages of one buffer that a consumer may have leased at the same time.
pub const CONSUMER_IN_FLIGHT_MAX: u32 = 65_536;
/// The same unless the consumer says otherwise.
pub const CONSUMER_IN_FLIGHT_DEFAULT: u32 = 1_000;
/// Longest age at which a message is not handed out again, in milliseconds: 1,000 years.
pub const CONSUMER_EXPIRE_MS_MAX: u64 = RETENTION_SECONDS_MAX * 1_000;
/// Longest time for which an unused consumer is kept, in seconds: 10 years.
pub const CONSUMER_TTL_SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Connections of clients that one node holds; further ones are refused.
pub const CONNECTIONS_MAX: usize = 32_768;
/// Longest head of a request, its target included: the longest block of stored headers and room.
pub const REQUEST_HEAD_BYTES_MAX: usize = 80 << 10;
/// How long a client may take to send the head of a request, in seconds; also how long a connection
/// without a request stays open.
pub const HEAD_SECONDS_MAX: u64 = 30;
/// How long any body may take to arrive, in seconds; a longer one gets time by [`BODY_RATE_MIN`].
pub const BODY_SECONDS_MAX: u64 = 30;
/// Bytes a second at which a body must arrive, at least.
pub const BODY_RATE_MIN: u64 = 64 << 10;
/// How long a client may take nothing of its reply, in seconds.
pub const WRITE_STALL_SECONDS_MAX: u64 = 30;
/// How long the rest of a refused body is taken and thrown away, so that the refusal arrives.
pub const LINGER_SECONDS_MAX: u64 = 5;
/// Bodies up to this many bytes are not counted in [`BODIES_BYTES_MAX`].
pub const BODY_BYTES_UNCOUNTED: u64 = 64 << 10;
/// Bytes of larger bodies that are held over all requests.
pub const BODIES_BYTES_MAX: u64 = 512 << 20;
/// Seconds of silence after which a tail of events sends a comment.
pub const HEARTBEAT_SECONDS: u64 = 15;
/// How long a long poll of a stream waits, in seconds, unless the server says otherwise.
pub const STREAM_WAIT_SECONDS: u64 = 20;
/// How long the server-sent events of a stream go on before the client is to come back, in
/// seconds, so that caches in between can join readers.
pub const STREAM_EVENTS_SECONDS: u64 = 60;
/// Buffers of streams that are opened a second only to learn when they expire.
pub const STREAM_PATROL_MAX: usize = 16;
/// Streams that a client may have open on one connection of HTTP/2.
pub const HTTP2_STREAMS_MAX: u32 = 256;
/// Entries of one page of a list.
pub const LIST_LIMIT_MAX: u64 = 1_000;

/// Smallest and largest size at which a segment rolls.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// See [`SEGMENT_BYTES_MIN`].
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Size at which a segment rolls unless the buffer says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Epochs that a head line's or mark's epoch table holds; the oldest are merged beyond it.
pub const EPOCHS_MAX: usize = 1_024;

/// Journaled bytes of a disk that no mark covers yet; a checkpoint is forced beyond it.
pub const UNMARKED_BYTES_MAX: u64 = 2 << 30;
/// Journaled bytes of a disk that wait in memory for their segments; one batch may exceed it.
pub const UNWRITTEN_BYTES_MAX: u64 = 64 << 20;
/// How long they wait, in microseconds.
pub const UNWRITTEN_MICROS_MAX: u64 = 1_000_000;
/// Buffers of one node.
pub const BUFFERS_MAX: usize = 1_000_000;
/// Topics that one buffer may be in.
pub const TOPICS_PER_BUFFER_MAX: usize = 64;
/// Buffers that one topic may have.
pub const BUFFERS_PER_TOPIC_MAX: usize = 1_024;
/// Buffers whose places one cursor of a topic holds; a topic of more is followed by a consumer.
pub const CURSOR_BUFFERS_MAX: usize = 64;
/// Bytes of records that one read of a topic holds of all its buffers, and as many ahead.
pub const MERGE_BYTES: usize = 4 << 20;
/// Bytes of one buffer's records that a read of a topic asks for at least. A message that is longer
/// than what it asks for is read alone when its turn comes.
pub const MERGE_PAGE_BYTES_MIN: usize = 4 << 10;
/// How long a read in strict order waits for a buffer that is paused or cannot be read, in seconds.
pub const GAP_SECONDS_MAX: u64 = 5;
/// Tags of which a mirror takes the messages.
pub const MIRROR_TAGS_MAX: usize = 1_000;
/// Slots over which the keys of a topic are spread; each belongs to one of its buffers.
pub const TOPIC_SLOTS: usize = 4_096;

/// Copies of one buffer, its primary included.
pub const COPIES_MAX: usize = 8;
/// Ended histories of a buffer that the manager remembers one by one; the oldest are folded into
/// one beyond it. A history ends by an operator's decision to lose messages.
pub const HISTORIES_MAX: usize = 64;
/// Lives that a node's disk remembers: the last one that the manager confirmed, and the tries
/// since. A disk that forgot one that was confirmed without its knowing counts as lost, which is
/// safe.
pub const NODE_LIVES_MAX: usize = 17;
/// Longest address of a node: a host name of 253, or a literal in brackets, and a port.
pub const NODE_ADDRESS_BYTES_MAX: usize = 262;
/// Regions of one cluster, `global` included.
pub const REGIONS_MAX: usize = 16;
/// Steps that one look at what crashes left begins at most.
pub const SWEEP_MAX: usize = 1_000;
/// Buffers of which one command of the manager says what retention has left. A primary of more
/// says it in several.
pub const NOTED_KEPT_MAX: usize = 4_096;
/// Nodes of one cluster, also those that are down.
pub const NODES_MAX: usize = 1_024;
/// How often a node tells the manager's leader that it lives, in microseconds. Four of them fit
/// into a session, so that one that is lost or late means nothing.
pub const NODE_HEARTBEAT_MICROS: u64 = 200_000;
/// How long a session lasts that nothing is heard of, in microseconds. With the moment that the
/// leader takes to look, a node that dies is taken for dead within a second; a shorter one would
/// take a node for dead whose kernel stalls, and a false alarm costs an epoch of every buffer.
pub const NODE_SESSION_MICROS: u64 = 800_000;
/// How long a fenced node must be heard without a gap before it is taken back, at most, in
/// microseconds. It doubles with every time, from one session on.
pub const NODE_PROBATION_MICROS_MAX: u64 = 60_000_000;
/// How long a node must keep its session for its earlier lapses to be forgotten, in microseconds.
pub const NODE_CALM_MICROS: u64 = 120_000_000;
/// How far a node's clock may be from those of the others, in microseconds: 10 seconds.
pub const CLOCK_OFF_MICROS: u64 = 10_000_000;
/// Longest age that a retention rule can name: 1,000 years, in seconds.
pub const RETENTION_SECONDS_MAX: u64 = 1_000 * 366 * 86_400;
/// Clients whose last command the manager remembers, so that a repeated one is not done twice.
pub const COMMAND_CLIENTS_MAX: usize = 1_024;
/// Longest text of one manager command.
pub const COMMAND_BYTES_MAX: usize = 32 << 20;
/// Commands that may wait for the manager's next sync.
pub const COMMANDS_WAITING_MAX: usize = 4_096;
/// Longest body of one record of a manager snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
/// Length at which the manager's log is replaced by a snapshot.
pub const MANAGER_LOG_BYTES_MAX: u64 = 64 << 20;
/// Longest message between voters of the manager, without a snapshot: the longest command and what
/// one append carries besides.
pub const VOTER_MESSAGE_BYTES_MAX: usize = COMMAND_BYTES_MAX + (1 << 20);
/// Longest snapshot of the manager that one voter takes from another.
pub const VOTER_SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Bytes of entries that one append between voters carries, unless one entry alone is longer.
pub const VOTER_APPEND_BYTES: u64 = 64 << 10;
/// Appends that may be on their way to one voter.
pub const VOTER_APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Bytes of entries that the leader takes before they are committed.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of committed entries that are handed out at once.
pub const COMMITTED_BYTES: u64 = 1 << 20;
/// Members of one group of the manager.
pub const MEMBERS_MAX: usize = 64;
/// Reads that may wait for the leader's proof that it still leads.
pub const READS_WAITING_MAX: usize = 4_096;
/// Entries behind a snapshot that the leader keeps for slow members.
pub const TRAILING_ENTRIES: u64 = 4_096;
/// Length at which the file of votes is written anew with its last lines alone.
pub const VOTES_BYTES_MAX: u64 = 64 << 10;

const _: () = assert!(BATCH_MESSAGES_MAX <= 1 << 16);
const _: () = assert!(4 * NODE_HEARTBEAT_MICROS <= NODE_SESSION_MICROS);
const _: () = assert!(NODE_SESSION_MICROS + NODE_HEARTBEAT_MICROS <= 1_000_000);
const _: () = assert!(COMMAND_BYTES_MAX as u64 <= UNCOMMITTED_BYTES_MAX);
const _: () = assert!(VOTER_MESSAGE_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(BUFFERS_PER_TOPIC_MAX <= TOPIC_SLOTS && TOPIC_SLOTS <= 1 << 12);
const _: () = assert!(CONSUMER_IN_FLIGHT_MAX as usize <= CONSUMER_WINDOW_MAX);
const _: () = assert!(BODY_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(BODY_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(JOURNAL_BODY_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(HEAD_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(READ_LIMIT_DEFAULT <= READ_LIMIT_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= BODIES_BYTES_MAX);
const _: () = assert!(HEADERS_BYTES_MAX < REQUEST_HEAD_BYTES_MAX as u64);
const _: () = assert!(FILTER_TAGS_MAX <= DICTIONARY_TAGS_MAX);
const _: () = assert!(6 * TAG_BYTES_MAX + 2 <= FILTER_LINE_BYTES_MAX);
const _: () = assert!(FILTER_TAGS_MAX as u64 * (TAG_BYTES_MAX as u64 + 1) <= FILTER_BYTES_MAX);
