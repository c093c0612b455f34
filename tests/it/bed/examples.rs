//! The examples, as a reader copies them, against moto.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Value, json};

use super::{CENTRAL, Fleet, Keys, Moto, Tfleet, aws_endpoints_override, files_below, search_path, tools, use_mirror};

/// The file beside the example's own that only the tests have.
const OVERRIDE: &str = "moto_override.tf";

/// What moto asks for where AWS does not: the place of a project's source and artefacts, also inside a pipeline.
const PROJECTS_FOR_MOTO: &str = r#"
resource "aws_codebuild_project" "this" {
  artifacts {
    type     = "CODEPIPELINE"
    location = "the-pipeline"
  }

  source {
    type      = "CODEPIPELINE"
    location  = "the-pipeline"
    buildspec = "version: 0.2"
  }
}
"#;

/// A folder of `examples/` as the repository of a fleet. Its accounts, the central one too, are those of this test alone:
/// names that are taken once per account (parameters, aliases, an organization) never meet those of another test.
///
/// Nothing in it is changed but the account ids; files beside the example's own tell Terraform where moto is.
pub struct Example {
    /// The fleet.
    pub fleet: Fleet,
    /// The central account.
    pub central: String,
    accounts: BTreeMap<String, String>,
}

impl Example {
    /// A copy of `examples/NAME`.
    pub fn new(name: &str) -> Self {
        let central = new_account();
        let fleet = Fleet::s3_of(Moto::shared().keys_of(&central));
        fs::remove_dir_all(fleet.repo("")).unwrap();
        let accounts = BTreeMap::from([(CENTRAL.to_owned(), central.clone())]);
        let mut example = Self { fleet, central, accounts };
        example.copy(&example_folder(name));
        use_mirror(&example.fleet);
        // What a machine that runs the example's hooks has on its PATH.
        let programs = example.fleet.dir("bin");
        fs::create_dir_all(&programs).unwrap();
        symlink(tools::aws(), programs.join("aws")).unwrap();
        example
    }

