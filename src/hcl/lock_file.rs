//! The provider lock file, `.terraform.lock.hcl`.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::{SourceError, literal_str, parse_body};

/// What a lock file says of one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedProvider {
    /// The version.
    pub version: String,
    /// The checksums of its packages.
    pub hashes: BTreeSet<String>,
}

/// The providers of the lock file with this text, by their address: `registry.terraform.io/hashicorp/aws`.
pub fn locked_providers(path: &Utf8Path, text: &str) -> Result<BTreeMap<String, LockedProvider>, SourceError> {
    let body = parse_body(path, text)?;
    let providers = body.get_blocks("provider").filter_map(|block| {
        let address = block.labels.first()?.as_str().to_owned();
        let version = block.body.get_attribute("version").and_then(|a| literal_str(&a.value)).unwrap_or_default();
        let hashes = block
            .body
            .get_attribute("hashes")
            .and_then(|a| a.value.as_array())
            .map(|array| array.iter().filter_map(literal_str).map(str::to_owned).collect());
        Some((address, LockedProvider { version: version.to_owned(), hashes: hashes.unwrap_or_default() }))
    });
    Ok(providers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_checksums_are_read() {
        let text = "# comment\nprovider \"registry.terraform.io/hashicorp/aws\" {\n  version = \"3.39.0\"\n  constraints \
                    = \"~> 3.0\"\n  hashes = [\n    \"h1:a\",\n    \"zh:b\",\n  ]\n}\n";
        let locked = locked_providers(Utf8Path::new("x"), text).unwrap();
        let aws = &locked["registry.terraform.io/hashicorp/aws"];
        assert_eq!((aws.version.as_str(), aws.hashes.len(), locked.len()), ("3.39.0", 2, 1));
        assert!(locked_providers(Utf8Path::new("x"), "provider \"").is_err());
    }
}
