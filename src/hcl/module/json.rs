//! Modules written as JSON (`*.tf.json`): the same facts by other means.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::{AssumesRole, BackendBlock, ModuleError, ProviderBlock, ROLE_BLOCKS, Reader, Setting, VersionConstraint};
use crate::hcl::{Position, SourceError, outward};

impl Reader {
    fn json_terraform(&mut self, terraform: &serde_json::Map<String, serde_json::Value>, position: &Position) {
        if let Some(text) = terraform.get("required_version").and_then(|v| v.as_str()) {
            self.required_versions.push(VersionConstraint { text: text.to_owned(), position: position.clone() });
        }
        for backend in terraform.get("backend").map(objects).unwrap_or_default() {
            for (kind, body) in backend {
                let settings = objects(body).first().map(|o| json_backend(o)).unwrap_or_default();
                let (lines, position) = (BTreeMap::new(), position.clone());
                self.backend = Some(BackendBlock { kind: kind.clone(), settings, lines, position });
            }
        }
        if terraform.contains_key("cloud") {
            let (settings, lines) = (BTreeMap::new(), BTreeMap::new());
            self.backend = Some(BackendBlock { kind: "cloud".to_owned(), settings, lines, position: position.clone() });
        }
        for required in terraform.get("required_providers").map(objects).unwrap_or_default() {
            for (name, value) in required {
                self.required_provider(name, value["source"].as_str());
            }
        }
    }

    fn json_variables(&mut self, variables: &serde_json::Value) {
        for group in objects(variables) {
            self.dir.variables.extend(group.keys().cloned());
            for (name, bodies) in group {
                let default = objects(bodies).into_iter().find_map(|body| body.get("default")).map(json_setting);
                if let Some(default) = default {
                    self.dir.defaults.insert(name.clone(), default);
                }
            }
        }
    }

    pub(super) fn json_file(&mut self, path: &Utf8Path, text: &str) -> Result<(), ModuleError> {
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| SourceError {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            message: format!("not valid JSON: {error}"),
            source_line: text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().to_owned(),
            hint: None,
        })?;
        self.dir.outward.extend(outward::of_json(path, &json));
        self.dir.uses_workspace |= text.contains("terraform.workspace");
        let position = Position { path: path.to_owned(), line: 1 };
        for terraform in objects(&json["terraform"]) {
            self.json_terraform(terraform, &position);
        }
        for group in objects(&json["provider"]) {
            for (name, bodies) in group {
                for body in objects(bodies) {
                    let settings = json_settings(body);
                    let assumes_role = ROLE_BLOCKS
                        .iter()
                        .filter_map(|kind| body.get(*kind))
                        .map(json_roles)
                        .fold(AssumesRole::No, AssumesRole::or);
                    let alias = settings.get("alias").and_then(Setting::literal).map(str::to_owned);
                    let position = position.clone();
                    let bare = body.iter().filter_map(|(key, value)| Some((key.clone(), json_variable(value)?)));
                    let (name, variables) = (name.clone(), bare.collect());
                    self.provider(ProviderBlock { name, alias, settings, variables, assumes_role, position });
                }
            }
        }
        self.json_variables(&json["variable"]);
        for group in objects(&json["output"]) {
            self.dir.outputs.extend(group.keys().cloned());
        }
        for group in objects(&json["module"]) {
            for (name, bodies) in group {
                for body in objects(bodies) {
                    if let Some(source) = body.get("source").and_then(|s| s.as_str()) {
                        self.module_call(name.clone(), source.to_owned(), &position);
                    }
                }
            }
        }
        for kind in ["resource", "data", "ephemeral"] {
            for group in objects(&json[kind]) {
                let implied = group.keys().map(|kind| kind.split('_').next().unwrap_or_default().to_owned());
                self.used_providers.extend(implied);
            }
        }
        Ok(())
    }
}

/// `role_of` for JSON, where `"${…}"` alone is the bare value.
fn json_roles(value: &serde_json::Value) -> AssumesRole {
    if value.is_string() {
        return AssumesRole::Unknown;
    }
    let role = |role: &serde_json::Map<_, serde_json::Value>| match role.get("role_arn").and_then(|arn| arn.as_str()) {
        Some(text) if !text.is_empty() && !text.starts_with("${") => AssumesRole::Yes,
        _ => AssumesRole::Unknown,
    };
    objects(value).into_iter().map(role).fold(AssumesRole::No, AssumesRole::or)
}

/// The name in `"${var.NAME}"`.
fn json_variable(value: &serde_json::Value) -> Option<String> {
    let name = value.as_str()?.strip_prefix("${var.")?.strip_suffix('}')?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)).then(|| name.to_owned())
}

/// JSON configuration allows one object or a list of objects wherever a block may be repeated.
fn objects(value: &serde_json::Value) -> Vec<&serde_json::Map<String, serde_json::Value>> {
    match value {
        serde_json::Value::Object(object) => vec![object],
        serde_json::Value::Array(items) => items.iter().filter_map(|item| item.as_object()).collect(),
        _ => Vec::new(),
    }
}

/// The arguments of a backend; what stands in an object is known by both names, as in HCL.
fn json_backend(object: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, Setting> {
    let mut settings = json_settings(object);
    for (name, value) in object {
        let inner = objects(value).into_iter().flatten();
        settings.extend(inner.map(|(key, value)| (format!("{name}.{key}"), json_setting(value))));
    }
    settings
}

fn json_settings(object: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, Setting> {
    object.iter().map(|(key, value)| (key.clone(), json_setting(value))).collect()
}

fn json_setting(value: &serde_json::Value) -> Setting {
    match value {
        serde_json::Value::String(text) if !text.contains("${") && !text.contains("%{") => {
            Setting::Literal(text.clone())
        }
        serde_json::Value::Bool(value) => Setting::Literal(value.to_string()),
        serde_json::Value::Number(value) => Setting::Literal(value.to_string()),
        serde_json::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().filter(|t| !t.contains("${")).map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(Setting::Dynamic, Setting::List),
        _ => Setting::Dynamic,
    }
}
