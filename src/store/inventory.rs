//! Which objects of a store are states, whoever they belong to.
//!
//! A name that ends in `.tfstate`, or that is a workspace's (`env:/…`), says it; many states have names that say nothing, and
//! then the first bytes do. A bucket may hold anything else, and terabytes of it: listings come in parts, what tfleet itself
//! keeps in masses is passed over without being listed, names that tell of something else are believed, and into no more than
//! a given number of the others is looked. What was not looked into is counted.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::own::{is_own, own_folder};
use super::{Entry, ReadStore, StoreError};
use crate::model::BackendKey;
use crate::tfstate::StateHead;

/// How many objects are read at a time, their beginnings alone.
const CONCURRENT: usize = 16;

/// How many are read whole at a time.
const CONCURRENT_WHOLE: usize = 2;

/// How many bytes of a state are read first: with most states that is all.
const FIRST: usize = 64 * 1024;

/// How many bytes tell whether an object is a state whose name does not say it. Terraform needs a fourth of that.
const PROBE: usize = 1024;

/// The largest state that is read whole only to count its resources.
const LARGEST: u64 = 8 * 1024 * 1024;

/// What is to be found.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The states that are known already: they are counted, not read.
    pub known: &'a BTreeSet<BackendKey>,
    /// Into how many objects is looked whose names say nothing.
    pub probes: usize,
}

/// A state that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateObject {
    /// Its key.
    pub key: BackendKey,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
    /// What it says of itself.
    pub head: StateHead,
}

/// An object that is called a state, and that cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Its key.
    pub key: String,
    /// Why not. It may quote the store.
    pub why: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// How many objects there are beside tfleet's own.
    pub objects: usize,
    /// How many of them are known.
    pub known: usize,
    /// The states that are not, by key.
    pub states: Vec<StateObject>,
    /// What is called a state and is none.
    pub strangers: Vec<Stranger>,
    /// Into how many was looked whose names say nothing.
    pub probed: usize,
    /// Into how many was not: there were too many, or the store refused to show them.
    pub not_probed: usize,
    /// The first of them.
    pub first_not_probed: Option<String>,
}

/// What is at the key of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundHead {
    /// A state, with what it says of itself.
    State(StateHead),
    /// A state of a format that tfleet does not read.
    Version(u64),
    /// Something else, or a state that breaks off.
    NoState,
}

/// What the name of an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    State,
    Nothing,
    Otherwise,
}

/// What an object turned out to be.
enum Look {
    State(Box<StateObject>),
    Stranger(Stranger),
    Nothing,
    /// The store refused to show it.
    Refused(String),
}

/// Lists a store and reads what may be a state.
pub async fn inventory(store: &dyn ReadStore, wanted: Wanted<'_>) -> Result<Inventory, StoreError> {
    let mut found = Inventory::default();
    let mut after = String::new();
    loop {
        let page = store.page(&after).await?;
        let Some(last) = page.entries.last() else { return Ok(found) };
        after = match own_folder(&last.key) {
            // No key has a character behind this one.
            Some(folder) => format!("{folder}{}", char::MAX),
            None => last.key.clone(),
        };
        read_page(store, wanted, page.entries, &mut found).await?;
        if !page.more {
            return Ok(found);
        }
    }
}

/// Reads what of a page may be a state.
async fn read_page(
    store: &dyn ReadStore,
    wanted: Wanted<'_>,
    entries: Vec<Entry>,
    found: &mut Inventory,
) -> Result<(), StoreError> {
    let mut reads = Vec::new();
    for entry in entries.into_iter().filter(|entry| !is_own(&entry.key)) {
        found.objects += 1;
        let key = BackendKey::new(entry.key.as_str());
        if key.as_ref().is_ok_and(|key| wanted.known.contains(key)) {
            found.known += 1;
            continue;
        }
        match (name(&entry), key) {
            (Name::Otherwise, _) => {}
            (Name::State, Ok(key)) => reads.push(look(store, key, entry, true)),
            (Name::State, Err(error)) => found.strangers.push(Stranger { key: entry.key, why: error.to_string() }),
            (Name::Nothing, Ok(key)) if found.probed < wanted.probes => {
                found.probed += 1;
                reads.push(look(store, key, entry, false));
            }
            (Name::Nothing, _) => found.pass_over(entry.key),
        }
    }
    let mut looks = futures_util::stream::iter(reads).buffered(CONCURRENT);
    let mut cut = Vec::new();
    while let Some(look) = looks.try_next().await? {
        match look {
            Look::State(state) if !state.head.whole && state.size <= LARGEST => cut.push(*state),
            look => found.add(look),
        }
    }
    let counts = cut.into_iter().map(|state| count(store, state));
    let mut counts = futures_util::stream::iter(counts).buffered(CONCURRENT_WHOLE);
    while let Some(look) = counts.try_next().await? {
        found.add(look);
    }
    found.states.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(())
}

