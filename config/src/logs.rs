//! `distribution.meshspan.logs`: which streams are logged, and where to beside the `logger_provider`.

use crate::Problem;
use crate::reader::{Key, Object, Reader, built};

/// `logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogsConfig {
    /// `when` and `slower_than`: which streams.
    pub when: LogRule,
    /// `json`: also as lines of JSON in the proxy's own log, at most so many a second and worker.
    pub json_lines_per_second: Option<u32>,
    /// `filter_state`: trace and span id of every stream as filter state, for the proxy's access log.
    pub filter_state: bool,
    /// `max_pending_bytes`: request headers of streams that may yet be logged, a worker; default 8 MiB.
    pub max_pending_bytes: u32,
}

/// Which streams are logged: those of which any of these is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRule {
    /// Every one.
    pub all: bool,
    /// Those that failed, as their span's status says and as `keep.errors` has it.
    pub errors: bool,
    /// Those that took longer than so many ms.
    pub slower_than_ms: Option<u32>,
    /// Those of which a span is exported.
    pub sampled: bool,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            when: LogRule { all: true, ..LogRule::default() },
            json_lines_per_second: None,
            filter_state: false,
            max_pending_bytes: 8 << 20,
        }
    }
}

const KEYS: &[Key] =
    &[built("when"), built("slower_than"), built("json"), built("filter_state"), built("max_pending_bytes")];

const JSON_KEYS: &[Key] = &[built("lines_per_second")];

const DEFAULT_LINES_PER_SECOND: u32 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    All,
    Errors,
    Slow,
    Sampled,
}

const WHEN: &[(&str, When)] =
    &[("all", When::All), ("errors", When::Errors), ("slow", When::Slow), ("sampled", When::Sampled)];

/// Reads `logs`; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>) -> Option<LogsConfig> {
    let object = reader.object(KEYS)?;
    let default = LogsConfig::default();
    let slower_than_ms = object.integer("slower_than", 1..=u32::MAX);
    let when = match object.nullable("when") {
        Some(when) => read_when(&when, &object, slower_than_ms)?,
        None if object.nullable("slower_than").is_some() => LogRule { slower_than_ms, ..LogRule::default() },
        None => default.when,
    };
    Some(LogsConfig {
        when,
        json_lines_per_second: object.nullable("json").and_then(|json| read_json(&json)),
        filter_state: object.nullable("filter_state").and_then(|value| value.boolean()).unwrap_or(false),
        max_pending_bytes: object.integer("max_pending_bytes", 1 << 16..=u32::MAX).unwrap_or(default.max_pending_bytes),
    })
}

/// One word, or a list of them.
fn read_when(when: &Reader<'_>, object: &Object<'_>, slower_than_ms: Option<u32>) -> Option<LogRule> {
    let words: Vec<When> = if when.is_string() {
        vec![when.one_of(WHEN)?]
    } else {
        when.list(1)?.iter().filter_map(|word| word.one_of(WHEN)).collect()
    };
    let has = |word| words.contains(&word);
    let has_time = object.nullable("slower_than").is_some();
    if has(When::Slow) && !has_time {
        when.report(Problem::Conflict {
            found: when.found(),
            allowed: "slow only beside slower_than, which says from how many ms on".to_owned(),
        });
    }
    if has_time && !has(When::Slow) {
        when.report(Problem::Conflict {
            found: when.found(),
            allowed: "a list with slow beside slower_than, or no slower_than".to_owned(),
        });
    }
    Some(LogRule {
        all: has(When::All),
        errors: has(When::Errors),
        slower_than_ms: slower_than_ms.filter(|_| has(When::Slow)),
        sampled: has(When::Sampled),
    })
}

/// `true`, `false`, or an object.
fn read_json(json: &Reader<'_>) -> Option<u32> {
    if !json.is_object() {
        return json.boolean_or("true, false, or an object")?.then_some(DEFAULT_LINES_PER_SECOND);
    }
    let object = json.object(JSON_KEYS)?;
    Some(object.integer("lines_per_second", 1..=1_000_000).unwrap_or(DEFAULT_LINES_PER_SECOND))
}

fn member<'d>(section: &Reader<'d>, key: &str) -> Option<Reader<'d>> {
    section.members().find(|(name, _)| *name == key).map(|(_, member)| member)
}

