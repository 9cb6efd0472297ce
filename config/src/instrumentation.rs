//! `instrumentation/development`.

use crate::error::nearest;
use crate::ordered::unique;
use crate::pairs::report_entry;
use crate::reader::{Key, Object, Reader, built};
use crate::token::{header_name, is_token};
use crate::{HttpInstrumentation, HttpSemconv, InstrumentationConfig, RpcSemconv};

/// Sections for SDKs that read the same file.
const LANGUAGES: &[&str] = &["cpp", "dotnet", "erlang", "go", "java", "js", "php", "python", "ruby", "rust", "swift"];

const KEYS: &[Key] = &[
    built("general"),
    built("cpp"),
    built("dotnet"),
    built("erlang"),
    built("go"),
    built("java"),
    built("js"),
    built("php"),
    built("python"),
    built("ruby"),
    built("rust"),
    built("swift"),
];

/// Domains of `general` whose spans others make.
const OTHER_DOMAINS: &[&str] = &["code", "db", "gen_ai", "messaging"];

const GENERAL_KEYS: &[Key] = &[
    built("http"),
    built("sanitization"),
    built("stability_opt_in_list"),
    built("code"),
    built("db"),
    built("gen_ai"),
    built("messaging"),
    built("rpc"),
];

const HTTP_KEYS: &[Key] = &[built("semconv"), built("client"), built("server")];

const RPC_KEYS: &[Key] = &[built("semconv")];

const HTTP_SIDE_KEYS: &[Key] =
    &[built("request_captured_headers"), built("response_captured_headers"), built("known_methods")];

const SEMCONV_KEYS: &[Key] = &[built("version"), built("experimental"), built("dual_emit")];

const SANITIZATION_KEYS: &[Key] = &[built("url")];

const URL_KEYS: &[Key] = &[built("sensitive_query_parameters")];

