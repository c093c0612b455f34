//! What the tests of this module share: a moto server, an STS of our own that does what a test says, a child process
//! with an environment of its own.

use std::net::TcpListener as StdTcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::cache::Clock;
use super::sdk::http_client;

/// The account that moto gives to keys it does not know.
pub(super) const MOTO_ACCOUNT: &str = "123456789012";

/// An SDK configuration with static keys that talks to `endpoint` and tries once.
pub(super) fn config(endpoint: &str) -> SdkConfig {
    let keys = aws_credential_types::Credentials::new("AKIDCENTRAL", "central-secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client(None).unwrap())
        .region(aws_config::Region::new("us-east-1"))
        .retry_config(RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .endpoint_url(endpoint)
        .build()
}

/// A folder that ends with the test.
pub(super) fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

/// A clock that stands until it is set.
#[derive(Clone)]
pub(super) struct TestClock(Arc<Mutex<Timestamp>>);

impl TestClock {
    pub(super) fn at(time: &str) -> Self {
        Self(Arc::new(Mutex::new(time.parse().unwrap())))
    }

    pub(super) fn set(&self, time: &str) {
        *self.0.lock().unwrap() = time.parse().unwrap();
    }

    pub(super) fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || *time.lock().unwrap())
    }
}

/// A moto server, one per test process, ended with the last test that holds it.
pub(super) struct Moto {
    child: Child,
    pub(super) url: String,
}

static MOTO: Mutex<Weak<Moto>> = Mutex::new(Weak::new());

impl Moto {
    pub(super) fn shared() -> Arc<Self> {
        let mut shared = MOTO.lock().unwrap();
        if let Some(moto) = shared.upgrade() {
            return moto;
        }
        let moto = (0..3).find_map(|_| Self::start()).expect("moto_server (pip install 'moto[server]') starts");
        let moto = Arc::new(moto);
        *shared = Arc::downgrade(&moto);
        moto
    }

    /// `None` if somebody else took the port in the meantime.
    fn start() -> Option<Self> {
        let port = StdTcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("moto_server")
            .args(["-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server is on the PATH");
        let mut moto = Self { child, url: format!("http://127.0.0.1:{port}") };
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if moto.child.try_wait().unwrap().is_some() {
                return None;
            }
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(moto);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers one request of the query protocol: its body, and how many of its action came before it.
type Script = dyn Fn(&str, usize) -> (u16, String) + Send + Sync;

/// An STS that says what a test wants it to say. `GetCallerIdentity` answers by itself: `arn:aws:iam::111111111111:user/ci`.
pub(super) struct FakeSts {
    pub(super) url: String,
    assumed: Arc<AtomicUsize>,
    identified: Arc<AtomicUsize>,
}

impl FakeSts {
    /// Starts one whose `AssumeRole` answers as `script` says.
    pub(super) async fn start(script: impl Fn(&str, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (assumed, identified) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&assumed), Arc::clone(&identified));
        let script: Arc<Script> = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&script), counts.clone()));
            }
        });
        Self { url, assumed, identified }
    }

    /// How many times `AssumeRole` was called.
    pub(super) fn assumed(&self) -> usize {
        self.assumed.load(Ordering::SeqCst)
    }

    /// How many times `GetCallerIdentity` was called.
    pub(super) fn identified(&self) -> usize {
        self.identified.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Script>, counts: (Arc<AtomicUsize>, Arc<AtomicUsize>)) {
    let mut reader = BufReader::new(&mut stream);
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let (status, text) = if body.contains("Action=AssumeRole") {
        script(&body, counts.0.fetch_add(1, Ordering::SeqCst))
    } else {
        counts.1.fetch_add(1, Ordering::SeqCst);
        (200, identity("111111111111"))
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    let _ = stream.write_all((head + &text).as_bytes()).await;
}

fn identity(account: &str) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::{account}:user/ci</Arn><UserId>AIDA</UserId><Account>{account}</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
}

/// The answer of an `AssumeRole` that works.
pub(super) fn session(account: &str, key: &str, expires: &str) -> (u16, String) {
    let text = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::{account}:assumed-role/R/s</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>child-secret</SecretAccessKey>\
         <SessionToken>child-token</SessionToken><Expiration>{expires}</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>"
    );
    (200, text)
}

/// An error of the query protocol.
pub(super) fn refusal(status: u16, code: &str, message: &str) -> (u16, String) {
    let text = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    );
    (status, text)
}

/// `command` without any `AWS_*` variable of ours.
pub(super) fn without_aws(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true")
}

/// Runs the ignored test `name` of this test program in a process of its own, with `variables` as its only `AWS_*` ones.
pub(super) fn in_child(name: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    without_aws(&mut command)
        .args(["--exact", name, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}
