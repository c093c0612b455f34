//! Lists of accounts in forms of their own, as `accounts` in `tfleet.yaml` describes them.

use camino::Utf8Path;

use super::accounts::Listed;
use super::layout::Field;
use super::problem::{Problem, line_and_column};
use super::yaml::{self, Data, Entry, Node};
use crate::model::{AccountId, AccountListSpec};

/// Reads the accounts of a JSON or YAML file.
pub(super) fn read(spec: &AccountListSpec, path: &Utf8Path, text: &str) -> Result<Vec<Listed>, Box<Problem>> {
    let list = List { spec, path, text };
    let Some(root) = yaml::parse_any(path, text)? else { return Err(list.problem(0, "it is empty".to_owned())) };
    let mut node = &root;
    for name in spec.list.split('.').filter(|name| !name.is_empty()) {
        node = match node.get(name) {
            Some(entry) => &entry.value,
            None => return Err(list.problem(node.at, format!("there is no `{name}` in it (`list: {}`)", spec.list))),
        };
    }
    match &node.data {
        Data::List(items) => items.iter().map(|item| list.item(item)).collect(),
        Data::Map(entries) => entries.iter().map(|entry| list.entry(entry)).collect(),
        Data::Scalar { .. } => Err(list.problem(node.at, "it is neither a list nor a map of accounts".to_owned())),
    }
}

/// An account as it would be written there; `name` is its name if the value is none.
pub(super) fn line(spec: &AccountListSpec, id: &str, field: Field, value: &str, name: &str) -> String {
    let name = if field == Field::AccountName { value } else { name };
    let others = names(spec).into_iter().filter(|(of, _)| *of == field && field != Field::AccountName);
    let other = others.filter_map(|(_, called)| Some(format!("\"{}\": \"{value}\"", called?)));
    let own = [(spec.id.as_ref(), id), (spec.name.as_ref(), name)];
    let own = own.into_iter().filter_map(|(called, text)| Some(format!("\"{}\": \"{text}\"", called?)));
    format!("{{{}}}", own.chain(other).collect::<Vec<_>>().join(", "))
}

/// What the list calls each field.
fn names(spec: &AccountListSpec) -> [(Field, Option<&String>); 5] {
    [
        (Field::AccountName, spec.name.as_ref()),
        (Field::Environment, spec.environment.as_ref()),
        (Field::Region, spec.region.as_ref()),
        (Field::Owner, spec.owner.as_ref()),
        (Field::Team, spec.team.as_ref()),
    ]
}

struct List<'a> {
    spec: &'a AccountListSpec,
    path: &'a Utf8Path,
    text: &'a str,
}

impl List<'_> {
    /// An account of a list.
    fn item(&self, item: &Node) -> Result<Listed, Box<Problem>> {
        let Some(called) = &self.spec.id else {
            return Err(self.problem(item.at, "it is a list, so `id` has to say what the id is called".to_owned()));
        };
        let id = self.id_in(item, called)?;
        self.account(id, item, None)
    }

    /// An account of a map: the key is the id, or the name.
    fn entry(&self, entry: &Entry) -> Result<Listed, Box<Problem>> {
        match (&self.spec.id, &entry.value.data) {
            (None, Data::Scalar { text, .. }) => {
                self.account((text.clone(), entry.value.at), &entry.value, Some((&entry.name, entry.at)))
            }
            (None, _) => self.account((entry.name.clone(), entry.at), &entry.value, None),
            (Some(called), _) => {
                let id = self.id_in(&entry.value, called)?;
                self.account(id, &entry.value, Some((&entry.name, entry.at)))
            }
        }
    }

    fn id_in(&self, node: &Node, called: &str) -> Result<(String, usize), Box<Problem>> {
        match scalar(node, called) {
            Some((id, at)) => Ok((id.to_owned(), at)),
            None => Err(self.problem(node.at, format!("this account has no `{called}`"))),
        }
    }

    /// `key` is the account's name, unless the list says otherwise.
    fn account(
        &self,
        (id, at): (String, usize),
        node: &Node,
        key: Option<(&str, usize)>,
    ) -> Result<Listed, Box<Problem>> {
        if let Err(error) = AccountId::new(id.as_str()) {
            return Err(self.problem(at, error.to_string()));
        }
        let mut fields = Vec::new();
        for (field, called) in names(self.spec) {
            let found = called.and_then(|called| scalar(node, called));
            let found = found.or(key.filter(|_| field == Field::AccountName && called.is_none()));
            if let Some((value, at)) = found.filter(|(value, _)| !value.is_empty()) {
                fields.push((field, value.to_owned(), self.line(at)));
            }
        }
        Ok(Listed { id, line: self.line(at), fields })
    }

    fn line(&self, at: usize) -> usize {
        line_and_column(self.text, at).0
    }

    fn problem(&self, at: usize, message: String) -> Box<Problem> {
        let hint = "`accounts` in tfleet.yaml says where the list is (`list`) and what its names mean (`id`, `name`, \
                    `environment`, …)";
        Box::new(Problem::at(self.path, self.text, at, message).hint(hint))
    }
}

