//! What the rules of the selected deployments ask for: make, its targets, hooks, variables. What cannot be is found out here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::Request;
use crate::event::Failure;
use crate::execute::{Environment, make, on_path};
use crate::files;
use crate::hcl;
use crate::model::{Action, Deployment, HookRun, Recipe};
use crate::saga::Root;
use crate::workspace::{CacheDirs, Included, Layout};

/// The recipes of the selected deployments, by rule.
fn recipes<'r>(request: &'r Request<'_>) -> BTreeMap<&'r str, &'r Arc<Recipe>> {
    request.deployments.iter().map(|deployment| (deployment.recipe.rule.as_str(), &deployment.recipe)).collect()
}

/// Finds make, where a rule needs it, and sees to it that its targets can be run.
pub(super) fn find_make(request: &Request<'_>, environment: &Environment) -> Result<Option<Utf8PathBuf>, Failure> {
    let recipes = recipes(request);
    let mut failure = Failure::new("make cannot do what the rules ask for");
    for recipe in recipes.values() {
        for (setting, target) in recipe.make_targets().filter(|(_, target)| !make::is_target(target)) {
            failure.causes.push(format!("the rule `{}`: `{setting}`: \"{target}\" is no target of make", recipe.rule));
        }
        check_targets(request.action, recipe, &mut failure);
    }
    for deployment in request.deployments.iter().filter(|one| one.recipe.make().is_some()) {
        if deployment.state.bucket.is_none() {
            failure.causes.push(format!("{}: no S3 bucket for its state, which its target needs", deployment.name));
            failure.next.push("set TF_STATE_BUCKET (and TF_BACKEND_REGION) to the S3 bucket of the states".to_owned());
            break;
        }
    }
    if !failure.causes.is_empty() {
        return Err(failure);
    }
    let Some((rule, _)) = recipes.iter().find(|(_, recipe)| recipe.make_targets().next().is_some()) else {
        return Ok(None);
    };
    let working_dir = &request.settings.working_dir;
    if !make::MAKEFILES.iter().any(|name| working_dir.join(name).is_file()) {
        return Err(Failure::new(format!("the rule `{rule}` has targets of make, and there is no Makefile"))
            .because(format!("it is looked for at the top of the working directory, {working_dir}"))
            .next("put it there, or start tfleet in the folder that holds it (--working-dir)"));
    }
    on_path("make", environment).map(Some).ok_or_else(|| {
        Failure::new(format!("the rule `{rule}` has targets of make, and there is no make"))
            .because("it is not on PATH")
            .next("install GNU make")
    })
}

fn check_targets(action: Action, recipe: &Recipe, failure: &mut Failure) {
    let Some(targets) = recipe.make() else { return };
    let (rule, word) = (&recipe.rule, action.as_str());
    let missing = match action {
        Action::Plan => targets.plan.is_none(),
        Action::Destroy => targets.destroy.is_none(),
        // Drift leaves them out by itself: the fleet beside them can still be looked at.
        Action::Apply | Action::Drift => false,
    };
    if missing {
        failure.causes.push(format!("the rule `{rule}` has no target for {word}"));
        failure.next.push(format!(
            "name one in tfleet.yaml: `make: {{{word}: TARGET}}` of the rule `{rule}`; or leave its deployments out"
        ));
    }
    if !recipe.keep.is_empty() {
        failure
            .causes
            .push(format!("the rule `{rule}` has `make` and `keep`: what a target deletes is not known before"));
        failure.next.push(format!("leave `keep` out of the rule `{rule}`"));
    }
}

/// The files that the rules of the selected deployments add to their workspaces, by rule.
pub(super) fn included(request: &Request<'_>, cache: &CacheDirs) -> Result<BTreeMap<String, Arc<Included>>, Failure> {
    let settings = request.settings;
    let mut all = BTreeMap::new();
    for (rule, recipe) in recipes(request) {
        let mut globs = recipe.include.clone();
        if recipe.make_targets().next().is_some() {
            globs.extend(makefiles(&settings.working_dir)?);
        }
        if globs.is_empty() {
            continue;
        }
        let setting = format!("`include` of the rule `{rule}`");
        let files = Layout::new(&settings.working_dir, &settings.base_dir)
            .and_then(|layout| Included::read(cache, &layout, &setting, &globs))
            .map_err(|error| {
                let mut failure = Failure::caused_by(format!("the files of {setting} cannot be used"), &error);
                failure.next.extend(error.hint().map(str::to_owned));
                failure
            })?;
        all.insert(rule.to_owned(), Arc::new(files));
    }
    Ok(all)
}

