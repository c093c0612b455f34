//! What the tests of this module share: moto, and something before it that refuses, or loses answers, as a test says.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A moto server of its own, ended with the value. `TFLEET_TEST_MOTO` names the program if it is not on the path.
pub(super) struct Moto {
    process: Child,
    pub(super) address: String,
}

impl Moto {
    pub(super) async fn start() -> Self {
        let program = std::env::var("TFLEET_TEST_MOTO").unwrap_or_else(|_| "moto_server".to_owned());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", address.rsplit(':').next().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} (PyPI: moto[server]) does not start: {error}"));
        let mut moto = Self { process, address };
        let begun = Instant::now();
        while TcpStream::connect(&moto.address).await.is_err() {
            assert!(moto.process.try_wait().unwrap().is_none(), "moto ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "moto does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Clients' configuration for `address`, which tries three times.
pub(super) fn config(address: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().build_http();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("key", "secret", None, None, "test")))
        .endpoint_url(format!("http://{address}"))
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(1)))
        .build()
}

/// What becomes of a request.
pub(super) enum Turn {
    /// It goes to the server behind.
    Pass,
    /// It goes to the server behind, and its answer is lost.
    Lose,
    /// It is refused with this status, code and message.
    Refuse(u16, &'static str, String),
}

type Script = dyn Fn(&str, usize) -> Turn + Send + Sync;

/// A server before another one. It hears of each request the operation (`PutParameter`) and how many of this operation came
/// before it.
pub(super) struct Between {
    pub(super) address: String,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Between {
    pub(super) async fn start(behind: &str, script: impl Fn(&str, usize) -> Turn + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (script, heard, behind): (Arc<Script>, _, _) = (Arc::new(script), Arc::clone(&calls), behind.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, behind.clone(), Arc::clone(&script), Arc::clone(&heard)));
            }
        });
        Self { address, calls }
    }

    /// The operations so far, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, behind: String, script: Arc<Script>, calls: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_message(&mut stream).await {
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let text = String::from_utf8_lossy(&request).into_owned();
        let at = head.find("x-amz-target:").unwrap();
        let target = text[at..].lines().next().unwrap().rsplit('.').next().unwrap().trim().to_owned();
        let nth = {
            let mut calls = calls.lock().unwrap();
            calls.push(target.clone());
            calls.iter().filter(|call| **call == target).count() - 1
        };
        let answer = match script(&target, nth) {
            Turn::Pass => forward(&behind, &request).await,
            Turn::Lose => {
                forward(&behind, &request).await;
                return;
            }
            Turn::Refuse(status, code, message) => {
                let body = serde_json::json!({"__type": code, "message": message}).to_string();
                let length = body.len();
                format!("HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {length}\r\n\r\n{body}")
                    .into_bytes()
            }
        };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn forward(behind: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(behind).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_message(&mut stream).await.unwrap()
}

/// A whole request or answer; `None` where nothing more comes.
async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if let Some(end) = message.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or("0", str::trim);
            if message.len() >= end + 4 + length.parse::<usize>().unwrap() {
                return Some(message);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => message.extend_from_slice(&chunk[..read]),
        }
    }
}
