//! The plan texts that a run has kept, on the machine of the run or where its artefacts were taken to.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use camino::{Utf8Path, Utf8PathBuf};

use crate::event::DeploymentResult;
use crate::files;

/// The name of a plan's text among the artefacts of its deployment.
const PLAN: &str = "plan.txt";

/// Where plan texts are looked for.
///
/// A summary that came from elsewhere says what it likes. Opened is only what lies where a run keeps it: as
/// `NAME/plan.txt`, in one of the folders, or at the place that the summary says; a regular file, and in a folder of
/// these no link that leads out of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanFiles<'a> {
    /// What `--out-dir` was for the run, wherever that is now. The first that has a plan counts.
    pub folders: &'a [Utf8PathBuf],
}

impl PlanFiles<'_> {
    /// The plan of a deployment.
    #[must_use]
    pub fn open(&self, result: &DeploymentResult) -> Option<Box<dyn BufRead>> {
        let place = files::normalize(Utf8Path::new(&result.deployment.name)).filter(|name| name.is_relative())?;
        let place = place.join(PLAN);
        let moved = self.folders.iter().find_map(|folder| inside(folder, &place));
        let file = moved.or_else(|| {
            let path = result.plan.as_deref().filter(|path| path.ends_with(&place))?;
            fs::symlink_metadata(path).is_ok_and(|found| found.is_file()).then(|| path.to_owned())
        })?;
        Some(Box::new(BufReader::new(File::open(file).ok()?)))
    }
}

/// The file at `place` in the folder, if that is where it really is.
fn inside(folder: &Utf8Path, place: &Utf8Path) -> Option<Utf8PathBuf> {
    let (folder, file) = (folder.canonicalize_utf8().ok()?, folder.join(place).canonicalize_utf8().ok()?);
    (file == folder.join(place) && file.is_file()).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use super::*;
    use crate::event::Outcome;
    use crate::model::{Action, Deployment, samples};

    fn result(name: &str, plan: Option<Utf8PathBuf>) -> DeploymentResult {
        let deployment = Deployment { name: name.to_owned(), ..samples::deployment("x") };
        DeploymentResult { plan, ..DeploymentResult::new(Arc::new(deployment), Action::Plan, Outcome::Succeeded) }
    }

    #[test]
    fn only_plans_are_opened_and_only_where_they_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let top = Utf8Path::from_path(temp.path()).unwrap();
        let put = |place: &str| {
            let path = top.join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, place).unwrap();
            path
        };
        let (secret, here, moved) = (put("secret/plan.txt"), put("was/s3/a/plan.txt"), put("now/s3/a/plan.txt"));
        fs::create_dir_all(top.join("now/s3/b")).unwrap();
        symlink(&secret, top.join("now/s3/b/plan.txt")).unwrap();
        fs::create_dir_all(top.join("link/s3")).unwrap();
        symlink(top.join("secret"), top.join("link/s3/a")).unwrap();
        let opened = |folders: &[&str], name: &str, plan: Option<&Utf8PathBuf>| {
            let folders: Vec<Utf8PathBuf> = folders.iter().map(|folder| top.join(folder)).collect();
            let found = PlanFiles { folders: &folders }.open(&result(name, plan.cloned()))?;
            Some(std::io::read_to_string(found).unwrap())
        };
        assert_eq!(opened(&[], "s3/a", Some(&here)).as_deref(), Some("was/s3/a/plan.txt"));
        assert_eq!(opened(&["none", "now"], "s3/a", Some(&here)).as_deref(), Some("now/s3/a/plan.txt"));
        assert_eq!(opened(&["now"], "s3/a", None), std::fs::read_to_string(moved).ok());
        for (folders, name, plan) in [
            (&["now"][..], "s3/b", None),
            (&["link"], "s3/a", None),
            (&["now"], "../secret", None),
            (&["now"], "s3/a/../../../secret", None),
            (&[], "/etc", Some(&secret)),
            (&[], "s3/other", Some(&secret)),
            (&[], "s3/b", Some(&top.join("now/s3/b/plan.txt"))),
        ] {
            assert_eq!(opened(folders, name, plan), None, "{name} in {folders:?}");
        }
    }
}
