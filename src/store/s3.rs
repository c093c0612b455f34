//! The state store in an S3 bucket.
//!
//! Where the bucket is (endpoint, path style), retries and checksums are the client's settings. Conditions are S3's own
//! (`If-None-Match`, `If-Match`), so they hold between machines. Amazon enforces all of them; servers that speak S3 often
//! ignore those of `CopyObject`, so [`S3Store::copy`] looks for itself.

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::copy_object::CopyObjectError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Object as Listed, ObjectCannedAcl, ServerSideEncryption};
use jiff::Timestamp;

use super::{
    Beginning, Body, Entry, Object, ObjectVersion, Page, Precondition, ReadStore, StateStore, StoreError, check_key,
    s3_error, s3_versions,
};

/// How often a read whose body broke off is begun again. (The client retries only until the body begins.)
const READS: u32 = 3;

/// How objects are encrypted at rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// As the bucket does it where nothing is asked for.
    AsBucket,
    /// With S3's own keys (SSE-S3).
    Aes256,
    /// With this KMS key: an id, an alias or an ARN.
    Kms(String),
}

impl Encryption {
    const fn algorithm(&self) -> Option<ServerSideEncryption> {
        match self {
            Self::AsBucket => None,
            Self::Aes256 => Some(ServerSideEncryption::Aes256),
            Self::Kms(_) => Some(ServerSideEncryption::AwsKms),
        }
    }

    fn key(&self) -> Option<String> {
        match self {
            Self::AsBucket | Self::Aes256 => None,
            Self::Kms(key) => Some(key.clone()),
        }
    }
}

/// A bucket as state store.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    encryption: Encryption,
    acl: Option<ObjectCannedAcl>,
}

/// What a bucket says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketCheck {
    /// Its region; `None` where it does not say it.
    pub region: Option<String>,
    /// Whether it keeps versions; `None` where that may not be asked.
    pub versioned: Option<bool>,
    /// How it encrypts what comes without a wish; `None` where it does not, or that may not be asked.
    pub encryption: Option<String>,
}

impl S3Store {
    /// Asks the bucket about itself. An error means that it cannot be used at all.
    pub async fn check(&self) -> Result<BucketCheck, StoreError> {
        self.get("tfleet-probe").await?;
        let head = self.client.head_bucket().bucket(&self.bucket).send().await.ok();
        let versioning = self.client.get_bucket_versioning().bucket(&self.bucket).send().await;
        let encryption = self.client.get_bucket_encryption().bucket(&self.bucket).send().await.ok();
        let rules = encryption.and_then(|answer| answer.server_side_encryption_configuration);
        let rule = rules.and_then(|rules| rules.rules.into_iter().next());
        Ok(BucketCheck {
            region: head.and_then(|answer| answer.bucket_region).filter(|region| !region.is_empty()),
            versioned: versioning
                .ok()
                .map(|answer| answer.status == Some(aws_sdk_s3::types::BucketVersioningStatus::Enabled)),
            encryption: rule
                .and_then(|rule| rule.apply_server_side_encryption_by_default)
                .map(|default| default.sse_algorithm.as_str().to_owned()),
        })
    }

