//! Reads of some messages, against the model: labels follow from the seq.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use hbuf_core::ids::Seq;
use hbuf_core::input::BufferState;
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::name::Name;
use hbuf_core::skim::skim;

use super::super::testing::{Writer, check_records};
use super::super::{Bounds, FilterError, FilterForm, FilterUpload, Pick, ReadError, Readable};
use super::run;

/// Tags of a message: a common one, one of many, and at times a rare one.
fn tags(seq: u64) -> Vec<String> {
    let mut tags = vec![format!("n{}", seq % 97)];
    if !seq.is_multiple_of(3) {
        tags.push("common".into());
    }
    if seq.is_multiple_of(211) {
        tags.push("rare".into());
    }
    if seq.is_multiple_of(5) {
        tags.clear();
    }
    tags
}

fn key(seq: u64) -> Option<String> {
    (!seq.is_multiple_of(7)).then(|| format!("k{}", seq % 31 % 17))
}

fn lines(seq: u64) -> String {
    let key = key(seq).map(|key| format!("x-hbuf-key: {key}\r\n"));
    let tags = tags(seq).join(", ");
    let tags = (!tags.is_empty()).then(|| format!("x-hbuf-tag: {tags}\r\n"));
    key.unwrap_or_default() + &tags.unwrap_or_default()
}

/// Two sealed segments and an open one, of 1,000 messages.
fn writer() -> Writer {
    let mut writer = Writer::with_lines(|seq| (seq % 300) as usize, lines);
    writer.append(400);
    writer.roll_and_seal();
    writer.append(300);
    writer.roll_and_seal();
    writer.append(300);
    writer
}

fn by_tags(tags: &[&str]) -> Pick {
    Pick {
        tags: tags.iter().map(|tag| tag.as_bytes().to_vec()).collect(),
        ..Pick::default()
    }
}

fn by_key(key: &str) -> Pick {
    Pick {
        key: Some(key.as_bytes().to_vec()),
        ..Pick::default()
    }
}

/// Every seq that is picked, in pages of at most so many messages and bytes.
async fn picked(
    buffer: &Arc<Readable>,
    mut pick: Pick,
    after: u64,
    (limit, bytes): (u64, usize),
) -> Result<Vec<u64>, ReadError> {
    let (mut seqs, mut after) = (Vec::new(), Seq(after));
    let through = buffer.commit();
    while after < through {
        let bounds = Bounds {
            through,
            limit,
            bytes,
        };
        let (again, page) = buffer.pick(pick, after, bounds).await?;
        pick = again;
        let mut rest = &page.bytes[..];
        let mut count = 0;
        while let Some(record) = skim(rest) {
            let (record_bytes, behind) = rest.split_at(record.record_len() as usize);
            check_records(record_bytes, record.seq.0, record.seq.0);
            assert!(record.seq > after && record.seq <= page.last);
            seqs.push(record.seq.0);
            rest = behind;
            count += 1;
        }
        assert!(rest.is_empty() && count <= limit);
        assert!(count <= 1 || page.bytes.len() <= bytes);
        assert!(page.last > after, "every page gets on");
        after = page.last;
    }
    Ok(seqs)
}

fn model(after: u64, wants: impl Fn(u64) -> bool) -> Vec<u64> {
    (after + 1..=1000).filter(|&seq| wants(seq)).collect()
}

fn has(seq: u64, tag: &str) -> bool {
    tags(seq).iter().any(|own| own == tag)
}

async fn check(buffer: &Arc<Readable>) {
    for after in [0, 1, 399, 400, 555, 700, 999] {
        for page in [(u64::MAX, PIECE_BYTES), (3, usize::MAX), (9, 900)] {
            let by = async |pick| picked(buffer, pick, after, page).await.unwrap();
            assert_eq!(
                by(by_tags(&["common"])).await,
                model(after, |seq| has(seq, "common"))
            );
            assert_eq!(
                by(by_tags(&["rare"])).await,
                model(after, |seq| has(seq, "rare"))
            );
            let either = by(by_tags(&["n5", "none", "rare"])).await;
            assert_eq!(
                either,
                model(after, |seq| has(seq, "rare") || has(seq, "n5"))
            );
            assert!(by(by_tags(&["none"])).await.is_empty());
            let keyed = |seq| key(seq).as_deref() == Some("k3");
            assert_eq!(by(by_key("k3")).await, model(after, keyed));
            let both = Pick {
                key: by_key("k3").key,
                ..by_tags(&["common"])
            };
            assert_eq!(
                by(both).await,
                model(after, |seq| keyed(seq) && has(seq, "common"))
            );
        }
    }
}

