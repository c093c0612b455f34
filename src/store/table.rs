//! The DynamoDB table of Terraform's S3 backend (`dynamodb_table`): its locks, and the digests of the states.
//!
//! Terraform keeps two items per state, under the key attribute `LockID`:
//!
//! | `LockID` | attribute | |
//! |---|---|---|
//! | `BUCKET/KEY` | `Info` | the lock, as JSON; there only while it is held |
//! | `BUCKET/KEY-md5` | `Digest` | the MD5 of the state object, in hex |
//!
//! Terraform refuses a state that has another MD5 than its digest says. A state without a digest it takes as it is. So who
//! writes a state object himself makes its digest right: [`super::States`] does.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use md5::{Digest, Md5};

use super::{StoreError, s3_error};
use crate::model::BackendKey;

const ID: &str = "LockID";
const INFO: &str = "Info";
const DIGEST: &str = "Digest";

/// A lock table, for the states of one bucket.
#[derive(Debug, Clone)]
pub struct LockTable {
    client: Client,
    table: String,
    bucket: String,
    region: Option<String>,
}

impl LockTable {
    /// The table `table` in the region of `config`, for the states in `bucket`.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, bucket: impl Into<String>) -> Self {
        let region = client.config().region().map(ToString::to_string);
        Self { client, table: table.into(), bucket: bucket.into(), region }
    }

    /// What people call it.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("dynamodb table {}", self.table)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.table
    }

    /// The digest of the state at `key`: an MD5 in hex.
    pub async fn digest(&self, key: &BackendKey) -> Result<Option<String>, StoreError> {
        self.attribute(self.digest_id(key), DIGEST).await
    }

    /// Makes the digest that of a state with this content. Returns it.
    pub async fn write_digest(&self, key: &BackendKey, state: &[u8]) -> Result<String, StoreError> {
        let digest = digest_of(state);
        let put = self.client.put_item().table_name(&self.table);
        let put = put.item(ID, AttributeValue::S(self.digest_id(key))).item(DIGEST, AttributeValue::S(digest.clone()));
        put.send().await.map_err(|error| self.error("dynamodb:PutItem", error))?;
        Ok(digest)
    }

    /// Removes the digest. One that is not there is no error.
    pub async fn remove_digest(&self, key: &BackendKey) -> Result<(), StoreError> {
        let removed = self.delete(self.digest_id(key)).send().await;
        removed.map(drop).map_err(|error| self.error("dynamodb:DeleteItem", error))
    }

    /// Terraform's lock of `key`, as it was written; empty if the item has no `Info`.
    pub async fn lock(&self, key: &BackendKey) -> Result<Option<String>, StoreError> {
        self.attribute(self.lock_id(key), INFO).await
    }

    /// Writes `info` as the lock of `key` where there is none. `false` if there is one, and it is not this very one.
    pub async fn take_lock(&self, key: &BackendKey, info: &str) -> Result<bool, StoreError> {
        let put = self.client.put_item().table_name(&self.table);
        let put = put.item(ID, AttributeValue::S(self.lock_id(key))).item(INFO, AttributeValue::S(info.to_owned()));
        let put = put.condition_expression("attribute_not_exists(LockID)").send().await;
        match put.map_err(|error| self.error("dynamodb:PutItem", error)) {
            Ok(_) => Ok(true),
            // The first try may have arrived and its answer been lost.
            Err(error) if error.is_precondition() => Ok(self.lock(key).await?.as_deref() == Some(info)),
            Err(error) => Err(error),
        }
    }

    /// Removes the lock of `key` if it still is `info`, byte by byte. `false` if it is not, or is gone.
    pub async fn release_lock(&self, key: &BackendKey, info: &str) -> Result<bool, StoreError> {
        let delete = self.delete(self.lock_id(key)).expression_attribute_names("#info", INFO);
        // An item without `Info` reads as an empty one, and has no value that could be compared.
        let delete = if info.is_empty() {
            delete.condition_expression("attribute_not_exists(#info)")
        } else {
            delete
                .condition_expression("#info = :info")
                .expression_attribute_values(":info", AttributeValue::S(info.to_owned()))
        };
        match delete.send().await.map_err(|error| self.error("dynamodb:DeleteItem", error)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_precondition() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The shell command that makes the digest of `key` right, for a person: for the state `now`, or for none.
    pub(super) fn digest_command(&self, key: &BackendKey, now: Option<&[u8]>) -> String {
        let id = serde_json::json!({"S": self.digest_id(key)});
        let (verb, flag, item) = match now {
            Some(state) => ("put-item", "--item", serde_json::json!({ID: id, DIGEST: {"S": digest_of(state)}})),
            None => ("delete-item", "--key", serde_json::json!({ID: id})),
        };
        let quoted = item.to_string().replace('\'', r"'\''");
        let region = self.region.as_ref().map(|region| format!(" --region {region}")).unwrap_or_default();
        format!("aws dynamodb {verb} --table-name {}{region} {flag} '{quoted}'", self.table)
    }

    fn lock_id(&self, key: &BackendKey) -> String {
        format!("{}/{key}", self.bucket)
    }

    fn digest_id(&self, key: &BackendKey) -> String {
        format!("{}/{key}-md5", self.bucket)
    }

    /// An attribute of an item: empty if only the item is there, `None` without one.
    async fn attribute(&self, id: String, name: &str) -> Result<Option<String>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).key(ID, AttributeValue::S(id)).consistent_read(true);
        let found = get.send().await.map_err(|error| self.error("dynamodb:GetItem", error))?;
        let text = |item: std::collections::HashMap<String, AttributeValue>| {
            item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()
        };
        Ok(found.item.map(text))
    }

    fn delete(&self, id: String) -> DeleteItemFluentBuilder {
        self.client.delete_item().table_name(&self.table).key(ID, AttributeValue::S(id))
    }

    fn error<E>(&self, action: &'static str, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match error.code() {
            Some("ResourceNotFoundException") => {
                StoreError::NoTable { table: self.table.clone(), region: self.region.clone() }
            }
            Some("ConditionalCheckFailedException") => StoreError::Precondition { place: self.describe() },
            _ => s3_error::sorted(action, self.describe(), error),
        }
    }
}

