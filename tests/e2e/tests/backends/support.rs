//! What the subjects here share: the ways to a backend, callers, and the filter's books.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use meshspan_e2e::{Mesh, bootstrap, tracing};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::envoy::{EnvoyBinary, Options, Sample};
use meshspan_kit::wait;
use serde_json::{Value, json};

/// How long books may take to settle: a backend that was away is asked again after some seconds.
pub(crate) const SETTLED: Duration = Duration::from_secs(40);

/// Spans in a request, at most: small, so that there are many requests.
pub(crate) const BATCH: usize = 32;

/// A way to a backend. Its name is that of its listener and its service; its cluster is `to-NAME`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    pub(crate) name: &'static str,
    /// `grpc`, or the encoding of OTLP/HTTP.
    encoding: &'static str,
    gzip: bool,
}

/// All of them: each encoding with and without gzip.
pub(crate) const CHANNELS: [Channel; 6] = [
    Channel { name: "grpc", encoding: "grpc", gzip: false },
    Channel { name: "grpc-gzip", encoding: "grpc", gzip: true },
    Channel { name: "protobuf", encoding: "protobuf", gzip: false },
    Channel { name: "protobuf-gzip", encoding: "protobuf", gzip: true },
    Channel { name: "json", encoding: "json", gzip: false },
    Channel { name: "json-gzip", encoding: "json", gzip: true },
];

impl Channel {
    pub(crate) fn is_grpc(self) -> bool {
        self.encoding == "grpc"
    }

    /// As the filter's statistics call it.
    fn exporter(self) -> String {
        format!("to-{}:{}", self.name, if self.is_grpc() { 4317 } else { 4318 })
    }

    /// As the Collector calls it.
    pub(crate) fn transport(self) -> &'static str {
        if self.is_grpc() { "grpc" } else { "http" }
    }

    /// The filter's configuration: it exports soon and in small batches, and tries a failed one again.
    fn config(self) -> Value {
        let compression = if self.gzip { "gzip" } else { "none" };
        let exporter = if self.is_grpc() {
            json!({"otlp_grpc": {"endpoint": format!("http://{}", self.exporter()), "compression": compression}})
        } else {
            json!({"otlp_http": {
                "endpoint": format!("http://{}/v1/traces", self.exporter()),
                "encoding": self.encoding, "compression": compression,
            }})
        };
        let mut config = tracing(&["tracecontext"]);
        config["resource"]["attributes"] = json!([{"name": "service.name", "value": self.name}]);
        config["tracer_provider"]["processors"] = json!([{"batch": {
            "schedule_delay": 100, "max_export_batch_size": BATCH, "exporter": exporter,
        }}]);
        config["distribution"] = json!({"meshspan": {"routes": ["/users/{id}"]}});
        config
    }
}

/// Starts Envoy with a listener for each channel, all to one backend.
pub(crate) fn mesh(
    envoy: &EnvoyBinary,
    concurrency: u32,
    channels: &[Channel],
    (grpc, http): (SocketAddr, SocketAddr),
) -> Mesh {
    let listeners: Vec<_> = channels.iter().map(|channel| (channel.name, channel.config())).collect();
    let config = channels.iter().fold(bootstrap(&listeners), |config, channel| {
        let address = if channel.is_grpc() { grpc } else { http };
        config.add_cluster(&format!("to-{}", channel.name), address, channel.is_grpc())
    });
    Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config)
}

/// A caller's trace of its own, by which the span of its request is found.
pub(crate) struct Caller {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
}

impl Caller {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let trace_id = format!("{:08x}{:08x}{count:016x}", std::process::id(), 0xbac_u32);
        Self { trace_id, span_id: format!("{:016x}", count + 0xca11_0000) }
    }

    /// The request with its `traceparent`, sampled.
    pub(crate) fn request(&self, request: Request) -> Request {
        request.header("traceparent", format!("00-{}-{}-01", self.trace_id, self.span_id))
    }
}

/// Callers who call a channel's listener on connections of their own, so fast as they are answered, but no more often
/// than they are allowed to.
pub(crate) struct Load {
    allowed: AtomicU64,
    begun: AtomicU64,
    answered: AtomicU64,
    address: SocketAddr,
}

impl Load {
    const CALLERS: usize = 8;

    pub(crate) fn new(mesh: &Mesh, channel: Channel) -> anyhow::Result<Self> {
        let address = mesh.envoy.address(channel.name)?;
        Ok(Self { allowed: 0.into(), begun: 0.into(), answered: 0.into(), address })
    }

    /// Calls while `conduct` runs, and gives the trace ids of all calls, in the order of the alphabet. Every one must
    /// be answered 200.
    pub(crate) fn run(self, conduct: impl FnOnce(&Self) -> anyhow::Result<()>) -> anyhow::Result<Vec<String>> {
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..Self::CALLERS).map(|_| scope.spawn(|| self.call())).collect();
            let outcome = conduct(&self);
            self.allowed.store(u64::MAX, Ordering::Release);
            let sent: anyhow::Result<Vec<_>> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
            outcome?;
            let mut sent = sent?.concat();
            sent.sort_unstable();
            Ok(sent)
        })
    }

    /// Allows so many more calls.
    pub(crate) fn allow(&self, count: u64) {
        self.allowed.fetch_add(count, Ordering::Release);
    }

    /// Waits until all but `left` of the calls that were allowed so far have been answered, and gives how many have.
    pub(crate) fn wait_until_answered_but(&self, left: u64) -> anyhow::Result<u64> {
        let count = || self.answered.load(Ordering::Acquire);
        let allowed = self.allowed.load(Ordering::Acquire);
        wait::until(SETTLED, "answers", || (count() + left >= allowed).then(count))
            .with_context(|| format!("{} of {allowed} are answered", count()))
    }

    fn call(&self) -> anyhow::Result<Vec<String>> {
        let mut connection = Connection::open(self.address)?;
        let mut sent = Vec::new();
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            // All ends when more is allowed than can be: that call is not made.
            let allowed = wait::until(4 * SETTLED, "to be allowed to call", || {
                let allowed = self.allowed.load(Ordering::Acquire);
                (number < allowed).then_some(allowed)
            })?;
            if allowed == u64::MAX {
                return Ok(sent);
            }
            let caller = Caller::new();
            let response = connection.request(&caller.request(Request::get("/a")))?;
            ensure!(response.status == 200, "a caller was answered {}", response.status);
            sent.push(caller.trace_id);
            self.answered.fetch_add(1, Ordering::Release);
        }
    }
}

