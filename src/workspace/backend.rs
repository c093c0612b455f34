//! Where Terraform keeps the state: what a module says about its backend, completed with what tfleet knows.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::overrides::quoted;
use crate::hcl::{BackendBlock, Position, RootModule, Setting};
use crate::model::Deployment;

/// What the settings, and the Terraform at hand, say about backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSettings {
    /// The region of the state bucket.
    pub region: String,
    /// The KMS key that encrypts states, if one is configured.
    pub kms_key: Option<String>,
    /// The lock table (`dynamodb_table`), if one is configured.
    pub dynamodb_table: Option<String>,
    /// Whether this Terraform knows `use_lockfile` (1.10 and later, also of `tofu`).
    pub use_lockfile_supported: bool,
    /// Whether this Terraform has the names of 1.6.3 and later (`use_path_style`, `skip_requesting_account_id`).
    pub new_path_style_name: bool,
    /// Whether the S3 endpoint wants the bucket in the path (anything but AWS itself, mostly).
    pub path_style: bool,
    /// The folder of the local state store; `None` where states are in S3.
    pub local_root: Option<Utf8PathBuf>,
    /// The profile under which the backend gets its credentials.
    pub profile: String,
}

/// What `terraform init` must be given so that the state is where it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendPlan {
    /// The arguments of `init`: `-backend-config=key=…`.
    pub init_args: Vec<String>,
    /// HCL for the root module's override file.
    pub override_hcl: Option<String>,
    /// What a person should know.
    pub notices: Vec<String>,
    /// The lock table (`dynamodb_table`) in effect; its digests must be kept right by whoever writes the state object.
    pub dynamodb_table: Option<String>,
    /// Whether Terraform locks with an object beside the state (`<key>.tflock`).
    pub locks_with_file: bool,
}

/// Why a module's backend cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Credentials, or files with credentials, in the block.
    #[error(
        "{position}: the backend block sets `{argument}`, which would put credentials into `.terraform` and plan files"
    )]
    StaticCredentials {
        /// The argument.
        argument: &'static str,
        /// Where the block is.
        position: Position,
    },
    /// A profile of the module's own.
    #[error(
        "{position}: the backend block names the profile `{profile}`, which is not there when tfleet runs Terraform"
    )]
    OwnProfile {
        /// The profile.
        profile: String,
        /// Where the block is.
        position: Position,
    },
    /// A backend tfleet does not speak to.
    #[error("{position}: the backend `{kind}` is not supported")]
    Unsupported {
        /// Its kind.
        kind: String,
        /// Where the block is.
        position: Position,
    },
    /// `backend "local"` although states belong into a bucket.
    #[error("{position}: the module keeps its state in a local file, while tfleet is configured for a state bucket")]
    LocalDeclared {
        /// Where the block is.
        position: Position,
    },
    /// An argument that decides where the state is, computed by Terraform.
    #[error("{position}: `{argument}` of the backend block is not a literal, so the state cannot be found")]
    NotLiteral {
        /// The argument.
        argument: &'static str,
        /// Where the block is.
        position: Position,
    },
    /// The block names another place than the one that was worked out for the deployment.
    #[error("{position}: the backend block says {argument} = \"{declared}\", but the deployment's is \"{wanted}\"")]
    Mismatch {
        /// `bucket` or `key`.
        argument: &'static str,
        /// What the block says.
        declared: String,
        /// What the deployment has.
        wanted: String,
        /// Where the block is.
        position: Position,
    },
    /// Neither a bucket nor a local folder.
    #[error("there is no bucket for the state `{key}`")]
    NoBucket {
        /// The state's key.
        key: String,
    },
}

