//! What tells a comment of ours from all others, and from those of other jobs.

use std::fmt;
use std::str::FromStr;

/// The key of a comment: letters, digits, `.`, `_`, `/`, `-` and blanks. It stands in a comment of HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker(String);

/// The longest key, in characters.
const LONGEST: usize = 100;

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be 1 to {LONGEST} letters (a-z), digits, blanks, `.`, `_`, `/` and `-`, without two `-` in a row")]
pub struct MarkerError;

impl Marker {
    /// The key that comes nearest to this text: for names that were not given as a key.
    #[must_use]
    pub fn like(text: &str) -> Self {
        let mut key = String::new();
        for c in text.trim().chars().take(LONGEST) {
            let c = if allowed(c) { c } else { '-' };
            if !(c == '-' && key.ends_with('-')) {
                key.push(c);
            }
        }
        let key = key.trim_matches([' ', '-']);
        Self(if key.is_empty() { "run".to_owned() } else { key.to_owned() })
    }

    /// The line with which the comment begins. Nobody sees it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("<!-- tfleet:{} -->", self.0)
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._/- ".contains(c)
}

impl FromStr for Marker {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        let good = !text.is_empty() && text.len() <= LONGEST && text.chars().all(allowed) && !text.contains("--");
        let good = good && text.trim_matches([' ', '-']) == text;
        if good { Ok(Self(text.to_owned())) } else { Err(MarkerError) }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_that_would_end_its_comment_is_none() {
        for bad in ["", " a", "a--b", "-a", "a>", "ä", "a\nb", &"x".repeat(101)] {
            assert_eq!(bad.parse::<Marker>(), Err(MarkerError), "{bad:?}");
        }
        assert_eq!("plan/prod 2".parse::<Marker>().unwrap().line(), "<!-- tfleet:plan/prod 2 -->");
        assert_eq!(Marker::like("Deploy: prod --> x/plan").to_string(), "Deploy- prod - x/plan");
        assert_eq!(Marker::like("-->").to_string(), "run");
    }

    proptest! {
        #[test]
        fn what_is_like_a_text_is_a_key(text in "\\PC{0,120}") {
            let key = Marker::like(&text).to_string();
            prop_assert_eq!(key.parse::<Marker>().map(|marker| marker.to_string()), Ok(key));
        }
    }
}
