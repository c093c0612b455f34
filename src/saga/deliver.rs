//! Outputs that are kept as secrets in other accounts, after an apply that went well.
//!
//! It is done after every such apply, also where nothing was to be changed: the secret may be missing. What does not arrive
//! makes the deployment `failed`, and is rolled back no more than what was applied before it; the next apply delivers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{Credentials, Ended, Saga};
use crate::deliver::{DeliverError, Delivered, Effect, deliver, text_of};
use crate::event::{Failure, Outcome};
use crate::execute::{Output as _, Stop};
use crate::journal::Fact;
use crate::lease::{LeaseError, LeaseKey, retry_partition};
use crate::model::{Action, Delivery, Secret};
use crate::redact::sensitive;
use crate::tfstate::{OutputValue, outputs};

/// What became of a delivery, as the audit record has it.
#[derive(Debug, Serialize)]
pub(super) struct DeliveryRecord {
    #[serde(flatten)]
    delivery: Delivery,
    /// `created`, `updated`, `unchanged` or `failed`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// Why an output did not arrive.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error("the state has no output `{0}`")]
    Missing(String),
    #[error("the output `{0}` is null")]
    Null(String),
    #[error("cancelled before the output `{0}` was delivered")]
    Cancelled(String),
    #[error("no credentials from {0}: {1}")]
    Lease(LeaseKey, LeaseError),
    #[error(transparent)]
    Refused(#[from] DeliverError),
}

impl Undelivered {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(output) => Some(format!("declare the output `{output}` in the root module")),
            Self::Null(output) => Some(format!("give the output `{output}` a value, or take the delivery out")),
            Self::Cancelled(_) => None,
            Self::Lease(_, error) => Some(error.hint()),
            Self::Refused(error) => Some(error.hint()),
        }
    }
}

