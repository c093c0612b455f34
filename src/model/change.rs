//! What a plan does with a resource.

use serde::{Deserialize, Serialize};

/// How many resources are (to be) added, changed and destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// Created, also as the second half of a replacement.
    pub add: u64,
    /// Changed in place.
    pub change: u64,
    /// Destroyed, also as the first half of a replacement.
    pub destroy: u64,
}

impl ChangeCounts {
    /// Whether there is any.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.add + self.change + self.destroy > 0
    }
}

/// What becomes of one resource, in Terraform's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Destroyed.
    Delete,
    /// Destroyed and created, in either order.
    Replace,
    /// Removed from the state, and left as it is.
    Forget,
    /// Changed in place.
    Update,
    /// Created.
    Create,
    /// Taken into the state as it is.
    Import,
    /// Renamed in the state.
    Move,
}

impl ChangeKind {
    /// All of them, what takes most away first: the order in which people want to see them.
    pub const ALL: [Self; 7] =
        [Self::Delete, Self::Replace, Self::Forget, Self::Update, Self::Create, Self::Import, Self::Move];

    /// The word of it, as JSON and rules have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::Forget => "forget",
            Self::Update => "update",
            Self::Create => "create",
            Self::Import => "import",
            Self::Move => "move",
        }
    }
}

/// One resource that a plan changes, or that was changed outside of Terraform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceChange {
    /// Its address: `module.site.aws_s3_bucket.logs["eu"]`.
    pub address: String,
    /// Its type: `aws_s3_bucket`.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// What becomes of it.
    pub action: ChangeKind,
    /// Which of its attributes differ, by name and without values; none where all of it comes or goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
}
