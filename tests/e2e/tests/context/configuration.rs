//! The filter's configuration as Envoy gives it: refused with all errors, exchanged under traffic, in every form.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use meshspan_e2e::{DEADLINE, Mesh, assert_no_failure, bootstrap, each_envoy, tracing};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options, Update};
use meshspan_kit::opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use meshspan_kit::receiver::{Behaviour, ReceivedSpan};
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::ALL_PROPAGATORS;

/// A configuration that is wrong in many places, and what Envoy's log has to say about each of them.
fn wrong() -> (Value, &'static [&'static str]) {
    let config = json!({
        "file_format": "9.9",
        "disabled": "yes",
        "resource": {"attributes": [{"name": "service.name"}]},
        "propagator": {"composite": [{"tracecontxt": {}}]},
        "tracer_provider": {
            "sampler": {"trace_id_ratio_based": {"ratio": 1.5}},
            "processors": [{"batch": {"schedule_delay": -1, "exporter": {"console": {}}}}],
        },
        "meter_provider": {"readers": []},
        "distribution": {"meshspan": {"role": "sidecar", "rolle": "server", "l4": {}}},
    });
    let said = &[
        "$.file_format: found \"9.9\"",
        "$.disabled: found \"yes\"; allowed is true or false",
        "$.resource.attributes[0]",
        "$.propagator.composite[0].tracecontxt: meshspan has no such propagator; did you mean \"tracecontext\"?",
        "$.tracer_provider.sampler.trace_id_ratio_based.ratio: found 1.5, out of range",
        "$.tracer_provider.processors[0].batch.schedule_delay: found -1, out of range",
        "$.tracer_provider.processors[0].batch.exporter.console",
        "$.meter_provider.readers: ",
        "$.distribution.meshspan.l4: this is understood, but not yet built",
        "$.distribution.meshspan.role: found \"sidecar\"; allowed: auto, server, client, gateway",
        "$.distribution.meshspan.rolle: there is no such key; did you mean \"role\"?",
    ];
    (config, said)
}

fn assert_says_all(log: &str, said: &[&str]) {
    let missing: Vec<_> = said.iter().filter(|text| !log.contains(**text)).collect();
    let refused: Vec<_> = log.lines().skip_while(|line| !line.contains("configuration refused")).take(30).collect();
    assert!(missing.is_empty(), "the log does not say {missing:#?}, but {refused:#?}");
    let count = format!("the configuration has {} errors:", said.len());
    assert!(log.contains(&count), "more or fewer errors than {}: {refused:#?}", said.len());
}

/// Starts an Envoy that must not come up, and gives its log.
pub(crate) fn refused(envoy: &EnvoyBinary, config: &meshspan_kit::config::EnvoyConfig, name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("refused-{}-{name}", envoy.version));
    let _ = std::fs::remove_dir_all(&folder);
    let options = Options { folder: Some(folder.clone()), ..Options::default() };
    assert!(Envoy::start_with(envoy, config, &options).is_err(), "Envoy {} takes it", envoy.version);
    let log = std::fs::read_to_string(folder.join("envoy.log")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    log
}

#[test]
fn a_wrong_configuration_is_refused_at_the_start_with_all_errors() {
    let (config, said) = wrong();
    let collector = SocketAddr::from(([127, 0, 0, 1], 9));
    each_envoy(&[1], |envoy, _| {
        let as_text = bootstrap(&[("inbound", config.clone())]).cluster("collector", collector);
        assert_says_all(&refused(envoy, &as_text, "text"), said);
        let not_json = as_text.clone().meshspan_text("file_format: '1.1'");
        assert!(refused(envoy, &not_json, "yaml").contains("the text is not JSON (YAML is not read here)"));
        let empty = as_text.clone().meshspan_text("");
        let absent = as_text.connection_managers(|_, manager| {
            let plugin = &mut manager["http_filters"][0]["typed_config"]["config"];
            plugin.as_object_mut().unwrap().remove("configuration");
        });
        for (config, name) in [(empty, "empty"), (absent, "absent")] {
            let log = refused(envoy, &config, name);
            assert!(log.contains("there is no configuration; the smallest useful one is"), "{name}: {log}");
        }
    });
}

