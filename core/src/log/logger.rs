//! Which streams are logged, and what holds a worker back from writing too much.

use crate::config::{Config, LogRule, LogsConfig};
use crate::sampling::Ended;

/// The configured logger of one worker: says which streams are logged.
#[derive(Clone, Debug)]
pub struct Logger {
    rule: LogRule,
    room: Room,
}

impl Logger {
    /// From checked configuration; `None` when nothing is logged.
    #[inline]
    pub fn new(config: &Config) -> Option<Self> {
        let logs = config.meshspan.logs.unwrap_or_default();
        let is_written = config.logger.is_some() || logs.json_lines_per_second.is_some();
        is_written.then(|| Self { rule: logs.when, room: Room::new(&logs) })
    }

    /// Whether a stream that is not sampled may be logged in the end, so that its head has to be held.
    pub const fn may_log_unsampled(&self) -> bool {
        self.rule.all || self.rule.errors || self.rule.slower_than_ms.is_some()
    }

    /// Whether a stream is logged that ended so; `is_exported`: a span of it is.
    pub fn wants(&self, ended: &Ended<'_>, is_exported: bool) -> bool {
        let limit = self.rule.slower_than_ms.map(|ms| u64::from(ms).saturating_mul(1_000_000));
        let slow = ended.duration.zip(limit).is_some_and(|(duration, limit)| duration > limit);
        self.rule.all || self.rule.errors && ended.failed || slow || self.rule.sampled && is_exported
    }

    /// Where request headers are held.
    pub const fn room(&mut self) -> &mut Room {
        &mut self.room
    }
}

/// What request headers may be held for streams under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    most: u64,
    held: u64,
}

impl Room {
    #[inline]
    fn new(logs: &LogsConfig) -> Self {
        Self { most: u64::from(logs.max_pending_bytes), held: 0 }
    }

    /// Asks for room for the headers of one more stream. What is given has to be given [`back`](Self::release).
    pub fn hold(&mut self, bytes: usize) -> bool {
        let held = self.held.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let fits = held <= self.most;
        if fits {
            self.held = held;
        }
        fits
    }

    /// Gives room back.
    pub fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

/// So many lines a second: writing a line holds a worker up, and fills a disk.
#[derive(Clone, Copy, Debug)]
pub struct LineAllowance {
    a_second: u32,
    /// Which second it is, and what is left of its lines.
    second: u64,
    left: u32,
}

impl LineAllowance {
    /// From checked configuration.
    #[inline]
    pub const fn new(a_second: u32) -> Self {
        Self { a_second, second: 0, left: a_second }
    }

    /// Whether one more line may be written at `now` (ns).
    pub fn take(&mut self, now: u64) -> bool {
        let second = now / 1_000_000_000;
        // Also when the clock was set back.
        if second != self.second {
            self.second = second;
            self.left = self.a_second;
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const MS: u64 = 1_000_000;

    fn logger(rule: LogRule) -> Logger {
        Logger { rule, room: Room::new(&LogsConfig::default()) }
    }

    #[test]
    fn rules_add_up() {
        let none = LogRule::default();
        let all = LogRule { all: true, ..none };
        let errors = LogRule { errors: true, ..none };
        let slow = LogRule { slower_than_ms: Some(100), ..none };
        let sampled = LogRule { sampled: true, ..none };
        let either = LogRule { errors: true, sampled: true, ..none };
        // Rule, failed, duration, exported, expected, why.
        let table = [
            (all, false, None, false, true, "everything"),
            (errors, true, Some(1), false, true, "failed"),
            (errors, false, Some(1_000), true, false, "well"),
            (slow, false, Some(101), false, true, "longer"),
            (slow, false, Some(100), true, false, "not longer"),
            (slow, true, None, true, false, "a tunnel has no time of its own"),
            (sampled, false, Some(1), true, true, "exported"),
            (sampled, true, Some(1), false, false, "not exported"),
            (either, true, Some(1), false, true, "one of two"),
            (either, false, Some(1), true, true, "the other"),
            (either, false, Some(1), false, false, "neither"),
        ];
        for (rule, failed, duration, is_exported, expected, why) in table {
            let duration = duration.map(|ms: u64| ms * MS);
            let ended = Ended { failed, duration, route: b"", upstream_recorded: false, now: 1 };
            assert_eq!(logger(rule).wants(&ended, is_exported), expected, "{rule:?}: {why}");
        }
        let may = [(all, true), (errors, true), (slow, true), (sampled, false), (either, true)];
        for (rule, expected) in may {
            assert_eq!(logger(rule).may_log_unsampled(), expected, "{rule:?}");
        }
    }

    #[test]
    fn lines_are_allowed_by_the_second() {
        let mut lines = LineAllowance::new(3);
        let mut taken =
            |second: u64, times: usize| (0..times).filter(|at| lines.take(second * 1_000 * MS + *at as u64)).count();
        assert_eq!(taken(100, 10), 3);
        assert_eq!(taken(101, 2), 2);
        assert_eq!(taken(101, 2), 1, "the same second");
        assert_eq!(taken(500, 10), 3, "what was not used is not saved up");
        assert_eq!(taken(50, 10), 3, "a clock that was set back");
    }

    #[test]
    fn room_has_an_end() {
        let mut room = Room { most: 100, held: 0 };
        assert!(room.hold(60) && !room.hold(41) && room.hold(40));
        room.release(60);
        assert!(room.hold(60) && !room.hold(1));
    }
}
