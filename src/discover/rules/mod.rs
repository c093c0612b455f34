//! The rules in force: the built-in ones, and those of `tfleet.yaml` made ready and checked.

mod builtin;
mod check;
mod origins;

use std::collections::BTreeMap;

use super::layout::Layout;
use crate::model::{RuleSpec, SourceKind};

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct RuleError {
    /// The file of the settings, the number of the rule and its name.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Makes the rules ready: those that are `listed`, and the built-in ones that these leave in force. `from` names the file
/// of the settings in errors, `source` is the only kind that is wanted.
pub(super) fn layout(listed: &[RuleSpec], from: &str, source: Option<SourceKind>) -> Result<Layout, RuleError> {
    let mut specs: Vec<(RuleSpec, builtin::Base, String)> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, spec) in listed.iter().enumerate() {
        let place = if spec.name.is_empty() {
            format!("{from}: layouts[{index}]")
        } else {
            format!("{from}: layouts[{index}] ({})", spec.name)
        };
        check::name(spec, &place, seen.insert(&spec.name, index))?;
        if spec.off {
            check::off(spec, &place)?;
            continue;
        }
        let (base, kind) = builtin::base_of(spec).map_err(|why| RuleError { place: place.clone(), why, hint: None })?;
        specs.push((merged(spec.clone(), base), kind, place));
    }
    let in_use = specs.len();
    let built_in = builtin::in_force(source).into_iter().filter(|(spec, _)| !seen.contains_key(spec.name.as_str()));
    specs.extend(built_in.map(|(spec, kind)| {
        let place = format!("the built-in rule {}", spec.name);
        (spec, kind, place)
    }));
    let known = check::Known::of(&specs.iter().map(|(spec, ..)| spec).collect::<Vec<_>>());
    let mut rules = Vec::with_capacity(specs.len());
    for (index, (spec, base, place)) in specs.into_iter().enumerate() {
        let rule = check::rule(spec, &base, index < in_use, &known)
            .map_err(|check::Wrong { why, hint }| RuleError { place, why, hint })?;
        // A rule of another kind is checked all the same: a mistake is not to show up only now and then.
        if source.is_none_or(|source| rule.source == source) {
            rules.push(rule.into());
        }
    }
    Ok(Layout { rules })
}

/// What a rule leaves out is that of the built-in rule of its name.
fn merged(spec: RuleSpec, base: RuleSpec) -> RuleSpec {
    let either = |ours: Vec<String>, theirs: Vec<String>| if ours.is_empty() { theirs } else { ours };
    RuleSpec {
        name: spec.name,
        off: false,
        path: spec.path.or(base.path),
        also: spec.also.or(base.also),
        when: if spec.when.is_empty() { base.when } else { spec.when },
        kind: spec.kind.or(base.kind),
        root_module: spec.root_module.or(base.root_module),
        variable_files: spec.variable_files,
        backend_files: spec.backend_files,
        workspace: spec.workspace,
        account_by: spec.account_by,
        key: spec.key.or(base.key),
        fields: spec.fields,
        account_of: spec.account_of,
        depends_on: spec.depends_on.or(base.depends_on),
        inputs: spec.inputs,
        variables: spec.variables,
        make: spec.make,
        hooks: spec.hooks,
        deliver: spec.deliver,
        include: either(spec.include, base.include),
        changes: spec.changes.or(base.changes),
        keep: either(spec.keep, base.keep),
    }
}
