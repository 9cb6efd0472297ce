//! The surroundings that all these tests share: the module, a configuration, Envoy's properties, a usual exchange.

use std::sync::OnceLock;
use std::time::Duration;

use meshspan_module_tests::{Action, HostOptions, HttpCall, HttpResponse, Module, Stream, Trap, Vm};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};

/// A parent that was sampled.
pub(crate) const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// A parent that was not.
pub(crate) const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A request as a browser's proxy sends it, without any context.
pub(crate) const REQUEST: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "shop.example"),
    (":path", "/carts/17?page=2"),
    ("user-agent", "curl/8.9.1"),
    ("accept", "*/*"),
    ("x-forwarded-proto", "http"),
];

/// Its response.
pub(crate) const RESPONSE: &[(&str, &str)] =
    &[(":status", "200"), ("content-type", "application/json"), ("content-length", "512")];

/// The module, compiled once.
pub(crate) fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::load().unwrap_or_else(|error| panic!("{error}")))
}

/// The lean module, compiled once for all tests.
pub(crate) fn lean_module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::load_lean().unwrap_or_else(|error| panic!("{error}")))
}

/// The smallest configuration that samples everything and sends it to the cluster `collector`.
pub(crate) fn configuration() -> Value {
    json!({
        "file_format": "1.1",
        "resource": {"attributes": [{"name": "service.name", "value": "checkout"}]},
        "propagator": {"composite": [{"tracecontext": {}}, {"baggage": {}}]},
        "tracer_provider": {
            "processors": [{"batch": {
                "schedule_delay": 1000,
                "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}},
            }}],
        },
    })
}

/// The same with the exporter given.
pub(crate) fn configuration_with_exporter(exporter: &Value) -> String {
    let mut configuration = configuration();
    configuration["tracer_provider"]["processors"][0]["batch"]["exporter"] = exporter.clone();
    configuration.to_string()
}

/// An integer as a property has it.
pub(crate) fn integer(value: i64) -> [u8; 8] {
    value.to_le_bytes()
}

/// What Envoy says of a sidecar and of a usual stream.
pub(crate) fn options() -> HostOptions {
    HostOptions::new()
        .clusters(&["collector"])
        .stream_property(&["xds", "listener_direction"], integer(1))
        .property(&["xds", "node", "id"], "sidecar~10.0.0.2~checkout-1~default")
        .property(&["xds", "node", "cluster"], "checkout.default")
        .property(&["plugin_root_id"], "meshspan")
        .stream_property(&["request", "time"], integer(1_767_225_600_000_000_000))
        .stream_property(&["request", "duration"], integer(12_500_000))
        .stream_property(&["request", "protocol"], "HTTP/1.1")
        .stream_property(&["request", "size"], integer(0))
        .stream_property(&["request", "total_size"], integer(301))
        .stream_property(&["response", "code"], integer(200))
        .stream_property(&["response", "code_details"], "via_upstream")
        .stream_property(&["response", "flags"], integer(0))
        .stream_property(&["response", "size"], integer(512))
        .stream_property(&["response", "total_size"], integer(640))
        .stream_property(&["response", "backend_latency"], integer(11_000_000))
        .stream_property(&["upstream", "address"], "10.0.0.7:8080")
        .stream_property(&["upstream", "request_attempt_count"], integer(1))
        .stream_property(&["source", "address"], "10.0.0.1:40112")
        .stream_property(&["destination", "address"], "10.0.0.2:8080")
        .stream_property(&["connection", "mtls"], [0])
        .stream_property(&["xds", "cluster_name"], "inbound|8080||")
        .stream_property(&["xds", "route_name"], "default")
}

/// A machine with that module and configuration, which the module must have taken.
pub(crate) fn configured() -> Vm {
    configured_with(&configuration().to_string())
}

/// A machine with another configuration, which the module must have taken.
pub(crate) fn configured_with(json: &str) -> Vm {
    configured_on(module(), json)
}

/// The same with another module.
pub(crate) fn configured_on(module: &Module, json: &str) -> Vm {
    let vm = Vm::start(module, options()).unwrap_or_else(|trap| panic!("{trap}"));
    let taken = vm.configure(json).unwrap_or_else(|trap| panic!("{trap}"));
    assert!(taken, "the configuration was refused: {:#?}", vm.logs());
    vm
}

