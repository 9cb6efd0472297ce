//! The meter of HTTP and gRPC streams: what is counted and timed of each, whether or not it is sampled.
//!
//! What becomes an attribute has few values by construction: a method that is known or `_OTHER`, a route's template and
//! never a path, a scheme that is `http` or `https`, a protocol version that there is, a gRPC method that a server is
//! known to have or `_OTHER`. What is left is bounded by the caps of the ways out.
//!
//! Sources: OpenTelemetry semantic conventions, "HTTP metrics" and "RPC metrics".

use std::rc::Rc;

use super::attributes::SpanShape;
use super::exchange::{Exchange, OutcomeNeeds, StreamEnd};
use super::peer::{self, PeerNeeds};
use super::request::{RequestHead, Tunnel};
use super::route::RouteTable;
use super::service_graph::{Call, ServiceGraph};
use super::tracer::{TrafficDirection, looks_like_template};
use crate::config::{Config, Role};
use crate::grpc::{GrpcCall, GrpcFacts, GrpcStatus, KnownMethods};
use crate::masking::{Masked, Masker};
use crate::metrics::{AttributeSet, Exemplar, Instrument, Outlets};
use crate::propagation;
use crate::semconv::{self, metric};
use crate::span::SpanKind;

/// Measures streams. Built once from configuration; holds no stream's state.
#[derive(Clone, Debug)]
pub struct HttpMeter {
    role: Role,
    server: SpanShape,
    client: SpanShape,
    routes: RouteTable,
    methods: KnownMethods,
    graph: Option<ServiceGraph>,
    masker: Rc<Masker>,
}

/// What is kept of a stream until it is measured.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    is_server: bool,
    is_client: bool,
    /// A known one, else `_OTHER`.
    method: Option<Rc<str>>,
    scheme: Option<Scheme>,
    /// The template that the path follows.
    route: Option<Rc<str>>,
    tunnel: Option<Tunnel>,
    /// Our member of the caller's trace state.
    caller: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
enum Scheme {
    Http,
    Https,
}

const OTHER: Masked<'static> = Masked::literal("_OTHER");
const GRPC: Masked<'static> = Masked::literal("grpc");

impl HttpMeter {
    /// From checked configuration, and the resource's `service.name`.
    #[inline]
    pub fn new(config: &Config, service: &str, masker: Rc<Masker>) -> Self {
        let meshspan = &config.meshspan;
        Self {
            role: meshspan.role,
            server: SpanShape::new(SpanKind::Server, &config.instrumentation),
            client: SpanShape::new(SpanKind::Client, &config.instrumentation),
            routes: RouteTable::new(&meshspan.routes),
            methods: KnownMethods::new(meshspan.known_rpc_methods.as_deref()),
            graph: meshspan.metrics.service_graph.as_ref().map(|graph| ServiceGraph::new(graph, service)),
            masker,
        }
    }

    /// Whether the traffic direction has to be known: only for `role: auto`.
    pub fn needs_direction(&self) -> bool {
        self.role == Role::Auto
    }

    /// Takes the request's head. The stream is active from now on.
    pub fn begin(
        &self,
        exchange: &mut Exchange,
        head: &RequestHead<'_>,
        direction: TrafficDirection,
        out: &mut Outlets<'_>,
    ) {
        let (is_server, is_client) = match (self.role, direction) {
            (Role::Gateway, _) => (true, true),
            (Role::Client, _) | (Role::Auto, TrafficDirection::Outbound) => (false, true),
            (Role::Server | Role::Auto, _) => (true, false),
        };
        let shape = if is_server { &self.server } else { &self.client };
        let reads_member = is_server && self.graph.as_ref().is_some_and(ServiceGraph::reads_member);
        let measurement = Measurement {
            is_server,
            is_client,
            method: shape.known_method(head.method),
            scheme: match head.scheme() {
                b"http" => Some(Scheme::Http),
                b"https" => Some(Scheme::Https),
                _ => None,
            },
            route: self.routes.find(head.path_and_query().0),
            tunnel: head.tunnel(),
            caller: if reads_member {
                propagation::trace_state_member(&head.carrier, peer::MEMBER).map(Box::from)
            } else {
                None
            },
        };
        measurement.count_active(1, out);
        if exchange.grpc.is_none() {
            exchange.grpc = head.grpc().map(|request| Box::new(GrpcCall::new(&request)));
        }
        exchange.measurement = Some(Box::new(measurement));
    }

    /// What has to be read at the end of this stream; `None` when it is not measured.
    pub fn needs(&self, exchange: &Exchange) -> Option<OutcomeNeeds> {
        let measurement = exchange.measurement.as_deref()?;
        let graph = self.graph.as_ref().map(ServiceGraph::needs).unwrap_or_default();
        Some(OutcomeNeeds {
            grpc_status: exchange.needs_header_status(),
            route_name: measurement.route.is_none(),
            sizes: true,
            attempt_count: true,
            cluster: measurement.is_client && self.graph.is_some(),
            caller: if measurement.is_server { graph } else { PeerNeeds::default() },
            callee: if measurement.is_client { graph } else { PeerNeeds::default() },
        })
    }

