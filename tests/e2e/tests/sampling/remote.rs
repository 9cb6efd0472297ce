//! `jaeger_remote/development`: what a real Jaeger says, and answers that it would never give.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meshspan_e2e::{DEADLINE, Mesh, each_envoy, each_envoy_with};
use meshspan_kit::axum::Router;
use meshspan_kit::axum::extract::Request as Question;
use meshspan_kit::axum::http::StatusCode;
use meshspan_kit::backend::{JAEGER_VARIABLE, Jaeger};
use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::service::Service;
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::{WORKERS, connections_to_all_workers, decisions, example, reason, send_all, settled, start};

/// How often in a row all workers have to decide alike.
const IN_A_ROW: u64 = 4;

/// `jaeger-remote.json` for this service, which asks each second and begins with this share.
fn remote(service: &str, initial: u32) -> Value {
    let mut config = example("jaeger-remote.json");
    config["resource"]["attributes"][0]["value"] = service.into();
    config["distribution"] = json!({"meshspan": {"routes": ["/orders/{id}"]}});
    let sampler = &mut config["tracer_provider"]["sampler"]["parent_based"]["root"]["jaeger_remote/development"];
    sampler["interval"] = 1_000.into();
    sampler["initial_sampler"] = json!({"probability/development": {"ratio": initial}});
    config
}

/// Sends requests to this path to all workers, and tells whether each was sampled.
fn sampled_by_all(mesh: &Mesh, listener: &str, path: &str) -> Vec<bool> {
    let mut connections = connections_to_all_workers(mesh, listener);
    let decisions = connections.iter_mut().map(|connection| {
        let upstream = connection.request(&Request::get(path)).unwrap().json().unwrap();
        let headers = upstream["headers"].as_array().unwrap();
        let traceparent = headers.iter().find(|header| header[0] == "traceparent").unwrap();
        traceparent[1].as_str().unwrap().ends_with('3')
    });
    decisions.collect()
}

/// Sends requests to this path until all workers have decided so some times in a row, and gives how many that took.
fn until_all(mesh: &Mesh, listener: &str, path: &str, sampled: bool) -> u64 {
    let (mut sent, mut in_a_row) = (0, 0);
    let all = wait::until(2 * DEADLINE, "a strategy that every worker follows", || {
        let decisions = sampled_by_all(mesh, listener, path);
        sent += decisions.len() as u64;
        in_a_row = if decisions.iter().all(|decision| *decision == sampled) { in_a_row + 1 } else { 0 };
        (in_a_row >= IN_A_ROW).then_some(())
    });
    all.unwrap_or_else(|error| panic!("{listener}{path}, sampled {sampled}: {error:#}; {:#?}", mesh.counters()));
    sent
}