/// The files of make at the top of the working directory, as globs.
fn makefiles(working_dir: &Utf8Path) -> Result<Vec<String>, Failure> {
    let unread = |error: std::io::Error| Failure::caused_by(format!("cannot read {working_dir}"), &error);
    let mut names = Vec::new();
    for entry in working_dir.read_dir_utf8().map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if make::is_makefile(entry.file_name()) && entry.path().is_file() {
            names.push(globset::escape(entry.file_name()));
        }
    }
    names.sort();
    Ok(names)
}

/// Refuses hooks whose program lies in the repository and is not copied: it would be missed only after the apply.
pub(super) fn check_hooks(
    request: &Request<'_>,
    roots: &BTreeMap<Utf8PathBuf, Arc<Root>>,
    included: &BTreeMap<String, Arc<Included>>,
) -> Result<(), Failure> {
    let mut missing = BTreeSet::new();
    for deployment in request.deployments {
        let recipe = &deployment.recipe;
        let Some(root) = roots.get(&deployment.root_module) else { continue };
        for (setting, hook) in recipe.hooks.all() {
            let HookRun::Command(words) = &hook.run else { continue };
            let Some(program) = words.first().filter(|name| name.contains('/') && !name.starts_with('/')) else {
                continue;
            };
            let path = request.settings.working_dir.join(program);
            let Some(path) = files::normalize(&path).filter(|path| path.is_file()) else { continue };
            let copied = |place: &Utf8Path| root.tree.layout().base_dir().join(place) == path;
            let with_rule = included.get(&recipe.rule).into_iter().flat_map(|files| files.files());
            if !root.tree.files().chain(with_rule).any(|(place, _)| copied(place)) {
                missing.insert(format!(
                    "the rule `{}`: `{setting}`: {program} is not copied to the workspace",
                    recipe.rule
                ));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let failure = Failure { causes: missing.into_iter().collect(), ..Failure::new("a hook cannot be run") };
    Err(failure.next("name the program in `include` of its rule"))
}

/// Refuses variables that nothing declares: Terraform would only warn, and a typo would pass. A file may serve several
/// deployments, so its `terraform_vars` are those of any of their root modules.
pub(super) fn check_variables(request: &Request<'_>) -> Result<(), Failure> {
    let roots = &request.discovery.roots;
    let mut of_file: BTreeMap<&Utf8Path, BTreeSet<&str>> = BTreeMap::new();
    for deployment in request.discovery.deployments.iter().filter(|deployment| !deployment.variables.is_empty()) {
        let declared = roots.get(&deployment.root_module).map(|root| &root.dirs[0].variables);
        of_file.entry(&deployment.file).or_default().extend(declared.into_iter().flatten().map(String::as_str));
    }
    let mut failure = Failure::new("the variables of a deployment and its root module do not fit");
    for deployment in request.deployments {
        let Some(root) = roots.get(&deployment.root_module) else { continue };
        let elsewhere = of_file.get(&*deployment.file);
        failure.causes.extend(misfits(deployment, &root.dirs[0].variables, elsewhere.unwrap_or(&BTreeSet::new())));
    }
    if !failure.causes.is_empty() {
        failure.next.push("correct the name, or declare the variable in the root module".to_owned());
    }
    let working_dir = &request.settings.working_dir;
    let twice: Vec<String> = request.deployments.iter().flat_map(|one| set_twice(working_dir, one)).collect();
    if !twice.is_empty() {
        failure.causes.extend(twice);
        failure
            .next
            .push("leave the variable to one of the two: take it out of the file, or out of `inputs`".to_owned());
    }
    if failure.causes.is_empty() { Ok(()) } else { Err(failure) }
}

/// The inputs that a variable file sets too: the input would win, and nobody would see it.
fn set_twice(working_dir: &Utf8Path, deployment: &Deployment) -> Vec<String> {
    let Deployment { var_files, inputs, recipe, .. } = deployment;
    let mut found = Vec::new();
    for file in var_files.iter().filter(|_| !inputs.is_empty()) {
        let lines = lines_of_variables(&working_dir.join(file));
        for input in inputs {
            let Some(line) = lines.get(&input.variable) else { continue };
            let name = &input.variable;
            found.push(format!(
                "{file}:{line} sets `{name}`, and so does `inputs.{name}` of the rule `{}`: only one of them can hold",
                recipe.rule
            ));
        }
    }
    found
}

/// The variables that a variable file sets, with their lines. What cannot be read is Terraform's to tell.
fn lines_of_variables(path: &Utf8Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if path.extension() == Some("json") {
        let all = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap_or_default();
        return all.into_iter().map(|(name, _)| (name, 1)).collect();
    }
    let Ok(body) = hcl::parse_body(path, &text) else { return BTreeMap::new() };
    body.attributes().map(|one| (one.key.as_str().to_owned(), hcl::line_of(&text, one))).collect()
}

fn misfits(deployment: &Deployment, declared: &BTreeSet<String>, elsewhere: &BTreeSet<&str>) -> Vec<String> {
    let Deployment { file, root_module, variables, inputs, recipe, .. } = deployment;
    let undeclared = |name: &str| format!("the root module {root_module} declares no variable `{name}`");
    let given = variables.keys().filter(|name| !declared.contains(*name) && !elsewhere.contains(name.as_str()));
    let mut found: Vec<String> =
        given.map(|name| format!("{file}: `terraform_vars.{name}`: {}", undeclared(name))).collect();
    for input in inputs {
        let name = &input.variable;
        let place = format!("{file}: `inputs.{name}` of the rule `{}`", recipe.rule);
        if !declared.contains(name) {
            found.push(format!("{place}: {}", undeclared(name)));
        } else if variables.contains_key(name) {
            found.push(format!("{place}: the file has `terraform_vars.{name}` too, and only one of them can hold"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Input, Make, samples};

    #[test]
    fn variables_must_be_declared_and_come_from_one_place() {
        let mut deployment = samples::deployment("web");
        deployment.variables = json!({"size": 1, "sise": 2, "vpc_id": "x"}).as_object().unwrap().clone();
        let input = |variable: &str| Input {
            variable: variable.to_owned(),
            deployment: "net".to_owned(),
            state: deployment.state.clone(),
            output: "o".to_owned(),
        };
        deployment.inputs = vec![input("vpc_id"), input("zone"), input("nothing")];
        let declared = ["size", "vpc_id", "zone"].map(str::to_owned).into();
        assert_eq!(
            misfits(&deployment, &declared, &BTreeSet::new()),
            [
                "Accounts/web/web.tfvars: `terraform_vars.sise`: the root module . declares no variable `sise`",
                "Accounts/web/web.tfvars: `inputs.vpc_id` of the rule `tfvars`: the file has `terraform_vars.vpc_id` too, and only \
                 one of them can hold",
                "Accounts/web/web.tfvars: `inputs.nothing` of the rule `tfvars`: the root module . declares no variable `nothing`",
            ]
        );
    }

    #[test]
    fn variables_of_another_deployment_of_the_file_are_no_typos() {
        let mut deployment = samples::deployment("web");
        deployment.variables = json!({"size": 1, "colour": 2, "sise": 3}).as_object().unwrap().clone();
        let declared = ["size".to_owned()].into();
        assert_eq!(
            misfits(&deployment, &declared, &["size", "colour"].into()),
            ["Accounts/web/web.tfvars: `terraform_vars.sise`: the root module . declares no variable `sise`"]
        );
    }

    #[test]
    fn a_target_for_the_action_must_be_there() {
        let make = Make { apply: "up".to_owned(), destroy: None, plan: Some("look".to_owned()) };
        let recipe = Recipe { rule: "r".to_owned(), executor: crate::model::Executor::Make(make), ..Recipe::default() };
        let causes = |action, recipe: &Recipe| {
            let mut failure = Failure::default();
            check_targets(action, recipe, &mut failure);
            failure.causes
        };
        assert!(causes(Action::Apply, &recipe).is_empty() && causes(Action::Plan, &recipe).is_empty());
        assert_eq!(causes(Action::Destroy, &recipe), ["the rule `r` has no target for destroy"]);
        let kept = Recipe { keep: vec!["aws_kms_key".to_owned()], ..recipe };
        assert_eq!(causes(Action::Apply, &kept).len(), 1);
    }
}