    /// The stream is complete.
    pub fn end(&mut self, exchange: &mut Exchange, end: &StreamEnd<'_>, out: &mut Outlets<'_>) {
        let Some(measurement) = exchange.measurement.take() else { return };
        measurement.count_active(-1, out);
        let masker = &self.masker;
        let facts = exchange.grpc.as_deref().map(|call| call.facts(&end.grpc(), &mut self.methods, masker));
        let envoy_route = Some(end.route_name).filter(|name| looks_like_template(name));
        let route = match &measurement.route {
            Some(template) => Some(Masked::configured(template)),
            None => envoy_route.and_then(|name| masker.value(semconv::HTTP_ROUTE, name)),
        };
        let ids = exchange.ids();
        let exemplar = |span_id| Exemplar {
            time: end.end_time(),
            trace_id: ids.trace_id,
            span_id,
            sampled: exchange.is_recorded(),
        };
        let stream = Ended { measurement: &measurement, end, route: route.as_ref(), facts: facts.as_ref() };
        let outer = exemplar(ids.span_id);
        stream.count_once(&outer, out);
        if measurement.is_server {
            stream.measure(&self.server, &outer, out);
            if let Some(graph) = &self.graph {
                let call = stream.call(&self.server, &outer);
                graph.count_served(measurement.caller.as_deref(), end, &call, masker, out);
            }
        }
        // A gateway that answered by itself called nobody.
        if measurement.is_client && !(measurement.is_server && end.attempt_count.is_some_and(|count| count == 0)) {
            let inner = exemplar(ids.client_span_id.unwrap_or(ids.span_id));
            stream.measure(&self.client, &inner, out);
            if let Some(graph) = &self.graph {
                graph.count_called(end, &stream.call(&self.client, &inner), masker, out);
            }
        }
    }

    /// The stream went away without its end having been seen.
    pub fn lose(&self, exchange: &Exchange, out: &mut Outlets<'_>) {
        if let Some(measurement) = &exchange.measurement {
            measurement.count_active(-1, out);
        }
    }
}

impl Measurement {
    fn count_active(&self, by: i64, out: &mut Outlets<'_>) {
        let method = self.method();
        let mut set = AttributeSet::new();
        set.put_text(semconv::HTTP_REQUEST_METHOD, &method);
        let scheme = self.scheme.map(Scheme::text);
        if let Some(scheme) = &scheme {
            set.put_text(semconv::URL_SCHEME, scheme);
        }
        if self.is_server {
            out.add(Instrument::HttpServerActiveRequests, &set, by, None);
        }
        if self.is_client {
            out.add(Instrument::HttpClientActiveRequests, &set, by, None);
        }
    }

    fn method(&self) -> Masked<'_> {
        self.method.as_deref().map_or(OTHER, Masked::configured)
    }
}

impl Scheme {
    const fn text(self) -> Masked<'static> {
        match self {
            Self::Http => Masked::literal("http"),
            Self::Https => Masked::literal("https"),
        }
    }
}

/// A stream that has ended.
struct Ended<'a> {
    measurement: &'a Measurement,
    end: &'a StreamEnd<'a>,
    route: Option<&'a Masked<'a>>,
    /// Of a gRPC call.
    facts: Option<&'a GrpcFacts<'a>>,
}

