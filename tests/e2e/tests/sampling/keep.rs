//! `distribution.meshspan.keep`: what failed or was slow is exported although no sampler wanted it, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshspan_e2e::each_envoy;
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::service::{RawUpstream, Step};
use serde_json::{Value, json};

use crate::support::{WORKERS, connections_to_all_workers, example, reason, send_all, settled, start};

const STREAMS: usize = 10_000;
/// `slower_than` of `keep.json`.
const SLOW: Duration = Duration::from_secs(1);

/// What is asked for, and whether it fails (`Some(true)`), is slow (`Some(false)`), or neither.
fn stream(number: usize) -> (&'static str, String, Option<bool>) {
    let path = |target: &str| format!("{target}{}n={number}", if target.contains('?') { '&' } else { '?' });
    let (what, target, outcome) = match number % 100 {
        0..5 => ("a 500", "/status/500", Some(true)),
        5..8 => ("a 503 of the service", "/status/503", Some(true)),
        8..10 => ("an answer that breaks off", "/reset", Some(true)),
        10..12 => ("a caller that breaks off", "/stream?chunks=200&ms=10&bytes=10", Some(true)),
        12..15 => ("a gRPC error in trailers", "/grpc/13/shop.Cart/Checkout", Some(true)),
        15 => ("an upstream that is not there", "/gone", Some(true)),
        30 => ("an upstream that breaks off without a word", "/rude", Some(true)),
        16..18 => ("a slow answer", "/slow?ms=1100", Some(false)),
        18..21 => ("a gRPC answer", "/grpc/0/shop.Cart/Checkout", None),
        21..23 => ("a gRPC status that is the caller's fault", "/grpc/5/shop.Cart/Checkout", None),
        23..27 => ("a 404", "/status/404", None),
        27..30 => ("a redirect", "/status/302", None),
        31..33 => ("trailers", "/trailers", None),
        _ => ("a 200", "/status/200", None),
    };
    (what, path(target), outcome)
}

fn request(number: usize) -> Request {
    let target = stream(number).1;
    let request = if target.starts_with("/grpc") {
        Request::new("POST", &target).header("content-type", "application/grpc").body([0; 5])
    } else {
        Request::get(&target)
    };
    // Half of them have a caller that said no.
    if number.is_multiple_of(2) {
        request
    } else {
        request.header("traceparent", format!("00-{:032x}-00f067aa0ba902b7-00", number + 1))
    }
}

/// The number in the query of the request of a span.
fn number(span: &ReceivedSpan) -> usize {
    let query = span.text("url.query").unwrap_or_else(|| panic!("no query: {}", span.to_json()));
    query.rsplit_once("n=").unwrap().1.parse().unwrap()
}

fn keep(rate: u32, burst: u32) -> Value {
    let mut config = example("keep.json");
    let keep = &mut config["distribution"]["meshspan"]["keep"];
    // What is slow for its route is no matter of these requests.
    keep["slower_than_route_p95"] = false.into();
    keep["spans_per_second"] = rate.into();
    keep["burst"] = burst.into();
    config
}

#[test]
fn every_failing_and_slow_stream_is_kept_and_none_else() {
    each_envoy(&[WORKERS], |envoy, _| {
        let rude = RawUpstream::following(vec![Step::Reset]).unwrap();
        let mesh = start(envoy, &[("kept", keep(100_000, 100_000))], |config| {
            config.add_cluster("rude", rude.address(), false).connection_managers(|_, manager| {
                let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
                routes.insert(0, json!({"match": {"prefix": "/rude"}, "route": {"cluster": "rude"}}));
            })
        });
        let address = mesh.envoy.address("kept").unwrap();
        let is_aborted = |number: &usize| (10..12).contains(&(number % 100));
        let (slow, quick): (Vec<usize>, Vec<usize>) = (0..STREAMS)
            .filter(|number| !is_aborted(number))
            .partition(|number| stream(*number).2 == Some(false) || stream(*number).1.starts_with("/reset"));
        let send = |numbers: &[usize], connections| {
            let requests: Vec<Request> = numbers.iter().map(|number| request(*number)).collect();
            let answers = send_all(address, &requests, connections);
            numbers.iter().copied().zip(answers).collect::<BTreeMap<_, _>>()
        };
        let answers = std::thread::scope(|scope| {
            let slow = scope.spawn(|| send(&slow, 40));
            for number in (0..STREAMS).filter(is_aborted) {
                let mut connection = Connection::open(address).unwrap();
                connection.write(&request(number).bytes()).unwrap();
                assert_eq!(connection.read_head().unwrap().status, 200);
                connection.abort();
            }
            let mut answers = send(&quick, 8);
            answers.append(&mut slow.join().unwrap());
            answers
        });

        let (spans, decisions) = settled(&mesh, STREAMS as u64);
        let kept: BTreeMap<usize, &ReceivedSpan> = spans.iter().map(|span| (number(span), span)).collect();
        assert_eq!(kept.len(), spans.len(), "a stream was kept twice");
        let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut blamed = BTreeSet::new();
        for number in 0..STREAMS {
            let (what, _, outcome) = stream(number);
            // On a busy machine any answer may be late: then it may be kept, as what it is.
            let time = answers.get(&number).map_or(Duration::ZERO, |answered| answered.time);
            let late = time > SLOW / 2;
            let found = kept.get(&number).map(|span| reason(span));
            let right = match outcome {
                Some(true) => found == Some(("keep", "errors")),
                Some(false) => found == Some(("keep", "slower_than")),
                None if late => found.is_none_or(|reason| reason == ("keep", "slower_than")),
                None => found.is_none(),
            };
            if !right && blamed.insert((what, found)) {
                wrong.entry(what).or_default().push(format!("{number}: {found:?} after {time:?}"));
            }
        }
        assert!(wrong.is_empty(), "in Envoy {}: {wrong:#?}", envoy.version);
        for span in kept.values() {
            let why = span.to_json();
            assert_eq!(span.integer("meshspan.sampling.adjusted_count"), Some(1), "{why}");
            assert_eq!(span.span.flags & 1, 0, "what is kept was not sampled: {why}");
            assert!(reason(span).1 != "slower_than" || span.duration() > SLOW, "{why}");
        }
        assert_eq!(decisions["keep"], (spans.len() as u64, 0));
        // Behind the proxy the trace is not sampled, whatever became of it.
        for head in mesh.service.requests() {
            let traceparent = head.header("traceparent").unwrap();
            assert!(traceparent.ends_with("-00") || traceparent.ends_with("-02"), "{traceparent}");
        }
        eprintln!("Envoy {}: {} of {STREAMS} streams kept", envoy.version, spans.len());
        mesh.stop();
    });
}

