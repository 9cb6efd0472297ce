//! A Collector that is killed and comes back, with nothing on the way and under load.
//!
//! What is exactly true of it: a span that the filter counts as exported was answered, so the Collector has it. A
//! batch that was on its way at the kill is sent again, and the Collector may have written it before it could answer.
//! Such a batch is there twice, as OTLP has it ("Duplicate Data"); each worker has no more than one on its way, which is
//! `limits.max_in_flight`'s default.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;
use meshspan_e2e::each_envoy_with;
use meshspan_kit::backend::{COLLECTOR_VARIABLE, Collector};
use meshspan_kit::envoy::EnvoyBinary;
use meshspan_kit::receiver::ReceivedSpan;

use crate::support::{BATCH, Books, CHANNELS, Channel, Load, calls, each_channel, mesh};

#[test]
fn nothing_is_lost_or_doubled_when_nothing_was_on_its_way() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let mut collector = Collector::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &CHANNELS, (collector.grpc(), collector.http()));
        each_channel(&mesh, &CHANNELS, |channel| {
            let before = Books::of(&mesh, channel);
            let mut sent = calls(&mesh, channel, 100)?;
            Books::settled(&mesh, channel, &before, 100)?;
            collector.kill();
            sent.extend(calls(&mesh, channel, 100)?);
            let down = Books::waiting(&mesh, channel, &before, 200)?;
            ensure!(down.exported == 100 && down.queued + down.in_flight == 100, "while it is away: {down:?}");
            collector.restart()?;
            sent.extend(calls(&mesh, channel, 100)?);
            let books = Books::settled(&mesh, channel, &before, 300)?;
            books.expect_all_exported(300)?;
            sent.sort_unstable();
            ensure!(arrived(&collector, channel)? == sent, "each once, in both lives: {books:?}");
            Ok(())
        });
        mesh.stop();
    });
}

#[test]
fn a_kill_under_load_loses_nothing_and_doubles_no_more_than_was_on_its_way() {
    const KILLS: usize = 3;
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let most = KILLS * concurrency as usize * BATCH;
        let kill = |collector: &mut Collector| {
            collector.kill();
            Ok(())
        };
        under_load(binary, envoy, concurrency, KILLS, kill, |channel, doubled| {
            // For the record, where the test shows its output.
            println!("{}: {doubled} came twice", channel.name);
            ensure!(doubled <= most, "{doubled} came twice, and no more than {most} were on their way");
            Ok(())
        });
    });
}

#[test]
fn an_orderly_restart_under_load_loses_and_doubles_nothing() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        // A Collector that is asked to end answers what it has taken.
        under_load(binary, envoy, concurrency, 1, Collector::stop, |_, doubled| {
            ensure!(doubled == 0, "{doubled} came twice");
            Ok(())
        });
    });
}

/// Ends the Collector so many times while callers call, and starts it again each time. Every span must be there; how
/// many are there twice is told, for each channel.
fn under_load(
    binary: &Path,
    envoy: &EnvoyBinary,
    concurrency: u32,
    times: usize,
    end: impl Fn(&mut Collector) -> anyhow::Result<()>,
    judge_doubled: impl Fn(Channel, usize) -> anyhow::Result<()>,
) {
    let mut collector = Collector::start(binary).unwrap();
    // Compressed or not makes no difference here.
    let channels: Vec<_> = CHANNELS.into_iter().step_by(2).collect();
    let mesh = mesh(envoy, concurrency, &channels, (collector.grpc(), collector.http()));
    each_channel(&mesh, &channels, |channel| {
        let first = Books::of(&mesh, channel);
        let sent = Load::new(&mesh, channel)?.run(|load| {
            for _ in 0..times {
                let before = Books::of(&mesh, channel);
                load.allow(600);
                // The callers go on all the while: some hundred calls before the end, as many after it.
                load.wait_until_answered_but(400)?;
                end(&mut collector)?;
                load.wait_until_answered_but(100)?;
                load.allow(200);
                Books::wait_for_failure(&mesh, channel, &before)?;
                collector.restart()?;
                load.allow(200);
                // Before the next time the queue is to be empty: what is proved here is not its bound.
                let calls = load.wait_until_answered_but(0)?;
                Books::settled(&mesh, channel, &first, calls)?;
            }
            Ok(())
        })?;
        let books = Books::settled(&mesh, channel, &first, sent.len() as u64)?;
        books.expect_all_exported(sent.len() as u64)?;
        let arrived = arrived(&collector, channel)?;
        let once: BTreeSet<_> = arrived.iter().collect();
        ensure!(once.into_iter().eq(&sent), "what arrived is what was sent: {books:?}");
        judge_doubled(channel, arrived.len() - sent.len())
    });
    mesh.stop();
}

/// The trace ids of all spans that the Collector took by a channel, in the order of the alphabet.
fn arrived(collector: &Collector, channel: Channel) -> anyhow::Result<Vec<String>> {
    let spans = collector.spans()?;
    let spans = spans.iter().filter(|span| span.service() == channel.name);
    let mut ids: Vec<_> = spans.map(ReceivedSpan::trace_id).collect();
    ids.sort_unstable();
    Ok(ids)
}
