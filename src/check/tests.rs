use proptest::prelude::*;

use super::*;
use crate::model::{AccountId, AccountName, Reference, samples};

/// The account of [`samples::deployment`], and its only bucket in these tests.
const OWN: &str = "123456789012";
const OTHER: &str = "222222222222";

fn in_account(project: &str, id: &str, name: &str) -> Deployment {
    let mut deployment = samples::deployment(project);
    deployment.account_id = AccountId::new(id).unwrap();
    deployment.account_name = AccountName::new(name).unwrap();
    deployment.var_files = vec![deployment.file.clone()];
    deployment
}

/// A fleet of two deployments: `web` with the bucket `web-data`, which names `policy.json` as `attribute`, and `shop` in
/// another account with the bucket `shop-data`.
struct Bed {
    temp: tempfile::TempDir,
    web: Deployment,
    shop: Deployment,
    levels: BTreeMap<CheckRule, CheckLevel>,
    exclude: Vec<String>,
}

impl Bed {
    fn new(variables: &str) -> Self {
        let mut web = in_account("web", OWN, "acme-prd");
        web.references = vec![Reference { written: "policy.json".to_owned(), path: "policy.json".into() }];
        let shop = in_account("shop", OTHER, "acme-shop");
        let bed = Self { temp: tempfile::tempdir().unwrap(), web, shop, levels: BTreeMap::new(), exclude: Vec::new() };
        bed.write(bed.web.file.as_str(), variables.as_bytes());
        bed.write(bed.shop.file.as_str(), b"s3_buckets = { shop-data = {} }");
        bed
    }

    fn of_bucket() -> Self {
        Self::new("s3_buckets = { web-data = { policy_file = \"policy.json\" } }")
    }

