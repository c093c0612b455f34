//! How the bucket of a backend is reached, and how what lies there is kept, as the backend block and the backend files say it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backend::{BackendError, declared_backend};
use crate::hcl::{Position, RootModule, Setting};
use crate::model::{Deployment, Region, RoleArn, Secret, UNKEPT, parse_duration};

/// A role that a backend assumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendRole {
    /// The role.
    pub arn: RoleArn,
    /// What its trust policy asks for.
    pub external_id: Option<Secret<String>>,
    /// What the session is called, where the backend says it.
    pub session_name: Option<String>,
    /// How long a session lasts, where the backend says it.
    pub duration: Option<Duration>,
    /// The policy that narrows the session.
    pub policy: Option<Secret<String>>,
}

/// How states are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateEncryption {
    /// As the bucket does it where nothing is asked for.
    AsBucket,
    /// With S3's own keys.
    S3,
    /// With this KMS key.
    Kms(String),
}

/// What a backend says of its bucket; nothing of it is guessed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendAccess {
    /// The bucket's region.
    pub region: Option<Region>,
    /// The profile whose credentials the backend has.
    pub profile: Option<String>,
    /// The role that it assumes with them.
    pub role: Option<BackendRole>,
    /// Where S3 is.
    pub s3_endpoint: Option<String>,
    /// Where `DynamoDB` is.
    pub dynamodb_endpoint: Option<String>,
    /// Where STS is.
    pub sts_endpoint: Option<String>,
    /// Whose STS is asked.
    pub sts_region: Option<Region>,
    /// Whether the bucket's name stands in the path of requests.
    pub path_style: Option<bool>,
    /// Whether endpoints are those of FIPS.
    pub fips: Option<bool>,
    /// Whether endpoints have IPv6 addresses too.
    pub dual_stack: Option<bool>,
    /// The canned ACL of what is written.
    pub acl: Option<String>,
    names_bucket: bool,
    encrypt: Option<bool>,
    kms_key: Option<String>,
}

impl BackendAccess {
    /// How states are encrypted, where the settings name `key`. What the backend says comes first; where it names a bucket
    /// and says nothing of encryption, the bucket decides, as it does for plain Terraform.
    #[must_use]
    pub fn encryption(&self, key: Option<&str>) -> StateEncryption {
        match (self.encrypt, self.kms_key.as_deref().or(key)) {
            (Some(false), _) => StateEncryption::AsBucket,
            (_, Some(key)) => StateEncryption::Kms(key.to_owned()),
            (None, None) if self.names_bucket => StateEncryption::AsBucket,
            (_, None) => StateEncryption::S3,
        }
    }
}

/// What the backend of a deployment says.
pub fn backend_access(root: &RootModule, deployment: &Deployment) -> Result<BackendAccess, BackendError> {
    // What another backend says of a bucket is about another one; that it is refused is said elsewhere.
    if root.backend.as_ref().is_some_and(|block| block.kind != "s3") {
        return Ok(BackendAccess::default());
    }
    let declared = declared_backend(root, deployment);
    let said = Said { declared: &declared, root, deployment };
    let owned = |text: &str| text.to_owned();
    Ok(BackendAccess {
        region: said.region("region")?,
        profile: said.text("profile")?.map(owned),
        role: said.role()?,
        s3_endpoint: said.either("endpoints.s3", "endpoint")?.map(|(_, text)| owned(text)),
        dynamodb_endpoint: said.either("endpoints.dynamodb", "dynamodb_endpoint")?.map(|(_, text)| owned(text)),
        sts_endpoint: said.either("endpoints.sts", "sts_endpoint")?.map(|(_, text)| owned(text)),
        sts_region: said.region("sts_region")?,
        path_style: said.either("use_path_style", "force_path_style")?.map(|(_, text)| text == "true"),
        fips: said.text("use_fips_endpoint")?.map(|text| text == "true"),
        dual_stack: said.text("use_dualstack_endpoint")?.map(|text| text == "true"),
        acl: said.acl()?,
        names_bucket: said.text("bucket")?.is_some(),
        encrypt: said.text("encrypt")?.map(|text| text == "true"),
        kms_key: said.text("kms_key_id")?.map(owned),
    })
}

