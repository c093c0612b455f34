//! `tfleet doctor`: is everything there that a run needs? Each line passes, warns or fails, with a next step.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::args::DoctorArgs;
use super::fleet::problems;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::config::{S3Settings, Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::execute::Environment;
use crate::model::AccountId;
use crate::report::{Paint, deployments};
use crate::run::preflight::{find_terraform, open_credentials};
use crate::run::reach::Reach;
use crate::run::unlocked::{NEXT, unlocked};
use crate::saga::Credentials;
use crate::store::{Body, BucketCheck, LocalStore, Precondition, ReadStore, StateStore};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// Checks everything; exit code 3 if anything fails.
pub async fn run(args: &DoctorArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let fleet = fleet::load(&args.selection, &args.selection.overrides())?;
    let mut doctor = Doctor { terminal, worst: Verdict::Pass };
    let settings = &fleet.settings;
    doctor.terraform(settings).await;
    doctor.discovery(settings, &fleet.discovery);
    let needs_aws = settings.uses_s3() || fleet.discovery.roots.values().any(|root| root.may_use_aws());
    let credentials = if needs_aws { doctor.credentials(settings).await } else { None };
    match (&settings.state, &credentials) {
        (StateSettings::Local { path }, _) => doctor.local(path).await,
        (StateSettings::S3(s3), Some(credentials)) => {
            doctor.buckets(settings, s3, credentials, &fleet.discovery).await;
        }
        (StateSettings::S3(_), None) => {}
    }
    if let Some(credentials) = &credentials {
        let accounts = fleet.selection.deployments.iter().map(|d| (d.account_id.clone(), d.account_name.to_string()));
        doctor.roles(credentials, accounts.collect()).await;
    }
    Ok(if doctor.worst == Verdict::Fail { Exit::Usage } else { Exit::Success })
}

struct Doctor<'a> {
    terminal: &'a mut Terminal,
    worst: Verdict,
}

