//! The variables of a deployment: those of all its variable files, a later one's before an earlier one's, as Terraform
//! merges them.

use camino::Utf8Path;

use super::document::{Document, Member, Scalar, Value};

/// The files of a deployment, parsed.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    /// The file it is read from, or the folder: what messages are about.
    pub path: &'a Utf8Path,
    /// The file, where it is one.
    pub own: Option<Document<'a>>,
    /// Every file with variables in Terraform's order; a YAML file comes last.
    pub layers: &'a [Document<'a>],
}

/// A name with its value, and the file it stands in.
pub(super) struct Variable<'a> {
    pub document: Document<'a>,
    pub member: Member<'a>,
}

impl<'a> Variables<'a> {
    /// A variable, from the last file that sets it.
    pub(super) fn attribute(&self, name: &str) -> Option<Variable<'a>> {
        self.layers
            .iter()
            .rev()
            .find_map(|document| Some(Variable { document: *document, member: document.attribute(name)? }))
    }

    /// The text of a variable that is a literal.
    pub(super) fn literal(&self, name: &str) -> Option<String> {
        let found = self.attribute(name)?;
        match found.member.value.scalar(found.document.text) {
            Scalar::Literal(text) => Some(text),
            Scalar::Unset | Scalar::Several(_) | Scalar::Dynamic(_) => None,
        }
    }

    /// All variables that count, with their files.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (Document<'a>, &'a str, Value<'a>)> {
        let layers = self.layers;
        layers.iter().enumerate().flat_map(move |(at, document)| {
            let later = &layers[at + 1..];
            let all = document.attributes().into_iter();
            let counts = move |(name, _): &(&str, Value<'_>)| later.iter().all(|l| l.attribute(name).is_none());
            all.filter(counts).map(move |(name, value)| (*document, name, value))
        })
    }

    /// What a name in a template stands for: `file.NAME` in the file itself, `var.NAME` in the variables.
    pub(super) fn named(&self, name: &str) -> Option<String> {
        if let Some(attribute) = name.strip_prefix("file.") {
            return self.own?.literal(attribute);
        }
        let variable = name.strip_prefix("var.")?;
        // The variables of a YAML file stand in a map of their own.
        let own = self.own.filter(Document::is_yaml);
        let inside = own.and_then(|document| {
            let members = document.attribute("terraform_vars")?.value.members(document.text)?;
            let member = members.into_iter().find(|member| member.name == Some(variable))?;
            match member.value.scalar(document.text) {
                Scalar::Literal(text) => Some(text),
                _ => None,
            }
        });
        inside.or_else(|| {
            let layers =
                if own.is_some() { self.layers.split_last().map_or(&[][..], |(_, files)| files) } else { self.layers };
            Variables { layers, ..*self }.literal(variable)
        })
    }
}
