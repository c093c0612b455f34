//! The signals that ask a run to end.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGINT, SIGTERM and SIGHUP, from the moment this is made; before that they end the process.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None under `nohup`, which is how a person says that the run outlives the terminal.
    hangup: Option<Signal>,
}

impl Signals {
    /// Takes the signals over.
    pub fn new() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = SignalKind::hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_ignored(&status, hangup) { None } else { Some(signal(hangup)?) },
        })
    }

    /// Waits for the next one and says its name.
    pub async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Cancelled by the first signal. From here on signals do not end the process: a change of a state is made to its end.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        stop.cancel();
    });
    Ok(token)
}

/// Whether a process ignores a signal, from its `/proc/<pid>/status` (`proc_pid_status(5)`, `SigIgn`: a bit for each
/// signal). Where there is no `/proc`, nothing is known to be ignored.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_seen() {
        let hangup = SignalKind::hangup();
        assert!(is_ignored("Name:\ttfleet\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n", hangup));
        assert!(!is_ignored("SigIgn:\t0000000000001000\n", hangup));
        assert!(!is_ignored("", hangup));
    }
}
