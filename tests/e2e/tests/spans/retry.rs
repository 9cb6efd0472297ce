//! Exports that fail at first: what is tried again, when, and that nothing is lost or sent twice.

use crate::export::{Backend, Books, PROTOCOLS, batch, exporting_for, ids};
use crate::support::Table;
use anyhow::{Context, ensure};
use meshspan_e2e::{DEADLINE, bootstrap, each_envoy, retry_info};
use meshspan_kit::envoy::Options;
use meshspan_kit::receiver::{Behaviour, Receiver};
use meshspan_kit::wait;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn unavailable_for(seconds: &str) -> Behaviour {
    let headers = vec![("retry-after".to_owned(), seconds.to_owned())];
    Behaviour::HttpStatus { code: 503, headers, body: Vec::new() }
}

/// What a backend answers first, and how many spans are lost for it. A retry takes its second: so each answer stands
/// with one protocol that it concerns.
fn cases(protocol: &str) -> Vec<(&'static str, Behaviour, u64)> {
    let exhausted = |details| Behaviour::GrpcStatus { code: 8, message: "quota".to_owned(), details };
    match protocol {
        "grpc" => vec![
            ("503 without a gRPC status", Behaviour::http_status(503), 0),
            ("a reset", Behaviour::Reset, 0),
            ("no answer", Behaviour::Hang, 0),
            ("UNAVAILABLE", Behaviour::grpc_status(14, "try later"), 0),
            ("RESOURCE_EXHAUSTED with RetryInfo", exhausted(retry_info(300)), 0),
            ("RESOURCE_EXHAUSTED without", exhausted(Vec::new()), 3),
            ("UNAUTHENTICATED", Behaviour::grpc_status(16, "who are you"), 3),
        ],
        "protobuf" => vec![
            ("503 with Retry-After", unavailable_for("1"), 0),
            ("429", Behaviour::http_status(429), 0),
            ("502", Behaviour::http_status(502), 0),
            ("504", Behaviour::http_status(504), 0),
            ("a reset", Behaviour::Reset, 0),
            ("400 stays 400", Behaviour::http_status(400), 3),
            ("401 stays 401", Behaviour::http_status(401), 3),
        ],
        _ => vec![("503", Behaviour::http_status(503), 0)],
    }
}

#[test]
fn what_otlp_lets_a_client_try_again_is_tried_again() {
    let listeners = PROTOCOLS.map(|protocol| {
        // The three spans of a case make one batch.
        let processor = batch(protocol, json!({"schedule_delay": 60_000, "max_export_batch_size": 3}));
        exporting_for(protocol, &[processor], 60_000)
    });
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let table = Table::default();
        for protocol in PROTOCOLS {
            for (why, behaviour, lost) in cases(protocol) {
                table.case(&format!("{protocol}: {why}"), || {
                    let receiver = backend.receiver(protocol);
                    receiver.clear();
                    receiver.script([behaviour]);
                    let before = backend.books();
                    let sent = backend.requests(protocol, 3)?;
                    let books = backend.settled(&before, 3)?;
                    let again = u64::from(lost == 0);
                    books.expect(&[
                        ("export_exported", 3 - lost),
                        ("export_dropped{refused}", lost),
                        ("export_requests", 1 + again),
                        ("failed_requests", 1),
                        ("export_retried", again),
                    ])?;
                    let taken = ids(&receiver.spans());
                    ensure!(taken.is_empty() == (lost > 0), "{taken:?}");
                    ensure!(lost > 0 || taken == sent, "the same three, once: {taken:?}");
                    Ok(())
                });
            }
        }
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn a_batch_that_is_too_large_arrives_in_halves() {
    let listeners = PROTOCOLS.map(|protocol| {
        let processor = batch(protocol, json!({"schedule_delay": 60_000, "max_export_batch_size": 4}));
        exporting_for(protocol, &[processor], 60_000)
    });
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let table = Table::default();
        for protocol in PROTOCOLS {
            table.case(protocol, || {
                let receiver = backend.receiver(protocol);
                let too_large = if protocol == "grpc" {
                    Behaviour::grpc_status(8, "grpc: received message larger than max (4 vs. 2)")
                } else {
                    Behaviour::http_status(413)
                };
                receiver.clear();
                receiver.script([too_large]);
                let before = backend.books();
                let sent: BTreeSet<String> = backend.requests(protocol, 4)?.into_iter().collect();
                let books = backend.settled(&before, 4)?;
                books.expect(&[("export_exported", 4), ("export_requests", 3), ("export_retried", 2)])?;
                let sizes: Vec<usize> = receiver.requests().iter().map(|request| request.spans().len()).collect();
                ensure!(sizes == [4, 2, 2], "{sizes:?}");
                let taken = ids(&receiver.spans());
                ensure!(taken.len() == 4 && taken.into_iter().collect::<BTreeSet<_>>() == sent, "each once");
                Ok(())
            });
        }
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn a_backend_that_is_away_loses_nothing() {
    let exporter = json!({"otlp_grpc": {"endpoint": "http://collector-away:4317", "timeout": 1000}});
    let listeners = [exporting_for("grpc", &[json!({"batch": {"schedule_delay": 100, "exporter": exporter}})], 60_000)];
    each_envoy(&[1, 2], |envoy, concurrency| {
        let first = Receiver::start().unwrap();
        let address = first.address();
        let config = bootstrap(&listeners).add_cluster("collector-away", address, true);
        let http = Receiver::start().unwrap();
        let options = Options { concurrency, ..Options::default() };
        let backend = Backend { mesh: meshspan_e2e::Mesh::start_with(envoy, &options, &config), http };
        let table = Table::default();
        table.case("gone while spans come, then there", || {
            drop(first);
            let sent: BTreeSet<String> = backend.requests("grpc", 20)?.into_iter().collect();
            backend.mesh.envoy.wait_for_log("export of", DEADLINE)?;
            let again = wait::until(DEADLINE, "the port again", || Receiver::start_at(address).ok())?;
            let spans = again.wait_for_spans(20, DEADLINE).context("all that was kept")?;
            ensure!(ids(&spans).into_iter().collect::<BTreeSet<_>>() == sent && spans.len() == 20, "each once");
            let books = backend.settled(&Books(BTreeMap::new()), 20)?;
            books.expect(&[("export_exported", 20)])?;
            backend.mesh.envoy.wait_for_log("works again", DEADLINE)?;
            Ok(())
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}
