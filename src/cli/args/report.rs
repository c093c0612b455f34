//! The verbs of `tfleet report`, and the reports that runs write.

use std::num::NonZeroUsize;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use crate::report::ReportFormat;

/// The verbs of `tfleet report`.
#[derive(Debug, Subcommand)]
pub enum ReportVerb {
    /// Join the summaries of several machines into one, with one table and one exit code
    Merge(MergeArgs),
}

/// `tfleet report merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The summaries: files that --output-summary has written
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<Utf8PathBuf>,

    /// Write the joined summary to this file
    #[arg(long, value_name = "FILE")]
    pub output_summary: Option<Utf8PathBuf>,

    /// Write a report for people or programs: html=FILE, junit=FILE (repeatable)
    #[arg(long, value_name = "FORMAT=FILE", value_parser = report_file)]
    pub report: Vec<ReportFile>,

    /// Where the plans of the runs lie, DIR/DEPLOYMENT/plan.txt [default: where the summaries say]
    #[arg(long, value_name = "DIR", requires = "report")]
    pub out_dir: Option<Utf8PathBuf>,

    /// How many summaries there should be; several attempts at the same deployments count once
    #[arg(long, value_name = "N")]
    pub expect: Option<NonZeroUsize>,

    /// Exit with 2 if anything would change (summaries of plan)
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// A report that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// In which form.
    pub format: ReportFormat,
    /// To which file.
    pub path: Utf8PathBuf,
}

/// `html=report.html`.
pub(super) fn report_file(value: &str) -> Result<ReportFile, String> {
    let all = || ReportFormat::ALL.map(|format| format!("{}=FILE", format.as_str())).join(" or ");
    let Some((word, path)) = value.split_once('=') else {
        return Err(format!("it names no file; write it as {}", all()));
    };
    let Some(format) = ReportFormat::ALL.into_iter().find(|format| format.as_str() == word) else {
        return Err(format!("there is no report `{word}`; write {}", all()));
    };
    if path.is_empty() {
        return Err(format!("it names no file after `{word}=`"));
    }
    Ok(ReportFile { format, path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_form_and_a_file() {
        let file = report_file("html=out/a=b.html").unwrap();
        assert_eq!((file.format, file.path.as_str()), (ReportFormat::Html, "out/a=b.html"));
        assert_eq!(report_file("junit=x.xml").unwrap().format, ReportFormat::Junit);
        for (bad, said) in [
            ("report.html", "it names no file; write it as html=FILE or junit=FILE"),
            ("pdf=x", "there is no report `pdf`; write html=FILE or junit=FILE"),
            ("HTML=x", "there is no report `HTML`; write html=FILE or junit=FILE"),
            ("html=", "it names no file after `html=`"),
            ("", "it names no file; write it as html=FILE or junit=FILE"),
        ] {
            assert_eq!(report_file(bad), Err(said.to_owned()), "{bad}");
        }
    }
}
