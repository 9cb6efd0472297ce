//! What the probabilistic samplers promise over many traces, with bounds that a right sampler keeps all but surely:
//! six standard deviations. The traces are the same in each run.

use std::sync::OnceLock;

use super::tests::{Ask as _, Attributes, NO_ATTRIBUTES, composite, input, sampler};
use super::*;
use crate::trace::IdGenerator;

const TRACES: u32 = 1_000_000;

const RATIOS: [f64; 4] = [0.5, 1.0 / 3.0, 0.1, 0.001];

/// The ids of all traces.
fn ids() -> impl Iterator<Item = u128> {
    static IDS: OnceLock<Vec<u128>> = OnceLock::new();
    let draw = || {
        let mut generator = IdGenerator::from_seed([3; 32]);
        (0..TRACES).map(|_| generator.trace_id().get()).collect()
    };
    IDS.get_or_init(draw).iter().copied()
}

/// Checks that `hits` of all traces are as many as `probability` makes them, within six standard deviations.
fn assert_binomial(hits: u32, probability: f64, what: &str) {
    let traces = f64::from(TRACES);
    let (expected, deviation) = (traces * probability, (traces * probability * (1.0 - probability)).sqrt());
    assert!((f64::from(hits) - expected).abs() <= 6.0 * deviation, "{what}: {hits} of {expected} ± {deviation}");
}

/// As many as asked for, and the adjusted counts of those add up to all of them.
#[test]
fn shares_are_what_was_asked_for() {
    for ratio in RATIOS {
        let mut plain = sampler(&format!(r#"{{"trace_id_ratio_based": {{"ratio": {ratio}}}}}"#), &[]);
        let mut consistent = sampler(&format!(r#"{{"probability/development": {{"ratio": {ratio}}}}}"#), &[]);
        let (mut plain_hits, mut hits, mut sum) = (0, 0, 0.0);
        for id in ids() {
            let input = input(id, Parent::None, "", &NO_ATTRIBUTES);
            plain_hits += u32::from(plain.ask(&input).sampled);
            if let Some(threshold) = consistent.ask(&input).threshold {
                hits += 1;
                sum += threshold.adjusted_count();
            }
        }
        assert_binomial(plain_hits, ratio, &format!("trace_id_ratio_based {ratio}"));
        // What four hex digits make of the ratio.
        let threshold = Threshold::from_probability(ratio).unwrap();
        assert_binomial(hits, threshold.probability(), &format!("probability {ratio}"));
        let deviation = (f64::from(TRACES) * (1.0 - ratio) / ratio).sqrt();
        assert!((sum - f64::from(TRACES)).abs() <= 6.0 * deviation, "ratio {ratio}: {sum} ± {deviation}");
    }
}

/// Shares that are chosen by load or told by Jaeger are kept by the same rule: trace for trace what `probability` samples.
#[test]
fn chosen_and_told_shares_are_shares_like_others() {
    use crate::shared_data::Alone;
    const JAEGER: &str = r#"{"jaeger_remote/development": {"endpoint": "http://jaeger:5778",
        "initial_sampler": {"always_off": {}}}}"#;
    for ratio in [1.0 / 3.0, 0.001] {
        let adaptive = format!(
            r#"{{"adaptive": {{"traces_per_second": 1, "max_traces_per_second": 1000000, "floor": {ratio}, "ceiling": {ratio}}}}}"#
        );
        let told = |answer: &str| {
            let mut sampler = sampler(JAEGER, &[]);
            sampler.remotes[0].handle_response(Some((200, answer.as_bytes())), 1, &mut Alone).unwrap();
            sampler
        };
        let all = format!(r#"{{"strategyType":0,"probabilisticSampling":{{"samplingRate":{ratio}}}}}"#);
        let each = format!(
            r#"{{"operationSampling":{{"defaultSamplingProbability":0,"defaultLowerBoundTracesPerSecond":0,
                "perOperationStrategies":[{{"operation":"/0","probabilisticSampling":{{"samplingRate":{ratio}}}}}]}}}}"#
        );
        let rest = format!(
            r#"{{"operationSampling":{{"defaultSamplingProbability":{ratio},"defaultLowerBoundTracesPerSecond":0,
                "perOperationStrategies":[{{"operation":"/1","probabilisticSampling":{{"samplingRate":0}}}}]}}}}"#
        );
        let samplers = [
            ("adaptive", sampler(&adaptive, &[])),
            ("jaeger_remote", told(&all)),
            ("jaeger_remote, an operation", told(&each)),
            ("jaeger_remote, an operation without a name", told(&rest)),
        ];
        let share = Threshold::from_probability(ratio).unwrap();
        let attributes = Attributes(&[(StartAttribute::Path, "/0")]);
        for (what, mut sampler) in samplers {
            let mut hits = 0;
            for id in ids() {
                let input = input(id, Parent::None, "", &attributes);
                let decision = sampler.ask(&input);
                let expected = Some(share).filter(|share| share.samples(input.randomness()));
                assert_eq!((decision.sampled, decision.threshold), (expected.is_some(), expected), "{what}: {id:x}");
                hits += u32::from(decision.sampled);
            }
            assert_binomial(hits, share.probability(), &format!("{what} {ratio}"));
        }
    }
}

