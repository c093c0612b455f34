//! Policy documents of IAM: what is one, and whether it has the elements that IAM takes.
//!
//! Source of the grammar: "Grammar of the IAM JSON policy language" of the IAM user guide.

use super::Sink;
use super::json::{Node, Shape};
use crate::model::{CheckRule, Severity};

/// The versions of the language.
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];
const TOP: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

/// Services whose resource policies are refused without a `Resource`. Others, such as ECR, take none.
const NEED_RESOURCE: [&str; 5] = ["s3", "kms", "sqs", "sns", "secretsmanager"];

/// What an attribute is called, but for `_file`, `_path`, `_json` or `_document`, that can hold nothing but a policy.
/// `lifecycle_policy`, `redrive_policy` and the like are other documents.
const ATTRIBUTES: [&str; 20] = [
    "policy",
    "access_policy",
    "assume_role_policy",
    "bucket_policy",
    "iam_policy",
    "iam_role_policy",
    "inline_policy",
    "key_policy",
    "kms_key_policy",
    "kms_policy",
    "queue_policy",
    "repository_policy",
    "resource_policy",
    "role_policy",
    "s3_bucket_policy",
    "s3_policy",
    "sns_policy",
    "sqs_policy",
    "topic_policy",
    "trust_policy",
];

/// What a policy is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A user, group or role, or an organization's unit: whose rights it says.
    Identity,
    /// A resource, as a bucket or a key: who may do what with it.
    Resource,
    /// A role: who may take it.
    Trust,
}

/// A policy, as far as what it names is looked at.
pub(super) struct Policy<'n> {
    pub kind: Kind,
    pub statements: Vec<Statement<'n>>,
}

/// One statement.
pub(super) struct Statement<'n> {
    pub allows: bool,
    pub actions: Vec<&'n str>,
    /// Each with the byte at which it stands.
    pub resources: Vec<(&'n str, usize)>,
}

/// Whether an attribute of this name can hold nothing but a policy.
pub(super) fn says_policy(attribute: &str) -> bool {
    let ends = ["_file", "_path", "_json", "_document"];
    let bare = ends.iter().find_map(|end| attribute.strip_suffix(end)).unwrap_or(attribute);
    ATTRIBUTES.contains(&bare)
}

/// Whether a document is meant as a policy, wherever it is named.
pub(super) fn has_shape(document: &Node) -> bool {
    let versioned = document.get("Version").and_then(Node::text).is_some_and(|text| VERSIONS.contains(&text));
    document.get("Statement").is_some() || versioned
}

/// Checks the elements of a policy, and gives what it names.
pub(super) fn check<'n>(document: &'n Node, attribute: &str, sink: &mut Sink<'_>) -> Option<Policy<'n>> {
    let Some(members) = document.members() else {
        wrong(sink, document.at, "it is no policy: a JSON object with `Version` and `Statement` belongs here");
        return None;
    };
    known_names(members, &TOP, "a policy", sink);
    match document.get("Version") {
        Some(version) if version.text().is_some_and(|text| VERSIONS.contains(&text)) => {}
        Some(version) => {
            wrong(sink, version.at, "`Version` is that of the language: \"2012-10-17\", and nothing newer");
        }
        None => {
            let message = "it has no `Version`: IAM reads it as of 2008, and takes `${aws:username}` as plain text";
            sink.add(CheckRule::IamPolicyShape, Severity::Warning, document.at, message);
        }
    }
    let nodes: Vec<&Node> = match document.get("Statement") {
        Some(one @ Node { shape: Shape::Map(_), .. }) => vec![one],
        Some(Node { shape: Shape::List(items), .. }) if !items.is_empty() => items.iter().collect(),
        Some(other) => {
            wrong(sink, other.at, "`Statement` is one object, or a list of at least one");
            return None;
        }
        None => {
            wrong(sink, document.at, "it has no `Statement`");
            return None;
        }
    };
    let kind = kind_of(&nodes, attribute);
    let statements = nodes.into_iter().filter_map(|node| statement(node, kind, sink)).collect();
    Some(Policy { kind, statements })
}

fn kind_of(statements: &[&Node], attribute: &str) -> Kind {
    let any = |name: &str| statements.iter().any(|statement| statement.get(name).is_some());
    let principal = any("Principal") || any("NotPrincipal");
    let takes_role = |statement: &&Node| {
        let actions = statement.get("Action").and_then(Node::texts).unwrap_or_default();
        !actions.is_empty() && actions.iter().all(|(action, _)| action.to_ascii_lowercase().starts_with("sts:"))
    };
    let named = attribute.contains("assume_role") || attribute.contains("trust");
    if named || principal && !any("Resource") && statements.iter().all(takes_role) {
        Kind::Trust
    } else if principal {
        Kind::Resource
    } else {
        Kind::Identity
    }
}

