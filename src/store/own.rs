//! Which objects of a store tfleet itself has put there.

use uuid::Uuid;

use super::audit::AUDIT_PREFIX;
use super::owners::OWNERS_PREFIX;
use super::plans::PLANS_PREFIX;

/// Where the contents of snapshots are.
const CONTENTS_PREFIX: &str = "snapshots/files/";

/// The prefixes of which everything is tfleet's, and which may hold more objects than all states together.
const FOLDERS: [&str; 2] = [AUDIT_PREFIX, CONTENTS_PREFIX];

/// What all other objects of tfleet's begin and end with. Somebody may keep a state at `backups/terraform.tfstate`: only
/// both together tell.
const FORMS: [(&str, &[&str]); 7] = [
    ("locks/", &[".json"]),
    (OWNERS_PREFIX, &[".json"]),
    ("backups/", &[".backup", ".abandoned"]),
    ("snapshots/", &[".json"]),
    ("approvals/", &[".json"]),
    ("recovered/", &[".tfstate"]),
    (PLANS_PREFIX, &[""]),
];

/// The folder of tfleet's that an object is in, if it is one that can be passed over as a whole.
pub(super) fn own_folder(key: &str) -> Option<&'static str> {
    FOLDERS.into_iter().find(|folder| key.starts_with(folder))
}

/// Whether an object is tfleet's own: a lock, a backup, a record, a kept plan, a snapshot, an approval.
pub(super) fn is_own(key: &str) -> bool {
    own_folder(key).is_some()
        || FORMS.iter().any(|(prefix, suffixes)| {
            key.strip_prefix(prefix).is_some_and(|rest| {
                suffixes.iter().any(|suffix| rest.strip_suffix(suffix).is_some_and(|stem| has_run(prefix, stem)))
            })
        })
}

/// Whether what stands between prefix and suffix names a run, where all that tfleet writes there does: at the end of what
/// is kept aside, at the beginning of a kept plan.
fn has_run(prefix: &str, stem: &str) -> bool {
    const RUN: usize = 36;
    let run = match prefix {
        "backups/" | "recovered/" => stem.len().checked_sub(RUN).and_then(|at| stem.get(at..)),
        PLANS_PREFIX | "approvals/" => stem.get(..RUN),
        _ => return true,
    };
    run.is_some_and(|run| Uuid::parse_str(run).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::super::{
        ReadStore, keep_abandoned, keep_recovered, lock_key, owner_key, plan_record_key, snapshot_index_key,
    };
    use super::*;
    use crate::model::{BackendKey, RunId};
    use crate::store::{Object, backup};

    #[tokio::test]
    async fn what_tfleet_writes_is_its_own() {
        let store = MemoryStore::default();
        let (run, now) = (RunId::new(), jiff::Timestamp::now());
        let state = Object { bytes: b"{}".to_vec(), etag: String::new(), version: None };
        for key in ["s3/a/terraform.tfstate", "env:/prod/app", "backups/x"] {
            let key = BackendKey::new(key).unwrap();
            backup(&store, &state, &key, run, now).await.unwrap();
            keep_abandoned(&store, &state, &key, run, now).await.unwrap();
            keep_recovered(&store, b"{}".to_vec(), &key, run, now).await.unwrap();
            for own in [lock_key(&key), owner_key(&key), snapshot_index_key(&key), plan_record_key(run, key.stem())] {
                assert!(is_own(&own), "{own}");
            }
        }
        let kept = store.list("").await.unwrap();
        assert_eq!(kept.len(), 9);
        assert!(kept.iter().all(|entry| is_own(&entry.key)), "{kept:?}");
        let digest = "0".repeat(64);
        for own in [
            format!("plans/{run}.json"),
            format!("plans/{run}/files/{digest}"),
            format!("snapshots/files/{digest}"),
            format!("approvals/{run}/a/b/{}.json", Uuid::nil()),
            format!("audit-logs/dev/shop/apply-20250131-235959-us-east-1-0123456789ab-{run}.json"),
            "audit-logs/anything/at/all".to_owned(),
        ] {
            assert!(is_own(&own), "{own}");
        }
    }

    #[test]
    fn what_only_lies_in_a_folder_of_such_a_name_is_not() {
        for other in [
            "backups/terraform.tfstate",
            "backups/prod/x.backup",
            "recovered/terraform.tfstate",
            "plans/prod/terraform.tfstate",
            "approvals/app/terraform.tfstate",
            "snapshots/terraform.tfstate",
            "locks/terraform.tfstate",
            "owners",
            "audit-logs",
            "",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}
