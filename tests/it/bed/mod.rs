//! What the tests stand on.
//!
//! * [`Fleet`]: a repository of deployments in a temporary folder, and the environment that `tfleet` gets.
//! * [`Tfleet`], [`Done`], `Running`: the real binary, run to its end or watched.
//! * [`Moto`], [`Bucket`], [`Store`]: S3, STS and `DynamoDB`, and what lies in a state store.
//! * [`FaultProxy`]: the network between `tfleet` and moto, with faults on demand.
//! * [`FakeGithub`]: GitHub's API as far as comments need it, with faults on demand.
//! * [`Organization`]: an organization of a test's own.
//! * [`Gate`]: a step of Terraform that waits for the test.
//! * [`TerraformWrapper`]: a `terraform` that writes down how it was called.
//! * [`aws_fleet`]: root modules for the real AWS provider.
//! * [`sample_run`]: the summary and the plans of a run over as many deployments as wanted.
//! * [`Browser`]: a headless Chromium.
//! * [`Example`]: a folder of `examples/`, copied as a reader would, in accounts of its own.

mod aws;
mod browser;
mod bytes;
mod cli;
mod documents;
mod examples;
mod fleet;
mod gate;
mod github;
mod left;
mod moto;
mod organization;
mod proxy;
mod sample_run;
mod secrets;
mod store;
pub mod tools;
mod wait;
mod wrapper;

pub use aws::{aws_endpoints_override, aws_fleet, aws_provider_block, use_mirror};
pub use browser::Browser;
pub use bytes::{assert_nowhere, files_below, tree};
pub use cli::{Done, Running, Tfleet};
pub use documents::fenced;
pub use examples::{Example, example_folder};
pub use fleet::{DATA_ROOT, Deploy, Fleet, search_path};
pub use gate::Gate;
pub use github::{ACTIONS_BOT, FakeGithub, GithubFault};
pub use moto::{Bucket, Keys, Moto, block_on};
pub use organization::Organization;
pub use proxy::{Fault, FaultProxy, Rewrite, Rule};
pub use sample_run::sample_run;
pub use store::Store;
pub use tools::terraform;
pub use wait::{wait_for, wait_until, wait_within};
pub use wrapper::TerraformWrapper;

/// The account that moto gives to keys it does not know: the one that runs tfleet and holds the states.
pub const CENTRAL: &str = "123456789012";
/// The child accounts of most tests.
pub const DEV: (&str, &str) = ("111111111111", "wkld-dev");
/// See [`DEV`].
pub const STAGING: (&str, &str) = ("222222222222", "wkld-stg");
/// See [`DEV`].
pub const PROD: (&str, &str) = ("333333333333", "wkld-prd");

/// The caller's keys, long and odd enough to be found wherever they leak to.
pub const CENTRAL_KEY: &str = "AKIAFLEETTESTCENTRAL";
/// See [`CENTRAL_KEY`].
pub const CENTRAL_SECRET: &str = "cEnTrAlSeCrEtOfTheTests/0123456789+abcde";
