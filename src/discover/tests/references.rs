//! Which strings are files.

use super::*;

fn with(text: &str) -> Repo {
    let repo = Repo::new();
    repo.write("work/main.tf", "").write("work/a/x.tfvars", format!("{GOOD}{text}"));
    repo.write("work/a/beside.json", "{}").write("work/policies/p.json", "{}").write("outside.json", "{}");
    let options = Options { working_dir: repo.dir.join("work"), ..repo.options.clone() };
    Repo { options, ..repo }
}

fn found(text: &str) -> Vec<String> {
    with(text).one().references.into_iter().map(|r| format!("{} -> {}", r.written, r.path)).collect()
}

#[test]
fn strings_at_any_depth_are_looked_up_from_the_working_directory_then_from_the_folder() {
    let text = r#"
x = { a = [{ p = "policies/p.json" }, ("beside.json")] }
y = "../policies/p.json"
z = "./policies/../policies/p.json"
"#;
    assert_eq!(
        found(text),
        [
            "../policies/p.json -> policies/p.json",
            "./policies/../policies/p.json -> policies/p.json",
            "beside.json -> a/beside.json",
            "policies/p.json -> policies/p.json",
        ]
    );
}

#[test]
fn strings_that_are_no_files_are_left_alone() {
    let text = r#"
a = "arn:aws:iam::aws:policy/x.json"
b = "https://example.com/x.json"
c = "/bin/sh"
d = "/"
health_check_path = "/health"
ssm_path = "app/prod"
role_path = "/service/"
e = "missing.json"
f = "10.0.0.0/16"
optional_file = ""
g = "policies"
h = <<EOT
policies/p.json
EOT
"#;
    assert_eq!(found(text), [""; 0]);
}

#[test]
fn a_folder_under_path_is_noticed() {
    let discovery = with("source_path = \"policies\"\n").discover();
    assert_eq!(discovery.problems, []);
    assert_eq!(discovery.notices.len(), 1, "{:?}", discovery.notices);
    assert!(discovery.notices[0].starts_with("a/x.tfvars:4: `source_path` names the folder `policies`"));
}

#[test]
fn missing_and_escaping_files_are_refused_with_their_line() {
    let repo = with(concat!(
        "s3_buckets = {\n  a = {\n    policy_file = \"policies/gone.json\"\n  }\n}\n",
        "zip_path = \"build/app.zip\"\n",
        "policy = \"../outside.json\"\n",
        "deep = \"policies/../../outside.json\"\n",
        "kms_policy_file = \"/etc/hostname\"\n",
        "absent_file = \"../../../nowhere.json\"\n",
        "linked = \"policies/link.json\"\n",
        "through = \"away/outside.json\"\n",
    ));
    std::os::unix::fs::symlink("../../outside.json", repo.options.working_dir.join("policies/link.json")).unwrap();
    std::os::unix::fs::symlink("../..", repo.options.working_dir.join("a/up")).unwrap();
    std::os::unix::fs::symlink("..", repo.options.working_dir.join("away")).unwrap();
    insta::assert_snapshot!(repo.problems(), @r#"
    a/x.tfvars:6:19: `policy_file` names the file `policies/gone.json`, which does not exist
      |
    6 |     policy_file = "policies/gone.json"
      |                   ^
      hint: files are looked for from the working directory, then from the folder of this file
    a/x.tfvars:9:12: `zip_path` names the file `build/app.zip`, which does not exist
      |
    9 | zip_path = "build/app.zip"
      |            ^
      hint: files are looked for from the working directory, then from the folder of this file
    a/x.tfvars:10:10: `policy` refers to `../outside.json`, which is outside the working directory
       |
    10 | policy = "../outside.json"
       |          ^
      hint: copy the file into the working directory and name it by a relative path: what a deployment uses must come from its repository
    a/x.tfvars:11:8: `deep` refers to `policies/../../outside.json`, which is outside the working directory
       |
    11 | deep = "policies/../../outside.json"
       |        ^
      hint: copy the file into the working directory and name it by a relative path: what a deployment uses must come from its repository
    a/x.tfvars:12:19: `kms_policy_file` refers to `/etc/hostname`, which is outside the working directory
       |
    12 | kms_policy_file = "/etc/hostname"
       |                   ^
      hint: copy the file into the working directory and name it by a relative path: what a deployment uses must come from its repository
    a/x.tfvars:13:15: `absent_file` refers to `../../../nowhere.json`, which is outside the working directory
       |
    13 | absent_file = "../../../nowhere.json"
       |               ^
      hint: copy the file into the working directory and name it by a relative path: what a deployment uses must come from its repository
    a/x.tfvars:14:10: `linked` refers to `policies/link.json`, which is outside the working directory
       |
    14 | linked = "policies/link.json"
       |          ^
      hint: copy the file into the working directory and name it by a relative path: what a deployment uses must come from its repository
    a/x.tfvars:15:11: `through` refers to `away/outside.json`, which is outside the working directory
       |
    15 | through = "away/outside.json"
       |           ^
      hint: copy the file into the working directory and name it by a relative path: what a deployment uses must come from its repository
    "#);
}

/// Terraform ran there before tfleet: what strings mean is what they meant.
#[test]
fn strings_of_an_adopted_root_module_are_seen_from_there_and_never_a_mistake() {
    let mut repo = Repo::new();
    repo.rules("[{name: vars, path: 'vars/{account_name}.tfvars', root_module: stack}]");
    repo.module("stack").write("stack/policies/p.json", "{}").write("vars/acme.json", "{}");
    repo.write("accounts.yaml", "accounts:\n  \"111111111111\": {account_name: acme}\n");
    let text = concat!(
        "region = \"us-east-1\"\nproject = \"web\"\npolicy_file = \"policies/p.json\"\nother_file = \"acme.json\"\n",
        "log_file = \"app.log\"\nconfig_file = \"/etc/hostname\"\nup_file = \"../../../nowhere\"\n"
    );
    repo.write("vars/acme.tfvars", text);
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let found = discovery.deployments[0].references.iter().map(|r| r.path.as_str());
    assert_eq!(found.collect::<Vec<_>>(), ["vars/acme.json", "stack/policies/p.json"]);
    let missing = ["`log_file` names `app.log`", "`up_file` names `../../../nowhere`"];
    assert_eq!(discovery.notices.len(), 2, "{:?}", discovery.notices);
    for (notice, words) in discovery.notices.iter().zip(missing) {
        assert!(notice.starts_with("vars/acme.tfvars:") && notice.contains(words), "{notice}");
    }
}

#[test]
fn a_link_inside_the_working_directory_is_a_file() {
    let repo = with("p_file = \"policies/link.json\"\n");
    std::os::unix::fs::symlink("p.json", repo.options.working_dir.join("policies/link.json")).unwrap();
    assert_eq!(repo.one().references[0].path, "policies/link.json");
}
