//! Records that a body holds, made to look like the log's own: they prove nothing.

use super::*;

fn planted(seq: u64, distance: u32) -> Vec<u8> {
    let mut out = Vec::new();
    record(seq, 1000 + seq, 1, distance, 0, b"planted", &mut out);
    out
}

#[test]
fn records_planted_in_a_body_prove_nothing_while_the_line_can_be_read() {
    let body = [planted(4, 1), planted(5, 1), planted(6, 1)].concat();
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body);
    let start = segment.start(3);
    let body_at = segment.bytes.len() - body.len() - 2;
    for at in body_at..segment.bytes.len() {
        let mut bytes = segment.bytes.clone();
        bytes[at] ^= 1;
        let torn = torn(3, start);
        assert_eq!(scan_bytes(&bytes, Seq(0)).0.end, torn, "byte {at}");
    }
}

#[test]
fn records_planted_in_a_body_prove_nothing_when_the_line_is_lost_either() {
    let body = [
        planted(4, 1),
        planted(5, 1),
        planted(6, 1),
        b"tail".to_vec(),
    ]
    .concat();
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body);
    let start = segment.start(3);
    let torn = torn(3, start);
    for lost in [1, 60, LINE_LEN, 200] {
        let mut bytes = segment.bytes.clone();
        bytes[start..start + lost].fill(0);
        assert_eq!(scan_bytes(&bytes, Seq(0)).0.end, torn, "{lost}");
    }
    // The real successor knew the commit, and its seqs go on to the end: that is a witness.
    segment.push(1, 0, b"four").push(1, 0, b"five");
    segment.bytes[start..start + 60].fill(0);
    assert!(matches!(
        segment.end(),
        End::Corrupt {
            seq: Seq(3),
            witness: Seq(4),
            ..
        }
    ));
}

#[test]
fn a_planted_chain_that_ends_where_the_real_records_go_on_proves_nothing() {
    // The real successors knew nothing of a commit; the planted ones claim to.
    let body = [planted(4, 1), planted(5, 1)].concat();
    let mut segment = Builder::new();
    segment
        .pushes(2)
        .push(1, 0, &body)
        .push(2, 0, b"four")
        .push(3, 0, b"five");
    let start = segment.start(3);
    segment.bytes[start..start + 60].fill(0);
    assert_eq!(segment.end(), torn(3, start));
}

#[test]
fn many_planted_lines_do_not_make_the_search_endless() {
    let mut line = planted(4, 1);
    line.truncate(LINE_LEN);
    let body = line.repeat(40_000);
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body).push(2, 0, b"four");
    let start = segment.start(3);
    segment.bytes[start..start + 60].fill(0);
    assert_eq!(segment.end(), torn(3, start));

    // A long planted chain that breaks at its end is walked once, not once for each of its records.
    let chain: Vec<u8> = (4..20_000)
        .flat_map(|seq| planted(seq, 1))
        .chain(*b"x")
        .collect();
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &chain);
    segment.bytes[start..start + 60].fill(0);
    assert_eq!(segment.end(), torn(3, start));
}

#[test]
fn a_record_planted_at_the_end_of_the_last_body_proves_nothing_while_the_line_is_right() {
    let mut body = planted(4, 1);
    body.truncate(body.len() - 2);
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body);
    let start = segment.start(3);
    segment.bytes[start + LINE_LEN..start + 200].fill(0);
    assert_eq!(segment.end(), torn(3, start));
}
