//! The summary of a large fleet's apply and its plans, as a run over it would have left them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// When it began, in seconds since 1970: the moment that the run's id has in it.
const BEGAN: u64 = 1_795_253_400;

const TEAMS: [&str; 5] = ["payments", "storefront", "logistics", "identity", "analytics"];
const REGIONS: [&str; 4] = ["eu-west-1", "us-east-1", "eu-central-1", "ap-southeast-2"];
const ENVIRONMENTS: [(&str, &str); 3] = [("production", "prod"), ("staging", "stage"), ("development", "dev")];
const PROJECTS: [&str; 10] =
    ["network", "orders", "ledger", "search", "events", "media", "sessions", "catalog", "alerts", "warehouse"];
const RESOURCES: [&str; 8] = [
    "aws_s3_bucket.archive",
    "aws_kms_key.data",
    "aws_iam_role.worker",
    "aws_sqs_queue.jobs",
    "aws_lambda_function.consumer",
    "aws_security_group.service",
    "aws_dynamodb_table.index",
    "module.alarms.aws_cloudwatch_metric_alarm.errors",
];

const ATTRIBUTES: [(&str, &str); 8] = [
    ("description", "kept by the platform team"),
    ("deletion_window_in_days", "30"),
    ("enable_key_rotation", "true"),
    ("retention_in_days", "90"),
    ("force_destroy", "false"),
    ("server_side_encryption", "aws:kms"),
    ("message_retention", "1209600"),
    ("tags.CostCentre", "4711"),
];

/// A run over `count` deployments with `workers` at a time, its plans below `folder`; the file of its summary.
pub fn sample_run(folder: &Path, count: usize, workers: usize) -> PathBuf {
    let mut free = vec![0_u64; workers];
    let mut lists = json!({"successful": [], "failed": [], "skipped": [], "cancelled": []});
    for at in 0..count {
        let entry = entry(folder, at, &mut free);
        let list = match entry["outcome"].as_str().unwrap() {
            "succeeded" | "no_changes" => "successful",
            "skipped" => "skipped",
            "cancelled" => "cancelled",
            _ => "failed",
        };
        lists[list].as_array_mut().unwrap().push(entry);
    }
    let number = |list: &str| lists[list].as_array().unwrap().len();
    let summary = json!({
        "schema_version": 1,
        "run_id": format!("{:08x}-{:04x}-7000-8000-000000000500", (BEGAN * 1000) >> 16, (BEGAN * 1000) & 0xffff),
        "action": "apply",
        "successful": lists["successful"], "failed": lists["failed"],
        "skipped": lists["skipped"], "cancelled": lists["cancelled"],
        "summary": {
            "total": count, "successful": number("successful"), "failed": number("failed"),
            "skipped": number("skipped"), "cancelled": number("cancelled"),
            "action": "apply", "duration_ms": free.iter().max().unwrap() + 900,
        },
    });
    let path = folder.join("summary.json");
    fs::write(&path, serde_json::to_vec_pretty(&summary).unwrap()).unwrap();
    path
}

/// Numbers that look like chance and are the same each time.
fn chance(at: usize, what: u64) -> u64 {
    let mut x = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 31;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 29)
}

fn outcome(at: usize) -> &'static str {
    match at {
        37 => "needs_operator",
        61 | 188 | 305 | 409 => "failed",
        120 | 350 => "rolled_back",
        62 | 189 => "skipped",
        _ if chance(at, 1).is_multiple_of(3) => "no_changes",
        _ => "succeeded",
    }
}

