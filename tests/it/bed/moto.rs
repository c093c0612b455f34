//! moto: S3, STS and `DynamoDB` on this machine.
//!
//! Keys that it does not know belong to [`CENTRAL`](super::CENTRAL); keys that `AssumeRole` gave out belong to the
//! role's account, and buckets are closed to every other account.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{CENTRAL, CENTRAL_KEY, CENTRAL_SECRET, tools, wait_for};

/// Runs a future of the harness itself (SDK calls, the proxy).
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// The harness's own runtime.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Credentials of one account.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token, where a role was assumed.
    pub token: Option<String>,
}

impl Keys {
    /// The caller's.
    pub fn central() -> Self {
        Self { id: CENTRAL_KEY.to_owned(), secret: CENTRAL_SECRET.to_owned(), token: None }
    }

    /// The same, as the SDKs have them.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(&self.id, &self.secret, self.token.clone(), None, "tests")
    }
}

/// The server, shared by all tests of a run.
#[derive(Debug, Clone)]
pub struct Moto {
    endpoint: String,
}

/// A server that this process started, because `scripts/test` did not.
struct Own {
    endpoint: String,
    _child: Child,
    _folder: TempDir,
}

impl Moto {
    /// The shared server: the one `scripts/test` started, or one for this process.
    pub fn shared() -> Self {
        static OWN: OnceLock<Own> = OnceLock::new();
        let endpoint = env::var("TFLEET_TEST_ENDPOINT")
            .ok()
            .filter(|endpoint| !endpoint.is_empty())
            .unwrap_or_else(|| OWN.get_or_init(start).endpoint.clone());
        Self { endpoint }
    }

    /// Its URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        self.endpoint.trim_start_matches("http://").trim_end_matches('/')
    }

    /// Credentials that act in `account`.
    pub fn keys_of(&self, account: &str) -> Keys {
        if account == CENTRAL { Keys::central() } else { Self::assume_at(&self.endpoint, account).unwrap() }
    }

    /// Assumes a role of `account` by way of `endpoint`.
    pub fn assume_at(endpoint: &str, account: &str) -> Result<Keys, String> {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(Keys::central().credentials())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = aws_sdk_sts::Client::from_conf(config);
        let answer = block_on(
            client
                .assume_role()
                .role_arn(format!("arn:aws:iam::{account}:role/OrganizationAccountAccessRole"))
                .role_session_name("the-tests")
                .send(),
        );
        let keys = answer.map_err(|e| format!("{e:?}"))?.credentials.unwrap();
        Ok(Keys { id: keys.access_key_id, secret: keys.secret_access_key, token: Some(keys.session_token) })
    }

    /// An S3 client that acts with `keys`.
    pub fn s3(&self, keys: &Keys) -> aws_sdk_s3::Client {
        Self::s3_at(&self.endpoint, keys)
    }

    /// An S3 client that acts with `keys` by way of `endpoint`, and never tries twice.
    pub fn s3_at(endpoint: &str, keys: &Keys) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .retry_config(RetryConfig::disabled())
            .force_path_style(true)
            .credentials_provider(keys.credentials())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// The names of the buckets that belong to `account`.
    pub fn buckets_of(&self, account: &str) -> Vec<String> {
        let answer = block_on(self.s3(&self.keys_of(account)).list_buckets().send()).unwrap();
        answer.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)).collect()
    }

    /// A new, empty, versioned bucket of the central account, for one test alone.
    pub fn bucket(&self) -> Bucket {
        self.bucket_of(&Keys::central())
    }

    /// The same of the account that `keys` belong to.
    pub fn bucket_of(&self, keys: &Keys) -> Bucket {
        self.bucket_in(keys, "us-east-1")
    }

    /// The same in another region.
    pub fn bucket_in(&self, keys: &Keys, region: &str) -> Bucket {
        let name = format!("state-{}", uuid::Uuid::new_v4().simple());
        let client = self.s3(keys);
        // The first region has no name here.
        let place = (region != "us-east-1").then(|| BucketLocationConstraint::from(region));
        let place = place.map(|place| CreateBucketConfiguration::builder().location_constraint(place).build());
        block_on(async {
            client.create_bucket().bucket(&name).set_create_bucket_configuration(place).send().await.unwrap();
            let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            client.put_bucket_versioning().bucket(&name).versioning_configuration(enabled).send().await.unwrap();
        });
        Bucket { name, client }
    }

    /// A `DynamoDB` call in the central account: moto looks at the key id only, so the request needs no signature.
    pub fn dynamodb(&self, operation: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut request = format!("POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address());
        let scope = format!("{CENTRAL_KEY}/20260101/us-east-1/dynamodb/aws4_request");
        write!(
            request,
            "Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\
             X-Amz-Target: DynamoDB_20120810.{operation}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, json) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.lines().next().unwrap().contains(" 200 "), "{operation}: {answer}");
        serde_json::from_str(json).unwrap()
    }

    /// A new `DynamoDB` table for Terraform's locks. Returns its name.
    pub fn lock_table(&self) -> String {
        let name = format!("locks-{}", uuid::Uuid::new_v4().simple());
        self.dynamodb(
            "CreateTable",
            &serde_json::json!({
                "TableName": name,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "LockID", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "LockID", "KeyType": "HASH"}],
            }),
        );
        name
    }
}

