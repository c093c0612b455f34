//! The `tfleet.yaml` that is proposed.

use camino::Utf8PathBuf;

use crate::config::{Settings, Written};
use crate::discover::{Field, Lack, Problem};
use crate::model::RuleSpec;
use crate::survey::{Kind, Survey};

/// The built-in rule of variable files.
const TFVARS: &str = "tfvars";

/// What stands at the top of the file.
const HEADER: &str =
    "# By which rules tfleet finds the deployments of this repository. `tfleet layouts` shows what each one takes.\n";

/// What is proposed, and where it would stand.
pub(super) struct Proposal {
    /// What is proposed.
    pub written: Written,
    /// The file that would be written.
    pub file: Utf8PathBuf,
    /// The file of settings that is there.
    pub present: Option<Utf8PathBuf>,
    /// Whether that has rules of its own.
    pub present_rules: bool,
}

impl Proposal {
    pub(super) fn of(survey: &Survey, settings: &Settings, exclude: &[String]) -> Self {
        let layouts = survey.shapes.iter().filter(|shape| !is_built_in(&shape.rule));
        let lists = survey.account_lists.iter().filter(|list| !settings.accounts.contains(list));
        let written = Written {
            exclude: exclude
                .iter()
                .chain(&survey.exclude)
                .filter(|glob| !settings.exclude.contains(*glob))
                .cloned()
                .collect(),
            accounts: lists.cloned().collect(),
            layouts: layouts.map(|shape| (describe(shape.kind).to_owned(), shape.rule.clone())).collect(),
        };
        Self {
            written,
            file: settings.working_dir.join("tfleet.yaml"),
            present: settings.config_file.clone(),
            present_rules: !settings.layouts.is_empty(),
        }
    }

    /// Turns the built-in rule of variable files off where it reads what is no deployment: files that no shape has, and
    /// that say nothing of an account. Whether it did.
    pub(super) fn leave_to_rules(&mut self, survey: &Survey, problems: &[Problem]) -> bool {
        let reads = |problem: &Problem| {
            let lack = problem.lack.as_deref();
            matches!(lack, Some(Lack::Field { field: Field::AccountId, rule }) if rule == TFVARS)
        };
        let wanted = survey.shapes.iter().any(|shape| shape.kind == Kind::BuiltIn || shape.rule.name == TFVARS);
        if self.present_rules || wanted || self.written.layouts.is_empty() || !problems.iter().any(reads) {
            return false;
        }
        let rule = RuleSpec { name: TFVARS.to_owned(), off: true, ..RuleSpec::default() };
        self.written.layouts.push((String::new(), rule));
        true
    }

    /// What is proposed, and not among the rules that are there.
    pub(super) fn lacking(&self, present: &[RuleSpec]) -> Vec<String> {
        let rules = self.written.layouts.iter().filter(|(_, rule)| !present.contains(rule));
        let rules = rules.map(|(_, rule)| format!("the rule {}", rule.name));
        let exclude = (!self.written.exclude.is_empty()).then(|| "`discover.exclude`".to_owned());
        let accounts = self.written.accounts.iter().map(|list| format!("the list of accounts {}", list.file));
        exclude.into_iter().chain(accounts).chain(rules).collect()
    }

    /// The text of the whole file.
    pub(super) fn text(&self) -> String {
        format!("{HEADER}{}", self.written.text())
    }
}

/// A rule that says nothing which the built-in one of its name does not say.
fn is_built_in(rule: &RuleSpec) -> bool {
    *rule == RuleSpec { name: rule.name.clone(), ..RuleSpec::default() }
}

/// A shape in a sentence.
pub(super) const fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Environments => "A root module in a folder for each environment.",
        Kind::VariableFiles => "One root module, and a variable file for each deployment.",
        Kind::SharedVariables => "One root module, a variable file for each deployment, and others that they share.",
        Kind::Tree => "Root modules in a tree of folders that says account, region or project.",
        Kind::Workspaces => "One root module, and a workspace of Terraform's CLI for each variable file.",
        Kind::BuiltIn => "Files that tfleet reads without a rule.",
    }
}
