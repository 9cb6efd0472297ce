//! A variant at work: its Envoy, its collector, the connections to it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_kit::axum::Router;
use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options};
use meshspan_kit::service::Service;
use serde_json::Value;

use crate::collector::{Collector, Received};
use crate::cpu::ProcessClock;
use crate::load::{Load, Protocol, UNSAMPLED_PARENT};
use crate::proxy::{LISTENER, Proxy};
use crate::sampler::STRATEGY;
use crate::variant::{RequestKind, Variant};

/// How long the last spans, records and data points may take: all flush every 5 s.
const LAST: Duration = Duration::from_secs(30);

/// The one upstream of all variants: a plain Envoy that answers by itself, so that it costs little.
pub(crate) struct Upstream {
    envoy: Envoy,
    /// What tells remote samplers how to sample.
    strategies: Service,
}

impl Upstream {
    pub(crate) fn start(binary: &EnvoyBinary) -> anyhow::Result<Self> {
        let config = EnvoyConfig::parse(UPSTREAM)?.local();
        let strategies = Service::start_unrecorded(Router::new().fallback(|| async { STRATEGY }))?;
        Ok(Self { envoy: start(binary, &config).context("the upstream")?, strategies })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.envoy.address("upstream")
    }

    pub(crate) fn strategies(&self) -> SocketAddr {
        self.strategies.address()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.envoy.process_id()
    }

    pub(crate) fn clock(&self) -> anyhow::Result<ProcessClock> {
        ProcessClock::of(self.envoy.process_id())
    }
}

