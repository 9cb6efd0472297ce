//! The exporter of a processor.

use super::endpoint::{Channel, resolve};
use super::error::Problem;
use super::ordered::OrderedMap;
use super::pairs::{read_pairs, report_entry};
use super::reader::{Key, Object, Reader, built, not_offered};
use super::token::header_name;
use super::{Clusters, Compression, Endpoint, ExporterConfig, OtlpProtocol};

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

const GRPC_KEYS: &[Key] = &[
    built("endpoint"),
    built("tls"),
    built("headers"),
    built("headers_list"),
    built("compression"),
    built("timeout"),
];

const HTTP_KEYS: &[Key] = &[
    built("endpoint"),
    built("tls"),
    built("headers"),
    built("headers_list"),
    built("compression"),
    built("timeout"),
    built("encoding"),
];

const TLS_OF_CLUSTER: &str =
    "TLS and its certificates are the Envoy cluster's: configure its transport_socket";

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

const COMPRESSIONS: &[(&str, Compression)] =
    &[("none", Compression::None), ("gzip", Compression::Gzip)];

const ENCODINGS: &[(&str, OtlpProtocol)] = &[
    ("protobuf", OtlpProtocol::HttpProtobuf),
    ("json", OtlpProtocol::HttpJson),
];

const GRPC_ENDPOINT: &str = "http://localhost:4317";

const HTTP_ENDPOINT: &str = "http://localhost:4318/v1/traces";

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

/// Reads an exporter; `None` if it is wrong.
pub(super) fn read(reader: &Reader<'_>, clusters: &Clusters) -> Option<ExporterConfig> {
    let (name, settings) = reader.component("span exporter", EXPORTERS)?;
    if name == "otlp_grpc" {
        let object = settings.object_or_null(GRPC_KEYS)?;
        let insecure = read_tls(&object, GRPC_TLS_KEYS)
            .and_then(|tls| tls.nullable("insecure"))
            .and_then(|insecure| insecure.boolean())
            .unwrap_or(false);
        read_common(
            &object,
            OtlpProtocol::Grpc,
            Channel::Grpc { insecure },
            GRPC_ENDPOINT,
            clusters,
        )
    } else {
        let object = settings.object_or_null(HTTP_KEYS)?;
        read_tls(&object, HTTP_TLS_KEYS);
        let protocol = match object.nullable("encoding") {
            Some(encoding) => encoding
                .one_of(ENCODINGS)
                .unwrap_or(OtlpProtocol::HttpProtobuf),
            None => OtlpProtocol::HttpProtobuf,
        };
        read_common(&object, protocol, Channel::Http, HTTP_ENDPOINT, clusters)
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
    let timeout_ms = object
        .integer("timeout", 0..=u32::MAX)
        .unwrap_or(DEFAULT_TIMEOUT_MS);
    Some(ExporterConfig {
        protocol,
        endpoint: endpoint?,
        headers,
        compression,
        timeout_ms,
    })
}

fn read_endpoint(reader: &Reader<'_>, channel: Channel, clusters: &Clusters) -> Option<Endpoint> {
    let url = reader.text()?;
    match resolve(&url, channel, clusters) {
        Ok(endpoint) => Some(endpoint),
        Err(allowed) => {
            // What stands before an @ is most likely a password.
            let reader = if url.contains('@') {
                reader.kept_secret()
            } else {
                reader.clone()
            };
            reader.report_malformed(allowed);
            None
        }
    }
}

fn read_compression(object: &Object<'_>) -> Compression {
    let Some(reader) = object.nullable("compression") else {
        return Compression::None;
    };
    let compression = reader.one_of(COMPRESSIONS).unwrap_or(Compression::None);
    if compression == Compression::Gzip {
        reader.report(Problem::NotYetBuilt);
    }
    compression
}

/// `headers` before `headers_list`, each name once. A name that stands twice in the same list has its last value.
fn read_headers(object: &Object<'_>) -> Vec<(String, String)> {
    let mut headers = OrderedMap::new();
    for entry in object
        .optional("headers")
        .and_then(|list| list.list(1))
        .unwrap_or_default()
    {
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
    let value = value_reader
        .as_ref()
        .filter(|value| !value.is_null())
        .and_then(Reader::text);
    let checked_name = check_export_header(&name?);
    if let (Err(allowed), Some(reader)) = (&checked_name, &name_reader) {
        reader.report_malformed(*allowed);
    }
    let value = value?;
    let checked_value = check_value(&value);
    if let (Err(allowed), Some(reader)) = (checked_value, &value_reader) {
        reader.report_malformed(allowed);
    }
    checked_name
        .ok()
        .filter(|_| checked_value.is_ok())
        .zip(Some(value))
}

fn check_header(name: &str, value: &str) -> Result<String, &'static str> {
    check_value(value)?;
    check_export_header(name)
}

/// The name in lower case, if an exporter may be told to send it.
fn check_export_header(name: &str) -> Result<String, &'static str> {
    let name = header_name(name)?;
    if name.starts_with("grpc-") || RESERVED_HEADERS.contains(&name.as_str()) {
        return Err(
            "a header that the exporter does not set itself (as it does host, te, content-*, grpc-* and \
                    those of the connection)",
        );
    }
    Ok(name)
}

fn check_value(value: &str) -> Result<(), &'static str> {
    if value
        .chars()
        .any(|character| character.is_control() && character != '\t')
    {
        return Err("a header value without line breaks and control characters");
    }
    Ok(())
}