/// Where an argument of a deployment's backend is said.
pub(super) fn place(root: &RootModule, deployment: &Deployment, argument: &str) -> Position {
    if let Some((path, line)) = deployment.backend.places.get(argument) {
        return Position { path: path.clone(), line: *line };
    }
    let of_file = deployment.backend.settings.contains_key(argument);
    match (&root.backend, deployment.backend.files.last()) {
        (_, Some(path)) if of_file => Position { path: path.clone(), line: 1 },
        (Some(block), _) => block.place(argument),
        (None, _) => Position { path: root.dir().to_owned(), line: 1 },
    }
}

struct Said<'a> {
    declared: &'a BTreeMap<String, Setting>,
    root: &'a RootModule,
    deployment: &'a Deployment,
}

impl<'a> Said<'a> {
    /// The text of an argument. An empty one is none, as Terraform has it; what is computed cannot be known.
    fn text(&self, argument: &str) -> Result<Option<&'a str>, BackendError> {
        let secret = || self.deployment.backend.unkept.get(argument).map(|text| text.expose().as_str());
        let of_files = self.deployment.backend.settings.contains_key(argument);
        let text = match self.declared.get(argument) {
            None => None,
            Some(_) if of_files && UNKEPT.contains(&argument) => Some(secret().ok_or_else(|| self.unknown(argument))?),
            Some(setting) => Some(setting.literal().ok_or_else(|| self.unknown(argument))?),
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The first of two names of one thing that is there, with its text.
    fn either(&self, new: &'static str, old: &'static str) -> Result<Option<(&'static str, &'a str)>, BackendError> {
        // An object that is computed has no members that could be seen.
        if let Some((object, _)) = new.split_once('.') {
            self.object(object)?;
        }
        let of = |name: &'static str| Ok(self.text(name)?.map(|text| (name, text)));
        of(new)?.map_or_else(|| of(old), |found| Ok(Some(found)))
    }

    /// Refuses an object whose members cannot be seen.
    fn object(&self, name: &str) -> Result<(), BackendError> {
        let members =
            || self.declared.keys().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
        if self.declared.contains_key(name) && !members() { Err(self.unknown(name)) } else { Ok(()) }
    }

    fn role(&self) -> Result<Option<BackendRole>, BackendError> {
        let Some((argument, arn)) = self.either("assume_role.role_arn", "role_arn")? else { return Ok(None) };
        let arn = RoleArn::new(arn).map_err(|error| self.bad(argument, error.to_string()))?;
        let text = |new, old| self.either(new, old).map(|found| found.map(|(_, text)| text.to_owned()));
        Ok(Some(BackendRole {
            arn,
            external_id: text("assume_role.external_id", "external_id")?.map(Secret::new),
            session_name: text("assume_role.session_name", "session_name")?,
            duration: self.duration()?,
            policy: text("assume_role.policy", "assume_role_policy")?.map(Secret::new),
        }))
    }

    fn duration(&self) -> Result<Option<Duration>, BackendError> {
        let argument = "assume_role.duration";
        if let Some(text) = self.text(argument)? {
            return parse_duration(text).map(Some).map_err(|why| self.bad(argument, why));
        }
        let argument = "assume_role_duration_seconds";
        let Some(text) = self.text(argument)? else { return Ok(None) };
        let seconds = text.parse().map_err(|_| self.bad(argument, format!("`{text}` is no number of seconds")))?;
        Ok(Some(Duration::from_secs(seconds)))
    }

    fn region(&self, argument: &str) -> Result<Option<Region>, BackendError> {
        let region = self.text(argument)?.map(Region::new).transpose();
        region.map_err(|error| self.bad(argument, error.to_string()))
    }

    /// Backups and records are written as states are: what lets others read those would let them read these.
    fn acl(&self) -> Result<Option<String>, BackendError> {
        let Some(acl) = self.text("acl")? else { return Ok(None) };
        if ["private", "bucket-owner-read", "bucket-owner-full-control"].contains(&acl) {
            return Ok(Some(acl.to_owned()));
        }
        Err(self.bad("acl", format!("`{acl}` lets others than the owner of the bucket read states")))
    }

    fn unknown(&self, argument: &str) -> BackendError {
        BackendError::NotLiteral { argument: argument.to_owned(), position: self.place(argument) }
    }

    fn bad(&self, argument: &str, why: String) -> BackendError {
        BackendError::Value { argument: argument.to_owned(), why, position: self.place(argument) }
    }

    fn place(&self, argument: &str) -> Position {
        place(self.root, self.deployment, argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PartialBackend;
    use crate::workspace::testing::{Tree, deployment};

    fn access(block: &str, backend: PartialBackend) -> Result<BackendAccess, BackendError> {
        let tree = Tree::new();
        tree.write("main.tf", &format!("terraform {{\n  backend \"s3\" {{\n{block}\n  }}\n}}\n"));
        let deployment = Deployment { backend, ..deployment(".", "a.tfvars", &[]) };
        backend_access(&RootModule::read(&tree.dir).unwrap(), &deployment)
    }

    fn block(text: &str) -> Result<BackendAccess, BackendError> {
        access(text, PartialBackend::default())
    }

    const ROLE: &str = "arn:aws:iam::222222222222:role/state";

    #[test]
    fn the_role_is_read_by_its_old_and_its_new_names() {
        let new = format!(
            "assume_role = {{\n role_arn = \"{ROLE}\"\n external_id = \"agreed\"\n duration = \"1h30m\"\n \
             session_name = \"theirs\"\n policy = \"{{}}\"\n}}"
        );
        let old = format!(
            "role_arn = \"{ROLE}\"\nexternal_id = \"agreed\"\nassume_role_duration_seconds = 5400\n\
             session_name = \"theirs\"\nassume_role_policy = \"{{}}\""
        );
        let (new, old) = (block(&new).unwrap().role.unwrap(), block(&old).unwrap().role.unwrap());
        assert_eq!(new, old);
        assert_eq!((new.arn.as_str(), new.duration), (ROLE, Some(Duration::from_secs(5400))));
        assert_eq!(new.external_id.as_ref().map(|id| id.expose().as_str()), Some("agreed"));
        assert!(!format!("{new:?}").contains("agreed"));
    }

    #[test]
    fn a_file_replaces_the_whole_role_of_the_block() {
        let settings = [("assume_role", None), ("assume_role.role_arn", Some(ROLE))];
        let settings = settings.map(|(name, text)| (name.to_owned(), text.map(str::to_owned))).into();
        let files = PartialBackend { files: vec!["b.hcl".into()], settings, ..PartialBackend::default() };
        let role = access("assume_role = { role_arn = \"x\", external_id = \"of-the-block\" }", files).unwrap().role;
        let role = role.unwrap();
        assert_eq!((role.arn.as_str(), role.external_id), (ROLE, None));
    }

    #[test]
    fn what_cannot_be_known_or_used_is_named_with_its_line() {
        for (text, told) in [
            ("region = var.r", "main.tf:3: `region` of the backend is not a literal"),
            ("\nassume_role = local.role", "main.tf:4: `assume_role` of the backend is not a literal"),
            (
                "assume_role = {\n role_arn = var.r\n}",
                "main.tf:4: `assume_role.role_arn` of the backend is not a literal",
            ),
            ("role_arn = \"state\"", "main.tf:3: `role_arn` of the backend cannot be used"),
            ("endpoints = local.e", "main.tf:3: `endpoints` of the backend is not a literal"),
            ("acl = \"public-read\"", "main.tf:3: `acl` of the backend cannot be used: `public-read` lets others"),
        ] {
            let error = block(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(block("profile = \"\"\nacl = \"\"").unwrap(), BackendAccess::default());
    }

    #[test]
    fn the_backend_says_how_states_are_encrypted_before_the_settings_do() {
        for (text, key, wanted) in [
            ("", None, StateEncryption::S3),
            ("bucket = \"b\"", None, StateEncryption::AsBucket),
            ("bucket = \"b\"", Some("ours"), StateEncryption::Kms("ours".to_owned())),
            ("bucket = \"b\"\nencrypt = true", None, StateEncryption::S3),
            ("encrypt = true\nkms_key_id = \"theirs\"", Some("ours"), StateEncryption::Kms("theirs".to_owned())),
            ("encrypt = false\nkms_key_id = \"theirs\"", Some("ours"), StateEncryption::AsBucket),
        ] {
            assert_eq!(block(text).unwrap().encryption(key), wanted, "{text}");
        }
    }
}