#[test]
fn tags_and_keys_pick_what_the_model_says_in_pages_of_any_size() {
    let writer = writer();
    run(async {
        check(&writer.buffer).await;
        check(&writer.reopened()).await;
    });
}

#[test]
fn whatever_is_missing_or_bad_beside_the_segments_is_made_again() {
    let writer = writer();
    let path = |name: &str| writer.dir.path().join(name);
    let (first, second) = ("00000000000000000001", "00000000000000000401");
    for kind in ["tags", "keys"] {
        assert!(path(&format!("{first}.{kind}")).exists());
    }
    let damage = |name: &str, at: usize| {
        let mut bytes = fs::read(path(name)).unwrap();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        fs::write(path(name), bytes).unwrap();
    };
    let remove = |name: &str| fs::remove_file(path(name)).unwrap();
    run(async {
        for change in 0..8 {
            match change {
                0 => remove("tags.dict"),
                1 => remove(&format!("{first}.tags")),
                2 => remove(&format!("{second}.keys")),
                3 => damage("tags.dict", 40),
                // A block of the dictionary: its tags get numbers anew.
                4 => damage("tags.dict", 200),
                5 => damage(&format!("{first}.tags"), 90),
                6 => damage(&format!("{second}.tags"), usize::MAX),
                _ => damage(&format!("{first}.keys"), 3000),
            }
            check(&writer.reopened()).await;
        }
    });
}

#[test]
fn a_dictionary_that_lost_its_end_is_not_mistaken_for_the_one_that_it_was() {
    let writer = writer();
    let path = writer.dir.path().join("tags.dict");
    let whole = fs::read(&path).unwrap();
    for len in [64, 100, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        run(async {
            let buffer = writer.reopened();
            // Other tags come first, and get the numbers that are free again.
            upload(&buffer, "f", "x1\nx2\nx3\nn5\n").unwrap();
            check(&buffer).await;
        });
    }
}

#[test]
fn messages_that_come_later_are_picked_at_the_tail_and_after_a_roll() {
    let mut writer = Writer::with_lines(|_| 10, lines);
    let mut all = Vec::new();
    let mut pick = by_tags(&["common"]);
    for step in 0..40 {
        writer.append(25);
        if step % 7 == 3 {
            writer.roll_and_seal();
        }
        let buffer = Arc::clone(&writer.buffer);
        let bounds = Bounds {
            through: buffer.commit(),
            limit: u64::MAX,
            bytes: usize::MAX,
        };
        let after = Seq(step * 25);
        let (again, page) = run(buffer.pick(pick, after, bounds)).unwrap();
        pick = again;
        let mut rest = &page.bytes[..];
        while let Some(record) = skim(rest) {
            all.push(record.seq.0);
            rest = &rest[record.record_len() as usize..];
        }
        assert_eq!(page.last, buffer.commit());
    }
    assert_eq!(all, model(0, |seq| has(seq, "common")));
}

#[test]
fn a_record_longer_than_any_piece_is_picked_whole() {
    let mut writer = Writer::with_lines(
        |seq| if seq == 3 { 3 * PIECE_BYTES } else { 10 },
        |seq| format!("x-hbuf-tag: t{}\r\n", seq % 3),
    );
    writer.append(7);
    writer.roll_and_seal();
    writer.append(1);
    let page = (u64::MAX, PIECE_BYTES);
    let found = run(picked(&writer.buffer, by_tags(&["t0"]), 0, page)).unwrap();
    assert_eq!(found, [3, 6]);
}

async fn newest(buffer: &Arc<Readable>, after: u64, page: (u64, usize)) -> Vec<u64> {
    let pick = Pick {
        newest: Some(buffer.newest().await.unwrap()),
        ..Pick::default()
    };
    picked(buffer, pick, after, page).await.unwrap()
}

fn newest_model(after: u64, through: u64) -> Vec<u64> {
    let mut last = BTreeMap::new();
    (1..=through).for_each(|seq| {
        key(seq).map(|key| last.insert(key, seq));
    });
    let stays = |seq: &u64| key(*seq).is_none_or(|key| last[&key] == *seq);
    (after + 1..=through).filter(stays).collect()
}

