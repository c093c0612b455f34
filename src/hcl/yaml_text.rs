//! Values as the YAML that a person would write.

use std::fmt::Write as _;

use serde_json::Value;

/// A text as one word of YAML, wherever it stands: in quotes where it would mean something else without them.
#[must_use]
pub fn yaml_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_plain);
    if plain && !means_something(text) { text.to_owned() } else { quoted(text) }
}

/// The same where it stands alone after `name: `. There a brace in the middle is a letter like any other.
#[must_use]
pub fn yaml_value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./{}*".contains(c);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_plain);
    if plain && !means_something(text) { text.to_owned() } else { quoted(text) }
}

/// A value in one line: `{name: [one, two]}`.
#[must_use]
pub fn yaml_flow(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::String(text) => yaml_word(text),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(yaml_flow).collect())),
        Value::Object(map) => {
            let entry = |(name, value): (&String, &Value)| format!("{}: {}", yaml_word(name), yaml_flow(value));
            format!("{{{}}}", joined(map.iter().map(entry).collect()))
        }
        other => other.to_string(),
    }
}

/// Words that YAML, or an older reader of it, takes for a truth value or for nothing.
fn means_something(text: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // What cannot be seen, what turns the direction of writing, and what YAML takes for the end of a line.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn words_have_quotes_only_where_they_need_them() {
        for (text, word) in [
            ("envs/dev", "envs/dev"),
            ("us-east-1", "us-east-1"),
            ("no", "\"no\""),
            ("", "\"\""),
            ("111111111111", "\"111111111111\""),
            ("{folder}/x", "\"{folder}/x\""),
            ("a: b", "\"a: b\""),
            ("a\u{1b}[1m\n", "\"a\\u001b[1m\\n\""),
        ] {
            assert_eq!(yaml_word(text), word);
        }
        assert_eq!(yaml_value("envs/{environment}"), "envs/{environment}");
        assert_eq!(yaml_value("{account_name}/x"), "\"{account_name}/x\"");
        assert_eq!(yaml_flow(&json!({"a": ["b", "1"], "off": true})), "{a: [b, \"1\"], \"off\": true}");
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in any::<String>(), name in any::<String>()) {
            let value = json!({name.clone(): [text.clone()]});
            let read: std::collections::BTreeMap<String, Vec<String>> = serde_yaml::from_str(&yaml_flow(&value)).unwrap();
            prop_assert_eq!(&read[&name][..], std::slice::from_ref(&text));
            let read: std::collections::BTreeMap<String, String> =
                serde_yaml::from_str(&format!("a: {}\n", yaml_value(&text))).unwrap();
            prop_assert_eq!(&read["a"], &text);
        }

        #[test]
        fn every_plain_text_is_read_back(text in "[a-zA-Z][a-zA-Z0-9_./{}*-]{0,12}") {
            let value = json!([text.clone()]);
            let read: Vec<String> = serde_yaml::from_str(&yaml_flow(&value)).unwrap();
            prop_assert_eq!(&read[0], &text);
            let read: std::collections::BTreeMap<String, String> =
                serde_yaml::from_str(&format!("a: {}\n", yaml_value(&text))).unwrap();
            prop_assert_eq!(&read["a"], &text);
        }
    }
}