impl Saga<'_> {
    /// Asks for the credentials of the accounts that outputs go to, so that a role that cannot be taken stops the apply
    /// before it changes anything.
    pub(super) async fn lease_deliveries(&self) -> Result<(), Ended> {
        if self.task.purpose() != Action::Apply {
            return Ok(());
        }
        for delivery in &self.deployment.deliver {
            let credentials = self.delivering()?;
            let key = self.delivery_lease(credentials, delivery);
            credentials.leases.get(&key).await.map_err(|error| {
                let what = format!("the output `{}` could not be delivered to {}", delivery.output, delivery.place());
                let failure = Failure::new(what).because(format!("no credentials from {key}: {error}"));
                Ended::failed(failure.next(error.hint()))
            })?;
        }
        Ok(())
    }

    /// Delivers every output, whatever becomes of the others.
    pub(super) async fn deliver(&mut self) -> Result<(), Ended> {
        let outputs = self.outputs_now().await?;
        let deployment = Arc::clone(&self.deployment);
        let mut missed = Vec::new();
        for delivery in &deployment.deliver {
            let sent = self.deliver_one(delivery, outputs.get(&delivery.output)).await?;
            let (result, version) = match &sent {
                Ok(delivered) => (delivered.effect.as_str(), delivered.version.clone()),
                Err(_) => ("failed", None),
            };
            self.recorder()?.line(&format!("output {} to {}: {result}", delivery.output, delivery.place()));
            self.deliveries.push(DeliveryRecord { delivery: delivery.clone(), result, version });
            match sent {
                Ok(_) => {
                    self.scribe.learn(Fact::Delivered { output: delivery.output.clone(), place: delivery.place() });
                }
                Err(why) => missed.push((delivery, why)),
            }
        }
        if missed.is_empty() { Ok(()) } else { Err(not_arrived(&missed)) }
    }

    /// `done`, as what was delivered after it makes it: a secret that was missing was something to do.
    pub(super) fn with_deliveries(&self, mut done: Ended) -> Ended {
        let unchanged = Effect::Unchanged.as_str();
        if done.outcome == Outcome::NoChanges && self.deliveries.iter().any(|one| one.result != unchanged) {
            done.outcome = Outcome::Succeeded;
        }
        done
    }

    /// The values in `state` that are delivered: secret, whatever the module says of them.
    pub(super) fn delivered_values(&self, state: &[u8]) -> Vec<Secret<String>> {
        if self.deployment.deliver.is_empty() {
            return Vec::new();
        }
        // A state that cannot be read is somebody else's to tell.
        let outputs = outputs(state).unwrap_or_default();
        let delivered = self.deployment.deliver.iter().filter_map(|delivery| outputs.get(&delivery.output));
        delivered
            .flat_map(|output| sensitive::from_value(&output.value).into_iter().chain(text_of(&output.value)))
            .collect()
    }

    async fn outputs_now(&mut self) -> Result<BTreeMap<String, OutputValue>, Ended> {
        let key = self.deployment.state.key.clone();
        let unread = |why: String| {
            let failure = Failure::new("apply is done and recorded, but its outputs were not delivered");
            let failure = failure.because(format!("the state {key} cannot be read: {why}"));
            Ended::failed(failure.next("run `tfleet apply` again: it delivers them"))
        };
        let object = self.store.get(key.as_str()).await.map_err(|error| unread(error.to_string()))?;
        let Some(object) = object else { return Ok(BTreeMap::new()) };
        self.learn(&object.bytes);
        let redactor = self.redactor.clone();
        self.recorder()?.redact_with(&redactor);
        outputs(&object.bytes).map_err(|error| unread(error.to_string()))
    }

    async fn deliver_one(
        &self,
        delivery: &Delivery,
        output: Option<&OutputValue>,
    ) -> Result<Result<Delivered, Undelivered>, Ended> {
        let credentials = self.delivering()?;
        let name = || delivery.output.clone();
        let mut stop = self.ctx.stop.clone();
        if *stop.borrow() > Stop::No {
            return Ok(Err(Undelivered::Cancelled(name())));
        }
        let Some(output) = output else { return Ok(Err(Undelivered::Missing(name()))) };
        let Some(value) = text_of(&output.value) else { return Ok(Err(Undelivered::Null(name()))) };
        let key = self.delivery_lease(credentials, delivery);
        let sending = async {
            if let Err(error) = credentials.leases.get(&key).await {
                return Err(Undelivered::Lease(key, error));
            }
            let config = credentials.leases.config(key, &delivery.region);
            let partition = retry_partition(delivery.place());
            Ok(deliver(&config, partition, delivery, &value).await?)
        };
        tokio::select! {
            sent = sending => Ok(sent),
            // What was begun is ended, unless there is no time for it.
            _ = stop.wait_for(|stop| *stop == Stop::Kill) => Ok(Err(Undelivered::Cancelled(name()))),
        }
    }

    fn delivering(&self) -> Result<&Credentials, Ended> {
        let credentials = self.ctx.credentials.as_ref();
        credentials
            .ok_or_else(|| Ended::failed(Failure::new("this run has no AWS credentials to deliver outputs with")))
    }

    /// The deployment's own role in its own account, the role of the settings in any other.
    fn delivery_lease(&self, credentials: &Credentials, delivery: &Delivery) -> LeaseKey {
        let own = delivery.account == self.deployment.account_id;
        let role = if own { self.role() } else { credentials.role.clone() };
        role.lease(&delivery.account)
    }
}

/// The failure of an apply of which only the deliveries went wrong.
fn not_arrived(missed: &[(&Delivery, Undelivered)]) -> Ended {
    let places: Vec<String> =
        missed.iter().map(|(delivery, _)| format!("`{}` in {}", delivery.output, delivery.place())).collect();
    let mut failure = Failure::new(format!(
        "apply is done and recorded, but {} did not arrive: {}",
        if places.len() == 1 { "an output" } else { "outputs" },
        places.join("; ")
    ));
    for (_, why) in missed {
        failure.causes.push(why.to_string());
        failure.next.extend(why.hint().filter(|hint| !failure.next.contains(hint)));
    }
    failure.next.push("then run `tfleet apply` again: what has arrived is not written again".to_owned());
    let cancelled = missed.iter().all(|(_, why)| matches!(why, Undelivered::Cancelled(_)));
    Ended::new(if cancelled { Outcome::Cancelled } else { Outcome::Failed }, Some(failure))
}