    fn of_role() -> Self {
        Self::new("s3_buckets = { web-data = {} }\niam_roles = { app = { policy_file = \"policy.json\" } }")
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.temp.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn findings(&self, policy: &[u8]) -> Vec<Finding> {
        self.write("policy.json", policy);
        let dir = Utf8Path::from_path(self.temp.path()).unwrap();
        let fleet = [self.web.clone(), self.shop.clone()];
        Checks::new(dir, &fleet, fleet.iter(), &self.levels, &self.exclude).unwrap().of(&self.web)
    }

    /// `error 3 iam-policy-shape`, and what is said, of each.
    fn found(&self, policy: &str) -> Vec<(String, String)> {
        let each = |one: Finding| {
            assert_eq!((one.found_by, one.file.as_deref()), (FoundBy::Check, Some(Utf8Path::new("policy.json"))));
            (format!("{} {} {}", one.severity.as_str(), one.line.unwrap(), one.rule), one.message)
        };
        self.findings(policy.as_bytes()).into_iter().map(each).collect()
    }

    #[track_caller]
    fn assert(&self, policy: &str, wanted: &[(&str, &str)]) {
        let found = self.found(policy);
        assert_eq!(
            found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            wanted.iter().map(|one| one.0).collect::<Vec<_>>(),
            "{policy}\n{found:#?}"
        );
        for ((_, message), (_, words)) in found.iter().zip(wanted) {
            assert!(message.contains(words), "`{words}` in {message}");
        }
    }
}

/// A policy of one statement, whose members stand on lines of their own from line 4.
fn policy(members: &[&str]) -> String {
    format!("{{\n\"Version\": \"2012-10-17\",\n\"Statement\": [{{\n{}\n}}]}}", members.join(",\n"))
}

const ALLOW: &str = "\"Effect\": \"Allow\"";
const ACTION: &str = "\"Action\": \"s3:GetObject\"";
const EVERYBODY: &str = "\"Principal\": {\"AWS\": \"*\"}";

fn resource(text: &str) -> String {
    format!("\"Resource\": \"{text}\"")
}

#[test]
fn sound_policies_pass() {
    let bucket = |text: &str| policy(&[ALLOW, EVERYBODY, ACTION, &resource(text)]);
    let role = |text: &str| policy(&[ALLOW, ACTION, &resource(text)]);
    let bed = Bed::of_bucket();
    for text in ["arn:aws:s3:::web-data/*", "arn:aws:s3:::web-*", "*", "arn:aws:s3:::${bucket}/*"] {
        bed.assert(&bucket(text), &[]);
    }
    let bed = Bed::of_role();
    let queue = format!("arn:aws:sqs:us-east-1:{OWN}:jobs");
    for text in ["arn:aws:s3:::web-data", "arn:aws:s3:::*", &queue, "arn:aws:iam::aws:policy/ReadOnlyAccess"] {
        bed.assert(&role(text), &[]);
    }
    let elsewhere = resource(&format!("arn:aws:iam::{OTHER}:role/deploy"));
    bed.assert(&policy(&[ALLOW, "\"Action\": [\"sts:AssumeRole\", \"sts:TagSession\"]", &elsewhere]), &[]);
    bed.assert(&policy(&["\"Effect\": \"Deny\"", ACTION, &elsewhere]), &[]);
    let trust = Bed::new("assume_role_policy_file = \"policy.json\"");
    let principal = format!("\"Principal\": {{\"AWS\": \"arn:aws:iam::{OTHER}:root\"}}");
    trust.assert(&policy(&[ALLOW, &principal, "\"Action\": \"sts:AssumeRole\""]), &[]);
}

#[test]
fn what_is_no_json_has_its_line() {
    let bed = Bed::of_bucket();
    bed.assert("{\n\"a\": 1,\n}", &[("error 3 json-syntax", "it is no JSON: trailing comma (column 1)")]);
    bed.assert("{\n\"a\": ${jsonencode(x)}\n}", &[("warning 2 json-syntax", "it is a template")]);
    bed.assert("", &[("error 1 json-syntax", "EOF")]);
    let found = bed.findings(b"{\"a\": \"\xff\"}");
    assert_eq!(found[0].message, "it is no text in UTF-8");
}

#[test]
fn other_documents_are_left_alone() {
    let bed = Bed::new("lifecycle_policy_file = \"policy.json\"\nsettings = \"policy.json\"");
    bed.assert("{\"rules\": [{\"action\": {\"type\": \"expire\"}}]}", &[]);
    bed.assert("[1, 2]", &[]);
    let bed = Bed::new("bucket_policy_file = \"policy.json\"");
    bed.assert(
        "{\"rules\": []}",
        &[
            ("error 1 iam-policy-shape", "a policy has no `rules`"),
            ("error 1 iam-policy-shape", "it has no `Statement`"),
            ("warning 1 iam-policy-shape", "no `Version`"),
        ],
    );
    bed.assert("\n[1]", &[("error 2 iam-policy-shape", "it is no policy")]);
}

#[test]
fn the_shape_is_that_of_iam() {
    let bed = Bed::of_role();
    let own = resource("arn:aws:s3:::web-data");
    let shape = "iam-policy-shape";
    for (members, line, words) in [
        (vec!["\"Effect\": \"allow\"", ACTION, &own], 4, "`Effect` is \"Allow\" or \"Deny\""),
        (vec![ACTION, &own], 3, "`Effect` is"),
        (vec![ALLOW, &own], 3, "needs `Action` or `NotAction`"),
        (vec![ALLOW, ACTION, "\"NotAction\": \"s3:*\"", &own], 6, "either `Action` or `NotAction`"),
        (vec![ALLOW, "\"Action\": []", &own], 5, "a list of at least one"),
        (vec![ALLOW, "\"Action\": 1", &own], 5, "a text, or a list"),
        (vec![ALLOW, "\"Action\": \"GetObject\"", &own], 5, "`GetObject` is no action"),
        (vec![ALLOW, ACTION], 3, "needs `Resource` or `NotResource`"),
        (vec![ALLOW, ACTION, &own, "\"NotResource\": \"*\""], 7, "either `Resource` or `NotResource`"),
        (vec![ALLOW, ACTION, "\"Resource\": \"web-data\""], 6, "`web-data` is no resource"),
        (vec![ALLOW, ACTION, &own, "\"action\": \"s3:*\""], 7, "a statement has no `action`; it is `Action`"),
        (vec![ALLOW, ACTION, &own, "\"Conditions\": {}"], 7, "a statement has no `Conditions`; it has Sid"),
        (vec![ALLOW, ALLOW, ACTION, &own], 5, "`Effect` comes twice"),
        (vec![ALLOW, ACTION, &own, "\"Condition\": []"], 7, "`Condition` is a JSON object"),
    ] {
        bed.assert(&policy(&members), &[(&format!("error {line} {shape}"), words)]);
    }
    bed.assert(
        "{\n\"Version\": \"2020-01-01\",\n\"Statement\": [\n1]}",
        &[
            ("error 2 iam-policy-shape", "`Version` is that of the language"),
            ("error 4 iam-policy-shape", "a statement is a JSON object"),
        ],
    );
    bed.assert("{\"Version\": \"2012-10-17\",\n\"Statement\": []}", &[("error 2 iam-policy-shape", "at least one")]);
}

#[test]
fn a_policy_of_a_role_or_a_resource_says_who() {
    let trust = Bed::new("assume_role_policy = \"policy.json\"");
    let assume = "\"Action\": \"sts:AssumeRole\"";
    trust.assert(&policy(&[ALLOW, assume]), &[("error 3 iam-policy-shape", "needs a `Principal`")]);
    trust.assert(
        &policy(&[ALLOW, assume, EVERYBODY, &resource("*")]),
        &[("error 7 iam-policy-shape", "has no `Resource`")],
    );
    let key = Bed::new("kms_keys = { k = { policy_file = \"policy.json\" } }");
    let administer = "\"Action\": \"kms:*\"";
    key.assert(&policy(&[ALLOW, administer, EVERYBODY]), &[("error 3 iam-policy-shape", "needs `Resource`")]);
    key.assert(
        &policy(&[ALLOW, administer, "\"Principal\": [\"a\"]", &resource("*")]),
        &[("error 6 iam-policy-shape", "a principal is")],
    );
    let registry = Bed::new("repository_policy_file = \"policy.json\"");
    registry.assert(&policy(&[ALLOW, "\"Action\": \"ecr:BatchGetImage\"", EVERYBODY]), &[]);
}

#[test]
fn everything_on_everything_is_a_warning() {
    let all = policy(&[ALLOW, "\"Action\": [\"s3:*\", \"*\"]", &resource("*")]);
    Bed::of_role().assert(&all, &[("warning 3 iam-policy-wildcard", "every action on every resource")]);
    Bed::of_role().assert(&policy(&["\"Effect\": \"Deny\"", "\"Action\": \"*\"", &resource("*")]), &[]);
}

/// Issue: "a copied policy naming another account's bucket is the classic mistake".
#[test]
fn a_copied_bucket_policy_is_an_error_on_its_line() {
    let copied = policy(&[
        ALLOW,
        EVERYBODY,
        ACTION,
        "\"Resource\": [\n\"arn:aws:s3:::web-data\",\n\"arn:aws:s3:::shop-data/*\"]",
    ]);
    let words = "it names the bucket `shop-data`, which Accounts/shop/shop.tfvars declares, and it is the policy of the bucket `web-data`";
    Bed::of_bucket().assert(&copied, &[("error 9 iam-policy-resource", words)]);
    // Beside no bucket: somebody else's is a copy, nobody's a guess.
    let beside_none = Bed::new("bucket_policy = \"policy.json\"\ns3_buckets = { web-data = {} }");
    beside_none.assert(
        &copied,
        &[(
            "error 9 iam-policy-resource",
            "`shop-data`, which Accounts/shop/shop.tfvars declares: it looks like a copy",
        )],
    );
    let unknown = policy(&[ALLOW, EVERYBODY, ACTION, &resource("arn:aws:s3:::elsewhere")]);
    beside_none.assert(&unknown, &[("warning 7 iam-policy-unknown", "`elsewhere`, which no deployment declares")]);
    Bed::of_bucket().assert(&unknown, &[("error 7 iam-policy-resource", "it names the bucket `elsewhere`, and it is")]);
}

#[test]
fn resources_of_another_account_are_a_copy_or_worth_a_word() {
    let queue = |account: &str| format!("\"arn:aws:sqs:us-east-1:{account}:jobs\"");
    let send = |account: &str, more: &str| {
        policy(&[ALLOW, "\"Action\": \"sqs:SendMessage\"", &format!("\"Resource\": [{}{more}]", queue(account))])
    };
    let bed = Bed::of_role();
    bed.assert(&send(OTHER, ""), &[("error 6 iam-policy-account", "of the account acme-shop (222222222222), and this deployment is in acme-prd (123456789012): it looks like a copy")]);
    bed.assert(&send(OTHER, &format!(", {}", queue(OWN))), &[("warning 6 iam-policy-account", "acme-shop")]);
    bed.assert(&send(OTHER, ", \"arn:aws:s3:::web-data\""), &[("warning 6 iam-policy-account", "acme-shop")]);
    bed.assert(&send("333333333333", ""), &[("warning 6 iam-policy-unknown", "which no deployment is in")]);
    let of_queue = Bed::new("queue_policy = \"policy.json\"");
    let both = policy(&[
        ALLOW,
        EVERYBODY,
        "\"Action\": \"sqs:SendMessage\"",
        &format!("\"Resource\": [{}, {}]", queue(OWN), queue(OTHER)),
    ]);
    of_queue.assert(&both, &[("error 7 iam-policy-account", "it looks like a copy")]);
    // The same of buckets, in the rights of a role.
    let read = |buckets: &str| policy(&[ALLOW, ACTION, &format!("\"Resource\": [{buckets}]")]);
    bed.assert(&read("\"arn:aws:s3:::shop-data/*\""), &[("error 6 iam-policy-resource", "`shop-data`")]);
    bed.assert(
        &read("\"arn:aws:s3:::shop-data/*\", \"arn:aws:s3:::web-data/*\""),
        &[("warning 6 iam-policy-resource", "`shop-data`")],
    );
}

#[test]
fn settings_decide_what_becomes_of_a_rule() {
    let copied = policy(&[ALLOW, EVERYBODY, ACTION, &resource("arn:aws:s3:::shop-data")]);
    let mut bed = Bed::of_bucket();
    bed.levels.insert(CheckRule::IamPolicyResource, CheckLevel::Warning);
    bed.assert(&copied, &[("warning 7 iam-policy-resource", "`shop-data`")]);
    bed.levels.insert(CheckRule::IamPolicyResource, CheckLevel::Ignore);
    bed.assert(&copied, &[]);
    let mut bed = Bed::of_bucket();
    bed.exclude = vec!["*.json".to_owned()];
    bed.assert(&copied, &[]);
    let wrong = Checks::new(Utf8Path::new("/"), &[], [].into_iter(), &BTreeMap::new(), &["[".to_owned()]);
    assert_eq!(wrong.unwrap_err().to_string(), "`[` is no pattern of files");
}

/// The policies of the examples are as they should be.
#[test]
fn the_examples_pass() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tfvars-fleet");
    for (file, policy) in [
        ("Accounts/test-4-poc-1/test.tfvars", "Accounts/test-4-poc-1/bucket-policy.json"),
        ("Accounts/order-pipeline/prod-us.tfvars", "KMS/key-policy.json"),
    ] {
        let mut deployment = samples::deployment("web");
        deployment.file = file.into();
        deployment.var_files = vec![file.into()];
        deployment.references = vec![Reference { written: policy.to_owned(), path: policy.into() }];
        let fleet = [deployment];
        let checks = Checks::new(&root, &fleet, fleet.iter(), &BTreeMap::new(), &[]).unwrap();
        assert_eq!(checks.of(&fleet[0]), [], "{file}");
    }
}

/// JSON of the words that policies have, in any order.
fn any_document() -> impl Strategy<Value = serde_json::Value> {
    let word = prop::sample::select(vec![
        "Version",
        "2012-10-17",
        "Statement",
        "Effect",
        "Allow",
        "Action",
        "*",
        "s3:*",
        "Resource",
        "Principal",
        "AWS",
        "arn:aws:s3:::shop-data",
        "arn:aws:sqs:::222222222222:",
        "arn:",
        "arn:::::",
        "",
        "é",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(Into::into)
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|all| all
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_that_a_file_holds_makes_it_panic(document in any_document(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        for bed in [Bed::of_bucket(), Bed::of_role()] {
            let text = serde_json::to_string_pretty(&document).unwrap();
            let lines = text.lines().count();
            for one in bed.findings(text.as_bytes()) {
                prop_assert!((1..=lines).contains(&one.line.unwrap()), "{one}");
            }
            let _ = bed.findings(&bytes);
        }
    }
}
