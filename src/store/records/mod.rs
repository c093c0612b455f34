//! Looking at audit records: which there are, by their names alone, and what stands in one.

mod name;

use std::collections::BTreeSet;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::audit::{AUDIT_PREFIX, key_hash};
use super::{ReadStore, StoreError};
use crate::event::Failure;
use crate::model::{BackendKey, Identity, RunId};

pub use name::{AuditObject, RecordName};

/// Which records. Values of one kind are alternatives, different kinds must all fit, and what is empty takes all.
#[derive(Debug, Clone, Default)]
pub struct RecordFilter {
    /// Names of accounts.
    pub accounts: BTreeSet<String>,
    /// Projects.
    pub projects: BTreeSet<String>,
    /// Regions.
    pub regions: BTreeSet<String>,
    /// Words of what was done.
    pub actions: BTreeSet<String>,
    /// Backend keys.
    pub keys: BTreeSet<BackendKey>,
    /// The run.
    pub run: Option<RunId>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Not after this moment.
    pub until: Option<Timestamp>,
}

/// The records of a store, by their names.
#[derive(Debug, Default)]
pub struct Records {
    /// Those that fit.
    pub found: Vec<RecordName>,
    /// What lies there and is no record.
    pub foreign: Vec<String>,
    /// What there is of each kind of value, whether it fits or not: a value that nothing has may be a slip of the pen.
    pub seen: Seen,
}

/// What there is of each kind of value.
#[derive(Debug, Default)]
pub struct Seen {
    /// Names of accounts.
    pub accounts: BTreeSet<String>,
    /// Projects.
    pub projects: BTreeSet<String>,
    /// Regions.
    pub regions: BTreeSet<String>,
    /// Words of what was done.
    pub actions: BTreeSet<String>,
    /// Hashes of keys.
    pub key_hashes: BTreeSet<String>,
}

impl RecordFilter {
    fn takes(&self, name: &RecordName, hashes: &BTreeSet<String>) -> bool {
        let fits = |wanted: &BTreeSet<String>, value: &str| wanted.is_empty() || wanted.contains(value);
        fits(&self.accounts, name.account_name.as_str())
            && fits(&self.projects, name.project.as_str())
            && fits(&self.regions, name.region.as_str())
            && fits(&self.actions, &name.action)
            && fits(hashes, &name.key_hash)
            && self.run.is_none_or(|run| run == name.run)
            && self.since.is_none_or(|since| name.time >= since)
            && self.until.is_none_or(|until| name.time <= until)
    }
}

/// What stands for each of these keys in names.
#[must_use]
pub fn key_hashes(keys: &BTreeSet<BackendKey>) -> BTreeSet<String> {
    keys.iter().map(key_hash).collect()
}

/// Lists the records that fit. Of accounts and projects that are named, only their own folders are listed.
pub async fn find_records(store: &dyn ReadStore, filter: &RecordFilter) -> Result<Records, StoreError> {
    let hashes = key_hashes(&filter.keys);
    let mut records = Records::default();
    for prefix in prefixes(store, filter, &mut records.seen).await? {
        for entry in store.list(&prefix).await? {
            match AuditObject::of(&entry.key) {
                AuditObject::Output => {}
                AuditObject::Foreign => records.foreign.push(entry.key),
                AuditObject::Record(name) => {
                    records.seen.take(&name);
                    if filter.takes(&name, &hashes) {
                        records.found.push(*name);
                    }
                }
            }
        }
    }
    Ok(records)
}

/// What has to be listed.
async fn prefixes(store: &dyn ReadStore, filter: &RecordFilter, seen: &mut Seen) -> Result<Vec<String>, StoreError> {
    if filter.accounts.is_empty() && filter.projects.is_empty() {
        return Ok(vec![AUDIT_PREFIX.to_owned()]);
    }
    let mut prefixes = Vec::new();
    for account in store.folders(AUDIT_PREFIX).await? {
        let name = folder_name(&account);
        let wanted = filter.accounts.is_empty() || filter.accounts.contains(name);
        seen.accounts.insert(name.to_owned());
        if !wanted {
            continue;
        }
        if filter.projects.is_empty() {
            prefixes.push(account);
            continue;
        }
        for project in store.folders(&account).await? {
            let name = folder_name(&project).to_owned();
            if filter.projects.contains(&name) {
                prefixes.push(project);
            }
            seen.projects.insert(name);
        }
    }
    Ok(prefixes)
}

/// `c` of `a/b/c/`.
fn folder_name(folder: &str) -> &str {
    let folder = folder.trim_end_matches('/');
    folder.rsplit_once('/').map_or(folder, |(_, name)| name)
}

