//! The credential server: gives the leases of this run to its child processes, over a private Unix socket.
//!
//! Who may ask: processes of the same user (the folder and the socket are closed to others, and the kernel says whose
//! the other end is) that know a token. A token stands for one lease key and lives as long as its [`ProfileGrant`].

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::config_file::{self, ChildConfig, ConfigFileError, is_quotable};
use super::error::one_line;
use super::wire::{Answer, Document, REQUEST_LIMIT};
use super::{LeaseKey, Leases};
use crate::files;
use crate::model::Region;

/// The longest path of a socket: `sun_path` holds it and a zero byte.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// How long a connection may take to say what it wants, and to take its answer.
const SPEAK: Duration = Duration::from_secs(5);
/// How many connections are served at once. More wait in the socket's queue, for [`SPEAK`] at most if all are silent.
const CONNECTIONS: usize = 512;
/// How long nothing is accepted after accepting failed: mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the server did not start, or a grant could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A folder or a file of the server.
    #[error("{path} cannot be made: {source}")]
    Path {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder belongs to somebody else.
    #[error("the folder {path} belongs to another user (uid {owner})")]
    Foreign {
        /// The folder.
        path: Utf8PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// No place for the socket.
    #[error("no folder for the credential socket has a path short enough: {path} has {} bytes, {limit} are possible", path.as_str().len())]
    TooLong {
        /// The path that was wanted.
        path: Utf8PathBuf,
        /// How many bytes it may have.
        limit: usize,
    },
    /// Our own path is not to be had.
    #[error("the path of the running program cannot be found: {source}")]
    Program {
        /// Why.
        source: io::Error,
    },
    /// Started outside of a Tokio runtime.
    #[error("the credential server needs a running Tokio runtime")]
    NoRuntime,
}

impl ServerError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Path { .. } | Self::Foreign { .. } => {
                "let TMPDIR name a folder that is writable and belongs to this user"
            }
            Self::TooLong { .. } => "let XDG_RUNTIME_DIR or TMPDIR name a folder with a short path, such as /tmp",
            Self::Program { .. } | Self::NoRuntime => "this is a defect of tfleet: please report it",
        }
    }
}

/// How the server behaves where the defaults do not fit.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Children are told that credentials expire after this time at the latest, so that they ask again.
    pub max_served: Option<Duration>,
    /// The program that children start to ask. Unset: this one.
    pub program: Option<Utf8PathBuf>,
}

/// Serves leases until it is dropped.
pub struct CredentialServer {
    folder: Utf8PathBuf,
    socket: Utf8PathBuf,
    program: Utf8PathBuf,
    shared: Arc<Shared>,
    next: AtomicU64,
    task: JoinHandle<()>,
    /// The folder of the socket, where `folder` has too long a path.
    _short: Option<tempfile::TempDir>,
}

struct Shared {
    leases: Arc<Leases>,
    grants: Mutex<HashMap<u64, Grant>>,
    max_served: Option<SignedDuration>,
    /// Until when what was handed out lives at the longest, in seconds since 1970.
    handed_out: Arc<AtomicI64>,
}

/// For how long credentials that name no end are taken to live: the longest session that STS grants to a role.
const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(12);

struct Grant {
    digest: [u8; 32],
    key: LeaseKey,
    fetches: Arc<AtomicU64>,
}

impl Shared {
    fn grants(&self) -> MutexGuard<'_, HashMap<u64, Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `token` stands for.
    fn find(&self, token: &str) -> Option<(LeaseKey, Arc<AtomicU64>)> {
        let (id, secret) = token.split_once('.')?;
        let id: u64 = id.parse().ok()?;
        let digest = digest(secret);
        let grants = self.grants();
        let grant = grants.get(&id)?;
        same(&grant.digest, &digest).then(|| (grant.key.clone(), Arc::clone(&grant.fetches)))
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Compares in a time that says nothing about where the two differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0_u8, |difference, (a, b)| difference | (a ^ b))) == 0
}

