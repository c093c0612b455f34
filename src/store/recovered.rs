//! A state that Terraform could not write itself (`errored.tfstate`), brought to safety.

use jiff::Timestamp;

use super::backup::keep_aside;
use super::{StateStore, StoreError};
use crate::model::{BackendKey, RunId};

/// Keeps a rescued state at `recovered/{key}.{YYYYMMDD-HHMMSS}-{run}.tfstate`. Returns that key.
pub async fn keep_recovered(
    store: &dyn StateStore,
    state: Vec<u8>,
    key: &BackendKey,
    run: RunId,
    now: Timestamp,
) -> Result<String, StoreError> {
    keep_aside(store, state, ("recovered", "tfstate"), key, run, now).await
}

#[cfg(test)]
mod tests {
    use super::super::ReadStore;
    use super::super::memory::MemoryStore;
    use super::*;

    #[tokio::test]
    async fn a_rescued_state_lies_beside_its_key() {
        let store = MemoryStore::default();
        let key = BackendKey::new("s3/a/terraform.tfstate").unwrap();
        let (run, now) = (RunId::new(), Timestamp::UNIX_EPOCH);
        let place = keep_recovered(&store, b"{}".to_vec(), &key, run, now).await.unwrap();
        assert_eq!(place, format!("recovered/s3/a/terraform.tfstate.19700101-000000-{run}.tfstate"));
        assert_eq!(store.get(&place).await.unwrap().unwrap().bytes, b"{}");
    }
}
