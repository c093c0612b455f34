//! `tfleet destroy`: remove what the states record.

use camino::Utf8Path;

use super::Exit;
use super::args::{DestroyArgs, Format};
use super::deploy::{Deploy, Way};
use super::error::CliError;
use super::fleet;
use super::terminal::Terminal;
use crate::discover::{Discovery, discover};
use crate::event::Failure;
use crate::model::{Action, BackendKey, StateAddress};
use crate::redact::Redactor;
use crate::run::desk::Desk;
use crate::run::revive::{Revived, revive};

/// Destroys the selection, never everything by accident and never without a yes.
pub async fn run(args: &DestroyArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    if args.key.is_some() && args.selection.narrows() {
        return Err(CliError::usage("--key and a selection contradict each other")
            .next("leave out one of them")
            .into());
    }
    let exact = !args.plan.is_empty();
    if !args.selection.narrows() && !args.all && args.key.is_none() && !exact {
        return Err(CliError::usage("destroy needs a selection")
            .next("name what is to go (--account, --region, --project, …), or say --all")
            .into());
    }
    if args.all && args.selection.narrows() {
        return Err(CliError::usage("--all and a selection contradict each other")
            .next("leave out one of them")
            .into());
    }
    let way = match (args.change.auto_approve || args.run.dry_run, terminal.interactive) {
        // What is destroyed by a plan was looked at before.
        _ if exact => Way::Exact(&args.plan),
        (true, _) => Way::Straight,
        (false, true) => Way::Ask,
        (false, false) => {
            return Err(CliError::usage("destroy must be approved, and there is no terminal to ask on")
                .next("look at it with --dry-run, then add --auto-approve")
                .into());
        }
    };
    let deploy = Deploy {
        selection: &args.selection,
        run: &args.run,
        planning: Some(&args.planning),
        migrate_state: args.change.migrate_state,
        action: Action::Destroy,
        way,
        rollback: None,
        detailed_exitcode: false,
        format: Format::Table,
    };
    match &args.key {
        None => deploy.run(terminal).await,
        Some(key) => {
            let revived = revived(args, key).await?;
            terminal.note(&format!(
                "{key}: by the snapshot {} of the apply of {:.0} ({})",
                revived.entry.id, revived.entry.time, revived.deployment.file
            ));
            deploy.run_revived(&revived, &[], terminal).await
        }
    }
}

/// The deployment of a key whose file is gone.
async fn revived(args: &DestroyArgs, key: &str) -> Result<Revived, CliError> {
    let key = BackendKey::new(key).map_err(|error| CliError::usage(error.to_string()))?;
    let mut overrides = args.selection.overrides();
    args.run.add_to(&mut overrides);
    args.planning.add_to(&mut overrides);
    let settings = fleet::settings(&overrides)?;
    let options = fleet::options(&settings, &args.selection);
    let (discovery, unknown) = match discover(&options) {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(Failure::caused_by("nothing was discovered", &error).one_line())),
    };
    let desk = Desk::open(&settings, discovery.as_ref()).await.map_err(usage)?;
    if let Some(deployment) = desk.deployment(&key, args.bucket.as_deref()) {
        return Err(CliError::usage(format!("{key} is described by {}", deployment.file)).next(format!(
            "destroy it by its file: tfleet destroy --account {} --region {} --project {}",
            deployment.account_name, deployment.region, deployment.project
        )));
    }
    let home = desk.home(Some(&key), args.bucket.as_deref()).await.map_err(usage)?;
    let state = StateAddress { bucket: home.bucket.clone(), key };
    let revived = revive(&settings, options, discovery.as_ref(), &*home.store, state, None).await.map_err(usage)?;
    let file = &revived.deployment.file;
    if settings.working_dir.join(file).exists() && !describes(discovery.as_ref(), file) {
        let mut error = CliError::usage(format!("the file of this deployment is not gone: {file}")).next(
            "mend what keeps tfleet from reading it (tfleet discover), and destroy by it; or remove it, if it is to go",
        );
        error.failure.causes.extend(unknown);
        return Err(error);
    }
    Ok(revived)
}

/// Whether a file describes a deployment: here one with another key, since nothing describes this one.
fn describes(discovery: Option<&Discovery>, file: &Utf8Path) -> bool {
    discovery.is_some_and(|discovery| discovery.deployments.iter().any(|deployment| deployment.file == file))
}

fn usage(mut failure: Failure) -> CliError {
    let redactor = Redactor::new();
    failure.causes.iter_mut().for_each(|cause| *cause = redactor.text(cause));
    CliError::of(Exit::Usage, failure)
}