#[test]
fn a_wrong_configuration_that_is_pushed_leaves_the_former_at_work() {
    let (config, said) = wrong();
    each_envoy(&[1, 2], |envoy, concurrency| {
        let options = Options { concurrency, listeners_by_file: true, ..Options::default() };
        let mesh = Mesh::start_with(envoy, &options, &bootstrap(&[("inbound", tracing(&["tracecontext"]))]));
        mesh.exchange("inbound", &Request::get("/before"));
        mesh.span_at("/before");
        let pushed = mesh.addressed(&bootstrap(&[("inbound", config.clone())]));
        assert_eq!(mesh.envoy.update_listeners(&pushed).unwrap(), Update::Rejected);
        assert_says_all(&mesh.envoy.log(), said);
        for _ in 0..20 {
            let (_, upstream) = mesh.exchange("inbound", &Request::get("/after"));
            assert!(upstream.header("traceparent").is_some());
        }
        let spans = mesh.spans_at("/after", 20);
        assert!(spans.iter().all(|span| span.service() == "checkout"));
        mesh.wait_for_counter("meshspan_export_exported_total", 21);
        mesh.envoy.stop().unwrap();
    });
}

#[test]
fn a_configuration_that_is_pushed_under_traffic_costs_no_request_and_no_span() {
    let named = |service: &str| {
        let mut config = tracing(ALL_PROPAGATORS);
        config["resource"]["attributes"][0]["value"] = service.into();
        bootstrap(&[("inbound", config)])
    };
    each_envoy(&[2], |envoy, concurrency| {
        let options = Options { concurrency, listeners_by_file: true, ..Options::default() };
        let mesh = Mesh::start_with(envoy, &options, &named("first"));
        let address = mesh.envoy.address("inbound").unwrap();
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let request =
            Request::get("/flow").header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let flow = |keep_alive: bool| {
            let mut kept = None;
            while !stop.load(Ordering::Relaxed) {
                let mut connection =
                    kept.take().map_or_else(|| Connection::open(address), Ok).map_err(|e| e.to_string())?;
                let response = connection.request(&request).map_err(|error| format!("{error:#}"))?;
                if response.status != 200 {
                    return Err(format!("answered {}: {}", response.status, response.text()));
                }
                sent.fetch_add(1, Ordering::Relaxed);
                if keep_alive && response.header("connection").as_deref() != Some("close") {
                    kept = Some(connection);
                }
            }
            Ok(())
        };
        let seen = |service: &str| {
            let arrived = mesh.receiver.wait_for(DEADLINE, |spans| {
                spans.iter().rev().take(50).any(|span| span.service() == service).then_some(())
            });
            arrived.map_err(|_| format!("no span of {service}"))
        };
        std::thread::scope(|scope| {
            let flows = [false, true].map(|keep_alive| scope.spawn(move || flow(keep_alive)));
            let mut updates = seen("first");
            for service in ["second", "third", "fourth"] {
                updates = updates.and_then(|()| {
                    let update = mesh.envoy.update_listeners(&mesh.addressed(&named(service)));
                    assert_eq!(update.unwrap(), Update::Accepted, "{service}");
                    seen(service)
                });
            }
            stop.store(true, Ordering::Relaxed);
            for flow in flows {
                assert_eq!(flow.join().unwrap(), Ok(()), "a client saw an error; Envoy's log:\n{}", mesh.envoy.log());
            }
            assert_eq!(updates, Ok(()));
        });
        let sent = sent.into_inner();
        assert!(sent > 20, "only {sent} requests");
        // What is still in a worker that the old listener left comes when its root context goes.
        let accounted = wait::until(DEADLINE, "all spans", || {
            let counters = mesh.counters();
            (counters.get("meshspan_export_exported_total") == Some(&sent)).then_some(())
        });
        let counters = mesh.counters();
        assert!(accounted.is_ok(), "of {sent} spans: {counters:#?}");
        let count = |name: &str| counters.get(name).copied().unwrap_or(0);
        assert_eq!((count("meshspan_streams_total"), count("meshspan_spans_started_total")), (sent, sent));
        let dropped: Vec<_> = counters.keys().filter(|name| name.contains("dropped")).collect();
        assert!(dropped.is_empty(), "{dropped:?}");
        assert_eq!(mesh.receiver.span_count() as u64, sent);
        mesh.stop();
    });
}

