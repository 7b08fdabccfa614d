//! Tests of the real binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod power;
