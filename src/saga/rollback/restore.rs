//! `--rollback state`: the state from before the apply is put back, and the infrastructure stays.
//!
//! What the failed apply created goes out of Terraform's sight by this. So the state that is given up is kept, and each
//! resource that the restored one does not know is named.

use serde_json::json;

use super::{Tried, Undo};
use crate::event::Failure;
use crate::files;
use crate::saga::Saga;
use crate::store::keep_abandoned;
use crate::tfstate::{Comparison, StateFile, with_serial};

/// The state that is pushed, in the workspace.
const RESTORED: &str = "restored.tfstate";

impl Saga<'_> {
    pub(super) async fn restore_state(&mut self, sound: &StateFile) -> Tried {
        let Some(before) = self.before.clone() else {
            return Tried::Left("there was no state before this apply".to_owned());
        };
        let (bytes, abandoned) = match self.bytes_of_both(sound).await {
            Ok(both) => both,
            Err(why) => return Tried::Left(why),
        };
        let restored = match with_serial(&bytes, sound.serial + 1) {
            Ok(restored) => restored,
            Err(error) => return Tried::Left(format!("the backup is {error}")),
        };
        let path = match self.workspace() {
            Ok(workspace) => workspace.dir.join(RESTORED),
            Err(ended) => return Tried::Left(ended.one_line()),
        };
        if let Err(error) = files::write_private(&path, &restored) {
            return Tried::Left(format!("cannot write {path}: {error}"));
        }
        if let Some(lock) = &self.lock
            && let Err(error) = lock.confirm().await
        {
            return Tried::Left(format!("tfleet's lock is not certain any more: {error}"));
        }
        if let Err(why) = self.push(&path).await {
            return Tried::Broken(Failure::new("the state from before the apply was not put back").because(why));
        }
        match self.read_back().await {
            Ok(Some(now))
                if now.lineage == before.lineage && now.serial > sound.serial && now.objects == before.objects =>
            {
                Tried::Done(told(sound, &now, &abandoned))
            }
            Ok(_) => Tried::Broken(Failure::new("the store does not show the state that was put back")),
            Err(why) => Tried::Broken(Failure::new(why.to_string())),
        }
    }

    /// The bytes of the state before, and where the present one is kept from now on.
    async fn bytes_of_both(&self, sound: &StateFile) -> Result<(Vec<u8>, String), String> {
        let unread = |what: &str, error: &dyn std::fmt::Display| format!("{what} cannot be read: {error}");
        let backup = self.backup_key.as_ref().ok_or("there is no backup of the state before")?;
        let before = self.store.get(backup).await.map_err(|error| unread("the backup", &error))?;
        let before = before.ok_or("the backup is gone")?;
        let key = &self.deployment.state.key;
        let present = self.store.get(key.as_str()).await.map_err(|error| unread("the state", &error))?;
        let present = present.ok_or("the state has vanished from the store")?;
        if StateFile::parse(&present.bytes).ok().as_ref() != Some(sound) {
            return Err("the state was written by somebody else meanwhile".to_owned());
        }
        let kept = keep_abandoned(&*self.store, &present, key, self.ctx.run_id, self.started).await;
        Ok((before.bytes, kept.map_err(|error| format!("the present state cannot be kept aside: {error}"))?))
    }
}

/// What a person must know of it.
fn told(given_up: &StateFile, now: &StateFile, abandoned: &str) -> Undo {
    let comparison = Comparison::of(Some(given_up), now);
    let mut next = vec![format!("the state that was given up is kept in {abandoned}")];
    for lost in &comparison.forgotten {
        let id = lost.id.as_deref().map(|id| format!(" (id {id})")).unwrap_or_default();
        let import =
            lost.import.as_deref().map(|block| format!(" (unverified):\n{}", block.trim_end())).unwrap_or_default();
        next.push(format!(
            "{}{id} exists and is in no state any more: import it or remove it by hand{import}",
            lost.address
        ));
    }
    for gone in &comparison.regained {
        let id = gone.id.as_deref().map(|id| format!(" (id {id})")).unwrap_or_default();
        next.push(format!("{}{id} is in the state again, and may not exist any more", gone.address));
    }
    for (listed, other) in &comparison.readdressed {
        next.push(format!("{} is in the state as {other} again", listed.address));
    }
    next.push(if comparison.forgotten.is_empty() {
        "mend the cause and run `tfleet apply` again".to_owned()
    } else {
        "only then mend the cause and run `tfleet apply` again: it would create a second time what the state does not know"
            .to_owned()
    });
    Undo {
        to: json!({"lineage": now.lineage, "serial": now.serial, "abandoned": abandoned, "forgotten": comparison.forgotten}),
        text: format!(
            "the state from before the apply was put back (serial {}); the infrastructure stays as the apply left it",
            now.serial
        ),
        next,
        leaves_unknown: !comparison.forgotten.is_empty(),
    }
}
