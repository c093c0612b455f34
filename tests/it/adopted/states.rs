//! States of adopted deployments in other circumstances: new ones, local ones, and those whose files are gone.

use super::pages::Page;
use super::plain::Plain;
use super::shapes::Shape;

#[test]
fn a_new_workspace_is_begun_beside_those_that_are_there() {
    let (plain, shape) = (Plain::example("workspaces"), Shape::of("workspaces"));
    let (dev, prod) = (shape.first(), shape.deployments.last().unwrap());
    plain.apply(dev.call);
    plain.settle(&Page::of("workspaces"));
    let adopted = plain.fleet.plain("state").arg("adopt").run().assert_code(0);
    let without = format!("no state  s3://{}/env:/search-prod/search/terraform.tfstate", plain.fleet.bucket().name);
    adopted.assert_says(&["1 adopted", "1 without a state", &without]);
    let applied = plain.fleet.apply().summary().run().assert_code(0);
    assert_eq!(applied.entry(prod.key)["outcome"], "succeeded");
    assert_eq!(applied.entry(dev.key)["outcome"], "no_changes");
    let value = plain.state(prod.key)["resources"][0]["instances"][0]["attributes"]["input"]["value"].clone();
    assert_eq!((&value["name"], &value["environment"]), (&"search-prod".into(), &"prod".into()));
    assert!(plain.fleet.store().get("search/terraform.tfstate").is_none(), "nothing is in the default workspace");
    plain.assert_unchanged(prod.call);
}

#[test]
fn workspaces_of_local_states_are_apart() {
    let plain = Plain::example("workspaces");
    plain.settle(&Page::of("workspaces"));
    let states = plain.fleet.repo(".tfleet/state");
    plain.fleet.settings("state:\n  backend: local\n  path: .tfleet/state");
    for outcome in ["succeeded", "no_changes"] {
        let applied = plain.fleet.apply().summary().run().assert_code(0);
        for one in Shape::of("workspaces").deployments {
            let [_, account, region, project, _] = one.fields;
            let workspace = one.call.workspace.unwrap();
            let key = format!("general/{account}/{region}/{project}/terraform.tfstate.d/{workspace}/terraform.tfstate");
            assert_eq!(applied.entry(&key)["outcome"], outcome);
            assert!(states.join(&key).is_file());
        }
    }
    assert!(plain.fleet.store().list("").is_empty(), "nothing is in the bucket");
}

/// The folder, its backend file and the list of accounts are gone; the snapshot has what the destroy needs.
#[test]
fn a_folder_that_is_gone_is_destroyed_by_its_snapshot() {
    let (plain, prod) = (Plain::example("environments"), Shape::of("environments").deployments.last().unwrap());
    let page = Page::of("environments");
    plain.fleet.write(
        "tfleet.yaml",
        &format!("{}accounts: [{{file: accounts.json, environment: env, name: name}}]\n", page.settings),
    );
    let accounts = "{\"111111111111\": {\"name\": \"shop-dev\", \"env\": \"dev\"}, \"333333333333\": {\"name\": \"shop-prod\", \"env\": \"prod\"}}";
    plain.fleet.write("accounts.json", accounts);
    plain.fleet.apply().run().assert_code(0);
    assert_eq!(plain.fleet.store().resources(prod.key).len(), 1);
    std::fs::remove_dir_all(plain.fleet.repo("envs")).unwrap();
    plain.fleet.write("accounts.json", "{}");
    // No backend file says where the states are any more.
    plain.fleet.settings(&format!("state: {{bucket: {}, region: us-east-1}}", plain.fleet.bucket().name));
    plain.fleet.tfleet("destroy").args(["--auto-approve", "--key", prod.key]).run().assert_code(0);
    assert!(plain.fleet.store().resources(prod.key).is_empty());
}
