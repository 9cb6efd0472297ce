//! One configured plugin on one worker: the tracer, its exporters, its counters and its randomness, put together.
//!
//! The host's adapter holds one [`Plugin`] for each root context, calls a method for each callback, and carries out
//! what comes back.

use std::rc::Rc;

use crate::config::{Config, ExporterConfig, Inject, LogLevel, SamplerConfig, SpanLimits, TracerConfig};
use crate::counter::{Counter, Counters};
use crate::export::{BatchProcessor, DispatchError, ExportRequest, ExportResponse, ExporterStats, RequestId, Wakeup};
use crate::header::{HeaderEdit, HeaderLookup};
use crate::http::{
    Exchange, Finished, HeadNeeds, HttpMeter, HttpTracer, OutcomeNeeds, RequestHead, ResponseHead, ResponseNeeds,
    StreamEnd, TrafficDirection,
};
use crate::ledger::{Findings, Held, Holdings, Ledger};
use crate::log::{LineAllowance, Logger, StreamLine};
use crate::log_line::{LogDraft, LogLine};
use crate::masking::{Masker, MaskingStats};
use crate::metrics::{Flushed, MeterProvider, MetricStore, Outlets, RequestStats};
use crate::otlp::Envelope;
use crate::resource::{self, NodeFacts};
use crate::sampling::{RemoteError, SamplingRequest};
use crate::semconv;
use crate::shared_data::{Alone, SharedData};
use crate::signal::Signal;
use crate::stats::{Series, StatKind, StatsHost};
use crate::trace::{IdGenerator, flags};

/// A request that [`Plugin::poll`] gave, and the processor whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportId {
    processor: usize,
    request: RequestId,
}

/// A remote sampler, of which [`Plugin::poll_sampling`] gave a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerId(usize);

/// A configured plugin.
#[derive(Clone, Debug)]
pub struct Plugin {
    tracer: Option<HttpTracer>,
    /// Where anything takes measurements.
    meter: Option<HttpMeter>,
    /// The measurements for Prometheus.
    request_stats: Option<RequestStats>,
    /// The masking service, and with it the counts of what was masked.
    masker: Rc<Masker>,
    /// Those of spans, then those of metrics.
    processors: Vec<BatchProcessor>,
    /// What is measured for OTLP, and where in `processors` its exporters begin.
    metrics: Option<(MeterProvider, usize)>,
    ids: IdGenerator,
    inject: Inject,
    log_level: LogLevel,
    tick_period_ms: u32,
    ledger: Ledger,
    /// Levels of machines that failed, to be taken out of the host's sums.
    left_behind: Vec<Series>,
    /// Whether every stream's ids become filter state.
    filter_state: bool,
    /// Limits of log records; `None` where none is exported.
    record_limits: Option<SpanLimits>,
    /// How many lines of JSON may be written; `None` where none is.
    lines: Option<LineAllowance>,
    /// A line that the last stream left for the host's log.
    line: Option<StreamLine>,
    masking: MaskingStats,
    /// What the plugin has counted and the host has not been told.
    pub counters: Counters,
}

/// The longest and the shortest time between two ticks, ms. Counters reach the host at ticks, and a batch leaves at
/// most one period late.
const TICK_MS: (u32, u32) = (50, 1_000);

