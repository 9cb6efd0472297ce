//! Spans of time in rules, and their shortening for tests.

use std::fmt;
use std::time::Duration;

/// By what every window and wait is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(u32);

impl Scale {
    /// As written in the rules that are shipped.
    pub const REAL: Self = Self(1);

    /// So many times shorter; 0 counts as 1.
    pub fn shorter_by(divisor: u32) -> Self {
        Self(divisor.max(1))
    }

    /// So many minutes, scaled.
    pub(crate) fn minutes(self, minutes: u64) -> Window {
        Window(Duration::from_secs(minutes * 60) / self.0)
    }

    /// So many hours, scaled.
    pub(crate) fn hours(self, hours: u64) -> Window {
        self.minutes(hours * 60)
    }

    /// So many days, scaled.
    pub(crate) fn days(self, days: u64) -> Window {
        self.hours(days * 24)
    }
}

/// A span of time, shown as Prometheus writes it: `5m`, `1h`, `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Window(Duration);

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let (size, unit) = units.into_iter().find(|(size, _)| milliseconds.is_multiple_of(*size)).unwrap_or((1, "ms"));
        write!(formatter, "{}{unit}", milliseconds / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_shown_in_the_largest_unit_that_is_whole() {
        for (window, expected) in [
            (Scale::REAL.minutes(5), "5m"),
            (Scale::REAL.minutes(60), "1h"),
            (Scale::REAL.hours(24), "1d"),
            (Scale::REAL.hours(36), "36h"), // not whole days
            (Scale::REAL.days(30), "30d"),
            (Scale::shorter_by(60).minutes(5), "5s"),
            (Scale::shorter_by(60).days(3), "72m"),
            (Scale::shorter_by(120).minutes(5), "2500ms"),
            (Scale::shorter_by(0).minutes(5), "5m"), // not a division by zero
        ] {
            assert_eq!(window.to_string(), expected);
        }
    }
}
