//! The exporter of a processor, of any signal.

use crate::endpoint::{Channel, resolve};
use crate::ordered::OrderedMap;
use crate::pairs::{read_pairs, report_entry};
use crate::reader::{Key, Object, Reader, built, not_offered};
use crate::signal::Signal;
use crate::token::header_name;
use crate::{Clusters, Compression, DefaultHistogram, Endpoint, ExporterConfig, OtlpProtocol, TemporalityPreference};

const EXPORTERS: &[Key] = &[
    built("otlp_grpc"),
    built("otlp_http"),
    not_offered(
        "otlp_file/development",
        "a filter has no files: use otlp_grpc or otlp_http to a collector, and the collector's file exporter",
    ),
    not_offered(
        "console",
        "a filter has no console: use otlp_grpc or otlp_http to a collector, and the collector's debug exporter",
    ),
];

const GRPC_KEYS: &[Key] =
    &[built("endpoint"), built("tls"), built("headers"), built("headers_list"), built("compression"), built("timeout")];

const HTTP_KEYS: &[Key] = &[
    built("endpoint"),
    built("tls"),
    built("headers"),
    built("headers_list"),
    built("compression"),
    built("timeout"),
    built("encoding"),
];

const TLS_OF_CLUSTER: &str = "TLS and its certificates are the Envoy cluster's: configure its transport_socket";

const GRPC_TLS_KEYS: &[Key] = &[
    built("insecure"),
    not_offered("ca_file", TLS_OF_CLUSTER),
    not_offered("key_file", TLS_OF_CLUSTER),
    not_offered("cert_file", TLS_OF_CLUSTER),
];

const HTTP_TLS_KEYS: &[Key] = &[
    not_offered("ca_file", TLS_OF_CLUSTER),
    not_offered("key_file", TLS_OF_CLUSTER),
    not_offered("cert_file", TLS_OF_CLUSTER),
];

const HEADER_KEYS: &[Key] = &[built("name"), built("value")];

const COMPRESSIONS: &[(&str, Compression)] = &[("none", Compression::None), ("gzip", Compression::Gzip)];

const ENCODINGS: &[(&str, OtlpProtocol)] =
    &[("protobuf", OtlpProtocol::HttpProtobuf), ("json", OtlpProtocol::HttpJson)];

const GRPC_ENDPOINT: &str = "http://localhost:4317";

const DEFAULT_TIMEOUT_MS: u32 = 10_000;

/// Headers that the exporter, OTLP or HTTP itself sets.
const RESERVED_HEADERS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What only an exporter of metrics can be told (OTLP Metrics Exporter).
#[derive(Clone, Copy, Default)]
pub(crate) struct MetricSettings {
    pub(crate) temporality: TemporalityPreference,
    pub(crate) default_histogram: DefaultHistogram,
}

const METRIC_GRPC_KEYS: &[Key] = &[
    built("endpoint"),
    built("tls"),
    built("headers"),
    built("headers_list"),
    built("compression"),
    built("timeout"),
    built("temporality_preference"),
    built("default_histogram_aggregation"),
];

const METRIC_HTTP_KEYS: &[Key] = &[
    built("endpoint"),
    built("tls"),
    built("headers"),
    built("headers_list"),
    built("compression"),
    built("timeout"),
    built("encoding"),
    built("temporality_preference"),
    built("default_histogram_aggregation"),
];

const TEMPORALITIES: &[(&str, TemporalityPreference)] = &[
    ("cumulative", TemporalityPreference::Cumulative),
    ("delta", TemporalityPreference::Delta),
    ("low_memory", TemporalityPreference::LowMemory),
];

const HISTOGRAMS: &[(&str, DefaultHistogram)] = &[
    ("explicit_bucket_histogram", DefaultHistogram::Explicit),
    ("base2_exponential_bucket_histogram", DefaultHistogram::Exponential),
];

/// Reads an exporter of this signal; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>, signal: Signal, clusters: &Clusters) -> Option<ExporterConfig> {
    read_any(reader, signal, clusters).map(|(exporter, _)| exporter)
}

/// Reads an exporter of metrics; `None` if it is wrong.
pub(crate) fn read_metrics(reader: &Reader<'_>, clusters: &Clusters) -> Option<(ExporterConfig, MetricSettings)> {
    let (exporter, object) = read_any(reader, Signal::Metrics, clusters)?;
    let temporality = object.nullable("temporality_preference");
    let histogram = object.nullable("default_histogram_aggregation");
    let settings = MetricSettings {
        temporality: temporality.and_then(|word| word.one_of(TEMPORALITIES)).unwrap_or_default(),
        default_histogram: histogram.and_then(|word| word.one_of(HISTOGRAMS)).unwrap_or_default(),
    };
    Some((exporter, settings))
}

