//! Repositories that nobody wrote for tfleet: applied by plain Terraform first, then adopted, then looked at by both.
//!
//! Issue: "an engineer points tfleet at such a repository and has a correct fleet, without moving a file or a state". The
//! trees are those of `examples/adopt`, the settings those of `docs/adopting`.

mod beside;
mod broken;
mod each;
mod equivalent;
mod many;
mod mixed;
mod outward;
pub mod pages;
mod plain;
mod provider;
mod shapes;
mod states;
