//! The text of commands and snapshots.

use super::*;

fn command(action: Action) -> Command {
    Command {
        client: uuid(3),
        number: 4,
        time: Micros(1_700_000_000_000_000),
        action,
    }
}

#[test]
fn a_command_is_lines_that_a_person_can_grep() {
    let text = command(create("foo", 1, "t s")).encode();
    let expected = "\
command: create-buffer
client: 00000000-0000-4000-8000-000000000003
number: 4
time: 1700000000000000
tenant: -
buffer: foo
uuid: 00000000-0000-4000-8000-000000000001
log: 00000000-0000-4000-8000-0000000f4241
history: 00000000-0000-4000-8000-0000001e8481
idem-key: 0707070707070707070707070707070707070707070707070707070707070707
copies: n1
topics: t,s
segment-bytes: 67108864
replicas: 0
";
    assert_eq!(core::str::from_utf8(&text).unwrap(), expected);
    assert_eq!(
        Command::decode(&text).unwrap(),
        command(create("foo", 1, "t s"))
    );
}

#[test]
fn a_command_of_a_later_version_is_its_own_error() {
    let text = String::from_utf8(command(confirm(1)).encode()).unwrap();
    let unknown = text.replace("confirm-buffer", "fold-buffer");
    let error = <Command>::decode(unknown.as_bytes()).unwrap_err();
    assert_eq!(
        error,
        CommandError::Unknown {
            name: "fold-buffer".into()
        }
    );
    assert!(format!("{error}").contains("newer"));
}

#[test]
fn a_field_that_is_unknown_missing_repeated_or_bad_is_refused() {
    let text = String::from_utf8(command(confirm(1)).encode()).unwrap();
    let decode = |text: &str| match <Command>::decode(text.as_bytes()) {
        Err(CommandError::Fields(error)) => error,
        other => panic!("{other:?}"),
    };
    let unknown = decode(&format!("{text}colour: red\n"));
    assert_eq!(
        unknown,
        FieldError::Unknown {
            field: "colour".into()
        }
    );
    let missing = decode(&text.replace("number: 4\n", ""));
    assert_eq!(missing, FieldError::Missing { field: "number" });
    let repeated = decode(&format!("{text}number: 4\n"));
    assert_eq!(
        repeated,
        FieldError::Unknown {
            field: "number".into()
        }
    );
    let bad = decode(&text.replace("number: 4", "number: four"));
    assert_eq!(
        bad,
        FieldError::Value {
            field: "number",
            value: "four".into()
        }
    );
    assert!(matches!(
        decode(&format!("{text}x\n")),
        FieldError::Malformed { .. }
    ));
    assert_eq!(
        <Command>::decode(&[0xff]).unwrap_err(),
        FieldError::NotText.into()
    );
}

fn pieces(catalog: &Catalog, piece_bytes: usize) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let put = |piece: &[u8]| {
        pieces.push(piece.to_vec());
        Ok::<(), core::convert::Infallible>(())
    };
    let Ok(hash) = catalog.encode(piece_bytes, put);
    assert_eq!(hash, catalog.state_hash());
    pieces
}

pub(super) fn read_back(catalog: &Catalog, piece_bytes: usize) -> Result<Catalog, SnapshotError> {
    let mut reader = SnapshotReader::new();
    for piece in pieces(catalog, piece_bytes) {
        reader.push(&piece)?;
    }
    reader.finish()
}

#[test]
fn a_snapshot_of_an_empty_catalog_round_trips() {
    assert_eq!(read_back(&Catalog::new(), 1), Ok(Catalog::new()));
}

