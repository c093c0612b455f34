//! Which files are read, and what is said of those that cannot be.

use proptest::prelude::*;

use super::*;

fn found(repo: &Repo) -> Vec<String> {
    let discovery = repo.discover();
    assert_eq!(discovery.problems, []);
    discovery.deployments.into_iter().map(|d| d.file.into_string()).collect()
}

#[test]
fn hidden_ignored_and_excluded_files_are_left_out() {
    let mut repo = Repo::new();
    repo.git(&["init", "-q"]);
    for path in [
        "a/x.tfvars",
        "a/y.auto.tfvars",
        "a/.z.tfvars",
        ".hidden/x.tfvars",
        ".terraform/x.tfvars",
        ".terraform-workspace-a-b/x.tfvars",
        "ignored/x.tfvars",
        "examples/deep/x.tfvars",
        "b/x.sample.tfvars",
        "b/x.tfvars",
        "c/x.tfvars.json",
    ] {
        repo.write(path, GOOD);
    }
    repo.write(".gitignore", "/ignored/\n").write(".ignore", "b/\n");
    repo.options.exclude = vec!["examples/".to_owned(), "*.sample.tfvars".to_owned()];
    assert_eq!(found(&repo), ["a/x.tfvars", "b/x.tfvars"]);
}

#[test]
fn without_a_repository_gitignore_counts_inside_the_working_directory_only() {
    let mut repo = Repo::new();
    repo.write("inner/main.tf", "").write("inner/a/x.tfvars", GOOD).write("inner/b/x.tfvars", GOOD);
    repo.write(".gitignore", "*\n").write("inner/.gitignore", "b\n");
    repo.options.working_dir = repo.dir.join("inner");
    assert_eq!(found(&repo), ["a/x.tfvars"]);
}

/// The usual `.gitignore` of Terraform repositories names `*.tfvars`; committed ones are not ignored by git.
#[test]
fn a_tracked_file_is_found_although_a_pattern_ignores_it() {
    let repo = Repo::new();
    repo.git(&["init", "-q"]);
    repo.write(".gitignore", "*.tfvars\n")
        .write("a/x.tfvars", GOOD)
        .write(".h/x.tfvars", GOOD)
        .write("gone.tfvars", GOOD);
    repo.commit();
    repo.write("a/untracked.tfvars", GOOD).remove("gone.tfvars");
    assert_eq!(found(&repo), ["a/x.tfvars"]);
}

