//! Failures that may be over a moment later: of the network, and of a service that has too much to do.
//!
//! Only for commands that change nothing. Terraform and its providers repeat single requests themselves; what is known here
//! is what still ends a whole `init` or `plan`. docs/settings.md has the list for people.

/// Parts of messages, in small letters: Go's network errors, error codes of AWS, answers of proxies and registries.
const PARTS: [&str; 25] = [
    "connection reset by peer",
    "broken pipe",
    "unexpected eof",
    "tls handshake timeout",
    "i/o timeout",
    "client.timeout exceeded",
    "http2: client connection lost",
    "server closed idle connection",
    "temporary failure in name resolution",
    "throttling",
    "throttledexception",
    "slowdown",
    "requesttimeout",
    "requestlimitexceeded",
    "toomanyrequests",
    "too many requests",
    "bandwidthlimitexceeded",
    "statuscode: 429",
    "statuscode: 502",
    "statuscode: 503",
    "statuscode: 504",
    "502 bad gateway",
    "503 service unavailable",
    "503 slow down",
    "504 gateway timeout",
];

/// Where one of these stands beside, trying again is of no use or does harm: somebody holds the lock, perhaps the try
/// before; or it is a matter of rights.
const LASTING: [&str; 10] = [
    "error acquiring the state lock",
    "error releasing the state lock",
    "accessdenied",
    "access denied",
    "is not authorized",
    "unauthorizedoperation",
    "invalidclienttokenid",
    "signaturedoesnotmatch",
    "expiredtoken",
    "no valid credential sources",
];

/// Whether an `init` or `plan` that failed with these errors may go well if it is run again.
#[must_use]
pub fn may_pass(errors: &str) -> bool {
    // Terraform wraps its messages at the width of a terminal that is not there.
    let text = errors.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    has(&PARTS) && !has(&LASTING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_and_busy_services_say_may_pass() {
        for text in [
            "error loading state: read tcp 10.0.0.1:1->52.1.1.1:443: read: connection reset by\npeer",
            "Failed to install provider: net/http: TLS handshake timeout",
            "dial tcp 52.1.1.1:443: i/o timeout",
            "operation error STS: AssumeRole, https response error StatusCode: 400, RequestID: x, api error Throttling: Rate exceeded",
            "operation error S3: GetObject, https response error StatusCode: 503, api error SlowDown: Please reduce your request rate.",
            "api error RequestTimeout: Your socket connection to the server was not read from",
            "could not query provider registry: the request failed after 2 attempts: 502 Bad Gateway returned from x",
            "Post \"https://x\": EOF; unexpected EOF",
        ] {
            assert!(may_pass(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for text in [
            "",
            "Invalid reference: A managed resource \"x\" has not been declared",
            "Error acquiring the state lock: api error SlowDown: Please reduce your request rate.",
            "Error releasing the state lock: connection reset by peer",
            "StatusCode: 403, api error AccessDenied: Throttling is what you may not look at",
            "User: x is not authorized to perform: s3:GetObject (503 Service Unavailable)",
            "dial tcp 127.0.0.1:1: connect: connection refused",
            "S3 bucket does not exist",
        ] {
            assert!(!may_pass(text), "{text}");
        }
    }
}
