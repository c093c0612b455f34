//! What has to be said or mended before everything that was found can run.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::config::{Settings, StateSettings};
use crate::discover::{Field, Lack, NeededAccount, Preview, Problem};
use crate::files::relative;
use crate::model::AccountId;
use crate::survey::{Clue, Clues, Obstacle, Open, Survey};

/// All of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Missing {
    /// Lines to add, by the file that they belong to.
    pub lines: Vec<Lines>,
    /// What the files say of these accounts, for a person to check.
    pub clues: Vec<Said>,
    /// Several accounts that fit.
    pub ambiguous: Vec<Ambiguous>,
    /// Fields that nothing sets, each with what it is needed for.
    pub fields: BTreeMap<&'static str, BTreeSet<Utf8PathBuf>>,
    /// What the files do not say.
    pub questions: Vec<Question>,
    /// What cannot be run as it is.
    pub obstacles: Vec<Told>,
    /// What is wrong with single files.
    pub problems: Vec<Told>,
    /// States of more than one deployment.
    pub shared_states: Vec<Told>,
    /// Whether no place names the bucket of some deployments' states.
    pub state_bucket: bool,
}

/// Lines that belong to one file.
#[derive(Debug, Serialize)]
pub(super) struct Lines {
    /// The file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// Whether it is there.
    pub exists: bool,
    /// Whether that is `accounts.yaml`.
    pub own_form: bool,
    /// Below which name they belong.
    pub within: String,
    /// The accounts, each with its line and what it is needed for.
    pub accounts: Vec<NeededAccount>,
}

/// An account id that the files say.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    /// The word that the account is looked up by, or the file or folder that lacks one.
    pub about: String,
    /// What they say.
    #[serde(flatten)]
    pub clue: Clue,
}

/// An account that is one of several.
#[derive(Debug, Serialize)]
pub(super) struct Ambiguous {
    /// `account_name` or `environment`.
    pub by: &'static str,
    /// Its value.
    pub value: String,
    /// The accounts that have it.
    pub candidates: Vec<String>,
    /// What it is needed for.
    pub files: BTreeSet<Utf8PathBuf>,
}

/// A question, with the flag that answers it.
#[derive(Debug, Serialize)]
pub(super) struct Question {
    /// What is asked.
    pub what: String,
    /// The files or folders that it is about.
    pub places: Vec<Utf8PathBuf>,
    /// The flag.
    pub flag: String,
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// What, with its place.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Missing {
    pub(super) fn of(survey: &Survey, settings: &Settings, preview: &Preview) -> Self {
        let mut all = Self {
            lines: lines(&preview.needed),
            questions: survey.open.iter().map(question).collect(),
            obstacles: survey.obstacles.iter().map(|one| obstacle(&settings.working_dir, one)).collect(),
            shared_states: preview
                .duplicates
                .iter()
                .map(|(what, hint)| Told { what: what.clone(), hint: Some(hint.clone()) })
                .collect(),
            state_bucket: matches!(settings.state, StateSettings::S3(_))
                && preview.deployments.iter().any(|one| one.bucket.is_none()),
            ..Self::default()
        };
        preview.problems.iter().for_each(|problem| all.problem(problem));
        all.leave_to_questions();
        all.clues = all.clues(&survey.clues);
        if survey.shapes.is_empty() && !survey.obstacles.is_empty() && settings.layouts.is_empty() {
            // Nothing can be proposed: what files lack that nobody proposes anything for is beside the point.
            all.fields.clear();
        }
        all
    }

    /// What a question asks already need not be told once more; who knows an account's name says its id too.
    fn leave_to_questions(&mut self) {
        let asked = |question: &Question, field: &str| {
            let account = field.starts_with("account_") && question.flag.contains("--set account_");
            account || question.flag.contains(&format!("--set {field}="))
        };
        for (field, files) in &mut self.fields {
            let questions = self.questions.iter().filter(|question| asked(question, field));
            let places: BTreeSet<&Utf8PathBuf> = questions.flat_map(|question| &question.places).collect();
            files.retain(|file| !places.contains(file));
        }
        self.fields.retain(|_, files| !files.is_empty());
    }

