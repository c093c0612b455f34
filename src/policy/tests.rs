use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::files::Source;
use super::process::evaluate;
use super::*;

/// What the evaluating process answers, without the process.
fn replies(files: &[(&str, &str)], data: &Value, input: Option<&Value>) -> Vec<Reply> {
    let sources =
        files.iter().map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned() }).collect();
    let bundle = Bundle { sources, data: data.as_object().cloned().unwrap_or_default() };
    let mut output = Vec::new();
    evaluate(bundle, input.map(Value::to_string).as_deref(), &mut output).unwrap();
    output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn judged(files: &[(&str, &str)], data: &Value, input: &Value) -> Result<Vec<Finding>, PolicyError> {
    let replies = replies(files, data, Some(input));
    let rules = match replies.first() {
        Some(Reply::Loaded { rules }) => rules.clone(),
        Some(Reply::Refused { message }) => return Err(PolicyError::Refused(message.clone())),
        other => panic!("{other:?}"),
    };
    let mut verdict = Verdict { rules: &rules, found: Vec::new(), under_way: None, asked: 0 };
    for reply in replies {
        verdict.take(reply)?;
    }
    verdict.finish(End::Orderly)
}

/// `error main.deny at a.rego:2: message`, of each.
fn found(files: &[(&str, &str)], input: &Value) -> Vec<String> {
    let all = judged(files, &json!({}), input).unwrap();
    all.iter()
        .map(|one| {
            format!("{} {} at {}: {}", one.severity.as_str(), one.rule, one.place().unwrap_or_default(), one.message)
        })
        .collect()
}

