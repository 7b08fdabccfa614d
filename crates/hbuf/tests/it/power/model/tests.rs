use std::ffi::OsStr;
use std::path::Path;

use super::super::draw::Draws;
use super::super::file::FileData;
use super::super::pages::PAGE_BYTES;
use super::*;

fn new_file(model: &mut Model, name: &str) -> Ino {
    model
        .make(
            ROOT,
            OsStr::new(name),
            Node::File(FileData::default()),
            0o644,
        )
        .unwrap()
        .ino
}

fn sync(model: &mut Model, ino: Ino) -> Result<(), Fault> {
    let ticket = model.begin_sync()?;
    model.finish_sync(ino, ticket)
}

fn sync_dir(model: &mut Model, dir: Ino) -> Result<(), Fault> {
    let ticket = model.begin_dir_sync()?;
    model.finish_dir_sync(dir, ticket)
}

/// What `name` holds for each seed; `None` where it is gone.
fn survivors(model: &Model, name: &str) -> Vec<Option<Vec<u8>>> {
    (0..200)
        .map(|seed| {
            let target = tempfile::tempdir().unwrap();
            let root = target.path().join("disk");
            model.surviving(Draws::new(seed)).write_to(&root).unwrap();
            std::fs::read(root.join(name)).ok()
        })
        .collect()
}

#[test]
fn a_file_needs_its_own_sync_and_that_of_its_directory() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.write(ino, 0, b"data").unwrap();
    sync(&mut model, ino).unwrap();
    assert!(
        survivors(&model, "a").contains(&None),
        "the entry was never synced"
    );
    sync_dir(&mut model, ROOT).unwrap();
    assert!(
        survivors(&model, "a")
            .iter()
            .all(|found| found.as_deref() == Some(b"data"))
    );
}

#[test]
fn a_directory_that_was_not_synced_may_lose_a_synced_file() {
    let mut model = Model::default();
    let dir = model
        .make(ROOT, OsStr::new("d"), Node::Dir, 0o755)
        .unwrap()
        .ino;
    let file = Node::File(FileData::default());
    let ino = model.make(dir, OsStr::new("a"), file, 0o644).unwrap().ino;
    model.write(ino, 0, b"data").unwrap();
    sync(&mut model, ino).unwrap();
    sync_dir(&mut model, dir).unwrap();
    assert!(survivors(&model, "d/a").contains(&None));
    sync_dir(&mut model, ROOT).unwrap();
    assert!(!survivors(&model, "d/a").contains(&None));
}

#[test]
fn a_lost_unlink_brings_the_file_back_with_its_content() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.write(ino, 0, b"data").unwrap();
    model.sync_everything();
    model.unlink(ROOT, OsStr::new("a")).unwrap();
    let found = survivors(&model, "a");
    assert!(found.contains(&None));
    assert!(found.contains(&Some(b"data".to_vec())));
}

#[test]
fn after_the_cut_every_operation_fails_and_the_sync_at_the_cut_promises_nothing() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    sync_dir(&mut model, ROOT).unwrap();
    model.cut_after_now(Cut {
        class: Class::Sync,
        number: 2,
        later: 0,
    });
    model.write(ino, 0, b"one").unwrap();
    sync(&mut model, ino).unwrap();
    model.write(ino, 3, b"two").unwrap();
    assert_eq!(sync(&mut model, ino), Err(Fault::Io));
    assert_eq!(model.write(ino, 6, b"x"), Err(Fault::Io));
    assert_eq!(model.read(ino, 0, 3), Err(Fault::Io));
    assert_eq!(
        model.lookup(ROOT, OsStr::new("a")).map(|stat| stat.ino),
        Err(Fault::Io)
    );
    let found = survivors(&model, "a");
    assert!(found.contains(&Some(b"one".to_vec())));
    assert!(found.contains(&Some(b"onetwo".to_vec())));
}

#[test]
fn a_power_cut_while_a_sync_runs_fails_the_sync() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.write(ino, 0, b"data").unwrap();
    let ticket = model.begin_sync().unwrap();
    model.cut_now();
    assert_eq!(model.finish_sync(ino, ticket), Err(Fault::Io));
}

