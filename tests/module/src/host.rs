//! The host's side of one machine: what the guest can ask for, and what it has done.

use std::collections::{BTreeMap, VecDeque};

use wasmtime::StoreLimits;

use crate::abi::{Headers, MapType, MetricType, Status};
use crate::cost::Cost;
use crate::failure::{Injected, Injection};
use crate::options::HostOptions;

/// How serious a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the ABI's own")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl LogLevel {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }
}

/// A line that the guest logged, or wrote to its standard output (info) or error (error).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How serious.
    pub level: LogLevel,
    /// The text; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// A metric that the guest defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its full name.
    pub name: String,
    /// Its type.
    pub metric_type: MetricType,
    /// A counter's or gauge's value.
    pub value: u64,
    /// What a histogram was given, in order.
    pub records: Vec<u64>,
}

/// A property that the guest set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyWrite {
    /// The context that set it.
    pub context: u32,
    /// Its path, with a NUL between segments.
    pub path: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A request that the guest sent to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// The number that its response carries.
    pub token: u32,
    /// The context that sent it: it is cancelled when that is deleted.
    pub context: u32,
    /// The cluster.
    pub cluster: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Headers,
    /// Milliseconds; 0 means none.
    pub timeout: u32,
}

impl HttpCall {
    /// The first value of a header, if it is there and UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }
}

/// The answer to an [`HttpCall`]. The default is what Envoy tells of a call that failed: nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Its headers, `:status` first.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Headers,
}

/// Where a stream is: it decides which header maps can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    Log,
}

/// What the host knows of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamState {
    pub(crate) phase: Phase,
    pub(crate) request_headers: Option<Headers>,
    pub(crate) request_trailers: Option<Headers>,
    pub(crate) response_headers: Option<Headers>,
    pub(crate) response_trailers: Option<Headers>,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl StreamState {
    /// The map, if this phase lets it be read.
    fn readable(&self, map: MapType) -> Option<&Headers> {
        match (map, self.phase) {
            (MapType::RequestHeaders, Phase::RequestHeaders | Phase::Log) => self.request_headers.as_ref(),
            (MapType::RequestTrailers, Phase::RequestTrailers) => self.request_trailers.as_ref(),
            (MapType::ResponseHeaders, Phase::ResponseHeaders | Phase::Log) => self.response_headers.as_ref(),
            (MapType::ResponseTrailers, Phase::ResponseTrailers | Phase::Log) => self.response_trailers.as_ref(),
            _ => None,
        }
    }
}

/// A queue that guests share.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedQueue {
    pub(crate) name: Vec<u8>,
    pub(crate) items: VecDeque<Vec<u8>>,
}

/// Everything on the host's side.
pub(crate) struct Host {
    pub(crate) options: HostOptions,
    pub(crate) limits: StoreLimits,
    pub(crate) plugin_configuration: Vec<u8>,
    pub(crate) random: u64,
    pub(crate) effective_context: u32,
    pub(crate) root_context: u32,
    pub(crate) streams: BTreeMap<u32, StreamState>,
    pub(crate) http_calls: Vec<HttpCall>,
    pub(crate) http_response: Option<HttpResponse>,
    pub(crate) next_token: u32,
    pub(crate) logs: Vec<Log>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) shared_data: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(crate) shared_queues: Vec<SharedQueue>,
    pub(crate) tick_period: u32,
    pub(crate) property_writes: Vec<PropertyWrite>,
    pub(crate) done_calls: u32,
    pub(crate) injections: Vec<Injection>,
    pub(crate) cost: Cost,
}