const UPSTREAM: &str = r#"
static_resources:
  listeners:
  - name: upstream
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: upstream
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {path: /api/check}
                direct_response: {status: 200, body: {inline_string: checked}}
                response_headers_to_add:
                - header: {key: seen-traceparent, value: "%REQ(TRACEPARENT)%"}
                - header: {key: seen-x-b3-traceid, value: "%REQ(X-B3-TRACEID)%"}
              - match: {prefix: /}
                direct_response: {status: 200, body: {inline_string: '{"id":42,"state":"shipped","items":[]}'}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#;

/// One variant, running.
pub(crate) struct Subject {
    pub(crate) variant: Variant,
    pub(crate) clock: ProcessClock,
    pub(crate) load: Load,
    /// Resident memory before the first request, bytes.
    pub(crate) idle_memory: u64,
    pub(crate) envoy: Envoy,
    collector: Collector,
    /// Requests on other connections.
    others: usize,
}

impl Subject {
    pub(crate) fn start(
        variant: Variant,
        binary: &EnvoyBinary,
        upstream: &Upstream,
        connections: usize,
    ) -> anyhow::Result<Self> {
        Self::start_with(variant, binary, upstream, connections, 1)
    }

    /// The same with so many workers.
    pub(crate) fn start_with(
        variant: Variant,
        binary: &EnvoyBinary,
        upstream: &Upstream,
        connections: usize,
        concurrency: u32,
    ) -> anyhow::Result<Self> {
        let unchanged = |_: &mut Value| {};
        Self::try_start(variant, binary, upstream, connections, concurrency, unchanged).with_context(|| variant.name())
    }

    /// With one worker, and a change to Envoy's own configuration that lets more be seen of it.
    pub(crate) fn start_watched(
        variant: Variant,
        binary: &EnvoyBinary,
        upstream: &Upstream,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<Self> {
        Self::try_start(variant, binary, upstream, 1, 1, change).with_context(|| variant.name())
    }

    fn try_start(
        variant: Variant,
        binary: &EnvoyBinary,
        upstream: &Upstream,
        connections: usize,
        concurrency: u32,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<Self> {
        let collector = Collector::start()?;
        let config =
            variant.proxy.config(upstream, collector.otlp.address(), collector.zipkin.address())?.change(change);
        let envoy = start_with(binary, &config, concurrency)?;
        let idle_memory = envoy.resident_memory()?;
        check_context(variant, envoy.address(LISTENER)?)?;
        Ok(Self {
            variant,
            clock: ProcessClock::of(envoy.process_id())?,
            load: Load::connect(envoy.address(LISTENER)?, connections, variant.request, Protocol::Http1)?,
            idle_memory,
            envoy,
            collector,
            others: 1,
        })
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.envoy.process_id()
    }

    /// Resident memory now, bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.envoy.resident_memory()
    }

    /// Opens connections beside the usual ones; what is sent on them is to be told to [`Self::sent_besides`].
    pub(crate) fn connect(&self, connections: usize, protocol: Protocol) -> anyhow::Result<Load> {
        Load::connect(self.envoy.address(LISTENER)?, connections, self.variant.request, protocol)
    }

    /// So many requests were sent on other connections than the usual ones.
    pub(crate) fn sent_besides(&mut self, count: usize) {
        self.others += count;
    }

    /// Requests so far, the one of [`check_context`] among them.
    pub(crate) fn requests(&self) -> usize {
        self.load.sent() + self.others
    }

    /// What its collector accepted so far.
    pub(crate) fn received(&self) -> anyhow::Result<Received> {
        let samples = self.envoy.samples()?;
        let statistics = samples.sum("meshspan_http_server_request_duration_milliseconds_count", &[]);
        Ok(Received {
            spans: self.collector.spans(),
            logs: self.collector.otlp.log_count(),
            measured: self.collector.measured()?,
            measured_for_prometheus: usize::try_from(statistics)?,
        })
    }

    /// Waits for the last spans, log records and data points, and compares their numbers with that of the requests.
    ///
    /// # Errors
    /// When something is missing or too much: then this was not a measurement of what the variant is named for.
    pub(crate) fn check(&self) -> anyhow::Result<Received> {
        let end = Instant::now() + LAST;
        loop {
            let received = self.received()?;
            let Err(error) = received.check(self.requests(), self.variant.expected()) else {
                return Ok(received);
            };
            if Instant::now() >= end {
                let log = last_lines(&self.envoy.log(), 5);
                return Err(error.context(format!(
                    "{}: the figures would mean nothing (last lines of its log:\n{log})",
                    self.variant.name()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// How long no more spans come before none is expected: longer than any flushes.
const QUIET: Duration = Duration::from_secs(8);

impl Subject {
    /// The share of requests of which a span came, once no more come.
    ///
    /// # Errors
    /// When more came than there were requests.
    pub(crate) fn arrived(&self) -> anyhow::Result<f64> {
        let (mut last, mut since) = (self.collector.spans(), Instant::now());
        while last < self.requests() && since.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.collector.spans();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        ensure!(last <= self.requests(), "{}: {} requests came to {last} spans", self.variant.name(), self.requests());
        #[allow(clippy::cast_precision_loss, reason = "counts")]
        Ok(last as f64 / self.requests() as f64)
    }
}

/// Sends one request and compares the context that the upstream got with the one that it should get.
fn check_context(variant: Variant, address: SocketAddr) -> anyhow::Result<()> {
    let mut request = Request::get("/api/check");
    if variant.request == RequestKind::UnsampledParent {
        request = request.header("traceparent", UNSAMPLED_PARENT);
    }
    let response = request.send(address)?;
    ensure!(response.status == 200, "answered {}", response.status);
    let seen = |name: &str| response.header(&format!("seen-{name}")).filter(|value| value.len() > 1);
    let sent_on = variant.request == RequestKind::UnsampledParent;
    match variant.proxy.context_header() {
        None => {
            for name in ["traceparent", "x-b3-traceid"] {
                let is = seen(name);
                let own = is.as_ref().is_some_and(|value| !(sent_on && value == UNSAMPLED_PARENT));
                ensure!(!own, "the upstream got {name} {is:?}");
            }
        }
        Some(name) => {
            let value = seen(name).with_context(|| format!("the upstream got no {name}"))?;
            // What its caller does not sample meshspan leaves as it came; others write a span of their own.
            let is_as_it_came = value == UNSAMPLED_PARENT;
            let as_it_should = !sent_on || is_as_it_came == matches!(variant.proxy, Proxy::Meshspan(..));
            ensure!(as_it_should, "the upstream got {name} {value}");
            if name != "traceparent" {
                return Ok(());
            }
            let flags = value.rsplit('-').next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
            let sampled = flags.with_context(|| format!("the upstream got {name} {value}"))? & 1 == 1;
            let spans = variant.expected().spans;
            // In between, chance decides.
            let fits = match variant.proxy {
                Proxy::Lua => sampled,
                _ => (sampled || spans < 1.0) && (!sampled || spans > 0.0),
            };
            ensure!(fits, "the upstream got {name} {value}");
        }
    }
    Ok(())
}

/// Starts an Envoy as nearly every one here runs: one worker, and a log that costs nothing.
pub(crate) fn start(binary: &EnvoyBinary, config: &EnvoyConfig) -> anyhow::Result<Envoy> {
    start_with(binary, config, 1)
}

/// The same with so many workers.
fn start_with(binary: &EnvoyBinary, config: &EnvoyConfig, concurrency: u32) -> anyhow::Result<Envoy> {
    let options = Options { log_level: "warning".to_owned(), concurrency, ..Options::default() };
    Envoy::start_with(binary, config, &options)
}

fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