    /// The store in `bucket`. Every object that it writes is encrypted as `encryption` says.
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>, encryption: Encryption) -> Self {
        Self { client, bucket: bucket.into(), encryption, acl: None }
    }

    /// The same store, which writes its objects with this canned ACL.
    #[must_use]
    pub fn with_acl(self, acl: Option<&str>) -> Self {
        Self { acl: acl.map(ObjectCannedAcl::from), ..self }
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    /// The error of a request about `key`.
    fn error<E>(&self, action: &'static str, key: &str, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        s3_error::from_sdk(&self.bucket, action, self.place(key), error)
    }

    /// The same where the request had a condition: then also "not found" and "conflict" mean that it did not hold.
    fn conditional<E>(&self, action: &'static str, key: &str, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match (error.raw_response().map(|r| r.status().as_u16()), error.code()) {
            (Some(409), Some("ConditionalRequestConflict" | "OperationAborted"))
            | (Some(404), Some("NoSuchKey" | "NotFound")) => StoreError::Precondition { place: self.place(key) },
            _ => self.error(action, key, error),
        }
    }

    /// Reads an object, or one version of it, or of its first bytes so many. Returns how many bytes it has too, where only
    /// some of them were asked for.
    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        most: Option<usize>,
    ) -> Result<Option<(Object, Option<usize>)>, StoreError> {
        check_key(key)?;
        let action = if version.is_none() { "s3:GetObject" } else { "s3:GetObjectVersion" };
        let mut reads = 0;
        loop {
            reads += 1;
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let range = most.map(|most| format!("bytes=0-{}", most.saturating_sub(1)));
            let found = match request.set_version_id(version.map(str::to_owned)).set_range(range).send().await {
                Ok(found) => found,
                // There is no first byte of nothing.
                Err(error) if error.code() == Some("InvalidRange") => {
                    return Ok(Some((Object { bytes: Vec::new(), etag: String::new(), version: None }, Some(0))));
                }
                Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => {
                    return Ok(None);
                }
                Err(error) if version.is_some() && s3_versions::is_none(&error) => return Ok(None),
                Err(error) => return Err(self.error(action, key, error)),
            };
            let all = found.content_range().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            match found.body.collect().await {
                Ok(bytes) => {
                    let object = Object {
                        bytes: bytes.to_vec(),
                        etag: found.e_tag.unwrap_or_default(),
                        version: found.version_id,
                    };
                    return Ok(Some((object, all)));
                }
                Err(error) if reads < READS => tracing::debug!(key, %error, "the object broke off, reading it again"),
                Err(error) => {
                    return Err(StoreError::Unreachable { place: self.place(key), source: error.into() });
                }
            }
        }
    }

    /// The etag of an object, without its content.
    async fn head(&self, key: &str) -> Result<Option<String>, StoreError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(found) => Ok(Some(found.e_tag.unwrap_or_default())),
            // An answer to HEAD has no body, so a missing bucket looks the same; the request that follows tells them apart.
            Err(error) if error.raw_response().is_some_and(|r| r.status().as_u16() == 404) => Ok(None),
            Err(error) => Err(self.error("s3:GetObject", key, error)),
        }
    }

    /// Copies without looking. Returns the etag of the copy.
    async fn copy_object(
        &self,
        from: &str,
        to: &str,
        if_match: Option<&str>,
        absent: bool,
    ) -> Result<Option<String>, SdkError<CopyObjectError, HttpResponse>> {
        let copied = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .copy_source(format!("{}/{}", self.bucket, percent_encoded(from)))
            .key(to)
            .set_copy_source_if_match(if_match.map(str::to_owned))
            .set_if_none_match(absent.then(|| "*".to_owned()))
            .set_acl(self.acl.clone())
            .set_server_side_encryption(self.encryption.algorithm())
            .set_ssekms_key_id(self.encryption.key())
            .send()
            .await?;
        Ok(copied.copy_object_result.and_then(|result| result.e_tag))
    }

    /// All pages of a listing: its objects, and the folders where it is cut at a delimiter.
    async fn pages(&self, prefix: &str, delimiter: Option<&str>) -> Result<(Vec<Listed>, Vec<String>), StoreError> {
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_delimiter(delimiter.map(str::to_owned))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.error("s3:ListBucket", prefix, error))?;
            objects.extend(page.contents.unwrap_or_default());
            folders.extend(page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix));
        }
        Ok((objects, folders))
    }
}