#[test]
fn the_newest_of_each_key_is_left_over_segments_in_pages_of_any_size() {
    let mut writer = Writer::with_lines(|_| 10, lines);
    for (count, seal) in [
        (5, false),
        (300, true),
        (200, true),
        (60, false),
        (35, true),
    ] {
        writer.append(count);
        let commit = writer.buffer.commit().0;
        run(async {
            for buffer in [&writer.buffer, &writer.reopened()] {
                for after in [0, 3, commit / 2, commit - 1] {
                    for page in [(u64::MAX, PIECE_BYTES), (2, usize::MAX)] {
                        let found = newest(buffer, after, page).await;
                        assert_eq!(found, newest_model(after, commit));
                    }
                }
            }
        });
        if seal {
            writer.roll_and_seal();
        }
    }
}

#[test]
fn the_newest_are_those_of_the_commit_that_the_read_began_with() {
    let mut writer = Writer::with_lines(|_| 10, lines);
    writer.append(300);
    writer.roll_and_seal();
    writer.append(50);
    let buffer = Arc::clone(&writer.buffer);
    let began = run(buffer.newest()).unwrap();
    writer.append(100);
    writer.roll_and_seal();
    writer.append(100);
    let pick = Pick {
        newest: Some(began),
        ..Pick::default()
    };
    let found = run(picked(&buffer, pick, 0, (7, usize::MAX))).unwrap();
    let mut expected = newest_model(0, 350);
    // What comes behind that commit is new to the reader anyway.
    expected.extend(351..=550);
    assert_eq!(found, expected);
}

fn open() -> Option<BufferState> {
    Some(BufferState::Open)
}

fn paused() -> Option<BufferState> {
    Some(BufferState::Paused)
}

fn upload(buffer: &Arc<Readable>, name: &str, text: &str) -> Result<bool, FilterError> {
    let name = Name::parse(name).unwrap();
    let mut upload = FilterUpload::begin(buffer, &name, FilterForm::Text, open)?;
    for piece in text.as_bytes().chunks(7) {
        upload.feed(piece)?;
    }
    upload.finish(open).map(|(_, new)| new)
}

async fn by_filter(buffer: &Arc<Readable>, name: &str) -> Result<Vec<u64>, ReadError> {
    let filter = Some(buffer.filter(name.to_owned()).await?);
    let pick = Pick {
        filter,
        ..Pick::default()
    };
    picked(buffer, pick, 0, (50, usize::MAX)).await
}

#[test]
fn a_stored_filter_picks_its_tags_also_those_that_come_later_and_after_a_restart() {
    let mut writer = Writer::with_lines(|_| 10, lines);
    writer.append(100);
    // `rare` is in no message yet.
    assert!(upload(&writer.buffer, "Some", "rare\nn5\n\n n5 \nnever").unwrap());
    writer.append(400);
    writer.roll_and_seal();
    writer.append(500);
    let wants = |seq| has(seq, "rare") || has(seq, "n5");
    run(async {
        assert_eq!(
            by_filter(&writer.buffer, "some").await.unwrap(),
            model(0, wants)
        );
        assert_eq!(
            by_filter(&writer.reopened(), "SOME").await.unwrap(),
            model(0, wants)
        );
        fs::remove_file(writer.dir.path().join("tags.dict")).unwrap();
        assert_eq!(
            by_filter(&writer.reopened(), "some").await.unwrap(),
            model(0, wants)
        );
    });
    let list = writer.buffer.filter_list("sOme").unwrap().unwrap();
    assert_eq!(
        (list.name.as_slice(), list.tags, list.bytes),
        (&b"Some"[..], 3, 14)
    );
    let text = fs::read_to_string(writer.dir.path().join("filters/some.filter")).unwrap();
    assert!(text.ends_with(" name=Some\nrare\nn5\nnever\n"), "{text}");
}

