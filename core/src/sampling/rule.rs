//! One rule of `rule_based`: its conditions, ready to be asked.
//!
//! Source: opentelemetry-configuration, `ExperimentalComposableRuleBasedSamplerRule`. All conditions have to match.
//! The cheap ones are asked first, and an attribute is only looked up when all others agree.

use super::composite::Composable;
use super::{Parent, SamplingInput};
use crate::attribute::{Attribute, AttributeValue};
use crate::config::StartAttribute;
use crate::config::Wildcard;
use crate::config::json::Number;
use crate::config::{AttributePatternsConfig, AttributeValuesConfig, RuleConfig, SpanKindConfig, SpanParentConfig};
use crate::span::SpanKind;

/// A span's attributes when it starts, looked up one by one.
pub trait StartAttributes {
    /// Whether the span has the attribute and `test` says yes to its value, or to one of them where it has several.
    /// Values come as text; a number as its decimal digits.
    fn any(&self, attribute: &StartAttribute, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// A rule, and the sampler that it leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// Empty: any.
    kinds: Vec<SpanKindConfig>,
    /// Empty: any.
    parents: Vec<SpanParentConfig>,
    conditions: Vec<Condition>,
    pub(super) sampler: Composable,
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// Sorted.
    Values(StartAttribute, Vec<Box<[u8]>>),
    Patterns {
        attribute: StartAttribute,
        included: Vec<Wildcard>,
        excluded: Vec<Wildcard>,
    },
    /// It speaks of the resource, and that never changes.
    Never,
}

impl Rule {
    /// From checked configuration. What it asks of the resource is answered at once.
    #[inline]
    pub(super) fn new(config: &RuleConfig, resource: &[Attribute], sampler: Composable) -> Self {
        let values = config.attribute_values.as_ref().map(Condition::values);
        let patterns = config.attribute_patterns.as_ref().map(Condition::patterns);
        Self {
            kinds: config.span_kinds.clone(),
            parents: config.parents.clone(),
            conditions: values.into_iter().chain(patterns).filter_map(|one| one.settled_by(resource)).collect(),
            sampler,
        }
    }

    /// Whether every condition matches.
    pub(super) fn matches(&self, input: &SamplingInput<'_>) -> bool {
        let kind = match input.kind {
            SpanKind::Server => SpanKindConfig::Server,
            SpanKind::Client => SpanKindConfig::Client,
        };
        let parent = match input.parent {
            Parent::None | Parent::Decided(_) => SpanParentConfig::None,
            Parent::Remote(_) => SpanParentConfig::Remote,
            Parent::Local { .. } => SpanParentConfig::Local,
        };
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.parents.is_empty() || self.parents.contains(&parent))
            && self.conditions.iter().all(|condition| condition.matches(input.attributes))
    }

    /// The attributes that the conditions ask for.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &StartAttribute> {
        self.conditions.iter().filter_map(Condition::attribute)
    }
}

impl Condition {
    fn values(config: &AttributeValuesConfig) -> Self {
        let mut values: Vec<Box<[u8]>> = Vec::new();
        for value in config.values.iter().map(String::as_bytes) {
            let place = values.partition_point(|before| **before < *value);
            values.insert(place, value.into());
        }
        Self::Values(config.key.clone(), values)
    }

    fn patterns(config: &AttributePatternsConfig) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(|text| Wildcard::new(text)).collect();
        Self::Patterns {
            attribute: config.key.clone(),
            included: patterns(&config.included),
            excluded: patterns(&config.excluded),
        }
    }

    fn attribute(&self) -> Option<&StartAttribute> {
        match self {
            Self::Values(attribute, _) | Self::Patterns { attribute, .. } => Some(attribute),
            Self::Never => None,
        }
    }

    /// `None` where it always holds.
    fn settled_by(self, resource: &[Attribute]) -> Option<Self> {
        let Some(StartAttribute::Resource(name)) = self.attribute() else { return Some(self) };
        let value = resource.iter().find(|attribute| attribute.name == *name).map(|attribute| &attribute.value);
        let holds = value.is_some_and(|value| texts(value).iter().any(|text| self.accepts(text.as_bytes())));
        (!holds).then_some(Self::Never)
    }

    fn matches(&self, attributes: &dyn StartAttributes) -> bool {
        self.attribute().is_some_and(|attribute| attributes.any(attribute, &mut |value| self.accepts(value)))
    }

    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Values(_, values) => values.binary_search_by(|one| (**one).cmp(value)).is_ok(),
            Self::Patterns { included, excluded, .. } => {
                let any = |patterns: &[Wildcard]| patterns.iter().any(|pattern| pattern.matches(value));
                (included.is_empty() || any(included)) && !any(excluded)
            }
            Self::Never => false,
        }
    }
}

/// The values of an attribute of the resource, as text.
fn texts(value: &AttributeValue) -> Vec<String> {
    fn all<T: ToString>(values: &[T]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }
    match value {
        AttributeValue::String(text) => vec![text.clone()],
        AttributeValue::Bool(truth) => vec![truth.to_string()],
        AttributeValue::Int(number) => vec![number.to_string()],
        AttributeValue::Double(number) => vec![Number::from(*number).to_string()],
        AttributeValue::StringArray(texts) => texts.clone(),
        AttributeValue::BoolArray(truths) => all(truths),
        AttributeValue::IntArray(numbers) => all(numbers),
        AttributeValue::DoubleArray(numbers) => {
            numbers.iter().map(|number| Number::from(*number).to_string()).collect()
        }
    }
}