impl BackendError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::StaticCredentials { .. } => {
                "remove it: tfleet gives the backend its credentials, from the account it was started in"
            }
            Self::OwnProfile { .. } => {
                "remove `profile`; where the bucket needs a role, name it in `assume_role` of the same block"
            }
            Self::Unsupported { .. } => {
                "use `backend \"s3\"`, or remove the block and let tfleet add it, or set `state: {backend: local}` in tfleet.yaml"
            }
            Self::LocalDeclared { .. } => {
                "remove the block (tfleet adds `backend \"s3\"`), or set `state: {backend: local}` in tfleet.yaml"
            }
            Self::NotLiteral { .. } => "write it as a plain text, or leave it out so that tfleet supplies it",
            Self::Mismatch { .. } => {
                "leave it out so that tfleet supplies it, or give this deployment a module of its own"
            }
            Self::NoBucket { .. } => "set TF_STATE_BUCKET, or `state: {backend: local, path: …}` in tfleet.yaml",
        }
    }
}

/// Arguments that carry credentials, or name files that do.
const CREDENTIAL_ARGUMENTS: [&str; 6] =
    ["access_key", "secret_key", "token", "shared_config_files", "shared_credentials_file", "shared_credentials_files"];

/// What the backend block of a module says, completed by the backend files of a deployment, which win.
#[must_use]
pub fn declared_backend(root: &RootModule, deployment: &Deployment) -> BTreeMap<String, Setting> {
    let mut settings = root.backend.as_ref().map(|block| block.settings.clone()).unwrap_or_default();
    let of_files = deployment.backend.settings.iter();
    settings
        .extend(of_files.map(|(name, text)| (name.clone(), text.clone().map_or(Setting::Dynamic, Setting::Literal))));
    settings
}

/// Works out how the state of a deployment is reached from the module.
///
/// The literal settings of the module, and those of the deployment's backend files, stand; what is missing is injected.
/// The files themselves are for whoever knows where their copies are.
pub fn plan_backend(
    root: &RootModule,
    deployment: &Deployment,
    settings: &BackendSettings,
) -> Result<BackendPlan, BackendError> {
    if let Some(folder) = &settings.local_root {
        return Ok(local(root.backend.as_ref(), deployment, folder));
    }
    let mut plan = BackendPlan::default();
    match &root.backend {
        None => plan.override_hcl = Some("terraform {\n  backend \"s3\" {}\n}\n".to_owned()),
        Some(block) => accept(block)?,
    }
    let declared = declared_backend(root, deployment);
    let (address, key) = (&deployment.state, deployment.backend_key());
    let bucket = address.bucket.as_deref().ok_or_else(|| BackendError::NoBucket { key: address.key.to_string() })?;
    let mut s3 = Injection { declared: &declared, args: Vec::new() };
    for (argument, wanted) in [("bucket", bucket), ("key", key.as_str())] {
        let of_files = deployment.backend.settings.contains_key(argument);
        if let Some(block) = root.backend.as_ref().filter(|_| !of_files) {
            same_place(block, argument, wanted)?;
        }
        s3.add(argument, wanted);
    }
    s3.add("region", &settings.region);
    s3.add("profile", &settings.profile);
    s3.encryption(settings, &mut plan.notices);
    plan.dynamodb_table = s3.locking(root.backend.as_ref(), settings, &mut plan.notices)?;
    plan.locks_with_file =
        s3.says("use_lockfile", "true") || s3.args.iter().any(|arg| arg == "-backend-config=use_lockfile=true");
    s3.endpoint(settings);
    plan.init_args = s3.args;
    Ok(plan)
}

fn local(declared: Option<&BackendBlock>, deployment: &Deployment, folder: &Utf8Path) -> BackendPlan {
    let notices = declared
        .filter(|block| block.kind != "local" || block.settings.contains_key("path"))
        .map(|block| format!("{}: backend `{}` is replaced by the local state store", block.position, block.kind));
    let path = folder.join(deployment.backend_key().as_str());
    let path = format!("    path = {}\n", quoted(path.as_str()));
    let workspaces = deployment.workspace.as_ref().map(|workspace| folder.join(workspace.local_folder()));
    let workspaces =
        workspaces.map(|dir| format!("    workspace_dir = {}\n", quoted(dir.as_str()))).unwrap_or_default();
    BackendPlan {
        override_hcl: Some(format!("terraform {{\n  backend \"local\" {{\n{path}{workspaces}  }}\n}}\n")),
        notices: notices.into_iter().collect(),
        ..BackendPlan::default()
    }
}

