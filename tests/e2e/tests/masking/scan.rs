//! The search for secrets in everything that left.

use std::collections::BTreeSet;
use std::path::Path;

use meshspan_e2e::{DEADLINE, Mesh};
use meshspan_kit::wait;

/// A text, and what it says percent-decoded once, twice and three times.
fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    for _ in 0..3 {
        let decoded = decode(readings.last().unwrap());
        if readings.last() == Some(&decoded) {
            break;
        }
        readings.push(decoded);
    }
    readings
}

fn decode(text: &str) -> String {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The secrets that texts show.
pub(crate) fn shown<'a>(secrets: &'a [String], texts: &[String]) -> BTreeSet<&'a str> {
    let mut shown = BTreeSet::new();
    for text in texts {
        for reading in readings(text) {
            shown.extend(secrets.iter().map(String::as_str).filter(|secret| reading.contains(secret)));
        }
    }
    shown
}

/// Waits until every span is exported by two exporters and every log record by one, and gives all that left: requests of exporters, and statistics.
pub(crate) fn all_that_left(mesh: &Mesh) -> Vec<String> {
    let exported = wait::until(DEADLINE * 6, "the exports", || {
        let samples = mesh.samples();
        let exported = |signal| samples.sum("meshspan_export_exported_total", &[("signal", signal)]);
        let (spans, streams) =
            (samples.sum("meshspan_spans_started_total", &[]), samples.sum("meshspan_streams_total", &[]));
        (spans > 0 && exported("traces") >= spans * 2 && exported("logs") >= streams).then_some(())
    });
    assert!(exported.is_ok(), "{:#?}", mesh.counters());
    let mut all = vec![];
    for page in ["/stats/prometheus", "/stats?histogram_buckets=cumulative"] {
        all.push(mesh.envoy.admin_get(page).unwrap().text());
    }
    for request in mesh.receiver.requests() {
        assert_eq!(request.error, None);
        // As protobuf, texts stand in it as they are: also those that came as JSON.
        let body = request.export.map(|export| export.encode_to_vec()).unwrap_or_default();
        all.push(format!("{:?} {}", request.headers, String::from_utf8_lossy(&body)));
    }
    all
}

/// Ends Envoy, and gives what it has written to its own log and to the access logs, to the last line.
pub(crate) fn all_that_was_logged(mesh: Mesh, folder: &Path) -> Vec<(String, String)> {
    mesh.stop();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    logs.map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        (name, String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned())
    })
    .collect()
}
