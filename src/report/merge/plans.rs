//! Finding the plans of runs whose summaries are merged.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::Merged;
use crate::event::DeploymentResult;

/// What a run calls the text of a plan.
const PLAN: &str = "plan.txt";

impl Merged {
    /// Has each result name the text of its plan where there is one: below `out_dir`, or where its summary says,
    /// seen from here or from the summary's folder. One that is not there is left out; the summaries keep what they say.
    pub fn find_plans(&mut self, out_dir: Option<&Utf8Path>) {
        let folders: Vec<Utf8PathBuf> = self.entries.iter().map(|entry| entry.folder.clone()).collect();
        for (result, folder) in self.report.results.iter_mut().zip(folders) {
            let found = find(result, &folder, out_dir);
            if result.plan != found {
                Arc::make_mut(result).plan = found;
            }
        }
    }
}

/// Nothing but a plan is ever read: a summary comes from another machine, and a path in it could name any file of this one.
fn find(result: &DeploymentResult, folder: &Utf8Path, out_dir: Option<&Utf8Path>) -> Option<Utf8PathBuf> {
    let own = Utf8Path::new(&result.deployment.name).join(PLAN);
    let is_own = |path: &Utf8Path| path.ends_with(&own);
    let candidates = match out_dir {
        Some(out_dir) => vec![out_dir.join(&own)],
        None => result.plan.iter().flat_map(|plan| [plan.clone(), folder.join(plan)]).collect(),
    };
    candidates.into_iter().find(|path| is_own(path) && path.is_file() && !path.is_symlink())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report::samples;

    #[test]
    fn only_the_plan_of_the_deployment_itself_is_found() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let mut result = (*samples::succeeded()).clone();
        let name = result.deployment.name.clone();
        let out = dir.join("out");
        let of = |result: &DeploymentResult, out_dir: Option<&Utf8Path>| find(result, dir, out_dir);
        fs::create_dir_all(dir.join("out").join(&name)).unwrap();
        assert_eq!(of(&result, None), None, "the summary names none");
        assert_eq!(of(&result, Some(&out)), None, "none is there");
        let plan = dir.join("out").join(&name).join(PLAN);
        fs::write(&plan, "x").unwrap();
        assert_eq!(of(&result, Some(&out)), Some(plan.clone()));
        result.plan = Some(Utf8Path::new("out").join(&name).join(PLAN));
        assert_eq!(of(&result, None), Some(plan.clone()), "beside the summary");

        fs::write(dir.join("secret"), "x").unwrap();
        for other in [dir.join("secret"), Utf8PathBuf::from("/etc/passwd"), dir.join("out").join(&name)] {
            result.plan = Some(other);
            assert_eq!(of(&result, None), None);
        }
        fs::remove_file(&plan).unwrap();
        std::os::unix::fs::symlink(dir.join("secret"), &plan).unwrap();
        result.plan = Some(plan);
        assert_eq!(of(&result, None), None, "a link may lead anywhere");
    }
}
