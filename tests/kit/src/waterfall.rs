//! Received spans as a picture for a terminal: per trace a tree, each span with its service, kind, name, a bar on
//! the trace's time axis, its duration and how it ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::receiver::ReceivedSpan;

/// How the picture looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
    /// Width of the time axis, characters.
    pub bar_width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, bar_width: 32 }
    }
}

const LONGEST_NAME: usize = 40;
const SERVICE_COLOURS: [u8; 6] = [36, 35, 33, 34, 32, 96];
const RED: u8 = 31;
const DIM: u8 = 2;
const BOLD: u8 = 1;

/// Draws every trace among these spans, the one that began first on top.
pub fn render(spans: &[ReceivedSpan], style: Style) -> String {
    let mut traces: BTreeMap<String, Vec<&ReceivedSpan>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.trace_id()).or_default().push(span);
    }
    let mut traces: Vec<_> = traces.into_iter().collect();
    traces.sort_by_key(|(_, spans)| start_of(spans));
    let pictures: Vec<_> = traces.iter().map(|(id, spans)| render_trace(id, spans, style)).collect();
    pictures.join("\n")
}

fn render_trace(trace_id: &str, spans: &[&ReceivedSpan], style: Style) -> String {
    let rows = arrange(spans);
    let axis = Axis { start: start_of(spans), end: end_of(spans), width: style.bar_width.max(1) };
    let mut services: Vec<&str> = Vec::new();
    for row in &rows {
        if !services.contains(&row.span.service()) {
            services.push(row.span.service());
        }
    }
    let paint = |code: u8, text: &str| paint(style.colour, code, text);
    let mut picture = format!(
        "{}  {}, {}, {}\n",
        paint(BOLD, &format!("trace {trace_id}")),
        counted(spans.len(), "span"),
        counted(services.len(), "service"),
        duration(axis.end.saturating_sub(axis.start)),
    );

    let width = |of: &dyn Fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let tree_width = width(&|row| row.tree.chars().count() + shown(row.span.service()).chars().count());
    let kind_width = width(&|row| kind(row.span).len());
    let name_width = width(&|row| shown(row.span.name()).chars().count());
    for row in &rows {
        let span = row.span;
        let service = shown(span.service());
        let index = services.iter().position(|known| *known == span.service()).unwrap_or(0);
        let colour = SERVICE_COLOURS[index % SERVICE_COLOURS.len()];
        let failed = span.status() == StatusCode::Error;
        let padding = " ".repeat(tree_width - row.tree.chars().count() - service.chars().count());
        let bar = axis.bar(span.span.start_time_unix_nano, span.span.end_time_unix_nano);
        let _ = write!(
            picture,
            "  {}{}{padding}  {}  {}  |{}| {:>8}",
            paint(DIM, &row.tree),
            paint(colour, &service),
            paint(DIM, &format!("{:kind_width$}", kind(span))),
            format_args!("{:name_width$}", shown(span.name())),
            paint(if failed { RED } else { colour }, &bar),
            duration(u64::try_from(span.duration().as_nanos()).unwrap_or(u64::MAX)),
        );
        let outcome = outcome(span);
        if !outcome.is_empty() {
            let _ = write!(picture, "  {}", paint(if failed { RED } else { DIM }, &outcome));
        }
        for note in notes(row) {
            let _ = write!(picture, "  {}", paint(DIM, &format!("({note})")));
        }
        picture.push('\n');
    }
    picture
}

/// A span in its place.
struct Row<'a> {
    span: &'a ReceivedSpan,
    parent: Option<&'a ReceivedSpan>,
    /// The branches in front of it.
    tree: String,
}

