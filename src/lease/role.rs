//! Which role is assumed, and how: the settings, and the key under which a lease is cached.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{AccountId, IdError, Region, RoleArn, Secret};

/// A role: a name (with its path, if it has one), looked for in each deployment's own account, or a whole ARN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// `OrganizationAccountAccessRole`, `deploy/Terraform`.
    Name(String),
    /// `arn:aws:iam::123456789012:role/Terraform`: serves one account only.
    Arn(RoleArn),
}

impl RoleName {
    /// Reads a name or an ARN.
    pub fn new(value: &str) -> Result<Self, IdError> {
        if value.starts_with("arn:") {
            return RoleArn::new(value).map(Self::Arn);
        }
        let parts: Vec<&str> = value.split('/').collect();
        let valid = value.len() <= 512
            && parts.iter().all(|part| !part.is_empty() && part.bytes().all(is_iam_byte))
            && parts.last().is_some_and(|name| name.len() <= 64);
        if valid {
            Ok(Self::Name(value.to_owned()))
        } else {
            Err(IdError { value: value.to_owned(), expected: "the name or ARN of an IAM role" })
        }
    }

    /// The ARN of this role for `account`. `partition` is `aws`, `aws-us-gov`, `aws-cn`, …
    #[must_use]
    pub fn arn(&self, partition: &str, account: &AccountId) -> String {
        match self {
            Self::Name(name) => format!("arn:{partition}:iam::{account}:role/{name}"),
            Self::Arn(arn) => arn.to_string(),
        }
    }

    /// The name, with its path, also of an ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Arn(arn) => arn.as_str().split_once(":role/").map_or(arn.as_str(), |(_, name)| name),
        }
    }
}

impl Default for RoleName {
    /// The role that AWS Organizations makes in each account it creates.
    fn default() -> Self {
        Self::Name("OrganizationAccountAccessRole".to_owned())
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Arn(arn) => arn.fmt(f),
        }
    }
}

impl FromStr for RoleName {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        Self::new(value)
    }
}

impl Serialize for RoleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The characters IAM allows in names and session names: `[\w+=,.@-]`.
const fn is_iam_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}

/// The name a role session has in `CloudTrail`: 2 to 64 characters of `[\w+=,.@-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SessionName(String);

impl SessionName {
    /// Checks `value` and wraps it.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        if (2..=64).contains(&value.len()) && value.bytes().all(is_iam_byte) {
            Ok(Self(value))
        } else {
            Err(IdError { value, expected: "a role session name (2 to 64 letters, digits and _+=,.@-)" })
        }
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SessionName {
    fn default() -> Self {
        Self("tfleet".to_owned())
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for SessionName {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        Self::new(value)
    }
}

impl<'de> Deserialize<'de> for SessionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The external id that a role's trust policy may ask for: 2 to 1224 characters of `[\w+=,.@:/-]`.
///
/// AWS does not call it a secret; those who agreed on one often do, so it is masked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExternalId(Secret<String>);

impl ExternalId {
    /// Checks `value` and wraps it.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        let valid = |byte: u8| is_iam_byte(byte) || matches!(byte, b':' | b'/');
        if (2..=1224).contains(&value.len()) && value.bytes().all(valid) {
            Ok(Self(Secret::new(value)))
        } else {
            Err(IdError {
                value: "***".to_owned(),
                expected: "an external id (2 to 1224 letters, digits and _+=,.@:/-)",
            })
        }
    }

    /// The text of it, for the request.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for ExternalId {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        Self::new(value)
    }
}

impl<'de> Deserialize<'de> for ExternalId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How long a role session is asked to last: whole seconds, 15 minutes to 12 hours (the limits of STS).
///
/// More than an hour works only where the caller has no role session itself (role chaining) and the role allows it;
/// where it does not, an hour is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionDuration(i32);

impl SessionDuration {
    /// What every role allows, chained or not.
    pub const HOUR: Self = Self(3600);

    /// Checks `value` and wraps it.
    pub fn new(value: Duration) -> Result<Self, IdError> {
        let seconds = value.as_secs();
        match i32::try_from(seconds) {
            Ok(whole) if (900..=43200).contains(&whole) => Ok(Self(whole)),
            _ => Err(IdError {
                value: format!("{seconds}s"),
                expected: "a session duration that STS allows (15 minutes to 12 hours)",
            }),
        }
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> i32 {
        self.0
    }
}

impl Default for SessionDuration {
    fn default() -> Self {
        Self::HOUR
    }
}

/// How roles are assumed: the settings, the same for every account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RoleSettings {
    /// The role.
    pub role_name: RoleName,
    /// The external id its trust policy asks for.
    pub external_id: Option<ExternalId>,
    /// What the session is called.
    pub session_name: SessionName,
    /// How long it lasts.
    pub duration: SessionDuration,
    /// Whose STS endpoint is asked. Unset: the one of the region that the caller's configuration names, because the
    /// caller's account may not have enabled the deployment's region, and what a regional endpoint gives works in all.
    pub sts_region: Option<Region>,
    /// The URL of that endpoint, where it is not Amazon's own.
    pub sts_endpoint: Option<String>,
    /// The policy that narrows the session.
    pub policy: Option<Secret<String>>,
}

