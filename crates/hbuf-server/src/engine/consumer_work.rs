//! What consumers need of the shell: requests and their answers, messages looked up and read, dead
//! letters put away, time that passes. Which message goes to whom is the core's to say.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall, ConsumerRefused, ConsumerTask};
use hbuf_core::consumer::{
    AckMode, Candidate, Config, Given, GivenUp, LeaseId, Settled, Settling, Start,
};
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::input::{Input, Token};
use hbuf_core::limits::{HEADER_LINES_MAX, HEADERS_BYTES_MAX, PIECE_BYTES};
use hbuf_core::record::{Record, State, decode};
use hbuf_core::skim::skim;
use hbuf_manager::Action;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::append::{Append, AppendError, Content};
use super::buffer::Buffer;
use super::consumer_calls::{
    ConsumerError, ConsumerMember, Handed, HandedMessage, NextRequest, Passed, Settle,
};
use super::consumer_catalog::ConsumerInfo;
use super::counters::Counters;
use super::host::Mail;
use super::open::LookupError;
use super::{Engine, Inner, lock};
use crate::clock;
use crate::read::{Bounds, Pick, ReadError, Readable};

/// When consumers were used last, for those that are deleted when nobody does.
pub(super) type Used = Mutex<HashMap<Uuid, Micros>>;

/// A request that stands in a consumer's queue; whoever drops it takes it out again.
struct Asked {
    buffer: Arc<Buffer>,
    consumer: Uuid,
    token: Token,
    answer: oneshot::Receiver<ConsumerAnswer>,
    /// It waits in the queue.
    waits: bool,
}

impl Asked {
    /// Asks for what there is, instead of waiting on.
    fn stop(&self) {
        let next = self.token;
        let call = ConsumerCall::Stop { next };
        self.buffer.tell_consumer(self.consumer, call);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // What is handed out into nothing goes back by itself.
        if self.waits {
            self.stop();
        }
    }
}

impl Buffer {
    fn ask_consumer(self: &Arc<Self>, consumer: Uuid, call: ConsumerCall) -> Asked {
        let (reply, answer) = oneshot::channel();
        let token = Token(NEXT_TOKEN.fetch_add(1, Ordering::Relaxed));
        let waits = matches!(call, ConsumerCall::Next { waits: true, .. });
        self.shards().host(self.shard()).post(Mail::Consumer {
            buffer: self.uuid(),
            consumer,
            token,
            call,
            reply: Some(reply),
        });
        Asked {
            buffer: Arc::clone(self),
            consumer,
            token,
            answer,
            waits,
        }
    }

    fn tell_consumer(&self, consumer: Uuid, call: ConsumerCall) {
        self.shards().host(self.shard()).post(Mail::Consumer {
            buffer: self.uuid(),
            consumer,
            token: Token(0),
            call,
            reply: None,
        });
    }

    async fn call_consumer(
        self: &Arc<Self>,
        consumer: Uuid,
        call: ConsumerCall,
    ) -> Result<ConsumerAnswer, ConsumerError> {
        let mut asked = self.ask_consumer(consumer, call);
        let answer = (&mut asked.answer).await;
        answered(answer.map_err(|_| ConsumerError::Stopping)?)
    }
}

fn answered(answer: ConsumerAnswer) -> Result<ConsumerAnswer, ConsumerError> {
    match answer {
        ConsumerAnswer::Refused(refused) => Err(refused.into()),
        answer => Ok(answer),
    }
}

impl Engine {
    /// Hands out messages of a consumer.
    pub async fn next(
        &self,
        info: &ConsumerInfo,
        request: NextRequest,
    ) -> Result<Handed, ConsumerError> {
        self.use_consumer(info.uuid);
        match &info.members[..] {
            [] => Err(ConsumerError::Gone),
            [(uuid, _)] => {
                let buffer = self.open(*uuid).await?;
                self.begin_consumer(info, &buffer).await?;
                let mut handed = Handed::default();
                loop {
                    let given = self.next_of(info, &buffer, request).await?;
                    self.read_given(info, &buffer, &given, &mut handed).await?;
                    // Retention may have dropped all of it meanwhile: what is behind it comes.
                    if given.is_empty() || !handed.messages.is_empty() {
                        return Ok(handed);
                    }
                }
            }
            _ => self.next_of_topic(info, request).await,
        }
    }

