use super::*;
use crate::offline::fixture::Fixture;

fn check_text(text: &str, path: Option<&Path>) -> Option<String> {
    wrong_with(&ProofFile::parse(text).unwrap(), path).unwrap()
}

fn text(proof: &ProofFile) -> String {
    let mut text = Vec::new();
    proof.encode(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn every_message_is_proven_at_every_size_and_the_file_checks_by_itself() {
    let fixture = Fixture::five();
    let place = one_buffer(fixture.path()).unwrap();
    for size in 1..=5 {
        for seq in 1..=size {
            let (_, proof) = prove(&place, Seq(seq), Some(size)).unwrap();
            let text = text(&proof);
            assert_eq!(check_text(&text, None), None, "seq {seq} of {size}");
            assert_eq!(
                check_text(&text, Some(fixture.path())),
                None,
                "seq {seq} of {size}"
            );
        }
    }
}

#[test]
fn a_changed_proof_is_not_valid() {
    let fixture = Fixture::five();
    let place = one_buffer(fixture.path()).unwrap();
    let (_, proof) = prove(&place, Seq(3), None).unwrap();
    assert_eq!(proof.checkpoint.size, 5);
    let mut other_leaf = proof.clone();
    other_leaf.extra[100] ^= 1;
    let mut other_place = proof.clone();
    other_place.index = 1;
    let mut other_root = proof.clone();
    other_root.checkpoint.root.0[0] ^= 1;
    for bad in [other_leaf, other_place, other_root] {
        assert!(check_text(&text(&bad), None).is_some());
    }
}

#[test]
fn a_valid_proof_of_another_log_does_not_fit_this_one() {
    let (ours, mut theirs) = (Fixture::five(), Fixture::new());
    for body in ["a", "b", "c", "d", "e"] {
        theirs.append("k", body);
    }
    let place = one_buffer(theirs.path()).unwrap();
    let (_, proof) = prove(&place, Seq(3), None).unwrap();
    let text = text(&proof);
    assert_eq!(check_text(&text, None), None);
    let wrong = check_text(&text, Some(ours.path())).unwrap();
    assert!(wrong.contains("root at 5 messages is another"), "{wrong}");
}

#[test]
fn what_cannot_be_proven_says_why() {
    let fixture = Fixture::five();
    let place = one_buffer(fixture.path()).unwrap();
    let error =
        |place: &BufferPlace, seq, size| format!("{:#}", prove(place, Seq(seq), size).unwrap_err());
    assert!(error(&place, 0, None).contains("seqs go from 1 to 5"));
    assert!(error(&place, 6, None).contains("seqs go from 1 to 5"));
    assert!(error(&place, 5, Some(9)).contains("fewer than 9"));
    fs::remove_file(fixture.segment(1)).unwrap();
    let place = one_buffer(fixture.path()).unwrap();
    assert!(error(&place, 2, None).contains("begins with seq 4"));
    let (_, proof) = prove(&place, Seq(4), None).unwrap();
    assert_eq!(check_text(&text(&proof), None), None);
}

#[test]
fn nothing_is_proven_across_damage() {
    let fixture = Fixture::five();
    let path = fixture.segment(1);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 3] ^= 1;
    fs::write(&path, bytes).unwrap();
    let place = one_buffer(fixture.path()).unwrap();
    let error = prove(&place, Seq(5), None).unwrap_err();
    assert!(format!("{error:#}").contains("seq 3: damaged"), "{error:#}");
}
