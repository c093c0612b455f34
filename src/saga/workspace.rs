//! Gives back the workspace.

use super::{Ended, Saga};
use crate::event::Outcome;

impl Saga<'_> {
    /// The workspace goes, unless it holds the only copy of something.
    pub(super) fn give_back_workspace(&mut self, ended: &mut Ended) {
        let Some(workspace) = self.workspace.take() else { return };
        let top = workspace.top.clone();
        let keep = ended.outcome == Outcome::NeedsOperator || workspace.errored_state().is_some();
        if keep {
            if let Some(failure) = &mut ended.failure {
                failure.next.push(format!("the workspace is left as it is: {top}"));
            }
        } else if let Err(error) = workspace.remove() {
            tracing::warn!(%top, %error, "the workspace could not be removed");
        }
    }
}