/// The right to fetch one lease through the server. Dropping it ends the right and removes the token file.
pub struct ProfileGrant {
    id: u64,
    token_file: Utf8PathBuf,
    fetches: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl ProfileGrant {
    /// The file, readable by its owner only, that holds the token.
    #[must_use]
    pub fn token_file(&self) -> &Utf8Path {
        &self.token_file
    }

    /// How often credentials were given out under this grant.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl Drop for ProfileGrant {
    fn drop(&mut self) {
        self.shared.grants().remove(&self.id);
        // The token in it is worth nothing any more.
        let _ = std::fs::remove_file(&self.token_file);
    }
}

impl fmt::Debug for ProfileGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileGrant")
            .field("token_file", &self.token_file)
            .field("fetches", &self.fetches())
            .finish_non_exhaustive()
    }
}

impl CredentialServer {
    /// Starts serving `leases`. `folder` becomes (or is made) private; it holds the token files, and the socket if its
    /// path is short enough, which else goes to a new private folder with a shorter one.
    pub fn start(folder: &Utf8Path, leases: Arc<Leases>, options: ServerOptions) -> Result<Self, ServerError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ServerError::NoRuntime)?;
        let folder = std::path::absolute(folder)
            .and_then(|path| Utf8PathBuf::try_from(path).map_err(camino::FromPathBufError::into_io_error))
            .map_err(|source| ServerError::Path { path: folder.to_owned(), source })?;
        make_private(&folder)?;
        let program = options.program.map_or_else(own_program, Ok)?;
        let program = quotable_program(program, &folder)?;
        let (socket, short) = socket_path(&folder, &short_folders())?;
        let failed = |source| ServerError::Path { path: socket.clone(), source };
        let listener = {
            let _context = runtime.enter();
            UnixListener::bind(&socket).map_err(failed)?
        };
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let max_served = options.max_served.and_then(|limit| SignedDuration::try_from(limit).ok());
        let shared = Arc::new(Shared { leases, grants: Mutex::default(), max_served, handed_out: Arc::default() });
        let task = runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { folder, socket, program, shared, next: AtomicU64::new(1), task, _short: short })
    }

    /// The private folder of the run's token and configuration files.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Utf8Path {
        &self.socket
    }

    /// Until when what was handed out to child processes lives at the longest, in seconds since 1970; it grows. Whoever has
    /// lost this server can do nothing after that.
    #[must_use]
    pub fn handed_out(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.shared.handed_out)
    }

    /// Makes a token for `key`. Nothing is fetched until a child asks.
    pub fn register(&self, key: LeaseKey) -> Result<ProfileGrant, ServerError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let token_file = self.folder.join(format!("token-{id}"));
        files::write_private(&token_file, format!("{id}.{secret}\n").as_bytes())
            .map_err(|source| ServerError::Path { path: token_file.clone(), source })?;
        let fetches = Arc::new(AtomicU64::new(0));
        let grant = Grant { digest: digest(&secret), key, fetches: Arc::clone(&fetches) };
        self.shared.grants().insert(id, grant);
        Ok(ProfileGrant { id, token_file, fetches, shared: Arc::clone(&self.shared) })
    }

    /// Writes an AWS configuration file with a profile for each of `grants`, and an empty credentials file beside it.
    pub fn write_config(
        &self,
        path: &Utf8Path,
        grants: &[(&str, &ProfileGrant, &Region)],
    ) -> Result<ChildConfig, ConfigFileError> {
        config_file::write(path, &self.program, &self.socket, grants)
    }
}