/// A text or number of a map.
fn scalar<'n>(node: &'n Node, name: &str) -> Option<(&'n str, usize)> {
    let entry = node.get(name)?;
    match &entry.value.data {
        Data::Scalar { text, plain } if !(*plain && matches!(text.as_str(), "" | "~" | "null")) => {
            Some((text, entry.value.at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(spec: &str, text: &str) -> String {
        let spec: AccountListSpec = serde_yaml::from_str(spec).unwrap();
        match read(&spec, Utf8Path::new("a.json"), text) {
            Ok(listed) => {
                let one = |one: &Listed| {
                    let fields =
                        one.fields.iter().map(|(field, value, line)| format!("{}={value}@{line}", field.as_str()));
                    format!("{}@{} {}", one.id, one.line, fields.collect::<Vec<_>>().join(" "))
                };
                listed.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            Err(problem) => problem.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn lists_and_maps_of_any_names_are_read() {
        let list = "{\n\t\"data\": {\"accounts\": [\n\t\t{\"Id\": \"111111111111\", \"Name\": \"dev\", \"env\": \"dev\"}\n\t]}\n}\n";
        let spec = "{file: a.json, list: data.accounts, id: Id, name: Name, environment: env}";
        assert_eq!(shown(spec, list), "111111111111@3 account_name=dev@3 environment=dev@3");
        let by_id = "\"111111111111\": {alias: dev, stage: prod}\n\"012345678901\": {}\n";
        let spec = "{file: a, name: alias, environment: stage}";
        assert_eq!(shown(spec, by_id), "111111111111@1 account_name=dev@1 environment=prod@1; 012345678901@2 ");
        assert_eq!(shown("{file: a}", "dev: \"111111111111\"\n"), "111111111111@1 account_name=dev@1");
        let by_name = "dev:\n  number: 111111111111\n";
        assert_eq!(shown("{file: a, id: number}", by_name), "111111111111@2 account_name=dev@1");
    }

    #[test]
    fn what_is_no_list_of_accounts_is_told_with_its_place() {
        assert_eq!(
            shown("{file: a, list: accounts}", "other: []"),
            "a.json:1:1: there is no `accounts` in it (`list: accounts`)"
        );
        assert_eq!(shown("{file: a}", "- 1"), "a.json:1:3: it is a list, so `id` has to say what the id is called");
        assert_eq!(shown("{file: a, id: Id}", "- {id: 1}"), "a.json:1:3: this account has no `Id`");
        assert_eq!(shown("{file: a}", "dev: 12"), "a.json:1:6: `12` is not an AWS account id (12 digits)");
        assert_eq!(shown("{file: a}", "text"), "a.json:1:1: it is neither a list nor a map of accounts");
    }

    #[test]
    fn a_missing_account_is_written_in_the_lists_own_words() {
        let spec: AccountListSpec = serde_yaml::from_str("{file: a, id: Id, name: Name, environment: env}").unwrap();
        assert_eq!(
            line(&spec, "123456789012", Field::Environment, "qa", "NAME"),
            "{\"Id\": \"123456789012\", \"Name\": \"NAME\", \"env\": \"qa\"}"
        );
    }
}
