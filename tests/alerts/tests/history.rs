//! Histories of requests, as promtool's tests of rules take them: a value a minute.

use std::fmt::Write as _;

/// Requests that were counted each minute: so many of them, and after them so many others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) minutes: u64,
    /// Good ones, a minute.
    pub(crate) good: f64,
    /// Bad ones, a minute.
    pub(crate) bad: f64,
}

/// A counter through all phases, in promtool's notation: each sample is the sum of what was counted before it.
pub(crate) fn counter(phases: &[Phase], rate: impl Fn(&Phase) -> f64) -> String {
    let mut text = String::new();
    let mut value = 0.0;
    for phase in phases {
        let rate = rate(phase);
        let _ = write!(text, "{value}+{rate}x{} ", phase.minutes - 1);
        #[allow(clippy::cast_precision_loss, reason = "some thousand minutes")]
        let minutes = phase.minutes as f64;
        value += rate * minutes;
    }
    text.trim_end().to_owned()
}

#[test]
fn a_counter_goes_on_where_it_was() {
    let phases = [Phase { minutes: 3, good: 990.0, bad: 10.0 }, Phase { minutes: 2, good: 500.0, bad: 0.0 }];
    assert_eq!(counter(&phases, |phase| phase.good), "0+990x2 2970+500x1");
    assert_eq!(counter(&phases, |phase| phase.bad), "0+10x2 30+0x1");
}
