//! The vectors of `docs/FORMAT.md`: computed here, compared with the page, and read back from it.
//!
//! `UPDATE_EXPECT=1 cargo test -p hbuf-core` writes the page's blocks anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use hbuf_core::commitment::{Leaf, commitment, facts_hash};
use hbuf_core::consumer::{Delta, Progress, fold};
use hbuf_core::filter::{Dictionary, Seed, TagListWriter, TermKind, TermsOf, encode_terms};
use hbuf_core::ids::{Epoch, Hash, Seq, Uuid};
use hbuf_core::journal::{Entry, EntryLine, encode_entry};
use hbuf_core::mark::{Mark, SLOT_LEN};
use hbuf_core::record::{
    Facts, Frame, JournalFile, Kind, Producer, Proof, ProofKind, Verdict, decode, encode, erase,
    head_len,
};
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead};
use hbuf_core::time;
use hbuf_core::topic::{BufferPlace, RunHead, Slot, TopicCursor};
use hbuf_core::tree::{Checkpoint, Frontier, Leaves, ProofFile, prove_inclusion};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/FORMAT.md");
const LINES: &[u8] = b"x-hbuf-key: user-1717\r\nx-hbuf-tag: web7, eu-west-1\r\n\
    content-type: application/json\r\n";
const BODY: &[u8] = b"{\"order\":17,\"total\":\"12.50\"}";

fn log() -> Uuid {
    Uuid::parse("6ba7b810-9dad-41d1-80b4-00c04fd430c8").unwrap()
}

fn buffer() -> Uuid {
    Uuid::parse("0f0e0d0c-0b0a-4908-8706-050403020100").unwrap()
}

fn history() -> Uuid {
    Uuid::parse("00112233-4455-4677-8899-aabbccddeeff").unwrap()
}

fn salt() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

fn message(seq: u64, facts: &Facts) -> (Vec<u8>, Leaf) {
    let leaf = Leaf {
        log: log(),
        seq: Seq(seq),
        time: time::parse(b"2026-11-20T11:15:22.123456Z").unwrap(),
        head_len: head_len(facts, LINES.len(), BODY.len(), ProofKind::Salted),
        body_len: BODY.len() as u64,
        facts: facts_hash(facts),
        commitment: commitment(&salt(), LINES, BODY),
    };
    let frame = Frame {
        seq: leaf.seq,
        time: leaf.time,
        epoch: Epoch(3),
        distance: 1,
        rest: 0,
        facts,
        lines: LINES,
        proof: Proof::Salted {
            salt: salt(),
            id: leaf.id(),
        },
        body: BODY,
    };
    let mut out = Vec::new();
    encode(&frame, &mut out);
    (out, leaf)
}

fn some_facts() -> Facts {
    Facts {
        producer: Some(Producer {
            id: "till-4".into(),
            epoch: 2,
            number: 1009,
        }),
        idem: Some(Hash([0xab; 32])),
        ..Facts::default()
    }
}

pub(crate) fn plain_record() -> Vec<u8> {
    message(42, &Facts::default()).0
}

pub(crate) fn facts_record() -> Vec<u8> {
    message(43, &some_facts()).0
}

/// The ids of the first leaves of the examples' tree.
fn ids(count: u64) -> Vec<Hash> {
    (1..=count)
        .map(|seq| message(seq, &Facts::default()).1.id())
        .collect()
}

fn frontier(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier
}

pub(crate) fn segment_head() -> Vec<u8> {
    let head = SegmentHead {
        format: FORMAT,
        kind: LogKind::Messages,
        buffer: buffer(),
        log: log(),
        history: history(),
        first: Seq(4),
        time: time::parse(b"2026-11-20T11:15:22.123456Z").unwrap(),
        epoch: Epoch(3),
        frontier: frontier(&ids(3)),
        epochs: vec![(Epoch(1), Seq(1)), (Epoch(3), Seq(3))],
        compacted: None,
    };
    let mut out = Vec::new();
    head.encode(&mut out);
    out
}

fn mark_slot() -> Vec<u8> {
    let mark = Mark {
        generation: 7,
        buffer: buffer(),
        log: log(),
        history: history(),
        time: time::parse(b"2026-11-20T11:15:22.123456Z").unwrap(),
        durable: Seq(3),
        first: Seq(1),
        file: Seq(1),
        offset: 2081,
        frontier: frontier(&ids(3)),
        epochs: vec![(Epoch(1), Seq(1)), (Epoch(3), Seq(3))],
        table: Some("producers-3".into()),
        fence: 118,
        clean: false,
    };
    let mut slot = [0; SLOT_LEN];
    mark.encode(&mut slot);
    let end = slot.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    slot[..end].to_vec()
}

