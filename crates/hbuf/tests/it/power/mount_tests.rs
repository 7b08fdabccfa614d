//! One mount, used through the kernel: the wiring, and which operations of a process arrive.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::draw::Draws;
use super::model::Model;
use super::mount::Mounted;

#[test]
fn what_a_process_does_in_the_mount_arrives_in_the_model() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("mnt");
    fs::create_dir(&at).unwrap();
    let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).unwrap();

    fs::create_dir_all(at.join("a/b")).unwrap();
    let mut file = File::create(at.join("a/b/tmp")).unwrap();
    file.write_all(b"hello").unwrap();
    file.sync_data().unwrap();
    fs::rename(at.join("a/b/tmp"), at.join("a/b/final")).unwrap();
    std::os::unix::fs::symlink("b/final", at.join("a/link")).unwrap();
    for dir in ["a/b", "a", "."] {
        File::open(at.join(dir)).unwrap().sync_all().unwrap();
    }
    let counts = mounted.model().counts();
    assert_eq!((counts.writes, counts.syncs, counts.dir_syncs), (1, 1, 3));
    assert_eq!(fs::read(at.join("a/link")).unwrap(), b"hello");

    let append = OpenOptions::new()
        .append(true)
        .open(at.join("a/b/final"))
        .unwrap();
    (&append).write_all(b" world").unwrap();
    append.write_all_at(b" again", 100).unwrap_or(());
    append.set_len(11).unwrap();
    assert_eq!(fs::read(at.join("a/b/final")).unwrap(), b"hello world");
    mounted.model().cut_now();
    let failed = append.sync_all().unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(5), "EIO, got {failed}");
    assert!(fs::write(at.join("new"), b"x").is_err());
    drop((file, append));

    let model = mounted.unmount().unwrap();
    let after = scratch.path().join("after");
    model
        .lock()
        .unwrap()
        .surviving(Draws::new(1))
        .write_to(&after)
        .unwrap();
    assert!(
        fs::read(after.join("a/link"))
            .unwrap()
            .starts_with(b"hello")
    );
}

#[test]
fn a_full_mount_says_so_and_syncs_take_their_time() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("mnt");
    fs::create_dir(&at).unwrap();
    let mounted = Mounted::new(Model::default(), &at, Duration::from_millis(20)).unwrap();
    mounted.model().leave_space(Some(8192));
    let mut file = File::create(at.join("a")).unwrap();
    let failed = file.write_all(&[7; 20_000]).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::StorageFull);
    assert_eq!(
        file.metadata().unwrap().len(),
        8192,
        "a short write came first"
    );
    let begun = Instant::now();
    file.sync_data().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(20));
    drop(file);
    mounted.unmount().unwrap();
}

/// The kernel sends no syncfs to a FUSE file system of this kind: `syncfs(2)` reports success and
/// nothing is durable. So a checkpoint that relied on it alone would fail the power-loss tests.
#[test]
fn syncfs_reports_success_and_makes_nothing_durable() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("mnt");
    fs::create_dir(&at).unwrap();
    let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).unwrap();
    fs::write(at.join("a"), b"data").unwrap();
    for arguments in [&["--file-system"][..], &[]] {
        let status = Command::new("sync")
            .args(arguments)
            .arg(at.join("a"))
            .status()
            .unwrap();
        assert!(status.success());
        let expected = if arguments.is_empty() { 1 } else { 0 };
        assert_eq!(mounted.model().counts().syncs, expected, "{arguments:?}");
    }
    mounted.unmount().unwrap();
}

fn is_mounted(at: &std::path::Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&*at.to_string_lossy())
}

#[test]
fn a_mount_that_is_dropped_is_gone_although_a_file_in_it_is_open() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("mnt");
    fs::create_dir(&at).unwrap();
    let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).unwrap();
    let file = File::create(at.join("a")).unwrap();
    assert!(is_mounted(&at));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _mounted = mounted;
        std::panic::resume_unwind(Box::new("a test that fails"));
    }));
    assert!(panicked.is_err());
    assert!(!is_mounted(&at));
    drop(file);
}

#[test]
fn an_unmount_that_is_refused_leaves_no_mount_either() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("mnt");
    fs::create_dir(&at).unwrap();
    let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).unwrap();
    let file = File::create(at.join("a")).unwrap();
    let refused = mounted.unmount().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
    assert!(!is_mounted(&at));
    drop(file);
}
