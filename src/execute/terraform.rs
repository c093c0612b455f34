//! Terraform and OpenTofu: finding them, and one place for every argument they get.

use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use semver::{Version, VersionReq};
use tokio::process::Command;

use super::{Environment, on_path};
use crate::model::Action;

/// Why there is no Terraform to run.
#[derive(Debug, thiserror::Error)]
pub enum TerraformError {
    /// None on the path, or not where the setting says.
    #[error("no `{0}` can be run from here: it is not on PATH, or not where the setting says")]
    NotFound(String),
    /// It does not say its version.
    #[error("`{program} version -json` failed: {why}")]
    Version {
        /// The program.
        program: Utf8PathBuf,
        /// What happened.
        why: String,
    },
    /// Too old to be driven.
    #[error("{program} is {product} {version}; tfleet needs Terraform or OpenTofu 1.5 or later")]
    TooOld {
        /// The program.
        program: Utf8PathBuf,
        /// Which of the two it is.
        product: Product,
        /// Its version.
        version: Version,
    },
}

/// Terraform or OpenTofu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// HashiCorp's.
    Terraform,
    /// The Linux Foundation's.
    OpenTofu,
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Terraform => "Terraform",
            Self::OpenTofu => "OpenTofu",
        })
    }
}

/// A Terraform that has been found and asked for its version.
#[derive(Debug, Clone)]
pub struct Terraform {
    /// The program, absolute.
    pub program: Utf8PathBuf,
    /// Which of the two it is.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// `linux_amd64` and the like.
    pub platform: String,
}

/// How long `version` may take; it reads no configuration and asks no server.
const VERSION_TIMEOUT: Duration = Duration::from_secs(30);

impl Terraform {
    /// Finds `wanted` (a name or a path); without it `terraform`, then `tofu`, on the path.
    pub async fn find(wanted: Option<&str>, environment: &Environment) -> Result<Self, TerraformError> {
        let names: &[&str] = wanted.as_ref().map_or(&["terraform", "tofu"], std::slice::from_ref);
        let program = names
            .iter()
            .find_map(|name| on_path(name, environment))
            .ok_or_else(|| TerraformError::NotFound(names.join("` or `")))?;
        Self::ask(program, environment).await
    }

