//! The logic's lines in the host's log.

use meshspan_core::config::LogLevel as Level;
use meshspan_core::log_line::LogLine;

use crate::calls::{self, LogLevel};

/// Writes the logic's line to the host's log.
#[inline]
pub(crate) fn write(line: Option<LogLine>) {
    let Some(LogLine { level, text }) = line else { return };
    calls::log(level_of(level), &format!("meshspan: {}", text.as_str()));
}

/// The host's name for a level.
pub(crate) const fn level_of(level: Level) -> LogLevel {
    match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
        Level::Critical => LogLevel::Critical,
    }
}
