//! The states of the selected deployments: what dead runs left in them, where they are now, and whose they are.

use std::collections::HashMap;

use camino::Utf8Path;

use super::contents::Contents;
use super::opened::Opened;
use super::ownership::{self, Ownership};
use super::stores::{self, Tables};
use super::{Request, migrate, recovery};
use crate::event::Failure;
use crate::model::{Action, StateAddress};

/// That.
pub(super) struct Settled {
    /// What a person should know.
    pub notices: Vec<String>,
    /// What of that, and before it, has changed something.
    pub done: Vec<String>,
    /// The states on which nothing is to be run, and why.
    pub blocked: HashMap<StateAddress, Failure>,
    /// Where Terraform locks them, as far as it does so in tables.
    pub tables: Tables,
    pub owners: Ownership,
}

impl Settled {
    /// Puts them in order as far as that was asked for, and looks whose they are.
    pub(super) async fn settle(
        request: &Request<'_>,
        contents: &Contents,
        opened: &Opened,
        cache: &Utf8Path,
    ) -> Result<Self, Failure> {
        let (stores, credentials, run) = (&opened.stores, opened.credentials.as_ref(), opened.run);
        // Before anything looks at the states: one of them may be saved only now.
        let attended = Box::pin(recovery::attend(request, cache, (stores, &opened.ways), credentials, run)).await;
        let mut notices = attended.notices;
        let moved = migrate::migrate(request, stores, credentials, run).await?;
        notices.extend(moved.iter().cloned());
        let done = [request.done, &attended.done, &moved].concat();
        let tables = stores::open_tables(request, &contents.backend, &opened.ways, credentials);
        let mut owners = ownership::check(request, stores).await?;
        notices.append(&mut owners.notices);
        if request.action != Action::Drift {
            notices.extend(stores::flush(&opened.outbox, stores).await);
        }
        Ok(Self { notices, done, blocked: attended.blocked, tables, owners })
    }
}