#[async_trait]
impl ReadStore for S3Store {
    fn describe(&self) -> String {
        format!("s3://{}", self.bucket)
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        Ok(self.read(key, None, None).await?.map(|(object, _)| object))
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        let found = self.read(key, None, Some(most)).await?;
        Ok(found.map(|(Object { mut bytes, .. }, all)| {
            // A server that knows no ranges sends everything.
            let whole = all.unwrap_or(bytes.len()) <= most;
            bytes.truncate(most);
            Beginning { bytes, whole }
        }))
    }

    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket);
        let request = request.set_start_after((!after.is_empty()).then(|| after.to_owned()));
        let page = request.send().await.map_err(|error| self.error("s3:ListBucket", "", error))?;
        let mut entries: Vec<Entry> = page.contents.unwrap_or_default().into_iter().filter_map(entry).collect();
        entries.sort_unstable();
        Ok(Page { entries, more: page.is_truncated == Some(true) })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let (objects, _) = self.pages(prefix, None).await?;
        let mut entries: Vec<Entry> = objects.into_iter().filter_map(entry).collect();
        entries.sort_unstable();
        Ok(entries)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (_, mut folders) = self.pages(prefix, Some("/")).await?;
        folders.sort_unstable();
        Ok(folders)
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        check_key(key)?;
        let versions = s3_versions::list(&self.client, &self.bucket, key).await;
        versions.map_err(|error| self.error("s3:ListBucketVersions", key, error))
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        Ok(self.read(key, Some(version), None).await?.map(|(object, _)| object))
    }
}

#[async_trait]
impl StateStore for S3Store {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        check_key(key)?;
        let body = match body {
            Body::Bytes(bytes) => ByteStream::from(bytes),
            Body::File(path) => ByteStream::from_path(&path).await.map_err(|error| StoreError::Io {
                operation: "read",
                path,
                source: std::io::Error::other(error),
            })?,
        };
        let (absent, matches) = match when {
            Precondition::Always => (None, None),
            Precondition::Absent => (Some("*".to_owned()), None),
            Precondition::Matches(etag) => (None, Some(etag)),
        };
        let condition = absent.is_some() || matches.is_some();
        let written = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(body)
            .set_if_none_match(absent)
            .set_if_match(matches)
            .set_acl(self.acl.clone())
            .set_server_side_encryption(self.encryption.algorithm())
            .set_ssekms_key_id(self.encryption.key())
            .send()
            .await;
        match written {
            Ok(written) => Ok(written.e_tag.unwrap_or_default()),
            Err(error) if condition => Err(self.conditional("s3:PutObject", key, error)),
            Err(error) => Err(self.error("s3:PutObject", key, error)),
        }
    }

    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(from)?;
        check_key(to)?;
        if self.head(to).await?.is_some() {
            return Err(StoreError::Precondition { place: self.place(to) });
        }
        let mut copied = self.copy_object(from, to, if_match, true).await;
        if copied.as_ref().is_err_and(|error| error.code() == Some("NotImplemented")) {
            copied = self.copy_object(from, to, if_match, false).await;
        }
        let copied = copied.map_err(|error| match error.code() {
            Some("NoSuchKey") if if_match.is_none() => StoreError::Missing { place: self.place(from) },
            _ => self.conditional("s3:PutObject", from, error),
        })?;
        let Some(wanted) = if_match else { return Ok(()) };
        // Equal tags prove equal contents. Different ones prove nothing (KMS, multipart): then the source decides.
        if copied.as_deref() == Some(wanted) || self.head(from).await?.as_deref() == Some(wanted) {
            return Ok(());
        }
        self.delete(to, copied.as_deref()).await?;
        Err(StoreError::Precondition { place: self.place(from) })
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(key)?;
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        match request.set_if_match(if_match.map(str::to_owned)).send().await {
            Ok(_) => Ok(()),
            Err(error) if if_match.is_some() => Err(self.conditional("s3:DeleteObject", key, error)),
            Err(error) => Err(self.error("s3:DeleteObject", key, error)),
        }
    }
}

