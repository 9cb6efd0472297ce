//! `logger_provider`.

use crate::reader::{Key, Reader, built, not_offered};
use crate::signal::Signal;
use crate::tracer::{AttributeLimits, read_attribute_limits, read_processors};
use crate::{LoggerConfig, MeshspanConfig};

const KEYS: &[Key] = &[
    built("processors"),
    built("limits"),
    not_offered(
        "logger_configurator/development",
        "a proxy has one logger: distribution.meshspan.logs says which streams it writes",
    ),
];

/// Reads `logger_provider`; `general` is `attribute_limits`.
pub(crate) fn read(reader: &Reader<'_>, general: AttributeLimits, meshspan: &MeshspanConfig) -> Option<LoggerConfig> {
    let object = reader.object(KEYS)?;
    let limits = object.optional("limits").map(|value| read_attribute_limits(&value)).unwrap_or_default();
    Some(LoggerConfig {
        processors: read_processors(&object, Signal::Logs, &meshspan.clusters),
        limits: limits.or(general, meshspan),
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::testing::{accepted, rejected_at, rejected_for};
    use crate::{BatchConfig, LoggerConfig, SpanLimits};

    fn provider(settings: &str) -> String {
        format!(
            r#""logger_provider": {{{settings}"processors": [{{"simple": {{"exporter": {{"otlp_http": {{}}}}}}}}]}}"#
        )
    }

    fn logger(text: &str) -> LoggerConfig {
        accepted(text).logger.unwrap()
    }

    #[test]
    fn processors_have_the_standards_defaults() {
        let batch = r#""logger_provider": {"processors": [{"batch": {"exporter": {"otlp_grpc": {}}}}]}"#;
        let expected = BatchConfig { schedule_delay_ms: 1000, ..BatchConfig::default() };
        assert_eq!(logger(batch).processors[0].batch, expected, "a second, not five as for spans");
        let simple = logger(&provider(""));
        assert_eq!(simple.processors[0].batch.max_export_batch_size, 1);
        assert_eq!(simple.processors[0].exporter.endpoint.url, "http://localhost:4318/v1/logs");
        assert_eq!(accepted(r#""disabled": false"#).logger, None, "none unless configured");
    }

    #[test]
    fn own_limits_go_before_the_general_ones() {
        let general = r#", "attribute_limits": {"attribute_value_length_limit": 20, "attribute_count_limit": 30}"#;
        let cases = [
            (provider(""), None, 128, "defaults"),
            (provider("") + general, Some(20), 30, "the general ones"),
            (provider(r#""limits": {"attribute_count_limit": 5},"#) + general, Some(20), 5, "one from each"),
            (provider(r#""limits": {"attribute_value_length_limit": 0},"#), Some(0), 128, "nothing is a limit"),
        ];
        for (text, attribute_value_length, attribute_count, why) in cases {
            let expected = SpanLimits { attribute_value_length, attribute_count, ..SpanLimits::default() };
            assert_eq!(logger(&text).limits, expected, "{why}");
        }
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let exporter = |exporter: &str| {
            format!(r#""logger_provider": {{"processors": [{{"simple": {{"exporter": {{{exporter}}}}}}}]}}"#)
        };
        let at = "$.logger_provider.processors[0]";
        let cases = [
            (exporter(r#""console": {}"#), format!("{at}.simple.exporter.console"), "collector's debug exporter"),
            (
                exporter(r#""otlp_file/development": {}"#),
                format!("{at}.simple.exporter[\"otlp_file/development\"]"),
                "collector's file exporter",
            ),
            (exporter(r#""loki": {}"#), format!("{at}.simple.exporter.loki"), "no such log record exporter"),
            (
                r#""logger_provider": {"processors": [{"event_to_span_event_bridge/development": {}}]}"#.to_owned(),
                format!("{at}[\"event_to_span_event_bridge/development\"]"),
                "leave it out",
            ),
            (
                r#""logger_provider": {"processors": [{"batc": {}}]}"#.to_owned(),
                format!("{at}.batc"),
                "no such log record processor",
            ),
            (
                provider(r#""logger_configurator/development": {},"#),
                "$.logger_provider[\"logger_configurator/development\"]".to_owned(),
                "distribution.meshspan.logs",
            ),
            (
                provider(r#""limits": {"event_count_limit": 1},"#),
                "$.logger_provider.limits.event_count_limit".to_owned(),
                "no such key",
            ),
        ];
        for (text, path, words) in cases {
            rejected_for(&text, &path, words, words);
        }
        rejected_at(r#""logger_provider": {}"#, "$.logger_provider", "\"processors\" is missing");
        rejected_at(r#""logger_provider": {"processors": []}"#, "$.logger_provider.processors", "at least 1");
    }
}
