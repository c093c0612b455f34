//! The network between tfleet and moto, with faults on demand.
//!
//! Plain HTTP/1, one request for each connection to either side. What goes through is written down, with the access
//! key that signed it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::moto::runtime;
use super::{Moto, wait_until};

/// What happens to a request that a rule is for.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer is this status with an error of this code (as S3 or STS writes it); moto never hears of the request.
    Status(u16, &'static str),
    /// The connection is reset before moto hears of the request.
    Reset,
    /// The connection is closed without an answer before moto hears of the request.
    Close,
    /// moto carries the request out; its answer is lost.
    LoseAnswer,
    /// moto carries the request out; the connection is cut in the middle of the answer's body.
    CutAnswer,
    /// The request waits until [`FaultProxy::release`].
    Hold,
    /// The request goes through with the second text for the first in its body. Both are of one length.
    Replace(&'static str, &'static str),
    /// moto carries the request out; the body of its answer is rewritten.
    Rewrite(Rewrite),
    /// The answer is this JSON; moto never hears of the request.
    Answer(String),
    /// Nothing: the request goes through. For rules that only count.
    Pass,
}

/// What becomes of an answer's body.
#[derive(Clone)]
pub struct Rewrite(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl Rewrite {
    /// By this function.
    pub fn by(rewrite: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(rewrite))
    }
}

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewrite")
    }
}

/// Which requests a fault is for.
#[derive(Debug, Clone)]
pub struct Rule {
    method: &'static str,
    path: String,
    body: String,
    target: &'static str,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// For requests of `method` whose path (no query) matches `path`, where `*` stands for any text.
    pub fn on(method: &'static str, path: impl Into<String>, fault: Fault) -> Self {
        Self { method, path: path.into(), body: String::new(), target: "", skip: 0, times: usize::MAX, fault }
    }

    /// For an operation of AWS Organizations: `CreateAccount`.
    pub fn organizations(operation: &'static str, fault: Fault) -> Self {
        Self { target: operation, ..Self::on("POST", "/", fault) }
    }

    /// Only those whose body contains `text`: `Action=AssumeRole`.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = text.into();
        self
    }

    /// Not for the first `count` of them.
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// For `count` of them.
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }
}

/// A request that came by.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `PUT`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The access key id that signed it.
    pub key: String,
    /// The service it was signed for: `s3`, `sts`.
    pub service: String,
    /// The operation, where the protocol has it in a header: `CreateAccount`.
    pub operation: String,
    /// The body, as far as it is text.
    pub body: String,
    /// The status of the answer; `None` where there was none.
    pub status: Option<u16>,
    /// The answer, head and body, as far as it is text.
    pub answer: String,
}

impl Seen {
    /// What stands between `<tag>` and `</tag>` in the answer: the secrets that STS gave out.
    pub fn element(&self, tag: &str) -> Option<String> {
        let (_, rest) = self.answer.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(text, _)| text.to_owned())
    }
}

struct Shared {
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    held: Mutex<usize>,
    gate: watch::Sender<bool>,
}

/// The proxy. It stops with the test process.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FaultProxy {
    /// A proxy before `moto`, without rules.
    pub fn before(moto: &Moto) -> Self {
        let shared = Arc::new(Shared {
            upstream: moto.address().to_owned(),
            rules: Mutex::default(),
            seen: Mutex::default(),
            held: Mutex::default(),
            gate: watch::channel(false).0,
        });
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let for_task = Arc::clone(&shared);
        runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&for_task);
                // A connection that breaks is what this is for; nobody wants its error.
                tokio::spawn(async move { drop(serve(&shared, client).await) });
            }
        });
        Self { shared, address }
    }

    /// Its URL, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule. The first rule that is for a request decides.
    pub fn rule(&self, rule: Rule) {
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// Takes every rule away.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Lets everything go on that is held now, and holds nothing from here on.
    pub fn release(&self) {
        self.shared.gate.send_replace(true);
    }

    /// Waits until a request is held.
    #[track_caller]
    pub fn wait_until_held(&self) {
        wait_until("a request held by the proxy", || *self.shared.held.lock().unwrap() > 0);
    }

    /// Everything that came by.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The `AssumeRole` calls that came by: who asked (the access key id), and the whole call.
    pub fn assumed(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.body.contains("Action=AssumeRole&")).collect()
    }

    /// What came by of an operation that a header names: `CreateAccount`.
    pub fn operations(&self, operation: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.operation == operation).collect()
    }

    /// What came by of this method and path.
    pub fn seen_of(&self, method: &str, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == method && matches(path, &seen.path)).collect()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    fn fault_for(&self, request: &Request) -> Fault {
        let mut rules = self.rules.lock().unwrap();
        for rule in rules.iter_mut() {
            let fits = (rule.method == "*" || rule.method == request.method)
                && matches(&rule.path, &request.path)
                && (rule.target.is_empty() || request.operation() == rule.target)
                && (rule.body.is_empty() || String::from_utf8_lossy(&request.body).contains(&rule.body));
            if !fits {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                return Fault::Pass;
            }
            if rule.times > 0 {
                rule.times -= 1;
                return rule.fault.clone();
            }
        }
        Fault::Pass
    }
}