impl Seen {
    fn take(&mut self, name: &RecordName) {
        fn insert(set: &mut BTreeSet<String>, value: &str) {
            if !set.contains(value) {
                set.insert(value.to_owned());
            }
        }
        insert(&mut self.accounts, name.account_name.as_str());
        insert(&mut self.projects, name.project.as_str());
        insert(&mut self.regions, name.region.as_str());
        insert(&mut self.actions, &name.action);
        insert(&mut self.key_hashes, &name.key_hash);
    }

    /// Adds what another store has.
    pub fn extend(&mut self, other: Self) {
        self.accounts.extend(other.accounts);
        self.projects.extend(other.projects);
        self.regions.extend(other.regions);
        self.actions.extend(other.actions);
        self.key_hashes.extend(other.key_hashes);
    }
}

/// Why a record cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store failed.
    #[error("cannot read it")]
    Store(#[from] StoreError),
    /// It went between the listing and now, or never was.
    #[error("there is none")]
    Missing,
    /// It is not what tfleet has written.
    #[error("it is no audit record")]
    Malformed(#[from] serde_json::Error),
    /// Its output cannot be unpacked.
    #[error("its output cannot be unpacked")]
    Packed(#[from] io::Error),
}

impl RecordError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(source) => source.hint(),
            Self::Missing => Some("see which there are: tfleet audit list".to_owned()),
            Self::Malformed(_) | Self::Packed(_) => Some("look at the object itself, and at its versions".to_owned()),
        }
    }
}

/// What a list shows of a record. The output, which may be long, is not kept.
#[derive(Debug, Clone, Deserialize)]
pub struct Headline {
    outcome: Option<String>,
    success: Option<bool>,
    caller: Option<String>,
    who: Option<String>,
    local_user: Option<String>,
    identity: Option<Identity>,
    /// The backend key.
    #[serde(default)]
    pub backend_key: Option<String>,
    /// Why it did not succeed.
    #[serde(default)]
    pub error: Option<Failure>,
}

impl Headline {
    /// How it ended; what is done without Terraform knows success and failure alone.
    #[must_use]
    pub fn outcome(&self) -> &str {
        self.outcome.as_deref().unwrap_or(match self.success {
            Some(true) => "succeeded",
            Some(false) => "failed",
            None => "unknown",
        })
    }

    /// Who did it: the caller, else the user of the machine; and the GitHub actor, where there is one.
    #[must_use]
    pub fn who(&self) -> Vec<String> {
        let identity = self.identity.clone().unwrap_or_default();
        let first = [&self.caller, &identity.arn, &self.who, &identity.local_user, &self.local_user];
        let first = first.into_iter().flatten().next().cloned();
        first.into_iter().chain(identity.github.map(|github| format!("github:{}", github.actor))).collect()
    }
}

/// Reads what a list shows of a record.
pub async fn read_headline(store: &dyn ReadStore, key: &str) -> Result<Headline, RecordError> {
    let object = store.get(key).await?.ok_or(RecordError::Missing)?;
    Ok(serde_json::from_slice(&object.bytes)?)
}

/// Reads a whole record.
pub async fn read_audit(store: &dyn ReadStore, key: &str) -> Result<Value, RecordError> {
    let object = store.get(key).await?.ok_or(RecordError::Missing)?;
    let record: Value = serde_json::from_slice(&object.bytes)?;
    // Whatever else it is, a record says what was done.
    serde_json::from_value::<Headline>(record.clone())?;
    Ok(record)
}