#[test]
fn what_a_real_jaeger_says_counts() {
    let share = |service: &str, share: f64| json!({"service": service, "type": "probabilistic", "param": share});
    let mixed = json!({"service": "mixed", "type": "probabilistic", "param": 0.0, "operation_strategies": [
        {"operation": "GET /orders/{id}", "type": "probabilistic", "param": 1.0},
        {"operation": "/quiet", "type": "probabilistic", "param": 0.0},
        {"operation": "/loud", "type": "probabilistic", "param": 1.0},
    ]});
    let strategies = |all: f64| {
        json!({
            "default_strategy": {"type": "probabilistic", "param": 0.0},
            "service_strategies": [
                share("all", all),
                share("none", 0.0),
                {"service": "limited", "type": "ratelimiting", "param": 5},
                mixed,
            ],
        })
    };
    let listeners = [
        ("all", remote("all", 0)),
        ("none", remote("none", 1)),
        ("unknown", remote("a service that Jaeger doesn't know", 1)),
        ("limited", remote("limited", 1)),
        ("mixed", remote("mixed", 0)),
    ];
    each_envoy_with(Jaeger::binary().as_deref(), JAEGER_VARIABLE, &[WORKERS], |binary, envoy, _| {
        let jaeger = Jaeger::start_with_strategies(binary, strategies(1.0)).unwrap();
        let mesh = start(envoy, &listeners, |config| config.add_cluster("jaeger", jaeger.sampling(), false));
        let mut streams = 0;
        streams += until_all(&mesh, "all", "/", true);
        streams += until_all(&mesh, "none", "/", false);
        streams += until_all(&mesh, "unknown", "/", false);
        streams += until_all(&mesh, "mixed", "/loud", true);
        streams += until_all(&mesh, "mixed", "/orders/7", true);
        streams += until_all(&mesh, "mixed", "/quiet", false);
        streams += until_all(&mesh, "mixed", "/other", false);

        // Where the initial sampler took all, a burst of five and five a second of both workers together.
        streams += until_all(&mesh, "limited", "/", false);
        let begun = Instant::now();
        let requests = vec![Request::get("/limited"); 2_000];
        send_all(mesh.envoy.address("limited").unwrap(), &requests, 4);
        let time = begun.elapsed().as_secs_f64();
        streams += requests.len() as u64;

        // Another strategy, while Envoy runs.
        jaeger.set_strategies(&strategies(0.0)).unwrap();
        streams += until_all(&mesh, "all", "/", false);

        let (spans, decisions) = settled(&mesh, streams);
        let limited = spans.iter().filter(|span| span.text("url.path") == Some("/limited"));
        let limited = u32::try_from(limited.count()).unwrap();
        let most = 5.0 + 5.0 * time + 2.0 * f64::from(WORKERS);
        assert!(limited > 0 && f64::from(limited) <= most, "{limited} of at most {most} in {time} s");
        for span in &spans {
            let by_jaeger = reason(span) == ("jaeger_remote", "root");
            let at_first = reason(span).0 == "probability" && ["none", "limited"].contains(&span.service())
                || span.service().starts_with("a service");
            assert!(by_jaeger || at_first, "{}", span.to_json());
        }
        assert!(decisions["jaeger_remote"].0 > 0 && decisions["jaeger_remote"].1 > 0, "{decisions:?}");
        for counter in ["meshspan_sampling_remote_failed_total", "meshspan_sampling_remote_malformed_total"] {
            assert_eq!(mesh.counter(counter), 0, "{counter}");
        }
        mesh.stop();
    });
}

/// A sampling service that answers what a test wants.
#[derive(Clone)]
struct Script(Arc<Mutex<State>>);

struct State {
    /// `None`: no answer at all.
    answer: Option<(StatusCode, String)>,
    /// When it was asked.
    asked: Vec<Instant>,
    targets: Vec<String>,
}

