//! What of an audit record may be shown: it holds what Terraform printed, unredacted.

use serde_json::Value;

use super::fields::is_own;
use crate::redact::{Redactor, sensitive};
use crate::store::ReadStore;

/// What stands for a value that is not shown.
const HIDDEN: &str = "***REDACTED***";

/// What tfleet itself says of a deployment: how it is called and where it is.
const OWN_OF_DEPLOYMENT: [&str; 12] = [
    "name",
    "source",
    "file",
    "account_id",
    "account_name",
    "region",
    "project",
    "environment",
    "owner",
    "team",
    "root_module",
    "state",
];

/// A redactor that knows the secrets of the states around a record: that of today, and the backup from before.
pub(super) async fn informed(redactor: &Redactor, store: &dyn ReadStore, record: &Value) -> Redactor {
    let mut redactor = redactor.clone();
    if !redactor.is_on() {
        return redactor;
    }
    for field in ["backend_key", "backup_key", "recovered_key"] {
        let Some(key) = record[field].as_str() else { continue };
        // What is gone, or cannot be read, tells no secrets; the rules hide what looks like one all the same.
        if let Ok(Some(object)) = store.get(key).await {
            redactor = redactor.with_secrets(sensitive::from_state(&object.bytes));
        }
    }
    redactor
}

/// Hides what must not be shown. The output is left out, unless it was asked for.
pub(super) fn hide(record: &mut Value, redactor: &Redactor, with_output: bool) {
    let Some(fields) = record.as_object_mut() else { return };
    if !with_output {
        fields.remove("output");
    }
    if !redactor.is_on() {
        return;
    }
    for (name, value) in fields.iter_mut() {
        match value {
            Value::Object(deployment) if name == "deployment" => {
                for (name, value) in
                    deployment.iter_mut().filter(|(name, _)| !OWN_OF_DEPLOYMENT.contains(&name.as_str()))
                {
                    // Whether one of them is secret, no file says.
                    if name == "variables" { hide_whole(value) } else { hide_texts(value, redactor) }
                }
            }
            value if !is_own(name) => hide_texts(value, redactor),
            _ => {}
        }
    }
}

fn hide_texts(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => *text = redactor.text(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_texts(item, redactor)),
        Value::Object(fields) => fields.values_mut().for_each(|value| hide_texts(value, redactor)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn hide_whole(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| *value = HIDDEN.into()),
        value => *value = HIDDEN.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Secret;

    fn record() -> Value {
        json!({
            "run_id": "0196f0a0-0000-7000-8000-000000000001",
            "backend_key": "s3/111122223333/terraform.tfstate",
            "caller": "arn:aws:iam::111122223333:user/ann",
            "deployment": {"name": "s3/a", "account_id": "111122223333", "role_arn": "arn:aws:iam::111122223333:role/x",
                "variables": {"password": "short", "size": 3}},
            "error": {"what": "failed", "causes": ["at arn:aws:s3:::secret-bucket with hunter2-hunter2"], "next": []},
            "output": "hunter2-hunter2",
        })
    }

    #[test]
    fn what_is_not_tfleets_own_is_redacted_and_the_output_left_out() {
        let redactor = Redactor::new().with_secrets([Secret::new("hunter2-hunter2".to_owned())]);
        let mut shown = record();
        hide(&mut shown, &redactor, false);
        assert_eq!(shown["deployment"]["account_id"], "111122223333", "tfleet's own fields stay");
        assert_eq!((&shown["run_id"], &shown["backend_key"]), (&record()["run_id"], &record()["backend_key"]));
        assert_eq!(shown["deployment"]["variables"], json!({"password": HIDDEN, "size": HIDDEN}));
        assert_eq!(shown["output"], Value::Null);
        let text = shown.to_string();
        for secret in ["hunter2", "secret-bucket", "user/ann", "role/x", "short"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let mut shown = record();
        hide(&mut shown, &redactor, true);
        assert_eq!(shown["output"], HIDDEN);
    }

    #[test]
    fn whoever_wants_all_gets_all_but_the_output_that_was_not_asked_for() {
        let (mut all, mut some) = (record(), record());
        hide(&mut all, &Redactor::off(), true);
        assert_eq!(all, record());
        hide(&mut some, &Redactor::off(), false);
        assert_eq!((&some["caller"], &some["output"]), (&record()["caller"], &Value::Null));
    }
}
