//! Rules as values, and as the YAML that Prometheus reads.

use std::fmt::Write as _;

/// Rules that are evaluated one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique in its file.
    pub name: String,
    /// In the order of their evaluation.
    pub rules: Vec<Rule>,
}

/// One rule. Labels and annotations are written in the order in which they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A series made of others.
    Record {
        /// The name of the new series.
        name: String,
        /// `PromQL`.
        expression: String,
        /// Added to the series' own.
        labels: Vec<(&'static str, String)>,
    },
    /// An alert, which each series of the expression's result raises.
    Alert {
        /// `alertname`.
        name: &'static str,
        /// `PromQL`.
        expression: String,
        /// How long it must hold before it fires, as Prometheus writes it.
        wait: Option<String>,
        /// Added to the series' own; Prometheus expands templates in them.
        labels: Vec<(&'static str, String)>,
        /// For people; Prometheus expands templates in them.
        annotations: Vec<(&'static str, String)>,
    },
}

/// The groups as a file of rules, below a comment of one line.
pub fn yaml(comment: &str, groups: &[Group]) -> String {
    let mut text = format!("# {comment}\ngroups:\n");
    for group in groups {
        let _ = writeln!(text, "- name: {}\n  rules:", quoted(&group.name));
        for rule in &group.rules {
            write_rule(&mut text, rule);
        }
    }
    text
}

fn write_rule(text: &mut String, rule: &Rule) {
    match rule {
        Rule::Record { name, expression, labels } => {
            let _ = writeln!(text, "  - record: {name}");
            write_expression(text, expression);
            write_map(text, "labels", labels);
        }
        Rule::Alert { name, expression, wait, labels, annotations } => {
            let _ = writeln!(text, "  - alert: {name}");
            write_expression(text, expression);
            if let Some(wait) = wait {
                let _ = writeln!(text, "    for: {wait}");
            }
            write_map(text, "labels", labels);
            write_map(text, "annotations", annotations);
        }
    }
}

fn write_expression(text: &mut String, expression: &str) {
    text.push_str("    expr: |-\n");
    for line in expression.lines() {
        let _ = writeln!(text, "      {line}");
    }
}

fn write_map(text: &mut String, name: &str, entries: &[(&'static str, String)]) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(text, "    {name}:");
    for (key, value) in entries {
        let _ = writeln!(text, "      {key}: {}", quoted(value));
    }
}

/// A scalar in single quotes, in which YAML knows no escape but the doubled quote. Control characters were refused when
/// the file was read.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Text that Prometheus would expand as a template, made to stand for itself.
pub(crate) fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// A string in `PromQL`.
pub(crate) fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_what_they_are() {
        assert_eq!(quoted("it's: {a}"), "'it''s: {a}'");
        assert_eq!(literal("/a/{{x}}/{y}"), "/a/{{ \"{{\" }}x}}/{y}");
        assert_eq!(string(r#"a"b\c"#), r#""a\"b\\c""#);
    }

    #[test]
    fn a_group_is_written_as_prometheus_reads_it() {
        let record = Rule::Record {
            name: "a:b".to_owned(),
            expression: "sum(\n  x\n)".to_owned(),
            labels: vec![("service", "it's".to_owned())],
        };
        let alert = Rule::Alert {
            name: "A",
            expression: "x > 1".to_owned(),
            wait: Some("10m".to_owned()),
            labels: Vec::new(),
            annotations: vec![("summary", "bad".to_owned())],
        };
        let group = Group { name: "g".to_owned(), rules: vec![record, alert] };
        let expected = "# made\ngroups:\n- name: 'g'\n  rules:\n  - record: a:b\n    expr: |-\n      sum(\n        x\n      )\n    \
                        labels:\n      service: 'it''s'\n  - alert: A\n    expr: |-\n      x > 1\n    for: 10m\n    \
                        annotations:\n      summary: 'bad'\n";
        assert_eq!(yaml("made", &[group]), expected);
    }
}
