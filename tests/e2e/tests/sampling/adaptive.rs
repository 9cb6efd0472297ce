//! `adaptive` on the real clock: the share follows load and errors, from above and from below, for each route by itself
//! where that is asked for, and adjusted counts stay true while it does.
//!
//! `MESHSPAN_LONG=1` plays the standard window for minutes; what it prints is the run in `docs/sampling.md`.

use std::time::{Duration, Instant};

use meshspan_e2e::{Mesh, OLDEST, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::load::Load;
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

use crate::support::{WORKERS, example, now, reason, settled, start};

/// Traces a second that are aimed at: more than the example's, so that chance matters less in seconds.
const AIM: u32 = 50;
/// Requests a second.
const LOW: u32 = 200;
const HIGH: u32 = 1_000;
/// One in five requests fails in a burst.
const FAILING: usize = 5;

/// Whether the tests are to take their time: minutes in place of seconds.
fn long() -> bool {
    std::env::var_os("MESHSPAN_LONG").is_some_and(|value| value == "1")
}

fn seconds(short: u64, long_form: u64) -> Duration {
    Duration::from_secs(if long() { long_form } else { short })
}

/// `adaptive.json` with the aim of these tests, and a hard cap that is never in the way: a trace that it refuses would
/// leave a gap in the counts.
fn adaptive(change: impl FnOnce(&mut Value)) -> Value {
    let mut config = example("adaptive.json");
    let own =
        &mut config["tracer_provider"]["sampler"]["composite/development"]["parent_threshold"]["root"]["adaptive"];
    own["traces_per_second"] = AIM.into();
    own["max_traces_per_second"] = (2 * HIGH).into();
    // The law's own pace is the same, the window of errors is not.
    own["error_window"] = if long() { 10_000 } else { 2_000 }.into();
    change(own);
    config
}

/// So many requests a second for some time.
struct Phase {
    what: &'static str,
    /// The paths, in turn.
    paths: Vec<&'static str>,
    rate: u32,
    /// How long the share may take to follow.
    follows: Duration,
    /// How long it is measured from then on.
    measured: Duration,
    /// Traces a second that are expected then.
    expected: u32,
}

impl Phase {
    fn time(&self) -> Duration {
        self.follows + self.measured
    }

    fn failing(&self) -> usize {
        100 * self.paths.iter().filter(|path| path.ends_with("500")).count() / self.paths.len()
    }
}

const WELL: &[&str] = &["/status/200"];

/// One in five fails.
fn failing() -> Vec<&'static str> {
    let mut paths = vec![WELL[0]; FAILING - 1];
    paths.push("/status/500");
    paths
}

/// A load at a time.
fn under_load(mesh: &Mesh, loads: &[(&[&str], u32)], time: Duration) -> u64 {
    let address = mesh.envoy.address("adaptive").unwrap();
    let running: Vec<_> = loads
        .iter()
        .map(|(paths, rate)| {
            let requests: Vec<Request> = paths.iter().map(|path| Request::get(path)).collect();
            let load = Load { requests, connections: 4, rate: *rate, send_again: false };
            let answers = load.answers(address).unwrap();
            (load.start(address, &answers), paths.len() as u64)
        })
        .collect();
    let end = Instant::now() + time;
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    let sent = running.into_iter().map(|(running, asked)| {
        let outcome = running.stop();
        assert_eq!(outcome.errors, 0, "{:?}", outcome.first_errors);
        outcome.sent + asked
    });
    sent.sum()
}

