//! What the rules have decided, and about which plan, as people read it. Everything has been redacted.

use serde_json::Value;

/// How much of a digest is shown: enough to tell two apart.
const SHORT: usize = 12;

/// `kept by run 0199…, digest 0123456789ab…`.
pub(super) fn plan(plan: &Value) -> String {
    match (plan["run"].as_str(), plan["digest"].as_str()) {
        (Some(run), Some(digest)) => format!("kept by run {run}, digest {}", short(digest)),
        (Some(run), None) => format!("kept by run {run}"),
        _ => String::new(),
    }
}

/// The verdict, the rules it is by, and for each of them what was needed and what was there.
pub(super) fn decision(decision: &Value) -> Vec<String> {
    let Some(verdict) = decision["verdict"].as_str() else { return Vec::new() };
    let verdict = match verdict {
        "auto" => "nothing had to be approved",
        "approved" => "all that had to be approved was",
        other => other,
    };
    let rules = decision["rules"].as_str().unwrap_or("rules that are not named");
    let digest = decision["rules_sha256"].as_str().map(|digest| format!(" (SHA-256 {})", short(digest)));
    let mut lines = vec![format!("{verdict}, by {rules}{}", digest.unwrap_or_default())];
    let teams = texts(&decision["teams"]).join(", ");
    if !teams.is_empty() {
        lines.push(format!("may be changed by members of {teams}"));
    }
    if decision["self_approval"] == true {
        lines.push("approvals of whoever planned or applied it counted too".to_owned());
    }
    lines.extend(items(&decision["needs"]).flat_map(need));
    lines.extend(items(&decision["not_counted"]).map(|one| {
        let of = |field: &str| one[field].as_str().unwrap_or("?");
        format!("the approval of {} at {} {}", of("approver"), time(&one["time"]), of("why"))
    }));
    lines
}

/// One rule that held, and who was counted for it.
fn need(need: &Value) -> Vec<String> {
    let of = |field: &str| need[field].as_str().unwrap_or("?");
    let place = need["line"].as_u64().map(|line| format!(" (line {line})")).unwrap_or_default();
    let from = texts(&need["from"]).join(", ");
    let from = if from.is_empty() { from } else { format!(" from {from}") };
    let asks = match need["approvals"].as_u64() {
        Some(0) => "needs no approval".to_owned(),
        Some(1) => format!("needs 1 approval{from}"),
        count => format!("needs {} approvals{from}", count.map_or_else(|| "?".to_owned(), |count| count.to_string())),
    };
    let missing = match need["missing"].as_u64() {
        None | Some(0) => String::new(),
        Some(1) => ": 1 is missing".to_owned(),
        Some(missing) => format!(": {missing} are missing"),
    };
    let mut lines = vec![format!("{}{place}: {}, and {asks}{missing}", of("rule"), of("reason"))];
    lines.extend(items(&need["counted"]).map(|one| {
        let comment = one["comment"].as_str().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("approved by {} at {}{comment}", one["approver"].as_str().unwrap_or("?"), time(&one["time"]))
    }));
    lines
}

fn time(time: &Value) -> String {
    let text = time.as_str().unwrap_or("?");
    text.parse::<jiff::Timestamp>().map_or_else(|_| text.to_owned(), |time| format!("{time:.0}"))
}

fn short(digest: &str) -> String {
    digest.char_indices().nth(SHORT).map_or_else(|| digest.to_owned(), |(at, _)| format!("{}…", &digest[..at]))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn texts(list: &Value) -> Vec<&str> {
    items(list).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_reads_like_a_sentence() {
        let (digest, time) = ("0123456789abcdef", "2026-01-31T06:00:00.123Z");
        let decided = json!({
            "rules": "deployment-rules.yaml", "rules_sha256": digest, "verdict": "refused", "teams": ["web", "ops"],
            "needs": [
                {"rule": "environments.production", "line": 6, "reason": "is of the environment production", "approvals": 2,
                 "missing": 1, "from": ["platform"],
                 "counted": [{"approver": "github:bob", "time": time, "comment": "looked at it"}]},
                {"rule": "protection[0]", "line": 9, "reason": "deletes a.b", "approvals": 0, "missing": 0, "from": [], "counted": []},
            ],
            "not_counted": [{"approver": "ann", "time": time, "why": "was given by whoever planned it"}],
        });
        assert_eq!(
            decision(&decided),
            [
                "refused, by deployment-rules.yaml (SHA-256 0123456789ab…)",
                "may be changed by members of web, ops",
                "environments.production (line 6): is of the environment production, and needs 2 approvals from platform: 1 is missing",
                "approved by github:bob at 2026-01-31T06:00:00Z: looked at it",
                "protection[0] (line 9): deletes a.b, and needs no approval",
                "the approval of ann at 2026-01-31T06:00:00Z was given by whoever planned it",
            ]
        );
        assert_eq!(plan(&json!({"run": "r", "digest": digest})), "kept by run r, digest 0123456789ab…");
    }

    #[test]
    fn what_is_no_decision_of_ours_is_shown_without_a_panic() {
        for odd in [json!(null), json!([1]), json!({"verdict": 1}), json!("x")] {
            assert!(decision(&odd).is_empty() && plan(&odd).is_empty(), "{odd}");
        }
        assert_eq!(decision(&json!({"verdict": "auto", "needs": [1, {}], "not_counted": "x"})).len(), 3);
    }
}
