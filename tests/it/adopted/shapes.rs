//! The trees of `examples/adopt`: how their people call Terraform, and what tfleet is to find there.

use super::plain::{Call, Deployed};

/// A tree, and changes to it.
pub struct Shape {
    /// Its name in `examples/adopt` and in `docs/adopting`.
    pub name: &'static str,
    /// Its deployments, in the order of `tfleet discover`.
    pub deployments: &'static [Deployed],
    /// A change of the first deployment alone: a file, what stands in it, and what is to stand there.
    pub change: (&'static str, &'static str, &'static str),
}

impl Shape {
    /// The shape of this name.
    #[track_caller]
    pub fn of(name: &str) -> &'static Self {
        ALL.iter().find(|shape| shape.name == name).unwrap()
    }

    /// The deployment that [`Shape::change`] is about.
    pub fn first(&self) -> &'static Deployed {
        &self.deployments[0]
    }
}

const DEV: &str = "111111111111";
const PROD: &str = "333333333333";

const fn called(folder: &'static str) -> Call {
    Call { folder, backend: None, files: &[], workspace: None }
}

/// Every shape.
pub const ALL: [Shape; 6] = [ENVIRONMENTS, VARIABLES, TREE, SHARED, WORKSPACES, ACCOUNT_LIST];

const ENVIRONMENTS: Shape = Shape {
    name: "environments",
    deployments: &[
        Deployed {
            call: Call { backend: Some("backend.hcl"), ..called("envs/dev") },
            key: "shop/dev.tfstate",
            file: "envs/dev",
            fields: [DEV, "shop-dev", "us-east-1", "shop", "dev"],
        },
        Deployed {
            call: Call { backend: Some("backend.hcl"), ..called("envs/prod") },
            key: "shop/prod.tfstate",
            file: "envs/prod",
            fields: [PROD, "shop-prod", "us-east-1", "shop", "prod"],
        },
    ],
    change: ("envs/dev/terraform.tfvars", "size       = 1", "size       = 2"),
};

const VARIABLES: Shape = Shape {
    name: "variables",
    deployments: &[
        Deployed {
            call: Call {
                backend: Some("../backends/acme-dev/eu-west-1.s3.tfbackend"),
                files: &["../vars/acme-dev/eu-west-1.tfvars"],
                ..called("stack")
            },
            key: "logs/acme-dev-eu-west-1.tfstate",
            file: "vars/acme-dev/eu-west-1.tfvars",
            fields: [DEV, "acme-dev", "eu-west-1", "logs", "dev"],
        },
        Deployed {
            call: Call {
                backend: Some("../backends/acme-dev/us-east-1.s3.tfbackend"),
                files: &["../vars/acme-dev/us-east-1.tfvars"],
                ..called("stack")
            },
            key: "logs/acme-dev-us-east-1.tfstate",
            file: "vars/acme-dev/us-east-1.tfvars",
            fields: [DEV, "acme-dev", "us-east-1", "logs", "dev"],
        },
        Deployed {
            call: Call {
                backend: Some("../backends/acme-prod/us-east-1.s3.tfbackend"),
                files: &["../vars/acme-prod/us-east-1.tfvars"],
                ..called("stack")
            },
            key: "logs/acme-prod-us-east-1.tfstate",
            file: "vars/acme-prod/us-east-1.tfvars",
            fields: [PROD, "acme-prod", "us-east-1", "logs", "prod"],
        },
    ],
    change: ("vars/acme-dev/eu-west-1.tfvars", "7d", "14d"),
};

