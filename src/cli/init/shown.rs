//! What was found, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::Utf8PathBuf;

use super::super::args::InitArgs;
use super::Found;
use super::missing::{Lines, Missing, Said, Told, flag_of};
use super::proposal::describe;
use super::write::Done;
use crate::discover::Previewed;
use crate::model::{AccountId, AccountName};
use crate::report::{columns, deployments};
use crate::survey::Clue;
use crate::text;

/// How many deployments the table has.
const ROWS: usize = 20;
/// How many places are named at most.
const NAMED: usize = 5;
/// How many files that are nobody's.
const UNCLAIMED: usize = 10;

/// What to do about variable files that git ignores.
pub(super) const COMMIT_IGNORED: &str = "if they hold no secrets, `git add -f` them or take their line out of .gitignore; a checkout in a pipeline lacks them, too";

/// The whole text: what is there, what is proposed, what that finds, what is missing, what is left, what comes next.
pub(super) fn shown(found: &Found, args: &InitArgs, done: Option<&Done>) -> String {
    let parts =
        [shapes(found), proposal(found, done), table(found), missing(found), left(found), next(found, args, done)];
    let mut text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        text.push('\n');
    }
    text
}

fn shapes(found: &Found) -> String {
    let shapes = &found.survey.shapes;
    let mut out = String::new();
    for shape in shapes {
        push(&mut out, "", &format!("{}: {}", shape.rule.name, describe(shape.kind)));
        shape.because.iter().for_each(|line| push(&mut out, "  ", line));
    }
    for list in &found.survey.account_lists {
        push(&mut out, "", &format!("{}: a list of accounts", list.file));
    }
    out
}

/// A line of foreign words, below a line of its own.
fn push(out: &mut String, indent: &str, line: &str) {
    for line in text::lines(line) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{indent}{line}");
    }
}

fn proposal(found: &Found, done: Option<&Done>) -> String {
    let proposal = &found.proposal;
    let name = |path: &Utf8PathBuf| found.settings.in_repository(path);
    if let Some(path) = done.and_then(|done| done.settings.as_ref()) {
        return format!("{} is written:\n\n{}", name(path), proposal.text());
    }
    let text = proposal.written.text();
    match &proposal.present {
        Some(path) if proposal.present_rules && text.is_empty() => {
            format!("{} is there, and has rules of its own; there is nothing to add to it.\n", name(path))
        }
        Some(path) if proposal.present_rules => format!(
            "{} is there, and has rules of its own; what follows is found by them. Beside them, this is proposed:\n\n{text}",
            name(path)
        ),
        Some(path) if !text.is_empty() => format!("To add to {}:\n\n{text}", name(path)),
        _ if text.is_empty() && found.preview.deployments.is_empty() => {
            "No rule can be proposed yet: see what is missing.\n".to_owned()
        }
        _ if text.is_empty() => "No tfleet.yaml is needed: the built-in rules find what is here.\n".to_owned(),
        _ => format!("Proposed as tfleet.yaml (--write writes it):\n\n{}", proposal.text()),
    }
}

/// The deployments as `discover` shows them, and no more than fit on a screen.
fn table(found: &Found) -> String {
    let all = &found.preview.deployments;
    let mut out = String::new();
    let count = deployments(all.len());
    let unknown = all.iter().filter(|one| one.account_id.is_none()).count();
    let _ = match (all.len(), unknown) {
        (0, _) => writeln!(out, "No deployment is found yet."),
        (_, 0) => writeln!(out, "{count}:"),
        (_, unknown) if unknown == all.len() => writeln!(out, "{count}, once the accounts are known (?):"),
        (_, unknown) => writeln!(out, "{count}, of {unknown} the account is not known yet (?):"),
    };
    if !all.is_empty() {
        let header = ["ACCOUNT", "ID", "REGION", "PROJECT", "ENVIRONMENT", "RULE", "BACKEND KEY", "FILE"];
        out.push('\n');
        out.push_str(&columns(&header, &all.iter().take(ROWS).map(row).collect::<Vec<_>>()));
        if let Some(more @ 1..) = all.len().checked_sub(ROWS) {
            let _ = writeln!(out, "… and {more} more");
        }
    }
    let unclear = &found.preview.unclear;
    if !unclear.is_empty() {
        let _ = writeln!(out, "\nWhat these are can be told only once their accounts are known: {}", named(unclear));
    }
    out
}

fn row(one: &Previewed) -> [String; 8] {
    let known = |text: Option<&str>| text.unwrap_or("?").to_owned();
    [
        known(one.account_name.as_ref().map(AccountName::as_str)),
        known(one.account_id.as_ref().map(AccountId::as_str)),
        one.region.clone(),
        one.project.clone(),
        one.environment.as_deref().map_or_else(|| "-".to_owned(), |text| text::line(text).into_owned()),
        one.rule.clone(),
        text::line(&one.backend_key).into_owned(),
        text::line(one.file.as_str()).into_owned(),
    ]
}

