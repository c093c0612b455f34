//! The `tfleet` binary.
fn main() {}
