//! The output of a process, in a file, read while it is being written.
//!
//! A file and not a pipe: a pipe dies with its reader, and then the writer with it. A Terraform whose tfleet was killed
//! would end by SIGPIPE at its next line, in the middle of an apply, and what it had just created would stand in no state.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::Output;
use crate::files;

/// A line longer than this is given on in pieces, cut at white space where there is some, so that memory is bounded.
const LONGEST_LINE: usize = 1024 * 1024;

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// How soon a file is looked at again after something came, and how seldom while nothing comes, where the system does
/// not say when it grows.
const SOON: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(100);

/// The same where it does: a file system (NFS, say) may keep it to itself.
const DISTRUST: Duration = Duration::from_secs(1);

/// Reads a growing file, and cuts it into lines.
pub(super) struct Follower {
    path: Utf8PathBuf,
    file: File,
    /// How much of it was read, in bytes.
    read: u64,
    lines: Lines,
    growth: Growth,
}

impl Follower {
    /// Makes the file anew, readable by its owner alone, and gives the end to write to: it appends, so that two
    /// descriptors of it never write over each other.
    pub(super) fn create(path: &Utf8Path) -> io::Result<(Self, File)> {
        if let Some(folder) = path.parent() {
            files::private_dir(folder)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let writer = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let file = File::open(path)?;
        let follower =
            Self { path: path.to_owned(), file, read: 0, lines: Lines::default(), growth: Growth::watch(path) };
        Ok((follower, writer))
    }

    /// Waits until there may be more to read; may be dropped at any time.
    pub(super) async fn grown(&mut self) {
        self.growth.next().await;
    }

    /// Reads what is there, up to a limit, and gives on the whole lines of it.
    pub(super) fn take(&mut self, output: &mut dyn Output) -> io::Result<()> {
        let read = self.read(READ_SIZE as u64)?;
        self.growth.saw(read);
        if read > 0 {
            self.lines.take(output);
        }
        Ok(())
    }

    /// Reads up to where the file ends now, and gives on everything. What a process that was left behind still writes
    /// after this is not waited for.
    pub(super) fn finish(&mut self, output: &mut dyn Output) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        while self.read < end && self.read((end - self.read).min(READ_SIZE as u64))? > 0 {
            self.lines.take(output);
        }
        self.lines.finish(output);
        output.pause();
        Ok(())
    }

    /// Removes the file: whatever was in it has been given on.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path, %error, "the output of a process could not be removed");
        }
    }

    fn read(&mut self, limit: u64) -> io::Result<usize> {
        let read = Read::by_ref(&mut self.file).take(limit).read_to_end(&mut self.lines.buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// Reads a file to its end and gives on its lines, the last one also if it has no end.
pub(super) fn read_lines(mut file: File, output: &mut dyn Output) -> io::Result<()> {
    let mut lines = Lines::default();
    while Read::by_ref(&mut file).take(READ_SIZE as u64).read_to_end(&mut lines.buffer)? > 0 {
        lines.give_whole_lines(output);
    }
    lines.finish(output);
    Ok(())
}

/// When to look again.
struct Growth {
    /// What inotify says. Asking at an interval would do as well for what people see; but the id of Terraform's lock can be
    /// read only while Terraform holds it, which may be for a few milliseconds.
    notices: Option<AsyncFd<OwnedFd>>,
    pause: Duration,
    more: bool,
}

impl Growth {
    fn watch(path: &Utf8Path) -> Self {
        let notices = notices(path).and_then(register);
        if let Err(error) = &notices {
            // There are few of them for each user, and none on other systems than Linux.
            tracing::debug!(%path, %error, "no notices of growth; looking at an interval");
        }
        Self { notices: notices.ok(), pause: SOON, more: false }
    }

    fn saw(&mut self, read: usize) {
        self.more = read == READ_SIZE;
        self.pause = if read > 0 { SOON } else { (self.pause * 2).min(SELDOM) };
    }

    async fn next(&mut self) {
        if self.more {
            // There is more at once, but others have a right to this thread as well.
            tokio::task::yield_now().await;
            return;
        }
        let Some(notices) = &self.notices else { return sleep(self.pause).await };
        tokio::select! {
            ready = notices.readable() => {
                let Ok(mut ready) = ready else { return sleep(self.pause).await };
                // They say that something was written; how much, the file says. So they are taken before it is read.
                let _ = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut [0; 1024])?));
            }
            () = sleep(DISTRUST) => {}
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe, for descriptors that others can close; this one is owned")]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

#[cfg(target_os = "linux")]
fn notices(path: &Utf8Path) -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

    let notices = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    add_watch(&notices, path.as_std_path(), WatchFlags::MODIFY)?;
    Ok(notices)
}

#[cfg(not(target_os = "linux"))]
fn notices(_: &Utf8Path) -> io::Result<OwnedFd> {
    Err(ErrorKind::Unsupported.into())
}

/// Cuts what is read into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Gives on every whole line that the buffer holds.
    fn take(&mut self, output: &mut dyn Output) {
        self.give_whole_lines(output);
        output.pause();
    }

    fn give_whole_lines(&mut self, output: &mut dyn Output) {
        let mut start = 0;
        while let Some(end) = self.buffer[start..].iter().position(|b| *b == b'\n') {
            give(&self.buffer[start..start + end], output);
            start += end + 1;
        }
        self.buffer.drain(..start);
        while self.buffer.len() > LONGEST_LINE {
            let white = self.buffer[..LONGEST_LINE].iter().rposition(u8::is_ascii_whitespace);
            let cut = white.filter(|at| *at > LONGEST_LINE / 2).unwrap_or(LONGEST_LINE);
            give(&self.buffer[..cut], output);
            self.buffer.drain(..cut);
        }
    }

    fn finish(&mut self, output: &mut dyn Output) {
        if !self.buffer.is_empty() {
            give(&self.buffer, output);
            self.buffer.clear();
        }
    }
}