fn entry(folder: &Path, at: usize, free: &mut [u64]) -> Value {
    let team = TEAMS[at % TEAMS.len()];
    let (environment, short) = ENVIRONMENTS[(at / TEAMS.len()) % ENVIRONMENTS.len()];
    let region = REGIONS[(at / 15) % REGIONS.len()];
    let project =
        format!("{}{}", PROJECTS[(at / 60) % PROJECTS.len()], if at >= 600 { format!("-{at}") } else { String::new() });
    let (account, outcome) = (format!("{team}-{short}"), outcome(at));
    let name = format!("combined/{account}/{region}/{project}");
    let steps = steps(at, outcome);
    let took: u64 = steps.iter().map(|(_, took)| took).sum();
    let worker = (0..free.len()).min_by_key(|worker| free[*worker]).unwrap();
    let started = free[worker];
    if outcome != "skipped" {
        free[worker] = started + took + 40 + chance(at, 2) % 150;
    }
    let resources = resources(at, outcome);
    let of =
        |actions: &[&str]| resources.iter().filter(|one| actions.contains(&one["action"].as_str().unwrap())).count();
    let plan = format!("plans/{name}/plan.txt");
    let ran = !matches!(outcome, "skipped" | "no_changes");
    if ran {
        fs::create_dir_all(folder.join(&plan).parent().unwrap()).unwrap();
        fs::write(folder.join(&plan), plan_text(at, &resources)).unwrap();
    }
    json!({
        "deployment": {
            "name": name, "source": "tfvars", "file": format!("Accounts/{account}/{project}/{region}.tfvars"),
            "account_id": format!("{:012}", 210_000_000_000 + 1_111 * (at as u64 % 15)), "account_name": account,
            "region": region, "project": project, "environment": environment, "owner": format!("{team}@example.com"),
            "team": team, "bucket": "example-terraform-states",
        },
        "success": matches!(outcome, "succeeded" | "no_changes"),
        "outcome": outcome,
        "backend_key": format!("{name}/terraform.tfstate"),
        "services": ["kms", "s3"],
        "action": "apply",
        "has_changes": !resources.is_empty(),
        "changes": {"add": of(&["create", "replace"]), "change": of(&["update"]), "destroy": of(&["delete", "replace"])},
        "resources": resources,
        "findings": findings(at),
        "output": if ran { format!("Apply of {project}: see the plan for what it did.\n") } else { String::new() },
        "output_key": null,
        "log": ran.then(|| format!("plans/{name}/apply.log")),
        "plan": ran.then_some(plan),
        "error": error(at, outcome, &account),
        "touched": if outcome == "failed" || outcome == "needs_operator" {
            json!([
                {"fate": "created", "address": "aws_kms_key.data", "id": "4a1f0c52-6f0e-4b1e-9d4e-2f6f3f1f77aa", "tainted": false},
                {"fate": if outcome == "failed" { "changed" } else { "unknown" }, "address": "aws_s3_bucket.archive", "id": null, "tainted": false},
            ])
        } else { json!([]) },
        "backup_key": ran.then(|| format!("backups/{name}/terraform.tfstate.20261121-091000.backup")),
        "audit_key": (outcome != "skipped").then(|| format!("audit-logs/{account}/{project}/apply-20261121-091000-{region}.json")),
        "started": (outcome != "skipped").then(|| time(started)),
        "duration_ms": took,
        "steps": steps.iter().map(|(step, took)| json!({"step": step, "duration_ms": took})).collect::<Vec<_>>(),
        "orchestrator_version": "0.1.0",
    })
}

fn time(after: u64) -> String {
    jiff::Timestamp::from_millisecond(i64::try_from(BEGAN * 1000 + after).unwrap()).unwrap().to_string()
}

fn steps(at: usize, outcome: &str) -> Vec<(&'static str, u64)> {
    if outcome == "skipped" {
        return Vec::new();
    }
    let some = |what: u64, from: u64, to: u64| from + chance(at, what) % (to - from);
    let mut steps = vec![
        ("lock", if at % 41 == 5 { some(3, 8_000, 21_000) } else { some(3, 60, 300) }),
        ("lease", some(4, 150, 900)),
        ("state", some(5, 40, 200)),
        ("workspace", some(6, 30, 250)),
        ("init", some(7, 1_200, 3_800)),
        ("backup", some(8, 60, 240)),
    ];
    steps.push(("apply", if outcome == "no_changes" { some(9, 2_500, 9_000) } else { some(9, 6_000, 48_000) }));
    match outcome {
        "rolled_back" => steps.extend([("recover", some(10, 900, 2_000)), ("roll_back", some(11, 9_000, 26_000))]),
        "failed" | "needs_operator" => steps.push(("recover", some(10, 900, 4_000))),
        _ => steps.push(("snapshot", some(12, 80, 400))),
    }
    steps.push(("audit", some(13, 40, 160)));
    steps
}

