//! What a run works with on this machine: the cache, Terraform and its environment, make.

use camino::Utf8PathBuf;

use super::{Request, recipes};
use crate::config::Settings;
use crate::event::Failure;
use crate::execute::{Environment, Terraform, TerraformError};
use crate::saga::{OwnedToolchain, check_space};
use crate::workspace::CacheDirs;

/// That.
pub(super) struct Tools {
    pub cache: CacheDirs,
    /// The environment that every Terraform starts with.
    pub environment: Environment,
    pub terraform: Terraform,
    /// Where a selected deployment needs it.
    pub make: Option<Utf8PathBuf>,
}

impl Tools {
    /// Finds all of it.
    pub(super) async fn find(request: &Request<'_>) -> Result<Self, Failure> {
        let cache = open_cache(request.settings)?;
        let environment = environment(request);
        let terraform = find_terraform(request.settings, &environment).await?;
        let make = recipes::find_make(request, &environment)?;
        Ok(Self { cache, environment, terraform, make })
    }
}

/// The cache directory, with room in it.
fn open_cache(settings: &Settings) -> Result<CacheDirs, Failure> {
    let cache = CacheDirs::open(&settings.cache_dir).map_err(|error| {
        let mut failure = Failure::caused_by("the cache directory cannot be used", &error);
        failure.next.extend(error.hint().map(str::to_owned));
        failure.next("set TFLEET_CACHE_DIR to another directory")
    })?;
    check_space(cache.root())?;
    Ok(cache)
}

/// The environment that every Terraform starts with: the variables of a snapshot are those of its time.
fn environment(request: &Request<'_>) -> Environment {
    let environment = Environment::for_terraform(std::env::vars_os());
    let Some(revived) = request.revived else { return environment };
    let variables = revived.variables.iter().map(|(name, value)| (name.as_str(), value.expose().as_str()));
    environment.with_variables(variables)
}

/// Finds the Terraform that the settings want.
pub async fn find_terraform(settings: &Settings, environment: &Environment) -> Result<Terraform, Failure> {
    let wanted = settings.terraform_binary.as_deref();
    Terraform::find(wanted, environment).await.map_err(|error| {
        let next = match &error {
            TerraformError::NotFound(_) => {
                "install Terraform or OpenTofu, or say where it is with TFLEET_TERRAFORM_BINARY or `terraform.binary`"
            }
            TerraformError::TooOld { .. } | TerraformError::Version { .. } => {
                "use another one: TFLEET_TERRAFORM_BINARY or `terraform.binary`"
            }
        };
        Failure::caused_by("there is no Terraform to run", &error).next(next)
    })
}

/// What decides which providers and modules this Terraform fetches.
pub(super) fn toolchain(terraform: &Terraform) -> OwnedToolchain {
    let config = std::env::var_os("TF_CLI_CONFIG_FILE")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".terraformrc")));
    OwnedToolchain {
        product: terraform.product.to_string(),
        version: terraform.version.to_string(),
        platform: terraform.platform.clone(),
        cli_config: config.and_then(|path| std::fs::read(path).ok()),
    }
}

/// One sentence on what of the environment Terraform does not get.
pub(super) fn dropped_notice() -> Option<String> {
    let names = crate::execute::dropped_names(std::env::vars_os());
    (!names.is_empty()).then(|| {
        format!("not passed on to Terraform, which gets its credentials and place from tfleet: {}", names.join(", "))
    })
}
