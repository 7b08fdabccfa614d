//! Reads records off a range read, by their request lines alone.

/// One record of a range read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
}

/// Splits a range read into its records; says where and why it is malformed.
pub(crate) fn split(mut bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = split_one(bytes).ok_or_else(|| {
            format!(
                "record {} of a read is malformed: {}",
                records.len() + 1,
                show(bytes)
            )
        })?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

fn split_one(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let mut lines = head.split("\r\n");
    let seq = lines
        .next()?
        .strip_prefix("POST /")?
        .split('?')
        .next()?
        .parse()
        .ok()?;
    let mut id = None;
    let mut length = None;
    for line in lines {
        match line.split_once(':') {
            Some(("x-hbuf-id", value)) => id = Some(value.trim().to_owned()),
            Some(("content-length", value)) => length = value.trim().parse::<usize>().ok(),
            _ => {}
        }
    }
    let body_end = head_end.checked_add(length?)?;
    let body = bytes.get(head_end..body_end)?.to_vec();
    let rest = bytes.get(body_end..)?.strip_prefix(b"\r\n")?;
    Some((Record { seq, id: id?, body }, rest))
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}