/// A machine that has no configuration yet.
pub(crate) fn start() -> Vm {
    Vm::start(module(), options()).unwrap_or_else(|trap| panic!("{trap}"))
}

/// The usual request with more headers.
pub(crate) fn request_with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [REQUEST, more].concat()
}

/// A whole stream; its request and response must go on. The stream's context is left for the caller to look at.
pub(crate) fn exchange<'a, N: AsRef<[u8]>, V: AsRef<[u8]>>(vm: &'a Vm, request: &[(N, V)]) -> Result<Stream<'a>, Trap> {
    let stream = vm.stream()?;
    assert_eq!(stream.whole_request(request)?, Action::Continue, "the request goes on");
    assert_eq!(stream.response_headers(RESPONSE)?, Action::Continue, "the response goes on");
    stream.log()?;
    stream.done()?;
    Ok(stream)
}

/// A whole stream that leaves nothing.
pub(crate) fn exchange_and_forget<N: AsRef<[u8]>, V: AsRef<[u8]>>(vm: &Vm, request: &[(N, V)]) -> Result<(), Trap> {
    exchange(vm, request)?.delete()
}

/// Lets three seconds pass, with the timer going off as often as the module asked for: the calls that come of it.
/// A batch's delay of one second is over then, also for the very first one.
pub(crate) fn flush(vm: &Vm) -> Result<Vec<HttpCall>, Trap> {
    let period = u64::from(vm.tick_period().clamp(10, 3_000));
    for _ in 0..3_000_u64.div_ceil(period) {
        vm.advance(Duration::from_millis(period));
        vm.tick()?;
    }
    Ok(vm.take_http_calls())
}

/// Answers every call as a collector that took all.
pub(crate) fn accept(vm: &Vm, calls: &[HttpCall]) -> Result<(), Trap> {
    for call in calls {
        vm.respond(call.token, grpc_response(0, ""))?;
    }
    Ok(())
}

/// A gRPC response with an empty message and that status.
pub(crate) fn grpc_response(status: u32, message: &str) -> HttpResponse {
    HttpResponse {
        headers: lines(&[(":status", "200"), ("content-type", "application/grpc")]),
        body: if status == 0 { vec![0; 5] } else { Vec::new() },
        trailers: lines(&[("grpc-status", &status.to_string()), ("grpc-message", message)]),
    }
}

/// Header lines as bytes.
pub(crate) fn lines(lines: &[(&str, &str)]) -> meshspan_module_tests::Headers {
    lines.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// The message in a gRPC body, which holds one, uncompressed.
pub(crate) fn grpc_message(body: &[u8]) -> &[u8] {
    let (prefix, message) = body.split_at_checked(5).expect("the frame has its prefix");
    assert_eq!(prefix[0], 0, "not compressed");
    let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes"));
    assert_eq!(length as usize, message.len(), "one message fills the body");
    message
}

/// The request that a gRPC call carries.
pub(crate) fn grpc_request(call: &HttpCall) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(grpc_message(&call.body)).expect("the message is OTLP")
}

/// All spans of a request.
pub(crate) fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect()
}

/// All spans that calls carry, in order.
pub(crate) fn exported(calls: &[HttpCall]) -> Vec<Span> {
    calls
        .iter()
        .map(grpc_request)
        .flat_map(|request| spans(&request).into_iter().cloned().collect::<Vec<_>>())
        .collect()
}

/// That a case of a table went as it should, or why not.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// After whatever a test did: a usual request is traced and exported again.
pub(crate) fn works(vm: &Vm) -> Outcome {
    // What is still queued or waits for an answer goes first.
    for _ in 0..4 {
        accept(vm, &flush(vm)?)?;
        vm.advance(Duration::from_mins(1));
    }
    exchange_and_forget(vm, &request_with(&[("traceparent", SAMPLED)]))?;
    let calls = flush(vm)?;
    accept(vm, &calls)?;
    match exported(&calls).len() {
        1 => Ok(()),
        spans => Err(format!("a usual request came to {spans} spans; logs: {:#?}", vm.logs()).into()),
    }
}

/// The same, for tests that stop at the first failure.
pub(crate) fn assert_works(vm: &Vm, after: &str) {
    works(vm).unwrap_or_else(|error| panic!("{after}: {error}"));
}