impl Inventory {
    fn add(&mut self, look: Look) {
        match look {
            Look::State(state) => self.states.push(*state),
            Look::Stranger(stranger) => self.strangers.push(stranger),
            Look::Refused(key) => {
                self.probed -= 1;
                self.pass_over(key);
            }
            Look::Nothing => {}
        }
    }

    fn pass_over(&mut self, key: String) {
        self.not_probed += 1;
        self.first_not_probed.get_or_insert(key);
    }
}

/// Reads the beginning of an object. `named`: its name says that it is a state.
async fn look(store: &dyn ReadStore, key: BackendKey, entry: Entry, named: bool) -> Result<Look, StoreError> {
    let stranger =
        |why: String| if named { Look::Stranger(Stranger { key: key.to_string(), why }) } else { Look::Nothing };
    let mut head = StateHead::default();
    for most in [PROBE, FIRST].into_iter().skip(usize::from(named)) {
        let beginning = match store.get_beginning(key.as_str(), most).await {
            Ok(Some(beginning)) => beginning,
            // It is gone by now.
            Ok(None) => return Ok(Look::Nothing),
            Err(error) if concerns_all(&error) => return Err(error),
            Err(_) if !named => return Ok(Look::Refused(entry.key)),
            Err(error) => return Ok(stranger(error.to_string())),
        };
        head = match StateHead::read(&beginning.bytes) {
            Some(head) if head.is_state() => head,
            // What stands first may be a long list of something else.
            Some(head) if named && !beginning.whole => head,
            Some(_) if beginning.bytes.is_empty() => return Ok(stranger("it is empty: it has no bytes".to_owned())),
            Some(head) if beginning.whole && !head.whole => return Ok(stranger("its JSON breaks off".to_owned())),
            Some(_) => return Ok(stranger("it is JSON, and no state".to_owned())),
            None => return Ok(stranger("it is no JSON object".to_owned())),
        };
        if beginning.whole {
            break;
        }
    }
    if !head.is_state() && entry.size > LARGEST {
        return Ok(stranger(format!("its first {FIRST} bytes do not say that it is one")));
    }
    Ok(Look::State(Box::new(StateObject { key, size: entry.size, modified: entry.modified, head })))
}

/// Reads a state whole, to count its resources.
async fn count(store: &dyn ReadStore, mut state: StateObject) -> Result<Look, StoreError> {
    let head = match store.get(state.key.as_str()).await {
        Ok(Some(object)) => StateHead::read(&object.bytes),
        Ok(None) => return Ok(Look::Nothing),
        Err(error) if concerns_all(&error) => return Err(error),
        // What its beginning said is known all the same.
        Err(_) => Some(state.head.clone()),
    };
    if let Some(head) = head.filter(StateHead::is_state) {
        state.head = head;
        return Ok(Look::State(Box::new(state)));
    }
    Ok(Look::Stranger(Stranger { key: state.key.to_string(), why: "it is no Terraform state".to_owned() }))
}

/// Reads what a state says of itself; `None` if nothing is at the key. All of it is read only where its beginning does not
/// identify it.
pub async fn read_state_head(store: &dyn ReadStore, key: &BackendKey) -> Result<Option<FoundHead>, StoreError> {
    let Some(beginning) = store.get_beginning(key.as_str(), FIRST).await? else { return Ok(None) };
    let mut head = StateHead::read(&beginning.bytes);
    if !beginning.whole && head.as_ref().is_some_and(|head| !head.is_identified()) {
        let Some(object) = store.get(key.as_str()).await? else { return Ok(None) };
        head = StateHead::read(&object.bytes);
    }
    Ok(Some(match head {
        Some(head) if head.version.is_some_and(|version| version != 4) => FoundHead::Version(head.version.unwrap_or(0)),
        Some(head) if head.is_state() => FoundHead::State(head),
        _ => FoundHead::NoState,
    }))
}