    async fn next_of(
        &self,
        info: &ConsumerInfo,
        buffer: &Arc<Buffer>,
        request: NextRequest,
    ) -> Result<Vec<Given>, ConsumerError> {
        let call = ConsumerCall::Next {
            limit: request.limit,
            waits: request.wait_until.is_some(),
        };
        let _tailing = request.wait_until.map(|_| buffer.readable().tailing());
        let mut asked = buffer.ask_consumer(info.uuid, call);
        let answer = match request.wait_until {
            None => (&mut asked.answer).await,
            Some(until) => match tokio::time::timeout_at(until, &mut asked.answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    asked.stop();
                    (&mut asked.answer).await
                }
            },
        };
        asked.waits = false;
        match answered(answer.map_err(|_| ConsumerError::Stopping)?) {
            Ok(ConsumerAnswer::Given(given)) => Ok(given),
            Err(ConsumerError::Busy) => Err(self.why_unreadable(info, buffer).await),
            Err(error) => Err(error),
            Ok(_) => Ok(Vec::new()),
        }
    }

    /// A look failed, or too many wait: looking again tells which.
    async fn why_unreadable(&self, info: &ConsumerInfo, buffer: &Arc<Buffer>) -> ConsumerError {
        let standing = self.standing(buffer, info.uuid);
        let after = standing.map_or_else(|| buffer.readable().first().prev(), |it| it.cursor);
        let through = buffer.readable().commit();
        match look(buffer.readable(), &info.config, after, through, 1).await {
            Err(error) => error.into(),
            Ok(_) => ConsumerError::Busy,
        }
    }

    fn standing(&self, buffer: &Buffer, consumer: Uuid) -> Option<hbuf_core::consumer::Standing> {
        let host = self.inner.shards.host(buffer.shard());
        host.look(&buffer.uuid(), |buffer| buffer.consumer_standing(&consumer))?
    }

    /// The earliest messages of all buffers of a topic. Each is asked for what it has; what is not
    /// among the earliest goes back as if it had not been handed out.
    async fn next_of_topic(
        &self,
        info: &ConsumerInfo,
        request: NextRequest,
    ) -> Result<Handed, ConsumerError> {
        loop {
            let mut handed = Handed::default();
            let mut found: Vec<(Arc<Buffer>, Given)> = Vec::new();
            let done_by_delivery = info.config.ack == AckMode::OnDelivery;
            for (uuid, name) in self.in_turn(info) {
                let left = request.limit - if done_by_delivery { found.len() } else { 0 };
                if left == 0 {
                    break;
                }
                match self.given_of(info, uuid, left).await {
                    Ok((buffer, given)) => {
                        found.extend(given.into_iter().map(|one| (Arc::clone(&buffer), one)));
                    }
                    Err(ConsumerError::Stopping) => return Err(ConsumerError::Stopping),
                    Err(error) => handed.passed.push(Passed {
                        name,
                        why: error.to_string(),
                    }),
                }
            }
            found.sort_by_key(|(_, given)| given.time);
            for (buffer, given) in found.split_off(request.limit.min(found.len())) {
                give_back(&buffer, info.uuid, &[given]);
            }
            if !found.is_empty() {
                self.read_found(info, &found, &mut handed).await?;
                return Ok(handed);
            }
            if handed.passed.len() == info.members.len() {
                return Err(ConsumerError::Passed(handed.passed[0].why.clone()));
            }
            match request.wait_until {
                Some(until) if Instant::now() < until => {
                    let soon = Instant::now() + TOPIC_LOOK;
                    tokio::time::sleep_until(until.min(soon)).await;
                }
                _ => return Ok(handed),
            }
        }
    }

    /// The buffers of a consumer, beginning with another one each time.
    fn in_turn(&self, info: &ConsumerInfo) -> Vec<(Uuid, hbuf_core::name::Name)> {
        let turn = NEXT_TURN.fetch_add(1, Ordering::Relaxed);
        let mut members = info.members.clone();
        let at = usize::try_from(turn % members.len() as u64).unwrap_or_default();
        members.rotate_left(at);
        members
    }

    async fn given_of(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
        limit: usize,
    ) -> Result<(Arc<Buffer>, Vec<Given>), ConsumerError> {
        let buffer = self.open(uuid).await?;
        self.begin_consumer(info, &buffer).await?;
        let request = NextRequest {
            limit,
            wait_until: None,
        };
        let given = self.next_of(info, &buffer, request).await?;
        Ok((buffer, given))
    }

    async fn read_found(
        &self,
        info: &ConsumerInfo,
        mut found: &[(Arc<Buffer>, Given)],
        handed: &mut Handed,
    ) -> Result<(), ConsumerError> {
        while let Some((buffer, _)) = found.first() {
            let same = found.iter().take_while(|(of, _)| Arc::ptr_eq(of, buffer));
            let given: Vec<Given> = same.map(|(_, given)| *given).collect();
            found = &found[given.len()..];
            self.read_given(info, buffer, &given, handed).await?;
        }
        Ok(())
    }

    /// Reads what was handed out; when that fails it goes back. What retention dropped meanwhile is
    /// left out: the state machine counts it as lost.
    async fn read_given(
        &self,
        info: &ConsumerInfo,
        buffer: &Arc<Buffer>,
        given: &[Given],
        handed: &mut Handed,
    ) -> Result<(), ConsumerError> {
        let guard = GiveBack {
            buffer,
            consumer: info.uuid,
            given,
            read: false,
        };
        let (given, records) = read_kept(buffer.readable(), given).await?;
        let mut guard = guard;
        guard.read = true;
        let name = info.members.iter().find(|(uuid, _)| *uuid == buffer.uuid());
        let name = &name.expect("it was asked because it is a member").1;
        handed.messages.extend(
            given
                .iter()
                .zip(records)
                .map(|(one, record)| HandedMessage {
                    buffer: buffer.uuid(),
                    name: name.clone(),
                    seq: one.seq,
                    lease: one.lease,
                    deliveries: one.deliveries,
                    record,
                }),
        );
        Ok(())
    }

    /// Says what becomes of messages that were handed out; an ack is on disk when it is answered.
    pub async fn settle(
        &self,
        info: &ConsumerInfo,
        items: Vec<Settle>,
    ) -> Result<Vec<Settled>, ConsumerError> {
        self.use_consumer(info.uuid);
        let mut of_buffer: Vec<(Uuid, Vec<usize>)> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match of_buffer.iter_mut().find(|(uuid, _)| *uuid == item.buffer) {
                Some((_, places)) => places.push(at),
                None => of_buffer.push((item.buffer, vec![at])),
            }
        }
        let mut asked = Vec::new();
        for (uuid, places) in of_buffer {
            let buffer = self.open(uuid).await?;
            self.begin_consumer(info, &buffer).await?;
            let call = places
                .iter()
                .map(|at| (items[*at].seq, items[*at].lease, items[*at].what));
            let call = ConsumerCall::Settle(call.collect());
            asked.push((places, buffer.ask_consumer(info.uuid, call)));
        }
        let mut results = vec![Settled::Unknown; items.len()];
        for (places, mut asked) in asked {
            let answer = (&mut asked.answer).await;
            let answer = answered(answer.map_err(|_| ConsumerError::Stopping)?)?;
            if let ConsumerAnswer::Settled(settled) = answer {
                for (at, one) in places.into_iter().zip(settled) {
                    results[at] = one;
                }
            }
        }
        Ok(results)
    }

    /// How a consumer stands in each of its buffers.
    pub async fn consumer_status(&self, info: &ConsumerInfo) -> Vec<ConsumerMember> {
        let mut members = Vec::with_capacity(info.members.len());
        for (uuid, name) in &info.members {
            members.push(self.member_status(info, *uuid, name).await);
        }
        members
    }

    async fn member_status(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
        name: &hbuf_core::name::Name,
    ) -> ConsumerMember {
        let mut member = ConsumerMember {
            buffer: uuid,
            name: name.clone(),
            unavailable: None,
            cursor: Seq::ZERO,
            commit: Seq::ZERO,
            pending: 0,
            in_flight: 0,
            oldest_unacked: None,
            redelivered: 0,
            dead_lettered: 0,
            lost: 0,
        };
        let buffer = match self.open(uuid).await {
            Ok(buffer) => buffer,
            Err(error) => {
                member.unavailable = Some(error.to_string());
                return member;
            }
        };
        // A paused buffer takes no new consumer; it still tells of those that it has.
        let begun = self.begin_consumer(info, &buffer).await;
        member.commit = buffer.readable().commit();
        match self.standing(&buffer, info.uuid) {
            None => {
                let why = begun.err().map(|error| error.to_string());
                member.unavailable =
                    why.or_else(|| Some("the buffer is being opened again".into()));
            }
            Some(standing) => {
                member.cursor = standing.cursor;
                member.pending = standing.pending;
                member.in_flight = standing.in_flight;
                member.oldest_unacked = standing.oldest_unacked;
                member.redelivered = standing.counts.redelivered;
                member.dead_lettered = standing.counts.dead_lettered;
                member.lost = standing.counts.lost;
            }
        }
        member
    }

    /// Moves a consumer in all of its buffers: its leases end.
    pub async fn seek(&self, info: &ConsumerInfo, start: Start) -> Result<(), ConsumerError> {
        start.check()?;
        self.use_consumer(info.uuid);
        for (uuid, _) in &info.members {
            let buffer = self.open(*uuid).await?;
            self.begin_consumer(info, &buffer).await?;
            let after = after(buffer.readable(), start).await?;
            let call = ConsumerCall::Seek(after);
            buffer.call_consumer(info.uuid, call).await?;
        }
        Ok(())
    }

    /// Makes a consumer's configuration hold in every buffer that it reads, as far as they can be
    /// opened; where one is new there, its beginning is on disk then.
    pub(super) async fn begin_everywhere(&self, info: &ConsumerInfo) -> Result<(), ConsumerError> {
        self.use_consumer(info.uuid);
        for (uuid, _) in &info.members {
            let buffer = self.open(*uuid).await?;
            match self.begin_consumer(info, &buffer).await {
                // It begins when the buffer is open again.
                Ok(()) | Err(ConsumerError::Paused) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes a consumer's configuration hold in a buffer; one that is new there begins there.
    async fn begin_consumer(
        &self,
        info: &ConsumerInfo,
        buffer: &Arc<Buffer>,
    ) -> Result<(), ConsumerError> {
        if buffer.has_begun(info.uuid, info.version) {
            return Ok(());
        }
        let begin = |after| ConsumerCall::Begin {
            config: Box::new(info.config.clone()),
            after,
        };
        let answer = buffer.call_consumer(info.uuid, begin(None)).await?;
        if answer == ConsumerAnswer::NeedsStart {
            let after = after(buffer.readable(), info.config.start).await?;
            buffer.call_consumer(info.uuid, begin(Some(after))).await?;
        }
        buffer.begun(info.uuid, info.version);
        Ok(())
    }

    /// The consumer was deleted: it is taken out of the buffers that are open. The others leave it
    /// out when they are opened.
    pub(super) async fn forget_consumer(&self, info: &ConsumerInfo) {
        lock(&self.inner.consumers_used).remove(&info.uuid);
        for (uuid, _) in &info.members {
            if let Some(buffer) = self.inner.open.get(*uuid) {
                buffer.forget_begun(info.uuid);
                let forgotten = buffer.call_consumer(info.uuid, ConsumerCall::Forget).await;
                drop(forgotten);
            }
        }
    }

    fn use_consumer(&self, uuid: Uuid) {
        lock(&self.inner.consumers_used).insert(uuid, clock::now());
    }
}

/// Gives messages back that could not be read, also when the caller went away meanwhile.
struct GiveBack<'a> {
    buffer: &'a Arc<Buffer>,
    consumer: Uuid,
    given: &'a [Given],
    read: bool,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if !self.read {
            give_back(self.buffer, self.consumer, self.given);
        }
    }
}

