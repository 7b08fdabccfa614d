//! Holds a restarted server and its directory against the ledger.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::consuming;
use super::derived;
use super::http::{Http, Reply};
use super::ledger::{Ledger, Life};
use super::record;
use super::server::{Server, hbuf};

/// How long a read may be put off.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Reads the whole of a buffer; `None` when it does not exist.
pub(crate) fn read_all(
    http: &mut Http,
    buffer: &str,
) -> Result<Option<Vec<record::Record>>, String> {
    read_all_while(http, buffer, &|| true)
}

fn read_all_while(
    http: &mut Http,
    buffer: &str,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<record::Record>>, String> {
    let path = format!("/buffers/{buffer}/messages?after=0");
    let reply = get_patiently(http, &path, go_on)
        .map_err(|error| format!("{buffer}: reading failed: {error}"))?;
    match reply.status {
        200 => Ok(Some(
            record::split(&reply.body).map_err(|why| format!("{buffer}: {why}"))?,
        )),
        404 => Ok(None),
        status => Err(format!("{buffer}: reading gave {status}: {}", reply.text())),
    }
}

fn get_patiently(http: &mut Http, path: &str, go_on: &dyn Fn() -> bool) -> io::Result<Reply> {
    patiently(go_on, &mut || http.get(path))
}

/// A buffer that is being opened says so; whoever asks comes again.
pub(super) fn patiently(
    go_on: &dyn Fn() -> bool,
    ask: &mut dyn FnMut() -> io::Result<Reply>,
) -> io::Result<Reply> {
    let begun = Instant::now();
    let mut cut_off = false;
    loop {
        let reply = match ask() {
            // Retention took a segment from under the answer; the next one begins behind it. What
            // is damaged ends each answer.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !cut_off => {
                cut_off = true;
                continue;
            }
            reply => reply?,
        };
        let again = !reply.is_success() && reply.text().contains("\"retry\":true");
        if !again || begun.elapsed() > AGAIN_MAX || !go_on() {
            return Ok(reply);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every claim of the ledger against a running server; each broken one is a sentence.
pub(crate) fn check_server(server: &Server, ledger: &mut Ledger) -> Vec<String> {
    check_server_while(server, ledger, &|| true)
}

/// The same, given up when the disk is gone: what is wrong then says nothing.
pub(crate) fn check_server_while(
    server: &Server,
    ledger: &mut Ledger,
    go_on: &dyn Fn() -> bool,
) -> Vec<String> {
    let mut http = server.http();
    let mut wrong = std::mem::take(&mut ledger.refused);
    for (name, claims) in &mut ledger.buffers {
        if !go_on() {
            break;
        }
        let records = match read_all_while(&mut http, name, go_on) {
            Ok(records) => records,
            Err(why) => {
                wrong.push(why);
                continue;
            }
        };
        match (claims.life, &records) {
            (Life::Exists, None) => wrong.push(format!("{name}: exists no more")),
            (Life::Deleted, Some(_)) => wrong.push(format!("{name}: was deleted and is back")),
            // A refused append is no creation; an answer to it would have been one.
            (Life::CreateTried, None) if !claims.told.is_empty() => {
                wrong.push(format!("{name}: took messages and exists no more"));
            }
            _ => {}
        }
        if let Some(records) = &records {
            wrong.extend(claims.compare(name, records));
        }
        // The doubt is settled now: the next round must find the same.
        settle(claims, records.as_deref());
    }
    wrong.extend(check_filters(&mut http, ledger, go_on));
    wrong.extend(derived::check_streams(&mut http, ledger, go_on));
    wrong.extend(consuming::check_consumers(&mut http, ledger, go_on));
    if go_on() {
        wrong.extend(derived::check_mirror(&mut http, ledger, false));
    }
    wrong
}

/// Every filter is as it was left, and whole.
fn check_filters(http: &mut Http, ledger: &mut Ledger, go_on: &dyn Fn() -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((buffer, name), claim) in &mut ledger.filters {
        if !go_on() {
            break;
        }
        let found = match filter_tags(http, buffer, name, go_on) {
            Ok(found) => found,
            Err(why) => {
                wrong.push(format!("filter {name} of {buffer}: {why}"));
                continue;
            }
        };
        if !claim.contains(&found) {
            wrong.push(format!(
                "filter {name} of {buffer}: has {found} tags, expected one of {claim:?}"
            ));
        }
        *claim = vec![found];
    }
    wrong
}

/// How many tags a filter has, read through; 0 when there is none.
fn filter_tags(
    http: &mut Http,
    buffer: &str,
    name: &str,
    go_on: &dyn Fn() -> bool,
) -> Result<u64, String> {
    let get = |http: &mut Http, path: &str| {
        let reply = get_patiently(http, path, go_on).map_err(|error| error.to_string())?;
        match reply.status {
            200 => Ok(Some(reply.text())),
            404 => Ok(None),
            status => Err(format!("{path}: {status} {}", reply.text())),
        }
    };
    let Some(text) = get(http, &format!("/buffers/{buffer}/filters/{name}"))? else {
        return Ok(0);
    };
    get(
        http,
        &format!("/buffers/{buffer}/messages?filter={name}&limit=1"),
    )?;
    let tags = text.split("\"tags\":").nth(1).unwrap_or_default();
    let digits: String = tags.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .map_err(|_| format!("no count of tags in {text}"))
}

fn settle(claims: &mut super::ledger::Claims, records: Option<&[record::Record]>) {
    claims.life = match (records, claims.life) {
        (Some(_), _) => Life::Exists,
        (None, Life::DeleteTried | Life::Deleted) => Life::Deleted,
        (None, Life::CreateTried | Life::Exists) => Life::CreateTried,
    };
    claims.told = records
        .unwrap_or_default()
        .iter()
        .map(|record| super::ledger::Told {
            seq: record.seq,
            id: Some(record.id.clone()),
            body: record.body.clone(),
        })
        .collect();
}

/// After recovery a buffer takes the next seq.
pub(crate) fn check_appends(server: &Server, ledger: &mut Ledger, round: u64) -> Vec<String> {
    let mut http = server.http();
    let mut wrong = Vec::new();
    let existing = ledger
        .buffers
        .iter_mut()
        .filter(|(_, claims)| claims.life == Life::Exists);
    for (name, claims) in existing.take(4) {
        let body = format!("after-recovery-{round}-{name}").into_bytes();
        let expected = claims.told.last().map_or(0, |told| told.seq) + 1;
        claims.tried.push(vec![body.clone()]);
        match http.post(&format!("/buffers/{name}"), &body) {
            Ok(reply) if reply.status == 201 && reply.number("x-hbuf-seq") == Some(expected) => {
                let id = reply.header("x-hbuf-id").map(str::to_owned);
                claims.told.push(super::ledger::Told {
                    seq: expected,
                    id,
                    body,
                });
            }
            Ok(reply) => wrong.push(format!(
                "{name}: an append after recovery expected seq {expected}, got {} {:?}: {}",
                reply.status,
                reply.number("x-hbuf-seq"),
                reply.text()
            )),
            Err(error) => wrong.push(format!("{name}: an append after recovery: {error}")),
        }
    }
    wrong
}

/// How many keyed appends of each buffer are sent again.
const AGAIN: usize = 4;

/// An append that was acknowledged under a key is not made again, also when retention dropped it.
pub(crate) fn check_keys(server: &Server, ledger: &Ledger) -> Vec<String> {
    let mut http = server.http();
    let mut wrong = Vec::new();
    for (name, claims) in &ledger.buffers {
        let count = claims.keyed.len();
        // The oldest and the newest: the tables hold the ones, records behind them the others.
        let ends = |at: usize| at < AGAIN / 2 || at + AGAIN / 2 >= count;
        let chosen = claims.keyed.iter().enumerate().filter(|(at, _)| ends(*at));
        for (_, keyed) in chosen.filter(|_| claims.life == Life::Exists) {
            let reply = http.post_once(&format!("/buffers/{name}"), &keyed.key, &keyed.body);
            match reply {
                Ok(reply)
                    if reply.is_success() && reply.number("x-hbuf-seq") == Some(keyed.seq) => {}
                // It is known, and its message is gone: there is nothing to answer with.
                Ok(reply) if reply.status == 410 && claims.keeps.is_some() => {}
                Ok(reply) => wrong.push(format!(
                    "{name}: key {} had seq {}, sent again it got {} {:?}: {}",
                    keyed.key,
                    keyed.seq,
                    reply.status,
                    reply.number("x-hbuf-seq"),
                    reply.text()
                )),
                Err(error) => wrong.push(format!("{name}: an append sent again: {error}")),
            }
        }
    }
    wrong
}

/// Every buffer that exists has one directory that says whose it is, and no other directory is
/// left: what was deleted is gone from the disk.
pub(crate) fn check_directories(data: &Path, ledger: &Ledger) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut found = BTreeMap::new();
    let buffers = data.join("buffers");
    for directory in children(&buffers).iter().flat_map(|fan| children(fan)) {
        let text = fs::read_to_string(directory.join("buffer.json")).unwrap_or_default();
        let name = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|description| Some(description.get("name")?.as_str()?.to_owned()));
        match name {
            Some(name) => *found.entry(name).or_insert(0) += 1,
            None => wrong.push(format!("{}: no buffer.json in it", directory.display())),
        }
    }
    for (name, claims) in &ledger.buffers {
        let expected = i32::from(claims.life == Life::Exists);
        let count = found.get(name).copied().unwrap_or_default();
        if count != expected {
            wrong.push(format!(
                "{name}: {count} directories for a buffer that is {:?}",
                claims.life
            ));
        }
    }
    wrong
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// `hbuf verify` of a directory that no server uses.
pub(crate) fn check_verify(data: &Path) -> Vec<String> {
    let output = hbuf(&["verify", &data.to_string_lossy()]);
    if output.status.success() {
        return Vec::new();
    }
    vec![format!(
        "hbuf verify: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )]
}
