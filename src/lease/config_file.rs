//! The private AWS configuration that Terraform and its providers get instead of the caller's.
//!
//! A `credential_process` line has many readers, and each takes it apart in its own way (all tried):
//!
//! - botocore splits it as a shell would and starts no shell; the Go and Rust SDKs give it to `sh -c`;
//! - before that, the Go SDK v2 takes the outer quotes off a value that begins and ends with one, even where they are
//!   not a pair (`"a b" x "c d"`), and the Go SDK v1 drops all that follows a quoted word at the beginning;
//! - some take ` #` and ` ;` for the start of a comment.
//!
//! So the quotes never stand at the beginning or the end: `/"opt/my tools/"tfleet`. A path with a character that any of
//! these readers treats specially within quotes is refused.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::server::ProfileGrant;
use crate::files;
use crate::model::Region;

/// The profile of the state backend: the central account.
pub const BACKEND_PROFILE: &str = "tfleet-backend";
/// The profile of the providers: the deployment's account.
pub const TARGET_PROFILE: &str = "tfleet-target";

/// Why a configuration file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// A file could not be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path that not every AWS SDK reads the same way.
    #[error("the path {path:?} has a character that cannot stand in an AWS configuration file")]
    Path {
        /// The path.
        path: Utf8PathBuf,
    },
    /// A profile name that not every AWS SDK reads the same way.
    #[error("the profile name {name:?} cannot stand in an AWS configuration file")]
    Profile {
        /// The name.
        name: String,
    },
}

impl ConfigFileError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write { .. } => "check the free space and the permissions of the folder for temporary files",
            Self::Path { .. } => {
                "let TMPDIR (and XDG_RUNTIME_DIR) name folders without quotes, backslashes, $, `, # and ;"
            }
            Self::Profile { .. } => "use letters, digits and -_.+@/: in profile names",
        }
    }
}

/// A configuration file and the empty credentials file beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildConfig {
    /// The configuration file.
    pub config: Utf8PathBuf,
    /// The empty credentials file: a profile of the same name in the caller's own would beat ours.
    pub credentials: Utf8PathBuf,
}

impl ChildConfig {
    /// The variables with which a child process uses these files, and `profile` where nothing names another.
    ///
    /// `AWS_SDK_LOAD_CONFIG` makes old AWS providers read the configuration file at all.
    #[must_use]
    pub fn environment(&self, profile: &str) -> [(&'static str, String); 4] {
        [
            ("AWS_CONFIG_FILE", self.config.to_string()),
            ("AWS_SHARED_CREDENTIALS_FILE", self.credentials.to_string()),
            ("AWS_SDK_LOAD_CONFIG", "1".to_owned()),
            ("AWS_PROFILE", profile.to_owned()),
        ]
    }
}

/// Writes `path` and, beside it, an empty credentials file, both 0600.
pub(super) fn write(
    path: &Utf8Path,
    program: &Utf8Path,
    socket: &Utf8Path,
    grants: &[(&str, &ProfileGrant, &Region)],
) -> Result<ChildConfig, ConfigFileError> {
    let mut text = String::from("# Written by tfleet for one run. The credentials come from the running tfleet.\n");
    for (name, grant, region) in grants {
        text.push_str(&section(name, region, program, socket, grant.token_file())?);
    }
    let credentials = Utf8PathBuf::from(format!("{path}.credentials"));
    for (path, text) in [(path, text.as_str()), (&credentials, "")] {
        files::write_private(path, text.as_bytes())
            .map_err(|source| ConfigFileError::Write { path: path.to_owned(), source })?;
    }
    Ok(ChildConfig { config: path.to_owned(), credentials })
}

fn section(
    name: &str,
    region: &Region,
    program: &Utf8Path,
    socket: &Utf8Path,
    token: &Utf8Path,
) -> Result<String, ConfigFileError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+@/:".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(ConfigFileError::Profile { name: name.to_owned() });
    }
    let heading = if name == "default" { "default".to_owned() } else { format!("profile {name}") };
    let (program, socket, token) = (quoted(program)?, quoted(socket)?, quoted(token)?);
    Ok(format!(
        "\n[{heading}]\nregion = {region}\n\
         credential_process = {program} credential-process --socket {socket} --token-file {token}\n"
    ))
}

/// `path` as one word that every reader takes for the same path.
fn quoted(path: &Utf8Path) -> Result<String, ConfigFileError> {
    let refused = || ConfigFileError::Path { path: path.to_owned() };
    if !is_quotable(path) {
        return Err(refused());
    }
    if is_plain(path.as_str()) {
        return Ok(path.to_string());
    }
    let inner = path.as_str().strip_prefix('/').ok_or_else(refused)?;
    Ok(match inner.rsplit_once('/') {
        Some((folder, name)) if is_plain(name) => format!("/\"{folder}/\"{name}"),
        _ => format!("/\"{inner}\""),
    })
}

/// Whether no reader sees anything special in `text`.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+@,/".contains(c))
}

/// Whether [`quoted`] can write `path`.
pub(super) fn is_quotable(path: &Utf8Path) -> bool {
    let text = path.as_str();
    // Two spaces in a row are left alone by the shell and by shlex, but not by every INI reader.
    path.is_absolute() && !text.contains("  ") && !text.chars().any(|c| c.is_control() || "\"\\$`#;'![]".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_readers_differ_about_are_refused() {
        for good in ["/usr/bin/tfleet", "/home/a b/tfleet", "/tmp/ü(1)/x=y,z"] {
            assert!(is_quotable(Utf8Path::new(good)), "{good}");
        }
        for bad in ["", "a/b", "/a[b]", "/a$b", "/a\"b", "/a`b", "/a\\b", "/a\nb", "/a #b", "/a;b", "/a  b", "/it's"] {
            assert!(!is_quotable(Utf8Path::new(bad)), "{bad:?}");
        }
    }

    #[test]
    fn a_shell_reads_the_path_that_was_written_and_no_quote_stands_at_an_end() {
        for path in ["/usr/bin/tfleet", "/tmp/a b/c d/token-1", "/tmp/(ü)=y,z%~&|<x>/t", "/a b/t", "/x/a b"] {
            let word = quoted(Utf8Path::new(path)).unwrap();
            assert!(!word.starts_with('"'), "{word}");
            assert!(
                !word.ends_with('"') || path.ends_with("a b"),
                "only a name that needs them ends with quotes: {word}"
            );
            let output =
                std::process::Command::new("sh").args(["-c", &format!("printf '%s|' {word}")]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{path}|"));
        }
    }

    #[test]
    fn profile_names_cannot_begin_another_section() {
        let path = Utf8Path::new("/x");
        let region = Region::new("us-east-1").unwrap();
        for bad in ["", "a b", "a]\n[profile b", "a#b", "a;b"] {
            assert!(section(bad, &region, path, path, path).is_err(), "{bad:?}");
        }
        assert!(section("default", &region, path, path, path).unwrap().contains("\n[default]\n"));
        assert!(section("org/dev.1", &region, path, path, path).unwrap().contains("\n[profile org/dev.1]\n"));
    }
}
