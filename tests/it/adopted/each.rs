//! Each shape from end to end.

use serde_json::Value;

use super::pages::Page;
use super::plain::{Deployed, Plain};
use super::shapes::Shape;
use crate::bed::{Done, example_folder, files_below, tree};

#[test]
fn folders_of_environments() {
    adopts("environments");
}

#[test]
fn one_root_module_with_a_variable_file_for_each_account_and_region() {
    adopts("variables");
}

#[test]
fn a_tree_of_root_modules() {
    adopts("tree");
}

#[test]
fn shared_and_specific_variable_files() {
    adopts("shared");
}

#[test]
fn workspaces_of_terraforms_cli() {
    adopts("workspaces");
}

#[test]
fn a_list_of_accounts_in_its_own_form() {
    adopts("account-list");
}

/// From a tree that plain Terraform has applied to a fleet, and back.
#[track_caller]
fn adopts(name: &str) {
    let (shape, page, plain) = (Shape::of(name), Page::of(name), Plain::example(name));
    for one in shape.deployments {
        plain.apply(one.call);
    }
    plain.settle(&page);
    let bucket = plain.fleet.bucket();
    let (everything, states) = (bucket.everything(), plain.fleet.store().states());
    assert_eq!(states, sorted_keys(shape), "what plain Terraform has made");
    let checkout = tree(&plain.fleet.repo(""));

    assert_discovers(&plain, shape, &page);
    assert_adopts_the_states(&plain, shape);
    assert_plans_nothing(&plain, shape);
    let kept: Vec<String> = everything.iter().filter(|one| !bucket.everything().contains(one)).cloned().collect();
    assert!(kept.is_empty(), "no state is written or removed: {kept:#?}");
    assert_eq!(plain.fleet.store().states(), states, "no state is moved, and none is new");
    assert_eq!(tree(&plain.fleet.repo("")), checkout, "no file of the repository is touched");

    a_change_by_tfleet_is_seen_by_plain_terraform(&plain, shape);
    everything_is_at_the_effective_key(&plain, shape.first());
    a_failed_apply_is_rolled_back(&plain, shape);
    an_earlier_state_can_be_restored(&plain, shape);
    a_change_by_plain_terraform_is_seen_by_tfleet(&plain, shape);
    assert_eq!(plain.fleet.store().states(), states);
    assert!(plain.fleet.locks().is_empty(), "{:?}", plain.fleet.locks());
}

fn sorted_keys(shape: &Shape) -> Vec<&str> {
    let mut keys: Vec<&str> = shape.deployments.iter().map(|one| one.key).collect();
    keys.sort_unstable();
    keys
}

fn assert_discovers(plain: &Plain, shape: &Shape, page: &Page) {
    let found = plain.fleet.discover().run().assert_code(0).json();
    let found: Vec<[String; 8]> = found["deployments"].as_array().unwrap().iter().map(fields_of).collect();
    let bucket = &plain.fleet.bucket().name;
    let wanted: Vec<[String; 8]> = shape.deployments.iter().map(|one| wanted_of(one, bucket)).collect();
    assert_eq!(found, wanted);
    let shown = plain.fleet.tfleet("discover").run().assert_code(0).stdout;
    assert_eq!(page.output_of("tfleet discover"), shown, "docs/adopting/{}.md shows another fleet", shape.name);
    let taken = plain.fleet.tfleet("layouts").args(["--format", "json"]).run().assert_code(0).json();
    for left in ["unclaimed_variable_files", "unclaimed_root_modules"] {
        assert_eq!(taken[left], Value::Array(Vec::new()), "{left}");
    }
}

fn fields_of(deployment: &Value) -> [String; 8] {
    let names =
        ["/file", "/account_id", "/account_name", "/region", "/project", "/environment", "/state/bucket", "/state/key"];
    let text = |name: &str| deployment.pointer(name).and_then(Value::as_str).map(str::to_owned);
    names.map(|name| text(name).unwrap_or_else(|| panic!("{name} of {deployment:#}")))
}

fn wanted_of(one: &Deployed, bucket: &str) -> [String; 8] {
    let [id, name, region, project, environment] = one.fields;
    [one.file, id, name, region, project, environment, bucket, one.key].map(str::to_owned)
}

fn assert_adopts_the_states(plain: &Plain, shape: &Shape) {
    let adopt = |more: &[&str]| plain.fleet.plain("state").arg("adopt").args(more.to_vec()).run().assert_code(0);
    let all = shape.deployments.len();
    let bucket = plain.fleet.bucket();
    let before = bucket.everything();
    adopt(&["--dry-run"]).assert_says(&[&format!("{all} would be adopted")]);
    assert_eq!(bucket.everything(), before, "a dry run writes nothing");
    adopt(&[]).assert_says(&[&format!("{all} adopted")]);
    adopt(&[]).assert_says(&[&format!("{all} recorded already")]);
    for one in shape.deployments {
        let record = plain.fleet.store().json(&format!("owners/{}.json", one.key));
        assert_eq!((&record["source"], &record["lineage"]), (&one.file.into(), &plain.state(one.key)["lineage"]));
    }
}

fn assert_plans_nothing(plain: &Plain, shape: &Shape) {
    let planned = plain.fleet.plan().arg("--detailed-exitcode").summary().run().assert_code(0);
    assert_outcomes(&planned, shape, &[]);
}

