//! What the tests share: a process under test, a client, a workload and its checker.

pub(crate) mod altered;
pub(crate) mod check;
pub(crate) mod consuming;
pub(crate) mod derived;
pub(crate) mod http;
pub(crate) mod ledger;
pub(crate) mod page;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod workload;
