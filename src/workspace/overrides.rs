//! The override files that tfleet lays beside a module's own files, only ever in a copy.

use std::collections::BTreeMap;
use std::fmt::Write;

use camino::{Utf8Path, Utf8PathBuf};

use super::{BackendPlan, Guard};
use crate::hcl::RootModule;

/// The name of tfleet's override file: last in order among the override files of most modules.
pub const OVERRIDE_FILE: &str = "zz_tfleet_override.tf";

/// The text of each override file, by the folder of the module that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides(BTreeMap<Utf8PathBuf, String>);

impl Overrides {
    /// Puts what backend and guard ask for into one file for each folder.
    #[must_use]
    pub fn new(root: &RootModule, backend: &BackendPlan, guard: &Guard) -> Self {
        let mut files = BTreeMap::<Utf8PathBuf, String>::new();
        let backend = backend.override_hcl.as_deref().map(|text| (root.dir(), text));
        let guard = guard.files.iter().map(|(dir, text)| (dir.as_path(), text.as_str()));
        for (dir, text) in backend.into_iter().chain(guard) {
            let file = files.entry(dir.to_owned()).or_insert_with(|| {
                "# Written by tfleet into this copy of the module; the module itself is untouched.\n".to_owned()
            });
            let _ = write!(file, "\n{text}");
        }
        Self(files)
    }

    /// The folders, as they are in the source, and what their override file says.
    pub fn iter(&self) -> impl Iterator<Item = (&Utf8Path, &str)> {
        self.0.iter().map(|(dir, text)| (dir.as_path(), text.as_str()))
    }
}

/// `text` as an HCL string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (index, c) in text.char_indices() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // `${` and `%{` begin a template unless their first character is doubled.
            '$' | '%' if text[index + 1..].starts_with('{') => out.extend([c, c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
