//! Running Terraform and OpenTofu: which arguments, in which environment, how their output is read and how they end.

mod environment;
mod follow;
mod output;
mod process;
mod record;
mod terraform;
mod transient;

pub use environment::{Environment, dropped_names};
pub use output::{ErrorText, UiMessage, plan_counts};
pub use process::{Exit, Output, ProcessError, Spec, Stop, run, run_to_file};
pub use record::ApplyRecord;
pub use terraform::{Product, Terraform, TerraformError, args};
pub use transient::may_pass;
