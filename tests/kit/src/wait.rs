//! Waiting for a condition of another process, with a deadline.

use std::time::{Duration, Instant};

/// How often a condition that cannot notify us (another process's state) is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Asks `condition` until it answers `Some`, and gives up after `deadline`.
///
/// # Errors
/// At the deadline, with `what` in the message.
pub fn until<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= end {
            anyhow::bail!("waited {deadline:?} in vain for {what}");
        }
        std::thread::sleep(INTERVAL);
    }
}