/// A budget that is used up: what is beyond it is counted, and the kept spans stand for it.
#[test]
fn the_budget_caps_and_counts() {
    const RATE: u32 = 5;
    const BURST: u32 = 10;
    const FAILED: usize = 2_000;
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &[("kept", keep(RATE, BURST))], |config| config);
        let address = mesh.envoy.address("kept").unwrap();
        let requests = vec![Request::get("/status/500"); FAILED];
        let answers = send_all(address, &requests, 8);
        assert!(answers.iter().all(|answered| answered.response.as_ref().is_some_and(|one| one.status == 500)));
        let (spans, decisions) = settled(&mesh, FAILED as u64);
        let (kept, over_budget) = decisions["keep"];
        assert_eq!(kept + over_budget, FAILED as u64, "each one failed");
        let ends = spans.iter().map(|span| span.span.end_time_unix_nano);
        let nanoseconds = ends.clone().max().unwrap() - ends.min().unwrap();
        // A worker leases what comes in within 50 ms, and at least one.
        let most = u64::from(BURST) + nanoseconds * u64::from(RATE) / 1_000_000_000 + 2 * u64::from(WORKERS);
        assert!((u64::from(BURST)..=most).contains(&kept), "{kept} kept, and {most} at most");
        eprintln!("Envoy {}: {kept} kept, {over_budget} over budget", envoy.version);

        // When there is budget for them again, the next ones stand for all that were over it before, in each worker.
        std::thread::sleep(Duration::from_secs(u64::from(BURST / RATE)) + Duration::from_millis(500));
        let mut connections = connections_to_all_workers(&mesh, "kept");
        for connection in &mut connections {
            assert_eq!(connection.request(&Request::get("/status/500")).unwrap().status, 500);
        }
        let failed = FAILED + connections.len();
        let (spans, decisions) = settled(&mesh, failed as u64);
        assert_eq!(decisions["keep"], (kept + connections.len() as u64, over_budget));
        let stand_for = spans.iter().map(|span| span.integer("meshspan.sampling.adjusted_count").unwrap());
        assert_eq!(usize::try_from(stand_for.sum::<i64>()).unwrap(), failed);
        mesh.stop();
    });
}

/// What takes longer than nearly all of its route.
#[test]
fn what_is_slow_for_its_route_is_kept() {
    const QUICK: u64 = 1_000;
    each_envoy(&[WORKERS], |envoy, _| {
        let mut config = example("keep.json");
        config["distribution"]["meshspan"]["routes"] = json!(["/slow", "/orders/{id}"]);
        config["distribution"]["meshspan"]["keep"] =
            json!({"slower_than_route_p95": true, "spans_per_second": 100_000, "burst": 100_000});
        let mesh = start(envoy, &[("kept", config)], |config| config);
        let address = mesh.envoy.address("kept").unwrap();
        let send = |target: &str, count: u64| {
            send_all(address, &vec![Request::get(target); usize::try_from(count).unwrap()], 8);
        };
        send("/slow?ms=1", QUICK);
        // Of this route too little is known.
        send("/orders/1", 8);
        send("/slow?ms=1000", 8);
        let (spans, _) = settled(&mesh, QUICK + 16);
        assert!(spans.iter().all(|span| reason(span) == ("keep", "slower_than_route_p95")), "{}", spans[0].to_json());
        let of = |query: &str| spans.iter().filter(|span| span.text("url.query") == Some(query)).count();
        let (slow, quick) = (of("ms=1000"), of("ms=1"));
        eprintln!("Envoy {}: {slow} of 8 slow streams kept, {quick} of {QUICK} quick ones", envoy.version);
        assert_eq!(slow, 8);
        // About one in twenty, in steps of an eighth; on a busy machine times drift.
        assert!(quick < 200, "{quick} of {QUICK} are slower than 95 of 100");
        assert!(spans.iter().all(|span| span.text("http.route") == Some("/slow")));
        mesh.stop();
    });
}
