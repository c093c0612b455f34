//! The engine that runs a root module: an ordinary deployment, made by hand, and then its output `accounts`.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;

use super::checked::Checked;
use super::outputs::{OUTPUT, OutputAccount, read};
use super::report::{AccountResult, MintOutcome, MintReport};
use super::{AccountsFile, Mint, Records, Trouble, from_aws};
use crate::config::{CredentialsChoice, Settings, StateSettings};
use crate::discover::{AccountDefinition, Discovery, Options, discover};
use crate::event::Failure;
use crate::files;
use crate::hcl::{RootModule, Setting};
use crate::lease::{Caller, RoleName};
use crate::model::{
    AccountId, AccountName, BackendKey, Deployment, IdError, MintedAccount, PartialBackend, Project, Recipe, Region,
    RoleArn, SourceKind, StateAddress,
};
use crate::organization::{Account, OrganizationError};
use crate::store::ReadStore;
use crate::tfstate::outputs;

/// How many accounts are checked at once.
const AT_ONCE: usize = 8;

/// The type of resource that no plan may delete.
const ACCOUNT_TYPE: &str = "aws_organizations_account";

/// The deployment that makes the accounts, with what its run needs.
pub struct HandMade {
    /// The settings of its run.
    pub settings: Arc<Settings>,
    /// What is discovered: this deployment alone.
    pub discovery: Discovery,
    /// The deployment.
    pub deployment: Arc<Deployment>,
}

/// Makes the deployment of the module that makes the accounts. It belongs to the caller's account.
///
/// `options` are those of an ordinary discovery; what they say of places is replaced.
pub fn hand_made(
    settings: &Settings,
    options: Options,
    caller: &Caller,
    regions_dir: &Utf8Path,
) -> Result<HandMade, Failure> {
    let folder = settings.working_dir.join(&settings.mint.module);
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::caused_by(format!("the root module {} cannot be used", settings.mint.module), error)
            .next("name another one (`mint.module` in tfleet.yaml), or use --engine organizations")
    };
    let real = folder.canonicalize_utf8().map_err(|error| failed(&error))?;
    let root = RootModule::read(&real).map_err(|error| failed(&error))?;
    let root_module = files::relative(&settings.working_dir, &real);
    let state = state(settings, &root)?;
    let deployment = deployment(settings, caller, &root_module, regions_dir, state)?;
    // What lies in that folder is this deployment, whatever the rules make of it; nothing else is looked for.
    let mut discovery = discover(&Options { working_dir: real, terraform_dir: None, accounts: Vec::new(), ..options })
        .map_err(|error| failed(&error))?;
    discovery.deployments = vec![deployment.clone()];
    discovery.problems.clear();
    discovery.notices.clear();
    discovery.roots = BTreeMap::from([(root_module.clone(), Arc::new(root))]);
    let mut settings = settings.clone();
    // Accounts belong to the organization, which the caller speaks for.
    settings.provider_credentials.entry(root_module).or_insert(CredentialsChoice::Central);
    Ok(HandMade { settings: Arc::new(settings), discovery, deployment: Arc::new(deployment) })
}

