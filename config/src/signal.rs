//! OTLP's signals, and the words in which they differ: everything else about an export is the same for all three.
//!
//! Sources: opentelemetry-proto, collector/{trace,logs,metrics}/v1; OTLP specification, "OTLP/HTTP Request".

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Signal {
    /// Spans.
    #[default]
    Traces = 0,
    /// Log records.
    Logs = 1,
    /// Data points, in metrics.
    Metrics = 2,
}

impl Signal {
    /// Its number in what machines tell each other.
    #[inline]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The signal with a [number](Self::number).
    #[inline]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Traces, Self::Logs, Self::Metrics].into_iter().find(|signal| u64::from(signal.number()) == number)
    }

    /// The label's value, and the last segment of OTLP/HTTP's path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// What is counted of it, as a log line says it.
    pub const fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "log records",
            Self::Metrics => "data points",
        }
    }

    /// The path of OTLP's unary gRPC method.
    pub const fn grpc_method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// The standard's default endpoint of OTLP/HTTP.
    pub const fn http_endpoint(self) -> &'static str {
        match self {
            Self::Traces => "http://localhost:4318/v1/traces",
            Self::Logs => "http://localhost:4318/v1/logs",
            Self::Metrics => "http://localhost:4318/v1/metrics",
        }
    }
}
