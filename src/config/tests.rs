use super::*;

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
    (temp, path)
}

fn load(dir: &Utf8Path, file: &str, variables: &[(&str, &str)], overrides: Overrides) -> Result<Settings, ConfigError> {
    std::fs::write(dir.join("tfleet.yaml"), file).unwrap();
    let lookup = |name: &str| {
        let given = variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        given.or_else(|| (name == "HOME").then(|| "/home/x".to_owned()))
    };
    Settings::load(&Overrides { working_dir: Some(dir.to_owned()), ..overrides }, &lookup)
}

fn s3(settings: &Settings) -> &S3Settings {
    match &settings.state {
        StateSettings::S3(s3) => s3,
        StateSettings::Local { .. } => panic!("local"),
    }
}

#[test]
fn the_environment_comes_before_the_file_and_flags_before_both() {
    let (_temp, dir) = temp();
    let file = "state: {bucket: from-file, region: eu-west-1}\nrun: {workers: 3, timeout: 1h30m, lock_timeout: 10s}\n";
    let settings = load(&dir, file, &[], Overrides::default()).unwrap();
    assert_eq!(s3(&settings).bucket.as_deref(), Some("from-file"));
    assert_eq!((settings.run.workers, settings.run.timeout.as_secs()), (3, 5400));
    let variables = [("TF_STATE_BUCKET", "from-env"), ("TF_BACKEND_REGION", "us-west-2")];
    let flags = Overrides { workers: Some(7), lock_timeout: Some(Duration::from_secs(1)), ..Overrides::default() };
    let settings = load(&dir, file, &variables, flags).unwrap();
    assert_eq!((s3(&settings).bucket.as_deref(), s3(&settings).region.as_str()), (Some("from-env"), "us-west-2"));
    assert_eq!((settings.run.workers, settings.run.lock_timeout.as_secs()), (7, 1));
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let (_temp, dir) = temp();
    let settings = load(&dir, "# nothing set\n", &[], Overrides::default()).unwrap();
    assert_eq!(s3(&settings).region.as_str(), "us-east-1");
    assert_eq!(s3(&settings).bucket, None);
    assert_eq!(settings.role.name, "OrganizationAccountAccessRole");
    assert_eq!(settings.cache_dir, "/home/x/.cache/tfleet");
    assert!((1..=5).contains(&settings.run.workers));
    assert_eq!((settings.run.timeout.as_secs(), settings.run.plan_timeout.as_secs()), (7200, 1800));
    assert!(settings.backup_required);
}

#[test]
fn a_local_store_is_chosen_by_the_file_alone_and_needs_a_path() {
    let (_temp, dir) = temp();
    let settings = load(&dir, "state: {backend: local, path: .tfleet/state}\n", &[], Overrides::default()).unwrap();
    assert_eq!(settings.state, StateSettings::Local { path: dir.join(".tfleet/state") });
    let error = load(&dir, "state: {backend: local}\n", &[], Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("state.path"), "{error}");
}

#[test]
fn mistakes_in_the_file_have_a_place() {
    let (_temp, dir) = temp();
    for (text, line, word) in [
        ("state:\n  bukcet: x\n", 2, "bukcet"),
        ("run:\n  workers: many\n", 2, "many"),
        ("run:\n  timeout: soon\n", 2, "soon"),
        ("a: [\n", 1, ""),
        ("run: {on_error: maybe}\n", 1, "maybe"),
    ] {
        let ConfigError::File(error) = load(&dir, text, &[], Overrides::default()).unwrap_err() else {
            panic!("{text}")
        };
        assert!(error.line >= line, "{text}: {error}");
        let shown = format!("{error} {}", error.source_line);
        assert!(shown.contains(word), "{text}: {shown}");
    }
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let (_temp, dir) = temp();
    let zero = Overrides { workers: Some(0), ..Overrides::default() };
    assert!(load(&dir, "", &[], zero).unwrap_err().to_string().starts_with("--workers"));
    let error = load(&dir, "state: {key_template: '{acount}/x'}", &[], Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("state.key_template"), "{error}");
    let error = load(&dir, "", &[("TERRAFORM_DIR", "nowhere")], Overrides::default()).unwrap_err();
    assert!(error.to_string().starts_with("TERRAFORM_DIR"), "{error}");
    let error = load(&dir, "", &[("TF_BACKEND_REGION", "mars")], Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("mars"), "{error}");
}

