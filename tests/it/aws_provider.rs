//! The real AWS provider: resources land in the account of their deployment, and in no other.

use std::fs;

use crate::bed::{
    CENTRAL, CENTRAL_KEY, CENTRAL_SECRET, DEV, Deploy, Fault, Fleet, PROD, Rule, STAGING, TerraformWrapper, aws_fleet,
    aws_provider_block, files_below, tree,
};

/// Issue: "the real AWS provider for at least one fleet that creates buckets in two different child accounts, checked
/// through the S3 API with each account's own credentials".
#[test]
fn buckets_land_in_the_account_of_their_deployment() {
    let fleet = Fleet::s3();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    let deploys = [
        Deploy::new("a").own_bucket(),
        Deploy::new("a").account(STAGING).own_bucket(),
        Deploy::new("b").account(STAGING).own_bucket(),
    ];
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    fleet.apply().run().assert_code(0);
    let moto = fleet.moto();
    for (deploy, (id, _)) in deploys.iter().zip([DEV, STAGING, STAGING]) {
        for account in [CENTRAL, DEV.0, STAGING.0, PROD.0] {
            let has = moto.buckets_of(account).iter().any(|name| name == deploy.bucket_name());
            assert_eq!(has, account == id, "{} in {account}", deploy.bucket_name());
        }
        let state = fleet.store().json(&deploy.key());
        assert_eq!(state["outputs"]["account"]["value"], id);
    }
    // The states themselves are the central account's.
    assert!(moto.buckets_of(CENTRAL).contains(&fleet.bucket().name));
    fleet.destroy().run().assert_code(0);
    assert!(!moto.buckets_of(DEV.0).iter().any(|name| name == deploys[0].bucket_name()));
}

/// Issue: "a provider pointed at the wrong account refused". Here: something outside slips the central account's keys under
/// Terraform, which win over the profile; the provider itself refuses.
#[test]
fn a_provider_in_the_wrong_account_is_refused() {
    let fleet = Fleet::s3();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    let deploy = Deploy::new("a").account(PROD).own_bucket();
    fleet.deploy(&deploy);
    let keys = format!("AWS_ACCESS_KEY_ID={CENTRAL_KEY} AWS_SECRET_ACCESS_KEY={CENTRAL_SECRET}");
    let wrapper = TerraformWrapper::with_step(&fleet, &format!("[ \"$verb\" = apply ] && export {keys}"));
    fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(1).assert_says(&["not allowed"]);
    for account in [CENTRAL, DEV.0, PROD.0] {
        assert!(!fleet.moto().buckets_of(account).iter().any(|name| name == deploy.bucket_name()), "{account}");
    }
}

/// A role that leads into another account than the one it was asked for in: found before Terraform starts.
#[test]
fn a_role_that_leads_elsewhere_is_refused() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    let deploy = Deploy::new("a").account(PROD).own_bucket();
    fleet.deploy(&deploy);
    proxy.rule(Rule::on("POST", "/", Fault::Replace(PROD.0, DEV.0)));
    fleet.apply().run().assert_code(1).assert_says(&["which is not in account"]);
    for account in [CENTRAL, DEV.0, PROD.0] {
        assert!(!fleet.moto().buckets_of(account).iter().any(|name| name == deploy.bucket_name()), "{account}");
    }
}

/// DESIGN 5, "The right account": aliases included; `skip_requesting_account_id` of the module's own does not stand in the
/// way.
#[test]
fn aliases_and_skipped_account_ids_are_held_to_the_account_too() {
    let fleet = Fleet::s3();
    let endpoint = fleet.moto().endpoint();
    let provider = format!(
        "{}\n{}",
        aws_provider_block(endpoint, "skip_requesting_account_id = true"),
        aws_provider_block(endpoint, "alias = \"other\"")
    );
    aws_fleet(&fleet, &provider);
    fleet.root("resource \"aws_s3_bucket\" \"other\" {\n  provider = aws.other\n  bucket   = \"${keys(var.s3_buckets)[0]}-b\"\n}\n");
    let deploy = Deploy::new("a").own_bucket();
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let buckets = fleet.moto().buckets_of(DEV.0);
    assert!(
        buckets.contains(&deploy.bucket_name().to_owned()) && buckets.contains(&format!("{}-b", deploy.bucket_name()))
    );

    let wrong = Deploy::new("b").account(PROD).own_bucket();
    fs::remove_file(fleet.repo(&deploy.path())).unwrap();
    fleet.deploy(&wrong);
    let keys = format!("AWS_ACCESS_KEY_ID={CENTRAL_KEY} AWS_SECRET_ACCESS_KEY={CENTRAL_SECRET}");
    let wrapper = TerraformWrapper::with_step(&fleet, &format!("[ \"$verb\" = apply ] && export {keys}"));
    fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(1).assert_says(&["not allowed"]);
    for account in [CENTRAL, DEV.0, PROD.0] {
        assert!(
            !fleet.moto().buckets_of(account).iter().any(|name| name.starts_with(wrong.bucket_name())),
            "{account}"
        );
    }
}

