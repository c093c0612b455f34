//! Whether a policy names the account and the resource that it belongs to: a copied one names those of its original.

use super::Sink;
use super::facts::Facts;
use super::iam::{Kind, Policy, Statement};
use super::variables::Use;
use crate::model::{CheckRule, Deployment, Severity};

/// The parts of an ARN that say whose it is.
struct Arn<'a> {
    service: &'a str,
    account: &'a str,
    rest: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
        let (_, service, _) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { service, account: parts.next()?, rest: parts.next()? })
    }

    /// The id of its account, where it has one: no wildcard, no variable, nothing of AWS's own.
    fn account_id(&self) -> Option<&'a str> {
        (self.account.len() == 12 && self.account.bytes().all(|byte| byte.is_ascii_digit())).then_some(self.account)
    }

    /// The bucket, or the pattern of buckets; not that of an access point.
    fn bucket(&self) -> Option<&'a str> {
        let bucket = self.rest.split('/').next()?;
        (self.service == "s3" && self.account.is_empty() && !bucket.contains('$')).then_some(bucket)
    }
}

/// One policy, where it is used.
pub(super) struct Places<'p> {
    pub policy: &'p Policy<'p>,
    pub used: &'p Use,
    pub deployment: &'p Deployment,
    pub facts: &'p Facts,
}

impl Places<'_> {
    /// Looks at every resource that is named.
    pub fn check(&self, sink: &mut Sink<'_>) {
        for statement in &self.policy.statements {
            // What a role may not do may well be something in another account.
            let denies_elsewhere = self.policy.kind == Kind::Identity && !statement.allows;
            if denies_elsewhere || takes_roles(statement) {
                continue;
            }
            for (resource, at) in &statement.resources {
                let Some(arn) = Arn::parse(resource) else { continue };
                self.account(&arn, *at, sink);
                self.bucket(&arn, *at, sink);
            }
        }
    }

    fn account(&self, arn: &Arn<'_>, at: usize, sink: &mut Sink<'_>) {
        let own = &self.deployment.account_id;
        let Some(id) = arn.account_id().filter(|id| *id != own.as_str()) else { return };
        let here = format!("this deployment is in {} ({own})", self.deployment.account_name);
        if let Some(name) = self.facts.account(id) {
            let message = format!("it names a resource of the account {name} ({id}), and {here}{}", self.guess());
            sink.add(CheckRule::IamPolicyAccount, self.severity(), at, &message);
        } else {
            let message = format!("it names a resource of the account {id}, which no deployment is in; {here}");
            sink.add(CheckRule::IamPolicyUnknown, Severity::Warning, at, &message);
        }
    }

    fn bucket(&self, arn: &Arn<'_>, at: usize, sink: &mut Sink<'_>) {
        let Some(bucket) = arn.bucket() else { return };
        let declared = self.facts.declared(bucket);
        let whose = || declared.first().map(|one| format!(", which {} declares", one.file)).unwrap_or_default();
        if let (Kind::Resource, Some(own)) = (self.policy.kind, &self.used.bucket) {
            if !matches(bucket, own) {
                let whose = whose();
                let message =
                    format!("it names the bucket `{bucket}`{whose}, and it is the policy of the bucket `{own}`");
                sink.add(CheckRule::IamPolicyResource, Severity::Error, at, &message);
            }
            return;
        }
        if bucket.contains(['*', '?']) || declared.iter().any(|one| one.file == self.deployment.file) {
            return;
        }
        if declared.is_empty() {
            if self.facts.knows_buckets() {
                let message = format!("it names the bucket `{bucket}`, which no deployment declares");
                sink.add(CheckRule::IamPolicyUnknown, Severity::Warning, at, &message);
            }
            return;
        }
        // A role may well use the bucket of a neighbour.
        let near = declared.iter().any(|one| one.account == self.deployment.account_id);
        if self.policy.kind == Kind::Resource || !near {
            let message = format!("it names the bucket `{bucket}`{}{}", whose(), self.guess());
            sink.add(CheckRule::IamPolicyResource, self.severity(), at, &message);
        }
    }

    /// The policy of a resource is about that resource. The rights of a role may reach into another account; where all that
    /// they name is there, they were copied from there.
    fn severity(&self) -> Severity {
        if self.policy.kind == Kind::Resource || !self.names_own() { Severity::Error } else { Severity::Warning }
    }

    fn guess(&self) -> &'static str {
        if self.severity() == Severity::Error { ": it looks like a copy" } else { "" }
    }

    /// Whether it names anything that is certainly this deployment's, or its account's.
    fn names_own(&self) -> bool {
        let resources = self.policy.statements.iter().filter(|one| !takes_roles(one)).flat_map(|one| &one.resources);
        resources.filter_map(|(text, _)| Arn::parse(text)).any(|arn| {
            let own = &self.deployment.account_id;
            let declared = arn.bucket().map(|bucket| self.facts.declared(bucket)).unwrap_or_default();
            arn.account_id() == Some(own.as_str()) || declared.iter().any(|one| one.account == *own)
        })
    }
}

/// Whether a statement is about taking roles, which are mostly those of other accounts.
fn takes_roles(statement: &Statement<'_>) -> bool {
    let is_sts = |action: &&str| action.to_ascii_lowercase().starts_with("sts:");
    !statement.actions.is_empty() && statement.actions.iter().all(is_sts)
}

/// Whether a pattern with `*` and `?` takes a whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                p = star + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_whole_names() {
        for (pattern, name, wanted) in [
            ("logs", "logs", true),
            ("logs", "logs2", false),
            ("log*", "logs", true),
            ("*-logs", "acme-prod-logs", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("l?gs", "logs", true),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