    async fn ask(program: Utf8PathBuf, environment: &Environment) -> Result<Self, TerraformError> {
        let bad = |why: String| TerraformError::Version { program: program.clone(), why };
        let output = Command::new(&program)
            .args(["version", "-json"])
            .env_clear()
            .envs(environment.iter())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(VERSION_TIMEOUT, output)
            .await
            .map_err(|_| bad("no answer in 30 seconds".to_owned()))?
            .map_err(|error| bad(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // Warnings about the CLI configuration come before the document.
        let json: serde_json::Value = text
            .find('{')
            .and_then(|at| serde_json::Deserializer::from_str(&text[at..]).into_iter().next()?.ok())
            .ok_or_else(|| bad(format!("{} and no JSON", output.status)))?;
        let version = json["terraform_version"]
            .as_str()
            .and_then(|text| Version::parse(text).ok())
            .ok_or_else(|| bad("no version in its answer".to_owned()))?;
        let product = if program.file_name().is_some_and(|n| n.contains("tofu")) {
            Product::OpenTofu
        } else {
            Product::Terraform
        };
        if version < Version::new(1, 5, 0) {
            return Err(TerraformError::TooOld { program: program.clone(), product, version });
        }
        let platform = json["platform"].as_str().unwrap_or_default().to_owned();
        Ok(Self { program, product, version, platform })
    }

    /// `Terraform 1.11.4`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {}", self.product, self.version)
    }

    /// Whether the S3 backend knows `use_lockfile` (Terraform and OpenTofu 1.10).
    #[must_use]
    pub fn knows_s3_lock_file(&self) -> bool {
        self.version >= Version::new(1, 10, 0)
    }

    /// Whether the S3 backend takes a role only in `assume_role`: Terraform 1.10 has dropped `role_arn` and what goes with it,
    /// and ignores them silently beside `-backend-config`. `OpenTofu` knows them still.
    #[must_use]
    pub fn dropped_role_arguments(&self) -> bool {
        self.product == Product::Terraform && self.version >= Version::new(1, 10, 0)
    }

    /// Whether the S3 backend says `use_path_style` (1.6) and not `force_path_style`.
    #[must_use]
    pub fn knows_use_path_style(&self) -> bool {
        self.version >= Version::new(1, 6, 0)
    }

    /// Whether this version satisfies a `required_version`; `None` if the constraint cannot be read.
    #[must_use]
    pub fn satisfies(&self, constraint: &str) -> Option<bool> {
        // Pre-releases match only exact constraints in Terraform; comparing their base is the nearer guess for >= and <.
        let mut version = self.version.clone();
        version.pre = semver::Prerelease::EMPTY;
        constraint
            .split(',')
            .map(|part| satisfies_one(&version, part.trim()))
            .try_fold(true, |all, one| Some(all && one?))
    }
}

/// One constraint in Terraform's form: `>= 1.5`, `~> 1.5.0`, `!= 1.6.2`, `1.7.0`.
fn satisfies_one(version: &Version, constraint: &str) -> Option<bool> {
    let at = constraint.find(|c: char| c.is_ascii_digit() || c == 'v')?;
    let (operator, wanted) = (constraint[..at].trim(), constraint[at..].trim_start_matches('v'));
    let parts: Vec<&str> = wanted.split('.').collect();
    let full = match parts.len() {
        1 => format!("{wanted}.0.0"),
        2 => format!("{wanted}.0"),
        _ => wanted.to_owned(),
    };
    let wanted = Version::parse(&full).ok()?;
    Some(match operator {
        "" | "=" => *version == wanted,
        "!=" => *version != wanted,
        ">" => *version > wanted,
        ">=" => *version >= wanted,
        "<" => *version < wanted,
        "<=" => *version <= wanted,
        // The last part given may grow: ~> 1.5 is >= 1.5, < 2; ~> 1.5.0 is >= 1.5.0, < 1.6.
        "~>" if parts.len() >= 3 => VersionReq::parse(&format!("~{full}")).ok()?.matches(version),
        "~>" => *version >= wanted && version.major == wanted.major,
        _ => return None,
    })
}

/// The arguments of each command. What they have in common: no questions, no colours.
pub mod args {
    use super::{Action, Duration, Utf8Path};

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn var_files(args: &mut Vec<String>, files: &[impl AsRef<Utf8Path>]) {
        args.extend(files.iter().map(|file| format!("-var-file={}", file.as_ref())));
    }

    fn lock_timeout(timeout: Duration) -> String {
        format!("-lock-timeout={}s", timeout.as_secs())
    }

    /// Fetches providers and modules, touching no backend.
    #[must_use]
    pub fn prepare() -> Vec<String> {
        strings(&["init", "-backend=false", "-input=false", "-no-color"])
    }

    /// Adds this platform's hashes to a lock file that was made on another one.
    #[must_use]
    pub fn lock_providers(platform: &str) -> Vec<String> {
        vec!["providers".to_owned(), "lock".to_owned(), "-no-color".to_owned(), format!("-platform={platform}")]
    }

    /// Connects a workspace to its backend; downloads nothing.
    #[must_use]
    pub fn init(providers: &Utf8Path, backend: &[String]) -> Vec<String> {
        let mut args = strings(&["init", "-input=false", "-no-color", "-get=false", "-lockfile=readonly"]);
        args.push(format!("-plugin-dir={providers}"));
        args.extend(backend.iter().cloned());
        args
    }

    /// Makes a plan and keeps it.
    #[must_use]
    pub fn plan(destroy: bool, out: &Utf8Path, files: &[impl AsRef<Utf8Path>], lock: Duration) -> Vec<String> {
        let mut args = strings(&["plan", "-input=false", "-no-color", "-detailed-exitcode"]);
        if destroy {
            args.push("-destroy".to_owned());
        }
        args.push(lock_timeout(lock));
        args.push(format!("-out={out}"));
        var_files(&mut args, files);
        args
    }

