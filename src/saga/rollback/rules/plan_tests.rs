use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{Item, set, state};
use super::{Refusal, may_apply, undoes_all};
use crate::tfstate::StateFile;

fn change(address: &str, actions: &[&str], before: Option<&str>, after: Option<&str>) -> Value {
    json!({"address": address, "mode": "managed", "type": "t", "name": "n", "provider_name": "p",
           "change": {"actions": actions, "before": before.map(|id| json!({"id": id})),
                      "after": after.map(|id| json!({"id": id})), "after_unknown": {}}})
}

fn plan(changes: &[Value]) -> Value {
    json!({"format_version": "1.2", "terraform_version": "1.11.4", "resource_changes": changes, "complete": true,
           "errored": false, "applyable": true,
           "output_changes": {"o": {"actions": ["update"], "before": 1, "after": 2}}})
}

/// Before: `t.a` is 1, `u.same` is 2, `t.left` is 5. This run updated `t.a` and created `t.new` (2), and one in a module.
fn judge(plan: &Value) -> Vec<String> {
    let before = state("l", 7, &[("t.a", None, Some("1")), ("u.same", None, Some("2")), ("t.left", None, Some("5"))]);
    let after = state(
        "l",
        9,
        &[
            ("t.a", None, Some("1")),
            ("u.same", None, Some("2")),
            ("t.left", None, Some("5")),
            ("t.new", None, Some("2")),
            ("t.noid", None, None),
            ("module.m.t.new", None, Some("3")),
            ("t.new", Some("d1"), Some("4")),
        ],
    );
    let judged = may_apply(Some(&before), &after, &set(&["t.a"]), plan);
    judged.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn allowed() -> Vec<Value> {
    let mut deposed = change("t.new", &["delete"], Some("4"), None);
    deposed["deposed"] = json!("d1");
    vec![
        change("t.left", &["no-op"], Some("5"), Some("5")),
        json!({"address": "data.x.y", "mode": "data", "change": {"actions": ["read"], "before": null, "after": {}}}),
        change("t.a", &["update"], Some("1"), Some("1")),
        change("t.new", &["delete"], Some("2"), None),
        change("module.m.t.new", &["delete"], Some("3"), None),
        deposed,
    ]
}

#[test]
fn a_plan_that_only_undoes_is_allowed() {
    assert!(judge(&plan(&allowed())).is_empty(), "{:?}", judge(&plan(&allowed())));
    assert!(judge(&json!({"format_version": "1.2"})).is_empty(), "only outputs");
}

#[test]
fn everything_else_is_refused_by_address_and_reason() {
    let set = |mut change: Value, field: &str, value: Value| {
        match field.split_once('/') {
            Some((outer, inner)) => change[outer][inner] = value,
            None => change[field] = value,
        }
        change
    };
    let delete = |address: &str, id| change(address, &["delete"], id, None);
    let update = |address: &str, id| change(address, &["update"], id, id);
    let not_created = "which this run did not create";
    for (change, words) in [
        (change("t.x", &["create"], None, Some("9")), "the rollback would create t.x".to_owned()),
        (change("t.a", &["delete", "create"], Some("1"), None), "the rollback would replace t.a".to_owned()),
        (change("t.a", &["create", "delete"], Some("1"), None), "the rollback would replace t.a".to_owned()),
        (change("t.new", &["forget"], Some("2"), None), "the rollback would forget t.new".to_owned()),
        (
            change("t.new", &["create", "forget"], Some("2"), None),
            "the rollback would create and forget t.new".to_owned(),
        ),
        (change("t.new", &["teleport"], Some("2"), None), "the rollback would teleport t.new".to_owned()),
        (change("t.new", &[], Some("2"), None), "the rollback would do nothing known to t.new".to_owned()),
        (
            set(change("t.left", &["no-op"], Some("5"), Some("5")), "change/importing", json!({"id": "5"})),
            "the rollback would import t.left".to_owned(),
        ),
        (
            set(change("t.left", &["no-op"], Some("5"), Some("5")), "previous_address", json!("t.old")),
            "the rollback would move t.old to t.left".to_owned(),
        ),
        (
            set(delete("t.new", Some("2")), "mode", json!("data")),
            "the rollback would delete the data source t.new".to_owned(),
        ),
        (delete("t.a", Some("1")), format!("the rollback would delete t.a (id 1), {not_created}")),
        (delete("t.gone", Some("7")), format!("the rollback would delete t.gone (id 7), {not_created}")),
        (
            set(delete("t.left", Some("5")), "deposed", json!("d9")),
            format!("the rollback would delete t.left (deposed d9) (id 5), {not_created}"),
        ),
        (
            delete("t.new", Some("8")),
            "the rollback would delete t.new, whose id is not the same in the plan and in the states".to_owned(),
        ),
        (delete("t.noid", None), "the rollback would delete t.noid, which has no id".to_owned()),
        (update("t.left", Some("5")), "the rollback would update t.left, which this run did not update".to_owned()),
        (update("t.new", Some("2")), "the rollback would update t.new, which this run did not update".to_owned()),
        (update("t.a", None), "the rollback would update t.a, which has no id".to_owned()),
        (
            change("t.a", &["update"], Some("1"), None),
            "the rollback would update t.a, whose id is not the same in the plan and in the states".to_owned(),
        ),
        (
            change("t.a", &["update"], Some("1"), Some("6")),
            "the rollback would update t.a, whose id is not the same in the plan and in the states".to_owned(),
        ),
        (
            set(update("t.a", Some("1")), "deposed", json!("d1")),
            "the rollback would update t.a (deposed d1), which this run did not update".to_owned(),
        ),
        (json!({"mode": "managed"}), "the rollback plan is not of a form that tfleet knows".to_owned()),
        (
            set(delete("t.new", Some("2")), "change/actions", json!("delete")),
            "the rollback plan is not of a form that tfleet knows".to_owned(),
        ),
    ] {
        let mut changes = allowed();
        changes.insert(2, change);
        assert_eq!(judge(&plan(&changes)), [words]);
    }
}

#[test]
fn a_moved_object_is_not_taken_for_a_new_one() {
    // What Terraform 1.11 plans once `moved { from = t.keep, to = t.moved }` has been applied and is taken back.
    let before = state("l", 1, &[("t.keep", None, Some("1"))]);
    let after = state("l", 2, &[("t.moved", None, Some("1"))]);
    let back = plan(&[change("t.keep", &["create"], None, None), change("t.moved", &["delete"], Some("1"), None)]);
    let refusals = may_apply(Some(&before), &after, &BTreeSet::new(), &back).unwrap_err();
    assert_eq!(refusals.len(), 2);
    assert!(matches!(&refusals[1], Refusal::NotCreated { id, .. } if id == "1"), "{refusals:?}");
}

#[test]
fn what_this_run_created_goes_all_of_it_and_is_this_runs() {
    let before = state("l", 1, &[("t.a", None, Some("1"))]);
    let after =
        state("l", 2, &[("t.a", None, Some("1")), ("t.new", None, Some("2")), ("t.new", Some("d1"), Some("3"))]);
    let began = [("t.new".to_owned(), set(&["create"])), ("t.a".to_owned(), set(&["update"]))].into();
    let judge = |began: &_, plan: &Value| undoes_all(&before, &after, began, plan).err().map(|one| one.to_string());
    let gone = change("t.new", &["delete"], Some("2"), None);
    let mut deposed = change("t.new", &["delete"], Some("3"), None);
    deposed["deposed"] = json!("d1");
    assert_eq!(judge(&began, &plan(&[gone.clone(), deposed.clone()])), None);
    let stays = |object: &str| Some(format!("the rollback would leave {object}, which this run created"));
    assert_eq!(judge(&began, &plan(std::slice::from_ref(&gone))), stays("t.new (deposed d1) (id 3)"));
    assert_eq!(judge(&began, &plan(std::slice::from_ref(&deposed))), stays("t.new (id 2)"));
    assert_eq!(judge(&began, &Value::Null), stays("t.new (id 2)"));
    let unseen = judge(&[("t.new".to_owned(), set(&["update"]))].into(), &plan(&[gone, deposed]));
    assert_eq!(
        unseen.as_deref(),
        Some("t.new (id 2) is new in the state, and this run did not say that it creates it")
    );
    assert_eq!(undoes_all(&before, &before, &began, &Value::Null), Ok(()));
}

#[test]
fn a_plan_as_a_whole_may_be_refused() {
    for (field, value, words) in [
        ("format_version", json!("2.0"), "is not of a form that tfleet knows"),
        ("format_version", json!(null), "is not of a form that tfleet knows"),
        ("errored", json!(true), "has errors"),
        ("errored", json!("no"), "has errors"),
        ("complete", json!(false), "is not complete"),
        ("deferred_changes", json!([{"reason": "unknown"}]), "puts changes off"),
        ("action_invocations", json!([{}]), "invokes actions of providers"),
        ("resource_changes", json!({}), "is not of a form that tfleet knows"),
    ] {
        let mut plan = plan(&allowed());
        plan[field] = value;
        assert_eq!(judge(&plan), [format!("the rollback plan {words}")], "{field}");
    }
    for rubbish in [json!(null), json!([]), json!("x"), json!({})] {
        assert!(!judge(&rubbish).is_empty(), "{rubbish}");
    }
    let mut harmless = plan(&allowed());
    for field in ["deferred_changes", "action_invocations"] {
        harmless[field] = json!([]);
    }
    assert!(judge(&harmless).is_empty());
}

const ADDRESSES: [&str; 4] = ["t.a", "t.b", "u.a", "module.m.t.a"];
const IDS: [&str; 3] = ["1", "2", "3"];
const ACTIONS: [&[&str]; 10] = [
    &["no-op"],
    &["read"],
    &["delete"],
    &["delete"],
    &["update"],
    &["create"],
    &["delete", "create"],
    &["create", "delete"],
    &["forget"],
    &["no-op", "delete"],
];

type Objects = Vec<(usize, Option<&'static str>, Option<&'static str>)>;

fn id() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![1 => Just(None), 9 => prop::sample::select(&IDS[..]).prop_map(Some)]
}

