//! The environment that Terraform gets: the caller's, less all that would decide something tfleet decides.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::model::Secret;

/// `AWS_*` variables that say where AWS is and how to speak to it, not who is speaking.
const AWS_PASSES: [&str; 9] = [
    "AWS_CA_BUNDLE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
];

/// Variables of Terraform that move the state, the working files or the arguments to somewhere else, or print what
/// must not be printed.
const TERRAFORM_DROPS: [&str; 10] = [
    "TF_WORKSPACE",
    "TF_DATA_DIR",
    "TF_PLUGIN_CACHE_DIR",
    "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE",
    "TF_REATTACH_PROVIDERS",
    "TF_INPUT",
    "TF_STATE_PERSIST_INTERVAL",
    "TF_STATE_BUCKET",
    "TF_BACKEND_REGION",
    "TF_BACKUP",
];

/// Whether Terraform may have a variable of the caller's environment.
fn passes(name: &str) -> bool {
    if name.starts_with("AWS_") {
        return name.starts_with("AWS_ENDPOINT_URL") || AWS_PASSES.contains(&name);
    }
    !(TERRAFORM_DROPS.contains(&name)
        || name.starts_with("TF_CLI_ARGS")
        || name.starts_with("TF_LOG")
        || name.starts_with("TFLEET_")
        || name == "AMAZON_SESSION_TOKEN")
}

/// How the names of variables end that hold a secret, in any case.
const SECRET_ENDS: [&str; 10] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIALS",
    "API_KEY",
    "ACCESS_KEY",
    "SECRET_KEY",
    "PRIVATE_KEY",
];

/// Whether a variable holds a secret, by its name. `TF_TOKEN_*` are the tokens of registries.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.starts_with("TF_TOKEN_") || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

/// The names of the caller's variables that Terraform does not get, sorted, for a notice.
#[must_use]
pub fn dropped_names(caller: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let mut names: Vec<String> = caller
        .into_iter()
        .filter_map(|(name, _)| name.into_string().ok())
        // What is tfleet's own is not missed by anybody.
        .filter(|name| {
            !passes(name) && !name.starts_with("TFLEET_") && name != "TF_STATE_BUCKET" && name != "TF_BACKEND_REGION"
        })
        .collect();
    names.sort();
    names
}

/// The environment of one child process, built from nothing.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl std::fmt::Debug for Environment {
    /// Names alone: values may be secrets (`TF_VAR_*`, `TF_TOKEN_*`).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// What passes of the caller's variables, and the switches for running without a person.
    #[must_use]
    pub fn for_terraform(caller: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment =
            Self { variables: caller.into_iter().filter(|(name, _)| name.to_str().is_none_or(passes)).collect() };
        environment.set("TF_IN_AUTOMATION", "1");
        environment.set("TF_INPUT", "0");
        environment.set("CHECKPOINT_DISABLE", "1");
        environment
    }

    /// For commands that change nothing: lets Go programs, as Terraform and its providers are, collect garbage less
    /// often, as long as each stays below `limit` bytes (docs/BENCHMARKS.md). What the caller says of it stands.
    ///
    /// Never for an apply: a process that dies for want of memory in the middle of one costs more than time.
    #[must_use]
    pub fn collecting_less(self, limit: u64) -> Self {
        if ["GOGC", "GOMEMLIMIT"].iter().any(|name| self.variables.contains_key(OsStr::new(name))) {
            return self;
        }
        self.with("GOGC", "300").with("GOMEMLIMIT", limit.to_string())
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    /// The same environment with these as its only `TF_VAR_*` variables.
    #[must_use]
    pub fn with_variables<'v>(mut self, variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        self.variables.retain(|name, _| !name.to_string_lossy().starts_with("TF_VAR_"));
        for (name, value) in variables {
            self.set(name, value);
        }
        self
    }

    /// The same environment without these variables.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        for name in names {
            self.variables.remove(OsStr::new(name));
        }
        self
    }

    /// Whether it has a variable of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.variables.contains_key(OsStr::new(name))
    }

    /// The same environment with one more variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set(name, value);
        self
    }

    /// The values of the variables whose names say that they are secret: a program that prints its environment must not
    /// show them.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret<String>> {
        let secret = self.variables.iter().filter(|(name, _)| name.to_str().is_some_and(is_secret));
        secret.filter_map(|(_, value)| value.to_str().map(|value| Secret::new(value.to_owned()))).collect()
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Vec<(OsString, OsString)> {
        [
            "PATH",
            "HOME",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_ROLE_ARN",
            "AWS_REGION",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
            "AWS_CA_BUNDLE",
            "TF_WORKSPACE",
            "TF_DATA_DIR",
            "TF_CLI_ARGS",
            "TF_CLI_ARGS_plan",
            "TF_LOG",
            "TF_LOG_PATH",
            "TF_VAR_x",
            "TF_TOKEN_example_com",
            "TF_CLI_CONFIG_FILE",
            "GIT_SSH_COMMAND",
            "SSH_AUTH_SOCK",
            "HTTPS_PROXY",
            "TF_PLUGIN_CACHE_DIR",
            "TFLEET_CACHE_DIR",
        ]
        .into_iter()
        .map(|name| (OsString::from(name), OsString::from("1")))
        .collect()
    }

    #[test]
    fn what_decides_about_accounts_and_states_does_not_pass() {
        let environment = Environment::for_terraform(caller());
        let names: Vec<&str> = environment.iter().filter_map(|(name, _)| name.to_str()).collect();
        assert_eq!(
            names,
            [
                "AWS_CA_BUNDLE",
                "AWS_ENDPOINT_URL",
                "AWS_ENDPOINT_URL_S3",
                "CHECKPOINT_DISABLE",
                "GIT_SSH_COMMAND",
                "HOME",
                "HTTPS_PROXY",
                "PATH",
                "SSH_AUTH_SOCK",
                "TF_CLI_CONFIG_FILE",
                "TF_INPUT",
                "TF_IN_AUTOMATION",
                "TF_TOKEN_example_com",
                "TF_VAR_x",
            ]
        );
    }

    #[test]
    fn the_notice_names_what_was_dropped() {
        let names = dropped_names(caller());
        assert!(names.contains(&"TF_WORKSPACE".to_owned()) && names.contains(&"AWS_PROFILE".to_owned()));
        assert!(!names.contains(&"TFLEET_CACHE_DIR".to_owned()));
    }

    #[test]
    fn the_callers_own_memory_settings_stand() {
        let of = |environment: Environment| {
            environment.iter().filter_map(|(_, value)| value.to_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(of(Environment::default().collecting_less(1 << 30)), ["300", "1073741824"]);
        assert_eq!(of(Environment::default().with("GOGC", "50").collecting_less(1 << 30)), ["50"]);
    }

    #[test]
    fn secrets_are_known_by_the_names_of_their_variables() {
        let named = |name: &str| !Environment::default().with(name, "hunter2hunter2").secrets().is_empty();
        for secret in ["TF_TOKEN_example_com", "GITHUB_TOKEN", "TF_VAR_db_password", "DATADOG_API_KEY"] {
            assert!(named(secret), "{secret}");
        }
        for plain in ["PATH", "TF_VAR_kms_key", "TF_VAR_token_url", "SSH_AUTH_SOCK"] {
            assert!(!named(plain), "{plain}");
        }
    }

    #[test]
    fn debug_shows_no_values() {
        let environment = Environment::default().with("TF_VAR_password", "hunter2hunter2");
        assert!(!format!("{environment:?}").contains("hunter2"));
    }
}
