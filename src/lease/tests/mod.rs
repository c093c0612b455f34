//! Tests that go through several files of this module.

mod environment;
mod leases;
mod server;