impl RoleSettings {
    /// The key of the lease for `account` under these settings.
    #[must_use]
    pub fn lease(&self, account: &AccountId) -> LeaseKey {
        LeaseKey::Role(Box::new(RoleLease { account: account.clone(), settings: self.clone() }))
    }
}

/// A role in one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoleLease {
    /// The account that the credentials must act in.
    pub account: AccountId,
    /// The role in it, and how it is assumed.
    pub settings: RoleSettings,
}

/// What a lease is for. Equal keys share one set of credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LeaseKey {
    /// The caller's own credentials.
    Central,
    /// A named profile of the caller's own configuration.
    Profile(String),
    /// A role in an account. In the caller's own account no role is assumed: it is the same as [`LeaseKey::Central`].
    Role(Box<RoleLease>),
    /// The role that a backend names, which is assumed also in the caller's own account.
    Backend(Box<BackendLease>),
}

/// The role that a backend names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendLease {
    /// The role.
    pub role: RoleLease,
    /// The profile of the caller's own configuration that assumes it; `None` for the caller.
    pub profile: Option<String>,
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Central => f.write_str("the caller's own credentials"),
            Self::Profile(name) => write!(f, "the profile `{name}`"),
            Self::Role(role) => write!(f, "the role {} in account {}", role.settings.role_name, role.account),
            Self::Backend(lease) => {
                write!(f, "the role {}", lease.role.settings.role_name)?;
                lease.profile.as_ref().map_or(Ok(()), |profile| write!(f, " by way of the profile `{profile}`"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_names_or_arns() {
        let account = AccountId::new("123456789012").unwrap();
        assert_eq!(
            RoleName::default().arn("aws-us-gov", &account),
            "arn:aws-us-gov:iam::123456789012:role/OrganizationAccountAccessRole"
        );
        assert_eq!(
            RoleName::new("ci/Deploy").unwrap().arn("aws", &account),
            "arn:aws:iam::123456789012:role/ci/Deploy"
        );
        let arn = "arn:aws:iam::210987654321:role/Deploy";
        assert_eq!(RoleName::new(arn).unwrap().arn("aws", &account), arn);
        for (role, name) in
            [("Deploy", "Deploy"), (arn, "Deploy"), ("arn:aws:iam::210987654321:role/ci/Deploy", "ci/Deploy")]
        {
            assert_eq!(RoleName::new(role).unwrap().name(), name);
        }
        for bad in ["", "a b", "/a", "a//b", "a/", "arn:aws:iam::1:role/x", "a:b", &"x".repeat(65)] {
            assert!(RoleName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_of_sts_are_checked_when_read() {
        for bad in ["", "x", "a b", "a/b", &"x".repeat(65)] {
            assert!(SessionName::new(bad).is_err(), "{bad}");
        }
        assert!(SessionName::new("tfleet-01.run@ci").is_ok());
        assert!(SessionDuration::new(Duration::from_secs(899)).is_err());
        assert!(SessionDuration::new(Duration::from_secs(43201)).is_err());
        assert_eq!(SessionDuration::new(Duration::from_secs(900)).unwrap().seconds(), 900);
    }

    #[test]
    fn an_external_id_is_never_shown() {
        let id = ExternalId::new("our-agreed-id").unwrap();
        let settings = RoleSettings { external_id: Some(id), ..RoleSettings::default() };
        let shown = format!("{settings:?} {:?}", ExternalId::new("our agreed id"));
        assert!(!shown.contains("our"), "{shown}");
    }

    #[test]
    fn leases_differ_by_everything_that_changes_the_answer() {
        let (a, b) = (AccountId::new("111111111111").unwrap(), AccountId::new("222222222222").unwrap());
        let settings = RoleSettings::default();
        let other = RoleSettings { external_id: Some(ExternalId::new("xx").unwrap()), ..settings.clone() };
        assert_eq!(settings.lease(&a), settings.lease(&a));
        assert_ne!(settings.lease(&a), settings.lease(&b));
        assert_ne!(settings.lease(&a), other.lease(&a));
    }
}
