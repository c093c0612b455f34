//! The one place where the AWS SDK is set up: HTTP client, certificates, proxies, timeouts, retries.
//!
//! Retries are the SDK's adaptive ones, unless the caller's environment or profile says otherwise: repeated with growing
//! pauses, and once a service throttles, everything that goes to it goes at the rate that it was measured to bear. As the
//! SDK has them, one single throttled answer stops a run for up to a minute if it comes while there is little to measure, at
//! the beginning above all (tried: 3 of them, 50 s more). [`LONGEST_PAUSE`] and [`retry_partition`] are there for that.
//!
//! Endpoints (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_STS`, …), profiles, `AWS_MAX_ATTEMPTS` and `AWS_RETRY_MODE` are
//! read by the SDK itself. `AWS_CA_BUNDLE` and the proxy variables are not, so they are read here.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_sdk_sts::config::retry::{ClientRateLimiter, RetryPartition};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use camino::{Utf8Path, Utf8PathBuf};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::LeaseError;
use crate::model::Region;

/// Until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// One try of one operation. It includes the upload of a state of tens of megabytes over a poor line.
const ATTEMPT: Duration = Duration::from_secs(60);
/// One operation with all its tries.
const OPERATION: Duration = Duration::from_secs(180);
/// One try of a small STS call.
const STS_ATTEMPT: Duration = Duration::from_secs(10);
/// An STS call with all its tries: below the minute after which SDKs give up a `credential_process`.
const STS_OPERATION: Duration = Duration::from_secs(40);
/// How often an operation is tried where neither the environment nor the profile says: runs are wide and unattended.
const ATTEMPTS: u32 = 5;

/// The longest pause before an operation is tried again. Five tries with such pauses fit into [`STS_OPERATION`].
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many requests in a second a service is taken to bear until there is something to measure: far fewer than S3 and STS
/// promise, more than a run makes.
const ASSUMED_RATE: f64 = 100.0;

/// Where clients count together what a service bears.
static STS_PARTITION: LazyLock<RetryPartition> = LazyLock::new(|| retry_partition("sts"));

/// The SDK's configuration for `region`, from the caller's environment and files.
///
/// Fails only on an unusable `AWS_CA_BUNDLE`; missing credentials show when they are first used.
pub async fn sdk_config(region: &Region) -> Result<SdkConfig, LeaseError> {
    let bundle = std::env::var("AWS_CA_BUNDLE").ok().filter(|path| !path.is_empty()).map(Utf8PathBuf::from);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(aws_config::Region::new(region.as_str().to_owned()))
        .http_client(http_client(bundle.as_deref())?)
        .timeout_config(timeouts(ATTEMPT, OPERATION));
    if let Ok(name) = AppName::new(concat!("tfleet-", env!("CARGO_PKG_VERSION"))) {
        loader = loader.app_name(name);
    }
    let config = loader.load().await;
    // What is as the SDK has it where nobody says anything is ours to choose.
    let said = ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"].iter().any(|name| std::env::var_os(name).is_some());
    if said || config.retry_config() != Some(&RetryConfig::standard()) {
        return Ok(config);
    }
    Ok(config.to_builder().retry_config(retries()).build())
}

fn retries() -> RetryConfig {
    RetryConfig::adaptive().with_max_attempts(ATTEMPTS).with_max_backoff(LONGEST_PAUSE)
}

/// What one service, or one bucket, bears; for all clients that have it, or a clone of it.
#[must_use]
pub fn retry_partition(name: impl Into<Cow<'static, str>>) -> RetryPartition {
    let limiter = ClientRateLimiter::builder().tokens_retrieved_per_second(ASSUMED_RATE).build();
    RetryPartition::custom(name).client_rate_limiter(limiter).build()
}

/// An STS client on `config`, with limits that fit small calls that something waits for.
pub(super) fn sts_client(config: &SdkConfig, region: Option<&Region>, endpoint: Option<&str>) -> aws_sdk_sts::Client {
    let mut builder = aws_sdk_sts::config::Builder::from(config)
        .timeout_config(timeouts(STS_ATTEMPT, STS_OPERATION))
        .retry_partition(STS_PARTITION.clone());
    if let Some(region) = region {
        builder = builder.region(aws_config::Region::new(region.as_str().to_owned()));
    }
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    aws_sdk_sts::Client::from_conf(builder.build())
}

