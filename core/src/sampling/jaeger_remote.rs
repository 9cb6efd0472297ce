//! `jaeger_remote/development`: a strategy that Jaeger's remote sampling service gives out by service name.
//!
//! One worker asks, and all share the answer: it stands in the host's shared data beside the times of the last question
//! and the last good answer. A worker whose turn it is claims the question there; the others look now and then whether
//! there is a new answer. An answer that fails or cannot be read changes nothing: the last good one counts on, and the
//! next question comes an interval later.

use super::SamplingInput;
use super::operations::{LowerBounds, Operations, limiter};
use super::rate_limiter::RateLimiter;
use super::strategy::{Strategy, StrategyError};
use super::threshold::Threshold;
use crate::config::JaegerRemoteConfig;
use crate::shared_data::{Outcome, SharedData, update};

/// What the host is asked to send: an HTTP GET to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingRequest {
    /// The Envoy cluster.
    pub cluster: String,
    /// All header lines, pseudo-headers first.
    pub headers: Vec<(String, String)>,
    /// How long to wait for the answer, ms.
    pub timeout_ms: u32,
}

/// Why asking came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteError {
    /// The request was not sent, or not answered, or not with 200.
    Failed,
    /// The answer cannot be used.
    Malformed(StrategyError),
}

/// How long an answer may take, ms.
const TIMEOUT_MS: u32 = 10_000;

/// How often a worker looks for an answer that another one got: ten times an interval, within these bounds, ns.
const LOOK: (u64, u64) = (1_000_000_000, 10_000_000_000);

/// One worker's side of a remote sampler.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteSampler {
    key: String,
    request: SamplingRequest,
    interval: u64,
    /// When there is something to do next, ns.
    due: u64,
    /// When this worker asked last, ns. 0: never.
    asked: u64,
    /// When the answer that counts came, ns. 0: none did.
    answered: u64,
    /// Whether the last answer was no good.
    failing: bool,
    url: String,
    /// What was told, and what it came to.
    told: Option<(Strategy, Told)>,
    /// Of operations that were not named.
    lower_bounds: LowerBounds,
}

/// A strategy, ready to decide.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Share(Option<Threshold>),
    Rate(Option<RateLimiter>),
    Operations(Operations),
}