fn entry(object: Listed) -> Option<Entry> {
    Some(Entry {
        key: object.key?,
        size: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        modified: object.last_modified.map(timestamp).unwrap_or_default(),
    })
}

pub(super) fn timestamp(time: DateTime) -> Timestamp {
    let nanoseconds = i32::try_from(time.subsec_nanos()).unwrap_or(0);
    Timestamp::new(time.secs(), nanoseconds).unwrap_or_default()
}

/// A key as the header of `CopyObject` wants it: everything quoted but unreserved characters and slashes.
fn percent_encoded(key: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, S3Server};
    use super::*;

    #[test]
    fn the_source_of_a_copy_is_quoted() {
        assert_eq!(percent_encoded("a/b-c_d.e~f"), "a/b-c_d.e~f");
        assert_eq!(percent_encoded("a b+c@ä=?"), "a%20b%2Bc%40%C3%A4%3D%3F");
    }

    /// One server for all of them: it takes longer to start than they take.
    #[tokio::test]
    async fn with_a_server() {
        let server = S3Server::start().await;
        what_is_written_is_encrypted(&server).await;
        a_missing_bucket_is_named(&server).await;
        missing_credentials_are_no_network_error(&server).await;
        listings_have_all_pages(&server).await;
    }

    async fn what_is_written_is_encrypted(server: &S3Server) {
        let client = server.client();
        client.create_bucket().bucket("encrypted").send().await.unwrap();
        for (encryption, algorithm) in
            [(Encryption::Aes256, "AES256"), (Encryption::Kms("alias/states".to_owned()), "aws:kms")]
        {
            let store = S3Store::new(client.clone(), "encrypted", encryption);
            let (key, copy) = (format!("{algorithm}/a"), format!("{algorithm}/copy"));
            let etag = store.put(&key, b"1".to_vec().into(), Precondition::Absent).await.unwrap();
            store.copy(&key, &copy, Some(&etag)).await.unwrap();
            for key in [key, copy] {
                let head = client.head_object().bucket("encrypted").key(key).send().await.unwrap();
                assert_eq!(head.server_side_encryption.unwrap().as_str(), algorithm);
            }
        }
    }

    async fn a_missing_bucket_is_named(server: &S3Server) {
        let store = S3Store::new(server.client(), "nowhere", Encryption::Aes256);
        let errors = [
            store.get("a").await.unwrap_err(),
            store.list("").await.unwrap_err(),
            store.folders("").await.unwrap_err(),
            store.put("a", Vec::new().into(), Precondition::Absent).await.unwrap_err(),
            store.delete("a", Some("x")).await.unwrap_err(),
            store.copy("a", "b", None).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.to_string(), "the bucket `nowhere` does not exist");
            assert!(error.hint().unwrap().contains("aws s3 mb s3://nowhere"));
        }
    }

    #[tokio::test]
    async fn a_closed_port_cannot_be_reached() {
        let store = S3Store::new(testing::client(&testing::closed_endpoint()), "states", Encryption::Aes256);
        let error = store.get("a/b").await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(error.to_string(), "s3://states/a/b cannot be reached");
        assert!(error.hint().unwrap().contains("AWS_ENDPOINT_URL"));
    }

    async fn missing_credentials_are_no_network_error(server: &S3Server) {
        let config = server.client().config().to_builder().credentials_provider(testing::NoCredentials).build();
        let store = S3Store::new(Client::from_conf(config), "states", Encryption::Aes256);
        let error = store.get("a").await.unwrap_err();
        assert!(matches!(error, StoreError::Credentials { .. }), "{error:?}");
    }

    async fn listings_have_all_pages(server: &S3Server) {
        let store = server.store("pages").await;
        let keys: Vec<String> = (0..1003).map(|i| format!("many/{i:04}/x")).collect();
        testing::put_all(&store, &keys).await;
        assert_eq!(store.list("many/").await.unwrap().len(), 1003);
        assert_eq!(store.folders("many/").await.unwrap().len(), 1003);
    }
}