/// What a person calls the STS endpoint of `config`.
pub(super) fn sts_endpoint(config: &SdkConfig, region: Option<&Region>, endpoint: Option<&str>) -> String {
    let region = region.map(Region::as_str).or_else(|| config.region().map(AsRef::as_ref)).unwrap_or("no region");
    let endpoint = endpoint.map(str::to_owned).or_else(|| std::env::var("AWS_ENDPOINT_URL_STS").ok());
    let endpoint = endpoint.or_else(|| config.endpoint_url().map(str::to_owned));
    match endpoint {
        Some(url) => format!("the STS endpoint {url}"),
        None => format!("the STS endpoint of {region}"),
    }
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// rustls with ring: no C library to build. Proxies as the environment names them.
pub(super) fn http_client(bundle: Option<&Utf8Path>) -> Result<SharedHttpClient, LeaseError> {
    let store = bundle.map_or_else(|| Ok(TrustStore::default()), trust_store)?;
    let unusable = |error: &dyn std::error::Error| LeaseError::CaBundle {
        path: bundle.unwrap_or(Utf8Path::new("")).to_owned(),
        detail: error.to_string(),
    };
    let tls = TlsContext::builder().with_trust_store(store).build().map_err(|error| unusable(&error))?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::rustls(CryptoMode::Ring))
            .tls_context(tls.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    }))
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of `path` and no others, as the AWS CLI and SDKs understand `AWS_CA_BUNDLE`.
///
/// Each one is tried here, because the connector panics on one that it cannot read. One that cannot be read is left
/// out, as from the system's own store; a file with none that can is an error.
fn trust_store(path: &Utf8Path) -> Result<TrustStore, LeaseError> {
    let unusable = |detail: String| LeaseError::CaBundle { path: path.to_owned(), detail };
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut store = TrustStore::empty();
    let (mut good, mut bad) = (0_usize, 0_usize);
    for part in text.split(BEGIN).skip(1) {
        let pem = part.split(END).next().map(|body| format!("{BEGIN}{body}{END}\n")).unwrap_or_default();
        let readable = CertificateDer::from_pem_slice(pem.as_bytes())
            .is_ok_and(|certificate| RootCertStore::empty().add(certificate).is_ok());
        if readable {
            store.add_pem_certificate(pem);
            good += 1;
        } else {
            bad += 1;
        }
    }
    if good == 0 {
        return Err(unusable(format!("no certificate in it can be read ({bad} cannot)")));
    }
    if bad > 0 {
        tracing::warn!(%path, bad, "some certificates of AWS_CA_BUNDLE cannot be read and are left out");
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate of an example authority, valid or not does not matter here.
    const CERTIFICATE: &str = include_str!("testdata/authority.pem");

    fn written(text: &str) -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("ca.pem")).unwrap();
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn the_tries_of_an_sts_call_fit_into_its_limit() {
        let config = retries();
        assert_eq!((config.mode(), config.max_attempts()), (aws_config::retry::RetryMode::Adaptive, ATTEMPTS));
        assert!(config.max_backoff() * (ATTEMPTS - 1) < STS_OPERATION);
    }

    #[test]
    fn a_bundle_is_read_and_bad_certificates_in_it_are_left_out() {
        let (_dir, path) = written(&format!("# a comment\n{CERTIFICATE}\n{BEGIN}\nAAAA\n{END}\n{BEGIN}\n!!\n"));
        let client = http_client(Some(&path)).unwrap();
        // Building a client builds the connector, which panics on a certificate it cannot read.
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(client)
            .region(aws_config::Region::new("us-east-1"))
            .build();
        let _ = sts_client(&config, None, None);
    }

    #[test]
    fn a_bundle_without_certificates_is_an_error_that_names_it() {
        let (_dir, path) = written("not a certificate");
        let error = trust_store(&path).unwrap_err().to_string();
        assert!(error.contains(path.as_str()) && error.contains("AWS_CA_BUNDLE"), "{error}");
        assert!(trust_store(Utf8Path::new("/nonexistent/ca.pem")).is_err());
    }
}
