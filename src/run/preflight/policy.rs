//! The checks of files and the policies on plans: what they need is read and tried here.

use camino::Utf8PathBuf;

use super::Request;
use crate::check::Checks;
use crate::event::Failure;
use crate::model::Action;
use crate::policy::{Limits, MEMORY, Policies, PolicyError};
use crate::text;

/// The checks, with what they have to know of the whole fleet.
pub(super) fn checks(request: &Request<'_>) -> Result<Checks, Failure> {
    let settings = &request.settings.checks;
    // What is to go is not checked.
    let selected = request.deployments.iter().filter(|_| request.action != Action::Destroy).map(AsRef::as_ref);
    let fleet = &request.discovery.deployments;
    Checks::new(&request.settings.working_dir, fleet, selected, &settings.rules, &settings.exclude).map_err(|error| {
        Failure::caused_by("the setting `checks.exclude` cannot be used", &error)
            .next("correct the pattern in tfleet.yaml: `**` takes any number of folders, `*` any part of a name")
    })
}

/// The policies, where there are any: read and tried.
pub(super) async fn policies(request: &Request<'_>) -> Result<Option<Policies>, Failure> {
    let settings = &request.settings.policy;
    // What drifted is there already: there is no plan to allow or to deny.
    if settings.dirs.is_empty() || request.action == Action::Drift {
        return Ok(None);
    }
    judgeable(request)?;
    let program = std::env::current_exe()
        .and_then(|path| Utf8PathBuf::try_from(path).map_err(camino::FromPathBufError::into_io_error))
        .map_err(|error| Failure::caused_by("the place of this program is not known, and policies need it", &error))?;
    let limits = Limits { time: settings.timeout, memory: MEMORY };
    let loaded = Policies::load(&settings.dirs, &request.settings.working_dir, program, limits).await;
    loaded.map(Some).map_err(|error| {
        let failure = Failure::caused_by("the policies cannot be used, so nothing was started", &error);
        match error {
            PolicyError::NoFolder(_) | PolicyError::NoPolicies { .. } | PolicyError::NoRules { .. } => {
                failure.next("name the directory that holds them: --policy DIR, or `policy.dirs` in tfleet.yaml")
            }
            PolicyError::Process(_) => {
                failure.next("look for rules that never end; see docs/policy.md on what bounds them")
            }
            _ => {
                let dirs: Vec<_> = settings.dirs.iter().map(|dir| text::shell_word(dir.as_str())).collect();
                failure.next(format!("correct the file, and try it: opa check {}", dirs.join(" ")))
            }
        }
    })
}

/// What runs by make has no plan that a policy could look at.
fn judgeable(request: &Request<'_>) -> Result<(), Failure> {
    let Some(made) = request.deployments.iter().find(|one| one.recipe.make().is_some()) else { return Ok(()) };
    Err(Failure::new(format!("policies cannot judge {}", made.name))
        .because(format!("the rule `{}` has make run it, and what its targets plan is not known", made.recipe.rule))
        .next("leave such deployments out of the selection, and run them without policies"))
}

pub(super) fn notice(policies: &Policies) -> String {
    let rules = policies.len();
    format!("plans are judged by {rules} {}", if rules == 1 { "rule" } else { "rules" })
}