const KNOWN_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The URL conventions' list (attribute `url.query`).
const SENSITIVE_QUERY_PARAMETERS: &[&str] = &["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

impl Default for InstrumentationConfig {
    fn default() -> Self {
        Self {
            http_server: HttpInstrumentation::default(),
            http_client: HttpInstrumentation::default(),
            http_semconv: HttpSemconv::Stable,
            rpc_semconv: RpcSemconv::Stable,
            sensitive_query_parameters: owned(SENSITIVE_QUERY_PARAMETERS),
        }
    }
}

impl Default for HttpInstrumentation {
    fn default() -> Self {
        Self {
            request_captured_headers: Vec::new(),
            response_captured_headers: Vec::new(),
            known_methods: owned(KNOWN_METHODS),
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Reads `instrumentation/development`. The sections of languages are left to their SDKs.
pub(crate) fn read(reader: &Reader<'_>) -> InstrumentationConfig {
    let Some(object) = reader.object(KEYS) else {
        return InstrumentationConfig::default();
    };
    expect_objects(&object, LANGUAGES);
    object.optional("general").map(|general| read_general(&general)).unwrap_or_default()
}

fn read_general(reader: &Reader<'_>) -> InstrumentationConfig {
    let mut config = InstrumentationConfig::default();
    let Some(object) = reader.object(GENERAL_KEYS) else {
        return config;
    };
    expect_objects(&object, OTHER_DOMAINS);
    if let Some(list) = object.nullable("stability_opt_in_list") {
        (config.http_semconv, config.rpc_semconv) = read_opt_in_list(&list);
    }
    if let Some(http) = object.optional("http").and_then(|http| http.object(HTTP_KEYS)) {
        // It takes precedence over the list.
        if let Some(semconv) = http.optional("semconv").and_then(|semconv| read_semconv(&semconv)) {
            config.http_semconv = semconv;
        }
        let side = |key| http.optional(key).map(|side| read_http_side(&side)).unwrap_or_default();
        config.http_server = side("server");
        config.http_client = side("client");
    }
    if let Some(rpc) = object.optional("rpc").and_then(|rpc| rpc.object(RPC_KEYS))
        && let Some(semconv) = rpc.optional("semconv").and_then(|semconv| read_rpc_semconv(&semconv))
    {
        config.rpc_semconv = semconv;
    }
    let url = object
        .optional("sanitization")
        .and_then(|sanitization| sanitization.object(SANITIZATION_KEYS)?.optional("url")?.object(URL_KEYS));
    if let Some(parameters) = url.and_then(|url| url.optional("sensitive_query_parameters")?.texts(0)) {
        config.sensitive_query_parameters = unique(parameters);
    }
    config
}

fn expect_objects(object: &Object<'_>, keys: &[&'static str]) {
    for key in keys {
        if let Some(section) = object.optional(key) {
            section.expect_object();
        }
    }
}

fn read_http_side(reader: &Reader<'_>) -> HttpInstrumentation {
    let mut side = HttpInstrumentation::default();
    let Some(object) = reader.object(HTTP_SIDE_KEYS) else {
        return side;
    };
    if let Some(headers) = object.optional("request_captured_headers") {
        side.request_captured_headers = read_checked(&headers, 1, header_name);
    }
    if let Some(headers) = object.optional("response_captured_headers") {
        side.response_captured_headers = read_checked(&headers, 1, header_name);
    }
    if let Some(methods) = object.optional("known_methods") {
        side.known_methods = read_checked(&methods, 0, |method| {
            if is_token(method) { Ok(method.to_owned()) } else { Err("an HTTP method, such as GET") }
        });
    }
    side
}

/// A list of texts that each pass `check`, in the form that it gives them, each once.
fn read_checked(
    reader: &Reader<'_>,
    least: usize,
    check: impl Fn(&str) -> Result<String, &'static str>,
) -> Vec<String> {
    unique(reader.list(least).unwrap_or_default().iter().filter_map(|item| {
        let text = item.text()?;
        match check(&text) {
            Ok(text) => Some(text),
            Err(allowed) => {
                item.report_malformed(allowed);
                None
            }
        }
    }))
}

/// `http.semconv`. There is one stable version, 1. `experimental` may be either: what is experimental in the
/// conventions and known to a proxy (such as body sizes) is emitted anyway.
fn read_semconv(reader: &Reader<'_>) -> Option<HttpSemconv> {
    let object = reader.object(SEMCONV_KEYS)?;
    object.integer("version", 1..=1);
    if let Some(experimental) = object.nullable("experimental") {
        experimental.boolean();
    }
    let dual = object.nullable("dual_emit").and_then(|dual| dual.boolean()).unwrap_or(false);
    Some(if dual { HttpSemconv::Duplicate } else { HttpSemconv::Stable })
}

/// `rpc.semconv`. Version 1 are the stable names, 0 those before them, which have none before them to emit as well.
fn read_rpc_semconv(reader: &Reader<'_>) -> Option<RpcSemconv> {
    let object = reader.object(SEMCONV_KEYS)?;
    let version = object.integer("version", 0..=1).unwrap_or(1);
    if let Some(experimental) = object.nullable("experimental") {
        experimental.boolean();
    }
    let dual = object.nullable("dual_emit").filter(|dual| dual.boolean().unwrap_or(false));
    Some(match (version, dual) {
        (0, Some(dual)) => {
            dual.report_malformed("false with version 0, as nothing was before it");
            RpcSemconv::Legacy
        }
        (0, None) => RpcSemconv::Legacy,
        (_, Some(_)) => RpcSemconv::Duplicate,
        (_, None) => RpcSemconv::Stable,
    })
}

/// `OTEL_SEMCONV_STABILITY_OPT_IN`'s form. Other domains' entries are for the SDKs that share the file; one that
/// was clearly meant to be ours is an error. `http/dup` wins over `http` and `rpc/dup` over `rpc`, as the migration guides
/// have it.
fn read_opt_in_list(reader: &Reader<'_>) -> (HttpSemconv, RpcSemconv) {
    const OURS: &[&str] = &["http", "http/dup", "rpc", "rpc/dup"];
    let (mut http, mut rpc) = (HttpSemconv::Stable, RpcSemconv::Stable);
    let text = reader.text().unwrap_or_default();
    for (position, entry) in (1..).zip(text.split(',').map(str::trim)) {
        let is_nearly_ours = || {
            entry.starts_with("http/") || entry.starts_with("rpc/") || nearest(entry, OURS.iter().copied()).is_some()
        };
        match entry {
            "http" | "rpc" => {}
            "http/dup" => http = HttpSemconv::Duplicate,
            "rpc/dup" => rpc = RpcSemconv::Duplicate,
            entry if is_nearly_ours() => {
                let allowed = "http, http/dup, rpc, rpc/dup, or another domain's entry such as database";
                report_entry(reader, position, entry, allowed);
            }
            _ => {}
        }
    }
    (http, rpc)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::testing::{accepted, rejected_for};
    use crate::{HttpInstrumentation, HttpSemconv, InstrumentationConfig, RpcSemconv};

    const AT: &str = "$[\"instrumentation/development\"]";

    fn section(text: &str) -> String {
        format!("\"instrumentation/development\": {text}")
    }

    fn general(text: &str) -> InstrumentationConfig {
        accepted(&section(&format!("{{\"general\": {text}}}"))).instrumentation
    }

    #[test]
    fn headers_are_in_lower_case_and_once() {
        let config = general(
            r#"{"http": {"server": {"request_captured_headers": ["X-Tenant", "x-tenant", "a"], "known_methods": []},
                         "client": {"response_captured_headers": ["b"], "known_methods": ["QUERY", "get"]}}}"#,
        );
        assert_eq!(config.http_server.request_captured_headers, ["x-tenant", "a"]);
        assert!(config.http_server.known_methods.is_empty(), "an override may be empty");
        assert_eq!(config.http_client.response_captured_headers, ["b"]);
        assert_eq!(config.http_client.known_methods, ["QUERY", "get"], "methods have case");
        assert_eq!(general("{}").http_server, HttpInstrumentation::default());
        assert_eq!(HttpInstrumentation::default().known_methods.len(), 9);
    }

    #[test]
    fn which_names_are_emitted() {
        use HttpSemconv::{Duplicate, Stable};
        let cases = [
            ("{}", Stable, "the default"),
            (r#"{"stability_opt_in_list": "http"}"#, Stable, "stable"),
            (r#"{"stability_opt_in_list": "http/dup"}"#, Duplicate, "both"),
            (r#"{"stability_opt_in_list": "http/dup, http"}"#, Duplicate, "dup goes first"),
            (r#"{"stability_opt_in_list": "database/dup,rpc,gen_ai_latest_experimental,k8s,"}"#, Stable, "others'"),
            (r#"{"stability_opt_in_list": null}"#, Stable, "null"),
            (
                r#"{"http": {"semconv": {"version": 1, "dual_emit": true, "experimental": false}}}"#,
                Duplicate,
                "by domain",
            ),
            (
                r#"{"http": {"semconv": {"version": null}}, "stability_opt_in_list": "http/dup"}"#,
                Stable,
                "the domain's own setting goes first",
            ),
        ];
        for (text, expected, why) in cases {
            assert_eq!(general(text).http_semconv, expected, "{why}");
        }
    }

    #[test]
    fn which_names_of_calls_are_emitted() {
        use RpcSemconv::{Duplicate, Legacy, Stable};
        let cases = [
            ("{}", Stable, "the default"),
            (r#"{"stability_opt_in_list": "rpc"}"#, Stable, "stable"),
            (r#"{"stability_opt_in_list": "http,rpc/dup"}"#, Duplicate, "both"),
            (r#"{"stability_opt_in_list": "rpc/dup,rpc"}"#, Duplicate, "dup goes first"),
            (r#"{"stability_opt_in_list": "http/dup"}"#, Stable, "that is for HTTP"),
            (r#"{"rpc": {}}"#, Stable, "an empty domain"),
            (r#"{"rpc": {"semconv": {"version": 1, "dual_emit": true}}}"#, Duplicate, "by domain"),
            (r#"{"rpc": {"semconv": {"version": 0, "experimental": true}}}"#, Legacy, "the names before"),
            (r#"{"rpc": {"semconv": {"version": 0, "dual_emit": false}}}"#, Legacy, "nothing else beside them"),
            (
                r#"{"rpc": {"semconv": {"version": null}}, "stability_opt_in_list": "rpc/dup"}"#,
                Stable,
                "the domain's own setting goes first",
            ),
        ];
        for (text, expected, why) in cases {
            assert_eq!(general(text).rpc_semconv, expected, "{why}");
        }
    }

    #[test]
    fn sensitive_parameters_are_a_full_override() {
        let with = |list: &str| {
            general(&format!(r#"{{"sanitization": {{"url": {{"sensitive_query_parameters": {list}}}}}}}"#))
        };
        assert_eq!(
            general("{}").sensitive_query_parameters,
            ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"]
        );
        assert_eq!(with(r#"["token", "Token", "token"]"#).sensitive_query_parameters, ["token", "Token"]);
        assert!(with("[]").sensitive_query_parameters.is_empty());
    }

    #[test]
    fn sections_of_others_are_left_to_them() {
        let config = accepted(&section(
            r#"{"java": {"spring": {"enabled": "${ANY}"}}, "rust": {}, "general": {"db": {"semconv": {"version": 2}},
                "messaging": {}, "code": {}, "gen_ai": {}}}"#,
        ));
        assert_eq!(config.instrumentation, InstrumentationConfig::default());
    }

    #[test]
    fn wrong_sections_are_errors() {
        let cases = [
            (
                r#"{"general": {"http": {"server": {"request_captured_headers": []}}}}"#,
                ".general.http.server.request_captured_headers",
                "at least 1",
                "empty",
            ),
            (
                r#"{"general": {"http": {"server": {"request_captured_headers": [":path"]}}}}"#,
                ".general.http.server.request_captured_headers[0]",
                "request line",
                "pseudo",
            ),
            (
                r#"{"general": {"http": {"client": {"response_captured_headers": ["a b"]}}}}"#,
                ".general.http.client.response_captured_headers[0]",
                "a header name",
                "not a token",
            ),
            (
                r#"{"general": {"http": {"client": {"known_methods": ["GET "]}}}}"#,
                ".general.http.client.known_methods[0]",
                "an HTTP method",
                "a space",
            ),
            (
                r#"{"general": {"http": {"semconv": {"version": 2}}}}"#,
                ".general.http.semconv.version",
                "the integer 1",
                "no such version",
            ),
            (
                r#"{"general": {"http": {"semconv": {"experimental": 1}}}}"#,
                ".general.http.semconv.experimental",
                "true or false",
                "type",
            ),
            (
                r#"{"general": {"stability_opt_in_list": "database,http/dupe"}}"#,
                ".general.stability_opt_in_list",
                "entry 2 is \"http/dupe\"",
                "nearly ours",
            ),
            (
                r#"{"general": {"stability_opt_in_list": "htpp"}}"#,
                ".general.stability_opt_in_list",
                "entry 1",
                "nearly ours",
            ),
            (
                r#"{"general": {"stability_opt_in_list": ["http"]}}"#,
                ".general.stability_opt_in_list",
                "a string",
                "a list",
            ),
            (
                r#"{"general": {"stability_opt_in_list": "rpc/both"}}"#,
                ".general.stability_opt_in_list",
                "entry 1 is \"rpc/both\"",
                "nearly ours",
            ),
            (
                r#"{"general": {"rpc": {"semconv": {"version": 2}}}}"#,
                ".general.rpc.semconv.version",
                "an integer from 0 to 1",
                "no such version",
            ),
            (
                r#"{"general": {"rpc": {"semconv": {"version": 0, "dual_emit": true}}}}"#,
                ".general.rpc.semconv.dual_emit",
                "false with version 0",
                "nothing was before it",
            ),
            (r#"{"general": {"rpc": {"client": {}}}}"#, ".general.rpc.client", "no such key", "HTTP alone has sides"),
            (r#"{"general": {"db": []}}"#, ".general.db", "an object", "type"),
            (r#"{"general": {"https": {}}}"#, ".general.https", "did you mean \"http\"", "mistyped"),
            (r#"{"java": null}"#, ".java", "an object", "the schema takes no null"),
            (r#"{"kotlin": {}}"#, ".kotlin", "no such key", "no such language"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&section(text), &format!("{AT}{place}"), words, why);
        }
    }
}
