//! Where Terraform keeps the state: what a module says about its backend, completed with what tfleet knows.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::access::{BackendAccess, StateEncryption, backend_access, place};
use super::overrides::quoted;
use crate::hcl::{BackendBlock, Position, RootModule, Setting};
use crate::model::{Deployment, RefusedArgument, lay_over};

/// What the settings, and the Terraform at hand, say about backends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the Terraform at hand")]
pub struct BackendSettings {
    /// The region of the state bucket.
    pub region: String,
    /// The KMS key that encrypts states, if one is configured.
    pub kms_key: Option<String>,
    /// The lock table (`dynamodb_table`), if one is configured.
    pub dynamodb_table: Option<String>,
    /// Whether this Terraform knows `use_lockfile` (1.10 and later, also of `tofu`).
    pub use_lockfile_supported: bool,
    /// Whether this Terraform takes roles in `assume_role` alone (1.10 and later, not `tofu`).
    pub roles_in_assume_role_only: bool,
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
    /// An argument with which tfleet takes no backend.
    #[error("{position}: the backend block sets `{argument}`, {}", refused.why())]
    Refused {
        /// The argument.
        argument: String,
        /// Why.
        refused: RefusedArgument,
        /// Where it is.
        position: Position,
    },
    /// An argument that this Terraform would ignore, and with it the role.
    #[error("{position}: `{argument}` of the backend is not known to this Terraform any more (since 1.10)")]
    DroppedArgument {
        /// The argument.
        argument: &'static str,
        /// Where it is.
        position: Position,
    },
    /// An argument whose value cannot be used.
    #[error("{position}: `{argument}` of the backend cannot be used: {why}")]
    Value {
        /// The argument.
        argument: String,
        /// Why.
        why: String,
        /// Where it is.
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
    /// An argument that decides where the state is, or how it is reached, computed by Terraform.
    #[error("{position}: `{argument}` of the backend is not a literal, so the state cannot be found or reached")]
    NotLiteral {
        /// The argument.
        argument: String,
        /// Where it is.
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
            Self::Refused { refused, .. } => refused.hint(),
            Self::DroppedArgument { .. } => "write it in `assume_role`: assume_role = { role_arn = \"…\" }",
            Self::Value { .. } => "correct it there",
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

/// Arguments about a role that Terraform 1.10 dropped.
const DROPPED_ROLE_ARGUMENTS: [&str; 8] = [
    "role_arn",
    "session_name",
    "external_id",
    "assume_role_duration_seconds",
    "assume_role_policy",
    "assume_role_policy_arns",
    "assume_role_tags",
    "assume_role_transitive_tag_keys",
];

/// What the backend block of a module says, completed by the backend files of a deployment, which win.
#[must_use]
pub fn declared_backend(root: &RootModule, deployment: &Deployment) -> BTreeMap<String, Setting> {
    let mut settings = root.backend.as_ref().map(|block| block.settings.clone()).unwrap_or_default();
    let of_files = deployment.backend.settings.iter();
    let of_files = of_files.map(|(name, text)| (name.clone(), text.clone().map_or(Setting::Dynamic, Setting::Literal)));
    lay_over(&mut settings, of_files);
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
    let access = backend_access(root, deployment)?;
    if settings.roles_in_assume_role_only {
        let dropped = DROPPED_ROLE_ARGUMENTS.into_iter().find(|argument| declared.contains_key(*argument));
        if let Some(argument) = dropped {
            let position = place(root, deployment, argument);
            return Err(BackendError::DroppedArgument { argument, position });
        }
    }
    let (address, key) = (&deployment.state, deployment.backend_key());
    let bucket = address.bucket.as_deref().ok_or_else(|| BackendError::NoBucket { key: address.key.to_string() })?;
    let mut s3 = Injection { declared: &declared, access: &access, args: Vec::new() };
    for (argument, wanted) in [("bucket", bucket), ("key", key.as_str())] {
        let of_files = deployment.backend.settings.contains_key(argument);
        if let Some(block) = root.backend.as_ref().filter(|_| !of_files) {
            same_place(block, argument, wanted)?;
        }
        s3.add(argument, wanted);
    }
    s3.add("region", &settings.region);
    if access.profile.is_none() {
        s3.args.push(format!("-backend-config=profile={}", settings.profile));
    }
    s3.encryption(settings, &mut plan.notices);
    let unknown = |argument: &str| BackendError::NotLiteral {
        argument: argument.to_owned(),
        position: place(root, deployment, argument),
    };
    plan.dynamodb_table = s3.locking(settings, &unknown, &mut plan.notices)?;
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
    // Those of files are refused when the files are read.
    for (argument, value) in &block.settings {
        if let Some(refused) = RefusedArgument::of(argument, value.literal()) {
            return Err(BackendError::Refused { argument: argument.clone(), refused, position: block.place(argument) });
        }
    }
    Ok(())
}

/// A bucket or key that the block names must be the one that backup, locks and records are about.
fn same_place(block: &BackendBlock, argument: &'static str, wanted: &str) -> Result<(), BackendError> {
    let position = block.place(argument);
    match block.settings.get(argument) {
        None => Ok(()),
        Some(Setting::Literal(declared)) if declared == wanted => Ok(()),
        Some(Setting::Literal(declared)) => {
            Err(BackendError::Mismatch { argument, declared: declared.clone(), wanted: wanted.to_owned(), position })
        }
        Some(_) => Err(BackendError::NotLiteral { argument: argument.to_owned(), position }),
    }
}

/// The arguments that the block lacks.
struct Injection<'a> {
    declared: &'a BTreeMap<String, Setting>,
    access: &'a BackendAccess,
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
        if self.says("encrypt", "false") {
            notices.push("the backend block sets encrypt = false: the state is not encrypted by request".to_owned());
        }
        match self.access.encryption(settings.kms_key.as_deref()) {
            StateEncryption::AsBucket => {}
            StateEncryption::S3 => self.add("encrypt", "true"),
            StateEncryption::Kms(key) => {
                self.add("encrypt", "true");
                self.add("kms_key_id", &key);
            }
        }
    }

    /// A table excludes the lock file: with both, both locks must be taken.
    fn locking(
        &mut self,
        settings: &BackendSettings,
        unknown: &dyn Fn(&str) -> BackendError,
        notices: &mut Vec<String>,
    ) -> Result<Option<String>, BackendError> {
        let table = match self.declared.get("dynamodb_table") {
            // An empty name is none, as Terraform has it.
            Some(Setting::Literal(table)) => Some(table.clone()).filter(|table| !table.is_empty()),
            Some(_) => return Err(unknown("dynamodb_table")),
            None => settings.dynamodb_table.clone(),
        };
        if self.declared.get("use_lockfile").is_some_and(|setting| setting.literal().is_none()) {
            return Err(unknown("use_lockfile"));
        }
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
        // A backend that names the accounts it may be in has to ask which one it is in.
        let asks = self.has("allowed_account_ids") || self.has("forbidden_account_ids");
        if settings.new_path_style_name && !asks {
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
            roles_in_assume_role_only: true,
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
        let (files, settings_of) = (vec!["b.hcl".into()], settings_of.into());
        let backend = PartialBackend { files, settings: settings_of, ..PartialBackend::default() };
        let state = StateAddress { key: BackendKey::new("theirs/x.tfstate").unwrap(), ..one().state };
        let plan =
            plan_of("backend \"s3\" {\nkey = \"other\"\n}", &Deployment { state, backend, ..one() }, &settings());
        let plan = plan.unwrap();
        assert_eq!(plan.dynamodb_table.as_deref(), Some("locks"));
        let given: Vec<&str> = args(&plan).iter().map(|arg| arg.split('=').next().unwrap()).collect();
        assert_eq!(given, ["profile", "skip_credentials_validation", "skip_requesting_account_id"], "encryption too");
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
                     workspace_key_prefix = \"w\"\nassume_role = { role_arn = \"arn:aws:iam::222222222222:role/state\" }\n}";
        let plan = plan(block, &settings()).unwrap();
        assert_eq!(plan.override_hcl, None);
        let own =
            |arg: &&&str| ["bucket", "region", "encrypt", "use_lockfile"].contains(&arg.split('=').next().unwrap());
        assert_eq!(args(&plan), USUAL.iter().filter(|arg| !own(arg)).copied().collect::<Vec<_>>());
    }

    #[test]
    fn what_the_backend_has_to_do_by_itself_is_left_to_it() {
        let own =
            plan("backend \"s3\" {\nprofile = \"theirs\"\nallowed_account_ids = [\"1\"]\n}", &settings()).unwrap();
        let args = args(&own);
        assert!(!args.iter().any(|arg| arg.starts_with("profile=") || arg.contains("account_id")), "{args:?}");
        let empty = plan("backend \"s3\" {\nprofile = \"\"\ndynamodb_table = \"\"\n}", &settings()).unwrap();
        assert!(empty.init_args.contains(&"-backend-config=profile=tfleet-backend".to_owned()), "{empty:?}");
        assert_eq!((empty.dynamodb_table.as_deref(), empty.locks_with_file), (None, true));
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
            ("backend \"s3\" {\nprofile = var.p\n}", "`profile`"),
            (
                "backend \"s3\" {\nrole_arn = \"arn:aws:iam::222222222222:role/x\"\n}",
                "main.tf:3: `role_arn` of the backend is not known",
            ),
            (
                "backend \"s3\" {\nsse_customer_key = \"AKIA\"\n}",
                "main.tf:3: the backend block sets `sse_customer_key`",
            ),
            ("backend \"s3\" {\nassume_role_with_web_identity = { role_arn = \"r\" }\n}", "while tfleet gives"),
            (
                "backend \"s3\" {\nassume_role = {\n role_arn = \"r\"\n tags = {}\n}\n}",
                "main.tf:5: the backend block sets",
            ),
            ("backend \"s3\" {\ninsecure = true\n}", "`insecure`"),
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