fn journal_entry() -> Vec<u8> {
    let line = EntryLine {
        position: 119,
        time: time::parse(b"2026-11-20T11:15:22.123999Z").unwrap(),
        epoch: Epoch(9),
        distance: 1,
    };
    let body = plain_record();
    let entry = Entry {
        buffer: buffer(),
        file: JournalFile::Messages(Seq(42)),
        body: &body,
    };
    let mut out = Vec::new();
    encode_entry(line, &entry, &mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn values(facts: &Facts, seq: u64) -> String {
    let (_, leaf) = message(seq, facts);
    let mut lines = Vec::new();
    facts.encode(&mut lines);
    format!(
        "log         {}\nsalt        {}\nuser lines  {} bytes\nfact lines  {} bytes\n\
         commitment  {}\nfacts       {}\nleaf        {}\nid          {}\n",
        log(),
        hex(&salt()),
        LINES.len(),
        lines.len(),
        leaf.commitment,
        leaf.facts,
        hex(&leaf.encode()),
        leaf.id(),
    )
}

fn tree_values() -> String {
    let leaves = ids(3);
    let mut text = String::new();
    for (at, id) in leaves.iter().enumerate() {
        writeln!(text, "id of seq {}     {id}", at + 1).unwrap();
    }
    for size in 0..=3 {
        writeln!(
            text,
            "root of size {size}  {}",
            frontier(&leaves[..size]).root()
        )
        .unwrap();
    }
    text
}

fn proof_file() -> String {
    let leaves = ids(3);
    let base = Frontier::new();
    let all = Leaves {
        base: &base,
        hashes: &leaves,
    };
    let file = ProofFile {
        index: 1,
        extra: message(2, &Facts::default()).1.encode().to_vec(),
        hashes: prove_inclusion(1, 3, &mut |start, end| all.node(start, end)).unwrap(),
        checkpoint: Checkpoint {
            origin: format!("hbuf/{}", log()),
            size: 3,
            root: frontier(&leaves).root(),
        },
        signatures: String::new(),
    };
    assert!(file.verify(&leaves[1]));
    let mut text = Vec::new();
    file.encode(&mut text);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(ProofFile::parse(&text), Ok(file));
    text
}

/// A record as the page shows it, without the CRs.
fn shown(record: &[u8]) -> String {
    String::from_utf8(record.to_vec())
        .unwrap()
        .replace("\r\n", "\n")
}

/// `web7` and `eu-west-1` saved together, then `a`.
fn dictionary() -> Vec<u8> {
    let (mut file, mut dictionary) = (Vec::new(), Dictionary::new(log(), Seed(salt())));
    for tags in [&[&b"web7"[..], b"eu-west-1"][..], &[b"a"]] {
        for tag in tags {
            dictionary.intern(tag, &file).unwrap();
        }
        file.extend(dictionary.unsaved_part().unwrap().1);
        dictionary.saved();
    }
    file
}

fn tags() -> Vec<u8> {
    let stamp = Dictionary::open(&dictionary(), log()).unwrap().stamp();
    let mut pairs = vec![(0_u32, 0), (0, 1), (0, 2), (1, 3)];
    let of = TermsOf {
        first: Seq(101),
        records: 4,
        bytes: 2081,
    };
    encode_terms(TermKind::Tags, log(), of, stamp, &mut pairs)
}

fn filter() -> String {
    let (mut writer, mut lines) = (TagListWriter::default(), Vec::new());
    writer.push(b"web7", &mut lines).unwrap();
    writer.push(b"eu-west-1", &mut lines).unwrap();
    let mut file = writer.list(b"Some").head();
    file.extend(lines);
    String::from_utf8(file).unwrap()
}

fn cursor() -> TopicCursor {
    TopicCursor {
        topic: 7,
        places: vec![
            BufferPlace::new(&buffer(), &history(), Seq(300)),
            BufferPlace::new(&log(), &history(), Seq(1)),
        ],
    }
}

fn run_heads() -> Vec<u8> {
    let mut out = Vec::new();
    let run = RunHead::Run {
        buffer: buffer(),
        history: history(),
        first: Seq(42),
        time: time::parse(b"2026-11-20T11:15:22.123456Z").unwrap(),
    };
    let end = RunHead::End {
        cursor: Some(cursor().encode()),
        gaps: vec!["orders-2; reason=paused".into()],
    };
    run.encode(&mut out);
    end.encode(&mut out);
    out
}

/// What a cursors log holds of a consumer: all of it, a move, its end.
fn consumer_records() -> Vec<u8> {
    let consumer = Uuid::parse("5c0f2a7e-93d1-4b6a-8f5e-2d41c7a90b36").unwrap();
    let whole = Progress {
        through: Seq(12),
        open: [(Seq(7), 2), (Seq(9), 0)].into(),
    };
    let later = Progress {
        through: Seq(20),
        open: [(Seq(9), 1)].into(),
    };
    let moved = whole.delta(consumer, &later).unwrap();
    let said = [whole.whole(consumer), moved, Delta::gone(consumer)];
    let mut out = Vec::new();
    for (seq, delta) in (42..).zip(&said) {
        let frame = Frame {
            seq: Seq(seq),
            time: time::parse(b"2026-11-20T11:15:22.123456Z").unwrap(),
            epoch: Epoch(3),
            distance: 1,
            rest: 0,
            facts: &Facts::of(Kind::Cursor),
            lines: b"",
            proof: Proof::None,
            body: &delta.encode(),
        };
        encode(&frame, &mut out);
    }
    out
}

#[test]
fn records_of_a_consumer_fold_to_what_they_say() {
    let bytes = consumer_records();
    let (mut rest, mut known) = (&bytes[..], BTreeMap::new());
    let mut states = Vec::new();
    while let Some(line) = hbuf_core::skim::skim(rest) {
        let (record, behind) = rest.split_at(line.record_len() as usize);
        rest = behind;
        let delta = Delta::parse(decode(record).unwrap().body).unwrap();
        fold(&mut known, &delta);
        let progress: Option<&Progress> = known.values().next();
        states.push(progress.map(|progress| (progress.cursor().0, progress.through.0)));
    }
    assert_eq!(states, [Some((6, 12)), Some((8, 20)), None]);
}

fn cursor_values() -> String {
    let slot = Slot::of(b"user-1717").number();
    format!("cursor  {}\nslot    {slot}\n", cursor().encode())
}

/// Bytes as the page shows them: sixteen a line.
fn dumped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(16) {
        let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", digits.join(" ")).unwrap();
    }
    text
}

fn vectors() -> BTreeMap<&'static str, String> {
    let mut gone = plain_record();
    erase(&mut gone).unwrap();
    BTreeMap::from([
        ("plain-record", shown(&plain_record())),
        ("plain-values", values(&Facts::default(), 42)),
        ("facts-record", shown(&facts_record())),
        ("facts-values", values(&some_facts(), 43)),
        ("gone-record", shown(&gone)),
        ("segment-head", shown(&segment_head())),
        ("journal-entry", shown(&journal_entry())),
        ("mark-slot", shown(&mark_slot())),
        ("tree", tree_values()),
        ("proof", proof_file()),
        ("run-heads", shown(&run_heads())),
        ("cursor", cursor_values()),
        ("consumer-records", shown(&consumer_records())),
        ("dictionary", dumped(&dictionary())),
        ("tags", dumped(&tags())),
        ("filter", filter()),
    ])
}

