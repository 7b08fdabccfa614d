//! The loop and its log, against a real directory.

use std::fs;
use std::path::PathBuf;

use hbuf_core::ids::Hash;
use hbuf_core::name::Name;
use hbuf_core::record::Line;
use hbuf_manager::{
    BufferConfig, CLUSTER_VERSIONS, CreateBuffer, Lifecycle, Outcome, RegisterNode, State,
};
use tempfile::TempDir;

use super::log::{self, LogError};
use super::*;

const CLIENT: Uuid = Uuid([1; 16]);

fn now() -> Micros {
    Micros(1_800_000_000_000_000)
}

fn open_with(directory: &Path, roll_bytes: u64) -> Result<Manager, OpenError> {
    Manager::open(directory, LogOptions { roll_bytes }, CLIENT, now)
}

fn open(directory: &TempDir) -> Manager {
    open_with(directory.path(), 1 << 30).unwrap()
}

fn uuid(n: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Uuid::from_random(bytes)
}

fn found() -> Action {
    Action::FoundCluster {
        cluster: uuid(9),
        version: CLUSTER_VERSIONS.max,
    }
}

fn register() -> Action {
    let name = Name::parse("n1").unwrap();
    Action::RegisterNode(RegisterNode::new(name, uuid(1), CLUSTER_VERSIONS))
}

fn create(n: u64) -> Action {
    Action::CreateBuffer(Box::new(CreateBuffer {
        tenant: Name::default_tenant(),
        name: Name::parse(&format!("b{n}")).unwrap(),
        uuid: uuid(n),
        log: uuid(n),
        history: uuid(n),
        idem_key: Hash([1; 32]),
        config: BufferConfig::default(),
        region: None,
        copies: vec![Name::parse("n1").unwrap()],
        topics: Vec::new(),
        mirror: None,
    }))
}

fn founded(manager: &Manager) -> ManagerHandle {
    let handle = manager.handle();
    handle.propose_blocking(found()).unwrap();
    handle.propose_blocking(register()).unwrap();
    handle
}

fn only_file(directory: &TempDir) -> PathBuf {
    let files = log::files(directory.path()).unwrap();
    assert_eq!(files.len(), 1);
    directory
        .path()
        .join(hbuf_core::segment::file_name(files[0]))
}

/// The offsets of the records of a file.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut offsets = Vec::new();
    while at < bytes.len() {
        offsets.push(at);
        at += usize::try_from(Line::parse(&bytes[at..]).unwrap().record_len()).unwrap();
    }
    offsets
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    let handle = founded(&manager);
    let done = handle.propose_blocking(create(1)).unwrap();
    assert!(matches!(done.outcome, Outcome::Buffer { version: 1, .. }));
    let refused = handle.propose_blocking(create(1 << 40)).map(|_| ());
    assert_eq!(refused, Ok(()));
    let again = Action::ConfirmBuffer {
        uuid: uuid(77),
        reserved: None,
    };
    let refused = handle.propose_blocking(again).unwrap_err();
    assert_eq!(
        refused,
        ProposeError::Refused(Refused::NoSuchBuffer { uuid: uuid(77) })
    );
    let hash = handle.view(Catalog::state_hash);
    manager.stop();
    assert_eq!(
        handle.propose_blocking(create(2)),
        Err(ProposeError::Stopping)
    );

    let manager = open(&directory);
    let found = manager.handle().view(|catalog| {
        let buffer = catalog
            .resolve_buffer("-", "b1")
            .map(|buffer| buffer.lifecycle);
        (catalog.state_hash(), buffer)
    });
    assert_eq!(found, (hash, Some(Lifecycle::Reserved)));
}

#[test]
fn the_log_can_be_grepped() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    founded(&manager);
    manager.stop();
    let text = String::from_utf8(fs::read(only_file(&directory)).unwrap()).unwrap();
    let commands: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("command:"))
        .collect();
    assert_eq!(
        commands,
        ["command: found-cluster", "command: register-node"]
    );
}

