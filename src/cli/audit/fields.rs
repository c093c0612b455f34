//! The fields of audit records, each with who has filled it.

/// Who has filled a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// tfleet, with names, keys, times and numbers of its own: there is nothing to hide in it.
    Tfleet,
    /// What Terraform, AWS, people and files have said stands in it.
    Others,
}

/// Every field that is shown in its own way, or that people need not see: the journal says what the steps say.
const FIELDS: [(&str, By); 42] = [
    ("schema_version", By::Tfleet),
    ("time", By::Tfleet),
    ("began", By::Tfleet),
    ("run_id", By::Tfleet),
    ("recovered_by_run", By::Tfleet),
    ("action", By::Tfleet),
    ("mode", By::Tfleet),
    ("success", By::Tfleet),
    ("outcome", By::Tfleet),
    ("changes", By::Tfleet),
    ("has_changes", By::Tfleet),
    ("bucket", By::Tfleet),
    ("backend_key", By::Tfleet),
    ("services", By::Tfleet),
    ("backup_key", By::Tfleet),
    ("recovered_key", By::Tfleet),
    ("rollback_key", By::Tfleet),
    ("rolls_back", By::Tfleet),
    ("output_key", By::Tfleet),
    ("tfleet_version", By::Tfleet),
    ("terraform_product", By::Tfleet),
    ("terraform_version", By::Tfleet),
    ("duration_seconds", By::Tfleet),
    ("steps", By::Tfleet),
    ("caller", By::Others),
    ("who", By::Others),
    ("local_user", By::Others),
    ("identity", By::Others),
    ("deployment", By::Others),
    ("error", By::Others),
    ("touched", By::Others),
    ("findings", By::Others),
    ("deliveries", By::Others),
    ("recovers", By::Others),
    ("done", By::Others),
    ("output", By::Others),
    ("journal", By::Others),
    ("found", By::Others),
    ("to", By::Others),
    ("plan", By::Others),
    ("decision", By::Others),
    ("comment", By::Others),
];

fn filled(name: &str) -> Option<By> {
    FIELDS.iter().find(|(field, _)| *field == name).map(|(_, by)| *by)
}

/// Whether tfleet has filled it itself. What is not known has to be hidden.
pub(super) fn is_own(name: &str) -> bool {
    filled(name) == Some(By::Tfleet)
}

/// Whether it has a place of its own where a record is shown.
pub(super) fn is_known(name: &str) -> bool {
    filled(name).is_some()
}