fn deposed() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![4 => Just(None), 1 => Just(Some("d1"))]
}

fn objects() -> impl Strategy<Value = Objects> {
    prop::collection::vec((0..ADDRESSES.len(), deposed(), id()), 0..4)
}

fn state_of(objects: &Objects) -> StateFile {
    let items: Vec<Item<'_>> = objects.iter().map(|(at, deposed, id)| (ADDRESSES[*at], *deposed, *id)).collect();
    state("l", 1, &items)
}

fn kind(address: &str) -> &str {
    if address.starts_with("u.") { "u" } else { "t" }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// One action that is not allowed, wherever it stands, and whatever object it is about.
    #[test]
    fn an_action_outside_the_allowed_set_is_never_allowed(
        actions in prop_oneof![
            prop::collection::vec("(no-op|read|update|delete|create|forget|move|[a-z]{1,6})", 0..4),
            prop::sample::select(&ACTIONS[5..]).prop_map(|a| a.iter().map(|a| (*a).to_owned()).collect()),
        ],
        at in 0..6_usize,
        which in 0..4_usize,
    ) {
        let plain = ["no-op", "read", "update", "delete"];
        prop_assume!(!(actions.len() == 1 && plain.contains(&actions[0].as_str())));
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        let (address, id) = [("t.new", "2"), ("t.a", "1"), ("module.m.t.new", "3"), ("t.left", "5")][which];
        let mut changes = allowed();
        changes.insert(at, change(address, &actions, Some(id), Some(id)));
        prop_assert_eq!(judge(&plan(&changes)).len(), 1);
    }

    /// Whatever the states and the plan: what is allowed touches only what this run made or updated.
    #[test]
    fn what_is_allowed_touches_only_what_this_run_did(
        before in objects(),
        after in objects(),
        updated in prop::sample::subsequence(&ADDRESSES[..], 0..=ADDRESSES.len()),
        planned in prop::collection::vec(
            (0..ADDRESSES.len(), deposed(), 0..ACTIONS.len(), id(), id(), prop::bool::weighted(0.1)), 1..3),
        no_before in prop::bool::weighted(0.1),
    ) {
        let (old, new) = (state_of(&before), state_of(&after));
        let old = (!no_before).then_some(&old);
        let changes: Vec<Value> = planned.iter().map(|(at, deposed, actions, was, will, moved)| {
            let mut change = change(ADDRESSES[*at], ACTIONS[*actions], *was, *will);
            change["deposed"] = json!(deposed);
            if *moved {
                change["previous_address"] = json!("t.z");
            }
            change
        }).collect();
        if may_apply(old, &new, &set(&updated), &plan(&changes)).is_err() {
            return Ok(());
        }
        let find = |state: &StateFile, address: &str, deposed: Option<&str>| {
            let found = state.objects.iter().find(|(key, _)| key.address == address && key.deposed.as_deref() == deposed);
            found.and_then(|(_, object)| object.id.clone())
        };
        for (at, deposed, actions, was, will, moved) in planned {
            prop_assert!(!moved);
            let address = ADDRESSES[at];
            match ACTIONS[actions] {
                ["no-op" | "read"] => {}
                ["delete"] => {
                    prop_assert!(was.is_some());
                    prop_assert_eq!(find(&new, address, deposed), was.map(str::to_owned));
                    let there = old.into_iter().flat_map(|old| &old.objects)
                        .any(|(key, object)| kind(&key.address) == kind(address) && object.id.as_deref() == was);
                    prop_assert!(!there);
                }
                ["update"] => {
                    prop_assert!(updated.contains(&address) && was.is_some() && was == will && deposed.is_none());
                    prop_assert_eq!(old.and_then(|old| find(old, address, None)), was.map(str::to_owned));
                    prop_assert_eq!(find(&new, address, None), was.map(str::to_owned));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
