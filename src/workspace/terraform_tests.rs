//! What real Terraform makes of overrides and prepared modules. Needs `terraform` on PATH, and no network.