#[tokio::test]
async fn many_who_ask_at_once_are_all_answered_and_a_watch_sees_them() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    let handle = manager.handle();
    let mut watch = handle.watch();
    handle.propose(found()).await.unwrap();
    handle.propose(register()).await.unwrap();
    let asking: Vec<_> = (0..500)
        .map(|n| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.propose(create(n)).await.unwrap().index })
        })
        .collect();
    let mut indexes = Vec::new();
    for ask in asking {
        indexes.push(ask.await.unwrap());
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (3..503).collect::<Vec<_>>());
    assert_eq!(
        *watch.wait_for(|applied| *applied == 502).await.unwrap(),
        502
    );
    assert_eq!(handle.view(Catalog::buffer_count), 500);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    let handle = founded(&manager);
    handle.propose_blocking(create(1)).unwrap();
    manager.stop();
    let path = only_file(&directory);
    let whole = fs::read(&path).unwrap();
    let last = *offsets(&whole).last().unwrap();
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let manager = open(&directory);
        assert_eq!(manager.handle().view(Catalog::applied), 2, "cut at {cut}");
        manager.handle().propose_blocking(create(2)).unwrap();
        manager.stop();
        let manager = open(&directory);
        assert!(
            manager
                .handle()
                .view(|catalog| catalog.resolve_buffer("-", "b2").is_some())
        );
        manager.stop();
    }
}

#[test]
fn a_batch_that_reached_the_disk_in_part_and_out_of_order_is_cut_at_its_first_hole() {
    let directory = TempDir::new().unwrap();
    let (catalog, mut log) =
        recover::recover(directory.path(), LogOptions::default(), now()).unwrap();
    let commands = |actions: Vec<Action>| -> Vec<Command> {
        let command = |(number, action)| Command {
            client: CLIENT,
            number,
            time: now(),
            action,
        };
        (1..).zip(actions).map(command).collect()
    };
    assert_eq!(catalog.applied(), 0);
    log.append(&commands(vec![found()]), now()).unwrap();
    log.append(&commands(vec![register(), create(1), create(2)]), now())
        .unwrap();
    let path = only_file(&directory);
    let mut bytes = fs::read(&path).unwrap();
    let third = offsets(&bytes)[3];
    bytes[third..third + 200].fill(0);
    fs::write(&path, &bytes).unwrap();
    let manager = open(&directory);
    assert_eq!(manager.handle().view(Catalog::applied), 2);
    assert_eq!(fs::metadata(&path).unwrap().len(), third as u64);
}

