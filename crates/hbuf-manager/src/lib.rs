//! The catalog of tenants, buffers and topics as a pure replicated state machine.
