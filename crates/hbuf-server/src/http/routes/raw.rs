//! A raw read of everything through a commit: the segments' own bytes, never taken apart.

use bytes::Bytes;

use crate::http::body::{Body, BrokenOff, Data, Source, Step};
use crate::http::file_ranges::FileRanges;
use crate::http::problem::Problem;
use crate::http::scan::Scan;
use crate::read::{Part, Pieces, ReadError};

/// Streams what the scan would read; `ranges` are those of the connection, if it can send ranges
/// of files.
pub(super) async fn stream(scan: &Scan, ranges: Option<FileRanges>) -> Result<Body, Box<Problem>> {
    if scan.after >= scan.through {
        return Ok(Body::empty());
    }
    let mut pieces = scan.buffer.stream(scan.after, scan.through);
    // An error that stands at the start is still a problem and not a broken reply.
    let Some(first) = pieces.next().await.transpose()? else {
        return Ok(Body::empty());
    };
    Ok(Body::stream(Box::new(Raw {
        pieces,
        first: Some(first.bytes),
        ranges,
    })))
}

struct Raw {
    pieces: Pieces,
    first: Option<Bytes>,
    ranges: Option<FileRanges>,
}

impl Raw {
    async fn part(&mut self) -> Result<Option<Data>, ReadError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first.into()));
        }
        let Some(ranges) = &self.ranges else {
            let piece = self.pieces.next().await.transpose()?;
            return Ok(piece.map(|piece| piece.bytes.into()));
        };
        let part = self.pieces.next_part().await.transpose()?;
        Ok(part.map(|part| match part {
            Part::Memory(bytes) => bytes.into(),
            Part::File(range) => Data::File(ranges.push(range)),
        }))
    }
}

impl Source for Raw {
    fn next(mut self: Box<Self>) -> Step {
        Box::pin(async move {
            let part = self.part().await;
            let part = part.map_err(|error| BrokenOff(error.to_string()))?;
            Ok(part.map(|part| (part, self as Box<dyn Source>)))
        })
    }
}
