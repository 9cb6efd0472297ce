//! `jaeger_remote/development`: a sampler that is told what to do by Jaeger.

use crate::endpoint::{Channel, resolve};
use crate::reader::{Key, Reader, built};
use crate::{Clusters, Endpoint, SamplerConfig, sampler};

/// `jaeger_remote/development`.
#[derive(Clone, Debug, PartialEq)]
pub struct JaegerRemoteConfig {
    /// `endpoint`: of the sampling service, over HTTP. Its path is `/sampling` unless it has one.
    pub endpoint: Endpoint,
    /// `interval`: how often it is asked, ms; default 60000, at least 1000.
    pub interval_ms: u32,
    /// `initial_sampler`: until the first answer.
    pub initial_sampler: SamplerConfig,
}

const KEYS: &[Key] = &[built("endpoint"), built("interval"), built("initial_sampler")];

const DEFAULT_INTERVAL_MS: u32 = 60_000;

/// Reads `jaeger_remote/development`; `None` if it is wrong. `level` counts the samplers around it.
pub(crate) fn read(reader: &Reader<'_>, clusters: &Clusters, level: u32) -> Option<JaegerRemoteConfig> {
    let object = reader.object_or_null(KEYS)?;
    let interval = object.integer("interval", 0..=u32::MAX).unwrap_or(DEFAULT_INTERVAL_MS);
    let initial = object
        .required("initial_sampler", "an object whose one key names the sampler until the first answer")
        .and_then(|sampler| sampler::read_level(&sampler, clusters, level.saturating_add(1)));
    let endpoint =
        object.required("endpoint", "the URL of the sampling service, such as http://jaeger:5778/sampling")?;
    let url = endpoint.text()?;
    match resolve(&url, Channel::Http, clusters) {
        Ok(mut resolved) => {
            if resolved.path == "/" {
                "/sampling".clone_into(&mut resolved.path);
            }
            // More often than once a second is no use, and would be a load.
            Some(JaegerRemoteConfig { endpoint: resolved, interval_ms: interval.max(1_000), initial_sampler: initial? })
        }
        Err(allowed) => {
            endpoint.report_malformed(allowed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};

    fn with(settings: &str) -> String {
        format!(
            r#""tracer_provider": {{"sampler": {{"jaeger_remote/development": {settings}}},
                "processors": [{{"batch": {{"exporter": {{"otlp_grpc": null}}}}}}]}},
               "distribution": {{"meshspan": {{"clusters": {{"mapped:5778": "jaeger_sampling"}}}}}}"#
        )
    }

    #[test]
    fn endpoints_and_intervals() {
        let initial = r#""initial_sampler": {"always_off": {}}"#;
        let cases = [
            (r#""endpoint": "http://jaeger:5778""#, "jaeger", "/sampling", 60_000, "the usual path"),
            (
                r#""endpoint": "http://mapped:5778/", "interval": null"#,
                "jaeger_sampling",
                "/sampling",
                60_000,
                "a cluster",
            ),
            (r#""endpoint": "http://jaeger:14268/api/sampling""#, "jaeger", "/api/sampling", 60_000, "its own path"),
            (r#""endpoint": "http://jaeger:5778", "interval": 0"#, "jaeger", "/sampling", 1_000, "as often as can be"),
            (r#""endpoint": "http://jaeger:5778", "interval": 5000"#, "jaeger", "/sampling", 5_000, "as asked"),
        ];
        for (text, cluster, path, interval_ms, why) in cases {
            let sampler = accepted(&with(&format!("{{{text}, {initial}}}"))).tracer.unwrap().sampler;
            let SamplerConfig::JaegerRemote(remote) = sampler else { panic!("{sampler:?}") };
            assert_eq!((remote.endpoint.cluster.as_str(), remote.endpoint.path.as_str()), (cluster, path), "{why}");
            assert_eq!((remote.interval_ms, remote.initial_sampler), (interval_ms, SamplerConfig::AlwaysOff), "{why}");
        }
        let cases = [
            (r#"{"endpoint": "http://jaeger:5778"}"#, "", "\"initial_sampler\" is missing", "no sampler until then"),
            (r#"{"initial_sampler": {"always_on": {}}}"#, "", "\"endpoint\" is missing", "nobody to ask"),
            (
                r#"{"endpoint": "jaeger:5778", "initial_sampler": {"always_on": {}}}"#,
                ".endpoint",
                "http://HOST:PORT/path",
                "no scheme",
            ),
            (
                r#"{"endpoint": "http://j:1", "interval": -1, "initial_sampler": {"always_on": {}}}"#,
                ".interval",
                "from 0",
                "negative",
            ),
            (
                r#"{"endpoint": "http://j:1", "initial_sampler": {"often": {}}}"#,
                ".initial_sampler.often",
                "no such sampler",
                "unknown",
            ),
        ];
        for (text, place, words, why) in cases {
            let path = format!("$.tracer_provider.sampler[\"jaeger_remote/development\"]{place}");
            rejected_for(&with(text), &path, words, why);
        }
    }
}
