//! The real binary against real Terraform and a moto server: what the command line promises, one file a part of it.
//!
//! `scripts/test` installs what these need and starts one moto server for all of them. Without it, each test process
//! starts its own. `bed` knows how to lay out a repository, run `tfleet` and break things.

#![expect(clippy::unwrap_used, reason = "everything here is a test, and a panic is how a test says what is wrong")]

mod adopt;
mod adopted;
mod apply;
mod approve;
mod ask;
mod audit;
mod aws_provider;
mod aws_rollback;
mod backends;
mod bad_input;
mod bed;
mod buildspec;
mod cancel;
mod chaos;
mod checks;
mod comment;
mod credentials;
mod deliver;
mod deploy_tree;
mod discover;
mod docs;
mod drift;
mod environment;
mod exact;
mod examples;
mod failure;
mod flags;
mod graph;
mod harness;
mod hooks;
mod html;
mod init;
mod inputs;
mod kill_steps;
mod killed;
mod locks;
mod make;
mod mint;
mod mint_module;
mod mint_odd;
mod outages;
mod policy;
mod recover;
mod redaction;
mod regions;
mod review;
mod revive;
mod rollback;
mod ruled;
mod shard;
mod state;
mod steps;
mod summary;
mod survey;
mod tables;
mod transient;
mod workspace;
