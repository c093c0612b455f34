//! What git says has changed.

use super::*;

/// A committed repository; the commit is returned.
fn committed() -> (Repo, String) {
    let repo = Repo::new();
    repo.git(&["init", "-q"]);
    for name in ["a", "b", "c"] {
        repo.write(&format!("live/{name}/x.tfvars"), GOOD);
    }
    repo.write("live/b/policy.json", "{}").write("modules/m/main.tf", "");
    let commit = repo.commit();
    (repo, commit)
}

fn since(repo: &Repo, reference: &str) -> Changes {
    changes_since(&repo.options.working_dir, reference).unwrap()
}

#[test]
fn commits_and_what_is_not_committed_count() {
    let (repo, base) = committed();
    repo.write("live/a/x.tfvars", format!("{GOOD}#"));
    repo.commit();
    repo.write("live/b/policy.json", "{ }").write("live/n\u{fc} w/x.tfvars", GOOD);
    repo.write("live/staged.json", "{}").git(&["add", "live/staged.json"]);
    let changes = since(&repo, &base);
    let files: Vec<_> = changes.files.iter().map(|f| f.as_str()).collect();
    assert_eq!(files, ["live/a/x.tfvars", "live/b/policy.json", "live/n\u{fc} w/x.tfvars", "live/staged.json"]);
    assert!(changes.deleted.is_empty());
}

#[test]
fn the_merge_base_decides_and_not_the_tip() {
    let (repo, _) = committed();
    repo.git(&["checkout", "-q", "-b", "work"]);
    repo.write("live/a/x.tfvars", format!("{GOOD}#"));
    repo.commit();
    repo.git(&["checkout", "-q", "main"]);
    repo.write("live/c/x.tfvars", format!("{GOOD}#"));
    repo.commit();
    repo.git(&["checkout", "-q", "work"]);
    assert_eq!(since(&repo, "main").files.iter().map(|f| f.as_str()).collect::<Vec<_>>(), ["live/a/x.tfvars"]);
}

#[test]
fn paths_are_relative_to_the_working_directory() {
    let (mut repo, base) = committed();
    repo.options.working_dir = repo.dir.join("live");
    repo.write("modules/m/main.tf", "#").write("live/a/x.tfvars", "");
    repo.git(&["config", "diff.relative", "true"]);
    let files = since(&repo, &base).files;
    assert_eq!(files.iter().map(|f| f.as_str()).collect::<Vec<_>>(), ["../modules/m/main.tf", "a/x.tfvars"]);
    // As git prints them, relative to the top.
    let named =
        changed_files(&repo.options.working_dir, &["live/a/x.tfvars modules/m/main.tf live/b/*.json".to_owned()]);
    let files = named.unwrap().files;
    assert_eq!(
        files.iter().map(|f| f.as_str()).collect::<Vec<_>>(),
        ["../modules/m/main.tf", "a/x.tfvars", "b/policy.json"]
    );
}

#[test]
fn a_deleted_file_is_reported_with_its_state() {
    let (repo, base) = committed();
    repo.remove("live/a/x.tfvars");
    let committed = repo.commit();
    repo.remove("live/c/x.tfvars");
    let by_git = since(&repo, &base);
    let named = changed_files(&repo.dir, &["live/a/x.tfvars live/c/x.tfvars".to_owned()]).unwrap();
    assert_eq!(by_git.deleted, named.deleted);
    let selection = select(&repo.discover(), &Filters::default(), Some(&by_git)).unwrap();
    assert!(selection.deployments.is_empty(), "{:?}", selection.deployments);
    let shown: Vec<_> = selection.deleted.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    live/a/x.tfvars is deleted; its state stays at s3://states/general/acme-dev/us-east-1/a/terraform.tfstate, and so do its resources: to remove them, `tfleet destroy --key general/acme-dev/us-east-1/a/terraform.tfstate`
    live/c/x.tfvars is deleted; its state stays at s3://states/general/acme-dev/us-east-1/c/terraform.tfstate, and so do its resources: to remove them, `tfleet destroy --key general/acme-dev/us-east-1/c/terraform.tfstate`
    ");
    assert_eq!(since(&repo, &committed).deleted.len(), 1);
}

#[test]
fn a_file_that_moved_with_its_key_leaves_nothing_behind() {
    let (repo, _) = committed();
    repo.write("live/a/x.tfvars", format!("{GOOD}project = \"p\"\n"));
    let base = repo.commit();
    std::fs::create_dir_all(repo.dir.join("live/new")).unwrap();
    repo.git(&["mv", "live/a/x.tfvars", "live/new/y.tfvars"]);
    repo.commit();
    let changes = since(&repo, &base);
    let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
    assert_eq!(names(&selection.deployments), ["live/new/y.tfvars"]);
    assert_eq!(selection.deleted, []);
    assert!(selection.notices[0].contains("live/new/y.tfvars goes on with its state"), "{:?}", selection.notices);
}

#[test]
fn what_cannot_be_known_of_a_deleted_file_is_said() {
    let (repo, _) = committed();
    repo.write("live/a/x.tfvars", "broken").write("live/b/main.tf", "").write("live/h/.x.tfvars", GOOD);
    let base = repo.commit();
    for path in ["live/a/x.tfvars", "live/b/x.tfvars", "live/b/main.tf", "live/h/.x.tfvars"] {
        repo.remove(path);
    }
    let mut changes = since(&repo, &base);
    changes.deleted.insert("live/z.tfvars".into(), None);
    let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
    let shown: Vec<_> = selection.deleted.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    live/a/x.tfvars is deleted; where its state is, is not known: live/a/x.tfvars: unexpected token
    live/b/x.tfvars is deleted; where its state is, is not known: its root module, whose backend block may name the key, is deleted too
    live/z.tfvars is deleted; where its state is, is not known: git has no earlier content of it
    ");
}

#[test]
fn a_missing_merge_base_is_explained() {
    let (repo, base) = committed();
    repo.commit();
    let error = |dir: &Utf8Path, reference: &str| {
        let error = changes_since(dir, reference).unwrap_err();
        format!("{error}\n  hint: {}", error.hint().unwrap()).replace(&base, "BASE")
    };
    let shallow = Repo::new();
    shallow.git(&["clone", "-q", "--depth", "1", &format!("file://{}", repo.dir), "clone"]);
    let clone = shallow.dir.join("clone");
    let mut errors = vec![error(&clone, &base), error(&repo.dir, "--output=x")];
    let inside = Repo { dir: clone.clone(), options: shallow.options.clone(), _temp: tempfile::tempdir().unwrap() };
    inside.git(&["fetch", "-q", "--depth", "1", "origin", &base]);
    errors.push(error(&clone, &base));
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    repo.write("other", "");
    repo.commit();
    errors.push(error(&repo.dir, "main"));
    errors.push(error(&Repo::new().dir, "main").lines().last().unwrap().to_owned());
    insta::assert_snapshot!(errors.join("\n"), @"
    git knows no commit `BASE` in this shallow clone
      hint: fetch the whole history: `fetch-depth: 0` for actions/checkout, `git-clone-depth: 0` for CodeBuild, or `git fetch --unshallow origin`
    git knows no commit `--output=x`
      hint: name a branch, tag or commit; perhaps `git fetch origin` has to run first
    `BASE` and HEAD have no common ancestor in this shallow clone
      hint: fetch the whole history: `fetch-depth: 0` for actions/checkout, `git-clone-depth: 0` for CodeBuild, or `git fetch --unshallow origin`
    `main` and HEAD have no common ancestor
      hint: name a branch, tag or commit of the same history
      hint: name the files with --changed-files instead
    ");
}
