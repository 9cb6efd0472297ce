//! Memory does not grow with time: the backend takes every request and never answers, queues are full, and requests go
//! on. Five minutes in the long form, with the default queue; seconds in the short one, with a small queue.

use std::time::{Duration, Instant};

use anyhow::ensure;
use meshspan_kit::receiver::Behaviour;
use meshspan_kit::wait;

use crate::books::Books;
use crate::report::Row;
use crate::stage::{Setting, Stage, long, play};

/// How much Envoy's resident memory may still rise once all queues are full, bytes. At 400 requests a second, a leak of
/// 100 bytes a request would come to that in less than four minutes.
const RISE: u64 = 8 << 20;

#[test]
fn stays_flat() {
    let (fault, time, setting) = if long() {
        let setting = Setting { queue: 2_048, batch: 512, ..Setting::default() };
        ("five minutes without an answer", Duration::from_mins(5), setting)
    } else {
        ("8 seconds without an answer", Duration::from_secs(8), Setting::default())
    };
    play(fault, true, |envoy| {
        let mut stage = Stage::start(envoy, setting.clone(), |config| config)?;
        stage.backend.answer(Behaviour::Hang);
        let start = stage.envoy.resident_memory()?;
        let (mut full, mut most) = (0, 0);
        let during = stage.under_load(time, |stage, end| {
            wait::until(time, "full queues", || {
                let books = Books::read(&stage.envoy).ok()?;
                books.dropped.contains_key("queue_full").then_some(())
            })?;
            // Batches are given up, and freed, by then.
            stage.watch_books(Instant::now() + Duration::from_secs(3))?;
            full = stage.envoy.resident_memory()?;
            while Instant::now() < end {
                stage.watch_books(end.min(Instant::now() + Duration::from_secs(1)))?;
                most = most.max(stage.envoy.resident_memory()?);
            }
            Ok(())
        })?;
        stage.backend.answer(Behaviour::Ok);
        let books = stage.settled(&Books::default(), &[&during.outcome])?;
        let row = Row {
            fault,
            time,
            requests: during.outcome.sent,
            errors: during.outcome.errors,
            books,
            lost: 0,
            p99: None,
            memory: Some((full, most)),
        };
        row.tell(envoy)?;
        eprintln!("resident: {start} bytes at the start, {full} with full queues, {most} at the most after that");
        ensure!(row.errors == 0, "{} callers saw it: {:?}", row.errors, during.outcome.first_errors);
        ensure!(most < full + RISE, "{full} bytes with full queues became {most}");
        stage.stop()
    });
}
