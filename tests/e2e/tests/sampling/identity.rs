//! `force` by `trusted.identities`: whom Envoy knows by the certificate of a mutual TLS connection may ask.

use std::net::SocketAddr;

use meshspan_e2e::{bootstrap, each_envoy};
use meshspan_kit::certificate::{Authority, ClientCertificate};
use meshspan_kit::client::{Request, Response};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options};
use serde_json::{Value, json};

use crate::support::{WORKERS, example, reason, settled, start};
use Expected::{Forced, NotForced, Refused};

/// Whom `force.json` trusts.
const OPERATIONS: &str = "spiffe://cluster.local/ns/operations/sa/cli";
const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// `force.json` before a sampler that wants nothing, which trusts identities alone.
fn force() -> Value {
    let mut config = example("force.json");
    config["tracer_provider"]["sampler"] = json!({"always_off": {}});
    let force = &mut config["distribution"]["meshspan"]["force"];
    force["trusted"].as_object_mut().unwrap().remove("internal");
    force["traces_per_second"] = 1_000.into();
    force["burst"] = 1_000.into();
    config
}

/// Listeners of these names speak TLS so.
fn secured(config: EnvoyConfig, sockets: &[(&str, Value)]) -> EnvoyConfig {
    config.change(|root| {
        for listener in root["static_resources"]["listeners"].as_array_mut().unwrap() {
            if let Some((_, socket)) = sockets.iter().find(|(name, _)| listener["name"] == *name) {
                listener["filter_chains"][0]["transport_socket"] = socket.clone();
            }
        }
    })
}