/// A snapshot as versions before sessions wrote it.
const FIRST_FORMAT: &str = "\
catalog format=1 applied=6 \
cluster=00000000-0000-4000-8000-000000000009 cluster-version=1 last-topic=0
node id=1 name=n1 disk=00000000-0000-4000-8000-000000000001 epoch=6 clean=true versions=1-1
tenant id=1 name=- version=1 created=5 create-on-append=true segment-bytes=67108864 replicas=0
buffer uuid=00000000-0000-4000-8000-000000000001 tenant=1 name=a \
log=00000000-0000-4000-8000-000000000002 \
history=00000000-0000-4000-8000-000000000003 \
idem-key=0707070707070707070707070707070707070707070707070707070707070707 lifecycle=live \
state=open version=4 epoch=3 primary=1 copies=1 in-sync=1:6:1 created=5 \
segment-bytes=67108864 replicas=0
client id=00000000-0000-4000-8000-00000000004d number=5 index=6 outcome=node:1:6
end rows=5 hash=";

#[test]
fn a_snapshot_of_the_first_format_is_read_and_goes_on() {
    use sha2::{Digest as _, Sha256};
    let (rows, end) = FIRST_FORMAT.split_at(FIRST_FORMAT.find("end ").unwrap());
    let hash = Hash(Sha256::digest(rows.as_bytes()).into());
    let mut reader = SnapshotReader::new();
    reader
        .push(format!("{rows}{end}{hash}\n").as_bytes())
        .unwrap();
    let mut world = World {
        catalog: reader.finish().unwrap(),
        number: 5,
    };
    let it = world.assignment(1).clone();
    assert_eq!((it.primary, it.epoch), (Some(NodeId(1)), Epoch(3)));
    assert_eq!((it.version, world.buffer(1).version), (4, 4));
    assert_eq!(read_back(&world.catalog, 99), Ok(world.catalog.clone()));
    world.ok(register("n1", 1, &[]));
    assert_eq!(world.assignment(1).epoch, Epoch(4));
    let created = world.ok(register("n2", 2, &[]));
    assert!(matches!(created, Outcome::Node { id: NodeId(2), .. }));
}

#[test]
fn a_cluster_version_that_is_not_supported_stops_the_node() {
    let text = String::from_utf8(command(found(1)).encode()).unwrap();
    let later = text.replace("cluster-version: 3", "cluster-version: 4");
    let error = CommandError::ClusterVersion { version: 4 };
    assert_eq!(<Command>::decode(later.as_bytes()), Err(error.clone()));
    let first = text.replace("cluster-version: 3\n", "");
    let read = Command::decode(first.as_bytes()).unwrap();
    assert!(matches!(
        read.action,
        Action::FoundCluster { version: 1, .. }
    ));
    let raised = command(Action::SetClusterVersion { version: 4 });
    assert_eq!(<Command>::decode(&raised.encode()), Err(error));
}

#[test]
fn a_snapshot_that_is_cut_changed_or_newer_is_refused() {
    let world = World::with_buffers(&[("a", 1, "t"), ("b", 2, "t")]);
    let text = String::from_utf8(pieces(&world.catalog, 1 << 20).concat()).unwrap();
    let read = |text: &str| {
        let mut reader = <SnapshotReader>::new();
        reader.push(text.as_bytes())?;
        reader.finish()
    };
    assert_eq!(read(&text).unwrap(), world.catalog);
    let cut = &text[..text.find("end ").unwrap()];
    assert!(matches!(read(cut), Err(SnapshotError::NotWhole { .. })));
    let changed = text.replace("name=a", "name=c");
    assert!(matches!(
        read(&changed),
        Err(SnapshotError::NotWhole { .. })
    ));
    let newer = text.replace("format=2", "format=3");
    assert_eq!(read(&newer), Err(SnapshotError::Format { format: 3 }));
    let unknown = text.replace("tenant id", "lodger id");
    assert!(matches!(
        read(&unknown),
        Err(SnapshotError::Kind { row: 3, .. })
    ));
    let row = text.replace("clean=false", "clean=perhaps");
    assert!(matches!(read(&row), Err(SnapshotError::Row { row: 2, .. })));
    assert!(matches!(
        read(&format!("{text}more")),
        Err(SnapshotError::NotWhole { .. })
    ));
}