#[test]
fn damage_to_what_was_answered_refuses_the_start_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    let handle = founded(&manager);
    handle.propose_blocking(create(1)).unwrap();
    manager.stop();
    let path = only_file(&directory);
    let mut bytes = fs::read(&path).unwrap();
    let second = offsets(&bytes)[2];
    bytes[second + 300] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = open_with(directory.path(), 1 << 30).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("restore"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_command_of_a_newer_version_refuses_the_start_and_says_so() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    founded(&manager);
    manager.stop();
    let path = only_file(&directory);
    let mut bytes = fs::read(&path).unwrap();
    let end = offsets(&bytes)[2];
    bytes.truncate(end);
    let frame = hbuf_core::record::Frame {
        seq: hbuf_core::ids::Seq(2),
        time: now(),
        epoch: hbuf_core::ids::Epoch(1),
        distance: 1,
        rest: 0,
        facts: &hbuf_core::record::Facts::of(hbuf_core::record::Kind::Command),
        lines: b"",
        proof: hbuf_core::record::Proof::None,
        body: b"command: fold\nclient: 01010101-0101-0101-0101-010101010101\nnumber: 2\ntime: 1\n",
    };
    hbuf_core::record::encode(&frame, &mut bytes);
    fs::write(&path, &bytes).unwrap();
    let error = open_with(directory.path(), 1 << 30).unwrap_err();
    assert!(matches!(error, OpenError::Entry { .. }), "{error}");
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn a_long_log_is_replaced_by_a_snapshot_and_two_files_stay() {
    let directory = TempDir::new().unwrap();
    let manager = open_with(directory.path(), 4 << 10).unwrap();
    let handle = founded(&manager);
    for n in 0..400 {
        handle.propose_blocking(create(n)).unwrap();
    }
    let hash = handle.view(Catalog::state_hash);
    manager.stop();
    let files = log::files(directory.path()).unwrap();
    assert_eq!(files.len(), 2);
    assert!(files[0].0 > 1);
    // As after a crash between the two steps of a roll.
    fs::write(
        directory.path().join("00000000000000000999.hbuf.tmp"),
        b"half",
    )
    .unwrap();
    let manager = open_with(directory.path(), 4 << 10).unwrap();
    assert_eq!(manager.handle().view(Catalog::state_hash), hash);
    assert!(
        !directory
            .path()
            .join("00000000000000000999.hbuf.tmp")
            .exists()
    );
    manager.handle().propose_blocking(create(400)).unwrap();
    manager.stop();
    let manager = open_with(directory.path(), 4 << 10).unwrap();
    assert_eq!(manager.handle().view(Catalog::buffer_count), 401);
}

#[test]
fn a_damaged_snapshot_or_a_file_at_another_place_refuses_the_start() {
    let directory = TempDir::new().unwrap();
    let manager = open_with(directory.path(), 1).unwrap();
    founded(&manager);
    manager.stop();
    let files = log::files(directory.path()).unwrap();
    let newest = directory
        .path()
        .join(hbuf_core::segment::file_name(*files.last().unwrap()));
    let whole = fs::read(&newest).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&newest, &bytes).unwrap();
        let error = open_with(directory.path(), 1).unwrap_err();
        assert!(!matches!(error, OpenError::Io { .. }), "byte {at}: {error}");
    }
    fs::write(&newest, &whole).unwrap();
    let elsewhere = directory.path().join("00000000000000000099.hbuf");
    fs::rename(&newest, elsewhere).unwrap();
    let error = open_with(directory.path(), 1).unwrap_err();
    assert!(matches!(error, OpenError::Misplaced { .. }), "{error}");
}

#[test]
fn a_full_disk_takes_nothing_and_goes_on_when_there_is_room() {
    let directory = TempDir::new().unwrap();
    let (_, mut log) = recover::recover(directory.path(), LogOptions::default(), now()).unwrap();
    let end = log.end;
    let path = only_file(&directory);
    let mut half = fs::read(&path).unwrap();
    half.extend_from_slice(b"POST /half a command");
    fs::write(&path, half).unwrap();
    let error = log.take_back(io::Error::from(io::ErrorKind::StorageFull));
    assert!(matches!(error, LogError::Full));
    assert_eq!(fs::metadata(&path).unwrap().len(), end);
    let command = Command {
        client: CLIENT,
        number: 1,
        time: now(),
        action: found(),
    };
    log.append(&[command], now()).unwrap();
    drop(log);
    assert_eq!(open(&directory).handle().view(Catalog::applied), 1);
}

#[test]
fn after_a_failure_of_the_disk_nothing_is_applied_and_views_go_on() {
    let directory = TempDir::new().unwrap();
    let manager = open(&directory);
    founded(&manager);
    manager.stop();
    let (catalog, mut log) =
        recover::recover(directory.path(), LogOptions::default(), now()).unwrap();
    // A descriptor that cannot be written stands for a disk that says no.
    log.file = fs::File::open(only_file(&directory)).unwrap();
    let manager = Manager::start(catalog, log, CLIENT, now).unwrap();
    let handle = manager.handle();
    for _ in 0..2 {
        let error = handle.propose_blocking(create(1)).unwrap_err();
        assert!(matches!(error, ProposeError::Failed { .. }), "{error}");
        assert!(error.to_string().contains("restart"), "{error}");
    }
    assert!(handle.failed().is_some());
    assert_eq!(handle.view(Catalog::applied), 2);
    manager.stop();
}
