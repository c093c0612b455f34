//! Markdown for comments and job summaries, out of text that others wrote: nothing in it ends a block early, mentions
//! anybody, or is markup.

use std::fmt::Write as _;

use crate::event::ChangeCounts;
use crate::model::Deployment;
use crate::text;

/// The body of a `plan.md`: a heading, the counts, and the plan in a block that GitHub colours as a diff.
#[must_use]
pub fn plan_markdown(deployment: &Deployment, changes: ChangeCounts, has_changes: bool, plan: &str) -> String {
    let plan: Vec<String> = text::lines(plan).map(|line| diff_line(&line)).collect();
    let plan = plan.join("\n");
    let counts = match (has_changes, changes.any()) {
        (false, _) => "No changes.".to_owned(),
        (true, false) => "Changes outside of resources only (outputs, moves, imports).".to_owned(),
        (true, true) => {
            let ChangeCounts { add, change, destroy } = changes;
            format!("**{add} to add, {change} to change, {destroy} to destroy**")
        }
    };
    let place = format!("{}, {}", deployment.account_name, deployment.region);
    let (name, file) = (code(&deployment.name), code(deployment.file.as_str()));
    format!("## {name}\n\n{counts}\n\n{file} ({place})\n\n{}\n", fenced("diff", plan.trim_matches('\n')))
}

/// The line with a sign of Terraform's at its left edge.
///
/// GitHub colours a line by its first character, so Terraform's signs move to the left edge; `~` becomes `!`, which is
/// the sign that has a colour.
#[must_use]
pub fn diff_line(line: &str) -> String {
    let content = line.trim_start();
    let indent = &line[..line.len() - content.len()];
    let signs = [("-/+ ", "-/+"), ("+/- ", "+/-"), ("+ ", "+"), ("- ", "-"), ("~ ", "!")];
    match signs.iter().find(|(sign, _)| content.starts_with(sign)) {
        Some((sign, coloured)) => format!("{coloured}{indent} {}", &content[sign.len()..]),
        None => line.to_owned(),
    }
}

/// A block of these lines, whatever backticks they hold.
#[must_use]
pub fn fenced(language: &str, lines: &str) -> String {
    let fence = "`".repeat(longest_run(lines, '`').max(2) + 1);
    format!("{fence}{language}\n{lines}\n{fence}")
}

/// The text as code in a line, whatever backticks it holds.
#[must_use]
pub fn code(text: &str) -> String {
    let text = text::line(text);
    let fence = "`".repeat(longest_run(&text, '`') + 1);
    let pad = if text.contains('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// The text as code where HTML or a cell of a table stands: neither markup nor a sign of Markdown is left in it.
#[must_use]
pub fn html_code(text: &str) -> String {
    let mut html = "<code>".to_owned();
    for c in text::line(text).chars() {
        if c.is_alphanumeric() || matches!(c, ' ' | ',' | '/' | '.' | '-') {
            html.push(c);
        } else {
            let _ = write!(html, "&#{};", u32::from(c));
        }
    }
    html.push_str("</code>");
    html
}

fn longest_run(text: &str, wanted: char) -> usize {
    text.split(|c| c != wanted).map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::samples::deployment;

    const PLAN: &str = "
Terraform will perform the following actions:

  # aws_s3_bucket.logs will be created
  + resource \"aws_s3_bucket\" \"logs\" {
      + bucket = \"logs\"
    }
  # aws_s3_bucket.old must be replaced
-/+ resource \"aws_s3_bucket\" \"old\" {
      ~ id     = \"a\" -> (known after apply)
      - tags   = {} -> null
        # (1 unchanged attribute hidden)
    }

Plan: 2 to add, 0 to change, 1 to destroy.
";

    #[test]
    fn signs_move_to_the_left_edge() {
        let changes = ChangeCounts { add: 2, change: 0, destroy: 1 };
        insta::assert_snapshot!(plan_markdown(&deployment("alpha"), changes, true, PLAN));
    }

    #[test]
    fn counts_say_what_there_is() {
        let of = |has_changes| plan_markdown(&deployment("a"), ChangeCounts::default(), has_changes, "x");
        assert!(of(false).contains("No changes."));
        assert!(of(true).contains("outputs"));
    }

    #[test]
    fn code_in_html_is_text_alone() {
        assert_eq!(html_code("s3/a-b/x.1"), "<code>s3/a-b/x.1</code>");
        assert_eq!(html_code("</code>|`@\u{1b}[1ma_ü"), "<code>&#60;/code&#62;&#124;&#96;&#64;a&#95;ü</code>");
    }

    proptest! {
        /// Nothing in a plan ends the block early.
        #[test]
        fn the_fence_is_longer_than_any_inside(plan in "([`~+\\- ]{0,6}[a-z`\u{1b}]{0,3}\n?){0,12}") {
            let markdown = plan_markdown(&deployment("a"), ChangeCounts::default(), true, &plan);
            let fences: Vec<&str> = markdown.lines().filter(|line| line.starts_with("```")).collect();
            let (first, last) = (fences.first().unwrap(), fences.last().unwrap());
            prop_assert_eq!(first.trim_end_matches("diff"), *last);
            prop_assert!(fences[1..fences.len() - 1].iter().all(|inside| longest_run(inside, '`') < last.len()));
        }
    }
}
