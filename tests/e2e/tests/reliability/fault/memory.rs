//! Memory does not grow with requests: the backend takes every export request and never answers, queues are full, and
//! requests go on. Five minutes in the long form, with the default queue; seconds in the short one, with a small queue.

use std::time::{Duration, Instant};

use anyhow::ensure;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::EnvoyBinary;
use meshspan_kit::receiver::Behaviour;
use meshspan_kit::wait;

use crate::books::Books;
use crate::fuse::leaking_module;
use crate::report::Row;
use crate::stage::{Setting, Stage, long, play};
use crate::usage::Usage;

/// How much each may still rise once queues are full and one minute has passed (in the short form: three seconds).
///
/// What it is for: in the four minutes left, a leak of 30 bytes a request comes to 96,000 × 30 bytes = 2.7 MiB in
/// Envoy's allocator, or to 96,000 × 40 bytes = 3.7 MiB in the machines, whose allocator rounds up. Without a leak,
/// the former moves by less than 0.2 MiB. The latter rises in steps of up to 0.5 MiB, about 1 MiB in all and most of it
/// early: batches grow by doubling and come and go in every size, and a memory that never shrinks shows the gaps.
const ROOM: Usage = Usage { allocated: 512 << 10, machines: 2 << 20, resident: 4 << 20 };

/// How long load runs, and for how long after queues are full nothing is compared.
fn times() -> (Duration, Duration) {
    if long() {
        (Duration::from_mins(5), Duration::from_mins(1))
    } else {
        // Batches are given up, and freed, by then.
        (Duration::from_secs(8), Duration::from_secs(3))
    }
}

/// Plays it, and says what Envoy held with full queues and the most that it held after that.
fn hang(
    envoy: &EnvoyBinary,
    fault: &'static str,
    change: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
) -> anyhow::Result<(Row, Usage, Usage)> {
    let (time, settling) = times();
    let setting = if long() { Setting { queue: 2_048, batch: 512, ..Setting::default() } } else { Setting::default() };
    let mut stage = Stage::start(envoy, setting, change)?;
    stage.backend.answer(Behaviour::Hang);
    let (mut full, mut most) = (Usage::default(), Usage::default());
    let during = stage.under_load(time, |stage, end| {
        wait::until(time, "full queues", || {
            let books = Books::read(&stage.envoy).ok()?;
            books.dropped.contains_key("queue_full").then_some(())
        })?;
        stage.watch_books(Instant::now() + settling)?;
        full = Usage::of(&stage.envoy)?;
        while Instant::now() < end {
            stage.watch_books(end.min(Instant::now() + Duration::from_secs(1)))?;
            most = most.max(Usage::of(&stage.envoy)?);
        }
        Ok(())
    })?;
    stage.backend.answer(Behaviour::Ok);
    let row = Row {
        fault,
        time,
        requests: during.outcome.sent,
        errors: during.outcome.errors,
        books: stage.settled(&Books::default(), &[&during.outcome])?,
        lost: 0,
        p99: None,
        memory: Some((full.resident, most.resident)),
    };
    eprintln!("with full queues {full:?}, at the most after that {most:?}");
    ensure!(row.errors == 0, "{} callers saw it: {:?}", row.errors, during.outcome.first_errors);
    stage.stop()?;
    Ok((row, full, most))
}

#[test]
fn stays_flat() {
    let fault = if long() { "five minutes without an answer" } else { "8 seconds without an answer" };
    play(fault, true, |envoy| {
        let (row, full, most) = hang(envoy, fault, |config| config)?;
        row.tell(envoy)?;
        // All queues full, as far as an Envoy that has just begun can have them: there is something to see.
        ensure!(full.machines > 1 << 20, "the memory of the machines was not found: {full:?}");
        ensure!(!most.exceeds(full, ROOM), "{full:?} became {most:?}");
        Ok(())
    });
}

#[test]
fn a_leak_would_be_seen() {
    // Seconds show only what is large.
    let (fault, bytes) =
        if long() { ("a leak of 30 bytes a request", 30) } else { ("a leak of 4 KiB a request", 4 << 10) };
    play(fault, false, |envoy| {
        let folder = tempfile::tempdir()?;
        let module = leaking_module(folder.path(), bytes)?;
        let (_, full, most) = hang(envoy, fault, |config| config.wasm_module(&module))?;
        ensure!(most.exceeds(full, ROOM), "not seen: {full:?} became {most:?}");
        Ok(())
    });
}