/// An exporter, and its object for what else stands there.
fn read_any<'d>(reader: &Reader<'d>, signal: Signal, clusters: &Clusters) -> Option<(ExporterConfig, Object<'d>)> {
    let (grpc_keys, http_keys) = match signal {
        Signal::Metrics => (METRIC_GRPC_KEYS, METRIC_HTTP_KEYS),
        Signal::Traces | Signal::Logs => (GRPC_KEYS, HTTP_KEYS),
    };
    let called = match signal {
        Signal::Traces => "span exporter",
        Signal::Logs => "log record exporter",
        Signal::Metrics => "metric exporter",
    };
    let (name, settings) = reader.component(called, EXPORTERS)?;
    if name == "otlp_grpc" {
        let object = settings.object_or_null(grpc_keys)?;
        let insecure = read_tls(&object, GRPC_TLS_KEYS)
            .and_then(|tls| tls.nullable("insecure"))
            .and_then(|insecure| insecure.boolean())
            .unwrap_or(false);
        let exporter = read_common(&object, OtlpProtocol::Grpc, Channel::Grpc { insecure }, GRPC_ENDPOINT, clusters)?;
        Some((exporter, object))
    } else {
        let object = settings.object_or_null(http_keys)?;
        read_tls(&object, HTTP_TLS_KEYS);
        let protocol = match object.nullable("encoding") {
            Some(encoding) => encoding.one_of(ENCODINGS).unwrap_or(OtlpProtocol::HttpProtobuf),
            None => OtlpProtocol::HttpProtobuf,
        };
        Some((read_common(&object, protocol, Channel::Http, signal.http_endpoint(), clusters)?, object))
    }
}

fn read_tls<'d>(object: &Object<'d>, keys: &'static [Key]) -> Option<Object<'d>> {
    object.nullable("tls")?.object(keys)
}

fn read_common(
    object: &Object<'_>,
    protocol: OtlpProtocol,
    channel: Channel,
    default_endpoint: &str,
    clusters: &Clusters,
) -> Option<ExporterConfig> {
    let endpoint = match object.nullable("endpoint") {
        Some(endpoint) => read_endpoint(&endpoint, channel, clusters),
        None => resolve(default_endpoint, channel, clusters).ok(),
    };
    let headers = read_headers(object);
    let compression = read_compression(object);
    let timeout_ms = object.integer("timeout", 0..=u32::MAX).unwrap_or(DEFAULT_TIMEOUT_MS);
    Some(ExporterConfig { protocol, endpoint: endpoint?, headers, compression, timeout_ms })
}

fn read_endpoint(reader: &Reader<'_>, channel: Channel, clusters: &Clusters) -> Option<Endpoint> {
    let url = reader.text()?;
    match resolve(&url, channel, clusters) {
        Ok(endpoint) => Some(endpoint),
        Err(allowed) => {
            // What stands before an @ is most likely a password.
            let reader = if url.contains('@') { reader.kept_secret() } else { *reader };
            reader.report_malformed(allowed);
            None
        }
    }
}

fn read_compression(object: &Object<'_>) -> Compression {
    object.nullable("compression").and_then(|reader| reader.one_of(COMPRESSIONS)).unwrap_or(Compression::None)
}

/// `headers` before `headers_list`, each name once. A name that stands twice in the same list has its last value.
fn read_headers(object: &Object<'_>) -> Vec<(String, String)> {
    let mut headers = OrderedMap::new();
    for entry in object.optional("headers").and_then(|list| list.list(1)).unwrap_or_default() {
        if let Some((name, value)) = read_header(&entry) {
            headers.set(name, value);
        }
    }
    if let Some(list) = object.nullable("headers_list") {
        let mut listed = OrderedMap::new();
        for pair in read_pairs(&list) {
            match check_header(&pair.name, &pair.value) {
                Ok(name) => listed.set(name, pair.value),
                Err(allowed) => report_entry(&list, pair.position, &pair.name, allowed),
            }
        }
        headers.append_missing(listed);
    }
    headers.into_entries()
}

/// An entry of `headers`; `None` if it is wrong, or if its value is null, which says to ignore it.
fn read_header(reader: &Reader<'_>) -> Option<(String, String)> {
    let object = reader.object(HEADER_KEYS)?;
    let name_reader = object.required("name", "a header name");
    let value_reader = object.required("value", "a string, or null to ignore the entry");
    let name = name_reader.as_ref().and_then(Reader::text);
    let value = value_reader.as_ref().filter(|value| !value.is_null()).and_then(Reader::text);
    let checked_name = check_export_header(&name?);
    if let (Err(allowed), Some(reader)) = (&checked_name, &name_reader) {
        reader.report_malformed(*allowed);
    }
    let value = value?;
    let checked_value = check_value(&value);
    if let (Err(allowed), Some(reader)) = (checked_value, &value_reader) {
        reader.report_malformed(allowed);
    }
    checked_name.ok().filter(|_| checked_value.is_ok()).zip(Some(value))
}