#[test]
fn a_failed_sync_fails_once_and_the_next_one_lies_or_works() {
    for (fault, expected) in [
        (SyncFault::Dropped, b"".as_slice()),
        (SyncFault::Kept, b"data"),
    ] {
        let mut model = Model::default();
        let ino = new_file(&mut model, "a");
        model.sync_everything();
        model.write(ino, 0, b"data").unwrap();
        model.fail_next_sync(fault);
        assert_eq!(sync(&mut model, ino), Err(Fault::Io));
        assert_eq!(sync(&mut model, ino), Ok(()));
        assert_eq!(
            model.read(ino, 0, 4).unwrap(),
            b"data",
            "readers see the cache"
        );
        assert!(
            survivors(&model, "a")
                .iter()
                .all(|found| found.as_deref() == Some(expected))
        );
    }
}

#[test]
fn a_full_disk_takes_what_fits_then_refuses_and_recovers_when_space_returns() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.leave_space(Some(2 * PAGE_BYTES));
    assert_eq!(
        model.write(ino, 0, &[1; 3 * PAGE_BYTES as usize]),
        Ok(2 * PAGE_BYTES)
    );
    assert_eq!(model.write(ino, 2 * PAGE_BYTES, b"x"), Err(Fault::NoSpace));
    // The rest of a page that is taken has room, wherever in it the write begins.
    let rest = PAGE_BYTES - 100;
    assert_eq!(
        model.write(ino, PAGE_BYTES + 100, &[1; 2 * PAGE_BYTES as usize]),
        Ok(rest)
    );
    assert_eq!(model.write(ino, 0, b"overwrites need no space"), Ok(24));
    assert_eq!(
        model.reserve(ino, 0, 3 * PAGE_BYTES, true),
        Err(Fault::NoSpace)
    );
    model.unlink(ROOT, OsStr::new("a")).unwrap();
    let other = new_file(&mut model, "b");
    assert_eq!(model.write(other, 0, b"x"), Ok(1));
    model.leave_space(None);
    assert_eq!(
        model.write(other, 0, &[1; 9 * PAGE_BYTES as usize]),
        Ok(9 * PAGE_BYTES)
    );
}

#[test]
fn reserved_space_is_taken_once() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.leave_space(Some(2 * PAGE_BYTES));
    model.reserve(ino, 0, 2 * PAGE_BYTES, true).unwrap();
    assert_eq!(model.stat(ino).unwrap().len, 0);
    assert_eq!(
        model.write(ino, 0, &[1; 2 * PAGE_BYTES as usize]),
        Ok(2 * PAGE_BYTES)
    );
}

#[test]
fn bad_ranges_fail_reads_that_touch_them_and_flips_reach_the_disk() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.write(ino, 0, b"abcdef").unwrap();
    model.sync_everything();
    model.fail_reads(ino, 2, 1);
    assert_eq!(model.read(ino, 0, 2).unwrap(), b"ab");
    assert_eq!(model.read(ino, 1, 2), Err(Fault::Io));
    assert_eq!(model.resolve(Path::new("a")), Ok(ino));
    model.flip(ino, 5, 0).unwrap();
    assert!(
        survivors(&model, "a")
            .iter()
            .all(|found| found.as_deref() == Some(b"abcdeg"))
    );
}

#[test]
fn a_tree_written_out_and_loaded_again_is_the_same() {
    let mut model = Model::default();
    let dir = model
        .make(ROOT, OsStr::new("d"), Node::Dir, 0o755)
        .unwrap()
        .ino;
    let ino = new_file(&mut model, "a");
    model.write(ino, 3, b"data").unwrap();
    model.link(ino, dir, OsStr::new("b")).unwrap();
    model
        .make(dir, OsStr::new("l"), Node::Link("../a".into()), 0o777)
        .unwrap();
    model.sync_everything();
    let scratch = tempfile::tempdir().unwrap();
    let first = scratch.path().join("first");
    model.surviving(Draws::new(1)).write_to(&first).unwrap();
    let again = Model::load(&first).unwrap();
    let second = scratch.path().join("second");
    again.surviving(Draws::new(2)).write_to(&second).unwrap();
    for path in ["a", "d/b", "d/l"] {
        assert_eq!(
            std::fs::read(second.join(path)).unwrap(),
            b"\0\0\0data",
            "{path}"
        );
    }
}

