//! One audit record for people. Its fields have been redacted.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::decided;
use super::fields::is_known;
use crate::text;

/// How many touched resources are named.
const NAMED: usize = 50;

/// A record, with what its store and its name say.
pub(super) struct Shown<'a> {
    /// The object.
    pub place: &'a str,
    /// The record.
    pub record: &'a Value,
    /// Who did it.
    pub who: &'a [String],
    /// What Terraform printed, where that is wanted.
    pub output: Option<&'a str>,
}

impl Shown<'_> {
    /// The whole text.
    pub fn text(&self) -> String {
        let record = self.record;
        let of = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let name = record["deployment"]["name"].as_str().or_else(|| record["backend_key"].as_str());
        let mut out = Fields(String::new());
        let ended = match (record["outcome"].as_str(), record["success"].as_bool()) {
            (Some(outcome), _) => outcome,
            (None, Some(true)) => "succeeded",
            (None, _) => "failed",
        };
        out.0 = format!("{} of {}  {}\n", clean(&of("action")), clean(name.unwrap_or("-")), clean(ended));
        out.one("record", self.place);
        out.one("when", &self.when());
        out.one("who", &self.who.join(", "));
        out.one("run", &of("run_id"));
        out.one("account", &account(&record["deployment"]));
        out.one("state", &in_bucket(&of("backend_key"), &of("bucket")));
        out.one("changes", &changes(record));
        out.one("plan", &decided::plan(&record["plan"]));
        out.all("decision", decided::decision(&record["decision"]));
        out.one("comment", &of("comment"));
        self.failure(&mut out);
        out.all("touched", touched(&record["touched"]));
        out.all("findings", items(&record["findings"]).map(finding));
        out.all("delivered", items(&record["deliveries"]).map(Value::to_string));
        out.one("steps", &steps(&record["steps"]));
        for (label, field) in [
            ("backup", "backup_key"),
            ("recovered", "recovered_key"),
            ("rollback", "rollback_key"),
            ("undoes", "rolls_back"),
            ("mode", "mode"),
            ("by run", "recovered_by_run"),
        ] {
            out.one(label, &of(field));
        }
        out.all("done", items(&record["done"]).filter_map(Value::as_str).map(str::to_owned));
        for field in ["recovers", "to", "found"] {
            out.json(field, &record[field]);
        }
        for (name, value) in record.as_object().into_iter().flatten() {
            if !is_known(name) {
                out.json(name, value);
            }
        }
        out.one("with", &versions(record));
        match (self.output, record["output_key"].as_str()) {
            (Some(output), _) => out.output(output),
            (None, Some(key)) => out.one("output", key),
            (None, None) => {}
        }
        out.0
    }

    fn when(&self) -> String {
        let record = self.record;
        let time = record["time"].as_str().unwrap_or("-");
        let time = time.parse::<Timestamp>().map_or_else(|_| time.to_owned(), |time| format!("{time:.0}"));
        match record["duration_seconds"].as_f64() {
            Some(took) => format!("ended {time}, took {took:.1}s"),
            None => time,
        }
    }

    fn failure(&self, out: &mut Fields) {
        let error = &self.record["error"];
        let texts = |field: &str| items(&error[field]).filter_map(Value::as_str).map(str::to_owned);
        out.one("what", error["what"].as_str().unwrap_or_default());
        out.all("why", texts("causes"));
        out.all("next", texts("next"));
    }
}

/// Labels with their texts, one below the other.
struct Fields(String);

impl Fields {
    fn one(&mut self, label: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let mut label = label;
        for line in text::lines(value).filter(|line| !line.trim().is_empty()) {
            // GitHub's runner obeys such lines, whatever blanks stand before them.
            let command = label.is_empty() && ["::", "##["].iter().any(|sign| line.trim_start().starts_with(sign));
            let _ = writeln!(self.0, "  {label:9} {}{}", if command { "| " } else { "" }, line.trim_end());
            label = "";
        }
    }

    fn all(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        for (at, value) in values.into_iter().enumerate() {
            self.one(if at == 0 { label } else { "" }, &value);
        }
    }

    /// A field that only its own kind of record has.
    fn json(&mut self, label: &str, value: &Value) {
        let nothing = match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !nothing {
            self.one(&clean(label), &value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned));
        }
    }

    fn output(&mut self, output: &str) {
        self.0.push_str("  output\n");
        for line in text::lines(output) {
            let _ = writeln!(self.0, "  | {}", line.trim_end());
        }
    }
}

