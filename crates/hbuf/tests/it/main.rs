//! Tests of the real binary.

mod power;