/// A collector that never answers: the old configuration waits for it a while, gives up, and says so.
#[test]
fn spans_that_an_old_configuration_cannot_deliver_are_counted() {
    let named = |service: &str, schedule_delay_ms: u64| {
        let mut config = tracing(&["tracecontext"]);
        config["resource"]["attributes"][0]["value"] = service.into();
        let batch = &mut config["tracer_provider"]["processors"][0]["batch"];
        batch["max_export_batch_size"] = 3.into();
        batch["schedule_delay"] = schedule_delay_ms.into();
        // The old configuration must give up by itself: a request that timed out would be sent again.
        batch["exporter"]["otlp_grpc"]["timeout"] = 600_000.into();
        bootstrap(&[("inbound", config)])
    };
    each_envoy(&[1], |envoy, concurrency| {
        let options = Options { concurrency, listeners_by_file: true, ..Options::default() };
        // No batch leaves before it is full, however slow the machine is: two requests' worth, of which the second
        // waits for the first, until the flush at the end sends it.
        let mesh = Mesh::start_with(envoy, &options, &named("old", 600_000));
        mesh.receiver.script([Behaviour::Hang]);
        for _ in 0..6 {
            mesh.exchange("inbound", &Request::get("/old"));
        }
        mesh.receiver.wait_for_requests(DEADLINE, |requests| (!requests.is_empty()).then_some(())).unwrap();
        let update = mesh.envoy.update_listeners(&mesh.addressed(&named("new", 100))).unwrap();
        assert_eq!(update, Update::Accepted);
        mesh.exchange("inbound", &Request::get("/new"));
        assert_eq!(mesh.span_at("/new").service(), "new");
        // A second of draining, five of waiting, and more on a machine that is busy.
        let dropped = || (mesh.counter("meshspan_export_dropped_total") > 0).then_some(());
        wait::until(3 * DEADLINE, "the old configuration to give up", dropped).unwrap();
        mesh.wait_for_counter("meshspan_export_dropped_total", 3);
        mesh.wait_for_counter("meshspan_export_exported_total", 4);
        mesh.wait_for_counter("meshspan_spans_started_total", 7);
        mesh.stop();
    });
}

#[test]
fn what_is_switched_off_touches_nothing() {
    let mut disabled = tracing(ALL_PROPAGATORS);
    disabled["disabled"] = true.into();
    let mut no_provider = tracing(ALL_PROPAGATORS);
    no_provider.as_object_mut().unwrap().remove("tracer_provider");
    let listeners = [
        ("disabled", disabled),
        ("no provider", no_provider),
        ("least", json!({"file_format": "1.0"})),
        ("on", tracing(ALL_PROPAGATORS)),
    ];
    let sent: &[(&str, &str)] = &[
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff"),
        ("tracestate", "A=1"),
        ("baggage", "junk"),
        ("b3", "0"),
        ("x-b3-traceid", "junk"),
        ("uber-trace-id", "1%3A2%3A3%3A1"),
    ];
    each_envoy(&[1, 2], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &listeners);
        for listener in ["disabled", "no provider", "least"] {
            let (_, upstream) = mesh.exchange(listener, &Request::get("/plain"));
            assert!(
                crate::WRITTEN_HEADERS.iter().all(|name| upstream.header(name).is_none()),
                "{listener}: {upstream:?}"
            );
            let request =
                sent.iter().fold(Request::get("/traced"), |request, (name, value)| request.header(name, value));
            let (_, upstream) = mesh.exchange(listener, &request);
            for name in crate::WRITTEN_HEADERS {
                let expected: Vec<&str> = sent.iter().filter(|(key, _)| key == name).map(|(_, value)| *value).collect();
                assert_eq!(upstream.values(name), expected, "{listener}: {name}");
            }
        }
        mesh.exchange("on", &Request::get("/on"));
        mesh.span_at("/on");
        mesh.wait_for_counter("meshspan_export_exported_total", 1);
        mesh.wait_for_counter("meshspan_spans_started_total", 1);
        assert_eq!(mesh.receiver.span_count(), 1);
        mesh.stop();
    });
}

