//! The names of audit records, read back.

use jiff::Timestamp;

use crate::model::{AccountName, Project, Region, RunId};
use crate::store::audit::AUDIT_PREFIX;
use crate::store::read_stamp;

/// What the name of an audit record says. [`super::super::AuditName`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordName {
    /// The whole name: the object's key in its store.
    pub key: String,
    /// The account's name.
    pub account_name: AccountName,
    /// The project.
    pub project: Project,
    /// The word of what was done.
    pub action: String,
    /// When it began, to the second.
    pub time: Timestamp,
    /// The region.
    pub region: Region,
    /// The hash of the backend key.
    pub key_hash: String,
    /// The run.
    pub run: RunId,
}

/// What an object below the prefix of audit records is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditObject {
    /// A record.
    Record(Box<RecordName>),
    /// The long output that belongs to a record.
    Output,
    /// Nothing that tfleet has written.
    Foreign,
}

impl AuditObject {
    /// What an object of this key is.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let stem = key.strip_suffix(".json").or_else(|| key.strip_suffix(".output.gz"));
        match stem.and_then(|stem| parse(key, stem)) {
            Some(_) if key.ends_with(".gz") => Self::Output,
            Some(name) => Self::Record(Box::new(name)),
            None => Self::Foreign,
        }
    }
}

/// `audit-logs/{account}/{project}/{action}-{YYYYMMDD-HHMMSS}-{region}-{keyhash}-{run}`. Read from its end, since actions and
/// regions have dashes of their own.
fn parse(key: &str, stem: &str) -> Option<RecordName> {
    const HASH: usize = 12;
    const RUN: usize = 36;
    let mut parts = stem.strip_prefix(AUDIT_PREFIX)?.split('/');
    let (account, project, name) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (rest, run) = split_end(name, RUN)?;
    let (rest, key_hash) = split_end(rest, HASH)?;
    let is_hash = key_hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let (action, time, region) = around_stamp(rest)?;
    is_hash.then_some(RecordName {
        key: key.to_owned(),
        account_name: AccountName::new(account).ok()?,
        project: Project::new(project).ok()?,
        action: action.to_owned(),
        time,
        region: Region::new(region).ok()?,
        key_hash: key_hash.to_owned(),
        run: run.parse().ok()?,
    })
}

/// The last `length` bytes, and what stands before the dash before them.
fn split_end(text: &str, length: usize) -> Option<(&str, &str)> {
    let (before, end) = text.split_at_checked(text.len().checked_sub(length)?)?;
    Some((before.strip_suffix('-')?, end))
}

/// Action, time and region. No region looks like a time, so the last that does is it.
fn around_stamp(text: &str) -> Option<(&str, Timestamp, &str)> {
    const STAMP: usize = "20250131-235959".len();
    text.rmatch_indices('-').find_map(|(at, _)| {
        let (action, rest) = (&text[..at], &text[at + 1..]);
        let (stamp, region) = rest.split_at_checked(STAMP)?;
        let time = read_stamp(stamp)?;
        (!action.is_empty()).then_some((action, time, region.strip_prefix('-')?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::BackendKey;
    use crate::store::AuditName;
    use crate::store::audit::key_hash;

    proptest! {
        /// Whoever writes a name and whoever reads it mean the same.
        #[test]
        fn a_name_is_read_as_it_was_written(
            account in "[a-z][a-z0-9-]{0,20}[a-z0-9]",
            project in "[a-z][a-zA-Z0-9_.-]{0,20}[a-z0-9]",
            action in "(apply|destroy|plan|rollback|recover|restore|move|adopt|mint|mint-accounts|unlock-20250131-235958)",
            region in "(us-east-1|eu-west-3|us-gov-west-1|ap-southeast-2)",
            key in "[a-z]{1,8}/[a-z]{1,8}",
            second in 0_i64..4_000_000_000,
        ) {
            let (account_name, project) = (AccountName::new(account).unwrap(), Project::new(project).unwrap());
            let (region, key) = (Region::new(region).unwrap(), BackendKey::new(key).unwrap());
            let (time, run) = (Timestamp::from_second(second).unwrap(), RunId::new());
            let written = AuditName {
                account_name: &account_name, project: &project, action: &action, time, region: &region, key: &key, run,
            };
            let AuditObject::Record(read) = AuditObject::of(&written.record_key()) else {
                return Err(TestCaseError::fail(written.record_key()));
            };
            prop_assert_eq!(*read, RecordName {
                key: written.record_key(), account_name: account_name.clone(), project: project.clone(),
                action: action.clone(), time, region: region.clone(), key_hash: key_hash(&key), run,
            });
            prop_assert_eq!(AuditObject::of(&written.output_key()), AuditObject::Output);
        }

        #[test]
        fn nothing_makes_it_panic(text in "(audit-logs/)?.{0,60}(/.{0,60}){0,3}(-[0-9a-f]{12}-[0-9a-f-]{36})?(\\.json)?") {
            let _ = AuditObject::of(&text);
        }
    }

    #[test]
    fn what_tfleet_has_not_written_is_foreign() {
        let run = "0196f0a0-0000-7000-8000-000000000001";
        let good = format!("audit-logs/a1/app/apply-20250131-235958-us-east-1-be75136bdf75-{run}.json");
        assert!(matches!(AuditObject::of(&good), AuditObject::Record(_)));
        for bad in [
            "audit-logs/readme.txt".to_owned(),
            good.replace("/app/", "/"),
            good.replace("/app/", "/app/more/"),
            good.replace("235958", "995958"),
            good.replace("be75136bdf75", "BE75136BDF75"),
            good.replace(".json", ".txt"),
            good.replace("us-east-1", "nowhere"),
            good.replace("audit-logs/", "audit/"),
            good.replace(run, "1"),
        ] {
            assert_eq!(AuditObject::of(&bad), AuditObject::Foreign, "{bad}");
        }
    }
}
