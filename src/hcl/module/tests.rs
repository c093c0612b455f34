use super::*;

fn write(dir: &Utf8Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
    (temp, path)
}

#[test]
fn reads_backend_providers_and_local_modules() {
    let (_temp, dir) = temp();
    write(
        &dir,
        "root/main.tf",
        r#"
terraform {
  required_version = ">= 1.5"
  required_providers {
    amazon = { source = "hashicorp/aws", version = "~> 5.0" }
  }
  backend "s3" {
    bucket = "states"
    key    = "x/terraform.tfstate"
    encrypt = true
    assume_role = { role_arn = "arn:aws:iam::111111111111:role/x" }
  }
}
provider "amazon" {
  region = var.region
}
provider "amazon" {
  alias = "other"
  assume_role { role_arn = "arn:aws:iam::222222222222:role/y" }
}
variable "region" {}
output "id" { value = "x" }
module "net" { source = "../modules/net" }
module "reg" { source = "terraform-aws-modules/vpc/aws" }
"#,
    );
    write(&dir, "modules/net/main.tf", "# provider \"aws\" {}\nresource \"aws_vpc\" \"x\" {}\n");
    let module = RootModule::read(&dir.join("root")).unwrap();
    let backend = module.backend.as_ref().unwrap();
    assert_eq!(backend.kind, "s3");
    assert_eq!(backend.settings["bucket"], Setting::Literal("states".to_owned()));
    assert_eq!(backend.settings["encrypt"], Setting::Literal("true".to_owned()));
    assert_eq!(backend.settings["assume_role"], Setting::Dynamic);
    assert_eq!(backend.position.to_string(), format!("{dir}/root/main.tf:2"));
    let providers: Vec<_> = module.aws_providers().map(|(_, p)| (p.alias.as_deref(), p.assumes_role)).collect();
    assert_eq!(providers, [(None, AssumesRole::No), (Some("other"), AssumesRole::Yes)]);
    assert_eq!(module.dirs[0].remote_sources, ["terraform-aws-modules/vpc/aws"]);
    assert!(module.dirs[0].outputs.iter().eq(["id"]));
    assert_eq!(module.dirs[1].dir, dir.join("modules/net"));
    assert!(module.dirs[1].uses_aws, "by the type of a resource");
    assert!(module.dirs[1].providers.is_empty(), "a comment is no block");
}

#[test]
fn a_provider_called_aws_from_elsewhere_is_not_aws() {
    let (_temp, dir) = temp();
    write(
        &dir,
        "main.tf",
        "terraform {\n required_providers {\n aws = { source = \"acme/aws\" }\n }\n}\nprovider \"aws\" {}\n",
    );
    let module = RootModule::read(&dir).unwrap();
    assert_eq!(module.aws_providers().count(), 0);
    assert!(!module.may_use_aws());
}

#[test]
fn json_configuration_is_read_too() {
    let (_temp, dir) = temp();
    write(
        &dir,
        "main.tf.json",
        r#"{"terraform": {"backend": {"s3": {"bucket": "b"}}},
                "provider": {"aws": [{"alias": "a", "region": "${var.r}"}]},
                "variable": {"r": {}}, "output": {"o": {"value": 1}}, "module": {"m": {"source": "./m"}}}"#,
    );
    write(&dir, "m/main.tf", "");
    let module = RootModule::read(&dir).unwrap();
    assert_eq!(module.backend.as_ref().unwrap().settings["bucket"].literal(), Some("b"));
    let (_, provider) = module.aws_providers().next().unwrap();
    assert!(module.dirs[0].outputs.contains("o"));
    assert_eq!((provider.alias.as_deref(), &provider.settings["region"]), (Some("a"), &Setting::Dynamic));
    assert_eq!(module.dirs.len(), 2);
}

#[test]
fn whether_a_role_is_assumed_is_only_said_when_it_is_certain() {
    for (body, wanted) in [
        ("region = \"x\"", AssumesRole::No),
        ("assume_role {\n role_arn = \"arn:aws:iam::${var.id}:role/${var.name}\"\n}", AssumesRole::Yes),
        ("assume_role_with_web_identity {\n role_arn = \"arn:x\"\n}", AssumesRole::Yes),
        ("assume_role {\n role_arn = var.role\n}", AssumesRole::Unknown),
        ("assume_role {\n role_arn = \"${var.role}\"\n}", AssumesRole::Unknown),
        ("assume_role {\n role_arn = var.x ? \"a\" : null\n}", AssumesRole::Unknown),
        ("assume_role = var.role", AssumesRole::Unknown),
        ("dynamic \"assume_role\" {\n for_each = []\n content {}\n}", AssumesRole::Unknown),
    ] {
        let (_temp, dir) = temp();
        write(&dir, "main.tf", &format!("provider \"aws\" {{\n{body}\n}}\n"));
        let module = RootModule::read(&dir).unwrap();
        assert_eq!(module.aws_providers().next().unwrap().1.assumes_role, wanted, "{body}");
    }
}

#[test]
fn override_files_are_merged_into_what_they_override() {
    let (_temp, dir) = temp();
    write(&dir, "a_override.tf", "provider \"aws\" {\n profile = \"p\"\n}\nterraform {\n backend \"s3\" {}\n}\n");
    write(&dir, "main.tf", "provider \"aws\" {\n region = \"r\"\n}\nterraform {\n backend \"local\" {}\n}\n");
    let module = RootModule::read(&dir).unwrap();
    let providers: Vec<_> =
        module.aws_providers().map(|(_, p)| p.settings.keys().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(providers, [vec!["profile".to_owned(), "region".to_owned()]]);
    assert_eq!(module.backend.unwrap().kind, "s3");
}

#[test]
fn module_paths_are_joined_by_words_as_terraform_does() {
    let (_temp, dir) = temp();
    write(&dir, "shared/net/main.tf", "module \"up\" {\n source = \"../beside\"\n}\n");
    write(&dir, "root/beside/main.tf", "");
    write(&dir, "root/main.tf", "module \"net\" {\n source = \"./net\"\n}\n");
    std::os::unix::fs::symlink("../shared/net", dir.join("root/net")).unwrap();
    let dirs: Vec<_> = RootModule::read(&dir.join("root")).unwrap().dirs.into_iter().map(|d| d.dir.clone()).collect();
    assert_eq!(dirs, [dir.join("root"), dir.join("root/net"), dir.join("root/beside")]);
}

#[test]
fn errors_name_file_and_line() {
    let (_temp, dir) = temp();
    write(&dir, "main.tf", "\nmodule \"gone\" {\n  source = \"./gone\"\n}\n");
    let error = RootModule::read(&dir).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{dir}/main.tf:2: the module `gone`")), "{error}");
    write(&dir, "main.tf", "a = {\n");
    assert!(RootModule::read(&dir).unwrap_err().to_string().contains("main.tf:"));
}
