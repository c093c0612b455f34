//! An organization of a test's own, in an account of its own: moto has one for each account.

use std::collections::BTreeMap;

use aws_sdk_organizations::Client;
use aws_sdk_organizations::types::{OrganizationFeatureSet, Tag};

use super::{Keys, Moto, block_on};

/// The organization of one management account, as a test looks at it: past tfleet.
pub struct Organization {
    client: Client,
    /// The management account.
    pub management: String,
}

/// An account as AWS lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its email address.
    pub email: String,
}

impl Organization {
    /// Makes one in the account of `keys`.
    pub fn create(moto: &Moto, management: &str, keys: &Keys) -> Self {
        let client = Client::new(&moto.sdk(keys, "us-east-1"));
        block_on(client.create_organization().feature_set(OrganizationFeatureSet::All).send()).unwrap();
        Self { client, management: management.to_owned() }
    }

    /// The accounts besides the management account, sorted by name.
    pub fn accounts(&self) -> Vec<Listed> {
        let mut accounts: Vec<Listed> = block_on(async {
            let mut found = Vec::new();
            let mut pages = self.client.list_accounts().into_paginator().send();
            while let Some(page) = pages.next().await {
                found.extend(page.unwrap().accounts.unwrap_or_default());
            }
            found
        })
        .into_iter()
        .map(|one| Listed { name: one.name.unwrap(), id: one.id.unwrap(), email: one.email.unwrap() })
        .filter(|account| account.id != self.management)
        .collect();
        accounts.sort();
        accounts
    }

    /// The id of the only account of this name.
    #[track_caller]
    pub fn id_of(&self, name: &str) -> String {
        let found: Vec<_> = self.accounts().into_iter().filter(|account| account.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0].id.clone()
    }

    /// Makes an account past tfleet. Returns its id.
    pub fn add(&self, name: &str, email: &str) -> String {
        block_on(self.client.create_account().account_name(name).email(email).send()).unwrap();
        self.id_of(name)
    }

    /// Closes an account, past tfleet, which cannot.
    pub fn close(&self, id: &str) {
        block_on(self.client.close_account().account_id(id).send()).unwrap();
    }

    /// The id of the root.
    pub fn root(&self) -> String {
        let roots = block_on(self.client.list_roots().send()).unwrap();
        roots.roots()[0].id().unwrap().to_owned()
    }

    /// Makes a unit. Returns its id.
    pub fn unit(&self, parent: &str, name: &str) -> String {
        let made = block_on(self.client.create_organizational_unit().parent_id(parent).name(name).send()).unwrap();
        made.organizational_unit.unwrap().id.unwrap()
    }

    /// Where an account is.
    pub fn parent(&self, id: &str) -> String {
        let parents = block_on(self.client.list_parents().child_id(id).send()).unwrap();
        parents.parents()[0].id().unwrap().to_owned()
    }

    /// The tags of an account.
    pub fn tags(&self, id: &str) -> BTreeMap<String, String> {
        let tags = block_on(self.client.list_tags_for_resource().resource_id(id).send()).unwrap();
        tags.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
    }

    /// Sets a tag, past tfleet.
    pub fn tag(&self, id: &str, key: &str, value: &str) {
        let tag = Tag::builder().key(key).value(value).build().unwrap();
        block_on(self.client.tag_resource().resource_id(id).tags(tag).send()).unwrap();
    }
}
