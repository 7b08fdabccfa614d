//! Streams and a mirror under the same losses: what clients were told of a stream is in it, and a
//! mirror holds what its origin holds, each message once and in order.

use std::time::{Duration, Instant};

use super::check::read_all;
use super::http::Http;
use super::ledger::Ledger;
use super::record::Record;

/// The mirror and its origin.
pub(crate) const MIRROR: &str = "mirror";
pub(crate) const ORIGIN: &str = "main";
/// How long a mirror may take until it has all of its origin.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(10);
/// More answers than any stream of the workload needs.
const ANSWERS_MAX: usize = 64;

/// What is known of a stream; one client at a time adds lines to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamClaims {
    pub(crate) made: bool,
    /// Lines that were acknowledged, in order.
    pub(crate) told: Vec<String>,
    pub(crate) tried: Vec<String>,
}

impl StreamClaims {
    pub(crate) fn merge(&mut self, other: Self) {
        self.made |= other.made;
        self.told.extend(other.told);
        self.tried.extend(other.tried);
    }

    fn compare(&self, lines: &[String]) -> Option<String> {
        if let Some(line) = lines.iter().find(|line| !self.tried.contains(line)) {
            return Some(format!("holds `{line}`, which nobody sent"));
        }
        let mut twice = lines.to_vec();
        twice.sort_unstable();
        if let Some(pair) = twice.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("holds `{}` twice", pair[0]));
        }
        let mut found = lines.iter();
        let lost = self
            .told
            .iter()
            .find(|told| !found.any(|line| line == *told));
        lost.map(|told| format!("acknowledged `{told}` is lost, or behind a later line"))
    }
}

pub(crate) fn check_streams(
    http: &mut Http,
    ledger: &mut Ledger,
    go_on: &dyn Fn() -> bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, claims) in &mut ledger.streams {
        if !go_on() {
            break;
        }
        match lines_of(http, name) {
            Ok(None) if claims.made => wrong.push(format!("stream {name}: exists no more")),
            Ok(None) => {}
            Ok(Some(lines)) => {
                let why = claims.compare(&lines);
                wrong.extend(why.map(|why| format!("stream {name}: {why}")));
                // The doubt is settled now.
                (claims.made, claims.told) = (true, lines);
            }
            Err(why) => wrong.push(format!("stream {name}: {why}")),
        }
    }
    wrong
}

/// All lines of a stream; `None` when it does not exist.
fn lines_of(http: &mut Http, name: &str) -> Result<Option<Vec<String>>, String> {
    let (mut text, mut offset) = (String::new(), "-1".to_owned());
    for _ in 0..ANSWERS_MAX {
        let path = format!("/v1/stream/{name}?offset={offset}");
        let reply = http.get(&path).map_err(|error| error.to_string())?;
        match reply.status {
            200 => text.push_str(&reply.text()),
            404 => return Ok(None),
            status => return Err(format!("{status}: {}", reply.text())),
        }
        if reply.header("stream-up-to-date").is_some() {
            return Ok(Some(text.lines().map(str::to_owned).collect()));
        }
        let next = reply.header("stream-next-offset");
        offset = next.ok_or("an answer without its next offset")?.to_owned();
    }
    Err(format!("does not end within {ANSWERS_MAX} answers"))
}

/// The mirror holds the first messages of its origin, and at least what it was seen to hold. With
/// `all` it is given the time to hold every one.
pub(crate) fn check_mirror(http: &mut Http, ledger: &mut Ledger, all: bool) -> Vec<String> {
    let begun = Instant::now();
    loop {
        // The origin is read later, so it is never behind.
        let read = read_all(http, MIRROR).and_then(|mirror| Ok((mirror, read_all(http, ORIGIN)?)));
        let (mirror, origin) = match read {
            Ok((mirror, origin)) => (mirror, origin.unwrap_or_default()),
            Err(why) => return vec![format!("mirror: {why}")],
        };
        let Some(mirror) = mirror else {
            let made = ledger.mirror_made;
            return made
                .then(|| "mirror: exists no more".to_owned())
                .into_iter()
                .collect();
        };
        if let Some(why) = differs(&ledger.mirrored, &mirror, &origin) {
            return vec![format!("mirror: {why}")];
        }
        let behind = origin.len() - mirror.len();
        (ledger.mirror_made, ledger.mirrored) = (true, mirror);
        if !all || behind == 0 {
            return Vec::new();
        }
        if begun.elapsed() > CAUGHT_UP_WITHIN {
            let described = http.get(&format!("/buffers/{MIRROR}"));
            let described = described.map(|reply| reply.text()).unwrap_or_default();
            return vec![format!(
                "mirror: still {behind} messages behind its origin: {described}"
            )];
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn differs(seen: &[Record], mirror: &[Record], origin: &[Record]) -> Option<String> {
    for (at, seen) in seen.iter().enumerate() {
        if mirror.get(at).is_none_or(|record| record.id != seen.id) {
            return Some(format!(
                "seq {} was seen and is lost or another one",
                seen.seq
            ));
        }
    }
    for (at, record) in mirror.iter().enumerate() {
        let same = origin
            .get(at)
            .is_some_and(|origin| origin.body == record.body);
        if record.seq != at as u64 + 1 || !same {
            return Some(format!(
                "seq {} is not what its origin has there",
                record.seq
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_promise_of_a_stream_is_found() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let claims = StreamClaims {
            made: true,
            told: words("a c"),
            tried: words("a b c"),
        };
        assert_eq!(claims.compare(&words("a b c")), None);
        assert_eq!(claims.compare(&words("a c")), None);
        for (lines, why) in [
            ("a x c", "nobody"),
            ("a a c", "twice"),
            ("a b", "lost"),
            ("c a", "lost"),
        ] {
            let said = claims.compare(&words(lines)).unwrap();
            assert!(said.contains(why), "{lines}: {said}");
        }
    }

    #[test]
    fn each_broken_promise_of_a_mirror_is_found() {
        let record = |seq, body: &str| Record {
            seq,
            id: format!("id-{body}"),
            body: body.as_bytes().to_vec(),
        };
        let origin = [record(1, "a"), record(2, "b")];
        assert_eq!(differs(&[], &origin[..1], &origin), None);
        assert_eq!(differs(&origin[..1], &origin, &origin), None);
        assert!(
            differs(&origin, &origin[..1], &origin)
                .unwrap()
                .contains("lost")
        );
        let wrong = [record(1, "b")];
        assert!(differs(&[], &wrong, &origin).unwrap().contains("origin"));
    }
}
