//! The real AWS provider under an adopted deployment: the plan is plain Terraform's but for the guard of the account.

use serde_json::{Value, json};

use super::equivalent::{assert_same_text, plan_both, timeless};
use super::outward::first_with;
use crate::bed::{aws_provider_block, use_mirror};

const MODULE: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "3.39.0"
    }
  }
}

resource "aws_s3_bucket" "this" {
  bucket = "${var.project}-${var.env}-of-nobody-else"
  tags   = { Region = var.aws_region }
}
"#;

/// docs/adopting.md: `allowed_account_ids` stands in the configuration of the plan's JSON, and changes no resource; with a lock
/// file and without one.
#[test]
fn with_the_aws_provider_only_the_guard_differs() {
    let (plain, one) = first_with(MODULE);
    let provider = aws_provider_block(plain.fleet.moto().endpoint(), "").replace("var.region", "var.aws_region");
    plain.fleet.write("envs/dev/provider.tf", &provider);
    use_mirror(&plain.fleet);
    // The first call of plain Terraform leaves a lock file in the folder.
    for has_lock_file in [false, true] {
        assert_eq!(plain.fleet.repo("envs/dev/.terraform.lock.hcl").is_file(), has_lock_file);
        let (plans, _) = plan_both(&plain, one);
        assert_same_text(&plans);
        let (mut ours, theirs) = (timeless(&plain, one, &plans.ours), timeless(&plain, one, &plans.theirs));
        let guard = ours.pointer_mut("/configuration/provider_config/aws/expressions").and_then(Value::as_object_mut);
        let guard = guard.unwrap();
        assert_eq!(guard.remove("allowed_account_ids"), Some(json!({"constant_value": [one.fields[0]]})));
        assert_eq!(guard.remove("skip_requesting_account_id"), Some(json!({"constant_value": false})));
        assert_eq!(ours, theirs, "{ours:#}\n---\n{theirs:#}");
    }
}