impl Doctor<'_> {
    fn say(&mut self, verdict: Verdict, text: &str, next: &[String]) {
        self.worst = self.worst.max(verdict);
        let paint = Paint::new(self.terminal.colours);
        let word = match verdict {
            Verdict::Pass => paint.good("pass"),
            Verdict::Warn => paint.attention("warn"),
            Verdict::Fail => paint.bad("fail"),
        };
        self.terminal.out(&format!("{word}  {text}\n"));
        for step in next {
            self.terminal.out(&format!("      next: {step}\n"));
        }
    }

    fn pass(&mut self, text: &str) {
        self.say(Verdict::Pass, text, &[]);
    }

    fn fail(&mut self, failure: &Failure) {
        let mut text = failure.what.clone();
        for cause in &failure.causes {
            text.push_str(": ");
            text.push_str(cause);
        }
        self.say(Verdict::Fail, &text, &failure.next);
    }

    async fn terraform(&mut self, settings: &Settings) {
        match find_terraform(settings, &Environment::for_terraform(std::env::vars_os())).await {
            Ok(terraform) => {
                self.pass(&format!("{} at {}", terraform.label(), terraform.program));
                if !terraform.knows_s3_lock_file() && settings.uses_s3() {
                    let next = ["use 1.10 or later, or a DynamoDB table (`state.dynamodb_table`)".to_owned()];
                    self.say(Verdict::Warn, "this version cannot lock states with S3 alone", &next);
                }
            }
            Err(failure) => self.fail(&failure),
        }
    }

    fn discovery(&mut self, settings: &Settings, discovery: &Discovery) {
        let found = discovery.deployments.len();
        if found > 0 || discovery.problems.is_empty() {
            self.pass(&format!("{} found", deployments(found)));
        }
        if !discovery.problems.is_empty() {
            let failure = problems(settings, &discovery.problems).failure;
            let first = failure.causes.first().and_then(|cause| cause.lines().next()).unwrap_or_default();
            let mut text = format!("{}: {first}", failure.what);
            if found == 0 {
                text.insert_str(0, "no deployment found; ");
            }
            let hint = discovery.problems.iter().find(|problem| problem.follows.is_none());
            let hint = hint.and_then(|problem| problem.hint.clone());
            let all = "see `tfleet discover` for all of it".to_owned();
            self.say(Verdict::Warn, &text, &hint.into_iter().chain([all]).collect::<Vec<_>>());
        }
    }

    async fn credentials(&mut self, settings: &Settings) -> Option<Credentials> {
        match open_credentials(settings).await {
            Ok(credentials) => {
                self.pass(&format!("AWS caller {}", credentials.caller.arn));
                Some(credentials)
            }
            Err(failure) => {
                self.fail(&failure);
                None
            }
        }
    }

    async fn local(&mut self, path: &camino::Utf8Path) {
        match LocalStore::new(path.to_owned()) {
            Ok(store) => self.locking(&store).await,
            Err(error) => self.fail(&store_failure("the local state directory cannot be used", &error)),
        }
    }

    async fn buckets(
        &mut self,
        settings: &Settings,
        s3: &S3Settings,
        credentials: &Credentials,
        discovery: &Discovery,
    ) {
        let mut ways = Vec::new();
        for deployment in &discovery.deployments {
            match Reach::of(settings, s3, discovery, deployment) {
                // How they encrypt what they write makes no other way.
                Ok(Some(reach)) if ways.iter().any(|known: &Reach| known.is_way_of(&reach)) => {}
                Ok(reach) => ways.extend(reach),
                Err(failure) => self.fail(&failure),
            }
        }
        if let Some(bucket) = &s3.bucket
            && !ways.iter().any(|reach| reach.bucket == *bucket)
        {
            ways.push(Reach::of_settings(s3, bucket));
        }
        if ways.is_empty() {
            let failure =
                Failure::new("no state bucket: neither TF_STATE_BUCKET, `state.bucket` nor a backend block names one");
            self.fail(&failure.next("set TF_STATE_BUCKET"));
        }
        for reach in &ways {
            self.way(reach, credentials).await;
        }
        if let Some(what) = unlocked(settings, discovery, &discovery.deployments) {
            self.say(Verdict::Warn, &what, &[NEXT.to_owned()]);
        }
        if let Some(audit) = &settings.audit {
            self.audit(&Reach::of_audit(s3, audit), credentials).await;
        }
    }

    /// One way to a bucket of states.
    async fn way(&mut self, reach: &Reach, credentials: &Credentials) {
        if let Err(failure) = reach.enter(&credentials.leases).await {
            return self.fail(&failure);
        }
        let store = reach.store(&credentials.leases);
        match store.check().await {
            Ok(check) => {
                self.bucket(&store.describe(), reach, &check);
                self.locking(&store).await;
            }
            Err(error) => {
                let what = match reach.by() {
                    Some(by) => format!("the state bucket cannot be used with {by}"),
                    None => "the state bucket cannot be used".to_owned(),
                };
                self.fail(&store_failure(&what, &error));
            }
        }
    }

    /// The bucket of all audit records, by writing into it.
    async fn audit(&mut self, reach: &Reach, credentials: &Credentials) {
        let store = reach.store(&credentials.leases);
        let what = "the bucket of `audit` cannot be used";
        let check = match store.check().await {
            Ok(check) => check,
            Err(error) => return self.fail(&store_failure(what, &error)),
        };
        self.bucket(&store.describe(), reach, &check);
        let key = format!("audit-logs/doctor-{}.json", Uuid::new_v4());
        let etag = match store.put(&key, Body::Bytes(b"{}".to_vec()), Precondition::Absent).await {
            Ok(etag) => etag,
            Err(error) => return self.fail(&store_failure(what, &error)),
        };
        self.pass(&format!("{} takes audit records", store.describe()));
        if let Err(error) = store.delete(&key, Some(&etag)).await {
            // Who may not remove records is as it should be.
            tracing::debug!(%key, %error, "the test record stays");
        }
    }

    fn bucket(&mut self, name: &str, reach: &Reach, check: &BucketCheck) {
        let by = reach.by().map(|by| format!(" with {by}")).unwrap_or_default();
        self.pass(&format!("{name} can be reached{by}"));
        match &check.region {
            Some(region) if *region == reach.region.as_str() => self.pass(&format!("{name} is in {region}")),
            Some(region) => {
                let text = format!("{name} is in {region}, and what is said of it is {}", reach.region);
                let next = [format!("set region = \"{region}\" where the bucket is named; Terraform does not follow")];
                self.say(Verdict::Fail, &text, &next);
            }
            None => {
                let next = ["allow s3:ListBucket to have this checked".to_owned()];
                self.say(Verdict::Warn, &format!("{name}: its region is not known"), &next);
            }
        }
        match check.versioned {
            Some(true) => self.pass(&format!("{name} keeps versions")),
            Some(false) => {
                let next = ["turn bucket versioning on: it is the last way back to an earlier state".to_owned()];
                self.say(Verdict::Warn, &format!("{name} does not keep versions"), &next);
            }
            None => {
                let next = ["allow s3:GetBucketVersioning to have this checked".to_owned()];
                self.say(Verdict::Warn, &format!("{name}: whether it keeps versions is not known"), &next);
            }
        }
        if let Some(algorithm) = &check.encryption {
            self.pass(&format!("{name} encrypts by default ({algorithm})"));
        } else {
            let next = if reach.asks_for_encryption() {
                "turn default encryption on; tfleet asks for encryption with each object all the same"
            } else {
                "turn default encryption on, or say `encrypt = true` in the backend: tfleet writes there as the backend does"
            };
            self.say(Verdict::Warn, &format!("{name}: no default encryption is known"), &[next.to_owned()]);
        }
    }

    /// A real conditional write, twice: the second must be refused.
    async fn locking(&mut self, store: &dyn StateStore) {
        let name = store.describe();
        let key = format!("locks/doctor-{}.json", Uuid::new_v4());
        let body = || Body::Bytes(b"{}".to_vec());
        let first = store.put(&key, body(), Precondition::Absent).await;
        let etag = match first {
            Ok(etag) => etag,
            Err(error) => return self.fail(&store_failure(&format!("{name} cannot be written to"), &error)),
        };
        match store.put(&key, body(), Precondition::Absent).await {
            Err(error) if error.is_precondition() => {
                self.pass(&format!("{name} refuses a second lock (conditional write)"));
            }
            Err(error) => self.fail(&store_failure(&format!("{name} does not answer a conditional write"), &error)),
            Ok(_) => self.fail(
                &Failure::new(format!("{name} let two locks be written to one key: locking does not work there"))
                    .next("use a store that knows conditional writes (If-None-Match), as Amazon S3 does"),
            ),
        }
        if let Err(error) = store.delete(&key, Some(&etag)).await {
            self.fail(&store_failure(&format!("{name}: the test lock {key} could not be removed"), &error));
        }
    }

    async fn roles(&mut self, credentials: &Credentials, accounts: BTreeMap<AccountId, String>) {
        for (account, name) in accounts {
            let roles = [&credentials.role, &credentials.plan_role];
            for role in roles.iter().take(if roles[0] == roles[1] { 1 } else { 2 }) {
                match Arc::clone(&credentials.leases).get(&role.lease(&account)).await {
                    Ok(_) if account == credentials.caller.account => {
                        self.pass(&format!("account {account} ({name}) is the caller's own: no role is needed"));
                    }
                    Ok(_) => self.pass(&format!("{} can be assumed in account {account} ({name})", role.role_name)),
                    Err(error) => {
                        let what = format!("account {account} ({name}) cannot be entered");
                        self.fail(&Failure::caused_by(what, &error).next(error.hint()));
                    }
                }
            }
        }
    }
}

fn store_failure(what: &str, error: &crate::store::StoreError) -> Failure {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(error.hint());
    failure
}