impl RemoteSampler {
    /// From checked configuration, for a service.
    #[inline]
    pub(super) fn new(config: &JaegerRemoteConfig, service: &str) -> Self {
        let endpoint = &config.endpoint;
        let mark = if endpoint.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}service={}", endpoint.path, percent_encoded(service));
        let headers = [
            (":method", "GET"),
            (":path", &path),
            (":authority", &endpoint.authority),
            (":scheme", endpoint.scheme),
            ("accept", "application/json"),
        ];
        let key = format!("meshspan.jaeger_remote.{}.{path}", endpoint.authority);
        Self {
            lower_bounds: LowerBounds::new(key.clone()),
            key,
            request: SamplingRequest {
                cluster: endpoint.cluster.clone(),
                headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                timeout_ms: TIMEOUT_MS,
            },
            interval: u64::from(config.interval_ms).saturating_mul(1_000_000),
            due: 0,
            asked: 0,
            answered: 0,
            failing: false,
            url: endpoint.url.clone(),
            told: None,
        }
    }

    /// What is to be sent at `now` (ns since the Unix epoch), if anything. To be called at each tick.
    #[inline]
    pub fn poll(&mut self, now: u64, shared: &mut dyn SharedData) -> Option<SamplingRequest> {
        if now < self.due {
            return None;
        }
        let interval = self.interval;
        // What stands there, and whether the question is ours.
        let looked = update(shared, &self.key, |stored| {
            let seen = stored.and_then(Shared::decode).unwrap_or_default();
            // A time far ahead is of another clock.
            let waits = seen.asked != 0 && now.abs_diff(seen.asked) < interval;
            let claimed = (!waits).then(|| Shared { asked: now, ..seen.clone() }.encode());
            (claimed, (!waits, seen))
        });
        let (ours, seen) = match looked {
            Outcome::Done(looked) => looked,
            Outcome::Busy => (false, Shared { asked: now, ..Shared::default() }),
            // Nobody to share with: by this worker's own clock.
            Outcome::Unavailable => (self.asked == 0 || now.abs_diff(self.asked) >= interval, Shared::default()),
        };
        if ours {
            self.asked = now.max(1);
        }
        if seen.answered > self.answered
            && let Ok(strategy) = Strategy::parse(&seen.answer)
        {
            self.adopt(strategy, seen.answered);
        }
        let next_question = self.asked.max(seen.asked).saturating_add(interval);
        let next_look = now.saturating_add((interval / 10).clamp(LOOK.0, LOOK.1));
        self.due = next_look.min(next_question.max(now.saturating_add(1)));
        ours.then(|| self.request.clone())
    }

    /// Takes the answer to a request: its status and body, or `None` for none at all.
    ///
    /// # Errors
    /// Why it changes nothing.
    #[inline]
    pub fn handle_response(
        &mut self,
        answer: Option<(u16, &[u8])>,
        now: u64,
        shared: &mut dyn SharedData,
    ) -> Result<(), RemoteError> {
        self.failing = true;
        let Some((200, body)) = answer else { return Err(RemoteError::Failed) };
        let strategy = Strategy::parse(body).map_err(RemoteError::Malformed)?;
        self.failing = false;
        self.adopt(strategy, now.max(1));
        let answered = self.answered;
        update(shared, &self.key, |stored| {
            let asked = stored.and_then(Shared::decode).map_or(answered, |seen| seen.asked);
            (Some(Shared { asked, answered, answer: body.to_vec() }.encode()), ())
        });
        Ok(())
    }

    /// Whether the last answer to this worker was none, or could not be used.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// The service's URL, as it is configured.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether there is a strategy yet.
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    #[inline]
    fn adopt(&mut self, strategy: Strategy, at: u64) {
        self.answered = at;
        // The same strategy again keeps what it has used of its rates.
        if self.told.as_ref().is_some_and(|(known, _)| *known == strategy) {
            return;
        }
        let told = match &strategy {
            Strategy::Probabilistic(share) => Told::Share(Threshold::from_probability(*share)),
            Strategy::RateLimiting(rate) => Told::Rate(limiter(format!("{}.rate", self.key), *rate)),
            Strategy::PerOperation(strategy) => {
                Told::Operations(Operations::new(strategy, &self.key, &mut self.lower_bounds))
            }
        };
        self.told = Some((strategy, told));
    }

    /// The decision: whether it is sampled, and the threshold where that is why. `None` while nothing was told.
    pub(super) fn decide(
        &mut self,
        input: &SamplingInput<'_>,
        shared: &mut dyn SharedData,
    ) -> Option<(bool, Option<Threshold>)> {
        let (_, told) = self.told.as_mut()?;
        Some(match told {
            Told::Share(share) => {
                let threshold = share.filter(|share| share.samples(input.randomness()));
                (threshold.is_some(), threshold)
            }
            Told::Rate(limiter) => (limiter.as_mut().is_some_and(|limiter| limiter.take(input.now, shared)), None),
            Told::Operations(operations) => operations.decide(input, &mut self.lower_bounds, shared),
        })
    }

    /// How many decisions about operations that no answer names were made without a lower bound since the last time,
    /// because there were too many such operations.
    pub fn take_turned_away(&mut self) -> u64 {
        self.lower_bounds.take_turned_away()
    }

    /// Whether it decides by a trace's randomness.
    pub(super) fn goes_by_share(&self) -> bool {
        matches!(self.told, Some((_, Told::Share(_) | Told::Operations(_))))
    }
}

/// What the workers share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shared {
    /// When the service was asked last, ns. 0: never.
    asked: u64,
    /// When the last good answer came, ns. 0: none did.
    answered: u64,
    /// That answer.
    answer: Vec<u8>,
}

/// The first byte of what is shared: another layout would have another.
const LAYOUT: u8 = 1;

impl Shared {
    #[inline]
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![LAYOUT];
        bytes.extend_from_slice(&self.asked.to_le_bytes());
        bytes.extend_from_slice(&self.answered.to_le_bytes());
        bytes.extend_from_slice(&self.answer);
        bytes
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (asked, rest) = bytes.strip_prefix(&[LAYOUT])?.split_at_checked(8)?;
        let (answered, answer) = rest.split_at_checked(8)?;
        Some(Self {
            asked: u64::from_le_bytes(asked.try_into().ok()?),
            answered: u64::from_le_bytes(answered.try_into().ok()?),
            answer: answer.to_vec(),
        })
    }
}

