//! Section 7, case 4, with the real AWS provider.

use crate::bed::{CENTRAL, DEV, Deploy, Fleet, Keys, aws_fleet, aws_provider_block, block_on};

/// A fleet whose buckets have the tag `state = <tag>`; with `fail`, something fails after them.
fn tagged() -> Fleet {
    let fleet = Fleet::s3();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    let tagged = fleet.read("main.tf").replace("= each.key\n", "= each.key\n  tags     = { state = var.tag }\n");
    fleet.write("main.tf", &tagged);
    fleet.root(
        "variable \"tag\" { type = string }\nvariable \"fail\" {\n  type    = bool\n  default = false\n}\nresource \
         \"terraform_data\" \"last\" {\n  count      = var.fail ? 1 : 0\n  depends_on = [aws_s3_bucket.this]\n  \
         provisioner \"local-exec\" {\n    command = \"echo the disk is on fire >&2; exit 3\"\n  }\n}\n",
    );
    fleet
}

fn client(fleet: &Fleet) -> aws_sdk_s3::Client {
    let keys: Keys = fleet.moto().keys_of(DEV.0);
    fleet.moto().s3(&keys)
}

fn tags_of(fleet: &Fleet, bucket: &str) -> Vec<(String, String)> {
    let answer = block_on(client(fleet).get_bucket_tagging().bucket(bucket).send()).unwrap();
    answer.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

fn tag(state: &str) -> Vec<(String, String)> {
    vec![("state".to_owned(), state.to_owned())]
}

/// Issue 3: "with the real AWS provider for case 4: a bucket created by the failed apply is gone again, one whose tags it
/// changed is as before".
#[test]
fn a_bucket_that_was_created_is_gone_and_the_tags_of_another_are_as_before() {
    let fleet = tagged();
    let deploy = Deploy::new("orders").own_bucket();
    let (old, new) = (deploy.bucket_name().to_owned(), format!("{}-new", deploy.bucket_name()));
    fleet.deploy(&deploy.clone().more("tag = \"one\"")).apply().run().assert_code(0);
    assert_eq!(tags_of(&fleet, &old), tag("one"));
    fleet.deploy(&deploy.clone().buckets(&[&old, &new]).more("tag = \"two\"\nfail = true"));
    let done = fleet.apply().summary().run().assert_code(1);
    assert_eq!(done.entry(&deploy.key())["outcome"], "rolled_back", "{}", done.output());
    let buckets = fleet.moto().buckets_of(DEV.0);
    assert!(buckets.contains(&old) && !buckets.contains(&new), "{buckets:?}");
    assert!(!fleet.moto().buckets_of(CENTRAL).contains(&new));
    assert_eq!(tags_of(&fleet, &old), tag("one"));
    done.assert_says(&["the disk is on fire", "rolled back to the configuration of the apply of"]);
    fleet.deploy(&deploy.clone().more("tag = \"one\"")).plan().arg("--detailed-exitcode").run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&[&old, &new]).more("tag = \"two\"")).apply().run().assert_code(0);
    assert_eq!(tags_of(&fleet, &new), tag("two"));
}

/// "The apply's JSON stream separates this run's actions from refresh drift": what somebody else changed is not said to be
/// this run's, and is not "rolled back".
#[test]
fn what_others_changed_is_not_taken_for_this_runs_doing() {
    let fleet = tagged();
    let deploy = Deploy::new("orders").own_bucket();
    let name = deploy.bucket_name().to_owned();
    // What is tagged later is not the configuration's concern.
    let root = fleet
        .read("main.tf")
        .replace("  tags     = {", "  lifecycle {\n    ignore_changes = [tags, tags_all]\n  }\n  tags     = {");
    fleet.write("main.tf", &root.replace("  depends_on = [aws_s3_bucket.this]\n", ""));
    fleet.deploy(&deploy.clone().more("tag = \"one\"")).apply().run().assert_code(0);
    fleet.write(
        "main.tf",
        &fleet
            .read("main.tf")
            .replace("provisioner \"local-exec\" {", "input = timestamp()\n  provisioner \"local-exec\" {"),
    );
    let tagging = aws_sdk_s3::types::Tagging::builder()
        .tag_set(aws_sdk_s3::types::Tag::builder().key("state").value("drift").build().unwrap())
        .build()
        .unwrap();
    block_on(client(&fleet).put_bucket_tagging().bucket(&name).tagging(tagging).send()).unwrap();
    fleet.deploy(&deploy.clone().more("tag = \"one\"\nfail = true"));
    let done = fleet.apply().summary().run().assert_code(1);
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "rolled_back", "{}", done.output());
    assert!(!entry["touched"].to_string().contains("aws_s3_bucket"), "{entry:#}");
    done.assert_says(&["1 created and removed again, 0 changed and changed back"]);
    assert_eq!(tags_of(&fleet, &name), tag("drift"));
}
