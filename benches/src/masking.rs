//! What masking costs, in ns for each byte of text: beside the `regex` crate's set of patterns for the same secrets
//! (which finds them and neither verifies nor replaces), and beside what there is without masking, the check that a
//! text is UTF-8. Compiled for this machine, where `regex` has its vector instructions; not as wasm.

use std::hint::black_box;
use std::time::{Duration, Instant};

use meshspan_core::config::{InstrumentationConfig, MaskingConfig};
use meshspan_core::masking::Masker;

use crate::progress::Progress;

/// Texts as a span has them: a name, and the text.
fn texts() -> Vec<(&'static str, String)> {
    let path = "/api/v1/tenants/blue/orders/7d1f2c/items";
    vec![
        ("short path", path.to_owned()),
        (
            "user agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0".to_owned(),
        ),
        ("query", "page=2&size=50&sort=-created&filter=open&from=1700000000&lang=zh-CN".to_owned()),
        ("id", "550e8400-e29b-41d4-a716-446655440000".to_owned()),
        ("long number", "orderNo=2026112312345678&ts=1700000000123".to_owned()),
        ("encoded query", "q=%E5%8C%97%E4%BA%AC%20%E6%9C%9D%E9%98%B3&name=%7B%22a%22%3A1%7D".to_owned()),
        ("tracestate", "vendor=abc123,other@system=opaque:value,third=1".to_owned()),
        ("a mobile number", format!("{path}?tel=13812345678")),
        ("an encoded address", format!("{path}?mail=alice%40example.com")),
        ("1 KiB, nothing", path.repeat(26)),
        ("16 KiB, nothing", path.repeat(410)),
        ("16 KiB of near misses", "1700000000123 a@b bearer x ".repeat(607)),
        ("16 KiB of mobile numbers", "tel=13812345678;".repeat(1_024)),
    ]
}

/// What was found of one text.
pub(crate) struct Row {
    text: &'static str,
    bytes: usize,
    /// In ns for each byte.
    none: f64,
    masking: f64,
    regex: f64,
}

/// The columns' heads.
pub(crate) const HEADER: [&str; 5] = ["text", "bytes", "none, ns/byte", "masking, ns/byte", "`RegexSet`, ns/byte"];

impl Row {
    /// The cells.
    pub(crate) fn cells(&self) -> [String; 5] {
        [
            self.text.to_owned(),
            self.bytes.to_string(),
            format!("{:.2}", self.none),
            format!("{:.2}", self.masking),
            format!("{:.2}", self.regex),
        ]
    }
}

/// Measures each text in three ways, each for so long.
pub(crate) fn measure(each: Duration) -> anyhow::Result<Vec<Row>> {
    let masker = Masker::new(&MaskingConfig::default(), &InstrumentationConfig::default());
    let set = meshspan_bench_regex::set()?;
    let known = masker.value("key", b"tel=13812345678");
    anyhow::ensure!(known.is_some_and(|text| text.as_str() == "tel=138****5678"), "nothing is masked");
    let texts = texts();
    let mut progress = Progress::of("texts to mask", texts.len());
    let mut rows = Vec::new();
    for (name, text) in texts {
        let bytes = text.as_bytes();
        #[allow(clippy::cast_precision_loss, reason = "short texts")]
        let per_byte = |ns: f64| ns / bytes.len() as f64;
        rows.push(Row {
            text: name,
            bytes: bytes.len(),
            none: per_byte(time(each, || drop(black_box(String::from_utf8_lossy(black_box(bytes)))))),
            masking: per_byte(time(each, || drop(black_box(masker.value("key", black_box(bytes)))))),
            regex: per_byte(time(each, || drop(black_box(set.matches(black_box(&text)))))),
        });
        drop(masker.counts().take());
        progress.step("");
    }
    Ok(rows)
}

/// The best of several rounds, in ns for one call: what the machine can do when nobody disturbs it.
fn time(each: Duration, mut act: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    let mut repeat = 1_u32;
    let begun = Instant::now();
    while begun.elapsed() < each {
        let start = Instant::now();
        (0..repeat).for_each(|_| act());
        let spent = start.elapsed();
        if spent < Duration::from_millis(2) {
            repeat = repeat.saturating_mul(2);
        } else {
            best = best.min(spent.as_secs_f64() * 1e9 / f64::from(repeat));
        }
    }
    best
}