/// Issue: "a module whose providers all assume a role themselves given the central credentials".
#[test]
fn a_module_that_assumes_its_role_itself_gets_the_central_credentials() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let role = "assume_role {\n    role_arn = \"arn:aws:iam::${var.account_id}:role/ModulesOwn\"\n  }";
    aws_fleet(&fleet, &aws_provider_block(&proxy.endpoint(), role));
    let deploy = Deploy::new("a").account(PROD).own_bucket();
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let assumed = proxy.assumed();
    assert!(!assumed.is_empty());
    assert!(
        assumed.iter().all(|call| call.body.contains("ModulesOwn") && call.key == CENTRAL_KEY),
        "tfleet assumes none"
    );
    assert!(fleet.moto().buckets_of(PROD.0).iter().any(|name| name == deploy.bucket_name()));
}

/// DESIGN 5: "mixed or dynamic → an error asking for the setting".
#[test]
fn a_module_of_both_kinds_asks_for_the_setting() {
    let fleet = Fleet::s3();
    let endpoint = fleet.moto().endpoint();
    let role =
        "alias = \"other\"\n  assume_role {\n    role_arn = \"arn:aws:iam::${var.account_id}:role/ModulesOwn\"\n  }";
    aws_fleet(&fleet, &format!("{}\n{}", aws_provider_block(endpoint, ""), aws_provider_block(endpoint, role)));
    let deploy = Deploy::new("a").own_bucket();
    fleet.deploy(&deploy);
    fleet.apply().run().assert_says(&["provider_credentials"]).assert_silent_on(&[]);
    assert!(fleet.store().states().is_empty());
}

/// DESIGN 5, "Providers and modules": nothing is unpacked or downloaded twice; the checkout's lock file is never touched;
/// a plan makes the same artefacts with real resources.
#[test]
fn the_provider_is_kept_once_for_all_deployments() {
    let fleet = Fleet::s3();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    for project in ["a", "b", "c"] {
        fleet.deploy(&Deploy::new(project).own_bucket());
    }
    // A lock file written on another platform: right version, no hash of this one.
    fleet.write(
        ".terraform.lock.hcl",
        "provider \"registry.terraform.io/hashicorp/aws\" {\n  version     = \"3.39.0\"\n  constraints = \"3.39.0\"\n  \
         hashes = [\n    \"zh:0000000000000000000000000000000000000000000000000000000000000000\",\n  ]\n}\n",
    );
    let before = tree(&fleet.repo(""));
    let wrapper = TerraformWrapper::new(&fleet);
    fleet.plan().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(0);
    assert_eq!(tree(&fleet.repo("")), before);
    let copies = files_below(&fleet.dir("cache"))
        .into_iter()
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("terraform-provider-aws"))
        })
        .filter(|path| fs::metadata(path).unwrap().len() > 100_000_000)
        // Names of one file (hard links) take its space once.
        .map(|path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap()))
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    assert_eq!(copies, 1, "copies of the provider");
    let inits = wrapper.calls_of("init");
    let shared = inits.iter().filter(|call| call.args.iter().any(|arg| arg.starts_with("-plugin-dir="))).count();
    assert_eq!(shared, 3, "each deployment uses the prepared providers: {inits:#?}");
}

/// The example that users copy works as it stands.
#[test]
fn the_example_fleet_can_be_applied() {
    let fleet = Fleet::s3();
    let endpoint = fleet.moto().endpoint();
    // Only for its CLI configuration.
    aws_fleet(&fleet, "");
    fs::remove_dir_all(fleet.repo("")).unwrap();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tfvars-fleet");
    let unique = uuid::Uuid::new_v4().simple().to_string();
    for (path, bytes) in tree(&example) {
        let text = String::from_utf8(bytes).unwrap();
        // Buckets share one namespace over all accounts and tests.
        let text = text.replace("\"wkld-a-", &format!("\"{}-wkld-a-", &unique[..8]));
        let text = text.replace(&format!("account_name = \"{}-", &unique[..8]), "account_name = \"");
        fleet.write(&path, &text);
    }
    fleet.write("endpoints_override.tf", &aws_provider_block(endpoint, ""));
    let call = fleet.apply().env("TF_STATE_BUCKET", &fleet.bucket().name).summary();
    let done = call.run().assert_code(0);
    assert_eq!(done.summary()["summary"]["successful"], 4);
    assert_eq!(
        fleet.store().states(),
        [
            "combined/wkld-a-prd/eu-west-1/order-pipeline/terraform.tfstate",
            "combined/wkld-a-prd/us-east-1/order-pipeline/terraform.tfstate",
            "kms/wkld-a-prd/us-east-1/encryption-keys/terraform.tfstate",
            "s3/wkld-a-dev/us-east-1/test-4-poc-1/terraform.tfstate",
        ]
    );
}
