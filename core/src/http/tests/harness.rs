//! What the tests share: a plugin from a user's configuration, one request through it, and its spans read back.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub(crate) use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Map, Value as Json, json};

use crate::config::Config;
use crate::counter::Counters;
use crate::header::{HeaderEdit, HeaderLine, pairs};
use crate::http::{Exchange, RequestHead, StreamEnd, TrafficDirection};
use crate::plugin::Plugin;
use crate::resource::NodeFacts;
use crate::shared_data::Alone;

pub(crate) const MS: u64 = 1_000_000;
/// When the streams of tests begin, ns since the Unix epoch.
pub(crate) const START: u64 = 1_700_000_000_000_000_000;
/// When the filter sees their heads.
pub(crate) const SEEN: u64 = START + 2 * MS;

pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;

pub(crate) type Lines<'a> = Vec<(&'a str, &'a str)>;

/// A configuration in the making: members of its objects, as a user writes them.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) propagators: String,
    pub(crate) processors: Vec<String>,
    provider: Vec<String>,
    meshspan: Vec<String>,
    sections: Vec<String>,
}

impl Setup {
    /// One batch processor, everything sampled, W3C and baggage.
    pub(crate) fn new(role: &str) -> Self {
        Self {
            propagators: "tracecontext,baggage".to_owned(),
            processors: vec![
                r#"{"batch": {"exporter": {"otlp_http": {"endpoint": "http://collector:4318/v1/traces"}}}}"#.to_owned(),
            ],
            provider: Vec::new(),
            meshspan: vec![format!(r#""role": "{role}""#)],
            sections: Vec::new(),
        }
    }

    /// `propagator.composite_list`
    pub(crate) fn propagators(mut self, list: &str) -> Self {
        list.clone_into(&mut self.propagators);
        self
    }

    /// One more member of `tracer_provider`.
    pub(crate) fn provider(mut self, member: &str) -> Self {
        self.provider.push(member.to_owned());
        self
    }

    /// `tracer_provider.sampler`
    pub(crate) fn sampler(self, sampler: &str) -> Self {
        self.provider(&format!(r#""sampler": {sampler}"#))
    }

    /// One more member of `distribution.meshspan`.
    pub(crate) fn meshspan(mut self, member: &str) -> Self {
        self.meshspan.push(member.to_owned());
        self
    }

    /// One more member at the top.
    pub(crate) fn section(mut self, member: &str) -> Self {
        self.sections.push(member.to_owned());
        self
    }

    /// One more member of `instrumentation/development.general`.
    pub(crate) fn general(self, member: &str) -> Self {
        self.section(&format!(r#""instrumentation/development": {{"general": {{{member}}}}}"#))
    }

    pub(crate) fn config(&self) -> Config {
        let mut members = vec![
            r#""file_format": "1.1""#.to_owned(),
            format!(r#""propagator": {{"composite_list": "{}"}}"#, self.propagators),
        ];
        let mut provider = self.provider.clone();
        provider.push(format!(r#""processors": [{}]"#, self.processors.join(", ")));
        members.push(format!(r#""tracer_provider": {{{}}}"#, provider.join(", ")));
        members.push(format!(r#""distribution": {{"meshspan": {{{}}}}}"#, self.meshspan.join(", ")));
        members.extend(self.sections.iter().cloned());
        let text = format!("{{{}}}", members.join(", "));
        match Config::from_json(text.as_bytes()) {
            Ok(config) => config,
            Err(errors) => panic!("{text}: {errors}"),
        }
    }

    /// Always with the same seed: two plugins draw the same ids.
    pub(crate) fn plugin(&self) -> Plugin {
        Plugin::new(&self.config(), &NodeFacts::default(), [7; 32])
    }
}

/// What became of one request.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) edits: Vec<HeaderEdit>,
    pub(crate) spans: Vec<Span>,
    pub(crate) counters: Counters,
}

impl Traced {
    /// The value that the edits give the header `name`.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.edits.iter().find_map(|edit| match edit {
            HeaderEdit::Set { name: other, value } | HeaderEdit::Add { name: other, value } if other == name => {
                Some(value.as_str())
            }
            _ => None,
        })
    }

    /// The trace id, the span id and the flags that go upstream.
    pub(crate) fn traceparent(&self) -> (&str, &str, &str) {
        let parts: Vec<_> = self.header("traceparent").expect("a traceparent").split('-').collect();
        let ["00", trace, span, flags] = parts.as_slice() else { panic!("{parts:?}") };
        (trace, span, flags)
    }

    /// The span, where there is one alone.
    pub(crate) fn span(&self) -> &Span {
        let [span] = self.spans.as_slice() else { panic!("not one span but {:#?}", self.spans) };
        span
    }

    /// The span of this kind.
    pub(crate) fn of_kind(&self, kind: i32) -> &Span {
        self.spans.iter().find(|span| span.kind == kind).expect("a span of that kind")
    }
}

/// One whole request of an inbound listener through a new plugin.
pub(crate) fn trace(setup: &Setup, lines: &[(&str, &str)], end: &StreamEnd<'_>) -> Traced {
    let lines: Vec<HeaderLine<'_>> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    trace_with(&mut setup.plugin(), TrafficDirection::Inbound, &lines, end)
}

/// One whole request through `plugin`, which asks the host for what it needs and for no more.
pub(crate) fn trace_with(
    plugin: &mut Plugin,
    direction: TrafficDirection,
    lines: &[HeaderLine<'_>],
    end: &StreamEnd<'_>,
) -> Traced {
    let http = plugin.http().expect("a tracer");
    let head = RequestHead::collect(lines.iter().copied(), http.captures_request_headers());
    let now = http.needs_request_time().then_some(SEEN);
    let (exchange, edits) = plugin.handle_request_headers(&head, direction, now).expect("a tracer");
    let exchange = ended_exchange(plugin, exchange, lines, end);
    plugin.handle_end(exchange, end);
    plugin.flush();
    let mut spans = Vec::new();
    while let Some((_, request)) = plugin.poll(end.now) {
        spans.extend(spans_of(&request.body));
    }
    Traced { edits, spans, counters: plugin.counters.clone() }
}

/// What the host does between a request's head and its end: it hands the header lines over where they are to be held, and
/// what came of the stream.
pub(crate) fn ended_exchange(
    plugin: &mut Plugin,
    exchange: Exchange,
    lines: &[HeaderLine<'_>],
    end: &StreamEnd<'_>,
) -> Exchange {
    let mut exchange = exchange;
    plugin.hold(&mut exchange, pairs::serialize(lines.iter().copied()).expect("short lines"));
    plugin.handle_outcome(exchange, end, &mut Alone)
}

/// The spans of an OTLP/HTTP request in protobuf. Checks what holds for every span.
pub(crate) fn spans_of(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("an ExportTraceServiceRequest");
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans: Vec<_> = scopes.flat_map(|scope| scope.spans).collect();
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "{span:?}");
        assert!(span.trace_id.iter().any(|byte| *byte != 0) && span.span_id.iter().any(|byte| *byte != 0), "{span:?}");
        assert!(matches!(span.parent_span_id.len(), 0 | 8), "{span:?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        assert!(span.events.is_empty() && span.links.is_empty(), "{span:?}");
        attributes(span);
    }
    spans
}

/// A span's attributes. Integers, doubles and lists are JSON's.
pub(crate) fn attributes(span: &Span) -> Json {
    let mut map = Map::new();
    for attribute in &span.attributes {
        let before = map.insert(attribute.key.clone(), to_json(attribute.value.as_ref()));
        assert_eq!(before, None, "{} stands twice", attribute.key);
    }
    Json::Object(map)
}

/// Those whose key begins with one of `prefixes`.
pub(crate) fn attributes_under(span: &Span, prefixes: &[&str]) -> Json {
    let Json::Object(map) = attributes(span) else { panic!("an object") };
    map.into_iter().filter(|(key, _)| prefixes.iter().any(|prefix| key.starts_with(prefix))).collect()
}

fn to_json(value: Option<&AnyValue>) -> Json {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::IntValue(number)) => json!(number),
        Some(Value::DoubleValue(number)) => json!(number),
        Some(Value::BoolValue(truth)) => json!(truth),
        Some(Value::ArrayValue(array)) => array.values.iter().map(|item| to_json(Some(item))).collect(),
        other => panic!("no span has {other:?}"),
    }
}

/// `GET http://shop.example/orders/7`
pub(crate) fn get() -> Lines<'static> {
    request("GET", "/orders/7")
}

/// A request to `http://shop.example`.
pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> Lines<'a> {
    vec![(":method", method), (":scheme", "http"), (":authority", "shop.example"), (":path", path)]
}

/// `lines`, where those named in `changes` have that value, and `None` takes them away.
pub(crate) fn with<'a>(lines: &Lines<'a>, changes: &[(&'a str, Option<&'a str>)]) -> Lines<'a> {
    let mut lines = lines.clone();
    for (name, value) in changes {
        lines.retain(|(other, _)| other != name);
        lines.extend(value.map(|value| (*name, value)));
    }
    lines
}

/// The end of a stream that was answered with `code` after 10 ms, of which the host knows nothing more.
pub(crate) fn ended(code: impl Into<Option<u64>>) -> StreamEnd<'static> {
    StreamEnd {
        now: START + 11 * MS,
        start: Some(START),
        duration: Some(10 * MS),
        response_code: code.into(),
        ..StreamEnd::default()
    }
}

/// Lower-case hex, as headers have ids.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