struct Request {
    method: String,
    path: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// A part of the scope in the signature: `Credential=<key>/<date>/<region>/<service>/aws4_request`.
    fn scope(&self, part: usize) -> String {
        let scope = self.head.split_once("Credential=").map_or("", |(_, rest)| rest);
        scope.split([',', ' ', '\r']).next().unwrap_or_default().split('/').nth(part).unwrap_or_default().to_owned()
    }

    /// The operation of a JSON protocol: `X-Amz-Target: AWSOrganizationsV20161128.CreateAccount`.
    fn operation(&self) -> &str {
        let header = self.head.lines().filter_map(|line| line.split_once(':'));
        let target = header.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"));
        target.and_then(|(_, value)| value.trim().rsplit('.').next()).unwrap_or_default()
    }

    fn seen(&self, answer: &[u8]) -> Seen {
        Seen {
            method: self.method.clone(),
            path: self.path.clone(),
            key: self.scope(0),
            service: self.scope(3),
            operation: self.operation().to_owned(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            status: status_of(answer),
            answer: String::from_utf8_lossy(answer).into_owned(),
        }
    }
}

async fn serve(shared: &Shared, mut client: TcpStream) -> io::Result<()> {
    let mut request = read_request(&mut client).await?;
    let fault = shared.fault_for(&request);
    let answer = match fault {
        Fault::Pass => Some(forward(shared, &request).await?),
        Fault::Replace(from, to) => {
            assert_eq!(from.len(), to.len(), "the length is in the head already");
            request.body = String::from_utf8_lossy(&request.body).replace(from, to).into_bytes();
            Some(forward(shared, &request).await?)
        }
        Fault::Hold => {
            *shared.held.lock().unwrap() += 1;
            let mut gate = shared.gate.subscribe();
            let released = tokio::time::timeout(Duration::from_secs(120), gate.wait_for(|open| *open)).await;
            drop(released);
            Some(forward(shared, &request).await?)
        }
        Fault::Status(status, code) => Some(error_answer(&request, status, code)),
        Fault::Answer(body) => Some(json_answer(200, &body)),
        Fault::Rewrite(rewrite) => {
            let answer = forward(shared, &request).await?;
            let body = find(&answer, b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
            Some(json_answer(
                status_of(&answer).unwrap_or(200),
                &(rewrite.0)(&String::from_utf8_lossy(&answer[body..])),
            ))
        }
        Fault::LoseAnswer => {
            forward(shared, &request).await?;
            None
        }
        Fault::CutAnswer => {
            let mut answer = forward(shared, &request).await?;
            let body = find(&answer, b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
            answer.truncate(body + (answer.len() - body) / 2);
            Some(answer)
        }
        Fault::Reset => {
            client.set_zero_linger()?;
            None
        }
        Fault::Close => None,
    };
    shared.seen.lock().unwrap().push(request.seen(answer.as_deref().unwrap_or_default()));
    if let Some(answer) = answer {
        client.write_all(&answer).await?;
        client.shutdown().await?;
    }
    Ok(())
}

fn json_answer(status: u16, body: &str) -> Vec<u8> {
    let head = "Content-Type: application/x-amz-json-1.1\r\nConnection: close\r\n";
    format!("HTTP/1.1 {status} OK\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn error_answer(request: &Request, status: u16, code: &str) -> Vec<u8> {
    if !request.operation().is_empty() {
        return json_answer(status, &format!("{{\"__type\":\"{code}\",\"Message\":\"a fault of the test\"}}"));
    }
    let error = format!("<Error><Code>{code}</Code><Message>a fault of the test</Message></Error>");
    let body = if request.scope(3) == "sts" { format!("<ErrorResponse>{error}</ErrorResponse>") } else { error };
    let head = "Content-Type: application/xml\r\nConnection: close\r\n";
    format!("HTTP/1.1 {status} Fault\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// Sends the request on, and returns moto's whole answer.
async fn forward(shared: &Shared, request: &Request) -> io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(&shared.upstream).await?;
    upstream.write_all(request.head.as_bytes()).await?;
    upstream.write_all(&request.body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Reads one request with its whole body. The head that is kept asks for one answer and the end of the connection.
async fn read_request(client: &mut TcpStream) -> io::Result<Request> {
    let mut buffer = Vec::new();
    let end = loop {
        if let Some(end) = find(&buffer, b"\r\n\r\n") {
            break end;
        }
        read_more(client, &mut buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut body = buffer.split_off(end + 4);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if header("expect").is_some_and(|value| value == "100-continue") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    if let Some(length) = header("content-length").and_then(|value| value.parse::<usize>().ok()) {
        while body.len() < length {
            read_more(client, &mut body).await?;
        }
    } else if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        while !body.ends_with(b"0\r\n\r\n") {
            read_more(client, &mut body).await?;
        }
    }
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let mut kept = format!("{method} {target} HTTP/1.1\r\n");
    for line in lines {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name != "connection" && name != "expect" {
            kept.push_str(line);
            kept.push_str("\r\n");
        }
    }
    kept.push_str("Connection: close\r\n\r\n");
    Ok(Request { method: method.to_owned(), path: path.to_owned(), head: kept, body })
}

async fn read_more(client: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    if client.read_buf(buffer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Whether `text` matches `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|i| rest.is_char_boundary(*i)).any(|i| matches(after, &rest[i..]))
        }),
    }
}
