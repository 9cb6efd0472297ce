//! How fast an error budget burns when somebody should know: rates and windows.

use crate::file::Objective;
use crate::window::{Scale, Window};

/// One condition: the budget burns faster than `rate` times what the objective allows, over the long window, and over the
/// short one, which ends the alert soon after the trouble has ended.
pub(crate) struct Burn {
    /// As it is written in rules.
    pub(crate) rate: &'static str,
    value: f64,
    pub(crate) long: Window,
    pub(crate) short: Window,
}

impl Burn {
    /// Whether a share of errors can be so large at all: 14.4 times a budget of 10 % cannot.
    pub(crate) fn is_possible(&self, objective: Objective) -> bool {
        self.value * objective.budget() < 1.0
    }
}

/// What pages: 2 % of a month's budget in an hour, or 5 % in six.
pub(crate) fn page(scale: Scale) -> [Burn; 2] {
    [
        Burn { rate: "14.4", value: 14.4, long: scale.hours(1), short: scale.minutes(5) },
        Burn { rate: "6", value: 6.0, long: scale.hours(6), short: scale.minutes(30) },
    ]
}

/// What can wait for the morning: 10 % in a day, or in three.
pub(crate) fn ticket(scale: Scale) -> [Burn; 2] {
    [
        Burn { rate: "3", value: 3.0, long: scale.days(1), short: scale.hours(2) },
        Burn { rate: "1", value: 1.0, long: scale.days(3), short: scale.hours(6) },
    ]
}
