//! JSON objects that say of which format they are.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why an object could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is none of its kind.
    #[error("{place} cannot be read")]
    Unreadable {
        /// The object.
        place: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It is of a format that this tfleet does not know.
    #[error("{place} has the format {schema_version}, which a newer tfleet wrote")]
    Newer {
        /// The object.
        place: String,
        /// Its format.
        schema_version: u32,
    },
}

/// The beginning of every such object.
#[derive(Deserialize)]
struct Versioned {
    schema_version: u32,
}

/// Reads the JSON of an object whose formats up to `newest` this tfleet knows.
pub(super) fn parse<T: DeserializeOwned>(place: &str, bytes: &[u8], newest: u32) -> Result<T, FormatError> {
    let unreadable = |source| FormatError::Unreadable { place: place.to_owned(), source };
    let Versioned { schema_version } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if schema_version > newest {
        return Err(FormatError::Newer { place: place.to_owned(), schema_version });
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}
