//! The pages of `docs/adopting/`: what they show is what is tried.

use std::fs;
use std::path::Path;

use crate::bed::fenced;

/// A page.
pub struct Page {
    /// The whole text.
    pub text: String,
    /// The `tfleet.yaml` that it shows first.
    pub settings: String,
    /// The `accounts.yaml` that it shows.
    pub accounts: Option<String>,
    /// Settings that it shows as variations.
    pub variations: Vec<String>,
}

impl Page {
    /// `docs/adopting/NAME.md`.
    #[track_caller]
    pub fn of(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/adopting/{name}.md"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let all = fenced(&text, "yaml").into_iter().map(|(_, block)| block);
        let (accounts, mut settings): (Vec<String>, Vec<String>) =
            all.partition(|block| block.starts_with("# accounts.yaml"));
        assert!(accounts.len() <= 1 && !settings.is_empty(), "{}: {settings:?}", path.display());
        let first = settings.remove(0);
        Self { settings: first, accounts: accounts.into_iter().next(), variations: settings, text }
    }

    /// What the page shows as the output of a command.
    #[track_caller]
    pub fn output_of(&self, command: &str) -> String {
        let prompt = format!("$ {command}\n");
        let shown = fenced(&self.text, "console").into_iter();
        let mut found = shown.filter_map(|(_, block)| block.strip_prefix(&prompt).map(str::to_owned));
        found.next().unwrap_or_else(|| panic!("the page shows no output of {command}"))
    }
}
