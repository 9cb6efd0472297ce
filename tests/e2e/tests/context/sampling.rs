//! What is recorded, and what the service behind learns of it.

use meshspan_e2e::{DEADLINE, Mesh, each_envoy, tracing};
use meshspan_kit::client::Request;
use meshspan_kit::envoy::Envoy;
use meshspan_kit::opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn sampled_by(sampler: Value) -> Value {
    let mut config = tracing(&["tracecontext", "b3"]);
    config["tracer_provider"]["sampler"] = sampler;
    config
}

fn ratio(ratio: f64) -> Value {
    sampled_by(json!({"trace_id_ratio_based": {"ratio": ratio}}))
}

/// What a caller says about sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    None,
    Sampled,
    NotSampled,
    /// Ids, and no decision yet.
    Deferred,
}

impl Caller {
    fn request(self, path: &str) -> Request {
        let request = Request::get(path);
        match self {
            Self::None => request,
            Self::Sampled => request.header("traceparent", format!("00-{TRACE}-{PARENT}-01")),
            Self::NotSampled => request.header("traceparent", format!("00-{TRACE}-{PARENT}-00")),
            Self::Deferred => request.header("b3", format!("{TRACE}-{PARENT}")),
        }
    }
}

#[test]
fn every_sampler_and_branch() {
    use Caller::{Deferred, NotSampled, Sampled};
    let (on, off) = (json!({"always_on": {}}), json!({"always_off": {}}));
    let branch = |name: &str| {
        let mut branches = json!({"root": off, "remote_parent_sampled": off, "remote_parent_not_sampled": off,
                                  "local_parent_sampled": off, "local_parent_not_sampled": off});
        branches[name] = on.clone();
        sampled_by(json!({"parent_based": branches}))
    };
    let listeners = [
        ("standard", tracing(&["tracecontext", "b3"])),
        ("on", sampled_by(on.clone())),
        ("off", sampled_by(off.clone())),
        ("root", branch("root")),
        ("remote sampled", branch("remote_parent_sampled")),
        ("remote not sampled", branch("remote_parent_not_sampled")),
        ("local sampled", branch("local_parent_sampled")),
    ];
    let expected: &[(&str, &[Caller], &str)] = &[
        ("standard", &[Caller::None, Sampled, Deferred], "parent_based with always_on is the standard's default"),
        ("on", &[Caller::None, Sampled, NotSampled, Deferred], "whatever the caller says"),
        ("off", &[], "whatever the caller says"),
        ("root", &[Caller::None, Deferred], "no decision yet is not the same as sampled=0"),
        ("remote sampled", &[Sampled], "its own branch"),
        ("remote not sampled", &[NotSampled], "its own branch"),
        ("local sampled", &[], "no span of this proxy is a parent of a server span"),
    ];
    each_envoy(&[1, 2], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &listeners);
        let (mut recorded, mut not_sampled) = (0, 0);
        for (listener, callers, why) in expected {
            for caller in [Caller::None, Sampled, NotSampled, Deferred] {
                let path = format!("/{listener}/{caller:?}").replace(' ', "-");
                let sampled = callers.contains(&caller);
                let (_, upstream) = mesh.exchange(listener, &caller.request(&path));
                let what = format!("{listener}, {caller:?}: {why}");
                let traceparent = upstream.values("traceparent").join(" and ");
                let fields: Vec<&str> = traceparent.split('-').collect();
                let [_, trace_id, span_id, flags] = fields[..] else { panic!("{what}: {traceparent}") };
                // Own ids are random; whoever came by B3 did not say so.
                let random = caller == Caller::None;
                assert_eq!(flags, format!("0{}", u8::from(random) * 2 + u8::from(sampled)), "{what}");
                assert_eq!(trace_id == TRACE, caller != Caller::None, "{what}: {traceparent}");
                assert!(upstream.header("b3").is_some(), "{what}");
                if sampled {
                    recorded += 1;
                    let span = mesh.span_at(&path);
                    assert_eq!((span.trace_id().as_str(), span.span_id().as_str()), (trace_id, span_id), "{what}");
                } else {
                    not_sampled += 1;
                }
            }
        }
        mesh.wait_for_counter("meshspan_spans_not_sampled_total", not_sampled);
        mesh.wait_for_counter("meshspan_spans_started_total", recorded);
        mesh.wait_for_counter("meshspan_export_exported_total", recorded);
        assert_eq!(mesh.receiver.span_count() as u64, recorded);
        mesh.stop();
    });
}