fn refused(files: &[(&str, &str)], data: &Value) -> String {
    match &replies(files, data, None)[..] {
        [Reply::Refused { message }] => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rules_are_asked_as_conftest_asks_them() {
    let policy = "package main
deny contains msg if { some name in input.names; msg := sprintf(\"no %s\", [name]) }
deny_object contains {\"msg\": \"an object\", \"details\": 1} if true
violation contains \"a violation\" if true
warn_old contains \"a warning\" if true
denying contains \"not asked\" if true
allow contains \"neither\" if true
deny_never contains \"never\" if input.nothing
";
    assert_eq!(
        found(&[("p/a.rego", policy)], &json!({"names": ["a", "b"]})),
        [
            "error main.deny at p/a.rego:2: no a",
            "error main.deny at p/a.rego:2: no b",
            "error main.deny_object at p/a.rego:3: an object",
            "error main.violation at p/a.rego:4: a violation",
            "warning main.warn_old at p/a.rego:5: a warning",
        ]
    );
}

#[test]
fn both_dialects_are_read_also_side_by_side() {
    let v0 =
        "package old\ndeny[msg] { input.a == 1\n  msg := \"v0\" }\nwarn_x[{\"msg\": msg}] { msg := \"v0 object\" }";
    let keywords = "package future\nimport future.keywords\ndeny contains msg if { msg := \"keywords\" }";
    let v1 = "package new\nimport rego.v1\ndeny contains \"v1\" if input.a == 1";
    assert_eq!(
        found(&[("v0.rego", v0), ("k.rego", keywords), ("v1.rego", v1)], &json!({"a": 1})),
        [
            "error old.deny at v0.rego:2: v0",
            "warning old.warn_x at v0.rego:4: v0 object",
            "error future.deny at k.rego:3: keywords",
            "error new.deny at v1.rego:3: v1",
        ]
    );
}

#[test]
fn what_is_no_rego_is_refused_with_its_place() {
    let neither = refused(&[("p/a.rego", "package main\ndeny contains msg if { msg := }")], &json!({}));
    assert!(
        neither.contains("p/a.rego:2:") && neither.contains("as Rego v1; as Rego v0 it cannot be read"),
        "{neither}"
    );
    // A mistake of v1 beside its keywords: in v0 they would be rules of these names.
    let mixed = "package main\ndeny contains msg if { msg := \"x\" }\nwarn[msg] { msg := \"y\" }";
    assert!(refused(&[("a.rego", mixed)], &json!({})).contains("a.rego:3:"), "the line that v1 does not take");
    let unsafe_variable =
        refused(&[("a.rego", "package main\ndeny contains msg if { input.a == y; msg := \"x\" }")], &json!({}));
    assert!(unsafe_variable.contains("a.rego:2:") && unsafe_variable.contains("`y` is unsafe"), "{unsafe_variable}");
}

#[test]
fn a_rule_that_gives_no_answer_is_an_error() {
    for (policy, words) in [
        ("deny contains msg if { msg := to_number(\"x\") }", "the rule could not be evaluated"),
        ("deny contains msg if { msg := http.send({\"url\": input.url}) }", "could not find function http.send"),
        ("deny contains 1 if true", "neither a text nor an object with `msg`"),
        ("deny contains {\"message\": \"x\"} if true", "neither a text nor an object with `msg`"),
        ("deny := {\"a\": 1}", "neither a text nor an object with `msg`"),
        ("deny contains msg if { msg := f(1) }\nf(x) := 1 if x > 0\nf(x) := 2 if x > 0", "could not be evaluated"),
    ] {
        let text = format!("package main\n{policy}\nwarn contains \"still asked\" if true");
        let all = found(&[("a.rego", &text)], &json!({"url": "x"}));
        assert_eq!(all.len(), 2, "{policy}: {all:?}");
        assert!(all[0].starts_with("error main.deny at a.rego:2: ") && all[0].contains(words), "{all:?}");
    }
    assert_eq!(
        found(&[("a.rego", "package main\ndeny if input.a")], &json!({"a": true})),
        ["error main.deny at a.rego:2: it holds, and has no message"]
    );
    assert!(found(&[("a.rego", "package main\ndeny if input.a")], &json!({"a": false})).is_empty());
}

#[test]
fn data_is_there_and_never_in_the_way() {
    let policy = "package main\ndeny contains msg if { some name in data.names; not input[name]; msg := name }";
    let all = judged(&[("a.rego", policy)], &json!({"names": ["a", "b"]}), &json!({"a": 1})).unwrap();
    assert_eq!(all.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(), ["b"]);
    for data in [json!({"main": [1]}), json!({"main": {"deny": []}})] {
        let text = refused(&[("a.rego", policy)], &data);
        assert_eq!(text, "a.rego:2: `deny` of the package `main` is in the same place as data of a data file");
    }
    judged(&[("a.rego", policy)], &json!({"main": {"names": []}}), &json!({})).unwrap();
}

#[test]
fn exceptions_leave_rules_out() {
    let policy = "package main\ndeny_public contains \"public\" if true\ndeny_size contains \"size\" if true\n\
                  exception contains rules if { input.exempt; rules := [\"public\"] }";
    let other = "package other\ndeny_public contains \"other\" if true";
    let files = [("a.rego", policy), ("b.rego", other)];
    assert_eq!(found(&files, &json!({})).len(), 3);
    let left = found(&files, &json!({"exempt": true}));
    assert_eq!(left, ["error main.deny_size at a.rego:3: size", "error other.deny_public at b.rego:2: other"]);
}

#[test]
fn a_rule_of_several_files_names_them() {
    let files = [
        ("a.rego", "package main\ndeny contains \"a\" if true"),
        ("b.rego", "package main\ndeny contains \"b\" if false"),
    ];
    assert_eq!(found(&files, &json!({})), ["error main.deny at : a [a rule of a.rego, b.rego]"]);
}

#[test]
fn odd_packages_and_many_messages() {
    let policy = "package policies[\"a-b\"].x\ndeny contains msg if { some n in numbers.range(1, 1000); msg := sprintf(\"%d\", [n]) }";
    let all = judged(&[("a.rego", policy)], &json!({}), &json!({})).unwrap();
    assert_eq!((all.len(), all[0].rule.as_str()), (201, "policies.a-b.x.deny"));
    assert_eq!(all[200].message, "… and 800 more of this rule");
}

#[test]
fn a_rule_that_was_not_asked_to_its_end_has_not_passed() {
    let rules = [("deny", 2), ("warn", 3)].map(|(name, line)| Rule {
        shown: format!("main.{name}"),
        package: "data.main".to_owned(),
        name: name.to_owned(),
        severity: Severity::Warning,
        places: vec![("a.rego".to_owned(), line)],
    });
    let after = |replies: Vec<Reply>, end: End| {
        let mut verdict = Verdict { rules: &rules, found: Vec::new(), under_way: None, asked: 0 };
        replies.into_iter().try_for_each(|reply| verdict.take(reply))?;
        verdict.finish(end)
    };
    let said = |rule| Reply::Said { rule, messages: Vec::new() };
    let early = || End::Early("took longer than 1s".to_owned());
    let stopped = after(vec![Reply::Begun { rule: 0 }, said(0), Reply::Begun { rule: 1 }], early()).unwrap();
    assert_eq!(
        stopped[0].to_string(),
        "a.rego:3: the rule could not be evaluated: its evaluation took longer than 1s (main.warn)"
    );
    assert_eq!(stopped[0].severity, Severity::Error, "also that of a warning");
    for (replies, end) in [
        (vec![], early()),
        (vec![], End::Orderly),
        (vec![Reply::Begun { rule: 0 }, said(0)], End::Orderly),
        (vec![Reply::Begun { rule: 0 }], End::Orderly),
        (vec![said(0), said(7)], End::Orderly),
        (vec![Reply::Loaded { rules: Vec::new() }, said(0), said(1)], End::Orderly),
        (vec![Reply::Refused { message: "x".to_owned() }], End::Orderly),
    ] {
        assert!(after(replies, end).is_err());
    }
    assert_eq!(after(vec![said(0), said(1), Reply::Done], End::Orderly).unwrap(), []);
}

/// `examples/policies`, with its tests and its data.
#[test]
fn the_tests_of_the_starter_set_pass() {
    let dir = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let mut engine = regorus::Engine::new();
    let mut tests: BTreeMap<String, usize> = BTreeMap::new();
    for entry in dir.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.extension() != Some("rego") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let package = engine.add_policy(path.to_string(), text.clone()).unwrap();
        for line in text.lines().filter(|line| line.starts_with("test_")) {
            let name = line.split(' ').next().unwrap();
            *tests.entry(format!("{package}.{name}")).or_default() += 1;
        }
    }
    assert!(tests.len() >= 25, "{tests:?}");
    for test in tests.keys() {
        let value = engine.clone().eval_rule(test.clone()).unwrap();
        assert_eq!(value, regorus::Value::from(true), "{test}");
    }
    // As they are used: without the tests, with the data.
    let bundle = Bundle::read(std::slice::from_ref(&dir), &|path| path.file_name().unwrap().to_owned()).unwrap();
    let mut output = Vec::new();
    evaluate(bundle, Some("{}"), &mut output).unwrap();
    let said = String::from_utf8(output).unwrap();
    assert!(
        said.ends_with("{\"reply\":\"done\"}\n") && !said.contains("broke") && said.matches("\"begun\"").count() >= 10,
        "{said}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_file_holds_is_loaded_or_refused(text in "(package main\n)?(deny|contains|if|some|x|:=|==|\"|[\\[\\]{}().,\n ]|\\PC){0,14}") {
        let all = replies(&[("a.rego", &text)], &Value::Object(Map::new()), Some(&json!({"x": 1})));
        let complete = matches!(all.last(), Some(Reply::Done | Reply::Refused { .. }));
        prop_assert!(complete, "{:?}", all);
    }
}