    /// What is said of accounts that are missing.
    fn clues(&self, clues: &Clues) -> Vec<Said> {
        let needed = self.lines.iter().flat_map(|lines| &lines.accounts);
        let needed = needed.map(|need| (need.value.as_str(), clues.of(Some(&need.value), &need.files)));
        let asked = self.questions.iter().filter(|question| question.flag.contains("--set account_"));
        let lacking = self.fields.get(Field::AccountId.as_str()).into_iter().flatten();
        let places: BTreeSet<&Utf8PathBuf> = asked.flat_map(|question| &question.places).chain(lacking).collect();
        let places = places.into_iter().map(|place| (place.as_str(), clues.of(None, [place])));
        let all = needed.chain(places);
        all.flat_map(|(about, clues)| clues.into_iter().map(|clue| Said { about: about.to_owned(), clue })).collect()
    }

    /// The one id that the files say of an account, and of no other.
    pub(super) fn said(&self, about: &str) -> Option<&AccountId> {
        let (own, others): (Vec<&Said>, Vec<&Said>) = self.clues.iter().partition(|said| said.about == about);
        let id = &own.first()?.clue.id;
        let same = |said: &&Said| said.clue.id == *id;
        (own.iter().all(same) && !others.iter().any(same)).then_some(id)
    }

    fn problem(&mut self, problem: &Problem) {
        match problem.lack.as_deref() {
            Some(Lack::OneAccount { by, value, candidates }) => {
                let same = self.ambiguous.iter_mut().find(|one| one.by == by.as_str() && one.value == *value);
                match same {
                    Some(one) => one.files.extend(problem.files.iter().cloned()),
                    None => self.ambiguous.push(Ambiguous {
                        by: by.as_str(),
                        value: value.clone(),
                        candidates: candidates.clone(),
                        files: problem.files.iter().cloned().collect(),
                    }),
                }
            }
            Some(Lack::Field { field, .. }) => {
                self.fields.entry(field.as_str()).or_default().extend(problem.files.iter().cloned());
            }
            _ => {
                let bare = Problem { hint: None, ..problem.clone() };
                self.problems.push(Told { what: bare.to_string(), hint: problem.hint.clone() });
            }
        }
    }

    /// Whether nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.has_more_than_accounts()
    }

    /// Whether something is that no line in a file of accounts says.
    pub(super) fn has_more_than_accounts(&self) -> bool {
        !(self.ambiguous.is_empty()
            && self.fields.is_empty()
            && self.questions.is_empty()
            && self.obstacles.is_empty()
            && self.problems.is_empty()
            && self.shared_states.is_empty()
            && !self.state_bucket)
    }
}

/// The flag that says a field, where one does.
pub(super) fn flag_of(field: &str) -> String {
    let value = match field {
        "region" => "us-east-1",
        _ if field == Field::AccountId.as_str() => "111111111111",
        _ => "VALUE",
    };
    format!("--set {field}={value}")
}

fn lines(needed: &[NeededAccount]) -> Vec<Lines> {
    let mut all: Vec<Lines> = Vec::new();
    for one in needed {
        let addition = &one.addition;
        match all.iter_mut().find(|lines| lines.file == addition.file) {
            Some(lines) => lines.accounts.push(one.clone()),
            None => all.push(Lines {
                file: addition.file.clone(),
                exists: addition.exists,
                own_form: addition.own_form,
                within: addition.within.clone(),
                accounts: vec![one.clone()],
            }),
        }
    }
    all
}

fn question(open: &Open) -> Question {
    Question { what: open.question.clone(), places: open.places.clone(), flag: open.flag.clone() }
}

fn obstacle(working_dir: &Utf8Path, one: &Obstacle) -> Told {
    let path = &one.position.path;
    let path = if path.is_absolute() { relative(working_dir, path) } else { path.clone() };
    Told { what: format!("{path}:{}: {}", one.position.line, one.what), hint: Some(one.hint.clone()) }
}
