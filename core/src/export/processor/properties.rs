//! Whatever is pushed and whatever a backend answers, at whatever times: the books balance, bounds hold, and a span that
//! was taken leaves once.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{configured, span, spans_of};
use super::*;
use crate::config::{Compression, OtlpProtocol};
use crate::header::HeaderLine;

#[derive(Clone, Debug)]
enum Step {
    /// Spans end.
    Push { count: u8, importance: Importance },
    /// The host ticks, after so many ms. Negative: its clock was set back.
    Tick { ms: i32 },
    /// The request that has been under way for the longest, or the one behind it, is answered.
    Answer { second: bool, answer: Answer },
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Ok,
    /// So many spans are rejected.
    Partial(u8),
    Http(&'static str),
    RetryAfter(&'static str),
    Nothing,
    NoCluster,
    Refused,
    /// Too large, if it has more spans than this.
    LargerThan(usize),
}

fn some_step() -> impl Strategy<Value = Step> {
    let importance =
        prop_oneof![Just(Importance::OwnTrace), Just(Importance::SampledByParent), Just(Importance::ErrorOrSlow)];
    let answer = prop_oneof![
        3 => Just(Answer::Ok),
        1 => (0..5_u8).prop_map(Answer::Partial),
        1 => proptest::sample::select(vec!["400", "401", "429", "500", "503", "600", "x"]).prop_map(Answer::Http),
        1 => proptest::sample::select(vec!["0", "3", "99999999999", "soon"]).prop_map(Answer::RetryAfter),
        1 => Just(Answer::Nothing),
        1 => Just(Answer::NoCluster),
        1 => Just(Answer::Refused),
        1 => (0..4_usize).prop_map(Answer::LargerThan),
    ];
    prop_oneof![
        3 => (1..8_u8, importance).prop_map(|(count, importance)| Step::Push { count, importance }),
        3 => prop_oneof![5 => 0..3_000_i32, 1 => 0..100_000_i32, 1 => -100_000..0_i32].prop_map(|ms| Step::Tick { ms }),
        3 => (any::<bool>(), answer).prop_map(|(second, answer)| Step::Answer { second, answer }),
    ]
}

/// A processor with a backend, and all that the test knows of it.
struct World {
    processor: BatchProcessor,
    now: u64,
    next_span: u64,
    under_way: Vec<(RequestId, Vec<u64>)>,
    /// How often the backend took each span.
    taken: BTreeMap<u64, u32>,
    rejected: u64,
}

impl World {
    fn answer(&mut self, second: bool, answer: Answer) {
        let at = usize::from(second && self.under_way.len() > 1);
        if self.under_way.is_empty() {
            return;
        }
        let (id, spans) = self.under_way.remove(at);
        let json;
        let retry_after;
        let (status, body): (&str, &[u8]) = match answer {
            Answer::Partial(rejected) => {
                json = format!(r#"{{"partialSuccess":{{"rejectedSpans":{rejected}}}}}"#);
                self.rejected += u64::from(rejected).min(spans.len() as u64);
                ("200", json.as_bytes())
            }
            Answer::Http(status) => (status, b""),
            Answer::RetryAfter(_) => ("503", b""),
            Answer::LargerThan(most) if spans.len() > most => ("413", b""),
            Answer::Ok | Answer::LargerThan(_) => ("200", b"{}"),
            Answer::Nothing => ("", b""),
            Answer::NoCluster | Answer::Refused => {
                let error =
                    if matches!(answer, Answer::NoCluster) { DispatchError::NoCluster } else { DispatchError::Host(9) };
                self.processor.handle_dispatch_error(id, error, self.now);
                return;
            }
        };
        let mut headers: Vec<HeaderLine<'_>> = Vec::new();
        if !status.is_empty() {
            headers.push((b":status", status.as_bytes()));
        }
        if let Answer::RetryAfter(value) = answer {
            retry_after = value;
            headers.push((b"retry-after", retry_after.as_bytes()));
        }
        self.processor.handle_response(id, &ExportResponse { headers: &headers, body, trailers: &[] }, self.now);
        if status == "200" {
            for span in spans {
                *self.taken.entry(span).or_default() += 1;
            }
        }
        // Answered already: nothing changes.
        let before = (self.processor.held(), self.processor.stats().exported());
        self.processor.handle_response(id, &ExportResponse { headers: &headers, body, trailers: &[] }, self.now);
        assert_eq!(before, (self.processor.held(), self.processor.stats().exported()));
    }

    fn poll(&mut self) {
        // Requests whose answers the processor no longer waits for have left its books.
        for _ in 0..10_000 {
            let Some((id, request)) = self.processor.poll(self.now) else { break };
            let message: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let spans = &message["resourceSpans"][0]["scopeSpans"][0]["spans"];
            let ids = spans
                .as_array()
                .unwrap()
                .iter()
                .map(|span| u64::from_str_radix(span["spanId"].as_str().unwrap(), 16).unwrap());
            self.under_way.push((id, ids.collect()));
        }
        let known: Vec<RequestId> = self.processor.in_flight.iter().map(|request| request.id).collect();
        self.under_way.retain(|(id, _)| known.contains(id));
    }

    fn check(&self, in_flight: usize) -> Result<(), TestCaseError> {
        let stats = self.processor.stats();
        let (queued, on_the_way) = self.processor.held();
        prop_assert_eq!(stats.started(), stats.exported() + stats.all_dropped() + queued + on_the_way);
        prop_assert!(self.processor.flushing || self.under_way.len() <= in_flight);
        // The queue's cap, and a batch for each request that may have come back from its way.
        prop_assert!(queued <= 20 + 4 * in_flight as u64, "{queued} queued");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn books_balance_and_nothing_leaves_twice(
        steps in vec(some_step(), 1..60),
        in_flight in 1..4_u32,
        max_retry_age_ms in prop_oneof![Just(0), Just(5_000), Just(60_000)],
        flushes: bool,
    ) {
        let limits = LimitsConfig { max_retry_age_ms, max_in_flight: in_flight, ..LimitsConfig::default() };
        let processor = configured(OtlpProtocol::HttpJson, Compression::None, 20, 4, limits);
        let mut world = World {
            processor, now: 1 << 60, next_span: 1, under_way: Vec::new(), taken: BTreeMap::new(), rejected: 0,
        };
        let in_flight = in_flight as usize;
        for step in steps {
            match step {
                Step::Push { count, importance } => for _ in 0..count {
                    world.processor.push(&span(world.next_span), importance);
                    world.next_span += 1;
                },
                Step::Tick { ms } => {
                    world.now = world.now.saturating_add_signed(i64::from(ms) * 1_000_000);
                    world.poll();
                }
                Step::Answer { second, answer } => {
                    world.answer(second, answer);
                    world.poll();
                }
            }
            world.check(in_flight)?;
        }
        if flushes {
            world.processor.flush();
            world.poll();
            for _ in 0..100 {
                world.answer(false, Answer::Ok);
                // The longest wait that a backend can ask for; the requests under way were answered before.
                if world.under_way.is_empty() {
                    world.now += 300_000 * 1_000_000;
                }
                world.poll();
            }
            world.check(in_flight)?;
            prop_assert!(world.processor.is_idle());
        }
        world.processor.abandon();
        prop_assert!(world.processor.is_idle());
        let stats = world.processor.stats();
        prop_assert_eq!(stats.started(), world.next_span - 1);
        prop_assert_eq!(stats.started(), stats.exported() + stats.all_dropped());
        prop_assert_eq!(world.taken.len() as u64, stats.exported() + world.rejected);
        prop_assert!(world.taken.values().all(|times| *times == 1), "{:?}", world.taken);
    }
}

/// Decodes what the table of unit tests sends, so that the two agree on what a request is.
#[test]
fn the_helpers_agree() {
    let mut processor = configured(OtlpProtocol::HttpProtobuf, Compression::None, 20, 4, LimitsConfig::default());
    processor.push(&span(7), Importance::OwnTrace);
    processor.flush();
    assert_eq!(spans_of(&processor.poll(0).unwrap().1.body), [7]);
}