/// Where its state is: where its backend block says, else as the settings have it.
fn state(settings: &Settings, root: &RootModule) -> Result<StateAddress, Failure> {
    let block = root.backend.as_ref().filter(|block| block.kind == "s3");
    let declared = |name: &str| {
        let value = block.and_then(|block| block.settings.get(name)).and_then(Setting::literal);
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let StateSettings::S3(s3) = &settings.state else {
        return Ok(StateAddress { bucket: None, key: settings.mint.key.clone() });
    };
    let key = match declared("key") {
        Some(key) => BackendKey::new(key)
            .map_err(|error| Failure::caused_by("the key of the backend block cannot be used", &error))?,
        None => settings.mint.key.clone(),
    };
    Ok(StateAddress { bucket: declared("bucket").or_else(|| s3.bucket.clone()), key })
}

fn deployment(
    settings: &Settings,
    caller: &Caller,
    root_module: &Utf8Path,
    regions_dir: &Utf8Path,
    state: StateAddress,
) -> Result<Deployment, Failure> {
    let bad = |error: IdError| Failure::caused_by("the accounts have no deployment", &error);
    // Below the module's own folder they are there anyway.
    let include = if regions_dir.starts_with(root_module) { vec![] } else { vec![format!("{regions_dir}/**")] };
    let recipe = Recipe {
        rule: "mint".to_owned(),
        include,
        keep: vec![ACCOUNT_TYPE.to_owned()],
        never_rolled_back: true,
        ..Recipe::default()
    };
    Ok(Deployment {
        name: state.key.stem().to_owned(),
        source: SourceKind::Regions,
        file: root_module.to_owned(),
        account_id: caller.account.clone(),
        account_name: AccountName::new("mint").map_err(bad)?,
        region: crate::run::preflight::region_of_states(settings),
        project: Project::new(root_module.file_name().unwrap_or("region-deploy")).map_err(bad)?,
        environment: None,
        owner: None,
        team: None,
        tags: BTreeMap::new(),
        services: vec!["organizations".to_owned()],
        resources: String::new(),
        root_module: root_module.to_owned(),
        var_files: Vec::new(),
        references: Vec::new(),
        state,
        backend: PartialBackend::default(),
        workspace: None,
        labels: BTreeMap::new(),
        role_arn: None,
        variables: serde_json::Map::new(),
        supplied: BTreeMap::new(),
        depends_on: Vec::new(),
        inputs: Vec::new(),
        deliver: Vec::new(),
        recipe: Arc::new(recipe),
    })
}

/// The ids of the accounts that the state has already, as resources (an apply that failed leaves no output of them) or in
/// its output; empty where there is no state, or none that can be read: the run says what is wrong with it.
pub async fn ids_before(store: &dyn ReadStore, key: &BackendKey) -> Vec<AccountId> {
    let Ok(Some(object)) = store.get(key.as_str()).await else { return Vec::new() };
    let output = outputs(&object.bytes).ok().and_then(|mut outputs| outputs.remove(OUTPUT));
    let accounts = output.and_then(|output| read(&output.value).ok()).map(|(accounts, _)| accounts).unwrap_or_default();
    let state: Value = serde_json::from_slice(&object.bytes).unwrap_or_default();
    let resources = state["resources"].as_array().into_iter().flatten().filter(|one| one["type"] == ACCOUNT_TYPE);
    let instances = resources.flat_map(|one| one["instances"].as_array().into_iter().flatten());
    let ids = instances.filter_map(|one| AccountId::new(one["attributes"]["id"].as_str()?).ok());
    accounts.into_iter().map(|account| account.id).chain(ids).collect()
}

/// Reads the accounts from the state after the apply, and checks each: it has an id, is active, and lets tfleet into its
/// role. An account that only the output knows counts too.
pub async fn read_minted(
    mint: &Mint,
    store: &dyn ReadStore,
    key: &BackendKey,
    definitions: &[AccountDefinition],
    (before, file): (&[AccountId], &AccountsFile),
    records: &Records<'_>,
) -> Result<(MintReport, Option<String>), Failure> {
    let (found, wrong) = found(store, key).await?;
    let problem = |why| {
        Failure::new("an account of the output cannot be used")
            .because(why)
            .next(format!("correct the output `{OUTPUT}` of the module"))
    };
    let problems = wrong.into_iter().map(problem).collect();
    let (organization, notices) = organization(mint).await?;
    let mut drafts: Vec<Draft<'_>> = definitions
        .iter()
        .map(|definition| {
            let output = found.iter().find(|account| account.name == definition.name);
            Draft { name: definition.name.clone(), definition: Some(definition), output: output.cloned() }
        })
        .collect();
    let named = |account: &&OutputAccount| !definitions.iter().any(|definition| definition.name == account.name);
    let unnamed = found.iter().filter(named);
    drafts.extend(unnamed.map(|one| Draft { name: one.name.clone(), definition: None, output: Some(one.clone()) }));
    let checking = Checking { mint, organization: organization.as_deref(), before, file, records };
    let results = stream::iter(drafts.into_iter().map(|draft| checking.one(draft)));
    let results: Vec<AccountResult> = results.buffered(AT_ONCE).collect().await;
    let unmanaged = organization.map(|accounts| {
        let known = |account: &Account| results.iter().any(|result| result.id.as_ref() == Some(&account.id));
        accounts.into_iter().filter(|account| !known(account)).collect()
    });
    Ok((MintReport { run: records.run(), results, unmanaged, problems }, notices))
}

async fn found(store: &dyn ReadStore, key: &BackendKey) -> Result<(Vec<OutputAccount>, Vec<String>), Failure> {
    let what = format!("the accounts cannot be read from the state {key}");
    let object = store.get(key.as_str()).await.map_err(|error| {
        let mut failure = Failure::caused_by(&what, &error);
        failure.next.extend(error.hint());
        failure
    })?;
    let bytes = object.ok_or_else(|| Failure::new(&what).because("there is no state"))?.bytes;
    let mut outputs = outputs(&bytes).map_err(|error| Failure::caused_by(&what, &error))?;
    let output = outputs.remove(OUTPUT).ok_or_else(|| {
        Failure::new(&what)
            .because(format!("the module has no output `{OUTPUT}`"))
            .next("add it: a map or list of objects with id, name, region, type and role_arn")
    })?;
    read(&output.value).map_err(|why| Failure::new(&what).because(why))
}

/// The accounts of the organization, where the caller may see them.
async fn organization(mint: &Mint) -> Result<(Option<Vec<Account>>, Option<String>), Failure> {
    let (what, act) = ("listing the accounts", || mint.organization.accounts());
    let read = mint.tried("accounts", what, &mut mint.reading(), OrganizationError::is_busy, act).await;
    match read.map_err(Trouble::failure)? {
        Ok(listing) => Ok((Some(listing.accounts), None)),
        Err(error @ (OrganizationError::Denied { .. } | OrganizationError::NotInUse)) => {
            let why = from_aws("", &error, String::new()).causes.join(": ");
            Ok((None, Some(format!("the state of the accounts in the organization was not checked: {why}"))))
        }
        Err(error) => Err(from_aws("the organization cannot be read", &error, error.hint())),
    }
}

/// What all checks share.
struct Checking<'a> {
    mint: &'a Mint,
    organization: Option<&'a [Account]>,
    before: &'a [AccountId],
    file: &'a AccountsFile,
    records: &'a Records<'a>,
}

