//! Judges what happened by the logs alone.

use crate::log::{Key, Record, Step};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Everything that is known when all processes have ended.
pub(crate) struct History {
    /// What the sender's lives wrote.
    pub(crate) sent: Vec<Record>,
    /// What the receiver's lives wrote, in order.
    pub(crate) received: Vec<Record>,
    /// When a process was killed, and, for the sender, which life of it.
    pub(crate) kills: Vec<(Duration, Option<u32>)>,
    /// What the death of the sender may cost: messages accepted so shortly before.
    pub(crate) excused: Option<Duration>,
}

/// The counts. See [`Verdict::failures`] for what must be 0.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    accepted: u64,
    lost: u64,
    /// Write-behind messages that died with the sender's memory, as documented.
    excused: u64,
    duplicated: u64,
    reordered: u64,
    /// Delivered, but never sent.
    phantom: u64,
    corrupt: u64,
    /// Rejected, but delivered all the same.
    rejected: u64,
    /// Delivered again without being marked as that.
    unmarked: u64,
    kills: usize,
    /// Kills at a time at which something accepted was not handled yet.
    hits: usize,
}

/// What the logs say of one message.
#[derive(Debug, Default)]
struct Fate {
    intended: bool,
    rejected: bool,
    accepted: Option<Duration>,
    handled: Option<Duration>,
    deliveries: u64,
}

type Fates = BTreeMap<Key, Fate>;

impl History {
    pub(crate) fn judge(&self) -> Verdict {
        let mut verdict = Verdict { kills: self.kills.len(), ..Verdict::default() };
        let mut fates = self.fates_of_sent();
        self.follow_deliveries(&mut fates, &mut verdict);
        for (key, fate) in &fates {
            let arrived = fate.deliveries > 0;
            verdict.duplicated += fate.deliveries.saturating_sub(1);
            verdict.phantom += u64::from(arrived && !fate.intended);
            verdict.rejected += u64::from(arrived && fate.rejected);
            if let Some(accepted) = fate.accepted {
                verdict.accepted += 1;
                match fate.handled {
                    Some(_) => {}
                    None if self.is_excused(&fates, *key, accepted) => verdict.excused += 1,
                    None => {
                        verdict.lost += 1;
                        eprintln!("lost: {key:?}, accepted at {accepted:?}, deliveries {}", fate.deliveries);
                    }
                }
            }
        }
        verdict.hits = self.kills.iter().filter(|(at, _)| fates.values().any(|fate| fate.is_open(*at))).count();
        verdict
    }

    fn fates_of_sent(&self) -> Fates {
        let mut fates = Fates::new();
        for record in &self.sent {
            let fate = fates.entry(record.key).or_default();
            match record.step {
                Step::Intent => fate.intended = true,
                Step::Accepted => fate.accepted = Some(record.at),
                Step::Rejected => fate.rejected = true,
                Step::Delivered { .. } | Step::Handled | Step::Corrupt => {}
            }
        }
        fates
    }

    fn follow_deliveries(&self, fates: &mut Fates, verdict: &mut Verdict) {
        let mut last = None;
        for record in &self.received {
            match record.step {
                Step::Corrupt => verdict.corrupt += 1,
                Step::Handled => fates.entry(record.key).or_default().handled = Some(record.at),
                Step::Delivered { redelivered } => {
                    let fate = fates.entry(record.key).or_default();
                    fate.deliveries += 1;
                    if fate.deliveries > 1 {
                        verdict.unmarked += u64::from(!redelivered);
                    } else if last > Some(record.key) {
                        verdict.reordered += 1;
                        eprintln!("reordered: {:?} came first at {:?}, behind {last:?}", record.key, record.at);
                    } else {
                        last = Some(record.key);
                    }
                }
                Step::Intent | Step::Accepted | Step::Rejected => {}
            }
        }
    }

    /// A message that was only in the sender's memory when that was killed. Such messages leave no hole: what the life
    /// accepted behind one that never arrived did not arrive, either.
    fn is_excused(&self, fates: &Fates, key: Key, accepted: Duration) -> bool {
        let Some(excused) = self.excused else { return false };
        let killed = self.kills.iter().find(|(_, life)| *life == Some(key.life));
        let within = killed.is_some_and(|(at, _)| at.saturating_sub(accepted) <= excused);
        let arrived = |fate: &Fate| fate.deliveries > 0;
        let mut later = fates.range(key..).take_while(|(k, _)| k.life == key.life).skip(1);
        within && (fates.get(&key).is_some_and(arrived) || !later.any(|(_, fate)| arrived(fate)))
    }
}

impl Fate {
    /// Accepted before `at` and not handled then.
    fn is_open(&self, at: Duration) -> bool {
        self.accepted.is_some_and(|accepted| accepted <= at) && self.handled.is_none_or(|handled| handled > at)
    }
}

impl Verdict {
    /// What is wrong, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        let must_be_zero = [
            (self.lost, "accepted messages were lost"),
            (self.reordered, "first deliveries came out of order"),
            (self.phantom, "messages arrived that nobody sent"),
            (self.corrupt, "payloads were corrupt"),
            (self.rejected, "messages arrived although they were rejected"),
            (self.unmarked, "duplicates were not marked as redelivered"),
        ];
        let wrong = must_be_zero.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let mut failures: Vec<String> = wrong.collect();
        if self.accepted == 0 {
            failures.push("nothing was accepted".to_owned());
        }
        if self.kills == 0 {
            failures.push("nobody was killed".to_owned());
        }
        if self.hits * 2 < self.kills {
            failures.push(format!("only {} of {} kills hit messages that were not handled", self.hits, self.kills));
        }
        failures
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accepted={} lost={} ", self.accepted, self.lost)?;
        write!(f, "duplicated={} reordered={} kills={}", self.duplicated, self.reordered, self.kills)?;
        write!(f, " hits={}", self.hits)?;
        if self.excused > 0 { write!(f, " within_max_delay={}", self.excused) } else { Ok(()) }
    }
}
