//! Lists of accounts in JSON and YAML files: told by ids of 12 digits in a regular form.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::{Map, Value};

use super::facts::KnownAccount;
use crate::model::{AccountId, AccountListSpec};

/// A list, as `accounts` in `tfleet.yaml` describes it, and what stands in it.
#[derive(Debug, Clone)]
pub(super) struct FoundList {
    pub spec: AccountListSpec,
    pub accounts: Vec<KnownAccount>,
}

/// How deep a list may lie in a file.
const DEEPEST: usize = 4;

/// Names for what a list says of an account, without upper case, `-` and `_`.
const ID: [&str; 6] = ["accountid", "awsaccountid", "id", "accountnumber", "awsaccount", "account"];
const NAME: [&str; 7] = ["accountname", "name", "awsaccountname", "alias", "accountalias", "shortname", "label"];
const ENVIRONMENT: [&str; 5] = ["environment", "env", "stage", "environmentname", "envname"];
const REGION: [&str; 5] = ["region", "awsregion", "defaultregion", "homeregion", "primaryregion"];
const OWNER: [&str; 3] = ["owner", "owneremail", "contact"];
const TEAM: [&str; 3] = ["team", "group", "squad"];

/// The lists of accounts in a file.
pub(super) fn find(file: &Utf8Path, text: &str) -> Vec<FoundList> {
    // Most files hold none, and need not be parsed to know that.
    if !has_account_id(text) {
        return Vec::new();
    }
    let parsed: Option<Value> = if file.extension() == Some("json") {
        serde_json::from_str(text).ok()
    } else {
        serde_yaml::from_str(text).ok()
    };
    let Some(root) = parsed.filter(|root| !is_minted(root)) else { return Vec::new() };
    let mut found = Vec::new();
    look(file, &root, &mut Vec::new(), &mut found);
    found
}

/// Whether twelve digits stand alone somewhere.
pub(super) fn has_account_id(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() == 12)
}

/// `accounts.json` as tfleet's own minting writes it is no list of another form.
fn is_minted(root: &Value) -> bool {
    root.get("schema_version").is_some() && root["accounts"][0].get("role_arn").is_some()
}

fn look(file: &Utf8Path, value: &Value, way: &mut Vec<String>, found: &mut Vec<FoundList>) {
    if let Some(list) = list(file, value, way) {
        return found.push(list);
    }
    let Value::Object(members) = value else { return };
    if way.len() == DEEPEST {
        return;
    }
    // A dot in a name would be one step more on the way.
    for (name, inner) in members.iter().filter(|(name, _)| !name.contains('.')) {
        way.push(name.clone());
        look(file, inner, way, found);
        way.pop();
    }
}

/// The value as a list of accounts, if every item is one and something calls it that.
fn list(file: &Utf8Path, value: &Value, way: &[String]) -> Option<FoundList> {
    let mut spec = AccountListSpec { file: file.to_owned(), list: way.join("."), ..AccountListSpec::default() };
    let accounts: Vec<KnownAccount> = match value {
        Value::Array(items) => {
            let items: Vec<&Map<String, Value>> = items.iter().map(Value::as_object).collect::<Option<_>>()?;
            spec.id = Some(named(&items, &ID, true)?);
            name_others(&mut spec, &items);
            items.iter().map(|item| account(&spec, item, None)).collect::<Option<_>>()?
        }
        Value::Object(entries) if entries.keys().all(|key| is_id(key)) => {
            let items: Vec<&Map<String, Value>> = entries.values().filter_map(Value::as_object).collect();
            name_others(&mut spec, &items);
            let one = |(id, value): (&String, &Value)| match value {
                Value::Object(item) => account(&spec, item, Some(id)),
                _ => Some(KnownAccount { id: id.clone(), ..KnownAccount::default() }),
            };
            entries.iter().map(one).collect::<Option<_>>()?
        }
        Value::Object(entries) if entries.values().all(|value| id_of(value).is_some()) => {
            let one = |(name, value): (&String, &Value)| {
                Some(KnownAccount { id: id_of(value)?, name: Some(name.clone()), ..KnownAccount::default() })
            };
            entries.iter().map(one).collect::<Option<_>>()?
        }
        Value::Object(entries) => {
            let items: Vec<&Map<String, Value>> = entries.values().map(Value::as_object).collect::<Option<_>>()?;
            spec.id = Some(named(&items, &ID, true)?);
            name_others(&mut spec, &items);
            let one = |((key, _), item): ((&String, &Value), &&Map<String, Value>)| {
                let account = account(&spec, item, None)?;
                Some(KnownAccount { name: account.name.or_else(|| Some(key.clone())), ..account })
            };
            entries.iter().zip(&items).map(one).collect::<Option<_>>()?
        }
        _ => return None,
    };
    let ids: BTreeSet<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    let regular = !accounts.is_empty() && ids.len() == accounts.len();
    (regular && is_called_so(&spec)).then_some(FoundList { spec, accounts })
}

