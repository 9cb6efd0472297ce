//! What each variant adds, as a picture: a bar to the median, and the 95 % interval as whiskers.

use std::fmt::Write as _;

use crate::proxy::Proxy;
use crate::results::{Figures, Results};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 76.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;

/// The picture as SVG; `None` where there is nothing to draw.
pub(crate) fn svg(results: &Results) -> Option<String> {
    let figures: Vec<_> =
        results.figures.iter().filter(|figures| figures.added.is_some() && !figures.variant.is_control()).collect();
    let most = figures.iter().filter_map(|figures| Some(figures.added.as_ref()?.interval.1)).fold(0.0, f64::max);
    if figures.is_empty() || most <= 0.0 {
        return None;
    }
    let step = step(most);
    let end = (most / step).ceil() * step;
    let scale = (WIDTH - LEFT - RIGHT) / end;
    #[allow(clippy::cast_precision_loss, reason = "a few rows")]
    let bottom = ROW.mul_add(figures.len() as f64, TOP);
    let height = bottom + 58.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#1f2933\">\n\
         <title>CPU time that each variant adds to a request</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let base = results.figures.first().map(|figures| figures.variant.name()).unwrap_or_default();
    label(&mut text, 16.0, 28.0, "start", "font-size=\"17\" font-weight=\"bold\"", &title(&base));
    let mut under = results.machine.to_string();
    if !results.doubts.is_empty() {
        under.push_str(" – INCONCLUSIVE");
    }
    label(&mut text, 16.0, 48.0, "start", "fill=\"#52606d\"", &under);
    let mut tick = 0.0;
    while tick <= end + step / 2.0 {
        let x = scale.mul_add(tick, LEFT);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#e4e7eb\"/>",
            TOP - 6.0
        );
        label(&mut text, x, bottom + 18.0, "middle", "fill=\"#52606d\"", &format!("{tick:.0}"));
        tick += step;
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let axis = "µs of CPU time a request; bar: median over the rounds, line: its 95 % interval";
    label(&mut text, middle, bottom + 42.0, "middle", "fill=\"#52606d\"", axis);
    let mut y = TOP;
    for figures in figures {
        bar(&mut text, figures, y, scale);
        y += ROW;
    }
    text.push_str("</svg>\n");
    Some(text)
}

fn title(base: &str) -> String {
    format!("CPU time that a request costs over “{base}”")
}

fn bar(text: &mut String, figures: &Figures, y: f64, scale: f64) {
    let Some(added) = &figures.added else { return };
    let (low, high) = added.interval;
    let place = |value: f64| scale.mul_add(value.max(0.0), LEFT);
    let (top, middle) = (y + (ROW - BAR) / 2.0, y + ROW / 2.0);
    label(text, LEFT - 10.0, middle + 4.5, "end", "", &figures.variant.name());
    let _ = writeln!(
        text,
        "<rect x=\"{LEFT:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR:.1}\" fill=\"{}\"/>",
        place(added.median) - LEFT,
        colour(figures.variant.proxy)
    );
    let (from, to) = (place(low), place(high));
    let _ = writeln!(
        text,
        "<path d=\"M{from:.1} {middle:.1}H{to:.1}M{from:.1} {:.1}v8M{to:.1} {:.1}v8\" stroke=\"#1f2933\" \
         stroke-width=\"1.5\" fill=\"none\"/>",
        middle - 4.0,
        middle - 4.0
    );
    label(text, to.max(place(added.median)) + 8.0, middle + 4.5, "start", "", &format!("{:.1}", added.median));
}

/// What belongs together looks alike.
const fn colour(proxy: Proxy) -> &'static str {
    match proxy {
        Proxy::Meshspan(_) | Proxy::Sampler(_) => "#d9822b",
        Proxy::Native { .. } | Proxy::Zipkin => "#5b8db8",
        _ => "#b0b8c1",
    }
}

fn label(text: &mut String, x: f64, y: f64, anchor: &str, more: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let space = if more.is_empty() { "" } else { " " };
    let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{space}{more}>{words}</text>");
}

/// The distance of two lines of the grid: 1, 2 or 5 times a power of ten, so that there are at most ten.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 10.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| most / step <= 10.0).unwrap_or(most)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_few_round_lines() {
        for (most, expected) in [(46.3, 5.0), (8.7, 1.0), (100.0, 10.0), (101.0, 20.0), (420.0, 50.0)] {
            assert_eq!(step(most), expected, "{most}");
        }
    }

    #[test]
    fn words_are_not_markup() {
        let mut text = String::new();
        label(&mut text, 1.0, 2.0, "end", "", "a < b & c");
        assert_eq!(text, "<text x=\"1.0\" y=\"2.0\" text-anchor=\"end\">a &lt; b &amp; c</text>\n");
    }
}