fn check_header(name: &str, value: &str) -> Result<String, &'static str> {
    check_value(value)?;
    check_export_header(name)
}

/// The name in lower case, if an exporter may be told to send it.
fn check_export_header(name: &str) -> Result<String, &'static str> {
    let name = header_name(name)?;
    if name.starts_with("grpc-") || RESERVED_HEADERS.contains(&name.as_str()) {
        return Err("a header that the exporter does not set itself (as it does host, te, content-*, grpc-* and \
                    those of the connection)");
    }
    Ok(name)
}

fn check_value(value: &str) -> Result<(), &'static str> {
    if value.chars().any(|character| character.is_control() && character != '\t') {
        return Err("a header value without line breaks and control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::testing::{accepted, rejected, rejected_at, rejected_for};
    use crate::{Compression, ExporterConfig, OtlpProtocol};

    const AT: &str = "$.tracer_provider.processors[0].simple.exporter";

    fn with(exporter: &str) -> String {
        format!(r#""tracer_provider": {{"processors": [{{"simple": {{"exporter": {exporter}}}}}]}}"#)
    }

    fn exporter(text: &str) -> ExporterConfig {
        accepted(&with(text)).tracer.unwrap().processors.remove(0).exporter
    }

    fn headers(settings: &str) -> Vec<(String, String)> {
        exporter(&format!(r#"{{"otlp_http": {{{settings}}}}}"#)).headers
    }

    #[test]
    fn exporters_have_the_standards_defaults() {
        let cases = [
            (r#"{"otlp_grpc": null}"#, OtlpProtocol::Grpc, "http://localhost:4317", ""),
            (
                r#"{"otlp_grpc": {"endpoint": null, "tls": {}, "timeout": null}}"#,
                OtlpProtocol::Grpc,
                "http://localhost:4317",
                "",
            ),
            (r#"{"otlp_http": {}}"#, OtlpProtocol::HttpProtobuf, "http://localhost:4318/v1/traces", "/v1/traces"),
            (
                r#"{"otlp_http": {"encoding": "json"}}"#,
                OtlpProtocol::HttpJson,
                "http://localhost:4318/v1/traces",
                "/v1/traces",
            ),
            (
                r#"{"otlp_http": {"encoding": null, "tls": null}}"#,
                OtlpProtocol::HttpProtobuf,
                "http://localhost:4318/v1/traces",
                "/v1/traces",
            ),
        ];
        for (text, protocol, url, path) in cases {
            let exporter = exporter(text);
            assert_eq!(exporter.protocol, protocol, "{text}");
            assert_eq!((exporter.endpoint.url.as_str(), exporter.endpoint.path.as_str()), (url, path), "{text}");
            assert_eq!((exporter.endpoint.cluster.as_str(), exporter.timeout_ms), ("localhost", 10_000), "{text}");
            assert_eq!(exporter.compression, Compression::None, "{text}");
            assert!(exporter.headers.is_empty(), "{text}");
        }
        assert_eq!(exporter(r#"{"otlp_grpc": {"timeout": 0, "compression": "none"}}"#).timeout_ms, 0, "no limit");
    }

    #[test]
    fn headers_go_before_the_list_in_lower_case() {
        let found = headers(
            r#""headers_list": "api-key=list,X-C=a%20b", "headers": [{"name": "Api-Key", "value": "$$entry"},
               {"name": "ignored", "value": null}, {"name": "x-empty", "value": ""}]"#,
        );
        let expected = [("api-key", "$entry"), ("x-empty", ""), ("x-c", "a b")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn wrong_headers_are_errors_that_show_no_value() {
        let cases = [
            (r#""headers": [{"name": "x", "value": "s3cret\u000a"}]"#, ".headers[0].value", "line breaks", "injection"),
            (r#""headers": [{"name": "x", "value": 53}]"#, ".headers[0].value", "a number (not shown)", "type"),
            (r#""headers": [{"name": "x"}]"#, ".headers[0]", "\"value\" is missing", "no value"),
            (r#""headers": [{"value": "s3cret"}]"#, ".headers[0]", "\"name\" is missing", "no name"),
            (r#""headers": [{"name": "a b", "value": "s3cret"}]"#, ".headers[0].name", "a header name", "not a token"),
            (r#""headers": [{"name": "", "value": "s3cret"}]"#, ".headers[0].name", "a header name", "empty"),
            (r#""headers": [{"name": ":path", "value": "s3cret"}]"#, ".headers[0].name", "request line", "pseudo"),
            (
                r#""headers": [{"name": "Content-Type", "value": "s3cret"}]"#,
                ".headers[0].name",
                "does not set itself",
                "reserved",
            ),
            (
                r#""headers": [{"name": "grpc-timeout", "value": null}]"#,
                ".headers[0].name",
                "does not set itself",
                "reserved",
            ),
            (
                r#""headers": [{"name": "x", "value": "${S3CRET}"}]"#,
                ".headers[0].value",
                "(not shown); environment",
                "substitution",
            ),
            (r#""headers": {"authorization": "s3cret"}"#, ".headers", "found an object with 1 key", "a map"),
            (r#""headers": []"#, ".headers", "at least 1", "empty list"),
        ];
        for (settings, place, words, why) in cases {
            check_hidden(settings, place, words, why);
        }
    }

    #[test]
    fn wrong_lists_of_headers_are_errors_that_show_no_value() {
        let cases = [
            (r#""headers_list": "a=1,s3cret""#, ".headers_list", "entry 2 is a string with 6 characters", "no ="),
            (r#""headers_list": "a=1,te=s3cret""#, ".headers_list", "entry 2", "reserved"),
            (r#""headers_list": "a=s3cret%0a""#, ".headers_list", "line breaks", "injection"),
            (r#""headers_list": ["s3cret"]"#, ".headers_list", "a list with 1 item", "type"),
        ];
        for (settings, place, words, why) in cases {
            check_hidden(settings, place, words, why);
        }
    }

    fn check_hidden(settings: &str, place: &str, words: &str, why: &str) {
        let section = with(&format!(r#"{{"otlp_http": {{{settings}}}}}"#));
        rejected_for(&section, &format!("{AT}.otlp_http{place}"), words, why);
        assert!(!rejected(&section)[0].to_lowercase().contains("s3cret"), "{settings}");
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_shown() {
        let section = with(r#"{"otlp_grpc": {"endpoint": "http://user:s3cret@collector:4317"}}"#);
        rejected_at(&section, &format!("{AT}.otlp_grpc.endpoint"), "send credentials with `headers`");
        assert!(!rejected(&section)[0].contains("s3cret"));
    }

    #[test]
    fn wrong_exporters_are_errors() {
        let cases = [
            (r#"{"console": {}}"#, ".console", "a proxy cannot offer this; a filter has no console", "no console"),
            (
                r#"{"otlp_file/development": null}"#,
                "[\"otlp_file/development\"]",
                "collector's file exporter",
                "no files",
            ),
            (
                r#"{"zipkin": {}}"#,
                ".zipkin",
                "no such span exporter; allowed: otlp_grpc, otlp_http",
                "not the standard's",
            ),
            (r#"{"otlp_gprc": {}}"#, ".otlp_gprc", "did you mean \"otlp_grpc\"", "mistyped"),
            (r#"{"otlp_grpc": {"encoding": "json"}}"#, ".otlp_grpc.encoding", "no such key", "HTTP's"),
            (r#"{"otlp_http": {"encoding": "JSON"}}"#, ".otlp_http.encoding", "did you mean \"json\"", "case"),
            (r#"{"otlp_http": {"compression": "zstd"}}"#, ".otlp_http.compression", "allowed: none, gzip", "unknown"),
            (r#"{"otlp_http": {"timeout": -1}}"#, ".otlp_http.timeout", "from 0", "negative"),
            (
                r#"{"otlp_http": {"tls": {"ca_file": "/ca.pem"}}}"#,
                ".otlp_http.tls.ca_file",
                "the Envoy cluster's",
                "files",
            ),
            (
                r#"{"otlp_grpc": {"tls": {"cert_file": "/c.pem"}}}"#,
                ".otlp_grpc.tls.cert_file",
                "the Envoy cluster's",
                "files",
            ),
            (r#"{"otlp_http": {"tls": {"insecure": true}}}"#, ".otlp_http.tls.insecure", "no such key", "gRPC's"),
            (r#"{"otlp_grpc": {"tls": {"insecure": "yes"}}}"#, ".otlp_grpc.tls.insecure", "true or false", "type"),
            (
                r#"{"otlp_grpc": {"endpoint": "${ENDPOINT}"}}"#,
                ".otlp_grpc.endpoint",
                "environment variables",
                "substitution",
            ),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("{AT}{place}"), words, why);
        }
        accepted(&with(r#"{"otlp_grpc": {"tls": {"ca_file": null, "insecure": true}, "endpoint": "collector:4317"}}"#));
    }
}