/// Refuses what cannot be served.
fn accept(block: &BackendBlock) -> Result<(), BackendError> {
    let position = block.position.clone();
    match block.kind.as_str() {
        "s3" => {}
        "local" => return Err(BackendError::LocalDeclared { position }),
        kind => return Err(BackendError::Unsupported { kind: kind.to_owned(), position }),
    }
    if let Some(argument) = CREDENTIAL_ARGUMENTS.into_iter().find(|name| block.settings.contains_key(*name)) {
        return Err(BackendError::StaticCredentials { argument, position });
    }
    match block.settings.get("profile") {
        None => Ok(()),
        Some(Setting::Literal(profile)) => Err(BackendError::OwnProfile { profile: profile.clone(), position }),
        Some(_) => Err(BackendError::NotLiteral { argument: "profile", position }),
    }
}

/// A bucket or key that the block names must be the one that backup, locks and records are about.
fn same_place(block: &BackendBlock, argument: &'static str, wanted: &str) -> Result<(), BackendError> {
    let position = block.position.clone();
    match block.settings.get(argument) {
        None => Ok(()),
        Some(Setting::Literal(declared)) if declared == wanted => Ok(()),
        Some(Setting::Literal(declared)) => {
            Err(BackendError::Mismatch { argument, declared: declared.clone(), wanted: wanted.to_owned(), position })
        }
        Some(_) => Err(BackendError::NotLiteral { argument, position }),
    }
}

/// The arguments that the block lacks.
struct Injection<'a> {
    declared: &'a BTreeMap<String, Setting>,
    args: Vec<String>,
}