fn clean(text: &str) -> String {
    text::line(text).into_owned()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn account(deployment: &Value) -> String {
    let of = |field: &str| deployment[field].as_str();
    match (of("account_name"), of("account_id"), of("region")) {
        (Some(name), Some(id), Some(region)) => format!("{name} ({id}), {region}"),
        _ => String::new(),
    }
}

fn in_bucket(key: &str, bucket: &str) -> String {
    if key.is_empty() || bucket.is_empty() { key.to_owned() } else { format!("{key} in {bucket}") }
}

fn changes(record: &Value) -> String {
    let of = |field: &str| record["changes"][field].as_u64();
    match (of("add"), of("change"), of("destroy")) {
        (Some(add), Some(change), Some(destroy)) => format!("+{add} ~{change} -{destroy}"),
        _ => String::new(),
    }
}

fn touched(list: &Value) -> Vec<String> {
    let one = |touched: &Value| {
        let of = |field: &str| touched[field].as_str();
        let id = of("id").map(|id| format!(" (id {id})")).unwrap_or_default();
        format!("{} {}{id}", of("fate").unwrap_or("?"), of("address").unwrap_or("?"))
    };
    let mut named: Vec<String> = items(list).take(NAMED).map(one).collect();
    if let Some(more @ 1..) = items(list).count().checked_sub(NAMED) {
        named.push(format!("and {more} more (--format json has all)"));
    }
    named
}

fn finding(finding: &Value) -> String {
    let of = |field: &str| finding[field].as_str().unwrap_or_default();
    let place = match (finding["file"].as_str(), finding["line"].as_u64()) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        _ => String::new(),
    };
    format!("{}: {place}{} ({})", of("severity"), of("message"), of("rule"))
}

fn steps(list: &Value) -> String {
    let one = |step: &Value| {
        let seconds = step["seconds"].as_f64().unwrap_or_default();
        format!("{} {seconds:.1}s", step["step"].as_str().unwrap_or("?"))
    };
    items(list).map(one).collect::<Vec<_>>().join(", ")
}

fn versions(record: &Value) -> String {
    let of = |field: &str| record[field].as_str();
    let tfleet = of("tfleet_version").map(|version| format!("tfleet {version}"));
    let terraform = of("terraform_version");
    let terraform = terraform.map(|version| format!("{} {version}", of("terraform_product").unwrap_or("Terraform")));
    tfleet.into_iter().chain(terraform).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(record: &Value, output: Option<&str>) -> String {
        let who = ["role/deployer".to_owned(), "github:alice".to_owned()];
        Shown { place: "s3://states/audit-logs/x.json", record, who: &who, output }.text()
    }

    #[test]
    fn a_record_reads_like_a_report() {
        let record = json!({
            "time": "2026-01-31T06:00:00Z", "run_id": "0196f0a0-0000-7000-8000-000000000001", "action": "apply",
            "deployment": {"name": "s3/a", "account_id": "111122223333", "account_name": "prod", "region": "us-east-1"},
            "backend_key": "s3/a/terraform.tfstate", "bucket": "states", "duration_seconds": 12.34,
            "changes": {"add": 1, "change": 0, "destroy": 0},
            "error": {"what": "terraform apply failed", "causes": ["one\n::error::two\n\u{1b}[31mthree"], "next": ["mend it", "again"]},
            "touched": [{"fate": "created", "address": "a.b", "id": "i-1"}],
            "findings": [{"severity": "warning", "rule": "r", "message": "m", "file": "f", "line": 3}],
            "steps": [{"step": "lock", "seconds": 0.1}, {"step": "apply", "seconds": 12.0}],
            "backup_key": "backups/x", "rollback_key": "audit-logs/y", "output_key": "audit-logs/x.output.gz",
            "tfleet_version": "0.1.0", "terraform_product": "Terraform", "terraform_version": "1.11.4",
            "approvals": [{"by": "bob"}], "journal": [1], "deliveries": [],
        });
        insta::assert_snapshot!(shown(&record, None));
    }

    #[test]
    fn what_another_kind_of_record_has_is_shown_too() {
        let record = json!({"action": "mint", "backend_key": "mint/a", "details": {"engine": "organizations"}});
        let text = shown(&record, Some("a line\n::stop-commands::x\n"));
        assert!(text.starts_with("mint of mint/a  failed\n"), "{text}");
        assert!(text.contains("  details   {\n              \"engine\": \"organizations\"\n"), "{text}");
        assert!(text.ends_with("  output\n  | a line\n  | ::stop-commands::x\n"), "{text}");
    }

    #[test]
    fn what_is_no_record_of_ours_is_shown_without_a_panic() {
        for odd in [json!({}), json!({"touched": 1, "steps": {"a": 1}, "error": [1], "deployment": "x", "changes": []})]
        {
            assert!(shown(&odd, None).contains("record"));
        }
    }
}