fn give(line: &[u8], output: &mut dyn Output) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    output.line(&String::from_utf8_lossy(line));
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn followed() -> (tempfile::TempDir, Follower, File) {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(temp.path().join("a/apply.output")).unwrap();
        let (follower, writer) = Follower::create(&path).unwrap();
        (temp, follower, writer)
    }

    /// Waits for growth until all of `wanted` has come.
    async fn read_until(follower: &mut Follower, wanted: &[&str]) {
        let mut lines = Vec::new();
        while lines.len() < wanted.len() {
            follower.take(&mut |line: &str| lines.push(line.to_owned())).unwrap();
            if lines.len() < wanted.len() {
                follower.grown().await;
            }
        }
        assert_eq!(lines, wanted);
    }

    #[tokio::test]
    async fn what_is_written_comes_by_lines_with_notices_and_without() {
        for noticed in [true, false] {
            let (_temp, mut follower, mut writer) = followed();
            if !noticed {
                follower.growth.notices = None;
            }
            writer.write_all(b"one\ntwo\nthr").unwrap();
            read_until(&mut follower, &["one", "two"]).await;
            let writing = std::thread::spawn(move || {
                writer.write_all(b"ee\nfour").unwrap();
                writer
            });
            read_until(&mut follower, &["three"]).await;
            drop(writing.join().unwrap());
            let mut rest = Vec::new();
            follower.finish(&mut |line: &str| rest.push(line.to_owned())).unwrap();
            assert_eq!(rest, ["four"]);
        }
    }

    #[test]
    fn without_notices_the_pause_grows_while_nothing_comes() {
        let mut growth = Growth { notices: None, pause: SOON, more: false };
        for _ in 0..10 {
            growth.saw(0);
        }
        assert_eq!(growth.pause, SELDOM);
        growth.saw(1);
        assert_eq!((growth.pause, growth.more), (SOON, false));
        growth.saw(READ_SIZE);
        assert!(growth.more);
    }

    #[tokio::test]
    async fn the_file_is_private_new_and_appended_to() {
        let (_temp, follower, mut writer) = followed();
        let path = follower.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut second = writer.try_clone().unwrap();
        writer.write_all(b"a").unwrap();
        second.write_all(b"b").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ab");
        // What an earlier process left there is not read as this one's; who still writes to it does not disturb.
        let (mut follower, _writer) = Follower::create(&path).unwrap();
        writer.write_all(b"late\n").unwrap();
        let mut lines = 0;
        follower.finish(&mut |_: &str| lines += 1).unwrap();
        assert_eq!(lines, 0);
        follower.remove();
        assert!(!path.exists());
    }

    #[test]
    fn long_lines_are_cut_at_white_space() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        lines.buffer = [vec![b'a'; LONGEST_LINE - 10], b" secretsecretsecret".to_vec()].concat();
        lines.take(&mut |line: &str| got.push(line.to_owned()));
        lines.finish(&mut |line: &str| got.push(line.to_owned()));
        assert_eq!(got.len(), 2);
        assert_eq!(got[1], " secretsecretsecret");
    }
}