impl Script {
    fn new(answer: &str) -> Self {
        let answer = Some((StatusCode::OK, answer.to_owned()));
        Self(Arc::new(Mutex::new(State { answer, asked: Vec::new(), targets: Vec::new() })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Option<(StatusCode, &str)>) {
        self.lock().answer = answer.map(|(status, body)| (status, body.to_owned()));
    }

    fn service(&self) -> Service {
        let script = self.clone();
        let router = Router::new().fallback(move |question: Question| {
            let answer = {
                let mut state = script.lock();
                state.asked.push(Instant::now());
                state.targets.push(question.uri().to_string());
                state.answer.clone()
            };
            async move {
                match answer {
                    Some((status, body)) => (status, [("content-type", "application/json")], body),
                    None => std::future::pending().await,
                }
            }
        });
        Service::start_unrecorded(router).unwrap()
    }
}

/// The counter that has to rise, what the service answers, and what that is.
type Case<'a> = (&'static str, Option<(StatusCode, &'a str)>, &'static str);

const MALFORMED: &str = "meshspan_sampling_remote_malformed_total";
const FAILED: &str = "meshspan_sampling_remote_failed_total";

/// As Jaeger 2.13 wrote them.
const ALL: &str = r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":1}}"#;
const NONE: &str = r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":0}}"#;
const OPERATIONS: &str = r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":0},"operationSampling":{"defaultSamplingProbability":0,"defaultLowerBoundTracesPerSecond":0,"perOperationStrategies":[{"operation":"GET /orders/{id}","probabilisticSampling":{"samplingRate":1}},{"operation":"/quiet","probabilisticSampling":{"samplingRate":0}}],"defaultUpperBoundTracesPerSecond":0}}"#;
/// As Thrift's JSON and protobuf's have them.
const NAMED: &str =
    r#"{"strategyType":"RATE_LIMITING","rateLimitingSampling":{"maxTracesPerSecond":0},"operationSampling":null}"#;

/// A thousand operations, of which the last one is sampled.
fn many_operations() -> String {
    let operations = (0..1_000).map(|number| {
        json!({
            "operation": format!("/operation/{number}"),
            "probabilisticSampling": {"samplingRate": u8::from(number == 999)},
        })
    });
    json!({"strategyType": "PROBABILISTIC", "operationSampling": {
        "defaultSamplingProbability": 0,
        "defaultLowerBoundTracesPerSecond": 0,
        "perOperationStrategies": operations.collect::<Vec<_>>(),
    }})
    .to_string()
}

#[test]
fn the_last_good_strategy_counts_on_whatever_comes() {
    let interval = Duration::from_secs(1);
    each_envoy(&[WORKERS], |envoy, _| {
        let script = Script::new(ALL);
        let service = script.service();
        let change = |config: EnvoyConfig| config.add_cluster("jaeger", service.address(), false);
        let mesh = start(envoy, &[("remote", remote("shop & sons", 0))], change);
        let mut streams = until_all(&mesh, "remote", "/", true);

        let truncated = &OPERATIONS[..OPERATIONS.len() / 2];
        let table: [Case<'_>; 9] = [
            (MALFORMED, Some((StatusCode::OK, "<html>busy</html>")), "no JSON"),
            (MALFORMED, Some((StatusCode::OK, "")), "nothing"),
            (MALFORMED, Some((StatusCode::OK, truncated)), "half an answer"),
            (MALFORMED, Some((StatusCode::OK, "{}")), "no strategy"),
            (
                MALFORMED,
                Some((StatusCode::OK, r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":1.5}}"#)),
                "out of range",
            ),
            (FAILED, Some((StatusCode::NOT_FOUND, NONE)), "another status"),
            (FAILED, Some((StatusCode::INTERNAL_SERVER_ERROR, NONE)), "an error of the service"),
            (MALFORMED, Some((StatusCode::OK, r#"{"strategyType":7}"#)), "a strategy that nobody knows"),
            (FAILED, None, "an answer that is late"),
        ];
        for (counter, answer, what) in table {
            script.answer(answer);
            let before = mesh.counter(counter);
            let counted = wait::until(2 * DEADLINE, counter, || (mesh.counter(counter) > before).then_some(()));
            counted.unwrap_or_else(|error| panic!("{what}: {error:#}; {:#?}", mesh.counters()));
            let decisions = sampled_by_all(&mesh, "remote", "/");
            assert!(decisions.iter().all(|sampled| *sampled), "after {what}: {decisions:?}");
            streams += decisions.len() as u64;
        }
        assert!(mesh.envoy.log().contains("jaeger"), "a log line says that it fails");

        // And it recovers.
        script.answer(Some((StatusCode::OK, NONE)));
        streams += until_all(&mesh, "remote", "/", false);
        script.answer(Some((StatusCode::OK, OPERATIONS)));
        streams += until_all(&mesh, "remote", "/orders/1", true);
        streams += until_all(&mesh, "remote", "/", false);
        script.answer(Some((StatusCode::OK, &many_operations())));
        streams += until_all(&mesh, "remote", "/operation/999", true);
        streams += until_all(&mesh, "remote", "/orders/1", false);
        script.answer(Some((StatusCode::OK, ALL)));
        streams += until_all(&mesh, "remote", "/", true);
        script.answer(Some((StatusCode::OK, NAMED)));
        streams += until_all(&mesh, "remote", "/", false);

        settled(&mesh, streams);
        assert!(decisions(&mesh)["jaeger_remote"].0 > 0);
        let state = script.lock();
        assert!(
            state.targets.iter().all(|target| target == "/sampling?service=shop%20%26%20sons"),
            "{:?}",
            state.targets
        );
        // One worker asks for both.
        let intervals = (state.asked[state.asked.len() - 1] - state.asked[0]).as_secs_f64() / interval.as_secs_f64();
        let asked = u32::try_from(state.asked.len()).unwrap();
        assert!(f64::from(asked) <= 1.2 * intervals + 2.0, "{asked} questions in {intervals} intervals");
        drop(state);
        mesh.stop();
    });
}

/// Operations that the answer does not name have a lower bound each, as many as there is room for.
#[test]
fn operations_without_a_name_have_bounds_of_their_own() {
    /// As Jaeger's own clients have it.
    const MOST: usize = 2_000;
    const TOO_MANY: usize = 50;
    const OVER_LIMIT: &str = "meshspan_sampling_remote_operations_over_limit_total";
    // One a minute and operation, at once: never a second one here.
    let answer = json!({"strategyType": "PROBABILISTIC", "operationSampling": {
        "defaultSamplingProbability": 0,
        "defaultLowerBoundTracesPerSecond": 0.0167,
        "perOperationStrategies": [{"operation": "/quiet", "probabilisticSampling": {"samplingRate": 0}}],
    }});
    each_envoy(&[WORKERS], |envoy, _| {
        let script = Script::new(&answer.to_string());
        let service = script.service();
        let change = |config: EnvoyConfig| config.add_cluster("jaeger", service.address(), false);
        let mesh = start(envoy, &[("remote", remote("shop", 0))], change);
        // When one of the workers' own first requests is sampled, that worker follows; both do when four in a row were
        // asked of them, each under another name.
        let mut streams = 0;
        let grpc = |name: &str| Request::new("POST", name).header("content-type", "application/grpc").body([0; 5]);
        let mut names = 0;
        let follows = wait::until(2 * DEADLINE, "workers that follow the answer", || {
            let mut connections = connections_to_all_workers(&mesh, "remote");
            let sampled = connections.iter_mut().all(|connection| {
                names += 1;
                streams += 1;
                let response = connection.request(&grpc(&format!("/warm.Up/{names}"))).unwrap().json().unwrap();
                let headers = response["headers"].as_array().unwrap();
                let traceparent = headers.iter().find(|header| header[0] == "traceparent").unwrap();
                traceparent[1].as_str().unwrap().ends_with('3')
            });
            sampled.then_some(())
        });
        follows.unwrap();

        // Twice each, on any worker: the first one is sampled.
        let twice: Vec<Request> =
            ["/orders/1", "/orders/2", "/other", "/another"].iter().map(|path| Request::get(path)).collect();
        let quiet = [Request::get("/quiet"), Request::get("/quiet")];
        for request in twice.iter().chain(&quiet).chain(&[grpc("/shop.Cart/Add"), grpc("/shop.Cart/Add")]) {
            mesh.send("remote", request);
            streams += 1;
        }
        let spans = mesh.receiver.wait_for(DEADLINE, |spans| {
            let of: Vec<_> = spans.iter().filter_map(|span| span.text("url.path")).collect();
            ["/orders/1", "/other", "/quiet", "/shop.Cart/Add"].iter().all(|path| of.contains(path)).then_some(())
        });
        spans.unwrap_or_else(|error| panic!("{error:#}; {:#?}", mesh.counters()));
        assert_eq!(mesh.counter(OVER_LIMIT), 0);

        // More names than there is room for, all of one worker: on one connection.
        let many: Vec<Request> = (0..MOST + TOO_MANY).map(|number| grpc(&format!("/made.Up/{number}"))).collect();
        send_all(mesh.envoy.address("remote").unwrap(), &many, 1);
        streams += many.len() as u64;
        let (spans, decisions) = settled(&mesh, streams);
        let of = |begin: &str| spans.iter().filter(|span| span.text("url.path").unwrap().starts_with(begin)).count();
        assert_eq!([of("/orders/"), of("/other"), of("/another"), of("/quiet"), of("/shop.Cart/Add")], [1, 1, 0, 1, 1]);
        let (sampled, over) = (of("/made.Up/"), mesh.counter(OVER_LIMIT));
        assert_eq!(sampled as u64 + over, many.len() as u64, "each has its own, or is counted");
        // The worker knew some names before; `/another` is `/other`'s operation, GET.
        assert!((MOST - 20 - names..=MOST).contains(&sampled), "{sampled} of {MOST}");
        assert!(over >= TOO_MANY as u64, "{over}");
        assert_eq!(decisions["jaeger_remote"].0, spans.len() as u64);
        mesh.stop();
    });
}
