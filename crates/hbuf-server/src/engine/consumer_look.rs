//! Reading for consumers: messages that may be handed out, and the records of those that are.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::consumer::{Candidate, Config, Filter, Given, Start};
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::record::decode;
use hbuf_core::skim::skim;

use crate::read::{Bounds, Page, Pick, ReadError, Readable};

/// Bytes that a look reads at once.
const LOOK_BYTES: usize = 1 << 20;

/// The seq behind which a consumer begins.
pub(super) async fn after(readable: &Arc<Readable>, start: Start) -> Result<Seq, ReadError> {
    Ok(match start {
        Start::First => readable.first().prev(),
        Start::Last => readable.commit(),
        Start::Seq(seq) => seq.prev().max(readable.first().prev()),
        Start::Time(time) => readable.seq_at_time(time).await?,
    })
}

/// What a look has found.
pub(super) struct Found {
    /// The last seq that was looked at.
    pub(super) last: Seq,
    /// Messages that match.
    pub(super) candidates: Vec<Candidate>,
    /// Their records.
    pub(super) page: Page,
}

/// Those of the messages that retention leaves, and their records.
pub(super) async fn read_kept(
    readable: &Arc<Readable>,
    consumer: Uuid,
    given: &[Given],
) -> Result<(Vec<Given>, Vec<Bytes>), ReadError> {
    let mut kept = given.to_vec();
    loop {
        match read_records(readable, consumer, &kept).await {
            Ok(records) => return Ok((kept, records)),
            Err(ReadError::BeforeFirst { first }) if kept.iter().any(|one| one.seq < first) => {
                kept.retain(|one| one.seq >= first);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The records of messages, in their order: those that a look has found, or as they are read.
async fn read_records(
    readable: &Arc<Readable>,
    consumer: Uuid,
    given: &[Given],
) -> Result<Vec<Bytes>, ReadError> {
    let mut records = Vec::with_capacity(given.len());
    let (looked, kept_from) = (readable.looked(consumer), readable.first());
    while let Some(first) = given.get(records.len()) {
        let found = looked.record(first.seq).filter(|_| first.seq >= kept_from);
        if let Some(record) = found {
            records.push(record);
            continue;
        }
        let rest = &given[records.len()..];
        let run = (0..)
            .zip(rest)
            .take_while(|(n, one)| one.seq == first.seq.plus(*n));
        let run = run.count() as u64;
        let page = readable.read(first.seq.prev(), run, PIECE_BYTES).await?;
        let before = records.len();
        split(readable, &page.bytes, |_, record| records.push(record))?;
        if records.len() == before {
            let what = "it is not there".to_owned();
            return Err(readable.found_damaged(first.seq, what));
        }
    }
    if let Some(last) = given.iter().map(|one| one.seq).max() {
        readable.handed_out(consumer, &looked, last);
    }
    Ok(records)
}

fn split(
    readable: &Readable,
    bytes: &Bytes,
    mut put: impl FnMut(Seq, Bytes),
) -> Result<(), ReadError> {
    let mut at = 0;
    while let Some(line) = skim(&bytes[at..]) {
        let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        if bytes.len() - at < len {
            return Err(readable.found_damaged(line.seq, "it is cut off".to_owned()));
        }
        put(line.seq, bytes.slice(at..at + len));
        at += len;
    }
    Ok(())
}

/// Looks for messages that match.
pub(super) async fn look(
    readable: &Arc<Readable>,
    config: &Config,
    after: Seq,
    through: Seq,
    limit: usize,
) -> Result<Found, ReadError> {
    // What retention dropped is passed.
    let after = after.max(readable.first().prev());
    if after >= through {
        return Ok(Found {
            last: after,
            candidates: Vec::new(),
            page: Page::default(),
        });
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
        return Err(readable.found_damaged(after.next(), "nothing can be read there".to_owned()));
    }
    sound(readable, filter, (after, last), &bytes)
}

/// What of the records behind `after` may be handed out, as far as they are good.
fn sound(
    readable: &Readable,
    filter: &Filter,
    (after, last): (Seq, Seq),
    bytes: &Bytes,
) -> Result<Found, ReadError> {
    let mut found = Found {
        last,
        candidates: Vec::new(),
        page: Page::default(),
    };
    let mut bad = None;
    split(readable, bytes, |seq, record| match decode(&record) {
        _ if bad.is_some() => {}
        Ok(decoded) if filter.takes(&decoded) => {
            found.candidates.push(Candidate::of(&decoded));
            found.page.push(seq, record);
        }
        Ok(_) => {}
        Err(error) => {
            bad = Some(readable.found_damaged(seq, error.to_string()));
            found.last = seq.prev();
        }
    })?;
    // What stands before the damage is good; the next look says why it ends there.
    match bad {
        Some(error) if found.last <= after => Err(error),
        _ => Ok(found),
    }
}
