//! `adaptive`: the share follows the load, and adjusted counts stay true while it does.

use std::time::{Duration, Instant};

use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::load::{Load, Outcome};
use meshspan_kit::receiver::ReceivedSpan;

use crate::support::{WORKERS, example, now, reason, settled, start};

/// Traces a second that are aimed at: more than the example's, so that chance matters less in seconds.
const AIM: u32 = 50;
const BEFORE: u32 = 200;
const AFTER: u32 = 1_000;
/// A rise of the load is followed within three seconds.
const FOLLOWED: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(6);

fn under_load(mesh: &Mesh, rate: u32, time: Duration) -> Outcome {
    let address = mesh.envoy.address("adaptive").unwrap();
    let load = Load { requests: vec![Request::get("/status/200")], connections: 8, rate, send_again: false };
    let answers = load.answers(address).unwrap();
    let running = load.start(address, &answers);
    let end = Instant::now() + time;
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    let mut outcome = running.stop();
    assert_eq!(outcome.errors, 0, "{:?}", outcome.first_errors);
    // One of `answers`.
    outcome.sent += 1;
    outcome
}

/// How many streams a span stands for, by its threshold (OpenTelemetry's consistent probability sampling).
fn adjusted_count(span: &ReceivedSpan) -> f64 {
    let members = span.span.trace_state.split(',').find_map(|member| member.strip_prefix("ot="));
    let threshold = members.and_then(|ot| ot.split(';').find_map(|key| key.strip_prefix("th:")));
    let threshold = threshold.unwrap_or_else(|| panic!("no threshold: {}", span.to_json()));
    let rejected = u64::from_str_radix(&format!("{threshold:0<14}"), 16).unwrap();
    #[allow(clippy::cast_precision_loss, reason = "56 bits, of which the highest count")]
    let probability = 1.0 - rejected as f64 / 2.0_f64.powi(56);
    1.0 / probability
}

#[test]
fn the_aim_is_reached_from_above_after_a_load_step() {
    each_envoy(&[WORKERS], |envoy, _| {
        let mut config = example("adaptive.json");
        let root = &mut config["tracer_provider"]["sampler"]["composite/development"]["parent_threshold"]["root"];
        root["adaptive"]["traces_per_second"] = AIM.into();
        // Never in the way: a trace that it refuses would leave a gap in the counts.
        root["adaptive"]["max_traces_per_second"] = (20 * AIM).into();
        let mesh = start(envoy, &[("adaptive", config)], |config| config);
        let mut sent = under_load(&mesh, BEFORE, FOLLOWED + MEASURED / 2).sent;
        let step = now();
        sent += under_load(&mesh, AFTER, FOLLOWED + MEASURED).sent;
        let (spans, decisions) = settled(&mesh, sent);
        assert_eq!(decisions["adaptive"], (spans.len() as u64, sent - spans.len() as u64));
        assert!(spans.iter().all(|span| reason(span) == ("adaptive", "root")), "{}", spans[0].to_json());

        // Traces a second in so long a time, so long after the step.
        let within = |from: Duration, time: Duration| {
            let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
            let window = step + nanoseconds(from)..step + nanoseconds(from + time);
            let count = spans.iter().filter(|span| window.contains(&span.span.start_time_unix_nano)).count();
            f64::from(u32::try_from(count).unwrap()) / time.as_secs_f64()
        };
        let second = Duration::from_secs(1);
        let (at_first, then) = (within(Duration::ZERO, second), within(FOLLOWED, MEASURED));
        let version = &envoy.version;
        eprintln!("Envoy {version}: {at_first:.0} traces in the first second after the step, then {then:.1} a second");
        let aim = f64::from(AIM);
        assert!(at_first > 1.5 * aim, "{at_first} traces in the first second: no step to follow");
        assert!((0.7 * aim..=1.3 * aim).contains(&then), "{then} traces a second, not about {aim}, in Envoy {version}");

        let counts: Vec<f64> = spans.iter().map(adjusted_count).collect();
        let sum: f64 = counts.iter().sum();
        let deviation = counts.iter().map(|count| count * (count - 1.0)).sum::<f64>().sqrt();
        let truth = f64::from(u32::try_from(sent).unwrap());
        eprintln!("Envoy {version}: adjusted counts add up to {sum:.0} ± {deviation:.0} of {truth} requests");
        assert!((sum - truth).abs() <= 5.0 * deviation, "{sum} ± {deviation} of {truth} requests");
        mesh.stop();
    });
}
