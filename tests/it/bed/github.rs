//! GitHub's API as far as comments need it, with faults on demand.
//!
//! Plain HTTP/1, one request for each connection. The unit tests of `src/github` use it too, so it needs nothing else of
//! the bed.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// The user of the tokens of jobs.
pub const ACTIONS_BOT: &str = "github-actions[bot]";

/// What happens to a request instead of being answered.
#[derive(Debug, Clone)]
pub enum GithubFault {
    /// This status, with these headers and this body.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// The connection ends before the request is carried out.
    Close,
    /// The request is carried out, and its answer is lost.
    LoseAnswer,
}

/// A comment.
#[derive(Debug, Clone)]
pub struct GithubComment {
    /// Its id.
    pub id: u64,
    /// Whose it is.
    pub login: String,
    /// What it says.
    pub body: String,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct GithubRequest {
    /// `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// The header of that name.
    pub authorization: String,
}

#[derive(Default)]
struct State {
    prefix: String,
    login: Option<String>,
    comments: Vec<GithubComment>,
    faults: VecDeque<(&'static str, GithubFault)>,
    seen: Vec<GithubRequest>,
}

/// The server. It stops with the test process.
pub struct FakeGithub {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl FakeGithub {
    /// One pull request, `acme/fleet#7`, without comments; its token is that of a job, which may not ask who it is.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let for_thread = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that goes away is its own matter.
                let _ = serve(&for_thread, client);
            }
        });
        Self { state, address }
    }

    /// The same below `/api/v3`, as GitHub Enterprise has it.
    pub fn enterprise() -> Self {
        let github = Self::start();
        "/api/v3".clone_into(&mut github.state.lock().unwrap().prefix);
        github
    }

    /// The address of the API.
    pub fn api(&self) -> String {
        format!("http://{}{}", self.address, self.state.lock().unwrap().prefix)
    }

    /// From here on the token is a person's, who is told their name.
    pub fn token_of(&self, login: &str) {
        self.state.lock().unwrap().login = Some(login.to_owned());
    }

    /// Adds a comment.
    pub fn write(&self, login: &str, body: &str) -> u64 {
        self.state.lock().unwrap().add(login, body)
    }

    /// The next request of this method has this fault.
    pub fn fault(&self, method: &'static str, fault: GithubFault) {
        self.state.lock().unwrap().faults.push_back((method, fault));
    }

    /// All comments, the oldest first.
    pub fn comments(&self) -> Vec<GithubComment> {
        self.state.lock().unwrap().comments.clone()
    }

    /// The requests that came.
    pub fn seen(&self) -> Vec<GithubRequest> {
        self.state.lock().unwrap().seen.clone()
    }

    /// How many requests of this method came.
    pub fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|request| request.method == method).count()
    }
}

impl State {
    fn add(&mut self, login: &str, body: &str) -> u64 {
        let id = 1001 + u64::try_from(self.comments.len()).unwrap();
        self.comments.push(GithubComment { id, login: login.to_owned(), body: body.to_owned() });
        id
    }

    /// Status, further headers, and body.
    fn answer(&mut self, method: &str, path: &str, body: &Value) -> (u16, String, Value) {
        let path = path.strip_prefix(&self.prefix).unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let said = |text: &str| json!({ "message": text });
        if body["body"].as_str().is_some_and(|body| body.encode_utf16().count() > 65_536) {
            return (422, String::new(), said("Body is too long (maximum is 65536 characters)"));
        }
        let writer = self.login.clone().unwrap_or_else(|| ACTIONS_BOT.to_owned());
        match (method, path) {
            ("GET", "/user") => match &self.login {
                Some(login) => (200, String::new(), json!({"login": login, "type": "User"})),
                None => (403, String::new(), said("Resource not accessible by integration")),
            },
            ("GET", "/repos/acme/fleet/issues/7/comments") => self.page(query),
            ("POST", "/repos/acme/fleet/issues/7/comments") => {
                let id = self.add(&writer, body["body"].as_str().unwrap());
                (201, String::new(), self.shown(id))
            }
            ("PATCH", path) => {
                let id = path.strip_prefix("/repos/acme/fleet/issues/comments/").and_then(|id| id.parse().ok());
                let comment = self.comments.iter_mut().find(|comment| Some(comment.id) == id);
                let Some(comment) = comment else { return (404, String::new(), said("Not Found")) };
                body["body"].as_str().unwrap().clone_into(&mut comment.body);
                let id = comment.id;
                (200, String::new(), self.shown(id))
            }
            _ => (404, String::new(), said("Not Found")),
        }
    }

    fn shown(&self, id: u64) -> Value {
        let comment = self.comments.iter().find(|comment| comment.id == id).unwrap();
        let kind = if comment.login.ends_with("[bot]") { "Bot" } else { "User" };
        json!({
            "id": id, "body": comment.body, "user": {"login": comment.login, "type": kind},
            "html_url": format!("https://github.example/acme/fleet/pull/7#issuecomment-{id}"),
        })
    }

    /// A page, with the header that says whether there is another.
    fn page(&self, query: &str) -> (u16, String, Value) {
        let of = |name: &str| {
            let values = query.split('&').filter_map(|pair| pair.split_once('='));
            values.into_iter().find(|(n, _)| *n == name).and_then(|(_, value)| value.parse::<usize>().ok())
        };
        let (size, page) = (of("per_page").unwrap_or(30), of("page").unwrap_or(1));
        let ids: Vec<u64> = self.comments.iter().map(|comment| comment.id).skip((page - 1) * size).take(size).collect();
        let more = self.comments.len() > page * size;
        let link = format!("Link: <http://127.0.0.1/none?page={}>; rel=\"next\"\r\n", page + 1);
        let head = if more { link } else { String::new() };
        (200, head, ids.into_iter().map(|id| self.shown(id)).collect())
    }
}

fn serve(state: &Mutex<State>, client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => value.trim().clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = {
        let mut state = state.lock().unwrap();
        let fault = state.faults.iter().position(|(for_method, _)| *for_method == method);
        let fault = fault.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault);
        state.seen.push(GithubRequest { method: method.clone(), path: path.clone(), authorization });
        match fault {
            Some(GithubFault::Close) => None,
            Some(GithubFault::LoseAnswer) => {
                state.answer(&method, &path, &body);
                None
            }
            Some(GithubFault::Status(status, headers, body)) => {
                let head = headers.into_iter().fold(String::new(), |mut head, (name, value)| {
                    let _ = write!(head, "{name}: {value}\r\n");
                    head
                });
                Some((status, head, body.to_owned()))
            }
            None => {
                let (status, head, body) = state.answer(&method, &path, &body);
                Some((status, head, body.to_string()))
            }
        }
    };
    let Some((status, head, body)) = answer else { return Ok(()) };
    let mut client = client;
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}