/// A gateway's client span is a child of its server span: the local branches decide on it.
#[test]
fn local_branches_decide_on_a_gateways_client_span() {
    let gateway = |branches: Value| {
        let mut config = sampled_by(json!({"parent_based": branches}));
        config["distribution"] = json!({"meshspan": {"role": "gateway"}});
        config
    };
    let (on, off) = (json!({"always_on": {}}), json!({"always_off": {}}));
    let listeners = [
        ("standard", gateway(json!({}))),
        ("not the child", gateway(json!({"local_parent_sampled": off}))),
        ("only the child", gateway(json!({"root": off, "local_parent_not_sampled": on}))),
        ("none", gateway(json!({"root": off}))),
    ];
    let expected: &[(&str, &[SpanKind], &str)] = &[
        ("standard", &[SpanKind::Client, SpanKind::Server], "03"),
        ("not the child", &[SpanKind::Server], "02"),
        ("only the child", &[SpanKind::Client], "03"),
        ("none", &[], "02"),
    ];
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &listeners);
        for (listener, kinds, flags) in expected {
            let path = format!("/{}", listener.replace(' ', "-"));
            let (_, upstream) = mesh.exchange(listener, &Request::get(&path));
            let traceparent = upstream.header("traceparent").unwrap();
            assert_eq!(&traceparent[53..], *flags, "{listener}");
            let spans = mesh
                .receiver
                .wait_for(DEADLINE, |spans| {
                    let own = |kind: &SpanKind| {
                        spans.iter().find(|span| traceparent.contains(&span.trace_id()) && span.kind() == *kind)
                    };
                    kinds.iter().map(|kind| own(kind).cloned()).collect::<Option<Vec<_>>>()
                })
                .unwrap_or_else(|error| panic!("{listener}: {error:#}"));
            if let [client, server] = &spans[..] {
                assert_eq!(client.parent_id(), Some(server.span_id()));
            }
            if let Some(client) = spans.iter().find(|span| span.kind() == SpanKind::Client) {
                assert!(traceparent.contains(&client.span_id()), "{listener}: {traceparent}");
            }
        }
        mesh.wait_for_counter("meshspan_export_exported_total", 4);
        mesh.wait_for_counter("meshspan_spans_not_sampled_total", 1);
        assert_eq!(mesh.receiver.span_count(), 4);
        mesh.stop();
    });
}

/// The rule that the Go and Rust SDKs have.
fn is_sampled(trace_id: &str, ratio: f64) -> bool {
    let low = u64::from_str_radix(&trace_id[16..], 16).unwrap() >> 1;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^63")]
    let bound = (ratio * 9_223_372_036_854_775_808.0) as u64;
    low < bound
}

#[test]
fn a_ratio_decides_alike_on_every_proxy() {
    const RATIOS: &[(&str, f64)] = &[("none", 0.0), ("tenth", 0.1), ("half", 0.5), ("all", 1.0)];
    let mut trace_ids: Vec<String> = [
        "00000000000000007fffffffffffffff",
        "00000000000000008000000000000000",
        "ffffffffffffffff0000000000000001",
        "0000000000000001ffffffffffffffff",
        "00000000000000000ccccccccccccccc",
        "00000000000000001999999999999997",
        "0000000000000000199999999999999f",
    ]
    .map(str::to_owned)
    .to_vec();
    trace_ids.extend(
        (1..40_u128).map(|number| format!("{:032x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))),
    );
    let listeners: Vec<(&str, Value)> = RATIOS.iter().map(|(name, value)| (*name, ratio(*value))).collect();
    each_envoy(&[1], |envoy, concurrency| {
        // A second proxy at the same time, of another version where there is one.
        let other = Envoy::versions().into_iter().find(|other| other != envoy).unwrap_or_else(|| envoy.clone());
        let meshes = [Mesh::start(envoy, concurrency, &listeners), Mesh::start(&other, 2, &listeners)];
        for mesh in &meshes {
            let mut recorded = 0;
            for (name, ratio) in RATIOS {
                for (number, trace_id) in trace_ids.iter().enumerate() {
                    let flags = format!("0{}", number % 2);
                    let traceparent = format!("00-{trace_id}-{PARENT}-{flags}");
                    let (_, upstream) = mesh.exchange(name, &Request::get("/").header("traceparent", traceparent));
                    let decided = upstream.header("traceparent").unwrap().ends_with("-01");
                    assert_eq!(decided, is_sampled(trace_id, *ratio), "{trace_id} at {ratio}, with flags {flags}");
                    recorded += u64::from(decided);
                }
                // Own traces go by the same rule.
                for _ in 0..20 {
                    let (_, upstream) = mesh.exchange(name, &Request::get("/own"));
                    let traceparent = upstream.header("traceparent").unwrap();
                    let decided = traceparent.ends_with("-03");
                    assert_eq!(decided, is_sampled(&traceparent[3..35], *ratio), "{traceparent} at {ratio}");
                    recorded += u64::from(decided);
                }
            }
            mesh.wait_for_counter("meshspan_export_exported_total", recorded);
            let all = (trace_ids.len() + 20) * RATIOS.len();
            mesh.wait_for_counter("meshspan_spans_not_sampled_total", all as u64 - recorded);
        }
        for mesh in meshes {
            mesh.stop();
        }
    });
}
