//! The WASI functions that Envoy offers: enough for a language's library to start, write and read the clock. There
//! are no files.

use super::{Import, plain};
use crate::abi::Status;
use crate::guest::{Answer, Guest};
use crate::host::LogLevel;

/// Bad file descriptor.
const BADF: Status = Status(8);
/// Invalid argument.
const INVAL: Status = Status(28);
/// Not supported.
const NOTSUP: Status = Status(58);

pub(super) const IMPORTS: &[Import] = &[
    plain("fd_write", "iiii", fd_write),
    plain("fd_read", "iiii", |_| Err(BADF.into())),
    plain("fd_seek", "iIii", |_| Err(BADF.into())),
    plain("fd_close", "i", |_| Err(BADF.into())),
    plain("fd_fdstat_get", "ii", fd_fdstat_get),
    plain("fd_fdstat_set_flags", "ii", |_| Err(BADF.into())),
    plain("fd_prestat_get", "ii", |_| Err(BADF.into())),
    plain("fd_prestat_dir_name", "iii", |_| Err(BADF.into())),
    plain("path_open", "iiiiiIIii", |_| Err(BADF.into())),
    plain("environ_sizes_get", "ii", no_strings),
    plain("environ_get", "ii", |_| Ok(())),
    plain("args_sizes_get", "ii", no_strings),
    plain("args_get", "ii", |_| Ok(())),
    plain("clock_time_get", "iIi", clock_time_get),
    plain("random_get", "ii", random_get),
    plain("sched_yield", "", |_| Ok(())),
    plain("poll_oneoff", "iiii", |_| Err(NOTSUP.into())),
    plain("proc_exit", "i", proc_exit),
];

/// Standard output logs at info, standard error at error.
fn fd_write(guest: &mut Guest<'_>) -> Answer {
    let level = match guest.u32(0) {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Err(BADF.into()),
    };
    let count = guest.u32(2).min(1024);
    let vectors = guest.read(guest.u32(1), count * 8)?;
    let mut text = Vec::new();
    for vector in vectors.chunks_exact(8) {
        let word = |at: usize| u32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]]);
        text.extend(guest.read(word(0), word(4))?);
    }
    guest.return_u32(3, u32::try_from(text.len()).unwrap_or(u32::MAX))?;
    guest.host().log(level, &text);
    Ok(())
}

/// The three standard streams are character devices that can be appended to.
fn fd_fdstat_get(guest: &mut Guest<'_>) -> Answer {
    if guest.u32(0) > 2 {
        return Err(BADF.into());
    }
    let mut stat = [0; 24];
    stat[0] = 2;
    stat[2] = 1;
    stat[8] = 64;
    guest.write(guest.u32(1), &stat)
}

fn no_strings(guest: &mut Guest<'_>) -> Answer {
    guest.return_u32(0, 0)?;
    guest.return_u32(1, 0)
}

/// The wall clock and the monotonic clock are the same clock here.
fn clock_time_get(guest: &mut Guest<'_>) -> Answer {
    if guest.u32(0) > 1 {
        return Err(NOTSUP.into());
    }
    let now = guest.host().options.now;
    guest.return_u64(2, now)
}

/// Up to 64 KiB a call, as in Envoy.
fn random_get(guest: &mut Guest<'_>) -> Answer {
    let size = usize::try_from(guest.u32(1)).unwrap_or(usize::MAX);
    if size > 64 * 1024 {
        return Err(INVAL.into());
    }
    let mut bytes = vec![0; size];
    guest.host().fill_random(&mut bytes);
    guest.write(guest.u32(0), &bytes)
}

fn proc_exit(guest: &mut Guest<'_>) -> Answer {
    let message = format!("the module called proc_exit({})", guest.u32(0));
    Err(wasmtime::Error::msg(message).into())
}
