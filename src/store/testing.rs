//! What the tests of this module share: an S3 server, and wrappers that count requests or let them fail.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use futures_util::StreamExt;

use super::memory::MemoryStore;
use super::{
    Beginning, Body, Encryption, Entry, LockTable, Object, ObjectVersion, Page, Precondition, ReadStore, S3Store,
    StateStore, StoreError,
};

/// A moto server of its own, ended with the value. `TFLEET_TEST_MOTO` names the program if it is not on the path.
pub(crate) struct S3Server {
    process: Child,
    pub(crate) endpoint: String,
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        let program = std::env::var("TFLEET_TEST_MOTO").unwrap_or_else(|_| "moto_server".to_owned());
        let endpoint = closed_endpoint();
        let port = endpoint.rsplit(':').next().unwrap();
        let process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} (PyPI: moto[server]) does not start: {error}"));
        let mut server = Self { process, endpoint };
        let address = server.endpoint.trim_start_matches("http://").to_owned();
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(server.process.try_wait().unwrap().is_none(), "the S3 server ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "the S3 server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.endpoint)
    }

    /// A store in a new bucket.
    pub(crate) async fn store(&self, bucket: &str) -> S3Store {
        self.client().create_bucket().bucket(bucket).send().await.unwrap();
        self.reopen(bucket)
    }

    /// A store in a bucket that is there.
    pub(crate) fn reopen(&self, bucket: &str) -> S3Store {
        S3Store::new(self.client(), bucket, Encryption::Aes256)
    }

    /// A new lock table for the states of `bucket`.
    pub(crate) async fn table(&self, name: &str, bucket: &str) -> LockTable {
        use aws_sdk_dynamodb::types::{
            AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        };

        let id = AttributeDefinition::builder().attribute_name("LockID").attribute_type(ScalarAttributeType::S);
        let hash = KeySchemaElement::builder().attribute_name("LockID").key_type(KeyType::Hash);
        let config = sdk_config(&self.endpoint);
        let create = aws_sdk_dynamodb::Client::new(&config).create_table().table_name(name);
        let create = create.attribute_definitions(id.build().unwrap()).key_schema(hash.build().unwrap());
        create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
        LockTable::new(aws_sdk_dynamodb::Client::new(&config), name, bucket)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client for `endpoint` that tries twice at most.
pub(crate) fn client(endpoint: &str) -> Client {
    Client::from_conf(Config::from(&sdk_config(endpoint)).to_builder().force_path_style(true).build())
}

/// The configuration of clients for `endpoint` that try twice at most.
pub(crate) fn sdk_config(endpoint: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let credentials = Credentials::new("test", "testtest", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)))
        .build()
}

/// An address where nobody listens (any more).
pub(crate) fn closed_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A credentials provider that has none.
#[derive(Debug)]
pub(crate) struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("no credentials in this test")))
    }
}

/// Writes an empty object at every key.
pub(crate) async fn put_all(store: &dyn StateStore, keys: &[String]) {
    let puts = keys.iter().map(|key| store.put(key, Vec::new().into(), Precondition::Always));
    let mut puts = futures_util::stream::iter(puts).buffer_unordered(8);
    while let Some(put) = puts.next().await {
        put.unwrap();
    }
}

/// Counts requests, refuses all of them while it is off, and can lose the answers to writes.
#[derive(Debug, Default)]
pub(crate) struct Watched<S> {
    inner: S,
    off: AtomicBool,
    lossy: AtomicBool,
    pub(crate) gets: AtomicUsize,
    pub(crate) lists: AtomicUsize,
    pub(crate) writes: AtomicUsize,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            off: AtomicBool::new(false),
            lossy: AtomicBool::new(false),
            gets: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
        }
    }

    /// (gets, listings, writes) since the last call.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::SeqCst);
        (take(&self.gets), take(&self.lists), take(&self.writes))
    }

    pub(crate) fn switch(&self, off: bool) {
        self.off.store(off, Ordering::SeqCst);
    }

    /// From now on, writes arrive and their answers do not.
    pub(crate) fn lose_answers(&self) {
        self.lossy.store(true, Ordering::SeqCst);
    }

    fn answer<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.lossy.load(Ordering::SeqCst) {
            return Err(StoreError::Unreachable { place: "the store".to_owned(), source: "no answer".into() });
        }
        result
    }

    fn pass(&self, count: &AtomicUsize) -> Result<(), StoreError> {
        count.fetch_add(1, Ordering::SeqCst);
        if self.off.load(Ordering::SeqCst) {
            return Err(StoreError::Unreachable { place: "the store".to_owned(), source: "switched off".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl<S: ReadStore> ReadStore for Watched<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.pass(&self.gets)?;
        self.inner.get(key).await
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        self.pass(&self.gets)?;
        self.inner.get_beginning(key, most).await
    }

    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        self.pass(&self.lists)?;
        self.inner.page(after).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.pass(&self.lists)?;
        self.inner.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.pass(&self.lists)?;
        self.inner.folders(prefix).await
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        self.pass(&self.lists)?;
        self.inner.versions(key).await
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        self.pass(&self.gets)?;
        self.inner.get_version(key, version).await
    }
}

#[async_trait]
impl<S: StateStore> StateStore for Watched<S> {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        self.pass(&self.writes)?;
        self.answer(self.inner.put(key, body, when).await)
    }

    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        self.pass(&self.writes)?;
        self.inner.copy(from, to, if_match).await
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        self.pass(&self.writes)?;
        self.answer(self.inner.delete(key, if_match).await)
    }
}

/// A store whose writes fail from one of them on, as if the process had died there.
pub(crate) struct Dies {
    pub(crate) inner: MemoryStore,
    pub(crate) writes: AtomicUsize,
    at: AtomicUsize,
    lost: bool,
}

impl Dies {
    pub(crate) fn never() -> Self {
        Self::at(usize::MAX, false)
    }

    /// Dies at its write number `at`, counted from 0; if `lost`, that one arrives.
    pub(crate) fn at(at: usize, lost: bool) -> Self {
        Self { inner: MemoryStore::default(), writes: AtomicUsize::new(0), at: AtomicUsize::new(at), lost }
    }

    /// From now on everything arrives.
    pub(crate) fn revive(&self) {
        self.at.store(usize::MAX, Ordering::SeqCst);
    }

    fn pass(&self) -> Result<bool, StoreError> {
        let (write, at) = (self.writes.fetch_add(1, Ordering::SeqCst), self.at.load(Ordering::SeqCst));
        if write > at || write == at && !self.lost {
            return Err(cut());
        }
        Ok(write == at)
    }

    fn after<T>(is_last: bool, done: T) -> Result<T, StoreError> {
        if is_last { Err(cut()) } else { Ok(done) }
    }
}

fn cut() -> StoreError {
    StoreError::Credentials { place: "the store".to_owned(), source: "gone".into() }
}

#[async_trait]
impl ReadStore for Dies {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        self.inner.get_beginning(key, most).await
    }

    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        self.inner.page(after).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.inner.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.folders(prefix).await
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        self.inner.versions(key).await
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        self.inner.get_version(key, version).await
    }
}

#[async_trait]
impl StateStore for Dies {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        let is_last = self.pass()?;
        Self::after(is_last, self.inner.put(key, body, when).await?)
    }

    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        let is_last = self.pass()?;
        Self::after(is_last, self.inner.copy(from, to, if_match).await?)
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        let is_last = self.pass()?;
        self.inner.delete(key, if_match).await?;
        Self::after(is_last, ())
    }
}
