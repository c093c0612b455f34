//! Running programs of the repository: in the workspace's copy of the working directory, recorded like Terraform.

use std::collections::VecDeque;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::output::Recorder;
use super::{Ended, Saga};
use crate::event::Failure;
use crate::execute::{Environment, Exit, Interrupted, Output, ProcessError, Spec, Stop, make, run};
use crate::text;

/// How many of the last lines tell why a program failed.
const LAST_LINES: usize = 10;

/// How a program ended.
pub(super) struct Ran {
    pub exit: Exit,
    /// Its last lines.
    pub last: Option<String>,
}

impl Saga<'_> {
    /// The copy of the working directory.
    pub(super) fn copied_working_dir(&self) -> Result<Utf8PathBuf, Ended> {
        let dir = self.workspace()?.top.join(self.root()?.tree.layout().working_place());
        std::fs::create_dir_all(&dir)
            .map_err(|error| Ended::failed(Failure::caused_by(format!("cannot write {dir}"), &error)))?;
        Ok(dir)
    }

    /// A program to be run there. `name` is that of the file with its output.
    pub(super) fn program_spec(
        &self,
        name: &str,
        (program, args): (Utf8PathBuf, Vec<String>),
        environment: Environment,
        timeout: Duration,
    ) -> Result<Spec, Ended> {
        Ok(Spec {
            program,
            args,
            dir: self.copied_working_dir()?,
            environment,
            timeout,
            interrupted: Interrupted::Group,
            ..self.spec(name, Vec::new(), timeout)?
        })
    }

    /// make, and its arguments for a target.
    pub(super) fn make_target(&self, target: &str) -> Result<(Utf8PathBuf, Vec<String>), Ended> {
        let program = self.ctx.make.clone();
        let program = program.ok_or_else(|| Ended::failed(Failure::new("make was not looked for")))?;
        Ok((program, make::args(target)))
    }

    /// Runs it. `output` sees each line too. When the run is to end, the journal is sent to the store at once.
    pub(super) async fn run_program(
        &mut self,
        spec: &Spec,
        see: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Ran, ProcessError> {
        let (stop, scribe) = (self.ctx.stop.clone(), self.scribe.clone());
        let mut lines = Lines { recorder: self.recorder.as_mut(), last: VecDeque::new(), see };
        let exit = {
            let mut told = scribe.of(spec, &mut lines);
            let mut stopped = stop.clone();
            let running = run(spec, stop, &mut told);
            tokio::pin!(running);
            let ended = tokio::select! {
                biased;
                ended = &mut running => Some(ended),
                _ = stopped.wait_for(|stop| *stop > Stop::No) => None,
            };
            match ended {
                Some(ended) => ended,
                None => tokio::join!(running, scribe.send()).0,
            }
        }?;
        let last: Vec<String> = lines.last.into_iter().collect();
        let last = self.redactor.text(&last.join("\n"));
        Ok(Ran { exit, last: (!last.trim().is_empty()).then_some(last) })
    }
}

/// Everything is recorded, and the last lines are kept.
struct Lines<'a> {
    recorder: Option<&'a mut Recorder>,
    last: VecDeque<String>,
    see: &'a mut (dyn FnMut(&str) + Send),
}

impl Output for Lines<'_> {
    fn line(&mut self, line: &str) {
        // A Terraform that nobody has told otherwise colours what it prints, and a secret would be cut up by that.
        let line = &*text::line(line);
        if let Some(recorder) = &mut self.recorder {
            recorder.line(line);
        }
        (self.see)(line);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    fn pause(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.pause();
        }
    }
}

/// The program of a command: a path is one of the copy, a name is looked for on `PATH`.
pub(super) fn found(program: &str, dir: &Utf8Path, environment: &Environment) -> Option<Utf8PathBuf> {
    let name = if program.contains('/') { dir.join(program).into_string() } else { program.to_owned() };
    crate::execute::on_path(&name, environment)
}
