//! Decisions that a caller's trace id may not bear: counted each, told once by all workers together.

use meshspan_e2e::{DEADLINE, each_envoy, tracing};
use meshspan_kit::client::Request;
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::{WORKERS, connections_to_all_workers, start};

const PRESUMED: &str = "meshspan_sampling_presumed_random_total";
const RATIO: &str = "meshspan_sampling_ratio_below_parent_total";

fn with(sampler: Value) -> Value {
    let mut config = tracing(&["tracecontext"]);
    config["tracer_provider"]["sampler"] = sampler;
    config
}

#[test]
fn ids_that_nobody_calls_random_are_told_of_once() {
    /// Requests of each connection.
    const EACH: u64 = 3;
    let listeners = [
        ("probability", with(json!({"probability/development": {"ratio": 0.5}}))),
        ("ratio", with(json!({"trace_id_ratio_based": {"ratio": 0.5}}))),
        ("following", with(json!({"parent_based": {"root": {"probability/development": {"ratio": 0.5}}}}))),
    ];
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &listeners, |config| config);
        let mut sent = 0;
        for (listener, _) in &listeners {
            for mut connection in connections_to_all_workers(&mesh, listener) {
                for flags in ["01", "03"] {
                    for _ in 0..EACH {
                        let traceparent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
                        let request = Request::get("/a").header("traceparent", &traceparent);
                        assert_eq!(connection.request(&request).unwrap().status, 200);
                        sent += 1;
                    }
                }
            }
        }
        mesh.wait_for_counter("meshspan_streams_total", sent);
        // Half of them are called random; a ratio below a caller is one in any case.
        let of_one = sent / 3;
        mesh.wait_for_counter(PRESUMED, of_one / 2);
        mesh.wait_for_counter(RATIO, of_one);

        let lines = |begin: &str| mesh.envoy.log().lines().filter(|line| line.contains(begin)).count();
        for begin in ["meshspan: a sampler goes by the randomness", "meshspan: trace_id_ratio_based decides about"] {
            let told = wait::until(DEADLINE, begin, || (lines(begin) > 0).then_some(()));
            told.unwrap_or_else(|error| panic!("{error:#}; Envoy's log:\n{}", mesh.envoy.log()));
        }
        // Each worker has ticked since, and has nothing more to tell.
        for begin in ["meshspan: a sampler goes by the randomness", "meshspan: trace_id_ratio_based decides about"] {
            assert_eq!(lines(begin), 1, "{begin}, in Envoy {}", envoy.version);
        }
        mesh.stop();
    });
}