fn resources(at: usize, outcome: &str) -> Vec<Value> {
    if matches!(outcome, "skipped" | "no_changes") {
        return Vec::new();
    }
    (0..=chance(at, 20) % 7)
        .map(|number| {
            let address = RESOURCES[(at + usize::try_from(number).unwrap() * 3) % RESOURCES.len()];
            let action = ["create", "update", "update", "create", "replace", "create", "update", "delete"]
                [usize::try_from(chance(at, 21 + number) % 8).unwrap()];
            let kind = address.trim_start_matches("module.alarms.").split('.').next().unwrap();
            let mut resource = json!({"address": format!("{address}[\"{number}\"]"), "type": kind, "action": action});
            if matches!(action, "update" | "replace") {
                resource["attributes"] = json!(["policy", "tags"]);
            }
            resource
        })
        .collect()
}

fn plan_text(at: usize, resources: &[Value]) -> String {
    let mut text = "Terraform will perform the following actions:\n".to_owned();
    for resource in resources {
        let (address, kind) = (resource["address"].as_str().unwrap(), resource["type"].as_str().unwrap());
        let (sign, words) = match resource["action"].as_str().unwrap() {
            "create" => ("  +", "will be created"),
            "delete" => ("  -", "will be destroyed"),
            "replace" => ("-/+", "must be replaced"),
            _ => ("  ~", "will be updated in-place"),
        };
        let sub = if sign == "-/+" { "~" } else { sign.trim() };
        let label = address.split('[').next().unwrap().rsplit('.').next().unwrap();
        let _ = write!(text, "\n  # {address} {words}\n{sign} resource \"{kind}\" \"{label}\" {{\n");
        for (name, value) in ATTRIBUTES.iter().skip(usize::try_from(chance(at, 30) % 4).unwrap()) {
            let _ = match sub {
                "~" => writeln!(text, "      ~ {name:<24} = \"{value}\" -> (known after apply)"),
                _ => writeln!(text, "      {sub} {name:<24} = \"{value}\""),
            };
        }
        // One of them has a plan that no page should hold whole.
        for line in 0..if at == 305 { 4_000 } else { 0 } {
            let _ = writeln!(text, "      {sub} setting_{line:04} = \"{:016x}\"", chance(at, 100 + line));
        }
        text.push_str("    }\n");
    }
    let _ = writeln!(text, "\nPlan: {} to add, change or destroy.", resources.len());
    text
}

fn findings(at: usize) -> Value {
    if at % 23 != 3 {
        return json!([]);
    }
    json!([{
        "severity": "warning", "found_by": "policy", "rule": "tags.warn_cost_centre",
        "message": "aws_s3_bucket.archive has no tag CostCentre", "file": "policies/tags.rego", "line": 14,
    }])
}

fn error(at: usize, outcome: &str, account: &str) -> Value {
    let denied = "Error: creating S3 Bucket (archive): AccessDenied: not authorized to perform s3:CreateBucket\n\n  \
                  with aws_s3_bucket.archive[\"0\"],\n  on main.tf line 12, in resource \"aws_s3_bucket\" \"archive\":\n  \
                  12: resource \"aws_s3_bucket\" \"archive\" {";
    let quota = "Error: creating KMS Key: LimitExceededException: the quota of keys in this region is reached";
    match outcome {
        "failed" => json!({
            "what": "terraform apply failed (exit code 1)",
            "causes": [if at.is_multiple_of(2) { quota } else { denied }],
            "next": [format!("look at the role of account {account}"), "run the same command again"],
        }),
        "rolled_back" => json!({
            "what": "terraform apply failed (exit code 1), and what it had changed was put back",
            "causes": [denied], "next": ["correct the policy, and apply again"],
        }),
        "needs_operator" => json!({
            "what": "the state could not be written after the apply",
            "causes": ["PutObject was refused: the bucket's key has been disabled"],
            "next": ["enable the key, then: tfleet runs --recover"],
        }),
        "skipped" => json!({
            "what": "not started: it needs a deployment that failed", "causes": [], "next": [],
        }),
        _ => Value::Null,
    }
}
