//! A selection as the jobs of a pipeline.

use crate::cli::error::CliError;
use crate::config::variables;
use crate::graph::Order;
use crate::model::Deployment;

/// What one job runs.
pub(super) struct Job<'a> {
    /// Its deployments, in the order of discovery.
    pub(super) deployments: Vec<&'a Deployment>,
    /// The jobs that come first, as positions in the list of jobs.
    pub(super) after: Vec<usize>,
}

/// A job for each connected part of the selection, so that tfleet itself keeps the order inside it; at most `most`.
pub(super) fn components<'a>(deployments: &'a [Deployment], order: &Order, most: usize) -> Vec<Job<'a>> {
    let names: Vec<&str> = deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    let mut groups = order.groups(&names, most);
    groups.sort_unstable();
    let of = |group: Vec<usize>| group.into_iter().map(|at| &deployments[at]).collect();
    groups.into_iter().map(|group| Job { deployments: of(group), after: Vec::new() }).collect()
}

/// A job for each deployment, the order between them.
pub(super) fn singles<'a>(deployments: &'a [Deployment], order: &Order) -> Vec<Job<'a>> {
    let jobs = deployments.iter().enumerate();
    jobs.map(|(at, one)| Job { deployments: vec![one], after: order.waits_for(at).to_vec() }).collect()
}

impl Job<'_> {
    /// What a person calls it.
    pub(super) fn name(&self) -> String {
        let first = self.deployments.first().map_or("", |deployment| deployment.name.as_str());
        match self.deployments.len() {
            0 | 1 => first.to_owned(),
            n => format!("{first} and {} more", n - 1),
        }
    }

    /// Its names as `TFLEET_DEPLOYMENTS` takes them.
    pub(super) fn names(&self) -> Result<String, CliError> {
        let names: Vec<&str> = self.deployments.iter().map(|deployment| deployment.name.as_str()).collect();
        // A name with a blank can be told from several only where it stands alone.
        match names.iter().find(|name| names.len() > 1 && name.contains(char::is_whitespace)) {
            None => Ok(names.join(" ")),
            Some(name) => Err(CliError::usage(format!(
                "`{name}` has a blank in it and shares a job with others: {} could not tell them apart",
                variables::DEPLOYMENTS.name
            ))
            .next("give it a backend key without blanks, or share the work by --shard")),
        }
    }
}
