//! make: its files, and one place for its arguments.

pub use crate::model::{MAKEFILES, is_makefile};

/// Variables by which the caller's own make would speak to this one.
pub const VARIABLES: [&str; 5] = ["MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEFILES"];

/// Whether make takes this for a target, and not for an option or a variable.
#[must_use]
pub fn is_target(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./%+@".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(fits)
}

/// Makes one target.
#[must_use]
pub fn args(target: &str) -> Vec<String> {
    vec!["--no-print-directory".to_owned(), target.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_neither_an_option_nor_a_variable() {
        for good in ["all", "pipeline-provision-regional", "build/app.zip", "v1.2"] {
            assert!(is_target(good), "{good}");
        }
        for bad in ["", "-n", "--file=/etc/passwd", "A=b", "a b", "a;b", "$(x)"] {
            assert!(!is_target(bad), "{bad}");
        }
    }

    #[test]
    fn make_reads_these() {
        assert!(["Makefile", "GNUmakefile", "rules.mk"].into_iter().all(is_makefile));
        assert!(!["Makefile.old", "make.sh"].into_iter().any(is_makefile));
    }
}