/// An Envoy without the filter, which stands for the callers: its listener `WHO-WHERE` calls that address with that
/// transport socket.
fn callers(envoy: &EnvoyBinary, calls: &[(String, SocketAddr, Value)]) -> Envoy {
    let listeners: Vec<(&str, Value)> = calls.iter().map(|(name, ..)| (name.as_str(), Value::Null)).collect();
    let mut config = bootstrap(&listeners).without_cluster("application").without_cluster("collector");
    for (name, address, _) in calls {
        config = config.add_cluster(name, *address, false);
    }
    let config = config.connection_managers(|listener, manager| {
        // They are inside, and say so in x-forwarded-for; else they would take x-envoy-force-trace away themselves.
        manager["use_remote_address"] = true.into();
        manager["internal_address_config"] = all_are_internal();
        manager["route_config"]["virtual_hosts"][0]["routes"] =
            json!([{"match": {"prefix": "/"}, "route": {"cluster": listener}}]);
    });
    let config = config.change(|root| {
        for cluster in root["static_resources"]["clusters"].as_array_mut().unwrap() {
            let (_, _, socket) = calls.iter().find(|(name, ..)| cluster["name"] == name.as_str()).unwrap();
            cluster["transport_socket"] = socket.clone();
        }
    });
    Envoy::start_with(envoy, &config, &Options::default()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Any address: Envoy writes its machine's own one into `x-forwarded-for` for a caller on the same machine.
fn all_are_internal() -> Value {
    json!({"unix_sockets": false, "cidr_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 0}]})
}

/// What is expected of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Forced,
    NotForced,
    /// There is no connection.
    Refused,
}

type Headers = &'static [(&'static str, &'static str)];
const DEBUG_ID: (&str, &str) = ("jaeger-debug-id", "look");
const FORCE: (&str, &str) = ("x-envoy-force-trace", "1");
const AFAR: (&str, &str) = ("x-forwarded-for", "8.8.8.8");
const CLAIMED: (&str, &str) = ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/operations/sa/cli");
const B3: Headers =
    &[("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c"), ("x-b3-spanid", "b7ad6b7169203331"), ("x-b3-flags", "1")];
/// The caller, where it calls, what it sends, and what comes of it.
const TABLE: &[(&str, &str, Headers, Expected, &str)] = &[
    ("operations", "required", &[DEBUG_ID], Forced, "trusted"),
    ("operations", "required", &[FORCE], Forced, "trusted, by Envoy's own header"),
    ("operations", "required", &[FORCE, AFAR], NotForced, "Envoy takes its own header from who is not internal"),
    ("operations", "required", &[DEBUG_ID, AFAR], Forced, "and no other"),
    ("operations", "required", B3, Forced, "trusted, by B3's debug"),
    ("operations", "required", &[], NotForced, "trusted, and did not ask"),
    ("operations", "optional", &[DEBUG_ID], Forced, "trusted, without need"),
    ("shop", "required", &[DEBUG_ID], NotForced, "another identity"),
    ("shop", "required", B3, NotForced, "another identity, by B3's debug"),
    ("shop", "required", &[DEBUG_ID, CLAIMED], NotForced, "what a header claims is no certificate"),
    ("shop", "required", &[DEBUG_ID, ("x-envoy-internal", "true")], NotForced, "internal is not asked for"),
    ("shop", "required", &[FORCE], NotForced, "another identity, by Envoy's own header"),
    ("nameless", "required", &[DEBUG_ID], NotForced, "a certificate without a URI"),
    ("second", "required", &[DEBUG_ID], NotForced, "the first URI is who it is"),
    ("alike", "required", &[DEBUG_ID], NotForced, "the whole URI has to match"),
    ("nobody", "optional", &[DEBUG_ID], NotForced, "no certificate"),
    ("nobody", "optional", &[DEBUG_ID, CLAIMED], NotForced, "no certificate, whatever a header claims"),
    ("nobody", "required", &[DEBUG_ID], Refused, "Envoy wants a certificate"),
    ("stranger", "required", &[DEBUG_ID], Refused, "a certificate that somebody else made"),
    ("stranger", "optional", &[DEBUG_ID], Refused, "a certificate that somebody else made"),
    ("operations", "plain", &[DEBUG_ID, CLAIMED], NotForced, "no TLS"),
    ("stranger", "unverified", &[DEBUG_ID], Forced, "the listener lets anybody be anybody: the docs warn of it"),
];

#[test]
fn only_identities_that_are_trusted_are_heard() {
    let mesh_authority = Authority::new().unwrap();
    let stranger = Authority::new().unwrap();
    let own = mesh_authority.identity(&["spiffe://cluster.local/ns/shop/sa/checkout"]).unwrap();
    let who = [
        ("operations", Some(mesh_authority.identity(&[OPERATIONS]).unwrap())),
        ("shop", Some(mesh_authority.identity(&[SHOP]).unwrap())),
        ("nameless", Some(mesh_authority.identity(&[]).unwrap())),
        ("second", Some(mesh_authority.identity(&[SHOP, OPERATIONS]).unwrap())),
        ("alike", Some(mesh_authority.identity(&["spiffe://cluster.local/ns/operations"]).unwrap())),
        ("stranger", Some(stranger.identity(&[OPERATIONS]).unwrap())),
        ("nobody", None),
    ];
    let sockets = [
        ("required", mesh_authority.downstream(&own, ClientCertificate::Required)),
        ("optional", mesh_authority.downstream(&own, ClientCertificate::Optional)),
        ("unverified", mesh_authority.downstream(&own, ClientCertificate::Unverified)),
    ];
    let listeners = ["required", "optional", "unverified", "plain"].map(|name| (name, force()));
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &listeners, |config| {
            secured(config, &sockets)
                .connection_managers(|_, manager| manager["internal_address_config"] = all_are_internal())
        });
        let mut calls: Vec<(String, SocketAddr, Value)> = Vec::new();
        for (caller, listener, ..) in TABLE {
            let name = format!("{caller}-{listener}");
            if calls.iter().any(|(known, ..)| *known == name) {
                continue;
            }
            let (_, identity) = who.iter().find(|(name, _)| name == caller).unwrap();
            let socket = match *listener {
                "plain" => json!({"name": "envoy.transport_sockets.raw_buffer", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
                }}),
                _ => mesh_authority.upstream(identity.as_ref()),
            };
            calls.push((name, mesh.envoy.address(listener).unwrap(), socket));
        }
        let callers = callers(envoy, &calls);

        let mut expected_spans = 0;
        let mut arrived = 0;
        let mut asked = Vec::new();
        for (number, (caller, listener, headers, expected, why)) in TABLE.iter().enumerate() {
            let path = format!("/{caller}/{listener}/{number}");
            let request =
                headers.iter().fold(Request::get(&path), |request, (name, value)| request.header(name, value));
            let address = callers.address(&format!("{caller}-{listener}")).unwrap();
            let response: Response = request.send(address).unwrap();
            let what = format!("{caller} at {listener}, {headers:?}: {why}");
            if *expected == Refused {
                assert_eq!(response.status, 503, "{what}");
                continue;
            }
            assert_eq!(response.status, 200, "{what}: {}", response.text());
            arrived += 1;
            expected_spans += u64::from(*expected == Forced);
            asked.push((path, *expected == Forced, what));
        }
        let (spans, decisions) = settled(&mesh, arrived);
        let mut wrong = Vec::new();
        for (path, forced, what) in asked {
            let span = spans.iter().find(|span| span.text("url.path") == Some(&path));
            if span.is_some_and(|span| reason(span).0 == "force") != forced {
                wrong.push(what);
            }
        }
        assert!(wrong.is_empty(), "in Envoy {}: {wrong:#?}", envoy.version);
        assert_eq!(decisions["force"].0, expected_spans);
        assert_eq!(mesh.service.requests().len() as u64, arrived, "who was refused never came");
        callers.stop().unwrap();
        mesh.stop();
    });
}