/// What Terraform keeps as the digest of a state with this content.
pub(super) fn digest_of(state: &[u8]) -> String {
    hex::encode(Md5::digest(state))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, S3Server};
    use super::*;

    fn key() -> BackendKey {
        BackendKey::new("s3/a/terraform.tfstate").unwrap()
    }

    #[tokio::test]
    async fn with_a_server() {
        let server = S3Server::start().await;
        let table = server.table("locks", "states").await;
        digests_are_written_and_removed(&table).await;
        one_lock_is_taken_and_only_that_one_removed(&table).await;
        an_item_without_info_is_a_lock_too(&table).await;
        let missing = LockTable::new(Client::new(&testing::sdk_config(&server.endpoint)), "nowhere", "states");
        let error = missing.lock(&key()).await.unwrap_err();
        assert_eq!(error.to_string(), "the dynamodb table `nowhere` does not exist in us-east-1");
        assert!(error.hint().unwrap().contains("dynamodb_table"));
    }

    async fn digests_are_written_and_removed(table: &LockTable) {
        assert_eq!(table.digest(&key()).await.unwrap(), None);
        for _ in 0..2 {
            table.write_digest(&key(), b"hello").await.unwrap();
            assert_eq!(table.digest(&key()).await.unwrap().unwrap(), "5d41402abc4b2a76b9719d911017c592");
        }
        for _ in 0..2 {
            table.remove_digest(&key()).await.unwrap();
            assert_eq!(table.digest(&key()).await.unwrap(), None);
        }
    }

    async fn one_lock_is_taken_and_only_that_one_removed(table: &LockTable) {
        assert_eq!(table.lock(&key()).await.unwrap(), None);
        assert!(table.take_lock(&key(), "mine").await.unwrap());
        assert!(table.take_lock(&key(), "mine").await.unwrap(), "as if the first answer had been lost");
        assert!(!table.take_lock(&key(), "other").await.unwrap());
        assert!(!table.release_lock(&key(), "other").await.unwrap());
        assert_eq!(table.lock(&key()).await.unwrap().unwrap(), "mine");
        assert!(table.release_lock(&key(), "mine").await.unwrap());
        assert!(!table.release_lock(&key(), "mine").await.unwrap());
    }

    async fn an_item_without_info_is_a_lock_too(table: &LockTable) {
        let put = table.client.put_item().table_name("locks");
        put.item(ID, AttributeValue::S(table.lock_id(&key()))).send().await.unwrap();
        assert_eq!(table.lock(&key()).await.unwrap().unwrap(), "");
        assert!(!table.take_lock(&key(), "mine").await.unwrap());
        assert!(table.release_lock(&key(), "").await.unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_cannot_be_reached() {
        let config = testing::sdk_config(&testing::closed_endpoint());
        let error = LockTable::new(Client::new(&config), "locks", "states").lock(&key()).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(error.to_string(), "dynamodb table locks cannot be reached");
    }

    #[test]
    fn a_person_can_mend_a_digest() {
        let table = LockTable::new(Client::new(&testing::sdk_config("http://127.0.0.1:1")), "locks", "states");
        assert_eq!(
            table.digest_command(&key(), Some(b"hello")),
            "aws dynamodb put-item --table-name locks --region us-east-1 --item '{\"LockID\":{\"S\":\"states/s3/a/terraform.tfstate-md5\"},\
             \"Digest\":{\"S\":\"5d41402abc4b2a76b9719d911017c592\"}}'"
        );
        let quote = BackendKey::new("it's/terraform.tfstate").unwrap();
        assert_eq!(
            table.digest_command(&quote, None),
            "aws dynamodb delete-item --table-name locks --region us-east-1 --key \
             '{\"LockID\":{\"S\":\"states/it'\\''s/terraform.tfstate-md5\"}}'"
        );
    }
}
