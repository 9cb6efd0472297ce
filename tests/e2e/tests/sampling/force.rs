//! `distribution.meshspan.force`: requests that ask to be recorded, and who may.

use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use serde_json::{Value, json};

use crate::support::{WORKERS, decisions, example, reason, send_all, settled, start};

/// `force.json` before a sampler that wants nothing, with a rate that is never used up unless it is set.
fn force(rate: Option<u32>) -> Value {
    let mut config = example("force.json");
    config["tracer_provider"]["sampler"] = json!({"always_off": {}});
    if let Some(rate) = rate {
        config["distribution"]["meshspan"]["force"]["traces_per_second"] = rate.into();
        config["distribution"]["meshspan"]["force"]["burst"] = rate.into();
    }
    config
}

/// Where callers are judged by their own address: internal from 127.0.0.1 at the listener `inside`, and nobody is at
/// `edge`. At `chained` they are judged by `x-forwarded-for`.
fn judging(config: EnvoyConfig) -> EnvoyConfig {
    config.connection_managers(|listener, manager| {
        let internal = |prefix: &str, bits: u32| {
            json!({"unix_sockets": false, "cidr_ranges": [{"address_prefix": prefix, "prefix_len": bits}]})
        };
        let (own_address, internal) = match listener {
            "edge" => (true, internal("10.0.0.0", 8)),
            "chained" => (false, internal("10.0.0.0", 8)),
            _ => (true, internal("127.0.0.0", 8)),
        };
        manager["use_remote_address"] = own_address.into();
        manager["internal_address_config"] = internal;
    })
}

#[test]
fn only_those_whom_envoy_judges_internal_are_heard() {
    type Headers = &'static [(&'static str, &'static str)];
    const DEBUG_ID: (&str, &str) = ("jaeger-debug-id", "look");
    const FORCE: (&str, &str) = ("x-envoy-force-trace", "1");
    const B3: [(&str, &str); 3] = [
        ("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c"),
        ("x-b3-spanid", "b7ad6b7169203331"),
        ("x-b3-flags", "1"),
    ];
    let table: &[(&str, Headers, Option<&str>, &str)] = &[
        ("inside", &[FORCE], Some("x-envoy-force-trace"), "Envoy's own"),
        ("inside", &[DEBUG_ID], Some("jaeger-debug-id"), "Jaeger's"),
        ("inside", &B3, Some("debug"), "B3's"),
        ("inside", &[], None, "nothing asked"),
        ("inside", &[DEBUG_ID, ("x-forwarded-for", "8.8.8.8")], None, "one that was forwarded came from elsewhere"),
        ("inside", &[DEBUG_ID, ("x-envoy-internal", "false")], Some("jaeger-debug-id"), "Envoy's word counts"),
        ("edge", &[FORCE], None, "from outside"),
        ("edge", &[DEBUG_ID], None, "from outside"),
        ("edge", &B3, None, "from outside"),
        ("edge", &[DEBUG_ID, ("x-envoy-internal", "true")], None, "said by the caller itself"),
        ("edge", &[DEBUG_ID, ("X-Envoy-Internal", "true"), ("x-envoy-internal", "true")], None, "said twice"),
        ("edge", &[DEBUG_ID, ("x-forwarded-for", "10.0.0.1")], None, "an address that the caller made up"),
        ("edge", &[DEBUG_ID, ("x-forwarded-for", "127.0.0.1"), ("x-envoy-internal", "true")], None, "both"),
        (
            "edge",
            &[DEBUG_ID, ("x-envoy-external-address", "10.0.0.1"), ("x-envoy-internal", "true")],
            None,
            "another header of Envoy's",
        ),
        ("edge", &[FORCE, DEBUG_ID, B3[0], B3[1], B3[2], ("x-envoy-internal", "true")], None, "everything at once"),
        ("chained", &[DEBUG_ID, ("x-envoy-internal", "true")], None, "nobody forwarded it"),
        ("chained", &[DEBUG_ID, ("x-forwarded-for", "8.8.8.8"), ("x-envoy-internal", "true")], None, "from outside"),
        ("chained", &[DEBUG_ID, ("x-forwarded-for", "8.8.8.8, 10.0.0.1")], None, "two proxies: not internal to Envoy"),
        ("chained", &[DEBUG_ID, ("x-forwarded-for", "10.0.0.1")], Some("jaeger-debug-id"), "the proxy before says so"),
    ];
    let generous = force(Some(1_000));
    let listeners = ["inside", "edge", "chained"].map(|name| (name, generous.clone()));
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &listeners, judging);
        let mut asked = Vec::new();
        for (number, (listener, headers, expected, why)) in table.iter().enumerate() {
            let path = format!("/{listener}/{number}");
            let request =
                headers.iter().fold(Request::get(&path), |request, (name, value)| request.header(name, value));
            let (_, upstream) = mesh.exchange(listener, &request);
            let what = format!("{listener}, {headers:?}: {why}");
            let traceparent = upstream.header("traceparent").unwrap();
            let flags = u8::from_str_radix(&traceparent[53..], 16).unwrap();
            assert_eq!(flags & 1 == 1, expected.is_some(), "{what}: {traceparent}");
            // Where it was debug, it goes on as debug.
            let debug = upstream.header("x-b3-flags").as_deref() == Some("1");
            assert_eq!(debug, *expected == Some("debug"), "{what}: {:?}", upstream.headers);
            asked.push((path, expected, what));
        }
        let (spans, decisions) = settled(&mesh, table.len() as u64);
        for (path, expected, what) in asked {
            let span = spans.iter().find(|span| span.text("url.path") == Some(&path));
            assert_eq!(span.map(reason), expected.map(|how| ("force", how)), "{what}");
        }
        let granted = table.iter().filter(|row| row.2.is_some()).count() as u64;
        assert_eq!(decisions["force"].0, granted);
        assert_eq!(decisions["always_off"].1, table.len() as u64 - granted);
        mesh.stop();
    });
}

/// `force.json`'s own rate: five a second, and ten at once.
#[test]
fn the_rate_of_forced_traces_holds() {
    const ASKED: usize = 1_000;
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh: Mesh = start(envoy, &[("inside", force(None))], judging);
        let requests = vec![Request::get("/status/200").header("jaeger-debug-id", "look"); ASKED];
        send_all(mesh.envoy.address("inside").unwrap(), &requests, 8);
        let (spans, _) = settled(&mesh, ASKED as u64);
        let starts = spans.iter().map(|span| span.span.start_time_unix_nano);
        let nanoseconds = starts.clone().max().unwrap() - starts.min().unwrap();
        let most = 10 + nanoseconds * 5 / 1_000_000_000 + 2 * u64::from(WORKERS);
        let forced = spans.len() as u64;
        assert!((10..=most).contains(&forced), "{forced} forced, and {most} at most");
        assert_eq!(decisions(&mesh)["force"], (forced, ASKED as u64 - forced), "in vain is counted");
        mesh.stop();
    });
}