#[test]
fn what_a_left_out_sync_would_have_covered_can_be_lost_alone() {
    let mut model = Model::default();
    let (a, b) = (new_file(&mut model, "a"), new_file(&mut model, "b"));
    sync_dir(&mut model, ROOT).unwrap();
    model.write(a, 0, b"lost").unwrap();
    model.left_out(a).unwrap();
    model.write(b, 0, b"kept").unwrap();
    model.lose_left_out();
    assert!(
        survivors(&model, "a")
            .iter()
            .all(|found| *found == Some(Vec::new()))
    );
    assert!(
        survivors(&model, "b")
            .iter()
            .all(|found| *found == Some(b"kept".to_vec()))
    );
}

#[test]
fn a_disk_that_wrote_nothing_by_itself_keeps_only_what_was_synced() {
    let mut model = Model::default();
    let a = new_file(&mut model, "a");
    sync_dir(&mut model, ROOT).unwrap();
    model.write(a, 0, b"one").unwrap();
    sync(&mut model, a).unwrap();
    model.write(a, 3, b"two").unwrap();
    new_file(&mut model, "b");
    model.lose_unsynced();
    assert!(
        survivors(&model, "a")
            .iter()
            .all(|found| *found == Some(b"one".to_vec()))
    );
    assert!(survivors(&model, "b").iter().all(Option::is_none));
}

#[test]
fn one_kind_of_change_can_be_lost_alone() {
    let mut model = Model::default();
    let ino = new_file(&mut model, "a");
    model.write(ino, 0, b"old").unwrap();
    model.sync_everything();
    model.write(ino, 3, b"tail").unwrap();
    model.set_len(ino, 3).unwrap();
    model.write(ino, 3, b"new").unwrap();
    let gone = new_file(&mut model, "gone");
    model.write(gone, 0, b"x").unwrap();
    sync_dir(&mut model, ROOT).unwrap();
    model.unlink(ROOT, OsStr::new("gone")).unwrap();
    new_file(&mut model, "b");
    let left = |loss| {
        let mut model = model.clone();
        model.lose(loss);
        let target = tempfile::tempdir().unwrap();
        let root = target.path().join("disk");
        model.surviving(Draws::new(1)).write_to(&root).unwrap();
        let left = |name| std::fs::read(root.join(name)).ok();
        (left("a"), left("b").is_some(), left("gone").is_some())
    };
    let a = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(left(Loss::Unsynced), (a("old"), false, true));
    assert_eq!(left(Loss::Contents), (a("old"), true, false));
    assert_eq!(left(Loss::Shrinks), (a("oldtail"), true, false));
    assert_eq!(left(Loss::Creations), (a("oldnew"), false, false));
    assert_eq!(left(Loss::Removals), (a("oldnew"), true, true));
}

#[test]
fn a_cut_can_come_some_operations_after_a_left_out_sync() {
    let mut model = Model::default();
    let a = new_file(&mut model, "a");
    model.cut_after_now(Cut {
        class: Class::LeftOut,
        number: 1,
        later: 2,
    });
    model.write(a, 0, b"before").unwrap();
    model.left_out(a).unwrap();
    model.write(a, 0, b"first").unwrap();
    assert_eq!(model.write(a, 0, b"second"), Err(Fault::Io));
}

#[test]
fn after_the_end_of_a_process_the_cache_is_as_it_was_and_the_next_cut_counts_from_there() {
    let mut model = Model::default();
    let a = new_file(&mut model, "a");
    let cut = Cut {
        class: Class::Write,
        number: 1,
        later: 0,
    };
    model.cut_after_now(cut);
    assert_eq!(model.write(a, 0, b"one"), Err(Fault::Io));
    assert_eq!(model.write(a, 0, b"two"), Err(Fault::Io));
    model.resume();
    assert_eq!(model.read(a, 0, 9).unwrap(), b"one");
    model.cut_after_now(Cut { number: 2, ..cut });
    model.write(a, 0, b"two").unwrap();
    assert_eq!(model.write(a, 0, b"three"), Err(Fault::Io));
}
