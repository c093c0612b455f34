//! The private folder in which Terraform runs for one deployment, and what is shared between such folders.
//!
//! Nothing here starts Terraform. The order of a caller is:
//!
//! 1. once per root module: [`SourceTree::read`] (which files it consists of) and [`prepared`] (its providers and
//!    modules, fetched once; [`Prepared::Needed`] asks the caller to run `init -backend=false` in the staging copy);
//! 2. [`plan_backend`] and [`guard`], put together by [`Overrides::new`];
//! 3. per deployment: [`build`], [`Workspace::write_overrides`], [`PreparedModule::install`], then
//!    `init -lockfile=readonly -plugin-dir=…` with [`BackendPlan::init_args`].
//!
//! Between 3 and the apply, [`Workspace::inventory`] tells what the snapshot of it consists of; to go back to a snapshot,
//! [`Workspace::replace_with`] puts its files in the same place.
//!
//! Everything is copied, never linked: a link would write through into the checkout.

mod abandoned;
mod access;
mod backend;
mod build;
mod copy;
mod credentials;
mod digest;
mod dirs;
mod error;
mod guard;
mod lock;
mod modules;
mod overrides;
mod prepared;
mod providers;
mod snapshot;
mod staging;
#[cfg(test)]
mod terraform_tests;
#[cfg(test)]
mod testing;
mod tree;

pub use abandoned::{Abandoned, errored_state, is_held};
pub use access::{BackendAccess, BackendRole, StateEncryption, backend_access};
pub use backend::{BackendError, BackendPlan, BackendSettings, declared_backend, plan_backend};
pub use build::{VARIABLES_FILE, Workspace, build};
pub use credentials::{
    CredentialsError, CredentialsFor, OwnProfile, SuppliedVariable, own_profiles, provider_credentials,
    supplied_variables,
};
pub use digest::{ModuleDigest, Toolchain, module_digest};
pub use dirs::CacheDirs;
pub use error::WorkspaceError;
pub use guard::{Guard, guard};
pub use lock::Holder;
pub use overrides::{OVERRIDE_FILE, Overrides};
pub use prepared::PreparedModule;
pub use staging::{Prepared, Staging, lock_lacks_platform, prepared};
pub use tree::{Exclusions, Included, Layout, SourceTree};