impl Injection<'_> {
    fn has(&self, argument: &str) -> bool {
        self.declared.contains_key(argument)
    }

    fn says(&self, argument: &str, value: &str) -> bool {
        self.declared.get(argument).and_then(Setting::literal) == Some(value)
    }

    fn add(&mut self, argument: &str, value: &str) {
        if !self.has(argument) {
            self.args.push(format!("-backend-config={argument}={value}"));
        }
    }

    fn encryption(&mut self, settings: &BackendSettings, notices: &mut Vec<String>) {
        self.add("encrypt", "true");
        if self.says("encrypt", "false") {
            notices.push("the backend block sets encrypt = false: the state is not encrypted by request".to_owned());
        } else if let Some(key) = &settings.kms_key
            && !self.has("sse_customer_key")
        {
            // The backend takes one of the two kinds of keys.
            self.add("kms_key_id", key);
        }
    }

    /// A table excludes the lock file: with both, both locks must be taken.
    fn locking(
        &mut self,
        block: Option<&BackendBlock>,
        settings: &BackendSettings,
        notices: &mut Vec<String>,
    ) -> Result<Option<String>, BackendError> {
        let table = match (self.declared.get("dynamodb_table"), block) {
            (Some(Setting::Literal(table)), _) => Some(table.clone()),
            (Some(_), Some(block)) => {
                let position = block.position.clone();
                return Err(BackendError::NotLiteral { argument: "dynamodb_table", position });
            }
            _ => settings.dynamodb_table.clone(),
        };
        if let Some(table) = &table {
            self.add("dynamodb_table", table);
        } else if self.says("use_lockfile", "false") {
            notices.push(
                "the backend block sets use_lockfile = false: only tfleet's own lock guards the state".to_owned(),
            );
        } else if settings.use_lockfile_supported {
            self.add("use_lockfile", "true");
        } else {
            notices.push(
                "this Terraform cannot lock states in S3 (1.10 and later can): only tfleet's own lock guards the state"
                    .to_owned(),
            );
        }
        Ok(table)
    }

    fn endpoint(&mut self, settings: &BackendSettings) {
        if settings.path_style && !self.has("use_path_style") && !self.has("force_path_style") {
            self.add(if settings.new_path_style_name { "use_path_style" } else { "force_path_style" }, "true");
        }
        // tfleet has asked STS who it is already; every init would ask again.
        self.add("skip_credentials_validation", "true");
        if settings.new_path_style_name {
            self.add("skip_requesting_account_id", "true");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackendKey, CliWorkspace, PartialBackend, StateAddress, WorkspaceName};
    use crate::workspace::testing::{Tree, deployment};

    fn settings() -> BackendSettings {
        BackendSettings {
            region: "us-east-1".to_owned(),
            kms_key: None,
            dynamodb_table: None,
            use_lockfile_supported: true,
            new_path_style_name: true,
            path_style: false,
            local_root: None,
            profile: "tfleet-backend".to_owned(),
        }
    }

    fn one() -> Deployment {
        let state =
            StateAddress { bucket: Some("states".to_owned()), key: BackendKey::new("s3/a/terraform.tfstate").unwrap() };
        Deployment { state, ..deployment(".", "a.tfvars", &[]) }
    }

    fn plan_of(block: &str, deployment: &Deployment, settings: &BackendSettings) -> Result<BackendPlan, BackendError> {
        let tree = Tree::new();
        tree.write("main.tf", &format!("terraform {{\n{block}\n}}\n"));
        plan_backend(&RootModule::read(&tree.dir).unwrap(), deployment, settings)
    }

    fn plan(block: &str, settings: &BackendSettings) -> Result<BackendPlan, BackendError> {
        plan_of(block, &one(), settings)
    }

    #[test]
    fn what_backend_files_say_stands_before_the_block() {
        let texts =
            [("bucket", "states"), ("key", "theirs/x.tfstate"), ("region", "eu-west-1"), ("dynamodb_table", "locks")];
        let settings_of = texts.map(|(name, text)| (name.to_owned(), Some(text.to_owned())));
        let backend = PartialBackend { files: vec!["b.hcl".into()], settings: settings_of.into() };
        let state = StateAddress { key: BackendKey::new("theirs/x.tfstate").unwrap(), ..one().state };
        let plan =
            plan_of("backend \"s3\" {\nkey = \"other\"\n}", &Deployment { state, backend, ..one() }, &settings());
        let plan = plan.unwrap();
        assert_eq!(plan.dynamodb_table.as_deref(), Some("locks"));
        let given: Vec<&str> = args(&plan).iter().map(|arg| arg.split('=').next().unwrap()).collect();
        assert_eq!(given, ["profile", "encrypt", "skip_credentials_validation", "skip_requesting_account_id"]);
    }

    #[test]
    fn a_workspace_leaves_the_backend_its_own_key() {
        let workspace = CliWorkspace {
            name: WorkspaceName::new("a-prd").unwrap(),
            key: BackendKey::new("s3/a/terraform.tfstate").unwrap(),
        };
        let state = StateAddress { key: workspace.state_in_s3(None).unwrap(), ..one().state };
        let one = Deployment { workspace: Some(workspace), state, ..one() };
        let plan = plan_of("", &one, &settings()).unwrap();
        assert!(args(&plan).contains(&"key=s3/a/terraform.tfstate"), "{plan:?}");
        let local = BackendSettings { local_root: Some("/states".into()), ..settings() };
        let text = plan_of("", &one, &local).unwrap().override_hcl.unwrap();
        assert!(text.contains("path = \"/states/s3/a/terraform.tfstate\"\n"), "{text}");
        assert!(text.contains("workspace_dir = \"/states/s3/a/terraform.tfstate.d\"\n"), "{text}");
    }

    fn args(plan: &BackendPlan) -> Vec<&str> {
        plan.init_args.iter().map(|arg| arg.strip_prefix("-backend-config=").unwrap()).collect()
    }

    const USUAL: [&str; 8] = [
        "bucket=states",
        "key=s3/a/terraform.tfstate",
        "region=us-east-1",
        "profile=tfleet-backend",
        "encrypt=true",
        "use_lockfile=true",
        "skip_credentials_validation=true",
        "skip_requesting_account_id=true",
    ];

    #[test]
    fn without_a_block_everything_is_given() {
        let plan = plan("", &settings()).unwrap();
        assert_eq!(plan.override_hcl.as_deref(), Some("terraform {\n  backend \"s3\" {}\n}\n"));
        assert_eq!(args(&plan), USUAL);
        assert_eq!((plan.notices, plan.dynamodb_table), (vec![], None));
    }

    #[test]
    fn the_blocks_own_settings_stand() {
        let block = "backend \"s3\" {\nbucket = \"states\"\nregion = \"eu-west-1\"\nencrypt = true\nuse_lockfile = true\n\
                     workspace_key_prefix = \"w\"\nassume_role = { role_arn = \"r\" }\n}";
        let plan = plan(block, &settings()).unwrap();
        assert_eq!(plan.override_hcl, None);
        let own =
            |arg: &&&str| ["bucket", "region", "encrypt", "use_lockfile"].contains(&arg.split('=').next().unwrap());
        assert_eq!(args(&plan), USUAL.iter().filter(|arg| !own(arg)).copied().collect::<Vec<_>>());
    }

    #[test]
    fn a_table_takes_the_place_of_the_lock_file() {
        let from_block = plan("backend \"s3\" {\ndynamodb_table = \"own\"\n}", &settings()).unwrap();
        assert_eq!(from_block.dynamodb_table.as_deref(), Some("own"));
        assert!(!args(&from_block).iter().any(|a| a.contains("lockfile") || a.contains("dynamodb")));
        let configured = BackendSettings { dynamodb_table: Some("conf".to_owned()), ..settings() };
        let from_settings = plan("", &configured).unwrap();
        assert_eq!(from_settings.dynamodb_table.as_deref(), Some("conf"));
        assert!(args(&from_settings).contains(&"dynamodb_table=conf"));
        assert!(!args(&from_settings).contains(&"use_lockfile=true"));
        assert_eq!(
            plan("backend \"s3\" {\ndynamodb_table = \"own\"\n}", &configured).unwrap().dynamodb_table.as_deref(),
            Some("own")
        );
    }

    #[test]
    fn older_versions_get_the_names_they_know() {
        let old = BackendSettings {
            use_lockfile_supported: false,
            new_path_style_name: false,
            path_style: true,
            kms_key: Some("arn:k".to_owned()),
            ..settings()
        };
        let plan = plan("", &old).unwrap();
        let args = args(&plan);
        assert!(args.contains(&"force_path_style=true") && args.contains(&"kms_key_id=arn:k"), "{args:?}");
        assert!(!args.iter().any(|a| a.contains("use_lockfile") || a.contains("account_id")), "{args:?}");
        assert!(plan.notices[0].contains("cannot lock"), "{:?}", plan.notices);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_place() {
        for (block, word) in [
            ("backend \"s3\" {\naccess_key = \"AKIA\"\n}", "`access_key`"),
            ("backend \"s3\" {\nshared_credentials_files = [\"x\"]\n}", "`shared_credentials_files`"),
            ("backend \"s3\" {\nprofile = \"mine\"\n}", "profile `mine`"),
            ("backend \"s3\" {\nkey = var.key\n}", "`key`"),
            ("backend \"s3\" {\nkey = \"other\"\n}", "says key = \"other\""),
            ("backend \"s3\" {\ndynamodb_table = var.t\n}", "`dynamodb_table`"),
            ("backend \"gcs\" {}", "`gcs` is not supported"),
            ("cloud {\norganization = \"x\"\n}", "`cloud` is not supported"),
            ("backend \"local\" {}", "local file"),
        ] {
            let error = plan(block, &settings()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(word) && text.contains("main.tf:"), "{text}");
            assert!(!text.contains("AKIA") && !error.hint().is_empty(), "{text}");
        }
    }

    #[test]
    fn local_state_replaces_whatever_is_declared() {
        let local = BackendSettings { local_root: Some("/st \"x\"/${y}".into()), ..settings() };
        let plan = plan("backend \"gcs\" {}", &local).unwrap();
        assert_eq!(
            plan.override_hcl.as_deref(),
            Some(
                "terraform {\n  backend \"local\" {\n    path = \"/st \\\"x\\\"/$${y}/s3/a/terraform.tfstate\"\n  }\n}\n"
            )
        );
        assert!(plan.init_args.is_empty());
        assert!(plan.notices[0].contains("`gcs` is replaced"), "{:?}", plan.notices);
    }
}
