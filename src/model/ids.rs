//! Identifiers of AWS and of tfleet.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a piece of text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct IdError {
    /// The text that was refused.
    pub value: String,
    /// What was wanted, with its article: "an AWS account id (12 digits)".
    pub expected: &'static str,
}

/// Defines a newtype over `String` that is checked by `$valid` when it is made.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks `value` and wraps it.
            pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
                let value = value.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&value) { Ok(Self(value)) } else { Err(IdError { value, expected: $expected }) }
            }

            /// The text of it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// An AWS account id: 12 digits.
    AccountId,
    |v| v.len() == 12 && v.bytes().all(|b| b.is_ascii_digit()),
    "an AWS account id (12 digits)"
);

text_id!(
    /// The name an account has in tfvars files, in `accounts.yaml` and in backend keys.
    AccountName,
    is_path_part,
    "an account name (letters, digits and -_.+=@ only, as a part of a state path)"
);

text_id!(
    /// An AWS region code, such as `us-east-1` or `us-gov-west-1`.
    Region,
    is_region,
    "an AWS region (such as us-east-1)"
);

text_id!(
    /// The project a deployment belongs to; a part of its backend key.
    Project,
    is_path_part,
    "a project name (letters, digits and -_.+=@ only, as a part of a state path)"
);

text_id!(
    /// The ARN of an IAM role.
    RoleArn,
    is_role_arn,
    "the ARN of an IAM role (arn:aws:iam::<12 digits>:role/<name>)"
);

text_id!(
    /// The name of a workspace of Terraform's CLI, as Terraform takes it: nothing that a URL would have to quote.
    WorkspaceName,
    |v| !v.is_empty() && v.len() <= 90 && v != "." && v != ".." && v.bytes().all(is_workspace_byte),
    "the name of a Terraform workspace (letters, digits and -_.~$&+=:@ only)"
);

const fn is_workspace_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b'=' | b':' | b'@')
}

/// Whether `value` may stand between two slashes of a backend key.
///
/// Spaces and other characters that S3 allows but that need quoting in URLs and shells are left out.
pub(super) fn is_path_part(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 128
        && value != "."
        && value != ".."
        && value.chars().all(|c| c.is_alphanumeric() || "-_.+=@".contains(c))
}

fn is_region(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let (Some(last), true) = (parts.last(), parts.len() >= 3) else { return false };
    last.len() <= 2
        && !last.is_empty()
        && last.bytes().all(|b| b.is_ascii_digit())
        && parts[..parts.len() - 1].iter().all(|p| p.len() >= 2 && p.bytes().all(|b| b.is_ascii_lowercase()))
}

fn is_role_arn(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws")
            && AccountId::new(account).is_ok()
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}

/// The id of one invocation over many deployments: a `UUIDv7`, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id that sorts after those made before it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default that differs at each call would surprise")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When it was made, to the millisecond: the beginning of the run.
    #[must_use]
    pub fn time(self) -> Timestamp {
        // The upper 48 bits of a UUIDv7 are milliseconds since 1970 (RFC 9562, section 5.7).
        let millis = i64::try_from(self.0.as_u128() >> 80).unwrap_or_default();
        Timestamp::from_millisecond(millis).unwrap_or_default()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        Uuid::parse_str(value).ok().filter(|id| id.get_version_num() == 7).map(Self).ok_or_else(|| IdError {
            value: value.to_owned(),
            expected: "a run id (the whole UUIDv7 that each run prints)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_are_twelve_digits() {
        assert!(AccountId::new("123456789012").is_ok());
        for bad in ["", "12345678901", "1234567890123", "12345678901a", "１２３４５６７８９０１２"] {
            assert!(AccountId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_have_the_form_aws_gives_them() {
        for good in ["us-east-1", "ap-southeast-4", "us-gov-west-1", "eu-isoe-west-1", "il-central-1"] {
            assert!(Region::new(good).is_ok(), "{good}");
        }
        for bad in ["", "us-east", "us_east_1", "US-EAST-1", "us-east-1a", "us-east-", "../x-1", "us/east-1"] {
            assert!(Region::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a b", "a\nb", "a\0", "{x}"] {
            assert!(AccountName::new(bad).is_err(), "{bad:?}");
            assert!(Project::new(bad).is_err(), "{bad:?}");
        }
        assert!(Project::new("test-4_poc.1").is_ok());
    }

    #[test]
    fn role_arns_name_an_account_and_a_role() {
        assert!(RoleArn::new("arn:aws:iam::123456789012:role/path/Deploy").is_ok());
        assert!(RoleArn::new("arn:aws-us-gov:iam::123456789012:role/Deploy").is_ok());
        for bad in ["arn:aws:iam::123:role/x", "arn:aws:iam::123456789012:user/x", "arn:aws:iam::123456789012:role/"] {
            assert!(RoleArn::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn run_ids_sort_by_time_and_read_back() {
        let (first, second) = (RunId::new(), RunId::new());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<RunId>(), Ok(first));
        let age = Timestamp::now().duration_since(first.time());
        assert!(age.as_secs() < 60 && !age.is_negative(), "{age:?}");
        assert!("4c2f6e0e-6d8f-4a51-9d43-0d3a8f3d3b9e".parse::<RunId>().is_err(), "a UUIDv4");
    }
}
