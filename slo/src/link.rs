//! Links from an alert to the traces of the requests that raised it.

use std::fmt::Write as _;

use serde_yaml_ng::Value;

use crate::file::{Protocol, Reader, listed, shown};

/// Where traces are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceLink {
    /// Jaeger's own page, by its address.
    Jaeger(String),
    /// Grafana's Explore page, with a data source of type Tempo (or one that reads `TraceQL`), by its uid.
    Grafana {
        /// Grafana's address.
        url: String,
        /// The data source's uid.
        datasource: String,
    },
    /// Any other page: `{service}`, `{route}` and `{min_duration}` (such as `250ms`, or nothing) are replaced,
    /// percent-encoded.
    Template(String),
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    pub(crate) service: &'a str,
    pub(crate) route: Option<&'a str>,
    pub(crate) protocol: Protocol,
    /// Spans that took longer than so many milliseconds; without it those that failed.
    pub(crate) slower_than: Option<u32>,
}

/// How a service is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    /// As it stands: percent-encoded.
    Percent,
    /// A template that Prometheus expands, when the service is the alert's own label: left alone, as it encodes itself.
    Template,
}

impl TraceLink {
    /// The address that finds them.
    pub(crate) fn to(&self, search: &Search<'_>, encoding: Encoding) -> String {
        let service = match encoding {
            Encoding::Percent => percent_encoded(search.service),
            Encoding::Template => search.service.to_owned(),
        };
        let minimum = search.slower_than.map(|edge| format!("{edge}ms"));
        match self {
            Self::Jaeger(url) => {
                let mut tags: Vec<String> = Vec::new();
                if search.slower_than.is_none() {
                    tags.push("\"error\":\"true\"".to_owned());
                }
                if let Some(route) = search.route {
                    tags.push(format!("\"{}\":{}", search.protocol.route_attribute(), json_string(route)));
                }
                let mut link = format!("{url}/search?service={service}&lookback=1h&limit=20");
                if !tags.is_empty() {
                    let _ = write!(link, "&tags={}", percent_encoded(&format!("{{{}}}", tags.join(","))));
                }
                if let Some(minimum) = minimum {
                    let _ = write!(link, "&minDuration={minimum}");
                }
                link
            }
            Self::Grafana { url, datasource } => {
                // Stands for the template in what is encoded as a whole; no name contains it.
                const PLACE: &str = "\u{1}";
                let name = match encoding {
                    Encoding::Percent => search.service,
                    Encoding::Template => PLACE,
                };
                let mut conditions = vec![format!("resource.service.name={}", json_string(name))];
                if let Some(route) = search.route {
                    conditions.push(format!("span.{}={}", search.protocol.route_attribute(), json_string(route)));
                }
                conditions.push(minimum.map_or("status=error".to_owned(), |minimum| format!("duration>{minimum}")));
                let query = json_string(&format!("{{{}}}", conditions.join(" && ")));
                let source = json_string(datasource);
                let panes = format!(
                    "{{\"a\":{{\"datasource\":{source},\"queries\":[{{\"refId\":\"A\",\"datasource\":{{\"type\":\"tempo\",\
                     \"uid\":{source}}},\"queryType\":\"traceql\",\"query\":{query}}}],\
                     \"range\":{{\"from\":\"now-1h\",\"to\":\"now\"}}}}}}"
                );
                let panes = percent_encoded(&panes).replace(&percent_encoded(PLACE), &service);
                format!("{url}/explore?schemaVersion=1&panes={panes}")
            }
            Self::Template(template) => template
                .replace("{service}", &service)
                .replace("{route}", &percent_encoded(search.route.unwrap_or_default()))
                .replace("{min_duration}", &minimum.unwrap_or_default()),
        }
    }
}

/// Reads `trace_link`.
pub(crate) fn read(reader: &mut Reader, path: &str, value: &Value) -> Option<TraceLink> {
    const KINDS: [&str; 3] = ["jaeger", "grafana", "template"];
    let map = reader.map(path, value, &KINDS)?;
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| map.contains_key(kind)).collect();
    let [kind] = given.as_slice() else {
        let have = if given.is_empty() { "nothing".to_owned() } else { listed(&given) };
        return reader.wrong(path, format!("{have} stands here; it must be one of {}", listed(&KINDS)));
    };
    let at = format!("{path}.{kind}");
    let value = map.get(kind)?;
    match *kind {
        "jaeger" => address(reader, &at, value).map(TraceLink::Jaeger),
        "grafana" => {
            let map = reader.map(&at, value, &["url", "datasource"])?;
            let url = address(reader, &format!("{at}.url"), map.get("url").unwrap_or(&Value::Null));
            let datasource = reader.text(&format!("{at}.datasource"), map.get("datasource").unwrap_or(&Value::Null));
            Some(TraceLink::Grafana { url: url?, datasource: datasource? })
        }
        _ => address(reader, &at, value).map(TraceLink::Template),
    }
}

/// The address of a page, without a slash at its end.
fn address(reader: &mut Reader, path: &str, value: &Value) -> Option<String> {
    match value.as_str() {
        Some(url) if (url.starts_with("http://") || url.starts_with("https://")) && !url.contains(['\n', ' ']) => {
            Some(url.trim_end_matches('/').to_owned())
        }
        _ => reader.wrong(
            path,
            format!("{} stands here; it must be an address that begins with http:// or https://", shown(value)),
        ),
    }
}

/// For use in a query of an address (RFC 3986, section 2.3: all but the unreserved characters).
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Control characters were refused when the file was read.
fn json_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
