//! tfleet runs Terraform over many AWS accounts and regions: it finds the deployments of a repository, runs each one
//! with the right credentials and the right state, and, when something fails, says exactly what happened.
//!
//! # The way of a run
//!
//! ```text
//! discover -> select -> graph -> preflight -> run ( per deployment: check -> lock -> credentials -> state -> inputs
//!     -> workspace -> providers -> init -> plan -> backup -> apply | destroy
//!     -> on failure: recover, roll back -> always: audit ) -> report
//! ```
//!
//! # Who may import whom
//!
//! Modules import only to the left of this line; siblings in braces never import each other. `tests/structure.rs`
//! holds this.
//!
//! ```text
//! model <- {failpoint, files, git, hcl, processes, text, tfplan, tfstate} <- event <- journal
//!       <- {approvals, check, config, deliver, discover, execute, github, graph, lease, markdown, organization, policy, redact, store, survey, workspace}
//!       <- saga <- run <- {report, cli} <- main
//! ```

pub mod approvals;
pub mod check;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod discover;
pub mod event;
pub mod execute;
pub mod failpoint;
pub mod files;
pub mod git;
pub mod github;
pub mod graph;
pub mod hcl;
pub mod journal;
pub mod lease;
pub mod markdown;
pub mod model;
pub mod organization;
pub mod policy;
pub mod processes;
pub mod redact;
pub mod report;
pub mod run;
pub mod saga;
pub mod store;
pub mod survey;
pub mod text;
pub mod tfplan;
pub mod tfstate;
pub mod workspace;
