//! Whether what an unfinished deployment left behind may be touched: a pure decision over what is known.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::store::CLOCK_SKEW;

/// A heartbeat comes every 30 seconds; one that is younger than this says that its tfleet lives.
const FRESH: SignedDuration = SignedDuration::from_mins(2);

/// Where a deployment was run, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this boot of this machine, in this process namespace: its process ids mean something here.
    Here,
    /// On this machine before it was started anew: every process of that time is gone.
    FormerBoot,
    /// Anywhere else, another container of this machine included.
    Elsewhere,
}

/// What is known of a deployment without an end.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent signs of life")]
pub struct Signs {
    /// Where it was run.
    pub place: Place,
    /// Whether its own journal is here. What a lock carries may be older than the last command that was started.
    pub has_journal: bool,
    /// Whether a process has that journal open for writing.
    pub journal_held: bool,
    /// Whether its tfleet is known to be gone.
    pub tfleet_gone: bool,
    /// Whether something of its Terraform is seen to live, or somebody works in its workspace.
    pub terraform: bool,
    /// When it last said something: its heartbeat, or the last entry of its journal.
    pub last_sign: Timestamp,
    /// How long the credentials that it handed out can live.
    pub longest_lease: SignedDuration,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "judgement")]
pub enum Judgement {
    /// Its tfleet runs.
    Alive,
    /// Its tfleet is gone, and its Terraform, or something that it started, is not.
    TerraformAlive,
    /// Nothing of it lives, provably.
    Dead,
    /// It was run elsewhere, and has been silent for longer than its credentials can live.
    SilentLongEnough,
    /// Nobody can tell from here.
    Unknown {
        /// When it will have been silent long enough.
        from: Timestamp,
    },
}

impl Judgement {
    /// Whether what it left behind may be put in order.
    #[must_use]
    pub const fn may_recover(self) -> bool {
        matches!(self, Self::Dead | Self::SilentLongEnough)
    }

    /// In words, for a list.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Alive => "running".to_owned(),
            Self::TerraformAlive => "tfleet gone, Terraform alive".to_owned(),
            Self::Dead => "dead".to_owned(),
            Self::SilentLongEnough => "silent for too long".to_owned(),
            Self::Unknown { .. } => "not known".to_owned(),
        }
    }
}

/// Decides.
#[must_use]
pub fn judge(signs: &Signs, now: Timestamp) -> Judgement {
    let Signs { place, has_journal, journal_held, tfleet_gone, terraform, last_sign, longest_lease } = *signs;
    let gone = match place {
        Place::Here => tfleet_gone,
        Place::FormerBoot => true,
        Place::Elsewhere => false,
    };
    let silent = now.duration_since(last_sign);
    if journal_held || place == Place::Here && !gone {
        return Judgement::Alive;
    }
    if place == Place::Elsewhere && silent < FRESH {
        return Judgement::Alive;
    }
    if terraform {
        return Judgement::TerraformAlive;
    }
    if gone && has_journal {
        return Judgement::Dead;
    }
    // What it said last was said by its own clock.
    let enough = longest_lease.saturating_add(CLOCK_SKEW);
    if silent > enough {
        return Judgement::SilentLongEnough;
    }
    // The end of a lease that never ends is not reached.
    Judgement::Unknown { from: last_sign.checked_add(enough).unwrap_or(Timestamp::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: SignedDuration = SignedDuration::from_hours(1);

    /// Dead here, with its journal, silent for ten minutes.
    fn signs() -> Signs {
        Signs {
            place: Place::Here,
            has_journal: true,
            journal_held: false,
            tfleet_gone: true,
            terraform: false,
            last_sign: NOW - SignedDuration::from_mins(10),
            longest_lease: LEASE,
        }
    }

    #[test]
    fn each_combination_of_signs_has_its_judgement() {
        let long_ago = NOW - SignedDuration::from_hours(2);
        let unknown = Judgement::Unknown { from: NOW + SignedDuration::from_mins(50) + CLOCK_SKEW };
        let elsewhere = Signs { place: Place::Elsewhere, tfleet_gone: false, ..signs() };
        let cases = [
            ("both gone", signs(), Judgement::Dead),
            ("tfleet runs", Signs { tfleet_gone: false, ..signs() }, Judgement::Alive),
            (
                "tfleet runs, and has for long",
                Signs { tfleet_gone: false, last_sign: long_ago, ..signs() },
                Judgement::Alive,
            ),
            ("somebody recovers it", Signs { journal_held: true, ..signs() }, Judgement::Alive),
            ("Terraform lives", Signs { terraform: true, ..signs() }, Judgement::TerraformAlive),
            (
                "Terraform lives for long",
                Signs { terraform: true, last_sign: long_ago, ..signs() },
                Judgement::TerraformAlive,
            ),
            ("here, without its journal", Signs { has_journal: false, ..signs() }, unknown),
            (
                "here, without its journal, for long",
                Signs { has_journal: false, last_sign: long_ago, ..signs() },
                Judgement::SilentLongEnough,
            ),
            ("before this boot", Signs { place: Place::FormerBoot, tfleet_gone: false, ..signs() }, Judgement::Dead),
            (
                "before this boot, and somebody plans in its workspace",
                Signs { place: Place::FormerBoot, terraform: true, ..signs() },
                Judgement::TerraformAlive,
            ),
            ("elsewhere", elsewhere, unknown),
            ("elsewhere, its pid is free here", Signs { tfleet_gone: true, ..elsewhere }, unknown),
            (
                "elsewhere, speaking",
                Signs { last_sign: NOW - SignedDuration::from_secs(40), ..elsewhere },
                Judgement::Alive,
            ),
            (
                "elsewhere, its journal is held on a shared disk",
                Signs { journal_held: true, ..elsewhere },
                Judgement::Alive,
            ),
            (
                "elsewhere, at its last minute",
                Signs { last_sign: NOW - LEASE - CLOCK_SKEW, ..elsewhere },
                Judgement::Unknown { from: NOW },
            ),
            (
                "elsewhere, by a clock that is ten minutes late",
                Signs { last_sign: NOW - LEASE - SignedDuration::from_mins(10), ..elsewhere },
                Judgement::Unknown { from: NOW + CLOCK_SKEW - SignedDuration::from_mins(10) },
            ),
            ("elsewhere, for long", Signs { last_sign: long_ago, ..elsewhere }, Judgement::SilentLongEnough),
            (
                "elsewhere, and its workspace is held on a shared disk",
                Signs { last_sign: long_ago, terraform: true, ..elsewhere },
                Judgement::TerraformAlive,
            ),
            (
                "a clock that is ahead",
                Signs { last_sign: NOW + SignedDuration::from_hours(5), ..elsewhere },
                Judgement::Alive,
            ),
        ];
        for (case, signs, judgement) in cases {
            assert_eq!(judge(&signs, NOW), judgement, "{case}");
        }
    }

    #[test]
    fn only_the_dead_and_the_silent_are_touched() {
        let unknown = Judgement::Unknown { from: NOW };
        let all = [Judgement::Alive, Judgement::TerraformAlive, Judgement::Dead, Judgement::SilentLongEnough, unknown];
        assert_eq!(all.map(Judgement::may_recover), [false, false, true, true, false]);
        let forever = Signs { place: Place::Elsewhere, longest_lease: SignedDuration::MAX, ..signs() };
        assert_eq!(judge(&forever, NOW), Judgement::Unknown { from: Timestamp::MAX });
    }
}
