//! Adding accounts to the text of an `accounts.yaml` that a person wrote.

use camino::Utf8Path;

use super::accounts::Accounts;

/// The text with these lines, such as `"111111111111": {account_name: dev}`, as the last of its `accounts`. Everything else,
/// comments too, stays as it is. `None` where it is not written with a line or a block for each account, or has one of
/// these already.
#[must_use]
pub fn accounts_with(text: &str, lines: &[&str]) -> Option<String> {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (at, indent) = place(text)?;
    let (before, after) = text.split_at(at);
    let mut new = before.to_owned();
    if !new.is_empty() && !new.ends_with('\n') {
        new.push_str(end);
    }
    if indent.is_none() {
        new.push_str("accounts:");
        new.push_str(end);
    }
    for line in lines {
        new.push_str(indent.as_deref().unwrap_or("  "));
        new.push_str(line);
        new.push_str(end);
    }
    new.push_str(after);
    // What looks right may be something else in YAML: only what is read as exactly that counts.
    let read = |text: &str| Accounts::parse(Utf8Path::new("accounts.yaml"), text).ok();
    let (old, now) = (read(text)?, read(&new)?);
    (now.ids() == old.ids() + lines.len() && now.has_all_of(&old)).then_some(new)
}

/// The byte at which lines belong, and their indentation; none where there is no `accounts:` yet.
fn place(text: &str) -> Option<(usize, Option<String>)> {
    let mut at = 0;
    let mut inside: Option<(usize, Option<String>)> = None;
    for line in text.split_inclusive('\n') {
        at += line.len();
        let words = line.trim();
        let is_indented = line.starts_with(' ');
        let is_comment = words.starts_with('#');
        match &mut inside {
            None if line.starts_with("accounts:") => {
                let rest = line["accounts:".len()..].trim();
                if !rest.is_empty() && !rest.starts_with('#') {
                    return None;
                }
                inside = Some((at, None));
            }
            None => {}
            Some(_) if words.is_empty() || (is_comment && !is_indented) => {}
            Some(_) if !is_indented => break,
            Some((last, indent)) => {
                *last = at;
                if indent.is_none() && !is_comment {
                    *indent = Some(line[..line.len() - line.trim_start().len()].to_owned());
                }
            }
        }
    }
    match inside {
        Some((last, indent)) => Some((last, Some(indent.unwrap_or_else(|| "  ".to_owned())))),
        None => Some((text.len(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 2] = ["\"222222222222\": {account_name: b}", "\"333333333333\": {account_name: c}"];

    #[test]
    fn lines_are_added_and_everything_else_stays() {
        let added = |text: &str| accounts_with(text, &LINES).unwrap();
        insta::assert_snapshot!(added("# ours\naccounts:   # by id\n    # the first\n    \"111111111111\":\n        account_name: a # x\n\n# tags\ndefault_tags: {Team: x}\n"), @r#"
        # ours
        accounts:   # by id
            # the first
            "111111111111":
                account_name: a # x
            "222222222222": {account_name: b}
            "333333333333": {account_name: c}

        # tags
        default_tags: {Team: x}
        "#);
        assert_eq!(added(""), format!("accounts:\n  {}\n  {}\n", LINES[0], LINES[1]));
        assert_eq!(
            added("default_tags: {A: b}"),
            format!("default_tags: {{A: b}}\naccounts:\n  {}\n  {}\n", LINES[0], LINES[1])
        );
        assert_eq!(added("accounts:\r\n"), format!("accounts:\r\n  {}\r\n  {}\r\n", LINES[0], LINES[1]));
    }

    #[test]
    fn what_is_written_otherwise_is_left() {
        for text in [
            "accounts: {\"111111111111\": {account_name: a}}\n",
            "{accounts: {\"111111111111\": {account_name: a}}}\n",
            "\"accounts\":\n  \"111111111111\": {account_name: a}\n",
            "accounts:\n  \"222222222222\": {environment: dev}\n",
            "accounts:\n  - a\n",
            "accounts:\n  \"111111111111\": {\n",
            "accounts:\n  \"111111111111\": {account_name: a}\n...\n# the end\n---\nx: 1\n",
        ] {
            assert_eq!(accounts_with(text, &LINES), None, "{text}");
        }
    }
}
