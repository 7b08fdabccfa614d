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
    let error = Command::decode(unknown.as_bytes()).unwrap_err();
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
    let decode = |text: &str| match Command::decode(text.as_bytes()) {
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
        Command::decode(&[0xff]).unwrap_err(),
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

#[test]
fn a_snapshot_that_is_cut_changed_or_newer_is_refused() {
    let world = World::with_buffers(&[("a", 1, "t"), ("b", 2, "t")]);
    let text = String::from_utf8(pieces(&world.catalog, 1 << 20).concat()).unwrap();
    let read = |text: &str| {
        let mut reader = SnapshotReader::new();
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
    let newer = text.replace("format=1", "format=2");
    assert_eq!(read(&newer), Err(SnapshotError::Format { format: 2 }));
    let unknown = text.replace("tenant id", "lodger id");
    assert!(matches!(
        read(&unknown),
        Err(SnapshotError::Kind { row: 3, .. })
    ));
    let row = text.replace("clean=true", "clean=perhaps");
    assert!(matches!(read(&row), Err(SnapshotError::Row { row: 2, .. })));
    assert!(matches!(
        read(&format!("{text}more")),
        Err(SnapshotError::NotWhole { .. })
    ));
}