#[test]
fn links_are_followed_inside_the_working_directory_only() {
    let repo = Repo::new();
    repo.write("shared/x.tfvars", GOOD);
    let link = |target: &str, name: &str| {
        std::fs::create_dir_all(repo.dir.join(name).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, repo.dir.join(name)).unwrap();
    };
    link("../shared/x.tfvars", "a/inside.tfvars");
    link("/etc/hostname", "a/outside.tfvars");
    link("nowhere", "a/dangling.tfvars");
    std::fs::create_dir(repo.dir.join("folder.tfvars")).unwrap();
    let discovery = repo.discover();
    assert_eq!(names(&discovery.deployments), ["a/inside.tfvars", "shared/x.tfvars"]);
    insta::assert_snapshot!(shown(&discovery.problems), @"
    a/dangling.tfvars: it is a link to nothing: No such file or directory (os error 2)
      hint: remove the link, or make its target
    a/outside.tfvars: it is a link to /etc/hostname, outside the working directory
      hint: copy the file into the working directory
    ");
}

#[test]
fn malformed_files_are_shown_with_line_and_hint_and_the_others_are_listed() {
    let repo = Repo::new();
    repo.write("good/x.tfvars", GOOD);
    for (name, text) in [
        ("a-twice", format!("{GOOD}region = \"us-east-1\"\n").into_bytes()),
        ("b-open", b"region = \"x\"\ns3_buckets = {\n  a = {\n    name = \"}\" # }\n  }\n".to_vec()),
        ("c-extra", b"tags = {}\n}\n".to_vec()),
        ("d-mixed", b"tags = {\n  a = [1, 2}\n}\n".to_vec()),
        ("e-latin1", b"account_name = \"ok\"\nowner = \"J\xfcrgen\"\n".to_vec()),
        ("f-utf16", b"\xff\xfea\0=\0".to_vec()),
        ("g-quote", b"region = \"us-east-1\nproject = \"x\"\n".to_vec()),
        ("h-single", b"region = 'us-east-1'\n".to_vec()),
        ("i-typo", "region = \u{201c}us-east-1\u{201d}\n".as_bytes().to_vec()),
        ("j-colon", b"region: \"us-east-1\"\n".to_vec()),
        ("k-comma", b"region = \"us-east-1\",\nproject = \"x\"\n".to_vec()),
        ("l-block", b"accounts {\n}\n".to_vec()),
        ("m-conflict", b"a = 1\n<<<<<<< HEAD\nb = 1\n=======\nb = 2\n>>>>>>> x\n".to_vec()),
        ("n-words", b"hello\n".to_vec()),
        ("o-escape", b"a = \"\x1b[31m\" b\n".to_vec()),
    ] {
        repo.write(&format!("{name}.tfvars"), text);
    }
    let discovery = repo.discover();
    assert_eq!(names(&discovery.deployments), ["good/x.tfvars"]);
    insta::assert_snapshot!(shown(&discovery.problems), @r#"
    a-twice.tfvars:4:1: invalid attribute; expected unique attribute key; found redefined attribute
      |
    4 | region = "us-east-1"
      | ^
      hint: `region` is set on line 3 already; remove one of the two
    b-open.tfvars:2:1: unexpected token
      |
    2 | s3_buckets = {
      | ^
      hint: the `{` on line 2 is never closed
    c-extra.tfvars:2:1: unexpected token
      |
    2 | }
      | ^
      hint: the `}` on line 2 closes nothing
    d-mixed.tfvars:2:12: expected `]`
      |
    2 |   a = [1, 2}
      |            ^
      hint: the `[` on line 2 is closed by `}` on line 2
    e-latin1.tfvars:2:11: it is not UTF-8 text
      |
    2 | owner = "J�rgen"
      |           ^
      hint: save it as UTF-8
    f-utf16.tfvars:1:1: it is not UTF-8 text
      |
    1 | ��a�=�
      | ^
      hint: it looks like UTF-16; save it as UTF-8
    g-quote.tfvars:2:12: expected newline or eof
      |
    2 | project = "x"
      |            ^
      hint: a double quote is missing on line 1
    h-single.tfvars:1:10: invalid expression; expected `"`, `[`, `{`, `-`, `!`, `(`, `_`, `<`, letter or digit
      |
    1 | region = 'us-east-1'
      |          ^
      hint: strings stand in double quotes
    i-typo.tfvars:1:10: invalid expression; expected `"`, `[`, `{`, `-`, `!`, `(`, `_`, `<`, letter or digit
      |
    1 | region = “us-east-1”
      |          ^
      hint: the quotes are typographic ones; use "
    j-colon.tfvars:1:7: invalid structure; expected `{`, `=`, `"` or identifier
      |
    1 | region: "us-east-1"
      |       ^
      hint: use `=` between name and value
    k-comma.tfvars:1:21: expected newline or eof
      |
    1 | region = "us-east-1",
      |                     ^
      hint: no comma stands between the attributes of a file
    l-block.tfvars:1:1: the block `accounts` may not stand in a variables file, which holds `name = value` only
      |
    1 | accounts {
      | ^
      hint: write `accounts = { … }`
    m-conflict.tfvars:2:1: `<<<<<<<` is what an unresolved merge conflict leaves
      |
    2 | <<<<<<< HEAD
      | ^
      hint: resolve the conflict and commit the file again
    n-words.tfvars:1:6: invalid structure; expected `{`, `=`, `"` or identifier
      |
    1 | hello
      |      ^
      hint: a variables file holds lines of the form `name = value`
    o-escape.tfvars:1:13: expected newline or eof
      |
    1 | a = "�[31m" b
      |             ^
      hint: a variables file holds lines of the form `name = value`
    "#);
}

#[test]
fn the_depth_of_nesting_is_bounded() {
    let repo = Repo::new();
    for (name, open) in [("a", "["), ("b", "{a="), ("c", "("), ("d", "\"${"), ("e", "!"), ("f", "-")] {
        repo.write(&format!("{name}.tfvars"), format!("x = {}", open.repeat(20_000)));
    }
    repo.write("g.tfvars", format!("{GOOD}project = \"p\"\nx = {}1{}\n", "[".repeat(60), "]".repeat(60)));
    assert_eq!(names(&repo.discover().deployments), ["g.tfvars"]);
}

#[test]
fn a_byte_order_mark_and_crlf_are_fine() {
    let repo = Repo::new();
    repo.write("a/x.tfvars", format!("\u{feff}{}", GOOD.replace('\n', "\r\n")));
    assert_eq!(repo.one().region.as_str(), "us-east-1");
}

#[test]
fn what_concerns_everything_is_an_error() {
    let repo = Repo::new();
    let error = |change: &dyn Fn(&mut Options)| {
        let mut options = repo.options.clone();
        change(&mut options);
        let error: Box<dyn std::error::Error> = Box::new(discover(&options).unwrap_err());
        format!("{error}{}", error.source().map_or(String::new(), |cause| format!(": {cause}")))
    };
    let errors = [
        error(&|o| o.working_dir.push("nowhere")),
        error(&|o| o.working_dir.push("main.tf")),
        error(&|o| o.terraform_dir = Some("nowhere".into())),
        error(&|o| {
            std::fs::create_dir_all(o.working_dir.join("empty")).unwrap();
            o.terraform_dir = Some("empty".into());
        }),
        error(&|o| o.exclude = vec!["a{b".to_owned()]),
        error(&|o| o.layouts = vec![RuleSpec::default()]),
        {
            repo.write("accounts.yaml", "accounts:\n  - a\n");
            error(&|_| {})
        },
    ];
    insta::assert_snapshot!(errors.join("\n").replace(repo.dir.as_str(), "DIR"), @r#"
    cannot use the working directory DIR/nowhere: No such file or directory (os error 2)
    cannot use the working directory DIR/main.tf: Not a directory (os error 20)
    the root module folder nowhere (TERRAFORM_DIR) cannot be used: No such file or directory (os error 2)
    the root module folder empty (TERRAFORM_DIR) holds no *.tf file
    `a{b` is not a glob to exclude files by: error parsing glob 'a{b': unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
    tfleet.yaml: layouts[0]: `name` is not set
    accounts.yaml:2:3: expected mapping start
      |
    2 |   - a
      |   ^
      hint: it has the form `accounts: {"123456789012": {account_name: …, region: …}}`, `default_tags: {Team: …}`
    "#);
}

#[test]
fn nothing_found_is_said() {
    let repo = Repo::new();
    let discovery = repo.discover();
    assert!(discovery.notices[0].contains("no deployment is below"), "{:?}", discovery.notices);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a file holds, it is a deployment or a problem, and a problem can be shown.
    #[test]
    fn discovery_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        words in prop::collection::vec(
            prop::sample::select(vec![
                "accounts", "region", "tags", "=", "{", "}", "[", "]", "\"", "\n", " ", "<<EOF\n", "EOF\n", "${", "#",
                "/*", "*/", "\"1\"", "1", "null", "\u{201c}", "\\", "'", ",", "x_file", "../", "/", "<<<<<<< ", "\u{feff}",
            ]),
            0..40,
        ),
    ) {
        let repo = Repo::new();
        repo.write("a.tfvars", &bytes).write("b/b.tfvars", words.concat());
        let mixed = [GOOD.as_bytes(), words.concat().as_bytes(), &bytes].concat();
        repo.write("c/c.tfvars", mixed);
        let discovery = repo.discover();
        let files: BTreeSet<_> = discovery.problems.iter().flat_map(|p| p.files.clone()).collect();
        prop_assert_eq!(discovery.deployments.len() + files.len(), 3);
        for problem in &discovery.problems {
            let text = problem.to_string();
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
        }
    }
}
