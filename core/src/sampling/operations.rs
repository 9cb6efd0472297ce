//! Shares and lower bounds by operation, as Jaeger gives them.
//!
//! Each operation has a share, and some traces a second that it gets in any case. Operations that the answer does not name
//! have its default share, and each a lower bound of its own, as with Jaeger's own clients; those clients keep 2,000
//! operations at most, and what comes later has the default share alone.

use super::SamplingInput;
use super::rate_limiter::RateLimiter;
use super::strategy::{MOST_OPERATIONS, PerOperation};
use super::threshold::Threshold;
use crate::config::SortedMap;
use crate::config::StartAttribute;
use crate::shared_data::SharedData;

/// The longest name of an operation that is kept, bytes: a gRPC method is whatever a caller writes.
const LONGEST_NAME: usize = 256;

/// A strategy by operation, ready to decide.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operations {
    default: Option<Threshold>,
    named: SortedMap<String, Operation>,
}

/// One operation: its share, and the rate that it has in any case.
#[derive(Clone, Debug, PartialEq)]
struct Operation {
    share: Option<Threshold>,
    lower_bound: Option<RateLimiter>,
}

/// The lower bounds of operations that no answer has named, of one worker. The workers share the tokens of an operation.
///
/// Names stay for as long as the sampler is there, also when the answer changes: what they take, here and in the shared
/// data, ends with their number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LowerBounds {
    key: String,
    /// Traces a second of each operation.
    rate: f64,
    operations: SortedMap<Box<str>, Option<RateLimiter>>,
    turned_away: u64,
}

/// A rate of so many a second; 0: none.
pub(super) fn limiter(key: String, rate: f64) -> Option<RateLimiter> {
    (rate > 0.0).then(|| RateLimiter::new(key, rate, rate.max(1.0)))
}

fn key(sampler: &str, operation: &str) -> String {
    format!("{sampler}.operation.{operation}")
}

impl LowerBounds {
    /// None yet. `key` is what the sampler has in the shared data.
    #[inline]
    pub(super) fn new(key: String) -> Self {
        Self { key, rate: 0.0, operations: SortedMap::new(), turned_away: 0 }
    }

    /// Sets the traces a second of each operation.
    fn set_rate(&mut self, rate: f64) {
        if self.rate.to_bits() != rate.to_bits() {
            self.rate = rate;
            for (name, operation) in self.operations.iter_mut() {
                *operation = limiter(key(&self.key, name), rate);
            }
        }
    }

    /// The bound of an operation, where there is one; with no room for it beside the named ones, that is counted.
    fn of(&mut self, name: &str, named: usize) -> Option<&mut RateLimiter> {
        if self.rate <= 0.0 {
            return None;
        }
        if !self.operations.contains_key(name) {
            if self.operations.len().saturating_add(named) >= MOST_OPERATIONS || name.len() > LONGEST_NAME {
                self.turned_away = self.turned_away.saturating_add(1);
                return None;
            }
            self.operations.insert(name.into(), limiter(key(&self.key, name), self.rate));
        }
        self.operations.get_mut(name)?.as_mut()
    }

    /// How many decisions were made without a lower bound since the last time, for want of room.
    pub(super) fn take_turned_away(&mut self) -> u64 {
        core::mem::take(&mut self.turned_away)
    }
}

impl Operations {
    /// From an answer. `key` is what the sampler has in the shared data.
    #[inline]
    pub(super) fn new(strategy: &PerOperation, key_of_sampler: &str, lower_bounds: &mut LowerBounds) -> Self {
        lower_bounds.set_rate(strategy.lower_bound);
        let mut named = SortedMap::new();
        for (name, share) in strategy.operations.iter() {
            let lower_bound = limiter(key(key_of_sampler, name), strategy.lower_bound);
            named.insert(name.clone(), Operation { share: Threshold::from_probability(*share), lower_bound });
        }
        Self { default: Threshold::from_probability(strategy.default), named }
    }

