//! The last check of an account, whichever engine made it: its role lets tfleet in.

use super::wait::Pauses;
use super::{Mint, Trouble, from_aws, may_pass};
use crate::lease::{LeaseError, RoleName, RoleSettings};
use crate::model::{AccountId, AccountName, MintedAccount, Region, RoleArn};

/// An account that has an id and is active.
pub(super) struct Checked {
    pub name: AccountName,
    pub id: AccountId,
    pub region: Region,
    pub kind: String,
    pub role: RoleName,
    pub role_arn: RoleArn,
}

impl Mint {
    /// Waits until the role can be assumed: in a new account that takes a while.
    pub(super) async fn wait_for_role(&self, account: Checked) -> Result<MintedAccount, Trouble> {
        let Checked { name, id, region, kind, role, role_arn } = account;
        let settings = RoleSettings { role_name: role.clone(), ..self.role.clone() };
        let key = settings.lease(&id);
        let mut pauses = Pauses::within(self.limits.role_timeout);
        let mut told = false;
        loop {
            let assumed = tokio::select! {
                () = self.stop.cancelled() => return Err(Trouble::Cancelled(None)),
                assumed = self.leases.get(&key) => assumed,
            };
            let Err(error) = assumed else { break };
            if !may_pass(&error) || !self.pause(&mut pauses).await? {
                return Err(refused(&name, &id, &role, &error, self.limits.role_timeout.as_secs()));
            }
            if !told {
                self.tell(name.as_str(), &format!("waiting until the role {role} of {id} can be assumed"));
                told = true;
            }
        }
        Ok(MintedAccount { name, id, region, kind, role_arn })
    }
}

fn refused(name: &AccountName, id: &AccountId, role: &RoleName, error: &LeaseError, waited: u64) -> Trouble {
    let what = format!("the role {role} of the account {name} ({id}) cannot be assumed");
    let next = if may_pass(error) {
        format!(
            "it refused for {waited} s; if the account is new, run again or wait longer (--role-timeout); else see that the \
             role exists in it, trusts the central account, and that the caller may sts:AssumeRole on it"
        )
    } else {
        error.hint()
    };
    Trouble::Failed(from_aws(what, error, next))
}