/// A bucket of the central account.
#[derive(Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    client: aws_sdk_s3::Client,
}

impl Bucket {
    /// The bytes at `key`.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        block_on(async {
            match self.client.get_object().bucket(&self.name).key(key).send().await {
                Ok(object) => Some(object.body.collect().await.unwrap().to_vec()),
                Err(e)
                    if e.as_service_error()
                        .is_some_and(aws_sdk_s3::operation::get_object::GetObjectError::is_no_such_key) =>
                {
                    None
                }
                Err(e) => panic!("{key}: {e:?}"),
            }
        })
    }

    /// Puts `bytes` at `key`.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let body = ByteStream::from(bytes.to_vec());
        block_on(self.client.put_object().bucket(&self.name).key(key).body(body).send()).unwrap();
    }

    /// Deletes what is at `key`.
    pub fn delete(&self, key: &str) {
        block_on(self.client.delete_object().bucket(&self.name).key(key).send()).unwrap();
    }

    /// Every key below `prefix`.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        block_on(async {
            let mut keys = Vec::new();
            let mut pages = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).into_paginator().send();
            while let Some(page) = pages.next().await {
                keys.extend(page.unwrap().contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            }
            keys
        })
    }

    /// Every version of every object, each with its etag and the time at which it was written, delete markers too.
    pub fn everything(&self) -> Vec<String> {
        block_on(async {
            let listed = self.client.list_object_versions().bucket(&self.name).send().await.unwrap();
            assert_eq!(listed.is_truncated(), Some(false), "too many versions");
            let versions = listed.versions().iter().map(|one| format!("{one:?}"));
            versions.chain(listed.delete_markers().iter().map(|one| format!("{one:?}"))).collect()
        })
    }

    /// What was ever at exactly this key, the oldest first.
    pub fn versions(&self, key: &str) -> Vec<Vec<u8>> {
        block_on(async {
            let listed = self.client.list_object_versions().bucket(&self.name).prefix(key).send().await.unwrap();
            assert_eq!(listed.is_truncated(), Some(false), "{key} has too many versions");
            let ids = listed.versions().iter().filter(|version| version.key() == Some(key));
            let mut all = Vec::new();
            for id in ids.filter_map(|version| version.version_id()) {
                let object = self.client.get_object().bucket(&self.name).key(key).version_id(id).send().await.unwrap();
                all.push(object.body.collect().await.unwrap().to_vec());
            }
            all.reverse();
            all
        })
    }

    /// How the object at `key` is encrypted: `AES256`, `aws:kms`.
    pub fn encryption(&self, key: &str) -> Option<String> {
        let head = block_on(self.client.head_object().bucket(&self.name).key(key).send()).unwrap();
        head.server_side_encryption().map(|kind| kind.as_str().to_owned())
    }
}

/// Starts a server on a free port. It ends when this process does: the shell around it reads from a pipe that only
/// this process holds, and a pipe closes however a process ends.
fn start() -> Own {
    let folder = tempfile::Builder::new().prefix("moto").tempdir().unwrap();
    let log = folder.path().join("log");
    let file = File::create(&log).unwrap();
    let child = Command::new("sh")
        .args(["-c", "\"$0\" -H 127.0.0.1 -p 0 </dev/null & cat >/dev/null; kill $!"])
        .arg(tools::moto())
        .env("MOTO_S3_ALLOW_CROSSACCOUNT_ACCESS", "false")
        .stdin(Stdio::piped())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let endpoint = wait_for("the address of the moto server", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let (_, rest) = text.split_once("Running on ")?;
        rest.split_once('\n').map(|(url, _)| url.trim().to_owned())
    });
    Own { endpoint, _child: child, _folder: folder }
}