    /// Compares the state with what is there, and keeps what it finds as a plan. It writes nothing, so it needs no lock.
    #[must_use]
    pub fn refresh_only(out: &Utf8Path, files: &[impl AsRef<Utf8Path>]) -> Vec<String> {
        let mut args =
            strings(&["plan", "-refresh-only", "-lock=false", "-input=false", "-no-color", "-detailed-exitcode"]);
        args.push(format!("-out={out}"));
        var_files(&mut args, files);
        args
    }

    /// Applies without a plan of its own making: for `apply` and, with `-destroy`, for `destroy`.
    #[must_use]
    pub fn apply(action: Action, files: &[impl AsRef<Utf8Path>], lock: Duration) -> Vec<String> {
        let mut args = strings(&["apply", "-json", "-input=false", "-auto-approve"]);
        if action == Action::Destroy {
            args.push("-destroy".to_owned());
        }
        args.push(lock_timeout(lock));
        var_files(&mut args, files);
        args
    }

    /// Applies exactly this plan.
    #[must_use]
    pub fn apply_plan(plan: &Utf8Path, lock: Duration) -> Vec<String> {
        let mut args = strings(&["apply", "-json", "-input=false"]);
        args.push(lock_timeout(lock));
        args.push(plan.to_string());
        args
    }

    /// Shows a plan as JSON. What it prints holds sensitive values in clear.
    #[must_use]
    pub fn show_json(plan: &Utf8Path) -> Vec<String> {
        let mut args = strings(&["show", "-json", "-no-color"]);
        args.push(plan.to_string());
        args
    }

    /// Writes a state file over the one in the backend; Terraform itself checks lineage and serial.
    #[must_use]
    pub fn state_push(file: &Utf8Path, lock: Duration) -> Vec<String> {
        let mut args = strings(&["state", "push", "-no-color"]);
        args.push(lock_timeout(lock));
        args.push(file.to_string());
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terraform(version: &str) -> Terraform {
        Terraform {
            program: "/bin/terraform".into(),
            product: Product::Terraform,
            version: Version::parse(version).unwrap(),
            platform: "linux_amd64".to_owned(),
        }
    }

    #[test]
    fn version_constraints_are_terraforms() {
        let terraform = terraform("1.11.4");
        for (constraint, expected) in [
            (">= 1.5", Some(true)),
            (">= 1.5, < 2.0.0", Some(true)),
            ("~> 1.5", Some(true)),
            ("~> 1.11.0", Some(true)),
            ("~> 1.10.0", Some(false)),
            ("~> 2.0", Some(false)),
            ("< 1.11", Some(false)),
            ("= 1.11.4", Some(true)),
            ("1.11.3", Some(false)),
            ("!= 1.11.4", Some(false)),
            (">= 1", Some(true)),
            ("nonsense", None),
        ] {
            assert_eq!(terraform.satisfies(constraint), expected, "{constraint}");
        }
    }

    #[tokio::test]
    async fn the_terraform_on_the_path_is_found_and_asked() {
        let environment = Environment::for_terraform(std::env::vars_os());
        let terraform = Terraform::find(None, &environment).await.unwrap();
        assert!(terraform.program.is_absolute());
        assert!(terraform.version >= Version::new(1, 5, 0));
        assert!(!terraform.platform.is_empty());
    }

    #[tokio::test]
    async fn a_missing_terraform_and_one_that_is_none_are_told_apart() {
        let environment = Environment::default().with("PATH", "/usr/bin:/bin");
        let error = Terraform::find(Some("no-such-terraform"), &environment).await.unwrap_err();
        assert!(matches!(error, TerraformError::NotFound(name) if name == "no-such-terraform"));
        let error = Terraform::find(Some("/bin/true"), &environment).await.unwrap_err();
        assert!(matches!(error, TerraformError::Version { .. }), "{error}");
    }
}