const TREE: Shape = Shape {
    name: "tree",
    deployments: &[
        Deployed {
            call: called("acme-dev/us-east-1/cluster"),
            key: "acme-dev/us-east-1/cluster/terraform.tfstate",
            file: "acme-dev/us-east-1/cluster",
            fields: [DEV, "acme-dev", "us-east-1", "cluster", "dev"],
        },
        Deployed {
            call: called("acme-dev/us-east-1/network"),
            key: "acme-dev/us-east-1/network/terraform.tfstate",
            file: "acme-dev/us-east-1/network",
            fields: [DEV, "acme-dev", "us-east-1", "network", "dev"],
        },
        Deployed {
            call: called("acme-prod/eu-west-1/network"),
            key: "acme-prod/eu-west-1/network/terraform.tfstate",
            file: "acme-prod/eu-west-1/network",
            fields: [PROD, "acme-prod", "eu-west-1", "network", "prod"],
        },
        Deployed {
            call: called("acme-prod/us-east-1/cluster"),
            key: "acme-prod/us-east-1/cluster/terraform.tfstate",
            file: "acme-prod/us-east-1/cluster",
            fields: [PROD, "acme-prod", "us-east-1", "cluster", "prod"],
        },
        Deployed {
            call: called("acme-prod/us-east-1/network"),
            key: "acme-prod/us-east-1/network/terraform.tfstate",
            file: "acme-prod/us-east-1/network",
            fields: [PROD, "acme-prod", "us-east-1", "network", "prod"],
        },
    ],
    change: ("acme-dev/us-east-1/cluster/main.tf", "input = \"acme-dev", "input = \"new in acme-dev"),
};

const SHARED: Shape = Shape {
    name: "shared",
    deployments: &[
        Deployed {
            call: Call {
                backend: Some("environments/dev.s3.tfbackend"),
                files: &["environments/common.tfvars", "environments/dev.tfvars"],
                ..called("infra")
            },
            key: "billing/dev/terraform.tfstate",
            file: "infra/environments/dev.tfvars",
            fields: [DEV, "billing-dev", "eu-central-1", "billing", "dev"],
        },
        Deployed {
            call: Call {
                backend: Some("environments/prod.s3.tfbackend"),
                files: &["environments/common.tfvars", "environments/prod.tfvars"],
                ..called("infra")
            },
            key: "billing/prod/terraform.tfstate",
            file: "infra/environments/prod.tfvars",
            fields: [PROD, "billing-prod", "eu-central-1", "billing", "prod"],
        },
    ],
    change: ("infra/environments/common.tfvars", "plan       = \"basic\"", "plan       = \"plus\""),
};

const WORKSPACES: Shape = Shape {
    name: "workspaces",
    deployments: &[
        Deployed {
            call: Call { files: &["env/dev.tfvars"], workspace: Some("search-dev"), ..called("app") },
            key: "env:/search-dev/search/terraform.tfstate",
            file: "app/env/dev.tfvars",
            fields: [DEV, "search-dev", "us-east-1", "search", "dev"],
        },
        Deployed {
            call: Call { files: &["env/prod.tfvars"], workspace: Some("search-prod"), ..called("app") },
            key: "env:/search-prod/search/terraform.tfstate",
            file: "app/env/prod.tfvars",
            fields: [PROD, "search-prod", "us-east-1", "search", "prod"],
        },
    ],
    change: ("app/env/dev.tfvars", "aws_region  = \"us-east-1\"", "aws_region  = \"us-east-2\""),
};

const ACCOUNT_LIST: Shape = Shape {
    name: "account-list",
    deployments: &[
        Deployed {
            call: called("live/dev/catalog"),
            key: "lake/dev/catalog.tfstate",
            file: "live/dev/catalog",
            fields: [DEV, "lake-dev", "eu-west-1", "catalog", "dev"],
        },
        Deployed {
            call: called("live/dev/storage"),
            key: "lake/dev/storage.tfstate",
            file: "live/dev/storage",
            fields: [DEV, "lake-dev", "eu-west-1", "storage", "dev"],
        },
        Deployed {
            call: called("live/prod/catalog"),
            key: "lake/prod/catalog.tfstate",
            file: "live/prod/catalog",
            fields: [PROD, "lake-prod", "eu-west-1", "catalog", "prod"],
        },
        Deployed {
            call: called("live/prod/storage"),
            key: "lake/prod/storage.tfstate",
            file: "live/prod/storage",
            fields: [PROD, "lake-prod", "eu-west-1", "storage", "prod"],
        },
    ],
    change: ("live/dev/catalog/main.tf", "input = \"dev in", "input = \"new dev in"),
};
