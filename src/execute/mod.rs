//! Running Terraform and OpenTofu, and make: which arguments, in which environment, how their output is read and how they
//! end.

mod environment;
mod follow;
pub mod make;
mod output;
mod process;
mod program;
mod record;
mod supervise;
mod terraform;
mod transient;

pub use environment::{Environment, dropped_names};
pub use output::{ErrorText, UiMessage, plan_counts};
pub use process::{Exit, Interrupted, Output, ProcessError, Spec, Stop, run, run_to_file};
pub use program::on_path;
pub use record::ApplyRecord;
pub use terraform::{Product, Terraform, TerraformError, args};
pub use transient::may_pass;