#[test]
fn every_form_in_which_envoy_gives_it() {
    let mut config = tracing(&["tracecontext", "b3"]);
    config["resource"]["attributes"] = json!([
        {"name": "service.name", "value": "caf\u{e9}"},
        {"name": "a.number", "value": 7, "type": "int"},
        {"name": "a.list", "value": ["x", "y"], "type": "string_array"},
        {"name": "a.flag", "value": true, "type": "bool"},
    ]);
    config["distribution"] = json!({"meshspan": {"role": "client", "routes": ["/users/{id}"]}});
    let forms = ["text", "struct", "bytes"];
    let listeners = forms.map(|form| (form, config.clone()));
    each_envoy(&[1], |envoy, concurrency| {
        let bootstrap = bootstrap(&listeners).connection_managers(|listener, manager| {
            let plugin = &mut manager["http_filters"][0]["typed_config"]["config"]["configuration"];
            let text = plugin["value"].as_str().unwrap().to_owned();
            match listener {
                "struct" => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    *plugin = json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": value});
                }
                "bytes" => {
                    let value = base64(text.as_bytes());
                    *plugin = json!({"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": value});
                }
                _ => {}
            }
        });
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &bootstrap);
        let spans = forms.map(|form| {
            let (_, upstream) = mesh.exchange(form, &Request::get("/users/7"));
            let traceparent = upstream.header("traceparent").unwrap();
            let span = mesh
                .receiver
                .wait_for(DEADLINE, |spans| spans.iter().find(|span| traceparent.contains(&span.span_id())).cloned());
            let span = span.unwrap_or_else(|error| panic!("{form}: {error:#}"));
            assert_eq!((span.name(), span.kind()), ("GET /users/{id}", SpanKind::Client), "{form}");
            assert_eq!(span.service(), "caf\u{e9}", "{form}");
            assert_eq!(span.to_json()["resource"]["a.number"], 7, "{form}");
            span
        });
        assert_eq!(spans[0].resource, spans[1].resource);
        assert_eq!(spans[0].resource, spans[2].resource);
        mesh.stop();
    });
}

