//! The environment variables that tfleet reads, each documented here once.

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does, for `--help` and the README.
    pub help: &'static str,
}

macro_rules! variables {
    ($($ident:ident = $name:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: Variable = Variable { name: $name, help: $help };
        )*

        /// All of them.
        pub const ALL: &[Variable] = &[$($ident),*];
    };
}

variables! {
    STATE_BUCKET = "TF_STATE_BUCKET", "The S3 bucket of the states; a root module's own `bucket` comes first";
    BACKEND_REGION = "TF_BACKEND_REGION", "The region of that bucket (us-east-1)";
    TERRAFORM_DIR = "TERRAFORM_DIR", "The root module of deployments whose own folder holds no *.tf";
    TERRAFORM_BINARY = "TFLEET_TERRAFORM_BINARY", "The Terraform or OpenTofu to run (terraform, else tofu, on PATH)";
    CACHE_DIR = "TFLEET_CACHE_DIR", "Where workspaces, providers and logs are kept (~/.cache/tfleet)";
    CONFIG = "TFLEET_CONFIG", "The settings file (tfleet.yaml in the working directory or above, up to the top of the repository)";
    DEPLOYMENTS = "TFLEET_DEPLOYMENTS", "The deployments to take, by name, separated by spaces, where no --deployment does; set by pipelines";
    GITHUB_TOKEN = "GITHUB_TOKEN", "The token with which `tfleet comment` posts (permission pull-requests: write)";
    LOG = "TFLEET_LOG", "What tfleet logs of itself to standard error, as a tracing filter (`debug`, `tfleet::lease=trace`)";
}