/// Spans in the order of the picture: children below their parent, siblings by their start. A span whose parent
/// was not received stands at the top like a root, and so does one of a circle of parents.
fn arrange<'a>(spans: &[&'a ReceivedSpan]) -> Vec<Row<'a>> {
    let mut by_id: HashMap<&[u8], usize> = HashMap::new();
    for (index, span) in spans.iter().enumerate() {
        by_id.entry(&span.span.span_id).or_insert(index);
    }
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut tops = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        match by_id.get(span.span.parent_span_id.as_slice()) {
            Some(parent) if *parent != index => children.entry(*parent).or_default().push(index),
            _ => tops.push(index),
        }
    }
    let by_start = |indices: &mut Vec<usize>| indices.sort_by_key(|i| spans[*i].span.start_time_unix_nano);
    by_start(&mut tops);
    children.values_mut().for_each(by_start);

    let mut rows = Vec::new();
    let mut placed = HashSet::new();
    let mut everything: Vec<usize> = (0..spans.len()).collect();
    by_start(&mut everything);
    for top in tops.into_iter().chain(everything) {
        place(top, None, "", "", spans, &children, &mut placed, &mut rows);
    }
    rows
}

#[allow(clippy::too_many_arguments)] // The state of one recursion.
fn place<'a>(
    index: usize,
    parent: Option<usize>,
    branch: &str,
    below: &str,
    spans: &[&'a ReceivedSpan],
    children: &HashMap<usize, Vec<usize>>,
    placed: &mut HashSet<usize>,
    rows: &mut Vec<Row<'a>>,
) {
    if !placed.insert(index) {
        return;
    }
    rows.push(Row { span: spans[index], parent: parent.map(|p| spans[p]), tree: branch.to_owned() });
    let own: Vec<usize> = children.get(&index).into_iter().flatten().copied().collect();
    for (position, child) in own.iter().enumerate() {
        let last = position + 1 == own.len();
        let branch = format!("{below}{}", if last { "└ " } else { "├ " });
        let below = format!("{below}{}", if last { "  " } else { "│ " });
        place(*child, Some(index), &branch, &below, spans, children, placed, rows);
    }
}

/// The trace's time, mapped to characters.
struct Axis {
    start: u64,
    end: u64,
    width: usize,
}

impl Axis {
    /// A bar of at least one character; a span without length is drawn thin.
    fn bar(&self, start: u64, end: u64) -> String {
        let whole = u128::from(self.end.saturating_sub(self.start).max(1));
        let width = self.width as u128;
        let position = |time: u64| u128::from(time.saturating_sub(self.start)) * width;
        let from = usize::try_from(position(start) / whole).unwrap_or(0).min(self.width - 1);
        let to = usize::try_from(position(end).div_ceil(whole)).unwrap_or(0).clamp(from + 1, self.width);
        let mark = if end > start { "█" } else { "▏" };
        format!("{}{}{}", " ".repeat(from), mark.repeat(to - from), " ".repeat(self.width - to))
    }
}

fn start_of(spans: &[&ReceivedSpan]) -> u64 {
    spans.iter().map(|span| span.span.start_time_unix_nano).min().unwrap_or(0)
}

fn end_of(spans: &[&ReceivedSpan]) -> u64 {
    let ends = spans.iter().map(|span| span.span.end_time_unix_nano.max(span.span.start_time_unix_nano));
    ends.max().unwrap_or(0)
}

/// What is odd about a span.
fn notes(row: &Row) -> Vec<String> {
    let span = row.span;
    let mut notes = Vec::new();
    match (row.parent, span.parent_id()) {
        (None, Some(parent)) => notes.push(format!("parent {parent} not received")),
        (Some(parent), _) if span.span.start_time_unix_nano < parent.span.start_time_unix_nano => {
            let skew = parent.span.start_time_unix_nano - span.span.start_time_unix_nano;
            notes.push(format!("clocks differ: starts {} before its parent", duration(skew)));
        }
        _ => {}
    }
    if span.span.end_time_unix_nano < span.span.start_time_unix_nano {
        notes.push("ends before it starts".to_owned());
    }
    notes
}

