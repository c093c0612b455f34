//! `tfleet.yaml` as a person would write it: what is said, and nothing that goes without saying.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::hcl::{yaml_flow, yaml_value, yaml_word};
use crate::model::{AccountListSpec, RuleSpec};

/// A longer line is written as several.
const LONGEST_LINE: usize = 110;

/// The settings by which a repository is read, to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// What discovery leaves out.
    pub exclude: Vec<String>,
    /// Lists of accounts.
    pub accounts: Vec<AccountListSpec>,
    /// The rules, each with what is said above it; that may be nothing.
    pub layouts: Vec<(String, RuleSpec)>,
}

impl Written {
    /// Whether it says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exclude.is_empty() && self.accounts.is_empty() && self.layouts.is_empty()
    }

    /// The text of it. Comments stand where a line needs a reason.
    #[must_use]
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.exclude.is_empty() {
            let mut text = "discover:\n".to_owned();
            entry(&mut text, "  ", "exclude", &Value::from(self.exclude.clone()), None);
            parts.push(text);
        }
        if !self.accounts.is_empty() {
            let mut text = "accounts:\n".to_owned();
            self.accounts.iter().for_each(|spec| list_of_accounts(&mut text, spec));
            parts.push(text);
        }
        if !self.layouts.is_empty() {
            let mut text = "layouts:\n".to_owned();
            self.layouts.iter().for_each(|(why, spec)| item(&mut text, spec, why, &reason));
            parts.push(text);
        }
        parts.join("\n")
    }

    /// The same as data: the settings with what each says.
    #[must_use]
    pub fn data(&self) -> Value {
        let layouts = self.layouts.iter().map(|(_, spec)| Value::Object(said(spec))).collect::<Vec<_>>();
        let accounts = self.accounts.iter().map(|spec| Value::Object(said(spec))).collect::<Vec<_>>();
        serde_json::json!({"discover": {"exclude": self.exclude}, "accounts": accounts, "layouts": layouts})
    }
}

/// Why a line stands in a rule, where its name does not say it.
fn reason(name: &str) -> Option<&'static str> {
    match name {
        "off" => Some("what no rule takes is no deployment; tfleet layouts lists it"),
        "account_by" => Some("the one account that has this environment"),
        "workspace" => Some("of Terraform's CLI"),
        "variable_files" => Some("in this order: the last one that sets a variable wins"),
        _ => None,
    }
}

/// What differs from a default.
fn said<T: Serialize + Default>(spec: &T) -> Map<String, Value> {
    let (said, default) = (object(spec), object(&T::default()));
    said.into_iter().filter(|(name, value)| default.get(name) != Some(value)).map(|(n, v)| (n, bare(v))).collect()
}

/// A value of plain data becomes JSON in any case; if ever one did not, a rule without a name would be refused.
fn object<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The value without names that have none.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).map(|(n, v)| (n, bare(v))).collect())
        }
        Value::Array(items) => items.into_iter().map(bare).collect(),
        other => other,
    }
}

/// In one line, as the documents have them, where that is short enough.
fn list_of_accounts(text: &mut String, spec: &AccountListSpec) {
    let line = format!("  - {}\n", yaml_flow(&Value::Object(said(spec))));
    if line.len() <= LONGEST_LINE {
        text.push_str(&line);
    } else {
        item(text, spec, "", &|_| None);
    }
}

/// An item of a list, over several lines: `- name: …`.
fn item<T: Serialize + Default>(text: &mut String, spec: &T, why: &str, reason: &dyn Fn(&str) -> Option<&'static str>) {
    for line in why.lines() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  # {line}");
    }
    let said = said(spec);
    if said.is_empty() {
        text.push_str("  - {}\n");
    }
    for (index, (name, value)) in said.iter().enumerate() {
        entry(text, if index == 0 { "  - " } else { "    " }, name, value, reason(name));
    }
}

