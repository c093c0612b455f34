//! The audit record of a recovery, with all that the dead Terraform printed.

use std::fs::File;
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::json;

use super::super::left::outputs;
use super::{Stop, Verdict, Work};
use crate::event::{Failure, Step};
use crate::files;
use crate::journal::{Event, Fact, Status};
use crate::store::{AuditName, Written, write_audit, write_output};

/// Output longer than this does not stand in the audit record itself, in bytes.
const INLINE: u64 = 1024 * 1024;

impl Work<'_> {
    /// Writes what was found and what was done, linked to the dead run by its id.
    pub(super) async fn audit(&mut self) -> Result<(), Stop> {
        // A dead run that had come to its own audit has begun that step already.
        let first = self.of.past.status(Step::Audit).is_none();
        if first {
            self.write(Event::Begun { step: Step::Audit })?;
        }
        let names = self.names.clone();
        let name = AuditName {
            account_name: &names.account_name,
            project: &names.project,
            action: "recover",
            time: Timestamp::now(),
            region: &names.region,
            key: &self.of.state.key,
            run: self.of.run,
        };
        let (inline, output_key) = self.output(&name).await?;
        let record = self.record(&inline, output_key.as_deref());
        let written = write_audit(self.access.audit_of(self.site), &self.access.outbox, &name, &record).await;
        let place = self.written(written)?;
        self.learn(Fact::Audit { place: place.clone() })?;
        self.report.audit = Some(place);
        if first { self.write(Event::Done { step: Step::Audit }) } else { Ok(()) }
    }

    /// Where something was written. What neither the store nor this disk took keeps the rest from being done.
    fn written(&mut self, written: Result<Written, crate::store::OutboxError>) -> Result<String, Stop> {
        match written {
            Ok(Written::Stored(key)) => Ok(key),
            Ok(Written::Kept { path, error, .. }) => {
                self.report
                    .done
                    .push(format!("the audit record is kept in {path}, and the next run sends it: {error}"));
                Ok(path.into_string())
            }
            Err(error) => {
                Err(Stop::again(Failure::caused_by("the audit record could not be written", &error).one_line()))
            }
        }
    }

    /// What was printed: in the record itself, or beside it.
    async fn output(&mut self, name: &AuditName<'_>) -> Result<(String, Option<String>), Stop> {
        let files = outputs(&self.of.past);
        let files = if self.of.here { files } else { Vec::new() };
        let failed = |error: io::Error| Stop::again(format!("what its Terraform printed cannot be read: {error}"));
        let mut size = 0;
        for file in &files {
            size += file.metadata().map_err(failed)?.len();
        }
        if size < INLINE {
            let mut text = String::new();
            for file in &files {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(file).map_err(failed)?));
            }
            return Ok((text, None));
        }
        let Some(packed) = files.first().map(|first| first.with_extension("recover.gz")) else {
            return Ok((String::new(), None));
        };
        pack(&files, &packed).map_err(failed)?;
        let written = write_output(self.access.audit_of(self.site), &self.access.outbox, name, &packed).await;
        let key = self.written(written)?;
        if let Err(error) = std::fs::remove_file(&packed) {
            tracing::warn!(path = %packed, %error, "the unredacted output could not be removed");
        }
        Ok((String::new(), Some(key)))
    }

    fn record(&self, output: &str, output_key: Option<&str>) -> serde_json::Value {
        let (of, report) = (self.of, &self.report);
        let step = of.step.map(|(step, status)| json!({"step": step, "done": status == Status::Done}));
        json!({
            "schema_version": 1,
            "time": Timestamp::now(),
            "run_id": of.run,
            "action": "recover",
            "caller": self.access.who,
            "recovered_by_run": self.access.run,
            "recovers": {
                "run_id": of.run,
                "action": of.action,
                "who": of.who,
                "host": of.host,
                "since": of.since,
                "last_sign": of.last_sign,
                "step": step,
                "judgement": of.judgement,
            },
            "deployment": of.deployment,
            "success": report.verdict == Verdict::Clean,
            "outcome": if report.verdict == Verdict::Clean { "recovered" } else { "needs_operator" },
            "found": of.left,
            "done": report.done,
            "error": report.failure,
            "touched": report.touched,
            "bucket": of.state.bucket,
            "backend_key": of.state.key,
            "backup_key": of.past.backup(),
            "recovered_key": report.recovered_key,
            "tfleet_version": env!("CARGO_PKG_VERSION"),
            "output": output,
            "output_key": output_key,
            "journal": of.past.entries(),
        })
    }
}

fn pack(files: &[Utf8PathBuf], to: &Utf8Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(files::private_file(to)?, Compression::fast());
    for file in files {
        io::copy(&mut File::open(file)?, &mut encoder)?;
    }
    encoder.finish()?.flush()
}
