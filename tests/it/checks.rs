//! Static checks: what is seen to be wrong in the files of a deployment before anything runs.

use serde_json::json;

use crate::bed::{Deploy, Fleet, STAGING, TerraformWrapper};

/// A bucket policy that names `bucket` on its line 7.
fn policy(bucket: &str) -> String {
    format!(
        "{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {{\n    \"Effect\": \"Deny\",\n    \"Principal\": \"*\",\n    \
         \"Action\": \"s3:*\",\n    \"Resource\": \"arn:aws:s3:::{bucket}/*\"\n  }}\n}}\n"
    )
}

/// `web` in one account and `shop` in another, each with a bucket and a policy of it.
fn fleet() -> (Fleet, Deploy, Deploy) {
    let fleet = Fleet::local();
    let with_policy = |name: &str| {
        let bucket = format!("bucket_name = \"{name}-data\"\nbucket_policy_file = \"policies/{name}.json\"");
        Deploy::new(name).buckets(&[]).more(&bucket)
    };
    let (web, shop) = (with_policy("web"), with_policy("shop").account(STAGING));
    fleet.root("variable \"bucket_name\" { type = string }\nvariable \"bucket_policy_file\" { type = string }\n");
    fleet.deploy(&web).deploy(&shop);
    fleet.write("policies/web.json", &policy("web-data")).write("policies/shop.json", &policy("shop-data"));
    (fleet, web, shop)
}

/// Issue: "a copied policy naming another account's bucket is the classic mistake".
#[test]
fn a_copied_policy_fails_its_deployment_alone_before_anything_runs() {
    let (fleet, web, shop) = fleet();
    fleet.tfleet("plan").run().assert_code(0).assert_silent_on(&["warning"]);
    fleet.write("policies/web.json", &policy("shop-data"));
    for verb in ["plan", "apply"] {
        let wrapper = TerraformWrapper::new(&fleet);
        let call = fleet.tfleet(verb).env("TFLEET_TERRAFORM_BINARY", wrapper.path());
        let done = call.summary().run().assert_code(1).assert_says(&[
            "the checks of its files found errors; nothing was run",
            "policies/web.json:7: it names the bucket `shop-data`, which Accounts/wkld-stg/shop/us-east-1.tfvars declares, and \
             it is the policy of the bucket `web-data` (iam-policy-resource)",
            "docs/policy.md",
        ]);
        assert_eq!(done.entry(&shop.key())["outcome"], "succeeded");
        let entry = done.entry(&web.key());
        assert_eq!(entry["outcome"], "failed");
        assert_eq!(entry["findings"][0]["line"], 7);
        assert_eq!(entry["findings"][0]["found_by"], "check");
        assert_eq!(wrapper.calls_of(verb).len(), 1, "{verb}: of the other one");
    }
    assert!(fleet.store().get(&web.key()).is_none());
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
fn a_warning_stays_a_warning() {
    let (fleet, web, _) = fleet();
    fleet.write("policies/web.json", &policy("web-data").replace("  \"Version\": \"2012-10-17\",\n", ""));
    let done = fleet.apply().summary().run().assert_code(0);
    let done = done.assert_says(&["warning: policies/web.json:1: it has no `Version`", "(iam-policy-shape)"]);
    let found = &done.entry(&web.key())["findings"];
    assert_eq!((&found[0]["severity"], found.as_array().map(Vec::len)), (&json!("warning"), Some(1)), "{found:#}");
}

#[test]
fn settings_set_the_level_of_a_rule_and_leave_files_out() {
    let (fleet, ..) = fleet();
    fleet.write("policies/web.json", "{\n  \"Version\":\n}");
    fleet
        .tfleet("plan")
        .run()
        .assert_code(1)
        .assert_says(&["policies/web.json:3: it is no JSON: expected value (column 1)"]);
    let settings = fleet.read("tfleet.yaml");
    for (more, code, words) in [
        ("checks: {rules: {json-syntax: warning}}", 0, "warning: policies/web.json:3:"),
        ("checks: {rules: {json-syntax: ignore}}", 0, ""),
        ("checks: {exclude: [policies/w*]}", 0, ""),
        ("checks: {rules: {json-sintax: ignore}}", 3, "json-sintax"),
        ("checks: {exclude: [\"[\"]}", 3, "`[` is no pattern of files"),
    ] {
        fleet.write("tfleet.yaml", &format!("{settings}{more}\n"));
        fleet.tfleet("plan").run().assert_code(code).assert_says(&[words]);
    }
}

/// What is to go needs no sound files.
#[test]
fn a_destroy_is_not_checked() {
    let (fleet, web, _) = fleet();
    fleet.apply().run().assert_code(0);
    fleet.write("policies/web.json", "no JSON");
    fleet.apply().run().assert_code(1);
    fleet.destroy().run().assert_code(0);
    assert!(fleet.store().resources(&web.key()).is_empty());
}