/// How it ended, and what was asked beyond the path: there masking shows.
fn outcome(span: &ReceivedSpan) -> String {
    let mut parts = Vec::new();
    if span.status() == StatusCode::Error {
        parts.push("ERROR".to_owned());
    }
    // Of a call its own status says more than HTTP's, which is 200 whatever becomes of it.
    let call = span.text("rpc.response.status_code").map(shown);
    parts.extend(call.or_else(|| span.integer("http.response.status_code").map(|code| code.to_string())));
    if let Some(kind) = span.text("error.type").map(shown)
        && !parts.contains(&kind)
    {
        parts.push(kind);
    }
    if let Some(query) = span.text("url.query") {
        parts.push(shown(&format!("?{query}")));
    }
    parts.join(" ")
}

fn kind(span: &ReceivedSpan) -> &'static str {
    span.kind().as_str_name().trim_start_matches("SPAN_KIND_")
}

fn duration(nanoseconds: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // For people.
    let value = nanoseconds as f64;
    match nanoseconds {
        0 => "0".to_owned(),
        1..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.0} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// Text from traffic, fit for a terminal: no control characters, not too long.
fn shown(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.chars().count() <= LONGEST_NAME {
        return clean;
    }
    clean.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn paint(colour: bool, code: u8, text: &str) -> String {
    if colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind};

    use super::*;
    use crate::receiver::Protocol;

    const MS: u64 = 1_000_000;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    /// Times in milliseconds; parent 0 is none.
    fn span(service: &str, kind: SpanKind, name: &str, id: u8, parent: u8, from: u64, to: u64) -> ReceivedSpan {
        let service = attribute("service.name", Value::StringValue(service.to_owned()));
        ReceivedSpan {
            protocol: Protocol::Grpc,
            resource: Resource { attributes: vec![service], ..Resource::default() },
            resource_schema_url: String::new(),
            scope: opentelemetry_proto::tonic::common::v1::InstrumentationScope::default(),
            scope_schema_url: String::new(),
            span: Span {
                trace_id: vec![0xab; 16],
                span_id: vec![id; 8],
                parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
                name: name.to_owned(),
                kind: kind.into(),
                start_time_unix_nano: 1_000 * MS + from * MS,
                end_time_unix_nano: 1_000 * MS + to * MS,
                ..Span::default()
            },
        }
    }

    fn with_status(mut span: ReceivedSpan, code: i64, failed: bool) -> ReceivedSpan {
        span.span.attributes.push(attribute("http.response.status_code", Value::IntValue(code)));
        if failed {
            span.span.attributes.push(attribute("error.type", Value::StringValue(code.to_string())));
            span.span.status = Some(Status { code: StatusCode::Error.into(), message: String::new() });
        }
        span
    }

    fn picture(spans: &[ReceivedSpan]) -> String {
        render(spans, Style { colour: false, bar_width: 10 })
    }

    #[test]
    fn a_trace_is_a_tree_with_bars_on_one_axis() {
        let spans = [
            with_status(span("stock", SpanKind::Server, "GET /stock", 4, 3, 40, 60), 503, true),
            with_status(span("edge", SpanKind::Server, "GET /checkout", 1, 0, 0, 100), 200, false),
            with_status(span("shop", SpanKind::Client, "GET", 3, 2, 30, 70), 503, true),
            with_status(span("shop", SpanKind::Server, "GET /checkout", 2, 1, 10, 90), 200, false),
            with_status(span("shop", SpanKind::Client, "POST", 5, 2, 70, 80), 200, false),
        ];
        let expected = "\
trace abababababababababababababababab  5 spans, 3 services, 100.0 ms
  edge         SERVER  GET /checkout  |██████████| 100.0 ms  200
  └ shop       SERVER  GET /checkout  | ████████ |  80.0 ms  200
    ├ shop     CLIENT  GET            |   ████   |  40.0 ms  ERROR 503
    │ └ stock  SERVER  GET /stock     |    ██    |  20.0 ms  ERROR 503
    └ shop     CLIENT  POST           |       █  |  10.0 ms  200
";
        assert_eq!(picture(&spans), expected);
    }

    #[test]
    fn what_does_not_fit_together_is_said_and_drawn_all_the_same() {
        let cases = [
            (
                "a parent that nobody sent (here: the caller's own span)",
                vec![span("edge", SpanKind::Server, "GET", 1, 0xcd, 0, 10)],
                "  edge  SERVER  GET  |██████████|  10.0 ms  (parent cdcdcdcdcdcdcdcd not received)\n",
            ),
            (
                "a child whose clock is behind",
                vec![span("a", SpanKind::Client, "GET", 1, 0, 5, 10), span("b", SpanKind::Server, "GET", 2, 1, 0, 5)],
                "  a    CLIENT  GET  |     █████|   5.0 ms\n\
                 \x20 └ b  SERVER  GET  |█████     |   5.0 ms  (clocks differ: starts 5.0 ms before its parent)\n",
            ),
            (
                "no length at all",
                vec![span("a", SpanKind::Server, "GET", 1, 0, 0, 10), span("a", SpanKind::Client, "GET", 2, 1, 10, 10)],
                "  a    SERVER  GET  |██████████|  10.0 ms\n  └ a  CLIENT  GET  |         ▏|        0\n",
            ),
            (
                "only a span without length",
                vec![span("a", SpanKind::Server, "GET", 1, 0, 0, 0)],
                "  a  SERVER  GET  |▏         |        0\n",
            ),
            (
                "an end before the start",
                vec![span("a", SpanKind::Server, "GET", 1, 0, 10, 0)],
                "  a  SERVER  GET  |▏         |        0  (ends before it starts)\n",
            ),
            (
                "its own parent",
                vec![span("a", SpanKind::Server, "GET", 1, 1, 0, 10)],
                "  a  SERVER  GET  |██████████|  10.0 ms  (parent 0101010101010101 not received)\n",
            ),
            (
                "parents in a circle",
                vec![span("a", SpanKind::Server, "GET", 1, 2, 0, 10), span("b", SpanKind::Client, "GET", 2, 1, 0, 10)],
                "  a    SERVER  GET  |██████████|  10.0 ms  (parent 0202020202020202 not received)\n\
                 \x20 └ b  CLIENT  GET  |██████████|  10.0 ms\n",
            ),
            (
                "text that would command the terminal",
                vec![span("a", SpanKind::Server, "\x1b[2JGET", 1, 0, 0, 10)],
                "  a  SERVER  \u{fffd}[2JGET  |██████████|  10.0 ms\n",
            ),
        ];
        for (why, spans, expected) in cases {
            let picture = picture(&spans);
            let rows = picture.split_once('\n').map_or("", |(_, rows)| rows);
            assert_eq!(rows, expected, "{why}");
        }
    }

    #[test]
    fn traces_come_in_the_order_of_their_starts() {
        let mut late = span("late", SpanKind::Server, "GET", 1, 0, 50, 60);
        late.span.trace_id = vec![0x01; 16];
        let early = span("early", SpanKind::Server, "GET", 2, 0, 0, 10);
        let picture = picture(&[late, early]);
        let services: Vec<_> =
            picture.lines().filter(|l| l.starts_with("  ")).map(|l| l.trim().split(' ').next()).collect();
        assert_eq!(services, [Some("early"), Some("late")]);
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let spans = [with_status(span("a", SpanKind::Server, "GET", 1, 0, 0, 10), 500, true)];
        let coloured = render(&spans, Style { colour: true, bar_width: 10 });
        assert!(coloured.contains("\x1b[31mERROR 500\x1b[0m"), "{coloured:?}");
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        plain.push_str(rest);
        assert_eq!(plain, picture(&spans));
    }
}