/// RFC 4648, as JSON has bytes of protobuf.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let known = digit <= group.len();
            text.push(if known { char::from(ALPHABET[bits >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[test]
#[allow(clippy::type_complexity, reason = "a table")]
fn the_service_is_named_by_configuration_or_by_the_node() {
    let mut unnamed = tracing(&[]);
    unnamed.as_object_mut().unwrap().remove("resource");
    let listeners = [("unnamed", unnamed), ("named", tracing(&[]))];
    let istio = json!({
        "NAME": "cart-7d9-x2", "NAMESPACE": "shop", "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart", "CLUSTER_ID": "east",
        "LABELS": {"service.istio.io/canonical-name": "cart", "service.istio.io/canonical-revision": "v2", "app": "x"},
    });
    let nodes: &[(Value, &str, &[(&str, &str)])] = &[
        (Value::Null, "unknown_service:envoy", &[]),
        (json!({"id": "proxy-1", "cluster": "frontend"}), "frontend", &[("service.instance.id", "proxy-1")]),
        (
            json!({"id": "proxy-2", "cluster": "frontend", "metadata": istio}),
            "cart",
            &[
                ("service.namespace", "shop"),
                ("service.version", "v2"),
                ("k8s.pod.name", "cart-7d9-x2"),
                ("k8s.namespace.name", "shop"),
                ("k8s.deployment.name", "cart"),
                ("k8s.cluster.name", "east"),
            ],
        ),
    ];
    each_envoy(&[1], |envoy, concurrency| {
        for (node, service, attributes) in nodes {
            let bootstrap = bootstrap(&listeners).change(|root| root["node"] = node.clone());
            let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &bootstrap);
            mesh.exchange("unnamed", &Request::get("/unnamed"));
            mesh.exchange("named", &Request::get("/named"));
            let span = mesh.span_at("/unnamed");
            assert_eq!(span.service(), *service, "{node}");
            for (key, value) in *attributes {
                assert_eq!(span.resource_text(key), Some(*value), "{key} of {node}");
            }
            assert_eq!(mesh.span_at("/named").service(), "checkout", "configuration goes before the node");
            assert_no_failure(&mesh.envoy.log());
            mesh.envoy.stop().unwrap();
        }
    });
}

#[test]
fn the_role_goes_by_the_listeners_direction_unless_configured() {
    let role = |role: &str| {
        let mut config = tracing(&[]);
        config["distribution"] = json!({"meshspan": {"role": role}});
        config
    };
    let listeners: Vec<(&str, Value, Option<&str>, &[SpanKind])> = vec![
        ("inbound", tracing(&[]), Some("INBOUND"), &[SpanKind::Server]),
        ("outbound", tracing(&[]), Some("OUTBOUND"), &[SpanKind::Client]),
        ("unspecified", tracing(&[]), None, &[SpanKind::Server]),
        ("auto", role("auto"), Some("OUTBOUND"), &[SpanKind::Client]),
        ("server", role("server"), Some("OUTBOUND"), &[SpanKind::Server]),
        ("client", role("client"), Some("INBOUND"), &[SpanKind::Client]),
        ("gateway", role("gateway"), Some("OUTBOUND"), &[SpanKind::Server, SpanKind::Client]),
    ];
    let configs: Vec<(&str, Value)> = listeners.iter().map(|(name, config, ..)| (*name, config.clone())).collect();
    each_envoy(&[1, 2], |envoy, concurrency| {
        let bootstrap = bootstrap(&configs).change(|root| {
            for (index, (_, _, direction, _)) in listeners.iter().enumerate() {
                let listener = &mut root["static_resources"]["listeners"][index];
                listener["traffic_direction"] = direction.unwrap_or("UNSPECIFIED").into();
            }
        });
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &bootstrap);
        let mut requests = 0;
        for (name, _, _, kinds) in &listeners {
            let host = format!("{name}.example");
            mesh.exchange(name, &Request::get(&format!("/{name}")).header("host", &host));
            requests += 1;
            let spans = mesh.receiver.wait_for(DEADLINE, |spans| {
                let own: Vec<_> = spans
                    .iter()
                    .filter(|span| span.text("server.address") == Some(host.as_str()))
                    .map(ReceivedSpan::kind)
                    .collect();
                (own.len() >= kinds.len()).then_some(own)
            });
            let mut got = spans.unwrap_or_else(|error| panic!("{name}: {error:#}"));
            got.sort_unstable();
            let mut expected = kinds.to_vec();
            expected.sort_unstable();
            assert_eq!(got, expected, "{name}");
        }
        mesh.wait_for_counter("meshspan_streams_total", requests);
        mesh.wait_for_counter("meshspan_export_exported_total", requests + 1);
        mesh.stop();
    });
}