/// The whole output that a record speaks of: in it, or beside it.
pub async fn read_output(store: &dyn ReadStore, record: &Value) -> Result<Vec<u8>, RecordError> {
    let Some(key) = record["output_key"].as_str() else {
        return Ok(record["output"].as_str().unwrap_or_default().as_bytes().to_vec());
    };
    // Nothing but outputs is fetched by what a record says.
    if AuditObject::of(key) != AuditObject::Output {
        return Err(RecordError::Missing);
    }
    let object = store.get(key).await?.ok_or(RecordError::Missing)?;
    let mut text = Vec::new();
    GzDecoder::new(object.bytes.as_slice()).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AccountName, Project, Region};
    use crate::store::memory::MemoryStore;
    use crate::store::testing::Watched;
    use crate::store::{AuditName, Precondition, StateStore};

    async fn put(store: &dyn StateStore, account: &str, project: &str, at: i64) -> String {
        let (account_name, project) = (AccountName::new(account).unwrap(), Project::new(project).unwrap());
        let (region, key) = (Region::new("us-east-1").unwrap(), BackendKey::new("a/terraform.tfstate").unwrap());
        let time = Timestamp::from_second(at).unwrap();
        let name = AuditName {
            account_name: &account_name,
            project: &project,
            action: "apply",
            time,
            region: &region,
            key: &key,
            run: RunId::new(),
        };
        let record = json!({"outcome": "succeeded", "caller": "arn:aws:iam::1:user/a"});
        store.put(&name.record_key(), record.to_string().into_bytes().into(), Precondition::Always).await.unwrap();
        name.record_key()
    }

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[tokio::test]
    async fn names_alone_say_which_fit() {
        let store = MemoryStore::default();
        let mut keys = Vec::new();
        for (account, project, at) in [("prod", "app", 10), ("prod", "web", 20), ("dev", "app", 30)] {
            keys.push(put(&store, account, project, at).await);
        }
        store.put("audit-logs/prod/notes.txt", b"x".to_vec().into(), Precondition::Always).await.unwrap();
        let find = async |filter: RecordFilter| {
            let found = find_records(&store, &filter).await.unwrap();
            found.found.into_iter().map(|name| name.key).collect::<BTreeSet<_>>()
        };
        let of = |wanted: &[usize]| wanted.iter().map(|at| keys[*at].clone()).collect::<BTreeSet<_>>();
        assert_eq!(find(RecordFilter::default()).await, of(&[0, 1, 2]));
        assert_eq!(find(RecordFilter { accounts: set(&["prod"]), ..RecordFilter::default() }).await, of(&[0, 1]));
        assert_eq!(find(RecordFilter { projects: set(&["app"]), ..RecordFilter::default() }).await, of(&[0, 2]));
        let both = RecordFilter { accounts: set(&["prod"]), projects: set(&["app"]), ..RecordFilter::default() };
        assert_eq!(find(both).await, of(&[0]));
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let between = RecordFilter { since: at(20), until: at(29), ..RecordFilter::default() };
        assert_eq!(find(between).await, of(&[1]));
        let key = |key: &str| BTreeSet::from([BackendKey::new(key).unwrap()]);
        assert_eq!(find(RecordFilter { keys: key("a/terraform.tfstate"), ..RecordFilter::default() }).await.len(), 3);
        assert_eq!(find(RecordFilter { keys: key("b/terraform.tfstate"), ..RecordFilter::default() }).await.len(), 0);
        assert_eq!(find(RecordFilter { actions: set(&["plan"]), ..RecordFilter::default() }).await.len(), 0);
        let all = find_records(&store, &RecordFilter::default()).await.unwrap();
        assert_eq!(all.foreign, ["audit-logs/prod/notes.txt"]);
        assert_eq!((all.seen.accounts, all.seen.actions), (set(&["prod", "dev"]), set(&["apply"])));
    }

    /// Tens of thousands of records are listed, and none of them is read.
    #[tokio::test]
    async fn listing_reads_no_record() {
        let store = Watched::new(MemoryStore::default());
        for at in 0..20_000 {
            put(&store, "prod", if at % 2 == 0 { "app" } else { "web" }, at).await;
        }
        store.counts();
        let begun = std::time::Instant::now();
        let found = find_records(&store, &RecordFilter::default()).await.unwrap().found;
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
        assert_eq!(found.len(), 20_000);
        let one = RecordFilter { projects: set(&["web"]), ..RecordFilter::default() };
        assert_eq!(find_records(&store, &one).await.unwrap().found.len(), 10_000);
        assert_eq!(store.gets.load(std::sync::atomic::Ordering::SeqCst), 0);
    }

    #[test]
    fn a_headline_is_told_from_every_kind_of_record() {
        let of = |record: Value| {
            let headline: Headline = serde_json::from_value(record).unwrap();
            (headline.outcome().to_owned(), headline.who().join(", "))
        };
        let own = |outcome: &str, who: &str| (outcome.to_owned(), who.to_owned());
        let identity = json!({"arn": "arn:a", "github": {"actor": "alice"}});
        assert_eq!(
            of(json!({"outcome": "rolled_back", "caller": "arn:a", "local_user": "arn:a", "identity": identity})),
            own("rolled_back", "arn:a, github:alice")
        );
        assert_eq!(of(json!({"success": false, "caller": null, "local_user": "ann"})), own("failed", "ann"));
        assert_eq!(of(json!({"success": true, "who": "bob", "output": "long"})), own("succeeded", "bob"));
        assert_eq!(of(json!({})), own("unknown", ""));
        assert!(serde_json::from_value::<Headline>(json!(["x"])).is_err());
    }

    #[tokio::test]
    async fn the_output_stands_in_the_record_or_beside_it() {
        let store = MemoryStore::default();
        let key = put(&store, "prod", "app", 1).await.replace(".json", ".output.gz");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, b"long").unwrap();
        store.put(&key, gzip.finish().unwrap().into(), Precondition::Always).await.unwrap();
        store.put("s3/secret", b"state".to_vec().into(), Precondition::Always).await.unwrap();
        assert_eq!(read_output(&store, &json!({"output": "short", "output_key": null})).await.unwrap(), b"short");
        assert_eq!(read_output(&store, &json!({"output": "", "output_key": key})).await.unwrap(), b"long");
        assert!(matches!(read_output(&store, &json!({"output_key": "s3/secret"})).await, Err(RecordError::Missing)));
    }
}
