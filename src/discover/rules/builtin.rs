//! The built-in rules, in the words of `tfleet.yaml`.

use std::collections::BTreeMap;

use crate::model::{DependencySpec, RuleSpec, SourceKind};

/// The rules of accounts that are minted.
const REGIONAL_ACCOUNTS: &str = "regional-account";
const MANAGEMENT_ACCOUNTS: &str = "management-account";

/// What a rule is made from, beside what it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    /// Decides about the format of the files and where fields come from.
    pub source: SourceKind,
    /// The paths, where the rule has none of its own.
    pub paths: &'static [&'static str],
}

const TFVARS: Base = Base { source: SourceKind::Tfvars, paths: &["**/*.tfvars"] };
const REGIONS: Base = Base {
    source: SourceKind::Regions,
    paths: &[
        "regions/*.yaml",
        "regions/*.yml",
        "terraform/region-deploy/regions/*.yaml",
        "terraform/region-deploy/regions/*.yml",
    ],
};
const REGIONAL: Base =
    Base { source: SourceKind::Deploy, paths: &["deploy/{environment}/{region_alias}/terraform/regional.yaml"] };
const MANAGEMENT: Base = Base {
    source: SourceKind::Deploy,
    paths: &["deploy/{environment}/{region_alias}/terraform/management/{cluster}.yaml"],
};

/// The names of all built-in rules.
pub(super) const NAMES: [&str; 7] = [
    "tfvars",
    "regional-cluster",
    "management-cluster",
    "regional-pipeline",
    "management-pipeline",
    REGIONAL_ACCOUNTS,
    MANAGEMENT_ACCOUNTS,
];

/// The built-in rule of this name.
fn built_in(name: &str) -> Option<(RuleSpec, Base)> {
    let rule = |root: &str, key: &str, changes: &str| RuleSpec {
        name: name.to_owned(),
        root_module: Some(format!("terraform/config/{root}")),
        key: Some(key.to_owned()),
        changes: Some(vec![changes.to_owned()]),
        ..RuleSpec::default()
    };
    let typed = |kind: &str, spec: RuleSpec| RuleSpec { kind: Some(kind.to_owned()), ..spec };
    let beside = |spec: RuleSpec| RuleSpec { also: Some(true), ..spec };
    let after = |rule: &str, same: [&str; 2], spec: RuleSpec| {
        let first = DependencySpec {
            rule: Some(rule.to_owned()),
            same: Some(same.map(str::to_owned).to_vec()),
            optional: true,
            // The files of accounts may leave `environment` out.
            unset_is_same: true,
            ..DependencySpec::default()
        };
        RuleSpec { depends_on: Some(vec![first]), ..spec }
    };
    let account = |kind: &str, spec: RuleSpec| RuleSpec {
        when: BTreeMap::from([("type".to_owned(), kind.to_owned())]),
        changes: None,
        ..typed(kind, spec)
    };
    let key = "{account_name}/terraform.tfstate";
    let below = "deploy/{environment}/{region_alias}/";
    let regional = || rule("regional-cluster", key, &format!("{below}**"));
    let management = || rule("management-cluster", key, &format!("{below}terraform/management/**"));
    Some(match name {
        "tfvars" => (RuleSpec { name: name.to_owned(), ..RuleSpec::default() }, TFVARS),
        "regional-cluster" => (typed("regional", regional()), REGIONAL),
        "management-cluster" => {
            let same = ["environment", "region_alias"];
            (after("regional-cluster", same, typed("management", management())), MANAGEMENT)
        }
        "regional-pipeline" => {
            let key = "pipelines/regional-{environment}-{region_alias}.tfstate";
            (beside(typed("regional", rule("pipeline-regional-cluster", key, "deploy/**"))), REGIONAL)
        }
        "management-pipeline" => {
            let key = "pipelines/management-{environment}-{region_alias}-{cluster}.tfstate";
            (beside(typed("management", rule("pipeline-management-cluster", key, "deploy/**"))), MANAGEMENT)
        }
        REGIONAL_ACCOUNTS => (account("regional", regional()), REGIONS),
        MANAGEMENT_ACCOUNTS => {
            (after(REGIONAL_ACCOUNTS, ["environment", "region"], account("management", management())), REGIONS)
        }
        _ => return None,
    })
}

/// What a listed rule starts from: the built-in rule of its name, or, by what its path ends in, the defaults of `tfvars`
/// or of the deploy tree; any other path is that of folders.
pub(super) fn base_of(spec: &RuleSpec) -> Result<(RuleSpec, Base), String> {
    if let Some(found) = built_in(&spec.name) {
        return Ok(found);
    }
    let Some(path) = &spec.path else {
        return Err(format!("`path` is not set, and no built-in rule has this name (these are {})", NAMES.join(", ")));
    };
    let source = match path.rsplit_once('.') {
        Some((_, "tfvars")) => SourceKind::Tfvars,
        Some((_, "yaml" | "yml")) => SourceKind::Deploy,
        _ => SourceKind::Folder,
    };
    Ok((RuleSpec::default(), Base { source, paths: &[] }))
}

/// The built-in rules that are in force where no rule of `tfleet.yaml` has their name.
///
/// Those of region files wait until they are asked for: a folder `regions` may hold anything.
pub(super) fn in_force(source: Option<SourceKind>) -> Vec<(RuleSpec, Base)> {
    let names: &[&str] = match source {
        Some(SourceKind::Regions) => &[REGIONAL_ACCOUNTS, MANAGEMENT_ACCOUNTS],
        _ => &["tfvars", "regional-cluster", "management-cluster"],
    };
    names.iter().filter_map(|name| built_in(name)).collect()
}