impl Checking<'_> {
    async fn one(&self, draft: Draft<'_>) -> AccountResult {
        let mut result = draft.result();
        match draft.check(self.mint, self.organization).await {
            Ok(account) => {
                result.outcome = match (self.before.contains(&account.id), self.file.has(&account.id)) {
                    (false, _) => MintOutcome::Created,
                    (true, false) => MintOutcome::Adopted,
                    (true, true) => MintOutcome::Unchanged,
                };
                result.account = Some(account);
            }
            Err(trouble) => result = result.stopped(trouble),
        }
        self.records.account(&mut result).await;
        result
    }
}

/// An account of a region file, of the output, or of both.
struct Draft<'d> {
    name: AccountName,
    definition: Option<&'d AccountDefinition>,
    output: Option<OutputAccount>,
}

impl Draft<'_> {
    fn result(&self) -> AccountResult {
        let id = self.output.as_ref().map(|output| output.id.clone());
        let result = self.definition.map_or_else(|| AccountResult::of_output(self.name.clone()), AccountResult::new);
        AccountResult { id, ..result }
    }

    async fn check(&self, mint: &Mint, organization: Option<&[Account]>) -> Result<MintedAccount, Trouble> {
        let checked = self.checked(mint)?;
        if let Some(accounts) = organization {
            let (name, id) = (&checked.name, &checked.id);
            match accounts.iter().find(|account| account.id == *id) {
                None => {
                    return Err(Failure::new(format!("the account {name} ({id}) is not in the organization"))
                        .next("see what the module's output `accounts` says, and which organization the caller is in")
                        .into());
                }
                Some(account) if !account.is_active() => {
                    return Err(Failure::new(format!("the account {name} ({id}) is {}", account.state))
                        .because("only active accounts are provisioned")
                        .next("if it was closed by mistake, ask AWS Support within 90 days to open it again")
                        .into());
                }
                Some(_) => {}
            }
        }
        mint.wait_for_role(checked).await
    }

    /// What both say, if they agree.
    fn checked(&self, mint: &Mint) -> Result<Checked, Failure> {
        let (name, own) = (&self.name, self.definition);
        let file = own.map(|own| own.file.as_str()).unwrap_or_default();
        let Some(output) = &self.output else {
            return Err(Failure::new(format!("{file}: the output `{OUTPUT}` has no usable account `{name}`"))
                .because("the module did not make it, or the output leaves it or its id out")
                .next("see that the module reads this file, and that the output has its id and name"));
        };
        let agreed = |what: &str, ours: Option<&str>, theirs: Option<&str>| match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(Failure::new(format!(
                "{file}: the {what} of {name} is {ours}, and {theirs} in the output `{OUTPUT}`"
            ))
            .next("correct the file or the module")),
            (None, None) => Err(Failure::new(format!("the account {name} ({}) has no {what}", output.id))
                .next(format!("add it to the output `{OUTPUT}`, or write a region file for the account"))),
            _ => Ok(()),
        };
        agreed("region", own.map(|own| own.region.as_str()), output.region.as_ref().map(Region::as_str))?;
        agreed("type", own.map(|own| own.kind.as_str()), output.kind.as_deref())?;
        let (role, role_arn) = self.role(mint, output).map_err(|error| {
            Failure::caused_by(format!("the role of the account {name} ({}) cannot be used", output.id), &error)
        })?;
        let region = own.map(|own| &own.region).or(output.region.as_ref());
        let kind = own.map(|own| &own.kind).or(output.kind.as_ref());
        let (Some(region), Some(kind)) = (region.cloned(), kind.cloned()) else {
            return Err(Failure::new(format!("the account {name} has no region or type")));
        };
        Ok(Checked { name: name.clone(), id: output.id.clone(), region, kind, role, role_arn })
    }

    /// The role of the output, else that of the region file, else that of the settings.
    fn role(&self, mint: &Mint, output: &OutputAccount) -> Result<(RoleName, RoleArn), IdError> {
        if let Some(arn) = &output.role_arn {
            return Ok((RoleName::Arn(arn.clone()), arn.clone()));
        }
        let role = self.definition.map_or_else(|| Ok(mint.role.role_name.clone()), |own| mint.role_name(own))?;
        let arn = mint.role_arn(&role, &output.id)?;
        Ok((role, arn))
    }
}