/// The page's blocks that have a name: ```` ```text name ````.
fn blocks(page: &str) -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    let mut lines = page.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let Some(name) = line.trim_end().strip_prefix("```text ") else {
            continue;
        };
        let text = lines
            .by_ref()
            .take_while(|line| !line.starts_with("```"))
            .collect();
        assert!(
            blocks.insert(name.to_owned(), text).is_none(),
            "{name} stands twice"
        );
    }
    blocks
}

fn rewritten(page: &str, vectors: &BTreeMap<&str, String>) -> String {
    let mut out = String::new();
    let mut lines = page.split_inclusive('\n');
    while let Some(line) = lines.next() {
        out += line;
        let name = line.trim_end().strip_prefix("```text ");
        if let Some(text) = name.and_then(|name| vectors.get(name)) {
            out += text;
            lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .for_each(drop);
            out += "```\n";
        }
    }
    out
}

#[test]
fn the_page_shows_what_the_code_writes() {
    let mut page = fs::read_to_string(PAGE).unwrap();
    let vectors = vectors();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        page = rewritten(&page, &vectors);
        fs::write(PAGE, &page).unwrap();
    }
    let blocks = blocks(&page);
    assert!(
        blocks.keys().eq(vectors.keys()),
        "the page's blocks: {:?}",
        blocks.keys()
    );
    for (name, text) in &vectors {
        assert_eq!(&blocks[*name], text, "block `{name}` of docs/FORMAT.md");
    }
}

#[test]
fn the_records_of_the_page_read_back_and_verify() {
    let blocks = blocks(&fs::read_to_string(PAGE).unwrap());
    for (name, verdict) in [
        ("plain-record", Verdict::Intact),
        ("facts-record", Verdict::Intact),
        ("gone-record", Verdict::Erased),
    ] {
        let bytes = blocks[name].replace('\n', "\r\n").into_bytes();
        let record = decode(&bytes).unwrap();
        assert_eq!(record.verify(log()), verdict, "{name}");
    }
    let file = ProofFile::parse(&blocks["proof"]).unwrap();
    let leaf = hbuf_core::tree::leaf_hash(&file.extra);
    assert!(file.verify(&leaf));
    assert_eq!(leaf, ids(2)[1]);
}
