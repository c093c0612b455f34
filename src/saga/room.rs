//! Room on the disk.

use camino::Utf8Path;

use super::{Ended, Saga};
use crate::event::Failure;

/// Below this much free space in the cache, nothing is started: a full disk in the middle of an apply loses logs and,
/// where the store is local, states. In bytes.
const LEAST_SPACE: u64 = 64 * 1024 * 1024;

/// Fails if the disk of `dir` is nearly full.
pub fn check_space(dir: &Utf8Path) -> Result<(), Failure> {
    let Ok(disk) = rustix::fs::statvfs(dir.as_std_path()) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= LEAST_SPACE {
        return Ok(());
    }
    Err(Failure::new(format!("the disk of {dir} is nearly full: {} MiB are free", free / 1024 / 1024))
        .because("logs and workspaces are written there while deployments run")
        .next("make room, or set TFLEET_CACHE_DIR to a directory on another disk"))
}

impl Saga<'_> {
    /// Looks once more before anything is changed: a run of many deployments may have filled the disk itself.
    pub(super) fn still_room(&self) -> Result<(), Ended> {
        check_space(self.ctx.cache.root()).map_err(Ended::failed)
    }
}