fn give_back(buffer: &Buffer, consumer: Uuid, given: &[Given]) {
    if let Some(call) = returned(given) {
        buffer.tell_consumer(consumer, call);
    }
}

/// The call that gives messages back; nothing when they are done already.
pub(super) fn returned(given: &[Given]) -> Option<ConsumerCall> {
    let leased = given.iter();
    let leased = leased.filter_map(|one| Some((one.seq, one.lease?, Settling::Return)));
    let leased: Vec<(Seq, LeaseId, Settling)> = leased.collect();
    (!leased.is_empty()).then_some(ConsumerCall::Settle(leased))
}

/// The seq behind which a consumer begins.
async fn after(readable: &Arc<Readable>, start: Start) -> Result<Seq, ReadError> {
    Ok(match start {
        Start::First => readable.first().prev(),
        Start::Last => readable.commit(),
        Start::Seq(seq) => seq.prev().max(readable.first().prev()),
        Start::Time(time) => readable.seq_at_time(time).await?,
    })
}

/// Those of the messages that retention leaves, and their records.
async fn read_kept(
    readable: &Arc<Readable>,
    given: &[Given],
) -> Result<(Vec<Given>, Vec<Bytes>), ReadError> {
    let mut kept = given.to_vec();
    loop {
        match read_records(readable, &kept).await {
            Ok(records) => return Ok((kept, records)),
            Err(ReadError::BeforeFirst { first }) if kept.iter().any(|one| one.seq < first) => {
                kept.retain(|one| one.seq >= first);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The records of messages, in their order.
async fn read_records(readable: &Arc<Readable>, given: &[Given]) -> Result<Vec<Bytes>, ReadError> {
    let mut records = Vec::with_capacity(given.len());
    while let Some(first) = given.get(records.len()) {
        let rest = &given[records.len()..];
        let run = (0..)
            .zip(rest)
            .take_while(|(n, one)| one.seq == first.seq.plus(*n));
        let run = run.count() as u64;
        let page = readable.read(first.seq.prev(), run, PIECE_BYTES).await?;
        let before = records.len();
        split(&page.bytes, |_, record| records.push(record))?;
        if records.len() == before {
            let what = "it is not there".to_owned();
            return Err(damaged(first.seq, what));
        }
    }
    Ok(records)
}

fn split(bytes: &Bytes, mut put: impl FnMut(Seq, Bytes)) -> Result<(), ReadError> {
    let mut at = 0;
    while let Some(line) = skim(&bytes[at..]) {
        let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        if bytes.len() - at < len {
            return Err(damaged(line.seq, "it is cut off".to_owned()));
        }
        put(line.seq, bytes.slice(at..at + len));
        at += len;
    }
    Ok(())
}

fn damaged(seq: Seq, what: String) -> ReadError {
    let file = Seq::ZERO;
    ReadError::Damaged { seq, file, what }
}

/// Looks for messages that match; gives the last seq that was looked at.
async fn look(
    readable: &Arc<Readable>,
    config: &Config,
    after: Seq,
    through: Seq,
    limit: usize,
) -> Result<(Seq, Vec<Candidate>), ReadError> {
    // What retention dropped is passed.
    let after = after.max(readable.first().prev());
    if after >= through {
        return Ok((after, Vec::new()));
    }
    let filter = &config.filter;
    let (bytes, last) = if filter.takes_all() {
        let limit = (through.0 - after.0).min(limit as u64);
        let page = readable.read(after, limit, LOOK_BYTES).await?;
        (page.bytes, page.last)
    } else {
        let stored = match &filter.stored {
            Some(name) => Some(readable.filter(name.to_string()).await?),
            None => None,
        };
        let pick = Pick {
            tags: filter.tags.iter().map(|tag| tag.to_vec()).collect(),
            key: filter.key.as_ref().map(|key| key.to_vec()),
            filter: stored,
            ..Pick::default()
        };
        let bounds = Bounds {
            through,
            limit: limit as u64,
            bytes: LOOK_BYTES,
        };
        let (_, picked) = readable.pick(pick, after, bounds).await?;
        (picked.bytes, picked.last)
    };
    if last <= after {
        return Err(damaged(
            after.next(),
            "nothing can be read there".to_owned(),
        ));
    }
    let mut candidates = Vec::new();
    let mut bad = None;
    split(&bytes, |seq, record| match decode(&record) {
        Ok(record) if filter.takes(&record) => candidates.push(Candidate::of(&record)),
        Ok(_) => {}
        Err(error) => bad = bad.take().or_else(|| Some(damaged(seq, error.to_string()))),
    })?;
    bad.map_or(Ok((last, candidates)), Err)
}

/// Makes the tasks of consumers: what shards ask for, and the time that passes.
pub(super) fn spawn(inner: &Arc<Inner>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for index in 0..inner.shards.count() {
        let weak = Arc::downgrade(inner);
        let mut wanted = inner.shards.host(index).consumer_tasks();
        tasks.push(tokio::spawn(async move {
            while let Some((buffer, consumer, task)) = wanted.recv().await {
                tokio::spawn(perform(weak.clone(), buffer, consumer, task));
            }
        }));
        let weak = Arc::downgrade(inner);
        tasks.push(tokio::spawn(keep_time(weak, index)));
    }
    tasks.push(tokio::spawn(delete_unused(Arc::downgrade(inner))));
    tasks
}

/// One timer a shard, whatever its consumers: it sleeps until the earliest has something to do.
async fn keep_time(inner: Weak<Inner>, index: usize) {
    loop {
        let Some(alive) = inner.upgrade() else { return };
        let host = alive.shards.host(index);
        let (due, bell) = host.consumers_due();
        let now = clock::now();
        if due <= now {
            host.post(Mail::Input(Input::ConsumersDue));
            drop(alive);
            tokio::time::sleep(TICK).await;
            continue;
        }
        drop(alive);
        let left = Duration::from_micros(due.0 - now.0).min(LOOK_AROUND);
        let _ = tokio::time::timeout(left, bell.notified()).await;
    }
}

async fn perform(inner: Weak<Inner>, buffer: Uuid, consumer: Uuid, task: ConsumerTask) {
    let Some(alive) = inner.upgrade() else { return };
    let engine = Engine { inner: alive };
    let Some(open) = engine.inner.open.get(buffer) else {
        return;
    };
    match task {
        ConsumerTask::Answer { .. } => {}
        ConsumerTask::Look {
            config,
            after,
            through,
            limit,
        } => {
            let found = look(open.readable(), &config, after, through, limit).await;
            if let Err(error) = &found {
                tracing::warn!(event = "consumer_look_failed", %buffer, %consumer, %error);
            }
            let found = found.ok();
            open.tell_consumer(consumer, ConsumerCall::Looked { after, found });
        }
        ConsumerTask::Bury {
            into,
            seq,
            deliveries,
            why,
        } => {
            let letter = Letter {
                consumer,
                seq,
                deliveries,
                why,
            };
            let done = engine.bury(&open, into, &letter).await;
            open.tell_consumer(consumer, ConsumerCall::Buried { seq, done });
        }
    }
}

/// A message that is given up.
struct Letter {
    consumer: Uuid,
    seq: Seq,
    deliveries: u32,
    why: GivenUp,
}

impl Engine {
    /// Puts a message where dead letters go. False when it is to be tried again.
    async fn bury(&self, open: &Arc<Buffer>, into: Option<Uuid>, letter: &Letter) -> bool {
        let Letter {
            consumer,
            seq,
            deliveries,
            ..
        } = letter;
        let (buffer, why) = (open.uuid(), letter.reason());
        let Some(into) = into else {
            Counters::add(&self.inner.counters.consumer_dead_letters, 1);
            tracing::warn!(event = "message_given_up", %buffer, %consumer, %seq, deliveries, why);
            return true;
        };
        match self.append_dead_letter(open, into, letter).await {
            Ok(()) => {
                Counters::add(&self.inner.counters.consumer_dead_letters, 1);
                tracing::info!(event = "dead_letter", %buffer, %consumer, %seq, deliveries, why);
                true
            }
            Err(error) => {
                tracing::warn!(event = "dead_letter_failed", %buffer, %consumer, %seq, error);
                false
            }
        }
    }

    async fn append_dead_letter(
        &self,
        open: &Arc<Buffer>,
        into: Uuid,
        letter: &Letter,
    ) -> Result<(), String> {
        let page = open.readable().read(letter.seq.prev(), 1, 0).await;
        let page = match page {
            Ok(page) => page,
            // Nothing is left to put away.
            Err(ReadError::BeforeFirst { .. }) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let record = decode(&page.bytes).map_err(|error| error.to_string())?;
        if record.line.state == State::Gone {
            return Ok(());
        }
        let lines = letter.lines(open.uuid(), &record);
        let body = page.bytes.slice_ref(record.body);
        let into = self.open(into).await.map_err(|error| error.to_string())?;
        // The same letter twice is one: also when a crash came between the append and the ack.
        let key = format!(
            "dead-letter/{}/{}/{}",
            letter.consumer,
            open.uuid(),
            letter.seq
        );
        let append = Append {
            contents: vec![Content::seal(lines.into(), body)],
            idempotency_key: Some(key.into_bytes()),
            ..Append::default()
        };
        match into.append(append).await {
            Ok(_) | Err(AppendError::KeyReused { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Letter {
    const fn reason(&self) -> &'static str {
        match self.why {
            GivenUp::Deliveries => "deliveries",
            GivenUp::Expired => "expired",
        }
    }

    /// The header lines of the message with one more, which says where it is from and why it is
    /// here. A message that has no room for one goes without.
    fn lines(&self, buffer: Uuid, record: &Record<'_>) -> Vec<u8> {
        let mut lines = record.lines.to_vec();
        let id = record.id().unwrap_or_default();
        let line = format!(
            "x-hbuf-meta-dead-letter: buffer={buffer}, seq={}, id={id}, consumer={}, reason={}, deliveries={}\r\n",
            self.seq,
            self.consumer,
            self.reason(),
            self.deliveries
        );
        let room = (lines.len() + line.len()) as u64 <= HEADERS_BYTES_MAX
            && record.headers().count() < HEADER_LINES_MAX;
        if room {
            lines.extend_from_slice(line.as_bytes());
        }
        lines
    }
}

/// Deletes consumers that nobody has used for as long as they say. After a restart they count from
/// then.
async fn delete_unused(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(UNUSED_LOOK).await;
        let Some(alive) = inner.upgrade() else { return };
        let now = clock::now();
        let limited: Vec<(Uuid, u64, u64)> = alive.manager.view(|catalog| {
            let all = catalog.consumers();
            let limited =
                all.filter_map(|one| Some((one.uuid, one.version, one.config.ttl_seconds?)));
            limited.collect()
        });
        for (uuid, version, ttl) in limited {
            let used = *lock(&alive.consumers_used).entry(uuid).or_insert(now);
            if now.0.saturating_sub(used.0) < ttl.saturating_mul(1_000_000) {
                continue;
            }
            tracing::info!(event = "consumer_expired", consumer = %uuid, ttl_seconds = ttl);
            lock(&alive.consumers_used).remove(&uuid);
            let expected = Some(version);
            let action = Action::DeleteConsumer { uuid, expected };
            if alive.manager.propose(action).await.is_ok() {
                for buffer in alive.open.all() {
                    if buffer.forget_begun(uuid) {
                        buffer.tell_consumer(uuid, ConsumerCall::Forget);
                    }
                }
            }
        }
    }
}

impl From<ConsumerRefused> for ConsumerError {
    fn from(refused: ConsumerRefused) -> Self {
        match refused {
            ConsumerRefused::NotOpen | ConsumerRefused::NotBegun => Self::Read(ReadError::Closed),
            ConsumerRefused::Paused => Self::Paused,
            ConsumerRefused::Busy => Self::Busy,
            ConsumerRefused::Damaged => Self::Damaged,
            ConsumerRefused::DiskFull => Self::Full,
            ConsumerRefused::DiskFailed => Self::Failed,
        }
    }
}

impl From<ConsumerError> for super::CatalogError {
    fn from(error: ConsumerError) -> Self {
        Self::Consumer(Box::new(error))
    }
}

impl From<LookupError> for Box<ConsumerError> {
    fn from(error: LookupError) -> Self {
        Self::new(error.into())
    }
}

/// Tokens of consumers' requests; a shard's own are counted from 1.
static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1 << 63);
static NEXT_TURN: AtomicU64 = AtomicU64::new(0);

/// Bytes that a look reads at once.
const LOOK_BYTES: usize = 1 << 20;
/// How often a topic's consumer asks its buffers again while a worker waits.
const TOPIC_LOOK: Duration = Duration::from_millis(50);
/// Leases lapse at most this much late.
const TICK: Duration = Duration::from_millis(5);
/// How long a timer sleeps at most.
const LOOK_AROUND: Duration = Duration::from_secs(60);
/// How often unused consumers are looked for.
const UNUSED_LOOK: Duration = Duration::from_secs(1);
