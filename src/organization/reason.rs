//! Why an account was not created, by the reasons that AWS gives.

/// What a reason means, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// What it means.
    pub meaning: String,
    /// What a person does next.
    pub next: &'static str,
    /// How often it is worth asking AWS again without a person.
    pub again: u32,
}

/// The remedy for a reason (AWS Organizations API reference, `CreateAccountStatus`, `FailureReason`).
#[must_use]
pub fn remedy(reason: &str) -> Remedy {
    let (meaning, next, again) = match reason {
        "ACCOUNT_LIMIT_EXCEEDED" => (
            "the organization has as many accounts as it may have",
            "ask for more: Service Quotas, AWS Organizations, \"Default maximum number of accounts\", in us-east-1",
            0,
        ),
        "EMAIL_ALREADY_EXISTS" => (
            "an account outside this organization, perhaps a closed one, has this email address already",
            "use another address (`name+suffix@…` often works), or invite that account into the organization and run again",
            0,
        ),
        "INVALID_ADDRESS" => (
            "the postal address that AWS would give the account is not valid",
            "correct the contact address of the management account, then run again",
            0,
        ),
        "INVALID_EMAIL" => ("AWS does not take this email address", "correct `email` in the file", 0),
        "CONCURRENT_ACCOUNT_MODIFICATION" => (
            "AWS had another request with the same data",
            "wait until that request is done, then run again: the account is adopted",
            4,
        ),
        "INTERNAL_FAILURE" => (
            "AWS failed, and does not say at what",
            "run again later; if it stays, ask AWS Support with the id of the request",
            1,
        ),
        "GOVCLOUD_ACCOUNT_ALREADY_EXISTS" => {
            ("AWS GovCloud (US) has an account with this email address already", "use another email address", 0)
        }
        "MISSING_BUSINESS_VALIDATION" => (
            "the management account has not received business licence validation",
            "complete the business validation of the management account, then run again",
            0,
        ),
        "FAILED_BUSINESS_VALIDATION" => (
            "the business licence validation of the management account failed",
            "repeat the business validation of the management account, then run again",
            0,
        ),
        "PENDING_BUSINESS_VALIDATION" => (
            "the business licence validation of the management account is still under way",
            "wait for its end, then run again",
            0,
        ),
        "UNKNOWN_BUSINESS_VALIDATION" => {
            ("the business licence validation of the management account has an unknown problem", "ask AWS Support", 0)
        }
        "INVALID_IDENTITY_FOR_BUSINESS_VALIDATION" | "IDENTITY_INVALID_BUSINESS_VALIDATION" => (
            "the management account has no valid identity for business licence validation",
            "correct the identity of the management account, then run again",
            0,
        ),
        "MISSING_PAYMENT_INSTRUMENT" => (
            "the management account has no payment method",
            "add a payment method to the management account, then run again",
            0,
        ),
        "INVALID_PAYMENT_INSTRUMENT" => (
            "the payment method of the management account is not valid",
            "correct the payment method of the management account, then run again",
            0,
        ),
        "UPDATE_EXISTING_RESOURCE_POLICY_WITH_TAGS_NOT_SUPPORTED" => (
            "AWS cannot set tags where a resource policy of the organization exists already",
            "leave `tags` out of the file until the account exists; then put them in and run again",
            0,
        ),
        _ => {
            return Remedy {
                meaning: format!("AWS says {reason}"),
                next: "look the reason up in the AWS Organizations API reference (CreateAccountStatus), or ask AWS Support",
                again: 0,
            };
        }
    };
    Remedy { meaning: meaning.to_owned(), next, again }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_its_own_words_and_unknown_ones_are_said_as_they_are() {
        let reasons = [
            "ACCOUNT_LIMIT_EXCEEDED",
            "EMAIL_ALREADY_EXISTS",
            "INVALID_ADDRESS",
            "INVALID_EMAIL",
            "CONCURRENT_ACCOUNT_MODIFICATION",
            "INTERNAL_FAILURE",
            "GOVCLOUD_ACCOUNT_ALREADY_EXISTS",
            "MISSING_BUSINESS_VALIDATION",
            "FAILED_BUSINESS_VALIDATION",
            "PENDING_BUSINESS_VALIDATION",
            "UNKNOWN_BUSINESS_VALIDATION",
            "INVALID_IDENTITY_FOR_BUSINESS_VALIDATION",
            "MISSING_PAYMENT_INSTRUMENT",
            "INVALID_PAYMENT_INSTRUMENT",
            "UPDATE_EXISTING_RESOURCE_POLICY_WITH_TAGS_NOT_SUPPORTED",
        ];
        let meanings: BTreeSet<String> = reasons.iter().map(|reason| remedy(reason).meaning).collect();
        assert_eq!(meanings.len(), reasons.len());
        assert!(meanings.iter().all(|meaning| !meaning.starts_with("AWS says")));
        assert_eq!(remedy("SOMETHING_NEW").meaning, "AWS says SOMETHING_NEW");
        let again: Vec<_> = reasons.into_iter().filter(|reason| remedy(reason).again > 0).collect();
        assert_eq!(again, ["CONCURRENT_ACCOUNT_MODIFICATION", "INTERNAL_FAILURE"]);
    }
}
