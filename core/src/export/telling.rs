//! What the log is told of an exporter: changes only, and few of those where one follows the other.

use crate::config::LogLevel;
use crate::log_line::LogDraft;

/// How an exporter fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Requests are answered with success. Where it begins.
    #[default]
    Well,
    /// They are, and some items are rejected.
    Rejecting,
    /// The cluster does not exist.
    NoCluster,
    /// Requests fail.
    Failed,
}

/// Keeps what the log knows. A state that was not told, because too much was, is told when it still holds later.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    told: State,
    /// Lines that may be written at once.
    allowance: u32,
    /// When the allowance was last added to, ns.
    since: u64,
}

/// Lines that may follow each other.
const BURST: u32 = 4;

/// One more line is allowed after each of these, ns: a backend that flaps for an hour costs 240 lines.
const INTERVAL: u64 = 15_000_000_000;

impl Default for Telling {
    fn default() -> Self {
        Self { told: State::default(), allowance: BURST, since: 0 }
    }
}

impl Telling {
    /// The line for the log, if `state` is news at `now` (ns) and a line may be written: `words` of our own, and what
    /// the backend has said.
    #[inline]
    pub(super) fn tell(&mut self, state: State, words: String, quoted: String, now: u64) -> Option<LogDraft> {
        if state == self.told {
            return None;
        }
        // A clock that was set back starts a new interval.
        let intervals = now.saturating_sub(self.since).checked_div(INTERVAL).unwrap_or(0);
        if intervals > 0 || now < self.since {
            self.since = now;
            self.allowance = self.allowance.saturating_add(u32::try_from(intervals).unwrap_or(BURST)).min(BURST);
        }
        self.allowance = self.allowance.checked_sub(1)?;
        self.told = state;
        let level = if state == State::Well { LogLevel::Info } else { LogLevel::Warn };
        Some(LogDraft { level, words, quoted })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn changes_are_told() {
        let mut telling = Telling::default();
        let mut tell = |state| telling.tell(state, String::new(), String::new(), 1).map(|line| line.level);
        assert_eq!(tell(State::Well), None, "nothing was ever wrong");
        assert_eq!(tell(State::NoCluster), Some(LogLevel::Warn));
        assert_eq!(tell(State::NoCluster), None);
        assert_eq!(tell(State::Failed), Some(LogLevel::Warn), "wrong in another way");
        assert_eq!(tell(State::Well), Some(LogLevel::Info));
    }

    #[test]
    fn a_backend_that_flaps_does_not_fill_the_log() {
        let mut telling = Telling::default();
        let second = 1_000_000_000;
        let hour = (0..3_600).filter_map(|at| {
            let state = if at % 2 == 0 { State::Failed } else { State::Well };
            telling.tell(state, String::new(), String::new(), at * second)
        });
        let lines = hour.count();
        assert!((200..=250).contains(&lines), "{lines} lines");
        // The state that holds in the end is told, be it later.
        let end =
            (3_600..3_700).filter_map(|at| telling.tell(State::Failed, String::new(), String::new(), at * second));
        assert!(end.count() <= 1);
        assert_eq!(telling.told, State::Failed);
    }
}
