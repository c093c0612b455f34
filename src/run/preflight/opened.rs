//! Who runs it, and the stores that are open to them.

use super::Request;
use super::contents::Contents;
use super::credentials::{self, identity_of, local_user, open_credentials};
use super::stores::{self, Ways};
use crate::event::Failure;
use crate::model::{Action, Identity, RunId};
use crate::run::gate::{self, Attempt, Decisions};
use crate::saga::Credentials;
use crate::store::{LockOwner, LongestLease, Outbox, Stores};
use crate::workspace::CacheDirs;

/// That.
pub(super) struct Opened {
    /// The run, as records and locks name it.
    pub run: RunId,
    /// `None` where nothing of this run needs any.
    pub credentials: Option<Credentials>,
    pub identity: Identity,
    /// How the bucket of each state is reached.
    pub ways: Ways,
    pub stores: Stores,
    pub outbox: Outbox,
}

impl Opened {
    /// Opens them.
    pub(super) async fn open(request: &Request<'_>, contents: &Contents, cache: &CacheDirs) -> Result<Self, Failure> {
        let run = RunId::new();
        let credentials =
            if contents.need_aws(request) { Some(open_credentials(request.settings).await?) } else { None };
        let ways = stores::ways(request)?;
        let stores = stores::open_stores(request, &ways, credentials.as_ref()).await?;
        let identity = identity_of(credentials.as_ref().map(|credentials| &credentials.caller));
        Ok(Self { run, credentials, identity, ways, stores, outbox: Outbox::new(cache.root().join("outbox")) })
    }

    /// Whether whoever runs it may, and whether what has to be approved is. A refusal leaves its record.
    pub(super) async fn pass_gate(&self, request: &Request<'_>) -> Result<Decisions, Failure> {
        let refusal = match gate::pass(request, &self.identity, &self.stores, request.exact).await {
            Ok(decisions) => return Ok(decisions),
            Err(refusal) => refusal,
        };
        let attempt = Attempt {
            run: self.run,
            action: request.action,
            identity: &self.identity,
            stores: &self.stores,
            outbox: &self.outbox,
        };
        Err(refusal.recorded(&attempt, request.deployments.iter().map(|one| &**one)).await)
    }

    /// Who holds the locks of the run.
    pub(super) async fn lock_owner(&self, action: Action) -> LockOwner {
        let credentials = self.credentials.as_ref();
        let who = credentials.map_or_else(local_user, |credentials| credentials.caller.arn.clone());
        let handed_out = credentials.map(|credentials| credentials.server.handed_out()).unwrap_or_default();
        let longest_lease = LongestLease::new(credentials::longest_lease(credentials, &self.ways).await, handed_out);
        LockOwner { run: self.run, who, action: action.as_str(), longest_lease }
    }
}