/// Fails unless these deployments succeeded and the others had nothing to do.
#[track_caller]
fn assert_outcomes(done: &Done, shape: &Shape, changed: &[&str]) {
    for one in shape.deployments {
        let wanted = if changed.contains(&one.key) { "succeeded" } else { "no_changes" };
        assert_eq!(done.entry(one.key)["outcome"], wanted, "{}", one.key);
    }
}

fn a_change_by_tfleet_is_seen_by_plain_terraform(plain: &Plain, shape: &Shape) {
    let key = shape.first().key;
    let before = plain.state(key);
    plain.edit(shape.change);
    let applied = plain.fleet.apply().summary().run().assert_code(0);
    assert_outcomes(&applied, shape, &[key]);
    assert_eq!(applied.entry(key)["changes"]["change"], 1);
    let after = plain.state(key);
    assert_eq!(after["lineage"], before["lineage"]);
    assert_eq!(after["serial"], before["serial"].as_u64().unwrap() + 1);
    assert_ne!(after["resources"], before["resources"]);
    for one in shape.deployments {
        plain.assert_unchanged(one.call);
    }
}

fn everything_is_at_the_effective_key(plain: &Plain, one: &Deployed) {
    let (store, key) = (plain.fleet.store(), one.key);
    assert_eq!(store.list(&format!("backups/{key}.")).len(), 1, "{:?}", store.list("backups/"));
    let records = store.list("audit-logs/");
    let applies: Vec<Value> = records.iter().filter(|at| at.contains("/apply-")).map(|at| store.json(at)).collect();
    let of_key: Vec<&Value> = applies.iter().filter(|record| record["backend_key"] == key).collect();
    assert_eq!(of_key.len(), 1, "{records:?}");
    assert_eq!((&of_key[0]["outcome"], &of_key[0]["deployment"]["file"]), (&"succeeded".into(), &one.file.into()));
    let journal = plain.fleet.last_journal(key);
    assert!(journal.opened().is_some());
}

/// The configuration of the last apply is planned and applied again: with the same backend, workspace and variables.
fn a_failed_apply_is_rolled_back(plain: &Plain, shape: &Shape) {
    let one = shape.first();
    let (before, main) = (plain.state(one.key), format!("{}/main.tf", one.call.folder));
    let text = plain.fleet.read(&main);
    plain.append(
        &main,
        "resource \"terraform_data\" \"made\" {}\nresource \"terraform_data\" \"broken\" {\n  \
         depends_on = [terraform_data.made]\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    let all = plain.fleet.discover().run().assert_code(0).json();
    let mut found = all["deployments"].as_array().unwrap().iter().filter(|found| found["file"] == one.file);
    let name = found.next().unwrap()["name"].as_str().unwrap();
    let failed = plain.fleet.apply().args(["--deployment", name]).summary().run().assert_code(1);
    assert_eq!(failed.entry(one.key)["outcome"], "rolled_back", "{:#}", failed.entry(one.key));
    assert_eq!(plain.state(one.key)["resources"], before["resources"]);
    plain.fleet.write(&main, &text);
    plain.assert_unchanged(one.call);
}

/// The state before the change by tfleet is that of its backup: what it describes, the files described before.
fn an_earlier_state_can_be_restored(plain: &Plain, shape: &Shape) {
    let key = shape.first().key;
    let state = |args: &[&str]| plain.fleet.plain("state").args(args.to_vec()).run().assert_code(0);
    let history = state(&["history", key, "--format", "json"]).json();
    let of_kind = |kind: &str| {
        let moments = history["moments"].as_array().unwrap().iter().filter(|moment| moment["kind"] == kind);
        moments.map(|moment| moment["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!of_kind("version").is_empty() && !of_kind("snapshot").is_empty(), "{history:#}");
    state(&["show", key]).assert_says(&["terraform_data"]);
    let (backups, now) = (of_kind("backup"), plain.state(key));
    state(&["restore", key, "--to", backups.last().unwrap(), "--auto-approve"]);
    let restored = plain.state(key);
    assert_eq!(restored["lineage"], now["lineage"]);
    assert_eq!(restored["serial"], now["serial"].as_u64().unwrap() + 1);
    assert_ne!(restored["resources"], now["resources"]);
    let (file, from, to) = shape.change;
    plain.edit((file, to, from));
    plain.assert_unchanged(shape.first().call);
}

fn a_change_by_plain_terraform_is_seen_by_tfleet(plain: &Plain, shape: &Shape) {
    assert_plans_nothing(plain, shape);
    plain.edit(shape.change);
    plain.fleet.plan().arg("--detailed-exitcode").run().assert_code(2);
    plain.apply(shape.first().call);
    assert_plans_nothing(plain, shape);
}

/// Whoever reads a page sees the files that it is about.
#[test]
fn the_pages_show_the_trees() {
    for shape in super::shapes::ALL {
        let page = Page::of(shape.name);
        let folder = example_folder(&format!("adopt/{}", shape.name));
        for path in files_below(&folder) {
            let place = path.strip_prefix(&folder).unwrap().to_str().unwrap();
            assert!(page.text.contains(place), "docs/adopting/{}.md does not show {place}", shape.name);
        }
    }
}

/// What a page shows besides is settings that `tfleet layouts` takes.
#[test]
fn the_variations_of_the_pages_are_settings() {
    let mut tried = 0;
    for shape in super::shapes::ALL {
        let page = Page::of(shape.name);
        let plain = Plain::example(shape.name);
        plain.settle(&page);
        for variation in &page.variations {
            plain.fleet.write("tfleet.yaml", variation);
            plain.fleet.tfleet("layouts").run().assert_code(0);
            tried += 1;
        }
    }
    assert!(tried >= 6, "{tried}");
}
