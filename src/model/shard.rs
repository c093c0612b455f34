//! A part of a selection that one machine of several runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::IdError;

/// The K-th of N parts, written `K/N`; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// Which part, from 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// How many parts there are.
    #[must_use]
    pub const fn of(self) -> u32 {
        self.of
    }
}

impl FromStr for Shard {
    type Err = IdError;

    fn from_str(value: &str) -> Result<Self, IdError> {
        let wrong = || IdError { value: value.to_owned(), expected: "a shard (K/N with K from 1 to N, such as 1/3)" };
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        let (number, of) = value.split_once('/').ok_or_else(wrong)?;
        let (number, of) = digits(number).zip(digits(of)).ok_or_else(wrong)?;
        if (1..=of).contains(&number) { Ok(Self { number, of }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_that_there_are_are_shards() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!((shard.number(), shard.of(), shard.to_string()), (2, 3, "2/3".to_owned()));
        assert!("1/1".parse::<Shard>().is_ok());
        for bad in ["", "/", "1", "0/3", "4/3", "0/0", "1/0", "-1/3", "+1/3", "1/3/5", " 1/3", "a/b", "1/99999999999"] {
            let error = bad.parse::<Shard>().unwrap_err();
            assert!(error.to_string().contains("such as 1/3"), "{bad}: {error}");
        }
    }
}