/// Whether an error would be that of every other object too.
const fn concerns_all(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NoBucket { .. }
            | StoreError::OtherRegion { .. }
            | StoreError::Credentials { .. }
            | StoreError::Throttled { .. }
            | StoreError::Unreachable { .. }
    )
}

/// Endings of names that tell of something else than a state. One that could be a part of any name (`prod.v2`) is none.
const OTHERWISE: &[&str] = &[
    "7z", "asc", "avro", "backup", "bak", "bin", "bz2", "crt", "css", "csv", "db", "deb", "doc", "docx", "dump", "exe",
    "gif", "go", "gz", "hcl", "htm", "html", "ico", "img", "info", "iso", "jar", "java", "jpeg", "jpg", "js", "lock",
    "log", "md", "md5", "mov", "mp3", "mp4", "orc", "parquet", "pdf", "pem", "png", "pub", "py", "rb", "rpm", "sh",
    "sha256", "sig", "sql", "sqlite", "svg", "tar", "tf", "tflock", "tfplan", "tfvars", "tgz", "tmp", "toml", "ts",
    "tsv", "ttf", "txt", "webp", "whl", "woff", "woff2", "xls", "xlsx", "xml", "xz", "yaml", "yml", "zip", "zst",
];

fn name(entry: &Entry) -> Name {
    let (folders, last) = entry.key.rsplit_once('/').unwrap_or(("", &entry.key));
    if last.is_empty() || folders.split('/').any(|part| part == ".terraform") {
        return Name::Otherwise;
    }
    match last.rsplit_once('.') {
        Some((_, "tfstate")) => Name::State,
        Some((_, ending)) if OTHERWISE.contains(&ending.to_ascii_lowercase().as_str()) => Name::Otherwise,
        _ if entry.key.starts_with("env:/") => Name::State,
        _ if entry.size == 0 => Name::Otherwise,
        _ => Name::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::memory::MemoryStore;
    use super::super::testing::Watched;
    use super::super::{Precondition, StateStore, lock_key, owner_key};
    use super::*;

    fn state(lineage: &str, resources: usize) -> Vec<u8> {
        let resource = json!({"mode": "managed", "type": "t", "name": "n", "instances": [{"attributes": {"id": "1"}}]});
        let state = json!({"version": 4, "terraform_version": "1.5.7", "serial": 3, "lineage": lineage, "outputs": {},
                           "resources": vec![resource; resources], "check_results": null});
        serde_json::to_vec_pretty(&state).unwrap()
    }

    async fn store(objects: &[(&str, Vec<u8>)]) -> Watched<MemoryStore> {
        let store = MemoryStore::default();
        for (key, bytes) in objects {
            store.put(key, bytes.clone().into(), Precondition::Absent).await.unwrap();
        }
        Watched::new(store)
    }

    async fn found(store: &dyn ReadStore, known: &[&str], probes: usize) -> Inventory {
        let known = known.iter().map(|key| BackendKey::new(*key).unwrap()).collect();
        inventory(store, Wanted { known: &known, probes }).await.unwrap()
    }

    fn keys(found: &Inventory) -> Vec<&str> {
        found.states.iter().map(|state| state.key.as_str()).collect()
    }

    #[tokio::test]
    async fn states_are_found_by_name_and_by_content() {
        let lock = br#"{"ID":"1","Operation":"OperationTypeApply","Version":"1.5.7"}"#.to_vec();
        let key = BackendKey::new("a/x.tfstate").unwrap();
        let store = store(&[
            ("a/x.tfstate", state("known", 1)),
            ("a/y.tfstate", state("by-name", 2)),
            ("a/y.tfstate.tflock", lock.clone()),
            ("a/y.tfstate.backup", state("old", 2)),
            ("app/.terraform/terraform.tfstate", state("no", 1)),
            ("env:/prod/app", state("workspace", 0)),
            ("logs/2025-01-01", b"GET / 200".to_vec()),
            ("logs/index.json", b"{\"version\":4}".to_vec()),
            ("prod/network", state("by-content", 1)),
            ("prod/photo.jpg", state("believed", 1)),
            (&owner_key(&key), b"{}".to_vec()),
            (&lock_key(&key), lock),
            ("audit-logs/a/b/c.tfstate", state("own", 1)),
            ("snapshots/files/0", state("own", 1)),
        ])
        .await;
        let found = found(&store, &["a/x.tfstate", "never/there"], 100).await;
        assert_eq!(keys(&found), ["a/y.tfstate", "env:/prod/app", "prod/network"]);
        assert_eq!((found.objects, found.known, found.probed, found.not_probed), (10, 1, 3, 0));
        assert_eq!(found.states[0].head.resources, Some(2));
        assert!(found.states[1].head.is_empty() && !found.states[2].head.is_empty());
        assert!(found.strangers.is_empty(), "{:?}", found.strangers);
        let (gets, lists, writes) = store.counts();
        assert_eq!((gets, writes), (5, 0), "one for each that may be one");
        assert!(lists > 2);
    }

    #[tokio::test]
    async fn what_is_called_a_state_and_is_none_is_told() {
        let cut = state("cut", 3);
        let store = store(&[
            ("a.tfstate", Vec::new()),
            ("b.tfstate", b"\x00encrypted".to_vec()),
            ("c.tfstate", b"{\"a\":1}".to_vec()),
            ("d.tfstate", cut[..40].to_vec()),
            ("e.tfstate", br#"{"version":3,"serial":9,"lineage":"l","modules":[]}"#.to_vec()),
        ])
        .await;
        let found = found(&store, &[], 0).await;
        let strangers: Vec<String> = found.strangers.iter().map(|one| format!("{} {}", one.key, one.why)).collect();
        assert_eq!(
            strangers,
            [
                "a.tfstate it is empty: it has no bytes",
                "b.tfstate it is no JSON object",
                "c.tfstate it is JSON, and no state",
                "d.tfstate its JSON breaks off"
            ]
        );
        assert_eq!(keys(&found), ["e.tfstate"]);
        assert!(!found.states[0].head.is_empty(), "nobody knows what is in it");
    }

    #[tokio::test]
    async fn no_more_is_read_than_was_allowed_and_what_is_not_is_counted() {
        let store = store(&[
            ("a/one", state("1", 1)),
            ("a/three", state("3", 1)),
            ("a/two", state("2", 1)),
            ("b/x.tfstate", state("x", 1)),
        ])
        .await;
        let found = found(&store, &[], 1).await;
        assert_eq!(keys(&found), ["a/one", "b/x.tfstate"]);
        assert_eq!((found.probed, found.not_probed, found.first_not_probed.as_deref()), (1, 2, Some("a/three")));
    }

    #[tokio::test]
    async fn a_large_state_is_read_whole_only_to_count() {
        let large = state("large", 1000);
        assert!(large.len() > FIRST);
        let mut late = br#"{"outputs": {"a": ""#.to_vec();
        late.extend(vec![b'x'; FIRST]);
        late.extend(br#""}, "version": 4, "serial": 7, "lineage": "late", "resources": []}"#);
        let mut endless = br#"{"version": 4, "serial": 1, "lineage": "endless", "resources": [], "x": ""#.to_vec();
        endless.resize(usize::try_from(LARGEST).unwrap() + 1, b'x');
        let store = store(&[("a.tfstate", large), ("b.tfstate", late), ("c.tfstate", endless)]).await;
        let found = found(&store, &[], 0).await;
        let counts: Vec<_> = found.states.iter().map(|one| (one.head.resources, one.head.whole)).collect();
        assert_eq!(counts, [(Some(1000), true), (Some(0), true), (Some(0), false)]);
        assert!(found.states[1].head.is_empty() && !found.states[2].head.is_empty(), "what was not seen may be there");
        assert_eq!(store.counts().0, 5);
        for (key, lineage, gets) in [("a.tfstate", "large", 1), ("b.tfstate", "late", 2), ("c.tfstate", "endless", 1)] {
            let head = read_state_head(&store, &BackendKey::new(key).unwrap()).await.unwrap();
            let Some(FoundHead::State(head)) = head else { panic!("{key}") };
            assert_eq!((head.lineage.as_deref(), store.counts().0), (Some(lineage), gets), "{key}");
        }
    }

    #[tokio::test]
    async fn what_is_at_a_key_is_a_state_or_not() {
        let store =
            store(&[("no", b"x".to_vec()), ("old", br#"{"version":3,"serial":1,"lineage":"l"}"#.to_vec())]).await;
        let head = async |key: &str| read_state_head(&store, &BackendKey::new(key).unwrap()).await.unwrap();
        assert_eq!(head("nothing").await, None);
        assert_eq!(head("no").await, Some(FoundHead::NoState));
        assert_eq!(head("old").await, Some(FoundHead::Version(3)));
        store.switch(true);
        assert!(read_state_head(&store, &BackendKey::new("no").unwrap()).await.is_err());
    }
}
