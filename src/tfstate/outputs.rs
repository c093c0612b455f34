//! The outputs of a root module, read from its state without starting Terraform.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::StateError;

/// One output. Its `Debug` form shows no sensitive value.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct OutputValue {
    /// The value; text, number, list, object.
    pub value: Value,
    /// Whether the module says that it is a secret.
    #[serde(default)]
    pub sensitive: bool,
}

impl fmt::Debug for OutputValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sensitive { f.write_str("(sensitive)") } else { self.value.fmt(f) }
    }
}

#[derive(Deserialize)]
struct RawOutputs {
    version: u64,
    #[serde(default)]
    outputs: BTreeMap<String, OutputValue>,
}

/// The outputs in a state.
pub fn outputs(state: &[u8]) -> Result<BTreeMap<String, OutputValue>, StateError> {
    let raw: RawOutputs = serde_json::from_slice(state)?;
    if raw.version == 4 { Ok(raw.outputs) } else { Err(StateError::Version(raw.version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{"version": 4, "serial": 3, "lineage": "l", "resources": [], "outputs": {
        "vpc": {"value": {"id": "vpc-1", "zones": ["a", "b"]}, "type": ["object", {}]},
        "password": {"value": "hunter2", "type": "string", "sensitive": true}}}"#;

    #[test]
    fn outputs_are_read_with_their_types_and_secrets_are_not_shown() {
        let outputs = outputs(STATE.as_bytes()).unwrap();
        assert_eq!(outputs["vpc"].value["zones"][1], "b");
        assert!(!outputs["vpc"].sensitive && outputs["password"].sensitive);
        assert_eq!(outputs["password"].value, "hunter2");
        let shown = format!("{outputs:?}");
        assert!(shown.contains("vpc-1") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_state_without_outputs_has_none_and_another_format_is_an_error() {
        assert!(outputs(br#"{"version": 4}"#).unwrap().is_empty());
        assert!(matches!(outputs(br#"{"version": 3}"#), Err(StateError::Version(3))));
        assert!(outputs(b"{").is_err());
    }
}
