//! Finding a program.

use camino::{Utf8Path, Utf8PathBuf};

use super::Environment;

/// The program of this name on the `PATH` of an environment; a name with a slash in it is a path.
#[must_use]
pub fn on_path(name: &str, environment: &Environment) -> Option<Utf8PathBuf> {
    let runnable =
        |path: &Utf8Path| path.is_file() && rustix::fs::access(path.as_std_path(), rustix::fs::Access::EXEC_OK).is_ok();
    if name.contains('/') {
        let path = Utf8Path::new(name).canonicalize_utf8().ok()?;
        return runnable(&path).then_some(path);
    }
    let path = environment.iter().find(|(key, _)| *key == "PATH")?.1;
    std::env::split_paths(path)
        .filter_map(|folder| Utf8PathBuf::from_path_buf(folder.join(name)).ok())
        .find(|candidate| runnable(candidate))
}
