//! A variant at work: its Envoy, its collector, the connections to it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use meshspan_kit::axum::Router;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options};
use meshspan_kit::receiver::Receiver;
use meshspan_kit::service::Service;

use crate::cpu::ProcessClock;
use crate::load::Load;
use crate::sampler::STRATEGY;
use crate::variant::{LISTENER, Variant};

/// How long the last spans may take: both tracers flush every 5 s.
const LAST_SPANS: Duration = Duration::from_secs(30);

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
    envoy: Envoy,
    receiver: Receiver,
}

impl Subject {
    pub(crate) fn start(
        variant: Variant,
        binary: &EnvoyBinary,
        upstream: &Upstream,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let receiver = Receiver::start()?;
        receiver.count_only();
        let config = variant.config(upstream, receiver.address())?;
        let envoy = start(binary, &config).with_context(|| variant.name())?;
        Ok(Self {
            variant,
            clock: ProcessClock::of(envoy.process_id())?,
            load: Load::connect(envoy.address(LISTENER)?, connections)?,
            idle_memory: envoy.resident_memory()?,
            envoy,
            receiver,
        })
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.envoy.process_id()
    }

    /// Resident memory now, bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.envoy.resident_memory()
    }

    /// Spans that its collector accepted so far.
    pub(crate) fn spans(&self) -> usize {
        self.receiver.span_count()
    }

    /// Waits for the last spans and compares their number with that of the requests.
    ///
    /// # Errors
    /// When a span is missing or too many: then this was not a measurement of tracing at that rate.
    pub(crate) fn check_spans(&self) -> anyhow::Result<()> {
        let (mut fewest, most) = expected_spans(self.load.sent(), self.variant.sampled());
        if matches!(self.variant, Variant::Unsampled(_)) {
            fewest = 0;
        }
        let end = Instant::now() + LAST_SPANS;
        while self.spans() < fewest && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        let spans = self.spans();
        if !(fewest..=most).contains(&spans) {
            bail!(
                "{}: {} requests made {spans} spans at the collector, expected {fewest} to {most}; \
                 the figures would mean nothing (last lines of its log:\n{})",
                self.variant.name(),
                self.load.sent(),
                last_lines(&self.envoy.log(), 5)
            );
        }
        Ok(())
    }
}

/// Starts an Envoy as every one here runs: one worker, and a log that costs nothing.
pub(crate) fn start(binary: &EnvoyBinary, config: &EnvoyConfig) -> anyhow::Result<Envoy> {
    Envoy::start_with(binary, config, &Options { log_level: "warning".to_owned(), ..Options::default() })
}

/// The fewest and the most spans: exact at 0 and 1, six standard deviations about the mean between.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn expected_spans(requests: usize, sampled: f64) -> (usize, usize) {
    let mean = requests as f64 * sampled;
    let slack = 6.0 * (mean * (1.0 - sampled)).sqrt();
    ((mean - slack).max(0.0).ceil() as usize, (mean + slack).floor() as usize)
}

fn last_lines(log: &str, count: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_none_is_exact_and_a_share_has_slack() {
        for (requests, sampled, expected) in [
            (88_000, 0.0, (0, 0)),
            (88_000, 1.0, (88_000, 88_000)),
            (10_000, 0.01, (41, 159)), // 100 ± 59.7
            (100, 0.01, (0, 6)),       // not below nothing
        ] {
            assert_eq!(expected_spans(requests, sampled), expected, "{requests} at {sampled}");
        }
    }
}
