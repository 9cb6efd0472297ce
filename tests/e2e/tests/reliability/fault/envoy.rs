//! Envoy itself changes, or ends.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_e2e::DEADLINE;
use meshspan_kit::envoy::{Envoy, Update};
use meshspan_kit::wait;
use serde_json::json;

use crate::books::Books;
use crate::report::Row;
use crate::scenario::{Lost, Scenario, warmed_up};
use crate::stage::{CONNECTIONS, Setting, Stage, TRACED, WORKERS, fault_time, play};

#[test]
fn the_cluster_comes_later() {
    let fault = "its cluster is missing, then comes through CDS";
    play(fault, true, |envoy| {
        let mut setting = Setting::patient();
        setting.options.clusters_by_file = true;
        let mut stage = Stage::start(envoy, setting, |config| config.without_cluster("collector"))?;
        let before = stage.envoy.resident_memory()?;
        let without = stage.under_load(fault_time(), |stage, end| {
            // Even if one worker gets all requests, its queue holds what comes until it tries again.
            stage.watch_books(Instant::now() + Duration::from_millis(1_250))?;
            ensure!(Books::read(&stage.envoy)?.exported == 0, "exported without a cluster");
            let update = stage.envoy.update_clusters(&stage.config(), &["collector"])?;
            ensure!(update == Update::Accepted, "the cluster was refused");
            stage.watch_books(end)
        })?;
        let books = stage.settled(&Books::default(), &[&without.outcome])?;
        stage.envoy.wait_for_log("works again", DEADLINE)?;
        let told = stage.envoy.log().matches("this proxy has no cluster").count();
        let healthy = warmed_up(&mut stage)?;
        let row = Row {
            fault,
            time: without.time,
            requests: without.outcome.sent,
            errors: without.outcome.errors,
            books,
            lost: 0,
            p99: Some((healthy.outcome.quantile(0.99), without.outcome.quantile(0.99))),
            memory: Some((before, without.memory)),
        };
        row.tell(envoy)?;
        ensure!(row.errors == 0, "{} callers saw it: {:?}", row.errors, without.outcome.first_errors);
        Lost::Nothing.check(&row.books)?;
        ensure!((1..=WORKERS as usize).contains(&told), "the log tells {told} times and not once a worker");
        stage.stop()
    });
}

#[test]
fn the_listener_is_updated() {
    let mut setting = Setting::patient();
    setting.options.listeners_by_file = true;
    // Envoy closes the kept connections of a listener that has drained, with or without the filter.
    setting.send_again = true;
    let happens = |stage: &mut Stage, end: Instant| {
        let time = end.saturating_duration_since(Instant::now()) / 50;
        let original = stage.config();
        for number in 0..50 {
            let next = Instant::now() + time;
            let version = json!({"name": "service.version", "value": number.to_string()});
            let config = original.clone().meshspan(|_, meshspan| {
                if let Some(attributes) = meshspan["resource"]["attributes"].as_array_mut() {
                    attributes.push(version.clone());
                }
            });
            let update = stage.envoy.update_listeners(&config)?;
            ensure!(update == Update::Accepted, "update {number} was refused");
            stage.watch_books(next)?;
        }
        Ok(())
    };
    Scenario {
        fault: "the listener is updated 50 times",
        setting,
        happens: Box::new(happens),
        lost: Lost::Nothing,
        exact: true,
        everywhere: true,
    }
    .play();
}

/// Ends Envoy under load: what had not left by then is lost, and no counter tells.
fn ends(fault: &'static str, end: fn(Envoy) -> anyhow::Result<()>) {
    play(fault, true, |envoy| {
        let mut stage = Stage::start(envoy, Setting::default(), |config| config)?;
        warmed_up(&mut stage)?;
        let taken = stage.backend.spans();
        let running = stage.load.start(stage.envoy.address(TRACED)?, &stage.answers);
        stage.watch_books(Instant::now() + fault_time())?;
        let ended = Instant::now();
        end(stage.envoy)?;
        let served = running.answered();
        let outcome = running.stop();
        let early = outcome.error_times.iter().filter(|time| **time < ended).count();
        ensure!(early == 0, "{early} errors before the end: {:?}", outcome.first_errors);
        // What was on its way may still arrive.
        let all = || (stage.backend.spans() - taken >= served).then_some(());
        let _ = wait::until(Duration::from_millis(500), "every span", all);
        let arrived = stage.backend.spans() - taken;
        ensure!(arrived <= served + u64::from(CONNECTIONS), "{served} requests, {arrived} spans");
        let lost = served.saturating_sub(arrived);
        let books = Books { started: served, exported: arrived.min(served), ..Books::default() };
        let row = Row { fault, time: fault_time(), requests: served, errors: 0, books, lost, p99: None, memory: None };
        row.tell(envoy)?;
        let room = stage.setting.room() + u64::from(CONNECTIONS);
        ensure!(lost <= room, "{lost} spans are lost, and no more than {room} could have waited");
        Ok(())
    });
}

#[test]
fn it_gets_sigterm() {
    ends("Envoy gets SIGTERM", |envoy| envoy.stop().context("in order"));
}

#[test]
fn it_gets_sigkill() {
    ends("Envoy gets SIGKILL", |envoy| {
        envoy.kill();
        Ok(())
    });
}
