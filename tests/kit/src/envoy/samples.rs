//! What Envoy shows on `/stats/prometheus`, as Prometheus reads it.

use std::collections::BTreeMap;

/// One line: a series at the moment of the reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name; for a histogram with `_bucket`, `_sum` or `_count` behind.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a series that counts things.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the filter's values are integers")]
    pub fn count(&self) -> u64 {
        self.value as u64
    }
}

/// All lines of one reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// Reads Prometheus' text format (exposition format 0.0.4), without its comments. A line that is not of it is left
    /// out: Envoy's page is Envoy's matter, except for what a test asks for.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(parse_line).collect())
    }

    /// The series of this name that have all these labels.
    pub fn of<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The sum of the series of this name that have all these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.of(name, labels).map(Sample::count).sum()
    }

    /// The same sum, apart for each value of the label `by` (empty where a series has none); only what is not zero.
    pub fn sums_by(&self, name: &str, labels: &[(&str, &str)], by: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(name, labels).filter(|sample| sample.count() > 0) {
            *sums.entry(sample.labels.get(by).cloned().unwrap_or_default()).or_insert(0) += sample.count();
        }
        sums
    }
}

fn parse_line(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.trim_end().rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// `key="value",…`, where `\\`, `\"` and `\n` are escaped in values.
fn parse_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (end, '"') => break end,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        text = rest[end + 1..].trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let samples = Samples::parse(
            "# TYPE a_total counter\na_total{} 3\na_total{x=\"1\",y=\"a\\\"b,c=}\\\\\"} 4\nb 0.5\n\nnot a line\n",
        );
        assert_eq!(samples.0.len(), 3);
        assert_eq!(samples.sum("a_total", &[]), 7);
        assert_eq!(samples.sum("a_total", &[("x", "1"), ("y", "a\"b,c=}\\")]), 4);
        assert_eq!(samples.sum("a_total", &[("x", "2")]), 0);
        let by = samples.sums_by("a_total", &[], "x");
        assert_eq!(by, BTreeMap::from([(String::new(), 3), ("1".to_owned(), 4)]));
        assert_eq!(samples.of("b", &[]).map(|sample| sample.value).collect::<Vec<_>>(), [0.5]);
    }
}
