//! Log, clock, timer, and the contexts themselves.
#![expect(clippy::unnecessary_wraps, reason = "every import has the one signature that the table needs")]

use super::{Import, data, plain};
use crate::abi::Status;
use crate::guest::{Answer, Guest};
use crate::host::LogLevel;

pub(super) const IMPORTS: &[Import] = &[
    plain("proxy_log", "iii", log),
    plain("proxy_get_log_level", "i", get_log_level),
    plain("proxy_get_current_time_nanoseconds", "i", get_current_time),
    plain("proxy_set_tick_period_milliseconds", "i", set_tick_period),
    plain("proxy_set_effective_context", "i", set_effective_context),
    plain("proxy_done", "", done),
    data("proxy_call_foreign_function", "iiiiii", 4, call_foreign_function),
];

fn log(guest: &mut Guest<'_>) -> Answer {
    let level = LogLevel::from_number(guest.u32(0)).ok_or(Status::BAD_ARGUMENT)?;
    let text = guest.bytes(1)?;
    guest.host().log(level, &text);
    Ok(())
}

fn get_log_level(guest: &mut Guest<'_>) -> Answer {
    let level = guest.host().options.log_level;
    guest.return_u32(0, level)
}

fn get_current_time(guest: &mut Guest<'_>) -> Answer {
    let now = guest.host().options.now;
    guest.return_u64(0, now)
}

fn set_tick_period(guest: &mut Guest<'_>) -> Answer {
    guest.host().tick_period = guest.u32(0);
    Ok(())
}

fn set_effective_context(guest: &mut Guest<'_>) -> Answer {
    let context = guest.u32(0);
    let host = guest.host();
    if context != host.root_context && !host.streams.contains_key(&context) {
        return Err(Status::BAD_ARGUMENT.into());
    }
    host.effective_context = context;
    Ok(())
}

fn done(guest: &mut Guest<'_>) -> Answer {
    guest.host().done_calls += 1;
    Ok(())
}

/// No function of that name is registered.
fn call_foreign_function(guest: &mut Guest<'_>) -> Answer {
    guest.bytes(0)?;
    Err(Status::NOT_FOUND.into())
}