#[test]
fn a_filter_is_replaced_as_a_whole_or_not_at_all_and_removed() {
    let writer = writer();
    let buffer = &writer.buffer;
    assert!(upload(buffer, "f", "n5\n").unwrap());
    let bad = upload(buffer, "f", "n6\nn7,n8\n").unwrap_err();
    assert!(
        matches!(bad, FilterError::Line(error) if error.line == 2),
        "{bad}"
    );
    run(async {
        assert_eq!(
            by_filter(buffer, "f").await.unwrap(),
            model(0, |seq| has(seq, "n5"))
        );
        let held = buffer.filter("f".into()).await.unwrap();
        assert!(!upload(buffer, "f", "n6\n").unwrap());
        assert_eq!(
            by_filter(buffer, "f").await.unwrap(),
            model(0, |seq| has(seq, "n6"))
        );
        let pick = Pick {
            filter: Some(held),
            ..Pick::default()
        };
        let before = picked(buffer, pick, 0, (50, usize::MAX)).await.unwrap();
        assert_eq!(
            before,
            model(0, |seq| has(seq, "n5")),
            "a read goes on with what it began"
        );
        let remove = || buffer.remove_filter("f", open).unwrap();
        assert!(remove() && !remove());
        let gone = by_filter(buffer, "f").await.unwrap_err();
        assert!(matches!(gone, ReadError::NoFilter { .. }));
    });
    let left: Vec<_> = fs::read_dir(writer.dir.path().join("filters"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_filter_whose_file_was_altered_is_not_used() {
    let writer = writer();
    upload(&writer.buffer, "f", "n5\nn6\n").unwrap();
    let path = writer.dir.path().join("filters/f.filter");
    let text = fs::read_to_string(&path).unwrap().replace("n6", "n7");
    fs::write(&path, text).unwrap();
    let reopened = writer.reopened();
    let error = run(by_filter(&reopened, "f")).unwrap_err();
    assert!(matches!(error, ReadError::FilterDamaged { .. }), "{error}");
    assert!(error.to_string().contains("filter `f`"), "{error}");
    // An upload anew mends it, and whoever asks about it first after a start reads all of it.
    let told = |buffer: &Readable| buffer.filter_list("F").map(|list| list.unwrap().tags);
    let damaged = told(&reopened).unwrap_err();
    assert!(matches!(damaged, FilterError::Damaged { .. }), "{damaged}");
    assert!(!upload(&reopened, "f", "n5\n").unwrap());
    for buffer in [&reopened, &writer.reopened()] {
        assert_eq!((told(buffer).unwrap(), told(buffer).unwrap()), (1, 1));
        assert_eq!(
            run(by_filter(buffer, "f")).unwrap(),
            model(0, |seq| has(seq, "n5"))
        );
    }
}

#[test]
fn one_upload_of_a_name_at_a_time() {
    let writer = writer();
    let name = Name::parse("F").unwrap();
    let first = FilterUpload::begin(&writer.buffer, &name, FilterForm::Text, open).unwrap();
    let second = upload(&writer.buffer, "f", "a").unwrap_err();
    assert!(matches!(second, FilterError::Busy));
    drop(first);
    assert!(upload(&writer.buffer, "f", "a").unwrap());
}

#[test]
fn a_buffer_that_was_paused_during_an_upload_keeps_the_filter_of_before() {
    let writer = writer();
    let buffer = &writer.buffer;
    upload(buffer, "f", "n5").unwrap();
    let filters = || {
        let entries = fs::read_dir(writer.dir.path().join("filters")).unwrap();
        entries.map(|entry| fs::read(entry.unwrap().path()).unwrap())
    };
    let before: Vec<_> = filters().collect();
    let name = Name::parse("f").unwrap();
    let mut second = FilterUpload::begin(buffer, &name, FilterForm::Text, open).unwrap();
    second.feed(b"n6").unwrap();
    let refused = second.finish(paused).map(|(_, new)| new).unwrap_err();
    assert!(matches!(refused, FilterError::Paused), "{refused}");
    let refused = buffer.remove_filter("f", paused).unwrap_err();
    assert!(matches!(refused, FilterError::Paused), "{refused}");
    assert!(filters().eq(before));
    assert_eq!(
        run(by_filter(buffer, "f")).unwrap(),
        run(by_filter(&writer.reopened(), "f")).unwrap()
    );
}

#[test]
fn a_pause_breaks_uploads_off_also_when_it_is_over_soon() {
    let writer = writer();
    let buffer = &writer.buffer;
    let files = || fs::read_dir(writer.dir.path().join("filters")).unwrap();
    let name = Name::parse("F").unwrap();
    let start = |state: fn() -> Option<BufferState>| {
        FilterUpload::begin(buffer, &name, FilterForm::Text, state)
    };
    let mut first = start(open).unwrap();
    let hears = first.paused();
    first.feed(b"n5\n").unwrap();
    assert_eq!((files().count(), *hears.borrow()), (1, false));
    buffer.settle_filters();
    assert_eq!((files().count(), *hears.borrow()), (0, true));
    let refused = start(paused).err().unwrap();
    assert!(matches!(refused, FilterError::Paused), "{refused}");
    // The buffer is open again.
    let busy = start(open).err().unwrap();
    assert!(matches!(busy, FilterError::Busy), "{busy}");
    let refused = first.finish(open).map(|(_, new)| new).unwrap_err();
    assert!(matches!(refused, FilterError::Paused), "{refused}");
    assert_eq!(files().count(), 0);
    assert!(upload(buffer, "f", "n5").unwrap());
}

#[test]
fn a_pause_waits_for_the_filter_that_is_getting_its_name() {
    let writer = writer();
    let name = Name::parse("f").unwrap();
    let mut upload = FilterUpload::begin(&writer.buffer, &name, FilterForm::Text, open).unwrap();
    upload.feed(b"n5").unwrap();
    let (at_state, reached) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let finishing = thread::spawn(move || {
        let asked = || {
            at_state.send(()).unwrap();
            goes_on.recv().unwrap();
            open()
        };
        upload.finish(asked).map(|(_, new)| new).unwrap()
    });
    reached.recv().unwrap();
    let buffer = Arc::clone(&writer.buffer);
    let settling = thread::spawn(move || {
        buffer.settle_filters();
        buffer.filter_list("f").unwrap().is_some()
    });
    thread::sleep(Duration::from_millis(50));
    assert!(!settling.is_finished());
    go_on.send(()).unwrap();
    assert!(finishing.join().unwrap());
    assert!(settling.join().unwrap());
}

/// Every seq that is picked before the read fails, and where it does.
async fn picked_until_damage(buffer: &Arc<Readable>, pick: &[&str], after: u64) -> (Vec<u64>, Seq) {
    let (mut seqs, mut after) = (Vec::new(), Seq(after));
    loop {
        let bounds = Bounds {
            through: Seq(1000),
            limit: 7,
            bytes: usize::MAX,
        };
        match buffer.pick(by_tags(pick), after, bounds).await {
            Err(ReadError::Damaged { seq, .. }) => return (seqs, seq),
            Err(error) => panic!("{error}"),
            Ok((_, page)) => {
                assert!(
                    page.last > after,
                    "{pick:?} behind {after}: every page gets on"
                );
                after = page.last;
                let mut rest = &page.bytes[..];
                while let Some(record) = skim(rest) {
                    seqs.push(record.seq.0);
                    rest = &rest[record.record_len() as usize..];
                }
            }
        }
    }
}

#[test]
fn what_comes_before_damage_is_picked_and_then_the_damage_is_named() {
    let writer = writer();
    // A sealed segment with its terms, one that lost them, and the open one.
    for (file, seq, lost) in [(401, 450, false), (401, 450, true), (701, 950, false)] {
        if lost {
            for kind in ["tags", "keys"] {
                let name = format!("00000000000000000401.{kind}");
                fs::remove_file(writer.dir.path().join(name)).unwrap();
            }
        }
        let at = writer.offset(seq) + 3;
        writer.flip(Seq(file), at);
        run(async {
            for (tag, after) in [("common", 390), ("common", 420), ("n44", 424)] {
                // By terms, what is not wanted is not read.
                if tag != "common" && file == 401 && !lost {
                    continue;
                }
                let (seqs, damaged) = picked_until_damage(&writer.reopened(), &[tag], after).await;
                let sound = (after + 1..seq).filter(|&seq| has(seq, tag));
                assert_eq!(seqs, sound.collect::<Vec<_>>(), "{tag} behind {after}");
                assert_eq!(damaged, Seq(seq));
            }
        });
        writer.flip(Seq(file), at);
    }
}

#[test]
fn a_record_whose_body_is_damaged_is_not_among_what_is_picked() {
    let writer = writer();
    // Of the open segment, whose records are checked as they are picked.
    writer.flip(Seq(701), writer.offset(953) - 3);
    run(async {
        let (seqs, damaged) = picked_until_damage(&writer.reopened(), &["common"], 940).await;
        let sound = (941..952).filter(|&seq| has(seq, "common"));
        assert_eq!(seqs, sound.collect::<Vec<_>>());
        assert_eq!(damaged, Seq(952));
    });
}

#[test]
fn wiping_leaves_no_text_of_a_tag_beside_the_segments_and_reads_go_on() {
    let writer = writer();
    let derived = || {
        let entries = fs::read_dir(writer.dir.path()).unwrap().flatten();
        let names = entries.map(|entry| entry.path());
        let names = names.filter(|path| path.extension().is_none_or(|kind| kind != "hbuf"));
        let bytes: Vec<u8> = names
            .filter(|path| path.is_file())
            .flat_map(|path| fs::read(path).unwrap())
            .collect();
        String::from_utf8_lossy(&bytes).contains("common")
    };
    run(check(&writer.buffer));
    assert!(derived());
    writer.buffer.wipe_tags().unwrap();
    assert!(!derived());
    run(check(&writer.buffer));
}
