//! The output `accounts` of the module that makes accounts: a map or a list of objects.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::model::{AccountId, AccountName, Region, RoleArn};

/// The output's name.
pub(super) const OUTPUT: &str = "accounts";

/// One account of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputAccount {
    pub name: AccountName,
    pub id: AccountId,
    pub region: Option<Region>,
    pub kind: Option<String>,
    pub role_arn: Option<RoleArn>,
}

/// Reads the output. What is wrong with single accounts comes beside those that can be used: of two that have one name, or
/// one id, neither can.
pub(super) fn read(output: &Value) -> Result<(Vec<OutputAccount>, Vec<String>), String> {
    let entries: Vec<(Option<&str>, &Value)> = match output {
        Value::Object(map) => map.iter().map(|(key, value)| (Some(key.as_str()), value)).collect(),
        Value::Array(list) => list.iter().map(|value| (None, value)).collect(),
        _ => return Err(format!("the output `{OUTPUT}` is neither a map nor a list of objects")),
    };
    let (mut accounts, mut wrong) = (Vec::new(), Vec::new());
    for (at, (key, value)) in entries.into_iter().enumerate() {
        let place = key.map_or_else(|| format!("{OUTPUT}[{at}]"), |key| format!("{OUTPUT}[\"{key}\"]"));
        match value.as_object().ok_or_else(|| "it is no object".to_owned()).and_then(|object| one(key, object)) {
            Ok(account) => accounts.push(account),
            Err(why) => wrong.push(format!("{place}: {why}")),
        }
    }
    let names = repeated(accounts.iter().map(|account| account.name.clone()));
    let ids = repeated(accounts.iter().map(|account| account.id.clone()));
    wrong.extend(names.iter().map(|name| format!("{OUTPUT}: the name {name} stands there more than once")));
    wrong.extend(ids.iter().map(|id| format!("{OUTPUT}: the id {id} stands there more than once")));
    accounts.retain(|account| !names.contains(&account.name) && !ids.contains(&account.id));
    Ok((accounts, wrong))
}

fn repeated<T: Ord + Clone>(all: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.filter(|one| !seen.insert(one.clone())).collect()
}

fn one(key: Option<&str>, object: &Map<String, Value>) -> Result<OutputAccount, String> {
    let id = text(object, &["id", "account_id"])?.ok_or("it has no `id`")?;
    let id = AccountId::new(id).map_err(|error| error.to_string())?;
    let name = text(object, &["name", "account_name"])?.or(key).ok_or("it has no `name`")?;
    let name = AccountName::new(name).map_err(|error| error.to_string())?;
    let region = text(object, &["region"])?.map(Region::new).transpose().map_err(|error| error.to_string())?;
    let kind = text(object, &["type", "account_type"])?.map(str::to_owned);
    let role_arn = text(object, &["role_arn"])?.map(RoleArn::new).transpose().map_err(|error| error.to_string())?;
    if let Some(role) = role_arn.as_ref().filter(|role| !role.as_str().contains(&format!("::{id}:"))) {
        return Err(format!("the role {role} is not in the account {id}"));
    }
    Ok(OutputAccount { name, id, region, kind, role_arn })
}

/// The first of these attributes that is set.
fn text<'v>(object: &'v Map<String, Value>, names: &[&str]) -> Result<Option<&'v str>, String> {
    for name in names {
        match object.get(*name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => return Ok(Some(text)),
            // A number would have lost the zeros at its beginning.
            Some(_) => return Err(format!("`{name}` is no text")),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_and_lists_say_the_same() {
        let role = "arn:aws:iam::111111111111:role/R";
        let map = json!({"a": {"id": "111111111111", "region": "us-east-1", "type": "regional", "role_arn": role}});
        let list = json!([{"account_id": "111111111111", "name": "a", "region": "us-east-1", "type": "regional", "role_arn": role}]);
        let (from_map, from_list) = (read(&map).unwrap(), read(&list).unwrap());
        assert_eq!(from_map, from_list);
        assert!(from_map.1.is_empty());
        assert_eq!((from_map.0[0].name.as_str(), from_map.0[0].id.as_str()), ("a", "111111111111"));
        let bare = read(&json!({"a": {"id": "111111111111", "region": null}})).unwrap();
        assert_eq!((bare.0[0].region.clone(), bare.0[0].role_arn.clone()), (None, None));
    }

    #[test]
    fn what_has_no_id_is_no_account() {
        for (bad, wanted) in [
            (json!({"a": {"region": "us-east-1"}}), "accounts[\"a\"]: it has no `id`"),
            (json!({"a": {"id": null}}), "it has no `id`"),
            (json!({"a": {"id": ""}}), "`` is not an AWS account id"),
            (json!({"a": {"id": 111_111_111_111_u64}}), "`id` is no text"),
            (json!([{"id": "111111111111"}]), "accounts[0]: it has no `name`"),
            (json!(["x"]), "it is no object"),
            (
                json!({"a": {"id": "111111111111", "role_arn": "arn:aws:iam::222222222222:role/R"}}),
                "is not in the account",
            ),
        ] {
            let (accounts, wrong) = read(&bad).unwrap();
            assert!(accounts.is_empty() && wrong[0].contains(wanted), "{bad}: {wrong:?}");
        }
        assert!(read(&json!("x")).is_err());
    }

    #[test]
    fn of_two_with_one_name_or_one_id_neither_counts() {
        let one = |id: &str, name: &str| json!({"id": id, "name": name});
        let (a, b, c) = ("111111111111", "222222222222", "333333333333");
        for twice in [json!([one(a, "a"), one(a, "b"), one(c, "c")]), json!([one(a, "a"), one(b, "a"), one(c, "c")])] {
            let (accounts, wrong) = read(&twice).unwrap();
            assert_eq!(accounts.iter().map(|account| account.name.as_str()).collect::<Vec<_>>(), ["c"]);
            assert!(wrong.len() == 1 && wrong[0].contains("stands there more than once"), "{wrong:?}");
        }
    }
}