impl Plugin {
    /// From a checked configuration, what the node says, and 32 random bytes.
    #[inline]
    pub fn new(config: &Config, node: &NodeFacts, seed: [u8; 32]) -> Self {
        // Logs without a tracer still read the callers' contexts.
        let record_limits = config.logger.as_ref().map(|logger| logger.limits);
        let filter_state = config.meshspan.logs.is_some_and(|logs| logs.filter_state);
        let untraced = (filter_state || Logger::new(config).is_some()).then(|| TracerConfig {
            sampler: SamplerConfig::AlwaysOff,
            processors: Vec::new(),
            limits: record_limits.unwrap_or_default(),
        });
        let tracer = config.tracer.as_ref().or(untraced.as_ref()).filter(|_| !config.disabled);
        let logger = config.logger.as_ref().filter(|_| !config.disabled);
        let resource = resource::attributes(&config.resource, node);
        let schema_url = config.resource.schema_url.as_deref();
        let envelope = Rc::new(Envelope::new(&resource, schema_url, semconv::SCHEMA_URL));
        let masker = Rc::new(Masker::new(&config.meshspan.masking, &config.instrumentation));
        let service = resource::service_name(&resource);
        let prometheus = config.meshspan.metrics.prometheus.as_ref().filter(|_| !config.disabled);
        let request_stats = prometheus.map(|prometheus| RequestStats::new(prometheus, service.to_owned()));
        let spans = tracer.map(|tracer| tracer.processors.as_slice()).unwrap_or_default();
        let records = logger.map(|logger| logger.processors.as_slice()).unwrap_or_default();
        let processors = [(Signal::Traces, spans), (Signal::Logs, records)];
        let backoff_seed = seed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let all = || processors.into_iter().flat_map(|(signal, of_it)| of_it.iter().map(move |one| (signal, one)));
        let delays = all().map(|(_, processor)| processor.batch.schedule_delay_ms);
        let intervals = config.meter.iter().flat_map(|meter| &meter.readers).map(|reader| reader.interval_ms);
        let shortest = delays.chain(intervals).min();
        let mut ids = IdGenerator::from_seed(seed);
        let names = processors
            .into_iter()
            .flat_map(|(_, of_it)| exporter_names(of_it.iter().map(|processor| &processor.exporter)));
        let mut processors: Vec<_> = all()
            .zip(names)
            .map(|((signal, processor), name)| {
                let envelope = Rc::clone(&envelope);
                BatchProcessor::new(signal, processor, config.meshspan.limits, envelope, &name, backoff_seed)
            })
            .collect();
        let metrics = config.meter.as_ref().filter(|_| !config.disabled).map(|meter| {
            let worker = resource::of_worker(&resource, ids.span_id().to_hex().as_str());
            let envelope = Rc::new(Envelope::new(&worker, schema_url, semconv::SCHEMA_URL));
            let names = exporter_names(meter.readers.iter().map(|reader| &reader.exporter));
            let (provider, exporters) =
                MeterProvider::new(meter, config.meshspan.limits, &envelope, names, backoff_seed);
            let first = processors.len();
            processors.extend(exporters);
            (provider, first)
        });
        Self {
            tracer: tracer.map(|tracer| HttpTracer::new(config, tracer, &resource, Rc::clone(&masker))),
            meter: (request_stats.is_some() || metrics.is_some())
                .then(|| HttpMeter::new(config, service, Rc::clone(&masker))),
            request_stats,
            masker,
            processors,
            metrics,
            ids,
            inject: config.meshspan.inject,
            log_level: config.log_level,
            tick_period_ms: shortest.unwrap_or(TICK_MS.1).clamp(TICK_MS.0, TICK_MS.1),
            ledger: Ledger::new(seed.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))),
            left_behind: Vec::new(),
            filter_state,
            record_limits,
            lines: config.meshspan.logs.and_then(|logs| logs.json_lines_per_second).map(LineAllowance::new),
            line: None,
            masking: MaskingStats::default(),
            counters: Counters::default(),
        }
    }

    /// How often the host should tick, ms.
    pub const fn tick_period_ms(&self) -> u32 {
        self.tick_period_ms
    }

    /// Where measurements for OTLP go; `None` without a meter provider.
    pub fn metric_store(&mut self) -> Option<&mut MetricStore> {
        self.metrics.as_mut().map(|(provider, _)| provider.store())
    }

    /// How header edits reach the upstream request.
    pub const fn inject(&self) -> Inject {
        self.inject
    }

    /// The tracer of HTTP streams; `None` when the plugin is disabled or has no tracer provider.
    pub const fn http(&self) -> Option<&HttpTracer> {
        self.tracer.as_ref()
    }

    /// The head of a request came, to a worker that shares nothing with others.
    pub fn handle_request_headers(
        &mut self,
        head: &RequestHead<'_>,
        direction: TrafficDirection,
        now: Option<u64>,
    ) -> Option<(Exchange, Vec<HeaderEdit>)> {
        self.handle_request_headers_sharing(head, &mut || direction, now, &mut Alone)
    }

    /// Takes a request by a few of its headers, each of which it looks up, where that may do. `None`: the whole head has
    /// to be read and handled.
    pub fn handle_early(
        &mut self,
        look_up: &mut dyn FnMut(&'static str) -> HeaderLookup,
        shared: &mut dyn SharedData,
    ) -> Option<(Exchange, Vec<HeaderEdit>)> {
        let tracer = self.tracer.as_mut().filter(|tracer| tracer.looks_early() && self.meter.is_none())?;
        tracer.handle_early(look_up, shared, &mut self.ids, &mut self.counters)
    }

    /// The head of a request came. `shared` is what all workers share. `direction` is asked only where it matters.
    pub fn handle_request_headers_sharing(
        &mut self,
        head: &RequestHead<'_>,
        direction: &mut dyn FnMut() -> TrafficDirection,
        now: Option<u64>,
        shared: &mut dyn SharedData,
    ) -> Option<(Exchange, Vec<HeaderEdit>)> {
        // A meter wants it for every stream, and once is enough.
        let metered = self
            .meter
            .as_ref()
            .map(|meter| if meter.needs_direction() { direction() } else { TrafficDirection::Unspecified });
        let direction = &mut || metered.unwrap_or_else(&mut *direction);
        let (mut exchange, mut edits) = match &mut self.tracer {
            Some(tracer) => {
                tracer.handle_request_headers(head, direction, now, shared, &mut self.ids, &mut self.counters)
            }
            None if self.meter.is_some() => {
                self.counters.increment(Counter::Streams);
                (Exchange::untraced(&mut self.ids), Vec::new())
            }
            None => return None,
        };
        if let Some(meter) = &self.meter {
            meter.begin(&mut exchange, head, direction(), &mut outlets(&mut self.metrics, &mut self.request_stats));
        }
        if self.inject == Inject::FilterState {
            // A removal makes Envoy route again, and a stale parent's parent misleads nobody: no reader uses it.
            edits.retain(|edit| !matches!(edit, HeaderEdit::Remove { name } if name == "x-b3-parentspanid"));
        }
        Some((exchange, edits))
    }

    /// What has to be found out before a request's head can be handled; `None` when nothing is to be done with it.
    pub fn head_needs(&self) -> Option<HeadNeeds> {
        let traced = self.tracer.as_ref().map(|tracer| HeadNeeds {
            header_lines: tracer.captures_request_headers(),
            time: tracer.needs_request_time(),
            cluster: tracer.needs_cluster(),
            route_name: tracer.needs_route_name(),
        });
        traced.or_else(|| self.meter.as_ref().map(|_| HeadNeeds::default()))
    }

    /// Takes over the request's header lines, as the host serialized them, of a stream that may be kept in the end. For
    /// any other this does nothing.
    pub fn hold(&mut self, exchange: &mut Exchange, head: Vec<u8>) {
        if let Some(tracer) = &mut self.tracer {
            tracer.hold(exchange, head, &mut self.counters);
        }
    }

    /// The filter state that names this stream's trace to the proxy's access log, where that is asked for: keys and values.
    pub fn filter_state(&self, exchange: &Exchange) -> Vec<(&'static str, String)> {
        if !(self.filter_state && exchange.is_traced()) {
            return Vec::new();
        }
        let ids = exchange.ids();
        let sampled = exchange.is_recorded() || ids.trace_flags & flags::SAMPLED != 0;
        vec![
            ("meshspan.trace_id", ids.trace_id.to_hex().as_str().to_owned()),
            ("meshspan.span_id", ids.span_id.to_hex().as_str().to_owned()),
            ("meshspan.sampled", if sampled { "true" } else { "false" }.to_owned()),
        ]
    }

    /// Whether any stream's response may matter, so that [`response_needs`](Self::response_needs) has to be asked at all.
    pub fn may_need_responses(&self) -> bool {
        self.tracer.as_ref().is_some_and(HttpTracer::may_need_responses)
    }

    /// What has to be known when this stream's response comes; `None` when the response does not matter.
    pub fn response_needs(&self, exchange: &Exchange) -> Option<ResponseNeeds> {
        self.tracer.as_ref()?.response_needs(exchange)
    }

    /// The head of a response came, on its way to the caller. The edits are to the response.
    pub fn handle_response_headers(
        &mut self,
        exchange: &mut Exchange,
        head: &ResponseHead<'_>,
        shared: &mut dyn SharedData,
    ) -> Vec<HeaderEdit> {
        self.tracer
            .as_mut()
            .map_or_else(Vec::new, |tracer| tracer.handle_response_headers(exchange, head, shared, &mut self.counters))
    }

    /// Whether nothing more can come of this stream: neither its response nor its end matters.
    pub fn is_done_with(&self, exchange: &Exchange) -> bool {
        exchange.grpc().is_none() && self.outcome_needs(exchange).is_none() && self.response_needs(exchange).is_none()
    }

    /// What has to be read at the end of this stream; `None` when its end does not matter.
    pub fn outcome_needs(&self, exchange: &Exchange) -> Option<OutcomeNeeds> {
        let tracer = self.tracer.as_ref().filter(|_| exchange.is_recorded() || exchange.is_pending());
        let of_spans = tracer.map(|tracer| OutcomeNeeds {
            grpc_status: exchange.needs_header_status(),
            route_name: exchange.is_pending() && tracer.keep_needs_route(),
            ..OutcomeNeeds::default()
        });
        let Some(measured) = self.meter.as_ref().and_then(|meter| meter.needs(exchange)) else { return of_spans };
        let route_name = measured.route_name || of_spans.is_some_and(|of_spans| of_spans.route_name);
        Some(OutcomeNeeds { route_name, ..measured })
    }

    /// Takes note of how a stream ended that is not recorded, and decides whether it is kept. What comes back is recorded,
    /// or not; see [`HttpTracer::handle_outcome`] for what is read of `end`.
    #[must_use]
    pub fn handle_outcome(&mut self, exchange: Exchange, end: &StreamEnd<'_>, shared: &mut dyn SharedData) -> Exchange {
        match &mut self.tracer {
            Some(tracer) => tracer.handle_outcome(exchange, end, shared, &mut self.counters),
            None => exchange,
        }
    }

    /// Whether all that the host knows has to be read at the end of this stream, after
    /// [`handle_outcome`](Self::handle_outcome).
    pub fn needs_details(&self, exchange: &Exchange) -> bool {
        self.tracer.is_some() && (exchange.is_recorded() || exchange.is_logged_only())
    }

    /// A stream is complete.
    pub fn handle_end(&mut self, exchange: Exchange, end: &StreamEnd<'_>) -> Wakeup {
        let mut wakeup = Wakeup::Tick;
        let mut exchange = exchange;
        if let Some(meter) = &mut self.meter {
            meter.end(&mut exchange, end, &mut outlets(&mut self.metrics, &mut self.request_stats));
        }
        let Some(tracer) = &mut self.tracer else { return wakeup };
        let processors = &mut self.processors;
        let mut push = |signal, item: &[u8], importance| {
            for processor in processors.iter_mut().filter(|processor| processor.stats().signal() == signal) {
                if processor.push(item, importance) == Wakeup::Soon {
                    wakeup = Wakeup::Soon;
                }
            }
        };
        let (mut dropped_attributes, mut dropped_lines) = (0, 0);
        tracer.handle_end(exchange, end, &mut self.counters, |finished, importance| match finished {
            Finished::Span(span) => push(Signal::Traces, span, importance),
            Finished::Log(record) => {
                if let Some(limits) = self.record_limits {
                    let mut encoded = Vec::with_capacity(1024);
                    dropped_attributes = record.put(&mut encoded, limits);
                    push(Signal::Logs, &encoded, importance);
                }
                match self.lines.as_mut().map(|lines| lines.take(record.time)) {
                    Some(true) => self.line = Some(record.to_line()),
                    Some(false) => dropped_lines = 1,
                    None => {}
                }
            }
        });
        self.counters.add(Counter::LogAttributesDropped, u64::from(dropped_attributes));
        self.counters.add(Counter::LogLinesDropped, dropped_lines);
        wakeup
    }

    /// The line that the last stream left for the host's log.
    pub fn take_line(&mut self) -> Option<StreamLine> {
        self.line.take()
    }

    /// A stream went away without its end having been seen.
    pub fn handle_lost(&mut self, exchange: &Exchange) {
        if let Some(meter) = &self.meter {
            meter.lose(exchange, &mut outlets(&mut self.metrics, &mut self.request_stats));
        }
        if let Some(tracer) = &mut self.tracer {
            tracer.handle_lost(exchange, &mut self.counters);
        }
    }

    /// The next export request that should leave at `now` (ns). Call until `None`, and send each one or say why not.
    #[inline]
    pub fn poll(&mut self, now: u64) -> Option<(ExportId, ExportRequest)> {
        if let Some((provider, first)) = &mut self.metrics {
            provider.collect(now, self.processors.get_mut(*first..).unwrap_or_default());
        }
        self.processors.iter_mut().enumerate().find_map(|(processor, batches)| {
            let (request, content) = batches.poll(now)?;
            Some((ExportId { processor, request }, content))
        })
    }

    /// Whether there are remote samplers, so that polling them can have a meaning.
    pub fn asks_samplers(&self) -> bool {
        self.tracer.as_ref().is_some_and(HttpTracer::has_remote_samplers)
    }

    /// The next request of a remote sampler that should leave at `now` (ns). Call at each tick until `None`; send each
    /// one, and hand the answer, or its absence, to [`handle_sampling_response`](Self::handle_sampling_response).
    #[inline]
    pub fn poll_sampling(&mut self, now: u64, shared: &mut dyn SharedData) -> Option<(SamplerId, SamplingRequest)> {
        let remotes = self.tracer.as_mut()?.remote_samplers();
        remotes.iter_mut().enumerate().find_map(|(index, remote)| Some((SamplerId(index), remote.poll(now, shared)?)))
    }

    /// A remote sampler's request was answered with this status and body; `None`: it could not be sent, or nobody
    /// answered. What cannot be used is counted, and told once until an answer can.
    #[inline]
    pub fn handle_sampling_response(
        &mut self,
        id: SamplerId,
        answer: Option<(u16, &[u8])>,
        now: u64,
        shared: &mut dyn SharedData,
    ) -> Option<LogLine> {
        let remote = self.tracer.as_mut()?.remote_samplers().get_mut(id.0)?;
        let was_failing = remote.is_failing();
        let (level, words) = match remote.handle_response(answer, now, shared) {
            Ok(()) if was_failing => (LogLevel::Info, format!("{} tells how to sample again", remote.url())),
            Ok(()) => return None,
            Err(error) => {
                self.counters.increment(match error {
                    RemoteError::Failed => Counter::SamplingRemoteFailed,
                    RemoteError::Malformed(_) => Counter::SamplingRemoteMalformed,
                });
                if was_failing {
                    return None;
                }
                let meanwhile = if remote.is_told() { "the last answer counts on" } else { "initial_sampler decides" };
                let text = match error {
                    RemoteError::Failed => format!("{} does not tell how to sample; {meanwhile}", remote.url()),
                    RemoteError::Malformed(why) => {
                        format!("the answer of {} cannot be used: {why}; {meanwhile}", remote.url())
                    }
                };
                (LogLevel::Warn, text)
            }
        };
        self.loud_enough(Some(LogDraft { level, words, quoted: String::new() }))
    }

    /// The next thing about the sampler's decisions that the operator is to be told. Call at each tick until `None`.
    #[inline]
    pub fn next_doubt(&mut self, shared: &mut dyn SharedData) -> Option<LogLine> {
        let doubt = self.tracer.as_mut()?.next_doubt(shared)?;
        let words = doubt.text().to_owned();
        self.loud_enough(Some(LogDraft { level: LogLevel::Warn, words, quoted: String::new() }))
    }

    /// A request could not be sent.
    #[inline]
    pub fn handle_dispatch_error(&mut self, id: ExportId, error: DispatchError, now: u64) -> Option<LogLine> {
        let line = self.processors.get_mut(id.processor)?.handle_dispatch_error(id.request, error, now);
        self.loud_enough(line)
    }

    /// A request was answered.
    #[inline]
    pub fn handle_response(&mut self, id: ExportId, response: &ExportResponse<'_>, now: u64) -> Option<LogLine> {
        let line = self.processors.get_mut(id.processor)?.handle_response(id.request, response, now);
        self.loud_enough(line)
    }

    /// Whether an answer to this request is still waited for: one that the host never delivers is given up in time.
    pub fn expects(&self, id: ExportId) -> bool {
        self.processors.get(id.processor).is_some_and(|processor| processor.expects(id.request))
    }

    /// The plugin is about to go: polls give everything there is.
    #[inline]
    pub fn flush(&mut self) {
        if let Some((provider, _)) = &mut self.metrics {
            provider.flush();
        }
        self.processors.iter_mut().for_each(BatchProcessor::flush);
    }

    /// Nothing is queued and nothing in flight.
    pub fn is_idle(&self) -> bool {
        let is_collected = self.metrics.as_ref().is_none_or(|(provider, _)| provider.is_idle());
        is_collected && self.processors.iter().all(BatchProcessor::is_idle)
    }

    /// Gives up what has not been exported, and counts it.
    #[inline]
    pub fn abandon(&mut self) {
        self.processors.iter_mut().for_each(BatchProcessor::abandon);
    }

    /// Tells the host what masking, the exporters and the meter have counted since the last time. How many series it
    /// refused.
    #[inline]
    pub fn flush_stats(&mut self, host: &mut impl StatsHost) -> usize {
        if let Some((provider, _)) = &mut self.metrics {
            self.counters.add(Counter::MetricsOtlpOverflowed, provider.store().take_overflow());
        }
        self.counters.add(Counter::MaskingUncounted, self.masker.counts().take_uncounted());
        let masking = self.masking.flush(&self.masker, host);
        let measured = self.request_stats.as_mut().map(|stats| stats.flush(host)).unwrap_or_default();
        let measured = self.count_flushed(measured);
        self.left_behind.retain_mut(|level| !level.flush(host));
        self.processors.iter_mut().fold(masking.saturating_add(measured), |refused, processor| {
            refused.saturating_add(processor.flush_stats(host))
        })
    }

    /// The masking service, and with it the counts of what was masked.
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Whether so many measurements wait for the host that they should be told before the next tick.
    pub fn has_full_stats(&self) -> bool {
        self.request_stats.as_ref().is_some_and(RequestStats::is_full)
    }

    /// Tells the host the values that fill the room there is for them, between two ticks. How many series it refused.
    pub fn flush_values(&mut self, host: &mut impl StatsHost) -> usize {
        let flushed = self.request_stats.as_mut().map(|stats| stats.flush_values(host)).unwrap_or_default();
        self.count_flushed(flushed)
    }

    fn count_flushed(&mut self, flushed: Flushed) -> usize {
        self.counters.add(Counter::MetricsOverflowed, flushed.overflowed);
        self.counters.add(Counter::MetricsValuesLost, flushed.lost);
        flushed.refused
    }

    /// Notes in the proxy's shared data what the exporters hold, counts what machines that failed have left
    /// behind, and takes their levels back at the next [`flush_stats`](Self::flush_stats).
    /// For each tick at `now` (ns), after [`flush_stats`](Self::flush_stats).
    #[inline]
    pub fn keep_ledger(&mut self, now: u64, data: &mut dyn SharedData) {
        let processors = &mut self.processors;
        let items = processors.iter().map(BatchProcessor::levels).collect();
        let levels = self.request_stats.as_ref().map(RequestStats::levels).unwrap_or_default();
        let knows = |held: &Held| processors.iter().any(|processor| processor.stats().is_of(held));
        let Findings { lost, revived } = self.ledger.keep(now, Holdings { items, levels }, knows, data);
        for processor in processors {
            for held in &lost.items {
                if processor.stats().is_of(held) {
                    processor.count_lost(held);
                }
            }
            for held in &revived.items {
                if processor.stats().is_of(held) {
                    processor.count_revived(held);
                }
            }
        }
        self.left_behind.extend(lost.levels.into_iter().map(|level| {
            let mut series = Series::new(StatKind::SummedGauge, level.series);
            series.take_over(level.told);
            series
        }));
        if let Some(stats) = &mut self.request_stats {
            stats.tell_again(&revived.levels);
        }
    }

    /// What each exporter has counted, in the order of the configuration.
    pub fn exporter_stats(&self) -> impl Iterator<Item = &ExporterStats> {
        self.processors.iter().map(BatchProcessor::stats)
    }

    /// The line, if it is grave enough. What it quotes goes through masking here.
    #[inline]
    fn loud_enough(&self, line: Option<LogDraft>) -> Option<LogLine> {
        let line = line.filter(|line| line.level >= self.log_level)?;
        Some(line.mask(self.tracer.as_ref().map(|_| &*self.masker)))
    }
}

/// Where measurements go.
fn outlets<'a>(metrics: &'a mut Option<(MeterProvider, usize)>, stats: &'a mut Option<RequestStats>) -> Outlets<'a> {
    Outlets { store: metrics.as_mut().map(|(provider, _)| provider.store()), stats: stats.as_mut() }
}

/// What exporters of one signal are called in statistics: by their endpoint's host and port, and by a number where
/// several have the same.
#[inline]
fn exporter_names<'c>(exporters: impl Iterator<Item = &'c ExporterConfig> + Clone) -> impl Iterator<Item = String> {
    exporters.clone().enumerate().map(move |(at, exporter)| {
        let authority = &exporter.endpoint.authority;
        let same = |other: &&ExporterConfig| other.endpoint.authority == *authority;
        match exporters.clone().take(at).filter(same).count() {
            0 => authority.clone(),
            before => format!("{authority}#{}", before.saturating_add(1)),
        }
    })
}

#[cfg(test)]
mod tests;