/// Rules that sample parts of the traffic at different rates add up as well.
#[test]
fn adjusted_counts_of_rules_sum_to_the_truth() {
    let mut rules = composite(
        r#"{"rule_based": {"rules": [
            {"attribute_values": {"key": "url.path", "values": ["/0"]}, "sampler": {"always_on": {}}},
            {"attribute_values": {"key": "url.path", "values": ["/1"]}, "sampler": {"probability": {"ratio": 0.25}}},
            {"sampler": {"probability": {"ratio": 0.01}}}]}}"#,
    );
    let (mut sum, mut spread) = (0.0_f64, 0.0_f64);
    let traces = 300_000;
    for (index, id) in ids().take(traces).enumerate() {
        let attributes = [(StartAttribute::Path, ["/0", "/1", "/2"][index % 3])];
        let decision = rules.ask(&input(id, Parent::None, "", &Attributes(&attributes)));
        sum += decision.threshold.map_or(0.0, Threshold::adjusted_count);
        spread += [0.0, 3.0, 99.0][index % 3];
    }
    assert!((sum - 300_000.0).abs() <= 6.0 * spread.sqrt(), "{sum} ± {}", spread.sqrt());
}

/// The traces sampled at one in ten are spread evenly over the rest of their ids: nothing else about a trace makes it
/// likelier to be sampled.
#[test]
fn sampled_traces_are_spread_evenly() {
    const BUCKETS: usize = 256;
    let mut buckets = Vec::new();
    for name in ["probability/development", "trace_id_ratio_based"] {
        let mut sampler = sampler(&format!(r#"{{"{name}": {{"ratio": 0.1}}}}"#), &[]);
        let (mut high, mut low) = ([0_u32; BUCKETS], [0_u32; BUCKETS]);
        for id in ids().filter(|id| sampler.ask(&input(*id, Parent::None, "", &NO_ATTRIBUTES)).sampled) {
            high[usize::try_from(id >> 120).unwrap()] += 1;
            low[usize::try_from(id & 0xff).unwrap()] += 1;
        }
        buckets.extend([high, low]);
    }
    for buckets in buckets {
        let total: u32 = buckets.iter().sum();
        let expected = f64::from(total) / f64::from(u32::try_from(BUCKETS).unwrap());
        let chi_square: f64 = buckets.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: mean 255, standard deviation 22.6.
        assert!((255.0 - 6.0 * 22.6..=255.0 + 6.0 * 22.6).contains(&chi_square), "{chi_square}");
    }
}

/// A trace through three proxies that ask for different shares: whoever asks for more has all of whoever asks for less,
/// and those who follow do as the first.
#[test]
fn every_hop_agrees() {
    let mut half = sampler(r#"{"probability/development": {"ratio": 0.5}}"#, &[]);
    let mut tenth = sampler(r#"{"probability/development": {"ratio": 0.1}}"#, &[]);
    let mut follow = composite(r#"{"parent_threshold": {"root": {"always_on": {}}}}"#);
    let mut plain = sampler(r#"{"parent_based": null}"#, &[]);
    for id in ids().take(100_000) {
        let first = tenth.ask(&input(id, Parent::None, "", &NO_ATTRIBUTES));
        let state = match OtelTraceState::EMPTY.with_threshold(first.threshold) {
            Change::Set(state) => state,
            Change::Keep | Change::Remove => String::new(),
        };
        let parent = Parent::Remote(if first.sampled { ParentDecision::Sampled } else { ParentDecision::NotSampled });
        let next = input(id, parent, &state, &NO_ATTRIBUTES);
        assert_eq!(tenth.ask(&next).sampled, first.sampled, "the same sampler, the same answer");
        for follower in [&mut follow, &mut plain] {
            let decision = follower.ask(&next);
            assert_eq!((decision.sampled, decision.threshold), (first.sampled, first.threshold));
        }
        assert!(half.ask(&next).sampled || !first.sampled, "a higher share holds a lower one");
    }
}

/// Whatever the parent said and whatever its threshold: who follows never samples a trace below the parent's threshold,
/// unless the parent did.
#[test]
fn no_child_is_sampled_below_its_parents_threshold() {
    let mut follow = composite(r#"{"parent_threshold": {"root": {"always_on": {}}}}"#);
    for (id, threshold) in ids().take(100_000).zip(ids().map(|id| id & 0xff_ffff_ffff_ffff)) {
        let threshold = Threshold::new(u64::try_from(threshold).unwrap()).unwrap();
        let mut state = "th:".to_owned();
        threshold.write(&mut state);
        for said in [ParentDecision::Sampled, ParentDecision::NotSampled] {
            let input = input(id, Parent::Remote(said), &state, &NO_ATTRIBUTES);
            let decision = follow.ask(&input);
            assert_eq!(decision.sampled, said.is_sampled());
            let above = threshold.samples(input.randomness());
            assert_eq!(decision.threshold, Some(threshold).filter(|_| above && decision.sampled));
        }
    }
}
