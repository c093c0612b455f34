//! The other end of the credential server: what `tfleet credential-process` does.
//!
//! Blocking and small: every refresh of every provider process of every deployment starts one.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::wire::{ANSWER_LIMIT, Answer, REQUEST_LIMIT};

/// How long the server may take: longer than its own limit for STS, shorter than the minute that SDKs wait.
const PATIENCE: Duration = Duration::from_secs(50);

/// Why a child process got no credentials. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token file is not readable: mostly because the deployment it was for has ended.
    #[error("the token file {path} cannot be read ({source}): the deployment it was made for has ended")]
    Token {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens at the socket.
    #[error("the tfleet run that started this process is gone ({socket}: {source}), so there are no fresh credentials")]
    Gone {
        /// The socket.
        socket: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off, or took too long.
    #[error("tfleet did not answer at {socket}: {source}")]
    Silent {
        /// The socket.
        socket: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// tfleet has no credentials to give.
    #[error("{message}")]
    Refused {
        /// What it says.
        message: String,
    },
    /// Something else listens there.
    #[error("the answer at {socket} is not one of tfleet's")]
    Answer {
        /// The socket.
        socket: Utf8PathBuf,
    },
}

/// Asks the tfleet at `socket` for the credentials that the token in `token_file` stands for, and returns the JSON
/// document that a `credential_process` prints. Blocks for up to 50 seconds.
pub fn credential_process_client(socket: &Utf8Path, token_file: &Utf8Path) -> Result<String, ClientError> {
    let token = read_token(token_file).map_err(|source| ClientError::Token { path: token_file.to_owned(), source })?;
    let stream =
        UnixStream::connect(socket).map_err(|source| ClientError::Gone { socket: socket.to_owned(), source })?;
    let bytes = converse(&stream, token.trim_end())
        .map_err(|source| ClientError::Silent { socket: socket.to_owned(), source })?;
    let foreign = |_| ClientError::Answer { socket: socket.to_owned() };
    match serde_json::from_slice(&bytes).map_err(foreign)? {
        Answer::Credentials(document) => serde_json::to_string(&document).map_err(foreign),
        Answer::Error(message) => Err(ClientError::Refused { message }),
    }
}

fn read_token(path: &Utf8Path) -> io::Result<String> {
    let mut token = String::new();
    std::fs::File::open(path)?.take(REQUEST_LIMIT).read_to_string(&mut token)?;
    Ok(token)
}

fn converse(mut stream: &UnixStream, token: &str) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{token}\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(&chunk[..read]);
        if answer.len() as u64 > ANSWER_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
    }
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