/// Files in a line, and how many more there are.
pub(super) fn named<'a>(files: impl IntoIterator<Item = &'a Utf8PathBuf>) -> String {
    let all: Vec<&Utf8PathBuf> = files.into_iter().collect();
    let shown: Vec<_> = all.iter().take(NAMED).map(|file| text::line(file.as_str())).collect();
    match all.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn missing(found: &Found) -> String {
    let missing = &found.missing;
    if missing.is_empty() {
        return String::new();
    }
    // What is wrong with a file may be why something else is missing.
    let wrong = [&missing.obstacles, &missing.problems, &missing.shared_states];
    let mut parts: Vec<String> = wrong.into_iter().flatten().map(what_is_wrong).collect();
    parts.extend(missing.lines.iter().map(lines));
    for one in &missing.ambiguous {
        let candidates: Vec<String> = one.candidates.iter().map(|text| format!("    {}\n", text::line(text))).collect();
        parts.push(format!(
            "{} accounts have the {} `{}`. Say which one it is for {}, by `account_id` in the variables, or `fields: \
             {{account_name: …}}` in the rule:\n{}",
            one.candidates.len(),
            if one.by == "environment" { "environment" } else { "name" },
            text::line(&one.value),
            named(&one.files),
            candidates.concat()
        ));
    }
    for (files, fields) in by_files(missing) {
        let names: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        let (names, files) = (names.join(", "), named(files));
        // A flag speaks of the rules that are proposed.
        parts.push(if found.proposal.present_rules {
            format!("Nothing sets {names} for {files}. Set it in the variables, or in `fields` of the rule.\n")
        } else {
            let flags: Vec<String> = fields.iter().map(|field| flag_of(field)).collect();
            let flags = flags.join(" ");
            format!("Nothing sets {names} for {files}. Set it in the variables, or for all of them with a flag:\n    {flags}\n")
        });
    }
    for one in &missing.questions {
        let places = if one.places.is_empty() { String::new() } else { format!(" ({})", named(&one.places)) };
        parts.push(format!("{}{places}\n    {}\n", text::block(&one.what), text::line(&one.flag)));
    }
    if !missing.clues.is_empty() {
        let mut part = "Account ids that the files name; check that they are the right ones:\n\n".to_owned();
        for same in missing.clues.chunk_by(|one, next| one.about == next.about && one.clue.id == next.clue.id) {
            let Said { about, clue: Clue { id, file, line, what } } = &same[0];
            let more = if same.len() == 1 { String::new() } else { format!(" and {} more", same.len() - 1) };
            push(&mut part, "  ", &format!("{about}: {id}, {what} in {file}:{line}{more}"));
        }
        parts.push(part);
    }
    if missing.state_bucket {
        let hint = "No backend names the bucket of the states. To tfleet.yaml (or set TF_STATE_BUCKET):\n\n\
                    state: {bucket: <bucket>, region: <region of the bucket>}\n";
        parts.push(hint.to_owned());
    }
    format!("Missing:\n\n{}", parts.join("\n"))
}

/// Fields that the same files lack.
fn by_files(missing: &Missing) -> Vec<(&BTreeSet<Utf8PathBuf>, Vec<&'static str>)> {
    let mut all: Vec<(&BTreeSet<Utf8PathBuf>, Vec<&'static str>)> = Vec::new();
    for (field, files) in &missing.fields {
        match all.iter_mut().find(|(other, _)| *other == files) {
            Some((_, fields)) => fields.push(*field),
            None => all.push((files, vec![*field])),
        }
    }
    all
}

/// A block to paste, and what its lines are for.
fn lines(lines: &Lines) -> String {
    let mut out = String::new();
    let file = text::line(lines.file.as_str());
    let indent = if lines.own_form { "  " } else { "" };
    let _ = match (lines.own_form, lines.exists) {
        (true, false) => writeln!(out, "A new file {file}, with the ids of the accounts:\n\naccounts:"),
        (true, true) => writeln!(out, "To {file}, below `accounts:`, with the ids of the accounts:\n"),
        (false, _) if lines.within.is_empty() => writeln!(out, "To {file}, with the ids of the accounts:\n"),
        (false, _) => writeln!(out, "To {file}, in `{}`, with the ids of the accounts:\n", text::line(&lines.within)),
    };
    for need in &lines.accounts {
        let comment = if lines.own_form { format!("  # {}", named(&need.files)) } else { String::new() };
        push(&mut out, indent, &format!("{}{comment}", need.addition.line));
    }
    out
}

fn what_is_wrong(told: &Told) -> String {
    let mut out = String::new();
    push(&mut out, "", &told.what);
    if let Some(hint) = &told.hint {
        push(&mut out, "  ", &format!("next: {hint}"));
    }
    out
}

/// What no rule takes, so that nothing is forgotten.
fn left(found: &Found) -> String {
    let listing = &found.preview.listing;
    let ignored: BTreeSet<Utf8PathBuf> = found.survey.ignored.iter().cloned().collect();
    let mut out = String::new();
    let mut list = |what: &str, why: &str, files: &BTreeSet<Utf8PathBuf>| {
        if files.is_empty() {
            return;
        }
        let plural = if files.len() == 1 { "" } else { "s" };
        let _ = writeln!(out, "{} {what}{plural} that {why}:", files.len());
        files.iter().take(UNCLAIMED).for_each(|file| push(&mut out, "  ", file.as_str()));
        if let Some(more @ 1..) = files.len().checked_sub(UNCLAIMED) {
            let _ = writeln!(out, "  … and {more} more");
        }
    };
    list("variable file", "no rule takes or names", &listing.unclaimed_variable_files);
    list("root module", "no deployment has", &listing.unclaimed_root_modules);
    list("file", "no deployment is made of, because git ignores such names", &ignored);
    if !ignored.is_empty() {
        push(&mut out, "  ", &format!("next: {COMMIT_IGNORED}"));
    }
    found
        .survey
        .notices
        .iter()
        .chain(&found.preview.notices)
        .for_each(|notice| push(&mut out, "", &format!("note: {notice}")));
    out
}

/// The commands, in the order in which they help.
fn next(found: &Found, args: &InitArgs, done: Option<&Done>) -> String {
    let place = match args.working_dir.as_str() {
        "." => String::new(),
        dir => format!(" --working-dir {}", text::shell_word(dir)),
    };
    let mut steps: Vec<String> = Vec::new();
    let missing = &found.missing;
    let proposal = &found.proposal;
    let new_file = proposal.present.is_none() && !proposal.written.is_empty();
    if proposal.present.is_some() && !proposal.present_rules && !proposal.written.is_empty() {
        steps.push("add the lines above to tfleet.yaml".to_owned());
    }
    let accounts = account_flags(missing);
    let comment = match accounts.as_str() {
        _ if !missing.questions.is_empty() => "   # and the flags that answer what is asked above",
        "" => "",
        flags if flags.contains("=ID") => "   # with the id of each account",
        _ => "   # if these are the accounts",
    };
    if done.is_none() && (new_file || !accounts.is_empty() || !found.preview.given.is_empty()) {
        steps.push(format!("tfleet init{place}{}{accounts} --write{comment}", given(args)));
    } else if !accounts.is_empty() {
        // What else was given is in the file that was written.
        steps.push(format!("tfleet init{place}{accounts} --write{comment}"));
    }
    if accounts.is_empty() && !missing.lines.is_empty() {
        steps.push("write the accounts down, as above".to_owned());
    }
    if missing.has_more_than_accounts() {
        steps.push("add or mend what else is missing".to_owned());
    }
    let order = [
        ("tfleet discover", "the deployments; exits with 0 when nothing is missing"),
        ("tfleet state adopt --dry-run", "which of them have a state already"),
        ("tfleet plan", "with credentials: what Terraform would change, which for a sound fleet is nothing"),
    ];
    steps.extend(order.map(|(command, what)| format!("{command}{place}   # {what}")));
    let steps: Vec<String> =
        steps.iter().enumerate().map(|(index, step)| format!("  {}. {}\n", index + 1, text::line(step))).collect();
    format!("Next:\n\n{}", steps.concat())
}

/// The flags that say the accounts, where that is shorter than writing them down; a list of another form takes none. An id
/// is filled in where the files name one, and that for no other account.
fn account_flags(missing: &Missing) -> String {
    let needs: Vec<_> = missing.lines.iter().flat_map(|lines| &lines.accounts).collect();
    if needs.len() > NAMED || missing.lines.iter().any(|lines| !lines.own_form) {
        return String::new();
    }
    let flag = |word: &str| {
        let id = missing.said(word).map_or("ID", AccountId::as_str);
        ["--account".to_owned(), text::shell_word(&format!("{word}={id}"))].join(" ")
    };
    needs.iter().flat_map(|need| [" ".to_owned(), flag(&need.value)]).collect()
}

/// The flags that were given, as they have to be given again.
fn given(args: &InitArgs) -> String {
    let mut out = String::new();
    let mut flag = |name: &str, value: &str| {
        let _ = write!(out, " --{name} {}", text::shell_word(value));
    };
    args.exclude.iter().for_each(|glob| flag("exclude", glob));
    args.workspace.iter().for_each(|template| flag("workspace", template));
    args.set.iter().for_each(|(field, value)| flag("set", &format!("{field}={value}")));
    args.account.iter().for_each(|one| flag("account", &format!("{}={}", one.word, one.id)));
    out
}
