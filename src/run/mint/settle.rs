//! What follows once there is an account: its unit, its tags, its role.

use super::checked::Checked;
use super::plan::{Changes, Standing};
use super::wait::Pauses;
use super::{Mint, Trouble};
use crate::discover::AccountDefinition;
use crate::event::Failure;
use crate::model::{AccountId, MintedAccount};
use crate::organization::OrganizationError;

impl Mint {
    /// Where an account is and which tags it has. Only what the definition says anything of is asked for.
    pub(super) async fn standing(
        &self,
        definition: &AccountDefinition,
        destination: Option<&str>,
        id: &AccountId,
    ) -> Result<Standing, Trouble> {
        let mut pauses = Pauses::within(self.limits.timeout);
        let name = definition.name.as_str();
        let parent = match destination {
            Some(_) => Some(
                self.patiently(name, "asking where it is", &mut pauses, is_passing, || self.organization.parent(id))
                    .await?,
            ),
            None => None,
        };
        let tags = if definition.tags.is_empty() {
            std::collections::BTreeMap::new()
        } else {
            let mut pauses = pauses.anew();
            self.patiently(name, "asking for its tags", &mut pauses, is_passing, || self.organization.tags(id)).await?
        };
        Ok(Standing { parent, tags })
    }

    /// Makes the changes, and says in words what was done.
    pub(super) async fn change(
        &self,
        definition: &AccountDefinition,
        id: &AccountId,
        changes: &Changes,
        done: &mut Vec<String>,
    ) -> Result<(), Trouble> {
        let name = definition.name.as_str();
        if let Some((from, to)) = &changes.moved {
            self.tell(name, &format!("moving it to {to}"));
            let mut pauses = Pauses::within(self.limits.timeout);
            let moving = || async {
                match self.organization.move_account(id, from, to).await {
                    // It may have been moved by a request whose answer was lost.
                    Err(error) if !error.is_busy() => match self.organization.parent(id).await {
                        Ok(now) if now == *to => Ok(()),
                        _ => Err(error),
                    },
                    moved => moved,
                }
            };
            let what = format!("moving the account {id} to {to}");
            let moved = self.patiently(name, &what, &mut pauses, is_passing, moving).await;
            moved.inspect_err(|trouble| done.extend(cut_off(trouble, &what)))?;
            done.push(format!("moved from {from} to {to}"));
        }
        if !changes.tags.is_empty() {
            let tags = changes.tags.iter().map(|(key, (_, new))| (key.clone(), new.clone())).collect();
            let mut pauses = Pauses::within(self.limits.timeout);
            let what = format!("tagging the account {id}");
            let tagged =
                self.patiently(name, &what, &mut pauses, is_passing, || self.organization.tag(id, &tags)).await;
            tagged.inspect_err(|trouble| done.extend(cut_off(trouble, &what)))?;
            done.extend(changes.tags.iter().map(|(key, (_, new))| format!("tagged {key}={new}")));
        }
        Ok(())
    }

    /// The account as provisioning gets it, once tfleet gets into its role.
    pub(super) async fn ready(&self, definition: &AccountDefinition, id: &AccountId) -> Result<MintedAccount, Trouble> {
        let bad = |error: &crate::model::IdError| {
            Trouble::Failed(Failure::caused_by(format!("{}: its role cannot be used", definition.file), error))
        };
        let role = self.role_name(definition).map_err(|error| bad(&error))?;
        let checked = Checked {
            name: definition.name.clone(),
            id: id.clone(),
            region: definition.region.clone(),
            kind: definition.kind.clone(),
            role_arn: self.role_arn(&role, id).map_err(|error| bad(&error))?,
            role,
        };
        self.wait_for_role(checked).await
    }
}

/// What is known of a change whose answer was not waited for.
fn cut_off(trouble: &Trouble, what: &str) -> Option<String> {
    matches!(trouble, Trouble::Cancelled(_)).then(|| format!("{what} was cut off, and may have been done"))
}

/// Whether an error may go away: AWS puts it off, or does not know everywhere yet what was just made.
pub(super) fn is_passing(error: &OrganizationError) -> bool {
    const UNKNOWN: [&str; 3] = ["ChildNotFoundException", "AccountNotFoundException", "TargetNotFoundException"];
    let unknown = matches!(error, OrganizationError::Service { code, .. } if UNKNOWN.contains(&code.as_str()));
    error.is_busy() || unknown
}
