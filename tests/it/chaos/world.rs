//! The deployments of the chaos, what is wanted of each, and the ledger of what was really created.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use super::dice::Dice;
use crate::bed::{DEV, Deploy, FaultProxy, Fleet, PROD, STAGING, files_below};

/// One deployment as its file describes it.
pub struct Wanted {
    pub deploy: Deploy,
    pub project: String,
    pub things: BTreeSet<String>,
    broken: bool,
    /// For names that were never used.
    made: usize,
}

impl Wanted {
    pub fn key(&self) -> String {
        self.deploy.key()
    }

    /// The addresses that its state has once all is done, sorted.
    pub fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.things.iter().map(|name| address(name)).collect();
        addresses.sort();
        addresses
    }

    fn add(&mut self) {
        self.made += 1;
        self.things.insert(format!("t{}", self.made));
    }

    fn file(&self) -> Deploy {
        let names: Vec<String> = self.things.iter().map(|name| format!("\"{name}\"")).collect();
        self.deploy.clone().more(&format!("things = [{}]\nbroken = {}", names.join(", "), self.broken))
    }
}

/// The address of a thing.
pub fn address(name: &str) -> String {
    format!("terraform_data.thing[\"{name}\"]")
}

/// A line of the ledger: something real happened to a real resource.
#[derive(Debug, Clone)]
pub struct Line {
    pub created: bool,
    pub id: String,
    pub name: String,
    /// In nanoseconds since 1970.
    pub at: i128,
}

/// The fleet.
pub struct World {
    pub fleet: Fleet,
    pub proxy: FaultProxy,
    pub all: Vec<Wanted>,
}

impl World {
    pub fn new(count: usize) -> Self {
        let (fleet, proxy) = Fleet::s3_with_faults();
        let ledger = fleet.dir("ledger");
        fs::create_dir_all(&ledger).unwrap();
        fleet.write("main.tf", &root(ledger.to_str().unwrap()));
        fleet.settings("run:\n  grace: 20s");
        let accounts = [DEV, STAGING, PROD];
        let all = (0..count)
            .map(|n| {
                let project = format!("p{n}-");
                let deploy = Deploy::new(&project).account(accounts[n % accounts.len()]);
                let things = ["t1".to_owned(), "t2".to_owned()].into();
                Wanted { deploy, project, things, broken: false, made: 2 }
            })
            .collect();
        let world = Self { fleet, proxy, all };
        world.write();
        world
    }

    /// Writes the files.
    pub fn write(&self) {
        for wanted in &self.all {
            self.fleet.deploy(&wanted.file());
        }
    }

    /// Changes what is wanted of some, and writes it.
    pub fn change(&mut self, dice: &mut Dice) {
        for wanted in &mut self.all {
            match dice.below(10) {
                0..=3 => (0..=dice.below(3)).for_each(|_| wanted.add()),
                4 => {
                    wanted.add();
                    wanted.broken = true;
                }
                5 => drop(wanted.things.pop_first()),
                6 => {
                    drop(wanted.things.pop_last());
                    wanted.add();
                }
                _ => {}
            }
        }
        self.write();
    }

    /// Mends what was broken, and writes it.
    pub fn mend(&mut self) {
        self.all.iter_mut().for_each(|wanted| wanted.broken = false);
        self.write();
    }

    /// What really happened to the resources of a deployment.
    pub fn ledger(&self, project: &str) -> Vec<Line> {
        let text = fs::read_to_string(self.fleet.dir("ledger").join(project)).unwrap_or_default();
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let mut next =
                || words.next().unwrap_or_else(|| panic!("a broken line in the ledger of {project}: {line}"));
            Line {
                created: next() == "create",
                id: next().to_owned(),
                name: next().to_owned(),
                at: next().parse().unwrap(),
            }
        };
        text.lines().map(parse).collect()
    }

    /// Keeps the folder of the test for whoever looks into a failure.
    pub fn keep(&self) -> String {
        let kept = std::env::temp_dir().join(format!("tfleet-chaos-{}", std::process::id()));
        let copied = std::process::Command::new("cp").arg("-a").arg(self.fleet.dir("")).arg(&kept).status();
        copied.map_or_else(|error| error.to_string(), |_| format!("its files are in {}", kept.display()))
    }

    /// How much has happened so far.
    pub fn happened(&self) -> u64 {
        files_below(&self.fleet.dir("ledger")).iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum()
    }
}

/// A root module whose resources write down that they were made, and unmade.
fn root(ledger: &str) -> String {
    let mut text = String::new();
    for name in ["account_id", "account_name", "region", "project", "environment"] {
        writeln!(text, "variable \"{name}\" {{ type = string }}").unwrap();
    }
    let line = |verb: &str, when: &str| {
        format!(
            "  provisioner \"local-exec\" {{\n    {when}\n    \
             command = \"echo {verb} ${{self.id}} ${{self.input.name}} $(date +%s%N) >> ${{self.input.ledger}}\"\n  }}\n"
        )
    };
    writeln!(
        text,
        r#"
variable "s3_buckets" {{
  type    = any
  default = {{}}
}}
variable "things" {{
  type    = set(string)
  default = []
}}
variable "broken" {{
  type    = bool
  default = false
}}

resource "terraform_data" "thing" {{
  for_each = var.things
  input    = {{ name = each.key, ledger = "{ledger}/${{var.project}}" }}
{}{}}}

resource "terraform_data" "breaker" {{
  count      = var.broken ? 1 : 0
  depends_on = [terraform_data.thing]
  provisioner "local-exec" {{
    command = "exit 3"
  }}
}}
"#,
        line("create", ""),
        line("destroy", "when = destroy"),
    )
    .unwrap();
    text
}
