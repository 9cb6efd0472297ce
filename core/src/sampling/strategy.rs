//! What Jaeger answers when it is asked how to sample.
//!
//! Source: jaeger-idl, `api_v2/sampling.proto`, `SamplingStrategyResponse`, as JSON. Three generations of servers write
//! it: Thrift's with `strategyType` as a number or a name and nulls for what is absent, protobuf's JSON mapping with
//! names, and mappings that leave out whatever is zero, `strategyType` among them.

use crate::config::SortedMap;
use crate::config::json::{self, Node, Value};

/// How to sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// A share of all traces, from 0 to 1.
    Probabilistic(f64),
    /// So many traces a second; 0: none.
    RateLimiting(f64),
    /// By operation.
    PerOperation(PerOperation),
}

/// A share for each operation.
#[derive(Clone, Debug, PartialEq)]
pub struct PerOperation {
    /// Of operations that are not named, from 0 to 1.
    pub default: f64,
    /// So many traces a second of each operation, whatever its share.
    pub lower_bound: f64,
    /// Those that are named.
    pub operations: SortedMap<String, f64>,
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyError {
    /// It is no JSON object, or ends early.
    NoJson,
    /// A field has another type, or a number is out of range.
    BadField(&'static str),
    /// The strategy that it names is not in it, or not known.
    NoStrategy,
    /// It has more operations than are taken.
    TooManyOperations,
}

impl core::fmt::Display for StrategyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoJson => f.write_str("it is no JSON object"),
            Self::BadField(name) => write!(f, "its {name} cannot be used"),
            Self::NoStrategy => f.write_str("it holds no strategy"),
            Self::TooManyOperations => write!(f, "it has more than {MOST_OPERATIONS} operations"),
        }
    }
}

/// How many operations an answer may have. Jaeger's own clients take 2000 at most.
pub(super) const MOST_OPERATIONS: usize = 2_000;

impl Strategy {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it; the first that is.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, StrategyError> {
        let document = json::parse(text).map_err(|_| StrategyError::NoJson)?;
        let Value::Object(_) = document.value else { return Err(StrategyError::NoJson) };
        if let Some(operations) = document.member("operationSampling") {
            return per_operation(operations).map(Self::PerOperation);
        }
        let probabilistic = document.member("probabilisticSampling");
        let limiting = document.member("rateLimitingSampling");
        let is_limiting = match document.member("strategyType").map(|kind| &kind.value) {
            Some(Value::String(name)) if name == "PROBABILISTIC" => false,
            Some(Value::String(name)) if name == "RATE_LIMITING" => true,
            Some(Value::Number(number)) => match number.as_integer() {
                Some(0) => false,
                Some(1) => true,
                _ => return Err(StrategyError::BadField("strategyType")),
            },
            Some(_) => return Err(StrategyError::BadField("strategyType")),
            // Left out where it is zero; then what there is counts.
            None => probabilistic.is_none() && limiting.is_some(),
        };
        if is_limiting {
            let rate = number(limiting.ok_or(StrategyError::NoStrategy)?, "maxTracesPerSecond", f64::from(u32::MAX))?;
            Ok(Self::RateLimiting(rate))
        } else {
            let rate = number(probabilistic.ok_or(StrategyError::NoStrategy)?, "samplingRate", 1.0)?;
            Ok(Self::Probabilistic(rate))
        }
    }
}

#[inline]
fn per_operation(node: &Node) -> Result<PerOperation, StrategyError> {
    let mut operations = SortedMap::new();
    match node.member("perOperationStrategies").map(|list| &list.value) {
        None => {}
        Some(Value::List(list)) if list.len() > MOST_OPERATIONS => return Err(StrategyError::TooManyOperations),
        Some(Value::List(list)) => {
            for strategy in list {
                let Some(Value::String(operation)) = strategy.member("operation").map(|name| &name.value) else {
                    return Err(StrategyError::BadField("operation"));
                };
                let share = strategy.member("probabilisticSampling").ok_or(StrategyError::NoStrategy)?;
                operations.insert(operation.clone(), number(share, "samplingRate", 1.0)?);
            }
        }
        Some(_) => return Err(StrategyError::BadField("perOperationStrategies")),
    }
    Ok(PerOperation {
        default: number(node, "defaultSamplingProbability", 1.0)?,
        lower_bound: number(node, "defaultLowerBoundTracesPerSecond", f64::from(u32::MAX))?,
        operations,
    })
}

