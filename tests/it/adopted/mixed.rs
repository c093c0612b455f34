//! Several shapes in one repository, and states in several buckets.

use super::plain::Plain;
use super::shapes::Shape;
use crate::bed::Store;

const SETTINGS: &str = "layouts:
  - name: envs
    path: envs/{environment}
    account_by: environment
    backend_files: [\"{folder}/backend.hcl\"]
  - name: vars
    path: vars/{account_name}/{region}.tfvars
    root_module: stack
    backend_files: [\"backends/{account_name}/{region}.s3.tfbackend\"]
  - name: search
    path: app/env/{environment}.tfvars
    root_module: app
    workspace: \"{project}-{environment}\"
    account_by: environment
    fields: {project: \"{var.application}\"}
";

const ACCOUNTS: &str = "accounts:
  \"111111111111\": {account_name: acme-dev, environment: dev}
  \"333333333333\": {account_name: acme-prod, environment: prod}
";

const SHAPES: [&str; 3] = ["environments", "variables", "workspaces"];

/// Issue: "Several buckets in one fleet work (each with its own lock, backups and audit …)".
#[test]
fn three_shapes_and_two_buckets_in_one_run() {
    let plain = Plain::empty();
    let other = plain.fleet.moto().bucket();
    let one = plain.fleet.bucket().clone();
    let bucket_of = |name: &str| if name == "variables" { &other } else { &one };
    for name in SHAPES {
        plain.copy(name, "", &bucket_of(name).name);
    }
    for name in SHAPES {
        Shape::of(name).deployments.iter().for_each(|one| plain.apply(one.call));
    }
    plain.fleet.write("tfleet.yaml", SETTINGS).write("accounts.yaml", ACCOUNTS);

    plain.fleet.plain("state").arg("adopt").run().assert_code(0).assert_says(&["7 adopted"]);
    let planned = plain.fleet.plan().arg("--detailed-exitcode").summary().run().assert_code(0);
    assert_eq!(planned.summary()["summary"]["successful"], 7);
    for name in SHAPES {
        plain.edit(Shape::of(name).change);
    }
    let applied = plain.fleet.apply().summary().run().assert_code(0);
    for name in SHAPES {
        let (first, store) = (Shape::of(name).first(), Store::S3(bucket_of(name).clone()));
        let entry = applied.entry(first.key);
        assert_eq!(
            (&entry["outcome"], &entry["deployment"]["bucket"]),
            (&"succeeded".into(), &bucket_of(name).name.as_str().into())
        );
        assert_eq!(store.list(&format!("backups/{}.", first.key)).len(), 1);
        assert!(store.get(&format!("owners/{}.json", first.key)).is_some());
        assert!(store.list("audit-logs/").iter().any(|key| key.contains("/apply-")));
        assert!(store.list("locks/").is_empty());
        Shape::of(name).deployments.iter().for_each(|one| plain.assert_unchanged(one.call));
    }
    let of_vars: Vec<String> = one.list("").into_iter().filter(|key| key.contains("/logs/acme-")).collect();
    assert!(of_vars.is_empty(), "in the bucket of the others: {of_vars:?}");
    let state = |args: &[&str]| plain.fleet.plain("state").args(args.to_vec()).run();
    let key = Shape::of("variables").first().key;
    state(&["history", key, "--bucket", &other.name]).assert_code(0).assert_says(&["backup"]);
}