/// `name: value`, in one line where that is short enough.
fn entry(text: &mut String, indent: &str, name: &str, value: &Value, reason: Option<&str>) {
    let comment = reason.map(|reason| format!("  # {reason}")).unwrap_or_default();
    // A name of a setting needs no quotes.
    let line = match value {
        Value::String(value) => yaml_value(value),
        other => yaml_flow(other),
    };
    let is_long = indent.len() + name.len() + 2 + line.len() > LONGEST_LINE;
    let below = " ".repeat(indent.len() + 2);
    let _ = match value {
        Value::Array(items) if is_long => {
            let items = items.iter().map(|item| format!("{below}- {}\n", yaml_flow(item)));
            writeln!(text, "{indent}{name}:{comment}").and_then(|()| write!(text, "{}", items.collect::<String>()))
        }
        Value::Object(map) if is_long => {
            let lines = map.iter().map(|(name, value)| format!("{below}{}: {}\n", yaml_word(name), yaml_flow(value)));
            writeln!(text, "{indent}{name}:{comment}").and_then(|()| write!(text, "{}", lines.collect::<String>()))
        }
        _ => writeln!(text, "{indent}{name}: {line}{comment}"),
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use camino::Utf8Path;
    use proptest::prelude::*;

    use super::*;
    use crate::config::FileSettings;
    use crate::model::{AccountBy, DeliverySpec, DependencySpec, Hook, HookRun, Hooks, InputSpec, Make, Vault};

    fn read(text: &str) -> FileSettings {
        FileSettings::parse(Utf8Path::new("tfleet.yaml"), text).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    #[track_caller]
    fn assert_read_back(written: &Written) {
        let text = written.text();
        let read = read(&text);
        let layouts: Vec<RuleSpec> = written.layouts.iter().map(|(_, spec)| spec.clone()).collect();
        assert_eq!(read.layouts, layouts, "{text}");
        assert_eq!(read.accounts, written.accounts, "{text}");
        assert_eq!(read.discover.exclude, written.exclude, "{text}");
    }

    fn rule(yaml: &str) -> RuleSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn the_rules_of_six_shapes_are_written_as_a_person_would() {
        let specs = [
            "{name: envs, path: 'envs/{environment}', account_by: environment, backend_files: ['{folder}/backend.hcl']}",
            "{name: vars, path: 'vars/{account_name}/{region}.tfvars', root_module: stack,
              backend_files: ['backends/{account_name}/{region}.s3.tfbackend']}",
            "{name: tree, path: '{account_name}/{region}/{project}'}",
            "{name: infra, path: 'infra/environments/{environment}.tfvars', root_module: infra, account_by: environment,
              variable_files: [infra/environments/common.tfvars], backend_files: ['infra/environments/{environment}.s3.tfbackend']}",
            "{name: app, path: 'app/env/{environment}.tfvars', root_module: app, account_by: environment,
              workspace: '{project}-{environment}', fields: {project: '{var.application}'}}",
            "{name: live, path: 'live/{environment}/{project}', account_by: environment}",
        ];
        let accounts =
            "{file: config/accounts.json, list: Accounts, id: AccountId, name: Name, environment: Stage, owner: Owner}";
        let written = Written {
            exclude: vec!["legacy/**".to_owned()],
            accounts: vec![serde_yaml::from_str(accounts).unwrap()],
            layouts: specs
                .iter()
                .enumerate()
                .map(|(index, spec)| {
                    (
                        if index == 0 { "A root module in a folder for each environment." } else { "" }.to_owned(),
                        rule(spec),
                    )
                })
                .collect(),
        };
        assert_read_back(&written);
        insta::assert_snapshot!(written.text());
    }

    fn words() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(any::<String>(), 0..3)
    }

    fn maps() -> impl Strategy<Value = BTreeMap<String, String>> {
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..3)
    }

    fn some() -> impl Strategy<Value = Option<String>> {
        prop::option::of(any::<String>())
    }

    prop_compose! {
        fn dependency()(rule in some(), fields in maps(), same in prop::option::of(words()), optional in any::<bool>()) -> DependencySpec {
            DependencySpec { rule, fields, same, optional, unset_is_same: false }
        }
    }

    prop_compose! {
        fn input()(output in some(), rule in some(), fields in maps(), same in prop::option::of(words())) -> InputSpec {
            InputSpec { output, rule, fields, same }
        }
    }

    prop_compose! {
        fn delivery()(output in any::<String>(), account in some(), region in some(), name in any::<String>()) -> DeliverySpec {
            DeliverySpec { output, to: Vault::Ssm, account, region, name }
        }
    }

    prop_compose! {
        fn hooks()(target in "[a-z]{1,5}", arguments in words(), seconds in prop::option::of(1..900_u64)) -> Hooks {
            let command = std::iter::once(target.clone()).chain(arguments).collect();
            let timeout = seconds.map(Duration::from_secs);
            Hooks {
                before_plan: vec![Hook { run: HookRun::Command(command), timeout }],
                on_failure: vec![Hook { run: HookRun::Make(target), timeout: None }],
                ..Hooks::default()
            }
        }
    }

    prop_compose! {
        fn any_rule()(
            (name, off, path, also, when, kind) in (any::<String>(), any::<bool>(), some(), any::<Option<bool>>(), maps(), some()),
            (root_module, variable_files, backend_files, workspace) in (some(), words(), words(), some()),
            (by_environment, key, fields, account_of) in (any::<Option<bool>>(), some(), maps(), some()),
            (dependencies, inputs, variables, made) in (
                prop::option::of(prop::collection::vec(dependency(), 0..3)),
                prop::collection::btree_map(any::<String>(), input(), 0..2),
                maps(),
                prop::option::of(some()),
            ),
            (hooks, deliver, include, changes, keep) in (
                prop_oneof![Just(Hooks::default()), hooks()],
                prop::collection::vec(delivery(), 0..2),
                words(),
                prop::option::of(words()),
                words(),
            ),
        ) -> RuleSpec {
            RuleSpec {
                account_by: by_environment.map(|yes| if yes { AccountBy::Environment } else { AccountBy::Name }),
                depends_on: dependencies,
                make: made.map(|destroy| Make { apply: "up".to_owned(), destroy, plan: None }),
                name, off, path, also, when, kind, root_module, variable_files, backend_files, workspace, key, fields,
                account_of, inputs, variables, hooks, deliver, include, changes, keep,
            }
        }
    }

    prop_compose! {
        fn any_list()(
            file in any::<String>(), list in any::<String>(),
            (id, name, environment) in (some(), some(), some()), (region, owner, team) in (some(), some(), some()),
        ) -> AccountListSpec {
            AccountListSpec { file: file.into(), list, id, name, environment, region, owner, team }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            rules in prop::collection::vec((any::<String>(), any_rule()), 0..3),
            accounts in prop::collection::vec(any_list(), 0..3),
            exclude in words(),
        ) {
            // A comment is prose of tfleet's own.
            let layouts = rules.into_iter().map(|(why, spec)| (why.chars().filter(|c| !c.is_control()).collect(), spec));
            assert_read_back(&Written { exclude, accounts, layouts: layouts.collect() });
        }
    }
}
