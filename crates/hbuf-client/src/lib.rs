//! A client of hbuf's HTTP API.
