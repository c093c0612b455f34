//! Values that are known to be secret, found wherever they stand.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};

use super::span::{Mask, Span};
use crate::model::Secret;

/// The shortest value that is hidden, in characters.
pub(super) const SHORTEST: usize = 6;

/// The known values, and the automaton that finds them all at once.
#[derive(Default)]
pub(super) struct Known {
    values: BTreeSet<String>,
    finder: Option<AhoCorasick>,
}

impl Known {
    /// These values and those; `None` if none of those is new.
    pub(super) fn with(&self, values: impl IntoIterator<Item = Secret<String>>) -> Option<Self> {
        let mut all = self.values.clone();
        for value in values {
            all.extend(forms(value.expose()));
        }
        if all.len() == self.values.len() {
            return None;
        }
        // Overlapping values are all found with the standard kind only. Building fails only beyond 2^31 states: more
        // text than a state object can hold.
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&all)
            .expect("the known values are far smaller than the limit of the automaton");
        Some(Self { values: all, finder: Some(finder) })
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Finds every known value in the line, also those that overlap.
    pub(super) fn find(&self, line: &str, spans: &mut Vec<Span>) {
        let Some(finder) = self.finder.as_ref().filter(|finder| finder.is_match(line)) else { return };
        let barriers = barriers(line);
        let mut barriers = barriers.iter().peekable();
        let mut found: Vec<Span> = finder
            .find_overlapping_iter(line)
            .map(|found| Span::new(found.start(), found.end(), Mask::Redacted))
            .collect();
        found.sort_unstable_by_key(|span| (span.start, span.end));
        for span in found {
            while barriers.next_if(|barrier| barrier.1 <= span.start).is_some() {}
            if barriers.peek().is_none_or(|barrier| barrier.0 >= span.end) {
                spans.push(span);
            }
        }
    }
}

/// Where the line has masks already: start and end, in order.
fn barriers(line: &str) -> Vec<(usize, usize)> {
    let mut barriers = Vec::new();
    let mut from = 0;
    while let Some(at) = line[from..].find("***") {
        let start = from + at;
        let mask = Mask::BARRIERS.iter().find(|mask| line[start..].starts_with(mask.as_str()));
        from = mask.map_or(start + 1, |mask| start + mask.as_str().len());
        if mask.is_some() {
            barriers.push((start, from));
        }
    }
    barriers
}

/// The forms under which a value may appear in a line of text.
fn forms(value: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    let mut add = |form: &str| {
        let blank = form.chars().all(char::is_whitespace);
        if !blank && form.chars().nth(SHORTEST - 1).is_some() && !form.contains('\n') {
            forms.insert(form.to_owned());
        }
    };
    let mut spellings = |text: &str| {
        let (json, hcl) = (json_escaped(text), hcl_escaped(text));
        for form in [text, &json, &hcl, &html_safe(&json)] {
            add(form);
        }
    };
    spellings(value);
    // Indentation changes from one display to the next, so the lines are known without theirs.
    if value.contains(['\n', '\r']) {
        value.split(['\n', '\r']).map(str::trim).for_each(spellings);
    }
    forms
}

/// The text as it stands inside a JSON string.
fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// What Go's JSON encoder, Terraform's, makes of that: it escapes what HTML gives a meaning.
fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// The text as it stands inside an HCL string (Terraform language, "Strings and templates": escape sequences).
fn hcl_escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t")
        .replace("${", "$${")
        .replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_form_per_way_of_quoting() {
        let forms_of = |value: &str| forms(value).into_iter().collect::<Vec<_>>();
        assert_eq!(forms_of("plain-secret"), ["plain-secret"]);
        assert_eq!(forms_of("short"), [""; 0]);
        assert_eq!(forms_of("          "), [""; 0]);
        assert_eq!(forms_of(r#"pass"word"#), [r#"pass"word"#, r#"pass\"word"#]);
        assert_eq!(forms_of("a<b>&${c}"), ["a<b>&$${c}", "a<b>&${c}", "a\\u003cb\\u003e\\u0026${c}"]);
        assert_eq!(
            forms_of("first-line\n  second-line\nx"),
            ["first-line", "first-line\\n  second-line\\nx", "second-line"]
        );
    }
}