fn statement<'n>(node: &'n Node, kind: Kind, sink: &mut Sink<'_>) -> Option<Statement<'n>> {
    let Some(members) = node.members() else {
        wrong(sink, node.at, "a statement is a JSON object");
        return None;
    };
    known_names(members, &STATEMENT, "a statement", sink);
    let effect = node.get("Effect");
    let allows = effect.and_then(Node::text) == Some("Allow");
    if !allows && effect.and_then(Node::text) != Some("Deny") {
        wrong(sink, effect.unwrap_or(node).at, "`Effect` is \"Allow\" or \"Deny\"");
    }
    let actions = one_of(node, ["Action", "NotAction"], Presence::Needed, sink);
    let actions: Vec<_> = actions.into_iter().flatten().collect();
    for (action, at) in actions.iter().filter(|(action, _)| *action != "*" && !action.contains(':')) {
        wrong(sink, *at, &format!("`{action}` is no action: `service:Action` or `*`"));
    }
    let services: Vec<&str> = actions.iter().filter_map(|(action, _)| Some(action.split_once(':')?.0)).collect();
    let presence = match kind {
        Kind::Identity => Presence::Needed,
        Kind::Resource if services.iter().any(|one| NEED_RESOURCE.contains(one)) => Presence::Needed,
        Kind::Resource => Presence::Possible,
        Kind::Trust => Presence::Refused,
    };
    let named = one_of(node, ["Resource", "NotResource"], presence, sink).unwrap_or_default();
    for (resource, at) in named.iter().filter(|(text, _)| !(text.starts_with("arn:") || text.contains(['*', '$']))) {
        wrong(sink, *at, &format!("`{resource}` is no resource: an ARN or `*`"));
    }
    principals(node, kind, sink);
    if node.get("Condition").is_some_and(|one| one.members().is_none()) {
        wrong(sink, node.get("Condition").unwrap_or(node).at, "`Condition` is a JSON object");
    }
    // What a `NotResource` names is what the statement is not about.
    let resources = node.get("Resource").map_or_else(Vec::new, |_| named);
    let actions: Vec<&str> =
        node.get("Action").map_or_else(Vec::new, |_| actions.iter().map(|(one, _)| *one).collect());
    let everything = |text: &str| text == "*" || text == "*:*";
    let anywhere = kind == Kind::Resource || resources.iter().any(|(one, _)| everything(one));
    if allows && anywhere && actions.iter().any(|one| everything(one)) {
        let message = "it allows every action on every resource";
        sink.add(CheckRule::IamPolicyWildcard, Severity::Warning, node.at, message);
    }
    Some(Statement { allows, actions, resources })
}

/// Whether one of two elements has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Needed,
    Possible,
    Refused,
}

/// The texts of the one of two elements that is there.
fn one_of<'n>(
    node: &'n Node,
    [plain, not]: [&str; 2],
    presence: Presence,
    sink: &mut Sink<'_>,
) -> Option<Vec<(&'n str, usize)>> {
    let found = match (node.get(plain), node.get(not)) {
        (Some(_), Some(second)) => {
            wrong(sink, second.at, &format!("a statement has either `{plain}` or `{not}`"));
            return None;
        }
        (None, None) => {
            if presence == Presence::Needed {
                wrong(sink, node.at, &format!("a statement needs `{plain}` or `{not}`"));
            }
            return None;
        }
        (Some(found), None) | (None, Some(found)) => found,
    };
    if presence == Presence::Refused {
        wrong(sink, found.at, &format!("the policy that says who may take a role has no `{plain}`"));
        return None;
    }
    let texts = found.texts().filter(|texts| !texts.is_empty());
    if texts.is_none() {
        wrong(sink, found.at, &format!("`{plain}` and `{not}` are a text, or a list of at least one"));
    }
    texts
}

fn principals(node: &Node, kind: Kind, sink: &mut Sink<'_>) {
    match (node.get("Principal"), node.get("NotPrincipal")) {
        (Some(_), Some(second)) => wrong(sink, second.at, "a statement has either `Principal` or `NotPrincipal`"),
        (None, None) if kind != Kind::Identity => {
            wrong(sink, node.at, "a statement of the policy of a resource or a role needs a `Principal`");
        }
        (Some(one), None) | (None, Some(one)) => {
            let named =
                one.members().is_some_and(|all| !all.is_empty() && all.iter().all(|(_, v)| v.texts().is_some()));
            if !(one.text() == Some("*") || named) {
                let message = "a principal is \"*\", or an object such as {\"AWS\": \"arn:…\"} or {\"Service\": \"…\"}";
                wrong(sink, one.at, message);
            }
        }
        (None, None) => {}
    }
}

/// Names that IAM does not take, or that come twice, of which most readers take the last.
fn known_names(members: &[(String, Node)], known: &[&str], what: &str, sink: &mut Sink<'_>) {
    for (at, (name, value)) in members.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let same = known.iter().find(|one| one.eq_ignore_ascii_case(name));
            let hint = same.map_or_else(|| format!("it has {}", known.join(", ")), |one| format!("it is `{one}`"));
            wrong(sink, value.at, &format!("{what} has no `{name}`; {hint}"));
        } else if members[..at].iter().any(|(before, _)| before == name) {
            wrong(sink, value.at, &format!("`{name}` comes twice in {what}"));
        }
    }
}

fn wrong(sink: &mut Sink<'_>, at: usize, message: &str) {
    sink.add(CheckRule::IamPolicyShape, Severity::Error, at, message);
}