impl Host {
    pub(crate) fn new(options: HostOptions, limits: StoreLimits, root_context: u32) -> Self {
        Self {
            random: options.seed,
            injections: options.injections.clone(),
            options,
            limits,
            plugin_configuration: Vec::new(),
            effective_context: root_context,
            root_context,
            streams: BTreeMap::new(),
            http_calls: Vec::new(),
            http_response: None,
            next_token: 1,
            logs: Vec::new(),
            metrics: Vec::new(),
            shared_data: BTreeMap::new(),
            shared_queues: Vec::new(),
            tick_period: 0,
            property_writes: Vec::new(),
            done_calls: 0,
            cost: Cost::default(),
        }
    }

    /// Counts a call and says what it answers, if a test has said.
    pub(crate) fn on_host_call(&mut self, function: &'static str) -> Option<Injected> {
        *self.cost.host_calls.entry(function).or_default() += 1;
        // Every rule counts the call, and the first that has an answer gives it.
        self.injections.iter_mut().fold(None, |found, rule| {
            let answer = rule.on_call(function);
            found.or(answer)
        })
    }

    /// A map as the effective context sees it now. `None` where Envoy has no map at this point.
    pub(crate) fn header_map(&self, map: MapType) -> Option<&Headers> {
        match map {
            MapType::HttpCallResponseHeaders => self.http_response.as_ref().map(|response| &response.headers),
            MapType::HttpCallResponseTrailers => self.http_response.as_ref().map(|response| &response.trailers),
            _ => self.streams.get(&self.effective_context)?.readable(map),
        }
    }

    /// A map that may be changed: those of requests and responses in their own callbacks, none in the log.
    pub(crate) fn header_map_mut(&mut self, map: MapType) -> Option<&mut Headers> {
        let stream = self.streams.get_mut(&self.effective_context)?;
        if stream.phase == Phase::Log {
            return None;
        }
        stream.readable(map)?;
        match map {
            MapType::RequestHeaders => stream.request_headers.as_mut(),
            MapType::RequestTrailers => stream.request_trailers.as_mut(),
            MapType::ResponseHeaders => stream.response_headers.as_mut(),
            MapType::ResponseTrailers => stream.response_trailers.as_mut(),
            _ => None,
        }
    }

    /// Whether the effective context is in its log callback.
    pub(crate) fn in_log(&self) -> bool {
        self.streams.get(&self.effective_context).is_some_and(|stream| stream.phase == Phase::Log)
    }

    /// A property as the effective context sees it.
    pub(crate) fn property(&self, path: &[u8]) -> Option<&Vec<u8>> {
        let path = path.strip_suffix(&[0]).unwrap_or(path);
        if let Some(stream) = self.streams.get(&self.effective_context) {
            let own = stream.properties.get(path).or_else(|| self.options.stream_properties.get(path));
            if own.is_some() {
                return own;
            }
        }
        self.options.properties.get(path)
    }

    /// A buffer as it can be read now.
    pub(crate) fn buffer(&self, number: u32) -> Option<&Vec<u8>> {
        match number {
            4 => self.http_response.as_ref().map(|response| &response.body),
            6 => Some(&self.options.vm_configuration),
            7 => Some(&self.plugin_configuration),
            _ => None,
        }
    }

    /// Sends a request, or refuses it for Envoy's reasons.
    pub(crate) fn send(&mut self, mut call: HttpCall) -> Result<u32, Status> {
        let known = self.options.clusters.as_ref().is_none_or(|names| names.contains(&call.cluster));
        let complete = [":method", ":path", ":authority"].iter().all(|name| call.header(name).is_some());
        if !known || !complete {
            return Err(Status::BAD_ARGUMENT);
        }
        call.token = self.next_token;
        call.context = self.effective_context;
        self.next_token += 1;
        self.http_calls.push(call);
        Ok(self.next_token - 1)
    }

    /// Fills `bytes` with what follows from the seed (the splitmix64 sequence).
    pub(crate) fn fill_random(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }

    /// Keeps a log line.
    pub(crate) fn log(&mut self, level: LogLevel, bytes: &[u8]) {
        self.logs.push(Log { level, text: String::from_utf8_lossy(bytes).into_owned() });
    }
}
