//! What an operator sees of the exporters on `/stats/prometheus`: names, labels, and books that balance at any moment.

use crate::export::{Backend, batch, exporting_for};
use crate::support::Table;
use anyhow::ensure;
use meshspan_e2e::{DEADLINE, each_envoy};
use meshspan_kit::envoy::{Options, Samples};
use meshspan_kit::receiver::Behaviour;
use meshspan_kit::wait;
use serde_json::json;

/// `started`, `exported`, `dropped`, `queued`, `in_flight` of one exporter.
fn books(samples: &Samples, exporter: &str) -> [u64; 5] {
    ["started_total", "exported_total", "dropped_total", "queued", "in_flight"]
        .map(|name| samples.sum(&format!("meshspan_export_{name}"), &[("signal", "traces"), ("exporter", exporter)]))
}

/// Waits until the books of an exporter are these; they balance at every look.
fn wait_for_books(backend: &Backend, exporter: &str, expected: [u64; 5]) -> anyhow::Result<Samples> {
    let mut last = [0; 5];
    let found = wait::until(DEADLINE, "the books", || {
        let samples = backend.mesh.samples();
        last = books(&samples, exporter);
        (last == expected).then_some(samples)
    });
    found.map_err(|error| error.context(format!("the books are {last:?}, not {expected:?}")))
}

#[test]
fn each_exporter_has_its_own_books() {
    // Three spans make a batch; the fourth and fifth wait behind it.
    let processor = |protocol| batch(protocol, json!({"schedule_delay": 60_000, "max_export_batch_size": 3}));
    let processors = [processor("grpc"), processor("protobuf"), processor("json")];
    let listeners = [exporting_for("three", &processors, 60_000)];
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let table = Table::default();
        let gauge = |samples: &Samples, name: &str, exporter: &str| {
            samples.sum(&format!("meshspan_export_{name}"), &[("signal", "traces"), ("exporter", exporter)])
        };
        table.case("before the first request everything is 0", || {
            for exporter in ["collector:4317", "collector-http:4318", "collector-http:4318#2"] {
                let samples = wait_for_books(&backend, exporter, [0; 5])?;
                let all =
                    samples.0.iter().filter(|sample| sample.labels.get("exporter").is_some_and(|e| e == exporter));
                let names: Vec<_> = all.map(|sample| sample.name.as_str()).collect();
                for name in [
                    "started_total",
                    "exported_total",
                    "dropped_total",
                    "retried_total",
                    "responses_malformed_total",
                    "uncompressed_bytes_total",
                    "compressed_bytes_total",
                    "queued",
                    "in_flight",
                    "queue_bytes",
                    "up",
                    "request_duration_milliseconds_count",
                ] {
                    ensure!(names.contains(&format!("meshspan_export_{name}").as_str()), "{name} in {names:?}");
                }
            }
            Ok(())
        });
        table.case("what is under way and what waits is in the books", || {
            backend.mesh.receiver.script([Behaviour::Hang]);
            backend.requests("three", 5)?;
            let samples = wait_for_books(&backend, "collector:4317", [5, 0, 0, 2, 3])?;
            ensure!(gauge(&samples, "queue_bytes", "collector:4317") > 500, "two spans have some bytes");
            wait_for_books(&backend, "collector-http:4318", [5, 3, 0, 2, 0])?;
            wait_for_books(&backend, "collector-http:4318#2", [5, 3, 0, 2, 0]).map(drop)
        });
        table.case("a request that failed and its retry", || {
            // The timeout is half a second, the wait before the retry up to one.
            let samples = wait_for_books(&backend, "collector:4317", [5, 3, 0, 2, 0])?;
            let of = [("exporter", "collector:4317")];
            let requests = |code| samples.sum("meshspan_export_requests_total", &[of[0], ("answer", code)]);
            ensure!((requests("OK"), samples.sum("meshspan_export_requests_total", &of)) == (1, 2), "{samples:?}");
            ensure!(samples.sum("meshspan_export_retried_total", &of) == 1, "one retry");
            ensure!(gauge(&samples, "up", "collector:4317") == 1, "it answered");
            // Envoy merges histograms now and then.
            let name = "meshspan_export_request_duration_milliseconds";
            wait::until(DEADLINE, "the histogram", || {
                let samples = backend.mesh.samples();
                let buckets = |least| samples.sum(&format!("{name}_bucket"), &[of[0], ("le", least)]);
                let count = samples.sum(&format!("{name}_count"), &of);
                (count == 2 && buckets("250") == 1 && buckets("5000") == 2).then_some(())
            })
        });
        table.case("up tells of a backend that is down", || {
            backend.http.set_default(Behaviour::http_status(401));
            backend.requests("three", 1)?;
            let samples = wait_for_books(&backend, "collector-http:4318", [6, 3, 3, 0, 0])?;
            let dropped = [("exporter", "collector-http:4318"), ("reason", "refused"), ("answer", "401")];
            ensure!(samples.sum("meshspan_export_dropped_total", &dropped) == 3, "{samples:?}");
            ensure!(gauge(&samples, "up", "collector-http:4318") == 0, "down");
            ensure!(gauge(&samples, "up", "collector:4317") == 1, "another one is not");
            Ok(())
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn the_sum_of_the_workers_is_shown() {
    let listeners = [exporting_for("grpc", &[batch("grpc", json!({"schedule_delay": 60_000}))], 60_000)];
    each_envoy(&[2], |envoy, concurrency| {
        let backend = Backend::start(envoy, &Options { concurrency, ..Options::default() }, &listeners);
        let table = Table::default();
        table.case("what all workers hold", || {
            // Each on a connection of its own, so that both workers get some.
            for _ in 0..20 {
                backend.requests("grpc", 1)?;
            }
            wait_for_books(&backend, "collector:4317", [20, 0, 0, 20, 0]).map(drop)
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}
