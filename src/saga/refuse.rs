//! Plans that are refused, because they would delete what must stay.

use serde_json::Value;

use super::{Ended, Saga};
use crate::event::Failure;
use crate::model::{ChangeKind, Recipe};
use crate::tfplan;

impl Saga<'_> {
    /// Refuses a plan that deletes, replaces or forgets anything of the types that are to be kept.
    pub(super) fn refuse_deletions(&self, plan: &Value) -> Result<(), Ended> {
        let recipe = &self.deployment.recipe;
        let lost = losses(plan, &recipe.keep);
        if lost.is_empty() {
            return Ok(());
        }
        let what = "the plan is refused, because it would delete what must stay; nothing was changed";
        let mut failure = Failure::new(what)
            .because(format!("the rule `{}` keeps every {}", recipe.rule, recipe.keep.join(", ")))
            .next("bring back what was removed from the files or from the configuration, and run it again")
            .next("what is really to go is removed by hand first: from AWS, and from the state (terraform state rm)");
        failure.causes.extend(lost);
        Err(Ended::failed(failure))
    }
}

/// Why a rollback must not apply its plan, where it would take away what must stay.
pub(super) fn kept_by_rule(plan: &Value, recipe: &Recipe) -> Option<String> {
    let lost = losses(plan, &recipe.keep);
    let rule = &recipe.rule;
    (!lost.is_empty())
        .then(|| format!("the rule `{rule}` keeps what the rollback would take away: {}", lost.join("; ")))
}

/// What a plan takes away of the resources of these types, one sentence each.
fn losses(plan: &Value, types: &[String]) -> Vec<String> {
    let kept = tfplan::changes(plan).into_iter().filter(|one| types.contains(&one.resource_type));
    kept.filter_map(|one| {
        let verb = match one.action {
            ChangeKind::Replace => "replaced",
            ChangeKind::Delete => "deleted",
            ChangeKind::Forget => "removed from the state",
            ChangeKind::Update | ChangeKind::Create | ChangeKind::Import | ChangeKind::Move => return None,
        };
        Some(format!("{} would be {verb}", one.address))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lost(kind: &str, actions: &[&str]) -> Vec<String> {
        let plan = json!({"resource_changes": [
            {"address": format!("{kind}.one"), "type": kind, "change": {"actions": actions}},
            {"address": "aws_s3_bucket.b", "type": "aws_s3_bucket", "change": {"actions": ["delete"]}},
        ]});
        losses(&plan, &["aws_organizations_account".to_owned()])
    }

    #[test]
    fn what_takes_a_kept_resource_away_is_named() {
        let account = "aws_organizations_account";
        for (actions, verb) in [
            (&["delete"][..], "deleted"),
            (&["delete", "create"], "replaced"),
            (&["create", "delete"], "replaced"),
            (&["forget"], "removed from the state"),
            (&["create", "forget"], "removed from the state"),
        ] {
            assert_eq!(lost(account, actions), [format!("{account}.one would be {verb}")], "{actions:?}");
        }
    }

    #[test]
    fn everything_else_passes() {
        for actions in [&["no-op"][..], &["create"], &["update"], &["read"]] {
            assert!(lost("aws_organizations_account", actions).is_empty(), "{actions:?}");
        }
        assert!(lost("aws_iam_role", &["delete"]).is_empty(), "another type");
        assert!(losses(&json!({}), &["aws_iam_role".to_owned()]).is_empty());
    }

    #[test]
    fn a_deposed_object_is_told_apart() {
        let plan = json!({"resource_changes": [{"address": "a.b", "type": "a", "deposed": "0123abcd",
                          "change": {"actions": ["delete"]}}]});
        assert_eq!(losses(&plan, &["a".to_owned()]), ["a.b (deposed object 0123abcd) would be deleted"]);
    }
}
