//! Lines for the filter's own log: values, like every other effect.

use crate::config::LogLevel;

/// One line for the host's log. Never made per request: only when something changes for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How grave it is.
    pub level: LogLevel,
    /// One line, with what to do where there is something to do.
    pub text: String,
}