/// The number under `name`, from 0 to `most`; 0 where it is left out.
#[inline]
fn number(node: &Node, name: &'static str, most: f64) -> Result<f64, StrategyError> {
    if !matches!(node.value, Value::Object(_)) {
        return Err(StrategyError::BadField(name));
    }
    let number = match node.member(name).map(|number| &number.value) {
        None => 0.0,
        Some(Value::Number(number)) => number.as_double(),
        Some(_) => return Err(StrategyError::BadField(name)),
    };
    if (0.0..=most).contains(&number) { Ok(number) } else { Err(StrategyError::BadField(name)) }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn answers() {
        let per = |default, lower_bound, operations: &[(&str, f64)]| {
            let operations = operations.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect();
            Ok(Strategy::PerOperation(PerOperation { default, lower_bound, operations }))
        };
        let table = [
            (
                r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.42}}"#,
                Ok(Strategy::Probabilistic(0.42)),
                "a name",
            ),
            (
                r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":0.5},"rateLimitingSampling":null,"operationSampling":null}"#,
                Ok(Strategy::Probabilistic(0.5)),
                "a number, and nulls",
            ),
            (
                r#"{"strategyType":"RATE_LIMITING","rateLimitingSampling":{"maxTracesPerSecond":42}}"#,
                Ok(Strategy::RateLimiting(42.0)),
                "a name",
            ),
            (
                r#"{"strategyType":1,"rateLimitingSampling":{"maxTracesPerSecond":1}}"#,
                Ok(Strategy::RateLimiting(1.0)),
                "a number",
            ),
            (
                r#"{"probabilisticSampling":{"samplingRate":1}}"#,
                Ok(Strategy::Probabilistic(1.0)),
                "no type: what there is",
            ),
            (
                r#"{"rateLimitingSampling":{"maxTracesPerSecond":5}}"#,
                Ok(Strategy::RateLimiting(5.0)),
                "no type: what there is",
            ),
            (r#"{"probabilisticSampling":{}}"#, Ok(Strategy::Probabilistic(0.0)), "a zero is left out"),
            (
                r#"{"strategyType":"PROBABILISTIC","operationSampling":{"defaultSamplingProbability":0.001,
                    "defaultLowerBoundTracesPerSecond":2,"perOperationStrategies":[
                    {"operation":"op","probabilisticSampling":{"samplingRate":0.002}},
                    {"operation":"/health","probabilisticSampling":{}}]}}"#,
                per(0.001, 2.0, &[("op", 0.002), ("/health", 0.0)]),
                "by operation",
            ),
            (
                r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":0.8},"operationSampling":{
                    "defaultSamplingProbability":0.8,"defaultLowerBoundTracesPerSecond":0.0167,
                    "perOperationStrategies":[],"defaultUpperBoundTracesPerSecond":0}}"#,
                per(0.8, 0.0167, &[]),
                "operations go before the rest",
            ),
            (r#"{"operationSampling":{"perOperationStrategies":null}}"#, per(0.0, 0.0, &[]), "nothing in it"),
            ("", Err(StrategyError::NoJson), "nothing"),
            ("[]", Err(StrategyError::NoJson), "a list"),
            (r#"{"probabilisticSampling":{"samplingRate":0."#, Err(StrategyError::NoJson), "truncated"),
            ("<html></html>", Err(StrategyError::NoJson), "a page"),
            ("{}", Err(StrategyError::NoStrategy), "no strategy"),
            (r#"{"strategyType":"RATE_LIMITING"}"#, Err(StrategyError::NoStrategy), "named, and not there"),
            (
                r#"{"strategyType":"RATE_LIMITING","probabilisticSampling":{"samplingRate":1}}"#,
                Err(StrategyError::NoStrategy),
                "another is there",
            ),
            (
                r#"{"strategyType":"ADAPTIVE","probabilisticSampling":{"samplingRate":1}}"#,
                Err(StrategyError::BadField("strategyType")),
                "unknown",
            ),
            (
                r#"{"strategyType":2,"probabilisticSampling":{"samplingRate":1}}"#,
                Err(StrategyError::BadField("strategyType")),
                "unknown",
            ),
            (
                r#"{"probabilisticSampling":{"samplingRate":2}}"#,
                Err(StrategyError::BadField("samplingRate")),
                "above 1",
            ),
            (
                r#"{"probabilisticSampling":{"samplingRate":"0.5"}}"#,
                Err(StrategyError::BadField("samplingRate")),
                "text",
            ),
            (r#"{"probabilisticSampling":0.5}"#, Err(StrategyError::BadField("samplingRate")), "no object"),
            (
                r#"{"rateLimitingSampling":{"maxTracesPerSecond":-1}}"#,
                Err(StrategyError::BadField("maxTracesPerSecond")),
                "negative",
            ),
            (
                r#"{"operationSampling":{"perOperationStrategies":[{"probabilisticSampling":{"samplingRate":1}}]}}"#,
                Err(StrategyError::BadField("operation")),
                "an operation without a name",
            ),
            (
                r#"{"operationSampling":{"perOperationStrategies":[{"operation":"a"}]}}"#,
                Err(StrategyError::NoStrategy),
                "an operation without a strategy",
            ),
            (
                r#"{"operationSampling":{"perOperationStrategies":{}}}"#,
                Err(StrategyError::BadField("perOperationStrategies")),
                "no list",
            ),
        ];
        for (text, expected, why) in table {
            assert_eq!(Strategy::parse(text.as_bytes()), expected, "{text}: {why}");
        }
    }

    #[test]
    fn many_operations() {
        let answer = |count: usize| {
            let one =
                |number| format!(r#"{{"operation":"op{number}","probabilisticSampling":{{"samplingRate":0.5}}}}"#);
            let list = (0..count).map(one).collect::<Vec<_>>().join(",");
            Strategy::parse(format!(r#"{{"operationSampling":{{"perOperationStrategies":[{list}]}}}}"#).as_bytes())
        };
        let Ok(Strategy::PerOperation(strategy)) = answer(1_000) else { panic!() };
        assert_eq!(strategy.operations.len(), 1_000);
        assert_eq!(answer(2_001), Err(StrategyError::TooManyOperations));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let text = r#"{"strategyType":0,"probabilisticSampling":{"samplingRate":0.5},"operationSampling":{"perOperationStrategies":[{"operation":"a","probabilisticSampling":{"samplingRate":1}}]}}"#;
        for end in 0..text.len() {
            assert_eq!(Strategy::parse(&text.as_bytes()[..end]), Err(StrategyError::NoJson), "{end}");
        }
        assert!(Strategy::parse(text.as_bytes()).is_ok());
    }
}
