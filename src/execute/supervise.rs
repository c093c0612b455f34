//! Waiting for a child process: what it prints, when its time is up, and how it is ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::follow::Follower;
use super::process::{Exit, Interrupted, Output, ProcessError, Spec, Stop};

/// Why a process is being ended, and until when it may do so in order.
struct Ending {
    exit: fn(bool) -> Exit,
    deadline: Instant,
    killed: bool,
}

/// What is known of a process that runs, and what has been asked of it.
struct Supervised<'s> {
    spec: &'s Spec,
    pid: Option<Pid>,
    /// Until when it may run if nobody asks it to end.
    deadline: Instant,
    ending: Option<Ending>,
}

impl Supervised<'_> {
    /// When it is to be looked after next, where that is not only when it has ended.
    fn next_deadline(&self) -> Option<Instant> {
        match &self.ending {
            None => Some(self.deadline),
            Some(ending) => (!ending.killed).then_some(ending.deadline),
        }
    }

    /// What has been asked of it already.
    fn asked(&self) -> Stop {
        match &self.ending {
            None => Stop::No,
            Some(ending) if ending.killed => Stop::Kill,
            Some(_) => Stop::Interrupt,
        }
    }

    /// The run is to end: in order first, at once if it is said again.
    fn stop(&mut self, stop: Stop) {
        if stop == Stop::Kill {
            let deadline = self.ending.as_ref().map_or(self.deadline, |ending| ending.deadline);
            kill_group(self.pid);
            self.ending = Some(Ending { exit: |killed| Exit::Cancelled { killed }, deadline, killed: true });
        } else if self.ending.is_none() {
            self.end_in_order(|killed| Exit::Cancelled { killed });
        }
    }

    /// Its time is up: first its own, then that of its grace.
    fn time_is_up(&mut self) {
        if let Some(ending) = &mut self.ending {
            kill_group(self.pid);
            ending.killed = true;
        } else {
            self.end_in_order(|killed| Exit::TimedOut { killed });
        }
    }

    fn end_in_order(&mut self, exit: fn(bool) -> Exit) {
        interrupt(self.spec, self.pid);
        self.ending = Some(Ending { exit, deadline: Instant::now() + self.spec.grace, killed: false });
    }

    /// It has ended. Providers and provisioners of a Terraform that did not end in order would run on unseen. After an
    /// orderly end they are left alone, as plain Terraform leaves them.
    fn ended(self, status: ExitStatus) -> Exit {
        if self.ending.is_some() || status.code().is_none() {
            kill_group(self.pid);
        }
        match self.ending {
            // It had done everything when the interrupt came.
            Some(Ending { killed: false, .. }) if status.success() => Exit::Code(0),
            Some(ending) => (ending.exit)(ending.killed),
            None => exit_of(status),
        }
    }
}

/// Waits for a process, and shows what it prints; ends it when its time is up or the run is to end.
pub(super) async fn supervise(
    spec: &Spec,
    mut child: Child,
    follower: &mut Follower,
    mut stop: watch::Receiver<Stop>,
    output: &mut dyn Output,
) -> Result<Exit, ProcessError> {
    let lost = |source| ProcessError::Lost { program: spec.program.clone(), source };
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut supervised = Supervised { spec, pid, deadline: Instant::now() + spec.timeout, ending: None };
    let mut readable = true;
    let mut watched = true;
    let status = loop {
        let (asked, next_deadline) = (supervised.asked(), supervised.next_deadline());
        tokio::select! {
            biased;
            status = child.wait() => break status.map_err(lost)?,
            changed = stop.wait_for(|stop| *stop > asked), if watched => match changed.map(|stop| *stop) {
                Ok(stop) => supervised.stop(stop),
                Err(_) => watched = false,
            },
            () = sleep_until(next_deadline.unwrap_or_else(Instant::now)), if next_deadline.is_some() => {
                supervised.time_is_up();
            },
            () = follower.grown(), if readable => {
                // What it prints cannot be followed any more; that it ends must be.
                if let Err(error) = follower.take(output) {
                    tracing::warn!(%error, path = %spec.output, "the output of a process cannot be read any more");
                    readable = false;
                }
            },
        }
    };
    output.ended();
    if let Err(error) = follower.finish(output) {
        tracing::warn!(%error, path = %spec.output, "the end of a process's output cannot be read");
    }
    Ok(supervised.ended(status))
}

fn exit_of(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)
}

fn interrupt(spec: &Spec, pid: Option<Pid>) {
    let send = match spec.interrupted {
        Interrupted::Alone => kill_process,
        Interrupted::Group => kill_process_group,
    };
    if let Some(Err(error)) = pid.map(|pid| send(pid, Signal::INT)) {
        tracing::debug!(%error, "nothing to interrupt");
    }
}

fn kill_group(pid: Option<Pid>) {
    if let Some(Err(error)) = pid.map(|pid| kill_process_group(pid, Signal::KILL)) {
        tracing::trace!(%error, "nothing to kill");
    }
}
