//! The versions of one object in a bucket.

use std::cmp::Reverse;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::list_object_versions::{ListObjectVersionsError, ListObjectVersionsOutput};
use aws_sdk_s3::types::{DeleteMarkerEntry, ObjectVersion as Listed};

use super::ObjectVersion;
use super::s3::timestamp;

/// The id of what was written while the bucket kept no versions.
const UNVERSIONED: &str = "null";

/// All versions of exactly `key`, newest first.
///
/// Versions and delete markers come in two lists; where one of each was written in the same second, S3 does not say which
/// was first, and the marker is named first.
pub(super) async fn list(
    client: &Client,
    bucket: &str,
    key: &str,
) -> Result<Vec<ObjectVersion>, SdkError<ListObjectVersionsError, HttpResponse>> {
    let (mut found, mut next) = (Vec::new(), (None, None));
    loop {
        let request = client.list_object_versions().bucket(bucket).prefix(key);
        let page = request.set_key_marker(next.0).set_version_id_marker(next.1).send().await?;
        let more = page.is_truncated == Some(true);
        next = (page.next_key_marker.clone(), page.next_version_id_marker.clone());
        found.extend(of(key, page));
        // Keys come in order, and the key itself is the first of all that begin with it: past it, nothing is of interest.
        if !more || next.0.as_deref() != Some(key) {
            break;
        }
    }
    Ok(ordered(found))
}

/// What a page has of this key: the delete markers, then the versions.
fn of(key: &str, page: ListObjectVersionsOutput) -> Vec<ObjectVersion> {
    let markers = page.delete_markers.unwrap_or_default().into_iter();
    let versions = page.versions.unwrap_or_default().into_iter();
    let markers = markers.filter(|marker| marker.key.as_deref() == Some(key)).map(marker);
    markers.chain(versions.filter(|version| version.key.as_deref() == Some(key)).map(version)).collect()
}

fn marker(marker: DeleteMarkerEntry) -> ObjectVersion {
    ObjectVersion {
        id: marker.version_id.unwrap_or_else(|| UNVERSIONED.to_owned()),
        modified: marker.last_modified.map(timestamp).unwrap_or_default(),
        size: 0,
        etag: String::new(),
        latest: marker.is_latest == Some(true),
        deleted: true,
    }
}

fn version(version: Listed) -> ObjectVersion {
    ObjectVersion {
        id: version.version_id.unwrap_or_else(|| UNVERSIONED.to_owned()),
        modified: version.last_modified.map(timestamp).unwrap_or_default(),
        size: version.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        etag: version.e_tag.unwrap_or_default(),
        latest: version.is_latest == Some(true),
        deleted: false,
    }
}

/// Newest first. The sort is stable: versions of one second keep the order in which S3 lists them.
fn ordered(mut versions: Vec<ObjectVersion>) -> Vec<ObjectVersion> {
    versions.sort_by_key(|version| Reverse((version.latest, version.modified)));
    if matches!(versions.as_slice(), [only] if only.id == UNVERSIONED && !only.deleted) {
        versions.clear();
    }
    versions
}

/// Whether a request for one version says that there is none: it never was, its id has no form of an id, or it is a delete
/// marker (405).
pub(super) fn is_none<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|response| response.status().as_u16() == 405)
        || matches!(error.code(), Some("NoSuchVersion" | "InvalidArgument" | "InvalidVersion" | "MethodNotAllowed"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::DateTime;

    use super::*;

    fn at(id: &str, second: i64, latest: bool) -> Listed {
        let modified = DateTime::from_secs(second);
        Listed::builder().key("k").version_id(id).size(3).last_modified(modified).is_latest(latest).build()
    }

    #[test]
    fn versions_and_markers_of_one_key_become_one_list() {
        let other = Listed::builder().key("k.tflock").version_id("x").build();
        let marker = DeleteMarkerEntry::builder().key("k").version_id("gone").last_modified(DateTime::from_secs(2));
        let page = ListObjectVersionsOutput::builder()
            .versions(at("c", 3, true))
            .versions(at("b", 3, false))
            .versions(at("a", 1, false))
            .versions(other)
            .delete_markers(marker.build())
            .build();
        let versions = ordered(of("k", page));
        let ids: Vec<&str> = versions.iter().map(|version| version.id.as_str()).collect();
        assert_eq!(ids, ["c", "b", "gone", "a"]);
        assert!(versions[2].deleted && versions[2].etag.is_empty() && !versions[1].deleted);
    }

    #[test]
    fn an_object_of_a_bucket_without_versions_has_no_history() {
        let page = ListObjectVersionsOutput::builder().versions(at("null", 1, true)).build();
        assert!(ordered(of("k", page)).is_empty());
        let page = ListObjectVersionsOutput::builder().versions(at("b", 2, true)).versions(at("null", 1, false));
        assert_eq!(ordered(of("k", page.build())).len(), 2);
    }
}
