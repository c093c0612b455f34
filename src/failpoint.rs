//! Points at which a test makes tfleet fail or die. A released binary has none: without the feature `failpoints` nothing
//! here does anything.
//!
//! `TFLEET_FAILPOINTS` is a list of `point=action`, separated by commas. A point is named for a step and a moment
//! (`backup.before`, `backup.after`, `apply.undo`); `point@text` counts only where the deployment's name has the text. An
//! action is `error` or `kill` (SIGKILL to tfleet itself). With `TFLEET_UNDO_TWICE` every undo is done twice.

/// What fails at a point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the failpoint {0} was reached")]
pub struct Injected(pub String);

/// Fails, dies or does nothing, as the environment says.
#[cfg(feature = "failpoints")]
pub fn at(point: &str, deployment: &str) -> Result<(), Injected> {
    let Ok(list) = std::env::var("TFLEET_FAILPOINTS") else { return Ok(()) };
    match action(&list, point, deployment) {
        Some("error") => Err(Injected(point.to_owned())),
        Some("kill") => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // The signal is on its way.
            loop {
                std::thread::park();
            }
        }
        _ => Ok(()),
    }
}

/// Does nothing.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::missing_errors_doc, reason = "it can fail with the feature")]
pub const fn at(_point: &str, _deployment: &str) -> Result<(), Injected> {
    Ok(())
}

/// How often each undo is done.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn undo_rounds() -> usize {
    if std::env::var_os("TFLEET_UNDO_TWICE").is_some() { 2 } else { 1 }
}

/// How often each undo is done.
#[cfg(not(feature = "failpoints"))]
#[must_use]
pub const fn undo_rounds() -> usize {
    1
}

#[cfg(feature = "failpoints")]
fn action<'l>(list: &'l str, point: &str, deployment: &str) -> Option<&'l str> {
    list.split(',').find_map(|item| {
        let (name, action) = item.trim().split_once('=')?;
        let (name, wanted) = name.split_once('@').unwrap_or((name, ""));
        (name == point && deployment.contains(wanted)).then_some(action)
    })
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::*;

    #[test]
    fn points_are_named_for_a_moment_and_perhaps_a_deployment() {
        let list = "backup.before=error, apply.after@s3/b=kill";
        assert_eq!(action(list, "backup.before", "s3/a"), Some("error"));
        assert_eq!(action(list, "apply.after", "s3/a"), None);
        assert_eq!(action(list, "apply.after", "s3/b/c"), Some("kill"));
        assert_eq!(action("", "x", "y"), None);
    }
}