impl Ended<'_> {
    /// What is counted of a stream, whoever sees it.
    fn count_once(&self, exemplar: &Exemplar, out: &mut Outlets<'_>) {
        let exemplar = Some(exemplar);
        for class in self.end.response_flags.classes() {
            let class = Masked::literal(class.as_str());
            let mut set = AttributeSet::new();
            set.put_text(metric::FLAG_CLASS, &class);
            out.add(Instrument::ResponsesFlagged, &set, 1, exemplar);
        }
        if let Some(retries) = self.end.attempt_count.and_then(|count| count.checked_sub(2)) {
            let retries = i64::try_from(retries).unwrap_or(i64::MAX).saturating_add(1);
            let method = self.measurement.method();
            let mut set = AttributeSet::new();
            set.put_text(semconv::HTTP_REQUEST_METHOD, &method);
            if let Some(route) = self.route {
                set.put_text(semconv::HTTP_ROUTE, route);
            }
            out.add(Instrument::UpstreamRetries, &set, retries, exemplar);
        }
        if let Some(facts) = self.facts.filter(|facts| self.was_rejected(facts)) {
            let mut set = AttributeSet::new();
            put_method(facts, &mut set);
            out.add(Instrument::RpcRejectedStreams, &set, 1, exemplar);
        }
    }

    /// Whether the proxy turned a gRPC stream away, instead of passing it on: it is overloaded or rate-limited, or there
    /// is nobody to pass it on to, and the caller was told `RESOURCE_EXHAUSTED` or `UNAVAILABLE`.
    fn was_rejected(&self, facts: &GrpcFacts<'_>) -> bool {
        let is_refusal = matches!(facts.outcome.status, Some(GrpcStatus::RESOURCE_EXHAUSTED | GrpcStatus::UNAVAILABLE));
        is_refusal && self.end.response_flags.rejects()
    }

    fn call<'a>(&self, shape: &SpanShape, exemplar: &'a Exemplar) -> Call<'a> {
        Call { failed: self.failed(shape), duration: self.duration(), exemplar: Some(exemplar) }
    }

    fn failed(&self, shape: &SpanShape) -> bool {
        match self.facts {
            Some(facts) => facts.outcome.failed(shape.kind()),
            None => shape.failed(self.end, self.measurement.tunnel),
        }
    }

    /// ns; as the span has it.
    fn duration(&self) -> Option<u64> {
        self.end.duration.or_else(|| self.end.now.checked_sub(self.end.start?))
    }

    /// The stream as one side of it sees it.
    fn measure(&self, shape: &SpanShape, exemplar: &Exemplar, out: &mut Outlets<'_>) {
        let (end, exemplar) = (self.end, Some(exemplar));
        let measurement = self.measurement;
        let method = measurement.method();
        let scheme = measurement.scheme.map(Scheme::text);
        let error_type = match self.facts {
            Some(facts) => facts.outcome.error_type(shape.kind()).map(Masked::literal),
            None => shape.error_type(end, measurement.tunnel),
        };
        let version = version(end.protocol);
        let mut set = AttributeSet::new();
        if let Some(error_type) = &error_type {
            set.put_text(semconv::ERROR_TYPE, error_type);
        }
        set.put_text(semconv::HTTP_REQUEST_METHOD, &method);
        if let Some(code) = end.response_code.filter(|code| (100..=999).contains(code)) {
            set.put_int(semconv::HTTP_RESPONSE_STATUS_CODE, i64::try_from(code).unwrap_or(i64::MAX));
        }
        if let Some(route) = self.route {
            set.put_text(semconv::HTTP_ROUTE, route);
        }
        // What the host says is the protocol of the client's connection; a gateway's own may be another.
        let is_inner = shape.kind() == SpanKind::Client && measurement.is_server;
        if let Some(version) = version.as_ref().filter(|_| !is_inner) {
            set.put_text(semconv::NETWORK_PROTOCOL_VERSION, version);
        }
        if let Some(scheme) = &scheme {
            set.put_text(semconv::URL_SCHEME, scheme);
        }
        let [duration, request, response, call] = match shape.kind() {
            SpanKind::Server => [
                Instrument::HttpServerRequestDuration,
                Instrument::HttpServerRequestBodySize,
                Instrument::HttpServerResponseBodySize,
                Instrument::RpcServerCallDuration,
            ],
            SpanKind::Client => [
                Instrument::HttpClientRequestDuration,
                Instrument::HttpClientRequestBodySize,
                Instrument::HttpClientResponseBodySize,
                Instrument::RpcClientCallDuration,
            ],
        };
        if let Some(took) = self.duration() {
            out.record_duration(duration, &set, took, exemplar);
        }
        for (instrument, size) in [(request, end.request_size), (response, end.response_size)] {
            if let Some(size) = size {
                out.record_size(instrument, &set, size, exemplar);
            }
        }
        if let (Some(facts), Some(took)) = (self.facts, self.duration()) {
            let status = facts.outcome.status.map(|status| Masked::literal(status.name()));
            let mut set = AttributeSet::new();
            if let Some(error_type) = &error_type {
                set.put_text(semconv::ERROR_TYPE, error_type);
            }
            put_method(facts, &mut set);
            if let Some(status) = &status {
                set.put_text(semconv::RPC_RESPONSE_STATUS_CODE, status);
            }
            out.record_duration(call, &set, took, exemplar);
        }
    }
}

fn put_method<'a>(facts: &'a GrpcFacts<'_>, set: &mut AttributeSet<'a>) {
    if let Some(method) = &facts.method {
        set.put_text(semconv::RPC_METHOD, method);
    }
    if let Some(service) = &facts.service {
        set.put_text(semconv::RPC_SERVICE, service);
    }
    set.put_text(semconv::RPC_SYSTEM_NAME, const { &GRPC });
}

/// The version of the protocol, where it is one that there is.
fn version(protocol: &[u8]) -> Option<Masked<'static>> {
    Some(Masked::literal(match protocol {
        b"HTTP/1.0" => "1.0",
        b"HTTP/1.1" => "1.1",
        b"HTTP/2" => "2",
        b"HTTP/3" => "3",
        _ => return None,
    }))
}
