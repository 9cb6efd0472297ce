//! `rate_limiting`: so many spans a second for the whole proxy.

use std::time::Duration;

use meshspan_e2e::each_envoy;
use meshspan_kit::client::Request;
use meshspan_kit::load::Load;
use meshspan_kit::receiver::ReceivedSpan;

use crate::support::{WORKERS, assert_all_workers_had_connections, example, reason, settled, start};

/// Of `rate-limit.json`.
const RATE: u32 = 100;
/// What the burst takes to be used up, and more.
const BURST: f64 = 1.5;
const TIME: Duration = Duration::from_secs(8);

/// Ten times as many requests as are to be recorded, over two workers.
#[test]
fn the_rate_holds_for_the_whole_proxy() {
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &[("limited", example("rate-limit.json"))], |config| config);
        let address = mesh.envoy.address("limited").unwrap();
        let requests = vec![Request::get("/status/200")];
        let load = Load { requests, connections: 8, rate: 10 * RATE, send_again: false };
        let answers = load.answers(address).unwrap();
        let running = load.start(address, &answers);
        std::thread::sleep(TIME);
        let outcome = running.stop();
        assert_eq!(outcome.errors, 0, "{:?}", outcome.first_errors);
        assert_all_workers_had_connections(&mesh);

        // And one of `answers`.
        let (spans, decisions) = settled(&mesh, outcome.sent + 1);
        assert!(spans.iter().all(|span| reason(span) == ("rate_limiting", "root")), "{}", spans[0].to_json());
        assert_eq!(decisions["rate_limiting"].0 + decisions["rate_limiting"].1, outcome.sent + 1);

        let mut starts: Vec<u64> = spans.iter().map(|span: &ReceivedSpan| span.span.start_time_unix_nano).collect();
        starts.sort_unstable();
        #[allow(clippy::cast_precision_loss, reason = "a span of seconds")]
        let seconds: Vec<f64> = starts.iter().map(|start| (start - starts[0]) as f64 / 1e9).collect();
        // From when the burst is used up to the last span, by the spans' own time.
        let late: Vec<f64> = seconds.into_iter().filter(|second| *second > BURST).collect();
        let time = late.last().unwrap() - BURST;
        let measured = f64::from(u32::try_from(late.len()).unwrap()) / time;
        let version = &envoy.version;
        eprintln!("Envoy {version}: {} requests, {measured:.1} spans a second over {time:.1} s", outcome.sent);
        let bounds = 0.9 * f64::from(RATE)..=1.1 * f64::from(RATE);
        assert!(bounds.contains(&measured), "{measured} spans a second over {time} s in Envoy {version}");
        mesh.stop();
    });
}
