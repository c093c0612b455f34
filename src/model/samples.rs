//! A deployment for the tests of other modules.

use super::{AccountId, AccountName, BackendKey, Deployment, Project, Region, SourceKind, StateAddress};

/// One of the account `acme-prd`.
pub(crate) fn deployment(project: &str) -> Deployment {
    let name = format!("s3/acme-prd/us-east-1/{project}");
    Deployment {
        state: StateAddress {
            bucket: Some("states".to_owned()),
            key: BackendKey::new(format!("{name}/terraform.tfstate")).unwrap(),
        },
        name,
        source: SourceKind::Tfvars,
        file: format!("Accounts/{project}/{project}.tfvars").into(),
        account_id: AccountId::new("123456789012").unwrap(),
        account_name: AccountName::new("acme-prd").unwrap(),
        region: Region::new("us-east-1").unwrap(),
        project: Project::new(project).unwrap(),
        environment: Some("prd".to_owned()),
        owner: None,
        team: None,
        tags: std::collections::BTreeMap::new(),
        services: vec!["s3".to_owned()],
        resources: "S3: logs".to_owned(),
        root_module: ".".into(),
        var_files: Vec::new(),
        references: Vec::new(),
    }
}