    /// Whether a trace is sampled, and the threshold where that is why.
    pub(super) fn decide(
        &mut self,
        input: &SamplingInput<'_>,
        lower_bounds: &mut LowerBounds,
        shared: &mut dyn SharedData,
    ) -> (bool, Option<Threshold>) {
        let count = self.named.len();
        let names = Names::of(input);
        let is_named = |name: &str| self.named.contains_key(name);
        let known = names.each().find(|name| is_named(name)).map(str::to_owned);
        // Where it may be told by its path alone.
        let known = known.or_else(|| text(input, &StartAttribute::Path).filter(|path| is_named(path)));
        let (share, lower_bound) = match known.and_then(|name| self.named.get_mut(&name)) {
            Some(operation) => (operation.share, operation.lower_bound.as_mut()),
            None => (self.default, lower_bounds.of(names.own(), count)),
        };
        // What the share samples uses the rate up, too: the bound is on both together.
        let bound = lower_bound.is_some_and(|limiter| limiter.take(input.now, shared));
        let threshold = share.filter(|share| share.samples(input.randomness()));
        (bound || threshold.is_some(), threshold)
    }
}

/// The names by which an operation can be told when it starts, but for its path.
struct Names {
    /// The span's name, as far as it is known: method and route, or the method alone.
    span: String,
    route: Option<String>,
    rpc_method: Option<String>,
}

fn text(input: &SamplingInput<'_>, attribute: &StartAttribute) -> Option<String> {
    let mut text = None;
    input.attributes.any(attribute, &mut |value| {
        text = core::str::from_utf8(value).ok().map(str::to_owned);
        true
    });
    text
}

impl Names {
    fn of(input: &SamplingInput<'_>) -> Self {
        let route = text(input, &StartAttribute::Route);
        let method = text(input, &StartAttribute::Method).filter(|method| method != "_OTHER");
        let method = method.unwrap_or_else(|| "HTTP".to_owned());
        let span = match &route {
            Some(route) => format!("{method} {route}"),
            None => method,
        };
        Self { span, route, rpc_method: text(input, &StartAttribute::RpcMethod) }
    }

    /// All of them, the most exact first.
    fn each(&self) -> impl Iterator<Item = &str> {
        let others = [&self.route, &self.rpc_method];
        core::iter::once(self.span.as_str()).chain(others.into_iter().filter_map(Option::as_deref))
    }

    /// What it is called where no answer names it. Never the path: each could be another.
    fn own(&self) -> &str {
        self.rpc_method.as_deref().unwrap_or(&self.span)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::Parent;
    use super::super::tests::{Attributes, input};
    use super::*;
    use crate::shared_data::testing::Store;
    use StartAttribute::{Method, Path, Route, RpcMethod};

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_700_000_000 * SECOND;

    /// What is known of a span, what is decided about it twice, and what it is about.
    type Case = (&'static [(StartAttribute, &'static str)], [bool; 2], &'static str);

    struct Worker {
        operations: Operations,
        lower_bounds: LowerBounds,
    }

    fn strategy(lower_bound: f64, named: &[&str]) -> PerOperation {
        let operations = named.iter().map(|name| ((*name).to_owned(), 0.0)).collect();
        PerOperation { default: 0.0, lower_bound, operations }
    }

    impl Worker {
        fn new(strategy: &PerOperation) -> Self {
            let mut lower_bounds = LowerBounds::new("k".to_owned());
            Self { operations: Operations::new(strategy, "k", &mut lower_bounds), lower_bounds }
        }

        fn told(&mut self, strategy: &PerOperation) {
            self.operations = Operations::new(strategy, "k", &mut self.lower_bounds);
        }

        fn decide(&mut self, attributes: &[(StartAttribute, &str)], now: u64, store: &mut Store) -> bool {
            let attributes = Attributes(attributes);
            let input = SamplingInput { now, ..input(1 << 55, Parent::None, "", &attributes) };
            self.operations.decide(&input, &mut self.lower_bounds, store).0
        }
    }