    fn copy(&mut self, from: &Path) {
        let account = Regex::new(r"\b[0-9]{12}\b").unwrap();
        let endpoints = aws_endpoints_override(self.fleet.moto().endpoint());
        for path in files_below(from) {
            let text = fs::read_to_string(&path).unwrap();
            for id in account.find_iter(&text) {
                self.accounts.entry(id.as_str().to_owned()).or_insert_with(new_account);
            }
            let own = account.replace_all(&text, |id: &regex::Captures<'_>| self.accounts[&id[0]].clone());
            let relative = path.strip_prefix(from).unwrap().to_str().unwrap();
            self.fleet.write(relative, &own);
            let beside = Path::new(relative).with_file_name(OVERRIDE).to_str().unwrap().to_owned();
            if relative.ends_with(".tf") && text.contains("provider \"aws\" {") {
                self.fleet.write(&beside, &endpoints);
            }
            if relative.ends_with(".tf") && text.contains("resource \"aws_codebuild_project\"") {
                self.fleet.write(&beside, PROJECTS_FOR_MOTO);
            }
        }
    }

    /// The account that stands where the example has this one.
    #[track_caller]
    pub fn account(&self, written: &str) -> &str {
        self.accounts.get(written).unwrap_or_else(|| panic!("{written} does not stand in the example"))
    }

    /// A call of `tfleet VERB`, with the bucket in the environment as the example's readme has it.
    pub fn tfleet(&self, verb: &str) -> Tfleet {
        self.at_home(self.fleet.tfleet(verb))
    }

    /// `tfleet apply --auto-approve`.
    pub fn apply(&self) -> Tfleet {
        self.at_home(self.fleet.apply())
    }

    /// `tfleet destroy --auto-approve`, which needs a selection.
    pub fn destroy(&self) -> Tfleet {
        self.tfleet("destroy").arg("--auto-approve")
    }

    fn at_home(&self, call: Tfleet) -> Tfleet {
        let path = search_path([self.fleet.dir("bin")]);
        call.env("TF_STATE_BUCKET", &self.fleet.bucket().name).env("PATH", path)
    }

    /// The folders of its root modules, relative to the repository, sorted.
    pub fn modules(&self) -> Vec<String> {
        let overrides = files_below(&self.fleet.repo("")).into_iter().filter(|path| path.ends_with(OVERRIDE));
        let folders = overrides.map(|path| path.parent().unwrap().to_owned());
        let relative = folders.map(|path| path.strip_prefix(self.fleet.repo("")).unwrap().to_str().unwrap().to_owned());
        relative.filter(|path| !path.contains("/modules/")).collect()
    }

    /// What `account` answers to a call of a service with a JSON protocol, such as `AmazonSSM.GetParameter`.
    pub fn call(&self, account: &str, region: &str, target: &str, body: &Value) -> Result<Value, Value> {
        let moto = self.fleet.moto();
        json_call(moto, &moto.keys_of(account), region, target, body)
    }

    /// The value of a parameter.
    pub fn parameter(&self, account: &str, region: &str, name: &str) -> Option<String> {
        let answer = self.call(account, region, "AmazonSSM.GetParameter", &json!({"Name": name}));
        answer.ok().map(|answer| answer["Parameter"]["Value"].as_str().unwrap().to_owned())
    }

    /// The names of all parameters, sorted.
    pub fn parameters(&self, account: &str, region: &str) -> Vec<String> {
        let answer = self.call(account, region, "AmazonSSM.DescribeParameters", &json!({"MaxResults": 50})).unwrap();
        let mut names = strings(&answer["Parameters"], "Name");
        names.sort();
        names
    }

    /// Makes the central account the management account of an organization with these organizational units.
    pub fn organization(&self, units: &[&str]) {
        let call = |operation: &str, body: &Value| {
            let target = format!("AWSOrganizationsV20161128.{operation}");
            self.call(&self.central, "us-east-1", &target, body).unwrap()
        };
        call("CreateOrganization", &json!({"FeatureSet": "ALL"}));
        let root = call("ListRoots", &json!({}))["Roots"][0]["Id"].as_str().unwrap().to_owned();
        for unit in units {
            call("CreateOrganizationalUnit", &json!({"ParentId": root, "Name": unit}));
        }
    }

    /// The accounts of the organization by name, without the central one.
    pub fn minted(&self) -> BTreeMap<String, String> {
        let target = "AWSOrganizationsV20161128.ListAccounts";
        let answer = self.call(&self.central, "us-east-1", target, &json!({})).unwrap();
        let accounts = answer["Accounts"].as_array().unwrap().iter();
        let pair = |account: &Value| (text(&account["Name"]), text(&account["Id"]));
        accounts.map(pair).filter(|(_, id)| *id != self.central).collect()
    }
}

/// A folder of `examples/`.
pub fn example_folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn strings(list: &Value, field: &str) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|entry| text(&entry[field])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// An account that no other test has.
fn new_account() -> String {
    format!("9{:011}", uuid::Uuid::new_v4().as_u128() % 100_000_000_000)
}

/// moto looks at the key and the scope only, so the request needs no signature.
fn json_call(moto: &Moto, keys: &Keys, region: &str, target: &str, body: &Value) -> Result<Value, Value> {
    let service = match target.split_once('.') {
        Some(("AmazonSSM", _)) => "ssm",
        Some(("secretsmanager", _)) => "secretsmanager",
        Some(("CodePipeline_20150709", _)) => "codepipeline",
        Some(("AWSOrganizationsV20161128", _)) => "organizations",
        _ => panic!("the service of {target} is not known here"),
    };
    let body = body.to_string();
    let mut request = format!("POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", moto.address());
    let scope = format!("{}/20260101/{region}/{service}/aws4_request", keys.id);
    write!(
        request,
        "Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\
         X-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut stream = TcpStream::connect(moto.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, json) = answer.split_once("\r\n\r\n").unwrap();
    let json = serde_json::from_str(json).unwrap_or_else(|e| panic!("{target}: {e}: {answer}"));
    if head.lines().next().unwrap().contains(" 200 ") { Ok(json) } else { Err(json) }
}