/// `text` as a value in a URL's query (RFC 3986 §2.1): all but unreserved characters encoded.
#[inline]
fn percent_encoded(text: &str) -> String {
    use core::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::Parent;
    use super::super::tests::{Attributes, NO_ATTRIBUTES, input};
    use super::*;
    use crate::config::{Endpoint, SamplerConfig, StartAttribute};
    use crate::shared_data::Alone;
    use crate::shared_data::testing::Store;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_700_000_000 * SECOND;

    const HALF: &[u8] = br#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.5}}"#;
    const ALL: &[u8] = br#"{"strategyType":0,"probabilisticSampling":{"samplingRate":1}}"#;
    const PER_OPERATION: &[u8] = br#"{"operationSampling":{"defaultSamplingProbability":0,
        "defaultLowerBoundTracesPerSecond":1,"perOperationStrategies":[
        {"operation":"GET /orders/{id}","probabilisticSampling":{"samplingRate":1}},
        {"operation":"/healthz","probabilisticSampling":{"samplingRate":0}},
        {"operation":"shop.Cart/AddItem","probabilisticSampling":{"samplingRate":1}}]}}"#;

    fn remote(service: &str) -> RemoteSampler {
        let endpoint = Endpoint {
            url: "http://jaeger:5778".to_owned(),
            cluster: "jaeger".to_owned(),
            authority: "jaeger:5778".to_owned(),
            scheme: "http",
            path: "/sampling".to_owned(),
        };
        let config = JaegerRemoteConfig { endpoint, interval_ms: 60_000, initial_sampler: SamplerConfig::AlwaysOff };
        RemoteSampler::new(&config, service)
    }

    /// What is decided about a trace whose randomness is a half.
    fn decide(remote: &mut RemoteSampler, attributes: &[(StartAttribute, &str)]) -> Option<bool> {
        let attributes = Attributes(attributes);
        let input = SamplingInput { now: NOW, ..input(1 << 55, Parent::None, "", &attributes) };
        Some(remote.decide(&input, &mut Alone)?.0)
    }

    #[test]
    fn the_request() {
        let request = remote("caf\u{e9} & co").poll(NOW, &mut Alone).unwrap();
        assert_eq!(request.cluster, "jaeger");
        let lines: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            lines,
            [
                (":method", "GET"),
                (":path", "/sampling?service=caf%C3%A9%20%26%20co"),
                (":authority", "jaeger:5778"),
                (":scheme", "http"),
                ("accept", "application/json"),
            ]
        );
    }

    #[test]
    fn one_worker_asks_and_all_know() {
        let mut store = Store::default();
        let mut workers = [remote("a"), remote("a"), remote("a")];
        let asking: Vec<_> = workers.iter_mut().map(|worker| worker.poll(NOW, &mut store).is_some()).collect();
        assert_eq!(asking, [true, false, false]);
        assert_eq!(workers[0].handle_response(Some((200, ALL)), NOW + SECOND / 10, &mut store), Ok(()));
        assert!(workers[0].is_told() && !workers[1].is_told());
        // The others find the answer when they look.
        for second in 1..10 {
            for worker in &mut workers {
                assert_eq!(worker.poll(NOW + second * SECOND, &mut store), None, "second {second}");
            }
        }
        assert!(workers.iter().all(RemoteSampler::is_told));
        // An interval later one asks again, whichever comes first.
        let asking: Vec<_> =
            workers.iter_mut().rev().map(|worker| worker.poll(NOW + 60 * SECOND, &mut store)).collect();
        assert_eq!(asking.iter().flatten().count(), 1);
        let asked = workers.iter_mut().filter_map(|worker| worker.poll(NOW + 61 * SECOND, &mut store)).count();
        assert_eq!(asked, 0, "no answer yet: that is no reason to ask again");
    }

    #[test]
    fn a_worker_by_itself_asks_each_interval() {
        let mut worker = remote("a");
        let times: Vec<_> =
            (0..200).filter(|second| worker.poll(NOW + second * SECOND, &mut Alone).is_some()).collect();
        assert_eq!(times, [0, 60, 120, 180]);
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn the_last_good_answer_counts_on() {
        let mut store = Store::default();
        let mut worker = remote("a");
        assert_eq!(decide(&mut worker, &[]), None, "nothing told yet");
        let table: [(Option<(u16, &[u8])>, Result<(), RemoteError>, Option<bool>, &str); 8] = [
            (None, Err(RemoteError::Failed), None, "no answer"),
            (Some((404, ALL)), Err(RemoteError::Failed), None, "another status"),
            (Some((200, &HALF[..20])), Err(RemoteError::Malformed(StrategyError::NoJson)), None, "truncated"),
            (Some((200, HALF)), Ok(()), Some(true), "good"),
            (Some((200, b"{}")), Err(RemoteError::Malformed(StrategyError::NoStrategy)), Some(true), "no strategy"),
            (Some((503, b"")), Err(RemoteError::Failed), Some(true), "down"),
            (Some((200, br#"{"probabilisticSampling":{"samplingRate":0}}"#)), Ok(()), Some(false), "another good one"),
            (None, Err(RemoteError::Failed), Some(false), "down again"),
        ];
        for (at, (answer, expected, sampled, why)) in (0_u64..).zip(table) {
            let now = NOW + at * 60 * SECOND;
            assert!(worker.poll(now, &mut store).is_some(), "{why}: asked all the same");
            assert_eq!(worker.handle_response(answer, now, &mut store), expected, "{why}");
            assert_eq!(decide(&mut worker, &[]), sampled, "{why}");
        }
        let mut late = remote("a");
        late.poll(NOW + 8 * 60 * SECOND, &mut store);
        assert_eq!(decide(&mut late, &[]), Some(false), "a worker that comes later begins with the last good one");
        let mut other = remote("b");
        assert!(other.poll(NOW, &mut store).is_some() && !other.is_told(), "another service has another");
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn operations() {
        use StartAttribute::{Method, Path, Route, RpcMethod};
        let table: &[(&[(StartAttribute, &str)], [bool; 2], &str)] = &[
            (&[(Method, "GET"), (Route, "/orders/{id}"), (Path, "/orders/7")], [true, true], "a span's name"),
            (
                &[(Method, "PUT"), (Route, "/orders/{id}"), (Path, "/orders/7")],
                [true, false],
                "the default, and a bound",
            ),
            (&[(Method, "GET"), (Path, "/healthz")], [true, false], "a path, and a bound of its own"),
            (&[(Method, "POST"), (RpcMethod, "shop.Cart/AddItem")], [true, true], "a gRPC method"),
            (&[(Method, "PUT"), (Route, "/carts/{id}")], [true, false], "another that is not named, and a bound"),
            (&[(Method, "PUT"), (Route, "/carts/{id}"), (Path, "/1")], [false, false], "the same again"),
        ];
        let mut worker = remote("a");
        worker.handle_response(Some((200, PER_OPERATION)), NOW, &mut Alone).unwrap();
        for (attributes, expected, why) in table {
            let decided = [0, 1].map(|_| decide(&mut worker, attributes).unwrap());
            assert_eq!(decided, *expected, "{why}");
        }
        let input = SamplingInput { now: NOW, ..input(1 << 55, Parent::None, "", &NO_ATTRIBUTES) };
        let decided = [0, 1].map(|_| worker.decide(&input, &mut Alone));
        assert_eq!(decided, [Some((true, None)), Some((false, None))], "of which nothing is known");
        // The same again changes nothing: no new tokens.
        worker.handle_response(Some((200, PER_OPERATION)), NOW, &mut Alone).unwrap();
        assert_eq!(decide(&mut worker, &[(Method, "GET"), (Path, "/healthz")]), Some(false));
    }

    #[test]
    fn a_rate() {
        let mut worker = remote("a");
        let two = br#"{"strategyType":1,"rateLimitingSampling":{"maxTracesPerSecond":2}}"#;
        worker.handle_response(Some((200, two)), NOW, &mut Alone).unwrap();
        assert_eq!([0, 1, 2].map(|_| decide(&mut worker, &[])), [Some(true), Some(true), Some(false)]);
        let none = br#"{"strategyType":1,"rateLimitingSampling":{}}"#;
        worker.handle_response(Some((200, none)), NOW, &mut Alone).unwrap();
        assert_eq!(decide(&mut worker, &[]), Some(false));
    }

    #[test]
    fn what_no_worker_wrote_is_nothing() {
        for value in [Vec::new(), vec![1; 3], vec![9; 40], vec![0xff; 17]] {
            let mut store = Store::default();
            let mut worker = remote("a");
            store.values.insert(worker.key.clone(), (value, 1));
            assert!(worker.poll(NOW, &mut store).is_some() && !worker.is_told());
        }
        // Asked by a clock that is far ahead.
        let mut store = Store::default();
        let mut worker = remote("a");
        let ahead = Shared { asked: u64::MAX, ..Shared::default() };
        store.values.insert(worker.key.clone(), (ahead.encode(), 1));
        assert!(worker.poll(NOW, &mut store).is_some());
    }
}
