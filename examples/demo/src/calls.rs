//! Who calls the mesh, and with which context.

use std::net::SocketAddr;

use meshspan_kit::client::Request;

use crate::apps::{RESERVE, RESERVE_METHOD};

const W3C_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const W3C_SPAN: &str = "00f067aa0ba902b7";
const B3_TRACE: &str = "463ac35c9f6413ad";
const B3_SPAN: &str = "a2fb4a1d1a96d312";
const JAEGER_TRACE: &str = "5af7183fb1d4cf5f6b221d5bc09fd2a1";
const JAEGER_SPAN: &str = "6b221d5bc09fd2a1";
const UNSAMPLED_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const UNSAMPLED_SPAN: &str = "b7ad6b7169203331";

/// One call to the edge.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The caller, for people.
    pub(crate) caller: &'static str,
    pub(crate) path: &'static str,
    /// The status that comes back.
    pub(crate) status: u16,
    /// The context as headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The caller's trace, 32 digits; none: the mesh starts one.
    pub(crate) trace_id: Option<String>,
    /// The caller's span, below which the edge's has to stand.
    pub(crate) parent_id: Option<&'static str>,
    /// Whether spans are to arrive.
    pub(crate) sampled: bool,
    /// What the query says in plain text, and what spans may say of it.
    pub(crate) masked: Option<(&'static str, &'static str)>,
    /// The gRPC method by which checkout calls inventory, where it does.
    pub(crate) method: Option<&'static str>,
    /// Text that must have reached inventory in `tracestate` and in `baggage`.
    pub(crate) carried: Option<(&'static str, &'static str)>,
}

/// What came back: the context that inventory, the last in the chain, was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: String,
    pub(crate) baggage: String,
}

impl Answered {
    /// The trace, span and flags fields of the traceparent.
    pub(crate) fn context(&self) -> Option<(&str, &str, &str)> {
        let mut fields = self.traceparent.as_deref()?.split('-').skip(1);
        Some((fields.next()?, fields.next()?, fields.next()?))
    }
}

impl Call {
    pub(crate) fn make(&self, edge: SocketAddr) -> anyhow::Result<Answered> {
        let mut request = Request::get(self.path).header("host", "shop.example").header("user-agent", "demo/1.0");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = request.send(edge)?;
        let seen = response.json().unwrap_or_default();
        let text = |name: &str| seen[name].as_str().map(str::to_owned);
        Ok(Answered {
            status: response.status,
            traceparent: text("traceparent"),
            tracestate: text("tracestate").unwrap_or_default(),
            baggage: text("baggage").unwrap_or_default(),
        })
    }
}

/// All calls, in order. The one that is not sampled is first: had it been recorded, its spans would have arrived
/// before the others.
pub(crate) fn all() -> Vec<Call> {
    let plain = |path, status| Call {
        caller: "a plain caller",
        path,
        status,
        headers: Vec::new(),
        trace_id: None,
        parent_id: None,
        sampled: true,
        masked: None,
        method: None,
        carried: None,
    };
    vec![
        Call {
            caller: "a W3C caller that does not sample",
            headers: vec![("traceparent", format!("00-{UNSAMPLED_TRACE}-{UNSAMPLED_SPAN}-00"))],
            trace_id: Some(UNSAMPLED_TRACE.to_owned()),
            parent_id: Some(UNSAMPLED_SPAN),
            sampled: false,
            ..plain("/checkout", 200)
        },
        plain("/checkout", 200),
        Call {
            caller: "a caller that sends a phone number",
            masked: Some(("13812345678", "138****5678")),
            ..plain("/users/42?phone=13812345678", 200)
        },
        plain("/payment", 503),
        plain("/report", 200),
        Call { method: Some(RESERVE_METHOD), ..plain(RESERVE, 200) },
        Call {
            caller: "a W3C caller",
            headers: vec![
                ("traceparent", format!("00-{W3C_TRACE}-{W3C_SPAN}-01")),
                ("tracestate", "vendor=a1b2".to_owned()),
                ("baggage", "user.tier=gold".to_owned()),
            ],
            trace_id: Some(W3C_TRACE.to_owned()),
            parent_id: Some(W3C_SPAN),
            carried: Some(("vendor=a1b2", "user.tier=gold")),
            ..plain("/checkout", 200)
        },
        Call {
            caller: "a B3 caller with a 64-bit id",
            headers: vec![
                ("X-B3-TraceId", B3_TRACE.to_owned()),
                ("X-B3-SpanId", B3_SPAN.to_owned()),
                ("X-B3-Sampled", "1".to_owned()),
            ],
            trace_id: Some(format!("{B3_TRACE:0>32}")),
            parent_id: Some(B3_SPAN),
            ..plain("/checkout", 200)
        },
        Call {
            caller: "a Jaeger caller",
            headers: vec![("uber-trace-id", format!("{JAEGER_TRACE}:{JAEGER_SPAN}:0:1"))],
            trace_id: Some(JAEGER_TRACE.to_owned()),
            parent_id: Some(JAEGER_SPAN),
            ..plain("/checkout", 200)
        },
    ]
}