/// Makes so many calls, all of which are answered.
pub(crate) fn calls(mesh: &Mesh, channel: Channel, count: u64) -> anyhow::Result<Vec<String>> {
    Load::new(mesh, channel)?.run(|load| {
        load.allow(count);
        load.wait_until_answered_but(0)?;
        Ok(())
    })
}

/// What the filter says became of the spans of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) started: u64,
    pub(crate) exported: u64,
    /// By reason; only what is not zero.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Now.
    pub(crate) queued: u64,
    /// Now.
    pub(crate) in_flight: u64,
    /// Requests that were not answered with success.
    pub(crate) failed_requests: u64,
    /// Bytes of messages as they left.
    pub(crate) sent_bytes: u64,
}

impl Books {
    pub(crate) fn of(mesh: &Mesh, channel: Channel) -> Self {
        let samples = mesh.samples();
        let exporter = channel.exporter();
        let labels = [("signal", "traces"), ("exporter", exporter.as_str())];
        let sum = |name: &str| samples.sum(&format!("meshspan_export_{name}"), &labels);
        let requests = samples.of("meshspan_export_requests_total", &labels);
        let is_success = |code: Option<&String>| code.is_some_and(|code| code == "OK" || code == "200");
        let failed = requests.filter(|sample| !is_success(sample.labels.get("answer")));
        Self {
            started: sum("started_total"),
            exported: sum("exported_total"),
            dropped: samples.sums_by("meshspan_export_dropped_total", &labels, "reason"),
            queued: sum("queued"),
            in_flight: sum("in_flight"),
            failed_requests: failed.map(Sample::count).sum(),
            sent_bytes: sum("compressed_bytes_total"),
        }
    }

    /// Waits until so many more spans than `before` were begun and none is waiting or on its way; the books must balance
    /// then. Gives what they came to.
    pub(crate) fn settled(mesh: &Mesh, channel: Channel, before: &Self, spans: u64) -> anyhow::Result<Self> {
        let mut last = Self::default();
        wait::until(SETTLED, "the end of every span", || {
            last = Self::of(mesh, channel).since(before);
            (last.started == spans && last.queued == 0 && last.in_flight == 0 && last.balance()).then(|| last.clone())
        })
        .with_context(|| format!("{spans} spans: {last:?}"))
    }

    /// Waits until so many more spans than `before` were begun and are accounted for, and a request has failed.
    pub(crate) fn waiting(mesh: &Mesh, channel: Channel, before: &Self, spans: u64) -> anyhow::Result<Self> {
        let mut last = Self::default();
        wait::until(SETTLED, "a failed export, and spans that wait", || {
            last = Self::of(mesh, channel).since(before);
            (last.started == spans && last.failed_requests > 0 && last.balance()).then(|| last.clone())
        })
        .with_context(|| format!("{spans} spans: {last:?}"))
    }

    /// Waits until a request has failed since `before`: the filter has met its backend's absence.
    pub(crate) fn wait_for_failure(mesh: &Mesh, channel: Channel, before: &Self) -> anyhow::Result<()> {
        wait::until(SETTLED, "a failed export", || {
            (Self::of(mesh, channel).failed_requests > before.failed_requests).then_some(())
        })
    }

    /// Whether every span that was begun is in exactly one place.
    fn balance(&self) -> bool {
        let dropped: u64 = self.dropped.values().sum();
        self.started == self.exported + dropped + self.queued + self.in_flight
    }

    /// That all of so many spans were exported.
    pub(crate) fn expect_all_exported(&self, spans: u64) -> anyhow::Result<()> {
        ensure!(self.started == spans && self.exported == spans && self.dropped.is_empty(), "{spans} spans: {self:?}");
        Ok(())
    }

    /// What it grew by; `queued` and `in_flight` stay what they are.
    fn since(self, before: &Self) -> Self {
        let grown = |(reason, count): (String, u64)| {
            let grown = count - before.dropped.get(&reason).copied().unwrap_or(0);
            (grown > 0).then_some((reason, grown))
        };
        Self {
            started: self.started - before.started,
            exported: self.exported - before.exported,
            dropped: self.dropped.into_iter().filter_map(grown).collect(),
            failed_requests: self.failed_requests - before.failed_requests,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            ..self
        }
    }
}

/// Runs a case for each of the channels, whether or not others fail.
///
/// # Panics
/// When one failed, with all that did.
pub(crate) fn each_channel(mesh: &Mesh, channels: &[Channel], mut case: impl FnMut(Channel) -> anyhow::Result<()>) {
    let failed = |channel: &Channel| case(*channel).err().map(|error| format!("- {}: {error:#}", channel.name));
    let failures: Vec<_> = channels.iter().filter_map(failed).collect();
    let version = &mesh.envoy.binary().version;
    assert!(failures.is_empty(), "in Envoy {version}, {} failed:\n{}", failures.len(), failures.join("\n"));
}