/// Traces a second that began in so long a time, so long after `begun`, of those that `of` picks.
fn traces(
    spans: &[ReceivedSpan],
    begun: u64,
    from: Duration,
    time: Duration,
    of: impl Fn(&ReceivedSpan) -> bool,
) -> f64 {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
    let window = begun + nanoseconds(from)..begun + nanoseconds(from + time);
    let within = spans.iter().filter(|span| window.contains(&span.span.start_time_unix_nano) && of(span));
    f64::from(u32::try_from(within.count()).unwrap()) / time.as_secs_f64()
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

/// Whether the share that was aimed at came about, within a third: chance, and the law's own averages.
fn is_about(traces: f64, expected: u32) -> bool {
    let expected = f64::from(expected);
    (0.7 * expected..=1.3 * expected).contains(&traces)
}

/// Means over five seconds, as `docs/sampling.md` shows them.
fn plot(spans: &[ReceivedSpan], phases: &[(Phase, u64)]) -> String {
    use std::fmt::Write as _;
    let step = Duration::from_secs(5);
    let mut plot = String::new();
    let mut before = Duration::ZERO;
    for (phase, begun) in phases {
        let mut at = Duration::ZERO;
        while at < phase.time() {
            let traces = traces(spans, *begun, at, step.min(phase.time().saturating_sub(at)), |_| true);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
            let bar = "#".repeat((traces / 4.0).round() as usize);
            let (from, rate, failing) = ((before + at).as_secs(), phase.rate, phase.failing());
            let _ = writeln!(plot, "{from:>8} s {rate:>5}/s {failing:>3} % failed {traces:>6.1}/s {bar}");
            at += step;
        }
        before += phase.time();
    }
    plot
}

#[test]
fn the_share_follows_load_and_errors() {
    each_envoy(&[WORKERS], |envoy, _| {
        let calm = |what, rate, follows, measured| {
            let paths = WELL.to_vec();
            Phase { what, paths, rate, follows, measured, expected: AIM }
        };
        // By the law: a rise is followed within three seconds, a fall within ten; a burst is seen within its window, ends
        // as slowly, and its share falls by a fifth a second.
        let mut phases = vec![
            calm("from nothing", LOW, Duration::from_secs(4), seconds(3, 26)),
            calm("from above", HIGH, Duration::from_secs(4), seconds(6, 56)),
        ];
        // What the rest shows is the filter's doing, whichever Envoy: one is enough where time is short.
        if long() || envoy.version != OLDEST {
            let burst = Phase {
                what: "a burst of errors",
                paths: failing(),
                rate: LOW,
                follows: seconds(3, 10),
                measured: seconds(3, 50),
                expected: LOW,
            };
            phases.push(calm("from below", LOW, Duration::from_secs(10), seconds(5, 50)));
            phases.push(burst);
            phases.push(calm("after the burst", LOW, seconds(13, 45), seconds(5, 45)));
        }
        let mesh = start(envoy, &[("adaptive", adaptive(|_| {}))], |config| config);
        let mut sent = 0;
        let mut played = Vec::new();
        for phase in phases {
            let begun = now();
            sent += under_load(&mesh, &[(&phase.paths, phase.rate)], phase.time());
            played.push((phase, begun));
        }
        let (spans, decisions) = settled(&mesh, sent);
        assert_eq!(decisions["adaptive"], (spans.len() as u64, sent - spans.len() as u64));
        assert!(spans.iter().all(|span| reason(span) == ("adaptive", "root")), "{}", spans[0].to_json());

        let version = &envoy.version;
        eprintln!("Envoy {version}:\n{}", plot(&spans, &played));
        let mut wrong = Vec::new();
        for (phase, begun) in &played {
            let (what, expected) = (phase.what, phase.expected);
            let then = traces(&spans, *begun, phase.follows, phase.measured, |_| true);
            let at_first = traces(&spans, *begun, Duration::ZERO, Duration::from_secs(1), |_| true);
            eprintln!("Envoy {version}, {what}: {at_first:.0} traces in the first second, then {then:.1} a second");
            if !is_about(then, expected) {
                wrong.push(format!("{what}: {then} traces a second, not about {expected}"));
            }
            // That there was something to follow, and from which side.
            let aim = f64::from(AIM);
            let step = match what {
                "from above" => at_first > 1.5 * aim,
                "from below" => at_first < 0.7 * aim,
                "a burst of errors" => then > 0.9 * f64::from(LOW),
                "after the burst" => at_first > 2.0 * aim,
                _ => true,
            };
            if !step {
                wrong.push(format!("{what}: no step: {at_first} traces in the first second, then {then} a second"));
            }
        }
        assert!(wrong.is_empty(), "in Envoy {version}: {wrong:#?}");
        // From below the aim is approached, and never passed by much.
        for (phase, begun) in played.iter().filter(|(phase, _)| phase.what == "from below") {
            for second in 0..phase.time().as_secs() {
                let traces = traces(&spans, *begun, Duration::from_secs(second), Duration::from_secs(1), |_| true);
                assert!(traces < 2.0 * f64::from(AIM), "{traces} traces in second {second} on the way up");
            }
        }

        let counts: Vec<f64> = spans.iter().map(adjusted_count).collect();
        let sum: f64 = counts.iter().sum();
        let deviation = counts.iter().map(|count| count * (count - 1.0)).sum::<f64>().sqrt();
        let truth = f64::from(u32::try_from(sent).unwrap());
        eprintln!("Envoy {version}: adjusted counts add up to {sum:.0} ± {deviation:.0} of {truth} requests");
        assert!((sum - truth).abs() <= 5.0 * deviation, "{sum} ± {deviation} of {truth} requests");
        mesh.stop();
    });
}

/// Two routes, one with four times the requests of the other: each is brought to the aim, and errors of one are none of
/// the other's.
#[test]
fn each_route_has_an_aim_of_its_own() {
    const BUSY: u32 = 600;
    const QUIET: u32 = 150;
    each_envoy(&[WORKERS], |envoy, _| {
        if !long() && envoy.version == OLDEST {
            return;
        }
        let mut config = adaptive(|own| own["per_route"] = true.into());
        config["distribution"] = json!({"meshspan": {"routes": ["/slow", "/status/{code}"]}});
        let mesh = start(envoy, &[("adaptive", config)], |config| config);
        let failing = failing();
        let busy: (&[&str], u32) = (&["/slow?ms=1"], BUSY);
        let (follows, measured) = (seconds(5, 10), seconds(4, 30));
        let (calm_begun, time) = (now(), follows + measured);
        let mut sent = under_load(&mesh, &[busy, (WELL, QUIET)], time);
        let burst_begun = now();
        sent += under_load(&mesh, &[busy, (&failing, QUIET)], time);
        let (spans, _) = settled(&mesh, sent);
        let of = |route: &'static str| move |span: &ReceivedSpan| span.text("http.route") == Some(route);
        let mut wrong = Vec::new();
        for (what, begun, route, expected) in [
            ("calm, a busy route", calm_begun, "/slow", AIM),
            ("calm, a quiet route", calm_begun, "/status/{code}", AIM),
            ("a burst in another route", burst_begun, "/slow", AIM),
            ("a burst", burst_begun, "/status/{code}", QUIET),
        ] {
            let then = traces(&spans, begun, follows, measured, of(route));
            eprintln!("Envoy {}, {what}: {then:.1} traces a second of {route}", envoy.version);
            if !is_about(then, expected) {
                wrong.push(format!("{what}: {then} traces a second of {route}, not about {expected}"));
            }
        }
        assert!(wrong.is_empty(), "in Envoy {}: {wrong:#?}", envoy.version);
        mesh.stop();
    });
}
