//! A deployment, a snapshot and a kept plan for the tests of other modules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    AccountId, AccountName, Action, BackendKey, ChangeCounts, Deployment, Identity, Manifest, PartialBackend,
    PlanRecord, Project, Region, RunId, Secret, SourceKind, StateAddress,
};

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
        tags: BTreeMap::new(),
        services: vec!["s3".to_owned()],
        resources: "S3: logs".to_owned(),
        root_module: ".".into(),
        var_files: Vec::new(),
        references: Vec::new(),
        backend: PartialBackend::default(),
        workspace: None,
        labels: BTreeMap::new(),
        role_arn: None,
        variables: serde_json::Map::new(),
        supplied: BTreeMap::new(),
        depends_on: Vec::new(),
        inputs: Vec::new(),
        deliver: Vec::new(),
        recipe: Arc::default(),
    }
}

/// A snapshot's manifest, without files.
pub(crate) fn manifest(project: &str) -> Manifest {
    let deployment = deployment(project);
    Manifest {
        schema_version: Manifest::SCHEMA,
        key: deployment.state.key.clone(),
        working_dir: "fleet".into(),
        root: "fleet/tf".into(),
        var_files: vec![format!("fleet/{}", deployment.file).into()],
        environment: BTreeMap::from([("TF_VAR_password".to_owned(), Secret::new("hunter2".to_owned()))]),
        product: "terraform".to_owned(),
        terraform_version: "1.11.4".to_owned(),
        providers: BTreeMap::from([("registry.terraform.io/hashicorp/aws".to_owned(), "3.39.0".to_owned())]),
        backend: vec!["-backend-config=bucket=states".to_owned()],
        lock_table: None,
        locks_with_file: true,
        deployment,
        files: Vec::new(),
    }
}

/// The record of a kept plan that changes something, and names nothing of it.
pub(crate) fn plan_record(project: &str) -> PlanRecord {
    PlanRecord {
        schema_version: PlanRecord::SCHEMA,
        run: RunId::new(),
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
        identity: Identity::default(),
        commit: None,
        tfleet_version: "1.0.0".to_owned(),
        deployment: deployment(project),
        purpose: Action::Apply,
        state: None,
        has_changes: true,
        changes: ChangeCounts::default(),
        resources: Vec::new(),
        findings: Vec::new(),
        plan: None,
        inputs: "0".repeat(64),
        workspace: "0".repeat(64),
        bound_to: None,
    }
}