/// Numbers of 12 digits may be anything, if neither file nor list nor id speaks of accounts.
fn is_called_so(spec: &AccountListSpec) -> bool {
    let id = spec.id.as_deref().unwrap_or_default();
    [spec.file.as_str(), &spec.list, id].iter().any(|text| text.to_ascii_lowercase().contains("account"))
}

fn name_others(spec: &mut AccountListSpec, items: &[&Map<String, Value>]) {
    spec.name = named(items, &NAME, false);
    spec.environment = named(items, &ENVIRONMENT, false);
    spec.region = named(items, &REGION, false);
    spec.owner = named(items, &OWNER, false);
    spec.team = named(items, &TEAM, false);
}

/// What all items call it; an id has to be one in each of them.
fn named(items: &[&Map<String, Value>], names: &[&str], is_ids: bool) -> Option<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
    let first = items.first()?;
    let fits = |name: &&String| {
        items.iter().all(|item| match item.get(name.as_str()) {
            Some(value) if is_ids => id_of(value).is_some(),
            Some(Value::String(_)) => true,
            _ => false,
        })
    };
    names.iter().find_map(|wanted| first.keys().filter(|name| plain(name) == *wanted).find(fits)).cloned()
}

fn account(spec: &AccountListSpec, item: &Map<String, Value>, key: Option<&str>) -> Option<KnownAccount> {
    let text = |name: &Option<String>| item.get(name.as_ref()?)?.as_str().map(str::to_owned);
    let id = match &spec.id {
        Some(name) => item.get(name).and_then(id_of)?,
        None => key?.to_owned(),
    };
    Some(KnownAccount { id, name: text(&spec.name), environment: text(&spec.environment), region: text(&spec.region) })
}

fn is_id(text: &str) -> bool {
    AccountId::new(text).is_ok()
}

fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|text| is_id(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &str, text: &str) -> String {
        let one = |list: FoundList| {
            let AccountListSpec { list: way, id, name, environment, .. } = list.spec;
            let accounts: Vec<String> = list
                .accounts
                .iter()
                .map(|a| {
                    format!("{}:{}:{}", a.id, a.name.as_deref().unwrap_or("-"), a.environment.as_deref().unwrap_or("-"))
                })
                .collect();
            let or = |name: Option<String>| name.unwrap_or_else(|| "-".to_owned());
            format!("list={way} id={} name={} env={} {}", or(id), or(name), or(environment), accounts.join(" "))
        };
        find(Utf8Path::new(file), text).into_iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn lists_of_any_form_are_found() {
        for (file, text, found) in [
            (
                "config/accounts.json",
                r#"{"Accounts": [{"AccountId": "111111111111", "Name": "dev", "Stage": "d"}]}"#,
                "list=Accounts id=AccountId name=Name env=Stage 111111111111:dev:d",
            ),
            (
                "a.yaml",
                "data:\n  accounts:\n    shop-dev: {id: 111111111111, env: dev}\n    shop: {id: '012345678901', env: prod}\n",
                "list=data.accounts id=id name=- env=env 111111111111:shop-dev:dev 012345678901:shop:prod",
            ),
            ("accounts.yml", "dev: '111111111111'\n", "list= id=- name=- env=- 111111111111:dev:-"),
            (
                "org/accounts.yaml",
                "'111111111111': {alias: dev}\n'222222222222': {alias: prod}\n",
                "list= id=- name=alias env=- 111111111111:dev:- 222222222222:prod:-",
            ),
            ("x.json", r#"[{"account_id": "111111111111"}]"#, "list= id=account_id name=- env=- 111111111111:-:-"),
        ] {
            assert_eq!(shown(file, text), found, "{file}: {text}");
        }
    }

    #[test]
    fn what_only_looks_like_accounts_is_none() {
        for (file, text) in [
            ("phones.json", r#"{"ann": "491511234567"}"#),
            ("policy.json", r#"{"Statement": [{"Principal": {"AWS": "arn:aws:iam::111111111111:root"}}]}"#),
            ("accounts.json", r#"[{"id": "111111111111"}, {"id": "x"}]"#),
            ("accounts.json", r#"[{"id": "111111111111"}, {"id": "111111111111"}]"#),
            ("accounts.json", "{}"),
            ("accounts.yaml", "x: [111111111111"),
            ("accounts.json", r#"{"schema_version": 1, "accounts": [{"id": "111111111111", "role_arn": "r"}]}"#),
        ] {
            assert_eq!(shown(file, text), "", "{text}");
        }
    }
}
