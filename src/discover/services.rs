//! Which AWS services a tfvars file describes.

use std::collections::BTreeMap;

use hcl_edit::expr::Expression;

use crate::hcl::{literal_str, object_key};

/// The built-in table. Only names that can mean nothing else: a list of subnet ids is no service, and each key added
/// here moves the states of fleets that use it for something else.
const BUILT_IN: [(&str, &str); 49] = [
    ("acm_certificates", "acm"),
    ("alb_load_balancers", "elb"),
    ("api_gateways", "apigateway"),
    ("athena_workgroups", "athena"),
    ("backup_plans", "backup"),
    ("backup_vaults", "backup"),
    ("cloudfront_distributions", "cloudfront"),
    ("cloudtrail_trails", "cloudtrail"),
    ("cloudwatch_alarms", "cloudwatch"),
    ("cloudwatch_dashboards", "cloudwatch"),
    ("cloudwatch_log_groups", "cloudwatch"),
    ("codebuild_projects", "codebuild"),
    ("codepipelines", "codepipeline"),
    ("cognito_user_pools", "cognito"),
    ("dynamodb_tables", "dynamodb"),
    ("ec2_instances", "ec2"),
    ("ecr_repositories", "ecr"),
    ("ecs_clusters", "ecs"),
    ("ecs_services", "ecs"),
    ("efs_file_systems", "efs"),
    ("eks_clusters", "eks"),
    ("elasticache_clusters", "elasticache"),
    ("eventbridge_rules", "eventbridge"),
    ("glue_jobs", "glue"),
    ("guardduty_detectors", "guardduty"),
    ("iam_groups", "iam"),
    ("iam_policies", "iam"),
    ("iam_roles", "iam"),
    ("iam_users", "iam"),
    ("kinesis_streams", "kinesis"),
    ("kms_keys", "kms"),
    ("lambda_functions", "lambda"),
    ("msk_clusters", "msk"),
    ("opensearch_domains", "opensearch"),
    ("rds_clusters", "rds"),
    ("rds_instances", "rds"),
    ("redshift_clusters", "redshift"),
    ("route53_records", "route53"),
    ("route53_zones", "route53"),
    ("s3_buckets", "s3"),
    ("secretsmanager_secrets", "secretsmanager"),
    ("ses_identities", "ses"),
    ("sns_topics", "sns"),
    ("sqs_queues", "sqs"),
    ("ssm_parameters", "ssm"),
    ("step_functions", "stepfunctions"),
    ("transit_gateways", "transitgateway"),
    ("vpcs", "vpc"),
    ("wafv2_web_acls", "wafv2"),
];

// The most names that the summary of one file lists, and its most bytes.
const MOST_NAMES: usize = 8;
const LONGEST_SUMMARY: usize = 200;

/// Which top-level attribute of a tfvars file stands for which service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTable(BTreeMap<String, String>);

impl Default for ServiceTable {
    fn default() -> Self {
        Self(BUILT_IN.iter().map(|(key, service)| ((*key).to_owned(), (*service).to_owned())).collect())
    }
}

impl ServiceTable {
    /// The built-in table with additions, tfvars key to service; an addition replaces a built-in entry.
    ///
    /// A service that may not stand in a backend key is found when a key is made of it.
    #[must_use]
    pub fn with(additions: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut table = Self::default();
        table.0.extend(additions);
        table
    }

    /// The service that an attribute of this name stands for.
    #[must_use]
    pub fn service(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every service of the table; some more than once.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// The services that variables describe, sorted, and what they create, in words.
    ///
    /// An empty map counts: its resources may have been removed just now. `null` does not: to Terraform it is the
    /// same as not being there.
    pub(super) fn read<'v>(&self, variables: impl Iterator<Item = (&'v str, &'v Expression)>) -> (Vec<String>, String) {
        let found: Vec<(&str, &Expression)> = variables
            .filter(|(_, value)| !value.is_null())
            .filter_map(|(name, value)| Some((self.service(name)?, value)))
            .collect();
        let mut services: Vec<String> = found.iter().map(|(service, _)| (*service).to_owned()).collect();
        services.sort();
        services.dedup();
        (services, summary(&found))
    }
}

/// `S3: bucket-a, KMS: key-b, +3 more`.
fn summary(found: &[(&str, &Expression)]) -> String {
    let mut text = String::new();
    let (mut shown, mut total) = (0, 0);
    for (service, value) in found {
        let label = label(service);
        for name in names(value) {
            total += 1;
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            let separator = if text.is_empty() { "" } else { ", " };
            if shown == MOST_NAMES || text.len() + separator.len() + label.len() + name.len() > LONGEST_SUMMARY {
                continue;
            }
            text.extend([separator, &label, ": ", &name]);
            shown += 1;
        }
    }
    if total > shown { format!("{text}, +{} more", total - shown) } else { text }
}

/// Short names are abbreviations.
fn label(service: &str) -> String {
    if service.len() <= 3 {
        return service.to_uppercase();
    }
    let mut chars = service.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The names of the things in a map or list of them: what they say of themselves, else the key.
fn names(value: &Expression) -> Vec<&str> {
    match value {
        Expression::Object(object) => {
            object.iter().filter_map(|(key, value)| own_name(value.expr()).or_else(|| object_key(key))).collect()
        }
        Expression::Array(array) => {
            array.iter().filter_map(|item| own_name(item).or_else(|| literal_str(item))).collect()
        }
        Expression::Parenthesis(inner) => names(inner.inner()),
        _ => Vec::new(),
    }
}

fn own_name(value: &Expression) -> Option<&str> {
    let object = value.as_object()?;
    let named = |name: &str| {
        object.iter().find(|(key, _)| object_key(key) == Some(name)).and_then(|(_, value)| literal_str(value.expr()))
    };
    named("bucket_name").or_else(|| named("name")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, String) {
        let body = hcl_edit::parser::parse_body(text).unwrap();
        ServiceTable::default().read(body.attributes().map(|one| (one.key.as_str(), &one.value)))
    }

    #[test]
    fn services_come_from_attributes_and_never_from_text() {
        let (services, resources) = read(
            "s3_buckets = {\n  logs = { bucket_name = \"acme-logs\" }\n  plain = {}\n}\nkms_keys = {}\n\
             /* lambda_functions = {} */\n# sqs_queues = {}\nnote = \"sns_topics = {}\"\niam_users = null\n",
        );
        assert_eq!(services, ["kms", "s3"]);
        assert_eq!(resources, "S3: acme-logs, S3: plain");
    }

    #[test]
    fn the_summary_is_bounded() {
        let many = (0..50).map(|n| format!("  b{n} = {{}}")).collect::<Vec<_>>().join("\n");
        let (_, resources) = read(&format!("lambda_functions = {{\n{many}\n}}\n"));
        assert!(resources.starts_with("Lambda: b0, Lambda: b1, "), "{resources}");
        assert!(resources.ends_with(", +42 more"), "{resources}");
    }

    #[test]
    fn additions_replace_what_is_built_in() {
        let table =
            ServiceTable::with([("buckets".to_owned(), "s3".to_owned()), ("kms_keys".to_owned(), "crypt".to_owned())]);
        assert_eq!((table.service("buckets"), table.service("kms_keys")), (Some("s3"), Some("crypt")));
        assert_eq!(table.service("subnets"), None);
    }
}
