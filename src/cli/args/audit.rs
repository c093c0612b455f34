//! The verbs of `tfleet audit`.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{Format, PlaceArgs, ViewArgs};
use crate::config::parse_duration;
use crate::model::RunId;

/// How a record may have ended, in the words of the records.
const OUTCOMES: [&str; 9] = [
    "succeeded",
    "no_changes",
    "failed",
    "rolled_back",
    "needs_operator",
    "cancelled",
    "skipped",
    "recovered",
    "refused",
];

/// The verbs of `tfleet audit`.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List who did what, when, and how it ended: the newest first
    List(AuditListArgs),
    /// Show one record, or all records of a run
    Show(AuditShowArgs),
}

/// `tfleet audit list`.
#[derive(Debug, Args)]
pub struct AuditListArgs {
    /// Only of this account, by name or id (repeatable)
    #[arg(long, value_name = "NAME|ID")]
    pub account: Vec<String>,

    /// Only of this project (repeatable)
    #[arg(long)]
    pub project: Vec<String>,

    /// Only of this region (repeatable)
    #[arg(long)]
    pub region: Vec<String>,

    /// Only what was done with this word: apply, destroy, plan, rollback, restore, move, mint … (repeatable)
    #[arg(long)]
    pub action: Vec<String>,

    /// Only what ended so (repeatable)
    #[arg(long, value_parser = OUTCOMES)]
    pub outcome: Vec<String>,

    /// Only of this run
    #[arg(long, value_name = "RUN")]
    pub run: Option<RunId>,

    /// Only of this backend key, or of the deployment of this name (repeatable)
    #[arg(long, value_name = "KEY", visible_alias = "deployment")]
    pub key: Vec<String>,

    /// Not before this moment: a time (2026-01-31T06:00:00Z), a day (2026-01-31), or so long ago (36h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<Timestamp>,

    /// Not after this moment; a day is meant to its end
    #[arg(long, value_name = "WHEN", value_parser = until)]
    pub until: Option<Timestamp>,

    /// How many are listed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// How they are shown, and where they are.
    #[command(flatten)]
    pub view: ViewArgs,
}

/// `tfleet audit show`.
#[derive(Debug, Args)]
pub struct AuditShowArgs {
    /// The key of a record, as `tfleet audit list` and reports have it, or the id of a run
    #[arg(value_name = "KEY|RUN")]
    pub what: String,

    /// Show what Terraform printed too, redacted
    #[arg(long)]
    pub show_output: bool,

    /// Write all that Terraform printed, secrets included, to this new file instead
    #[arg(long, value_name = "FILE", conflicts_with = "show_output")]
    pub output: Option<Utf8PathBuf>,

    /// For people or as JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Show ARNs, account ids, addresses and secrets, on a terminal
    #[arg(long)]
    pub no_redact: bool,

    /// Where the records are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

fn since(text: &str) -> Result<Timestamp, String> {
    moment(text, false)
}

fn until(text: &str) -> Result<Timestamp, String> {
    moment(text, true)
}

/// A moment in one of its three forms. A day is one of UTC, as the names of records have it.
fn moment(text: &str, end_of_day: bool) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let none = || format!("`{text}` is no time: write 2026-01-31T06:00:00Z, 2026-01-31, 36h or 7d");
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        let day = if end_of_day { day.tomorrow().map_err(|_| none())? } else { day };
        let begins = day.to_zoned(TimeZone::UTC).map_err(|_| none())?.timestamp();
        // Records are told apart by the second.
        return if end_of_day { begins.checked_sub(SignedDuration::from_secs(1)) } else { Ok(begins) }
            .map_err(|_| none());
    }
    let ago = match text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
        Some(days) => SignedDuration::from_hours(24 * i64::from(days)),
        None => SignedDuration::try_from(parse_duration(text).map_err(|_| none())?).map_err(|_| none())?,
    };
    Timestamp::now().checked_sub(ago).map_err(|_| none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_three_forms() {
        let of = |text: &str| since(text).map(|time| time.to_string());
        assert_eq!(of("2026-01-31T06:00:00+02:00").unwrap(), "2026-01-31T04:00:00Z");
        assert_eq!(of("2026-01-31").unwrap(), "2026-01-31T00:00:00Z");
        assert_eq!(until("2026-01-31").unwrap().to_string(), "2026-01-31T23:59:59Z");
        for (text, hours) in [("36h", 36), ("7d", 168), ("90m", 1)] {
            let time = since(text).unwrap();
            let ago = Timestamp::now().duration_since(time).as_hours();
            assert!((hours..=hours + 1).contains(&ago), "{text}: {ago}");
        }
        for bad in ["", "yesterday", "2026-13-01", "2026-02-30", "7", "-1d", "99999999999d"] {
            assert!(since(bad).unwrap_err().contains("is no time: write 2026-01-31T06:00:00Z"), "{bad}");
        }
    }
}
