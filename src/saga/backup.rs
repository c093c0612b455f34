//! The state, kept aside before it is changed.

use super::state::store_failure;
use super::{Ended, Saga};
use crate::journal::Fact;
use crate::store::backup;

impl Saga<'_> {
    /// Copies the state aside before it is changed.
    pub(super) async fn back_up(&mut self) -> Result<(), Ended> {
        let Some(object) = self.before_object.take() else { return Ok(()) };
        let (key, run) = (&self.deployment.state.key, self.ctx.run_id);
        let copied = backup(&*self.store, &object, key, run, jiff::Timestamp::now()).await;
        match copied {
            Ok(key) => {
                self.scribe.learn(Fact::Backup { key: key.clone() });
                self.backup_key = Some(key);
            }
            Err(error) if !self.ctx.settings.backup_required => {
                self.notice(&format!("no backup of the state, going on as `backup.required: false` says: {error}"));
            }
            Err(error) => {
                let mut ended = store_failure("the state could not be backed up, so nothing was changed", &error);
                if let Some(failure) = &mut ended.failure {
                    failure.next.push("or set `backup.required: false` to go on without".to_owned());
                }
                return Err(ended);
            }
        }
        Ok(())
    }
}