#[test]
fn path_style_follows_the_endpoint() {
    for (url, expected) in [
        ("http://127.0.0.1:5000", true),
        ("http://localhost:9000/", true),
        ("http://[::1]:5000", true),
        ("https://s3.example.com", false),
        ("https://minio:9000", false),
    ] {
        assert_eq!(merge::has_no_subdomains(url), expected, "{url}");
    }
}

#[test]
fn durations_read_as_people_write_them() {
    assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(parse_duration("2 h"), Ok(Duration::from_secs(7200)));
    assert!(parse_duration("-5m").is_err());
    assert!(parse_duration("5").is_err());
    assert!(parse_duration("9223372036854775807s").is_err(), "no point in time is that far ahead");
}

#[test]
fn the_file_is_found_above_but_not_outside_the_repository() {
    let (_temp, dir) = temp();
    std::fs::create_dir_all(dir.join("repo/.git")).unwrap();
    std::fs::create_dir_all(dir.join("repo/fleet")).unwrap();
    std::fs::write(dir.join("tfleet.yaml"), "run: {workers: 1}").unwrap();
    assert_eq!(find_upwards(&dir.join("repo/fleet"), &dir.join("repo"), "tfleet.yaml"), None);
    std::fs::write(dir.join("repo/tfleet.yaml"), "run: {workers: 2}").unwrap();
    let found = find_upwards(&dir.join("repo/fleet"), &dir.join("repo"), "tfleet.yaml");
    assert_eq!(found, Some(dir.join("repo/tfleet.yaml")));
    assert_eq!(repository_top(&dir.join("repo/fleet")), Some(dir.join("repo")));
}

#[test]
fn the_old_name_of_the_list_of_rules_says_the_new_one() {
    let (_temp, dir) = temp();
    let Err(ConfigError::File(error)) = load(&dir, "rules:\n  - name: a\n", &[], Overrides::default()) else {
        panic!()
    };
    assert_eq!(error.line, 1);
    assert_eq!(error.hint.as_deref(), Some("the list of rules is called `layouts`"));
}

/// Which rules hold must not be guessed, and rules that are not read would protect nothing.
#[test]
fn there_is_one_file_of_rules_at_most() {
    let (_temp, dir) = temp();
    let of = |settings: &str| load(&dir, settings, &[], Overrides::default());
    let failed = |settings: &str| of(settings).unwrap_err().to_string();
    assert_eq!(of("").unwrap().deployment_rules, None);
    let why = failed("deployment_rules: none.yaml");
    assert!(why.contains("`deployment_rules`: there is no file") && why.contains("none.yaml"), "{why}");
    let beside = dir.join("deployment-rules.yaml");
    std::fs::write(&beside, "").unwrap();
    assert_eq!(of("").unwrap().deployment_rules, Some(beside));
    let inner = dir.join("fleet");
    std::fs::create_dir_all(dir.join(".git")).unwrap();
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("deployment-rules.yaml"), "").unwrap();
    let home = |name: &str| (name == "HOME").then(|| "/home/x".to_owned());
    let within = |settings: &str| {
        std::fs::write(dir.join("tfleet.yaml"), settings).unwrap();
        Settings::load(&Overrides { working_dir: Some(inner.clone()), ..Overrides::default() }, &home)
    };
    let why = within("").unwrap_err().to_string();
    assert!(why.contains("there are two") && why.contains("name the one that holds"), "{why}");
    let named = within("deployment_rules: fleet/deployment-rules.yaml").unwrap().deployment_rules;
    assert_eq!(named, Some(dir.join("fleet/deployment-rules.yaml")));
    // Whoever begins further down does not get around the rules at the top, with or without settings.
    std::fs::remove_file(dir.join("tfleet.yaml")).unwrap();
    std::fs::remove_file(inner.join("deployment-rules.yaml")).unwrap();
    let below = Overrides { working_dir: Some(inner), ..Overrides::default() };
    let beside = dir.join("deployment-rules.yaml");
    assert_eq!(Settings::load(&below, &home).unwrap().deployment_rules, Some(beside.clone()));
    // A link that leads nowhere is not as good as no rules.
    std::fs::remove_file(&beside).unwrap();
    std::os::unix::fs::symlink("nowhere.yaml", &beside).unwrap();
    assert_eq!(Settings::load(&below, &home).unwrap().deployment_rules, Some(beside));
}