impl Drop for CredentialServer {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl fmt::Debug for CredentialServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialServer").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// Makes `folder` if it is not there, and closes it to others.
fn make_private(folder: &Utf8Path) -> Result<(), ServerError> {
    let failed = |source| ServerError::Path { path: folder.to_owned(), source };
    files::private_dir(folder).map_err(failed)?;
    let metadata = std::fs::metadata(folder).map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(ServerError::Foreign { path: folder.to_owned(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

fn own_program() -> Result<Utf8PathBuf, ServerError> {
    std::env::current_exe()
        .and_then(|path| Utf8PathBuf::try_from(path).map_err(camino::FromPathBufError::into_io_error))
        .map_err(|source| ServerError::Program { source })
}

/// `program`, or a link to it in `folder` if its own path cannot stand in a configuration file.
fn quotable_program(program: Utf8PathBuf, folder: &Utf8Path) -> Result<Utf8PathBuf, ServerError> {
    if is_quotable(&program) {
        return Ok(program);
    }
    let link = folder.join("tfleet");
    std::os::unix::fs::symlink(&program, &link).map_err(|source| ServerError::Path { path: link.clone(), source })?;
    Ok(link)
}

/// Where the socket goes if the run's own folder has too long a path.
fn short_folders() -> Vec<Utf8PathBuf> {
    let runtime = std::env::var("XDG_RUNTIME_DIR").ok().filter(|path| !path.is_empty()).map(Utf8PathBuf::from);
    let temporary = Utf8PathBuf::try_from(std::env::temp_dir()).ok();
    runtime.into_iter().chain(temporary).chain([Utf8PathBuf::from("/tmp")]).collect()
}

fn socket_path(
    folder: &Utf8Path,
    others: &[Utf8PathBuf],
) -> Result<(Utf8PathBuf, Option<tempfile::TempDir>), ServerError> {
    let fits = |path: &Utf8Path| path.as_str().len() <= SOCKET_PATH_LIMIT && is_quotable(path);
    let wanted = folder.join("credentials.sock");
    if fits(&wanted) {
        return Ok((wanted, None));
    }
    for other in others {
        let private = std::fs::Permissions::from_mode(0o700);
        let Ok(made) = tempfile::Builder::new().prefix("tfleet-").permissions(private).tempdir_in(other) else {
            continue;
        };
        match Utf8Path::from_path(made.path()).map(|path| path.join("s")) {
            Some(path) if path.is_absolute() && fits(&path) => return Ok((path, Some(made))),
            _ => {}
        }
    }
    Err(ServerError::TooLong { path: wanted, limit: SOCKET_PATH_LIMIT })
}

/// Accepts until it is aborted; the connections end with it.
async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut running = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                running.spawn(async move {
                    serve(stream, &shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the credential server could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while running.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: UnixStream, shared: &Shared) {
    let us = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == us || peer.uid() == 0 => {}
        _ => {
            tracing::warn!("a process of another user asked for credentials and was turned away");
            return;
        }
    }
    let answer = match timeout(SPEAK, read_request(&mut stream)).await {
        Ok(Ok(token)) => answer(&token, shared).await,
        Ok(Err(error)) => Answer::Error(format!("tfleet could not read the request: {error}")),
        Err(_) => Answer::Error("tfleet got no request in time".to_owned()),
    };
    let Ok(bytes) = serde_json::to_vec(&answer) else { return };
    let sent = timeout(SPEAK, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    });
    if !matches!(sent.await, Ok(Ok(()))) {
        tracing::debug!("a process that asked for credentials did not take the answer");
    }
}

/// Reads one line, without its end.
async fn read_request(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(REQUEST_LIMIT));
    reader.read_until(b'\n', &mut line).await?;
    let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    if line.pop() != Some(b'\n') {
        return Err(invalid("it is too long or has no end"));
    }
    String::from_utf8(line).map_err(|_| invalid("it is not text"))
}

async fn answer(token: &str, shared: &Shared) -> Answer {
    let Some((key, fetches)) = shared.find(token) else {
        tracing::warn!("a process asked for credentials with a token that stands for nothing");
        return Answer::Error("tfleet does not know this token: the deployment it was made for has ended".to_owned());
    };
    match shared.leases.get(&key).await {
        Ok(credentials) => {
            fetches.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%key, "credentials served");
            let now = Timestamp::now();
            // What a child is told of the end may be earlier; the credentials themselves do not know of that.
            let until = credentials.expires.unwrap_or(now + LONGEST_SESSION);
            shared.handed_out.fetch_max(until.as_second(), Ordering::Relaxed);
            Answer::Credentials(Document::new(&credentials, now, shared.max_served))
        }
        Err(error) => {
            tracing::warn!(%key, %error, "a child process asked for credentials that could not be had");
            Answer::Error(one_line(&format!("tfleet has no credentials for {key}: {error}; {}", error.hint())))
        }
    }
}
