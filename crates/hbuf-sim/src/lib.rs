//! Deterministic worlds around hbuf-core: faults, workloads, checkers.
