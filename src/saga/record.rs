//! To whom a key belongs: written down once it was applied, forgotten once nothing is left.

use jiff::Timestamp;

use super::{Ended, Saga};
use crate::event::Failure;
use crate::model::Action;
use crate::store::{Claim, Record, forget, record as record_owner};
use crate::tfstate::StateFile;

impl Saga<'_> {
    /// Writes down to whom the key belongs, or forgets it.
    pub(super) async fn own(&self) -> Result<(), Ended> {
        let known = self.ctx.owners.get(&self.deployment.state);
        let written = match (self.task.action(), known) {
            (Action::Destroy, Some(known)) => match self.state_now().await {
                Some(state) if state.objects.is_empty() => forget(&*self.store, known).await.map(|()| false),
                _ => Ok(false),
            },
            (Action::Apply, _) => {
                let lineage = self.after.as_ref().or(self.before.as_ref()).map(|state| state.lineage.clone());
                let source = self.ctx.settings.in_repository(&self.deployment.file);
                let claim = Claim { key: self.deployment.state.key.clone(), source };
                let record = Record::new(&claim, &self.ctx.repository, lineage, self.ctx.run_id, Timestamp::now());
                record_owner(&*self.store, &record, known).await
            }
            _ => Ok(false),
        };
        let what = "its ownership record is not right";
        written.map(|_| ()).map_err(|error| Ended::failed(Failure::caused_by(what, &error)))
    }

    /// The state as the store has it, if it can be read.
    pub(super) async fn state_now(&self) -> Option<StateFile> {
        let object = self.store.get(self.deployment.state.key.as_str()).await.ok()??;
        StateFile::parse(&object.bytes).ok()
    }
}