    #[test]
    fn each_operation_without_a_name_has_a_bound_of_its_own() {
        let table: &[Case] = &[
            (&[(Method, "GET"), (Route, "/a/{id}"), (Path, "/a/1")], [true, false], "method and route"),
            (&[(Method, "PUT"), (Route, "/a/{id}"), (Path, "/a/1")], [true, false], "another method"),
            (&[(Method, "GET"), (Route, "/b"), (Path, "/b")], [true, false], "another route"),
            (&[(Method, "GET"), (Route, "/b"), (Path, "/b/")], [false, false], "the same route"),
            (&[(Method, "GET"), (Path, "/c/1")], [true, false], "no route: the method"),
            (&[(Method, "GET"), (Path, "/c/2")], [false, false], "paths are no operations"),
            (&[(Method, "_OTHER"), (Path, "/c/2")], [true, false], "all other methods are one"),
            (&[(Method, "POST"), (RpcMethod, "shop.Cart/Add"), (Path, "/shop.Cart/Add")], [true, false], "gRPC"),
            (&[(Method, "POST"), (RpcMethod, "shop.Cart/Get"), (Path, "/shop.Cart/Get")], [true, false], "another"),
            (&[(Method, "GET"), (Path, "/named")], [true, false], "one that is named has its own as well"),
        ];
        let (mut worker, mut store) = (Worker::new(&strategy(1.0, &["/named"])), Store::default());
        for (attributes, expected, why) in table {
            let decided = [0, 1].map(|_| worker.decide(attributes, NOW, &mut store));
            assert_eq!(decided, *expected, "{why}");
        }
        assert_eq!(worker.lower_bounds.take_turned_away(), 0);
    }

    #[test]
    fn workers_share_the_bound_of_an_operation() {
        let mut store = Store::default();
        let mut workers = [0, 1].map(|_| Worker::new(&strategy(1.0, &[])));
        for (method, expected) in [("GET", [true, false]), ("PUT", [true, false])] {
            let decided = [0, 1].map(|worker: usize| workers[worker].decide(&[(Method, method)], NOW, &mut store));
            assert_eq!(decided, expected, "{method}");
        }
    }

    #[test]
    fn what_is_too_much_has_the_default_share_alone_and_is_counted() {
        let (mut worker, mut store) = (Worker::new(&strategy(1.0, &["/named", "/named/too"])), Store::default());
        let mut method =
            |worker: &mut Worker, name: &str, now: u64| worker.decide(&[(RpcMethod, name)], now, &mut store);
        let long = "x".repeat(LONGEST_NAME + 1);
        assert!(!method(&mut worker, &long, NOW), "a name that is too long");
        assert_eq!(worker.lower_bounds.take_turned_away(), 1);
        for number in 0..MOST_OPERATIONS - 2 {
            assert!(method(&mut worker, &format!("shop.Cart/{number}"), NOW), "{number}");
        }
        assert_eq!(worker.lower_bounds.take_turned_away(), 0, "there was room for these and the named ones");
        for number in 0..500 {
            assert!(!method(&mut worker, &format!("made.Up/{number}"), NOW), "{number}");
        }
        assert_eq!((worker.lower_bounds.take_turned_away(), worker.lower_bounds.take_turned_away()), (500, 0));
        assert!(method(&mut worker, "shop.Cart/0", NOW + SECOND), "who was first keeps its own");
        assert_eq!(worker.lower_bounds.operations.len(), MOST_OPERATIONS - 2);

        // Another answer makes no room: else each answer could add as many names again.
        worker.told(&strategy(2.0, &[]));
        assert!(method(&mut worker, "shop.Cart/0", NOW + 2 * SECOND));
        assert_eq!(worker.lower_bounds.operations.len(), MOST_OPERATIONS - 2);
        // With no lower bound nothing is held, and nothing turned away.
        worker.told(&strategy(0.0, &[]));
        assert!(!method(&mut worker, "made.Up/0", NOW + 9 * SECOND));
        assert_eq!(worker.lower_bounds.take_turned_away(), 0);
    }
}
