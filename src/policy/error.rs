//! Why there are no policies to judge by, or no judgement.

use std::io;

use camino::Utf8PathBuf;

/// What is wrong with policies, before any plan is looked at.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A directory is not there.
    #[error("there is no folder {0}")]
    NoFolder(Utf8PathBuf),
    /// A file or directory cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A data file is not what its name says.
    #[error("{path}:{line}:{column}: {message}")]
    Data {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong, a lowercase fragment.
        message: String,
    },
    /// A data file holds a list or a single value, which has no name under `data`.
    #[error("{path}: no map of names to values, so that nothing of it has a name under `data`")]
    NoMap {
        /// The file.
        path: String,
    },
    /// Two data files give one name two values.
    #[error("{path}: `data.{name}` has another value in a file that was read before")]
    Conflict {
        /// The second file.
        path: String,
        /// The name.
        name: String,
    },
    /// There are no policies where they were looked for.
    #[error("no *.rego file (but for *_test.rego) is below {dirs}")]
    NoPolicies {
        /// The directories.
        dirs: String,
    },
    /// There are files, and none of them has a rule that is asked.
    #[error(
        "no file below {dirs} has a rule `deny`, `violation` or `warn`, or one whose name begins so (`deny_public`)"
    )]
    NoRules {
        /// The directories.
        dirs: String,
    },
    /// A file is no Rego, or not sound.
    #[error("{0}")]
    Refused(String),
    /// The process that evaluates them gave no answer.
    #[error("the process that evaluates policies {0}")]
    Process(String),
}
