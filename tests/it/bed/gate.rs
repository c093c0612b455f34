//! A step of Terraform that waits until the test lets it go on: a FIFO that a `local-exec` reads.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};

use super::{tools, wait_for};

/// A FIFO. Whoever reads it waits until a test has held it and let go.
pub struct Gate {
    path: PathBuf,
}

/// A step that has reached its gate. It goes on when this is dropped.
pub struct Held {
    _writer: File,
}

impl Gate {
    /// Makes the FIFO at `path`.
    pub fn at(path: &Path) -> Self {
        tools::run(Command::new("mkfifo").arg(path));
        Self { path: path.to_owned() }
    }

    /// The shell command that waits here.
    pub fn command(&self) -> String {
        format!("cat {} >/dev/null", self.path.display())
    }

    /// The same as a Terraform resource of the name `name`, with `more` inside its block.
    pub fn resource(&self, name: &str, more: &str) -> String {
        format!(
            "resource \"terraform_data\" \"{name}\" {{\n  {more}\n  provisioner \"local-exec\" {{\n    command = {:?}\n  }}\n}}\n",
            self.command()
        )
    }

    /// Whether a step waits here now.
    pub fn is_reached(&self) -> bool {
        self.try_hold().is_some()
    }

    /// Waits until a step has got here, and keeps it here.
    #[track_caller]
    pub fn reached(&self) -> Held {
        wait_for(&format!("a step at the gate {}", self.path.display()), || self.try_hold())
    }

    /// Opening a FIFO for writing without blocking fails while nobody reads it.
    fn try_hold(&self) -> Option<Held> {
        let fd = open(&self.path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
        Some(Held { _writer: File::from(fd) })
    }
}

impl Held {
    /// Lets the step go on.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Gate {
    /// A failed test leaves nobody waiting.
    fn drop(&mut self) {
        drop(self.try_hold());
    }
}
