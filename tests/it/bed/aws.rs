//! Root modules for the real AWS provider, against moto.

use std::fmt::Write as _;
use std::fs;

use super::{Fleet, tools};

/// The services that the provider might ask for. One that is missing here would be looked for on the real network.
const SERVICES: &[&str] = &[
    "codebuild",
    "codepipeline",
    "dynamodb",
    "ec2",
    "iam",
    "iot",
    "kms",
    "lambda",
    "organizations",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "sts",
];

/// A provider block for moto at `endpoint`, with `more` inside it.
pub fn aws_provider_block(endpoint: &str, more: &str) -> String {
    provider(endpoint, &format!("region                      = var.region\n  {more}"))
}

/// The same, to be laid over a provider block that says everything but where moto is.
pub fn aws_endpoints_override(endpoint: &str) -> String {
    provider(endpoint, "")
}

fn provider(endpoint: &str, more: &str) -> String {
    let mut endpoints = String::new();
    for service in SERVICES {
        writeln!(endpoints, "    {service} = \"{endpoint}\"").unwrap();
    }
    format!(
        "provider \"aws\" {{\n  s3_force_path_style         = true\n  skip_get_ec2_platforms      = true\n  \
         skip_metadata_api_check     = true\n  skip_credentials_validation = true\n  \
         skip_region_validation      = true\n  {more}\n  endpoints {{\n{endpoints}  }}\n}}\n"
    )
}

/// A fleet whose root module makes real buckets, one for each entry of `s3_buckets`, with the AWS provider from the
/// mirror that `scripts/test` laid out. `provider` is the text of its provider blocks.
pub fn aws_fleet(fleet: &Fleet, provider: &str) {
    fleet.write(
        "main.tf",
        &format!(
            r#"
terraform {{
  required_providers {{
    aws = {{
      source  = "hashicorp/aws"
      version = "3.39.0"
    }}
  }}
}}

variable "account_id" {{ type = string }}
variable "account_name" {{ type = string }}
variable "region" {{ type = string }}
variable "project" {{ type = string }}
variable "environment" {{ type = string }}
variable "s3_buckets" {{ type = map(any) }}

{provider}

resource "aws_s3_bucket" "this" {{
  for_each = var.s3_buckets
  bucket   = each.key
}}

data "aws_caller_identity" "this" {{}}

output "account" {{
  value = data.aws_caller_identity.this.account_id
}}
"#
        ),
    );
    use_mirror(fleet);
}

/// Lets Terraform find the real AWS provider in the mirror that `scripts/test` laid out.
pub fn use_mirror(fleet: &Fleet) {
    let config = fleet.dir("home").join(".terraformrc");
    let mirror = tools::mirror();
    fs::write(
        config,
        format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {:?}\n  }}\n}}\n",
            mirror.to_string_lossy()
        ),
    )
    .unwrap();
}