/// A rule that leads nowhere is an error: without a `logger_provider` and `json` nothing is written.
pub(crate) fn check_destination(document: &Object<'_>, logs: Option<LogsConfig>) {
    let Some(logs) = logs else { return };
    let is_written = document.nullable("logger_provider").is_some() || logs.json_lines_per_second.is_some();
    if is_written || logs.filter_state {
        return;
    }
    let meshspan = document.nullable("distribution").and_then(|section| member(&section, "meshspan"));
    if let Some(section) = meshspan.and_then(|section| member(&section, "logs")) {
        section.report(Problem::Conflict {
            found: section.found(),
            allowed:
                "it beside $.logger_provider, or with json: true or filter_state: true; without any of them nothing \
                      is written"
                    .to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};

    const PROVIDER: &str = r#""logger_provider": {"processors": [{"simple": {"exporter": {"otlp_grpc": {}}}}]}"#;

    fn section(logs: &str) -> String {
        format!(r#""distribution": {{"meshspan": {{"logs": {logs}}}}}"#)
    }

    fn with(logs: &str) -> String {
        format!("{PROVIDER}, {}", section(logs))
    }

    #[test]
    fn rules_are_words() {
        let none = LogRule::default();
        let cases = [
            ("{}", LogRule { all: true, ..none }, "the default"),
            (r#"{"when": null}"#, LogRule { all: true, ..none }, "as good as none"),
            (r#"{"when": "all"}"#, LogRule { all: true, ..none }, "one word"),
            (r#"{"when": "errors"}"#, LogRule { errors: true, ..none }, "one word"),
            (r#"{"when": ["errors", "sampled"]}"#, LogRule { errors: true, sampled: true, ..none }, "any of a list"),
            (
                r#"{"when": ["errors", "slow"], "slower_than": 250}"#,
                LogRule { errors: true, slower_than_ms: Some(250), ..none },
                "slow from a time on",
            ),
            (r#"{"slower_than": 250}"#, LogRule { slower_than_ms: Some(250), ..none }, "the time says it"),
        ];
        for (text, expected, why) in cases {
            assert_eq!(accepted(&with(text)).meshspan.logs.unwrap().when, expected, "{text}: {why}");
        }
        assert_eq!(accepted(PROVIDER).meshspan.logs, None);
    }

    #[test]
    fn lines_and_filter_state_are_on_request() {
        let logs = |text: &str| accepted(&section(text)).meshspan.logs.unwrap();
        assert_eq!(logs(r#"{"json": true}"#).json_lines_per_second, Some(100));
        assert_eq!(logs(r#"{"json": {}}"#).json_lines_per_second, Some(100));
        assert_eq!(logs(r#"{"json": {"lines_per_second": 5}}"#).json_lines_per_second, Some(5));
        assert_eq!(accepted(&with(r#"{"json": false}"#)).meshspan.logs.unwrap().json_lines_per_second, None);
        assert!(logs(r#"{"filter_state": true}"#).filter_state);
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        let at = "$.distribution.meshspan.logs";
        let cases = [
            (with(r#"{"when": "slow"}"#), format!("{at}.when"), "beside slower_than"),
            (with(r#"{"when": ["errors", "slow"]}"#), format!("{at}.when"), "beside slower_than"),
            (with(r#"{"when": "errors", "slower_than": 5}"#), format!("{at}.when"), "a list with slow"),
            (with(r#"{"when": "error"}"#), format!("{at}.when"), "did you mean \"errors\""),
            (with(r#"{"when": ["all", "never"]}"#), format!("{at}.when[1]"), "allowed: all, errors, slow, sampled"),
            (with(r#"{"when": []}"#), format!("{at}.when"), "at least 1"),
            (with(r#"{"when": 1}"#), format!("{at}.when"), "a list"),
            (with(r#"{"slower_than": 0}"#), format!("{at}.slower_than"), "from 1"),
            (with(r#"{"json": 1}"#), format!("{at}.json"), "true, false, or an object"),
            (with(r#"{"json": {"lines": 1}}"#), format!("{at}.json.lines"), "no such key"),
            (with(r#"{"json": {"lines_per_second": 0}}"#), format!("{at}.json.lines_per_second"), "from 1"),
            (with(r#"{"filter_state": "yes"}"#), format!("{at}.filter_state"), "true or false"),
            (with(r#"{"max_pending_bytes": 1}"#), format!("{at}.max_pending_bytes"), "from 65536"),
            (with(r#"{"errors": true}"#), format!("{at}.errors"), "no such key"),
            (section(r#"{"when": "errors"}"#), at.to_owned(), "without any of them nothing is written"),
            (section("{}"), at.to_owned(), "without any of them nothing is written"),
        ];
        for (text, path, words) in cases {
            rejected_for(&text, &path, words, words);
        }
    }
}
