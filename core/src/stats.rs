//! Series of numbers that the host shows beside its own: counters, gauges and histograms, with labels.
//!
//! A series keeps what it stands at and what the host was last told. The host is told differences, so that several
//! workers add up to one number, and what it refuses is simply told the next time.

/// How several workers' numbers become one, and what changes of it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatKind {
    /// Grows only; all workers' growth together.
    Counter,
    /// Goes up and down; the sum of all workers' levels.
    SummedGauge,
    /// Whatever a worker said last.
    LastGauge,
    /// The distribution of all workers' values.
    Histogram,
}

/// What the host is told of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatChange {
    /// So much more, or less for a [`StatKind::SummedGauge`]. Never 0.
    Add(i64),
    /// The level of a [`StatKind::LastGauge`], or one value of a [`StatKind::Histogram`].
    Record(u64),
}

/// Where series are shown.
pub trait StatsHost {
    /// The host's number for the series of this name; `None` when it does not take it.
    fn define(&mut self, kind: StatKind, name: &str) -> Option<u32>;

    /// Tells a change of the series with this number; `false` when it was not taken.
    fn tell(&mut self, id: u32, change: StatChange) -> bool;
}

/// One series, but for its name.
#[derive(Clone, Debug)]
pub struct Stat {
    kind: StatKind,
    value: u64,
    /// Below 0 while what others took back of it stands to be told again.
    told: i64,
    /// Whether [`value`](Self::value) of a [`StatKind::LastGauge`] was set since it was told.
    is_fresh: bool,
    /// Values of a histogram that were not told.
    recorded: Vec<u64>,
    /// How many values of a histogram were not kept.
    lost: u64,
    /// The host's number.
    id: Option<u32>,
}

/// How many values of a histogram wait for the host. Whoever records more in short time tells them before it comes to
/// that; beyond this a host is not listening, and the newest values are not kept, but counted.
const MOST_RECORDED: usize = 256;

impl Stat {
    /// At 0.
    pub const fn new(kind: StatKind) -> Self {
        Self { kind, value: 0, told: 0, is_fresh: false, recorded: Vec::new(), lost: 0, id: None }
    }

    /// So much more.
    pub fn add(&mut self, by: u64) {
        self.value = self.value.saturating_add(by);
    }

    /// So much more or less. A level does not go below 0.
    pub fn shift(&mut self, by: i64) {
        self.value = self.value.saturating_add_signed(by);
    }

    /// The level of a gauge.
    pub fn set(&mut self, level: u64) {
        self.value = level;
        self.is_fresh = true;
    }

    /// One value of a histogram.
    pub fn record(&mut self, value: u64) {
        if self.recorded.len() < MOST_RECORDED {
            self.recorded.push(value);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// How many values of a histogram found no room since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    /// What it stands at.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// How much of the host's sum is from here.
    pub fn told(&self) -> u64 {
        u64::try_from(self.told).unwrap_or(0)
    }

    /// So much of the sum that the host has is nobody's any more: the next flush takes it away.
    pub fn take_over(&mut self, level: u64) {
        self.told = self.told.saturating_add_unsigned(level);
    }

    /// So much of what the host was told has been taken away by another: the next flush tells it again.
    pub fn tell_again(&mut self, level: u64) {
        self.told = self.told.saturating_sub_unsigned(level);
    }

    /// Tells the host what it does not know yet. The first time, the series is defined there under `name`, so that it
    /// can be read as 0. `false` when the host refused something, which is told again the next time.
    pub fn flush(&mut self, host: &mut impl StatsHost, name: impl FnOnce() -> String) -> bool {
        let Some(id) = self.id.or_else(|| host.define(self.kind, &name())) else { return false };
        self.id = Some(id);
        match self.kind {
            StatKind::Counter | StatKind::SummedGauge => {
                let change = i64::try_from(i128::from(self.value).saturating_sub(i128::from(self.told)));
                let change = change.unwrap_or(i64::MAX);
                if change != 0 && !host.tell(id, StatChange::Add(change)) {
                    return false;
                }
                self.told = self.told.saturating_add(change);
            }
            StatKind::LastGauge => {
                if self.is_fresh && !host.tell(id, StatChange::Record(self.value)) {
                    return false;
                }
                self.is_fresh = false;
            }
            StatKind::Histogram => {
                while let Some(value) = self.recorded.last() {
                    if !host.tell(id, StatChange::Record(*value)) {
                        return false;
                    }
                    self.recorded.pop();
                }
            }
        }
        true
    }
}

/// One series.
#[derive(Clone, Debug)]
pub struct Series {
    name: String,
    stat: Stat,
}

impl Series {
    /// A series at 0. `name` is spelled as Prometheus has it and begins with `meshspan_`; see [`name`].
    pub const fn new(kind: StatKind, name: String) -> Self {
        Self { name, stat: Stat::new(kind) }
    }

    /// So much more.
    pub fn add(&mut self, by: u64) {
        self.stat.add(by);
    }

    /// The level of a gauge.
    pub fn set(&mut self, level: u64) {
        self.stat.set(level);
    }

    /// One value of a histogram.
    pub fn record(&mut self, value: u64) {
        self.stat.record(value);
    }

    /// How many values of a histogram found no room since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        self.stat.take_lost()
    }

    /// As [`Stat::take_over`].
    pub fn take_over(&mut self, level: u64) {
        self.stat.take_over(level);
    }

    /// As [`Stat::tell_again`].
    pub fn tell_again(&mut self, level: u64) {
        self.stat.tell_again(level);
    }

    /// What it stands at.
    pub const fn value(&self) -> u64 {
        self.stat.value()
    }

    /// Tells the host what it does not know yet; see [`Stat::flush`].
    pub fn flush(&mut self, host: &mut impl StatsHost) -> bool {
        self.stat.flush(host, || self.name.clone())
    }
}

/// The name of a series with labels, as Envoy's `stats_tags` and Istio's `extraStatTags` take it apart: each label
/// stands in it as `KEY=.=VALUE;.;`, and the name without them is `meshspan_` with `name` behind. A value's `;.;` would
/// end it early, and its `KEY=.=` begin another label, so `;` and `=` in a value become `_`.
pub fn name(name: &str, labels: &[(&str, &str)]) -> String {
    let mut text = String::from("meshspan_");
    for (key, value) in labels {
        text.push_str(key);
        put_value(&mut text, value);
    }
    text.push_str(name);
    text
}

/// A label's value, between its key and what follows.
pub(crate) fn put_value(text: &mut String, value: &str) {
    text.push_str("=.=");
    text.extend(value.chars().map(|c| if matches!(c, ';' | '=') || c.is_control() { '_' } else { c }));
    text.push_str(";.;");
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[derive(Default)]
    struct Host {
        told: Vec<StatChange>,
        refuses: bool,
    }

    impl StatsHost for Host {
        fn define(&mut self, _: StatKind, _: &str) -> Option<u32> {
            (!self.refuses).then_some(7)
        }

        fn tell(&mut self, id: u32, change: StatChange) -> bool {
            assert_eq!(id, 7);
            if !self.refuses {
                self.told.push(change);
            }
            !self.refuses
        }
    }

    fn told(series: &mut Series) -> Vec<StatChange> {
        let mut host = Host::default();
        assert!(series.flush(&mut host));
        host.told
    }

    #[test]
    fn differences_are_told_once() {
        let mut counter = Series::new(StatKind::Counter, name("a_total", &[]));
        assert_eq!(told(&mut counter), [], "defined, and 0");
        counter.add(2);
        counter.add(1);
        assert_eq!(told(&mut counter), [StatChange::Add(3)]);
        assert_eq!(told(&mut counter), []);
        let mut level = Series::new(StatKind::SummedGauge, name("b", &[]));
        level.set(5);
        assert_eq!(told(&mut level), [StatChange::Add(5)]);
        level.set(2);
        assert_eq!(told(&mut level), [StatChange::Add(-3)]);
        level.set(2);
        assert_eq!(told(&mut level), []);
        let mut last = Series::new(StatKind::LastGauge, name("c", &[]));
        assert_eq!(told(&mut last), [], "nothing was said yet");
        for _ in 0..2 {
            last.set(1);
            assert_eq!(told(&mut last), [StatChange::Record(1)], "another worker may have said otherwise meanwhile");
        }
        let mut histogram = Series::new(StatKind::Histogram, name("d", &[]));
        histogram.record(7);
        histogram.record(9);
        assert_eq!(told(&mut histogram).len(), 2);
        assert_eq!(told(&mut histogram), []);
    }

    #[test]
    fn a_level_goes_up_and_down() {
        let mut host = Host::default();
        let mut level = Stat::new(StatKind::SummedGauge);
        for by in [1, 1, -1] {
            level.shift(by);
        }
        assert!(level.flush(&mut host, || "x".to_owned()));
        level.shift(-5);
        assert!(level.flush(&mut host, || panic!("it has its number")));
        assert_eq!(host.told, [StatChange::Add(1), StatChange::Add(-1)], "never below 0");
    }

    #[test]
    fn the_levels_of_others_can_be_taken_over() {
        let mut level = Series::new(StatKind::SummedGauge, name("b", &[]));
        level.set(5);
        told(&mut level);
        level.take_over(3);
        assert_eq!(told(&mut level), [StatChange::Add(-3)]);
        level.tell_again(5);
        assert_eq!(told(&mut level), [StatChange::Add(5)]);
        level.set(0);
        told(&mut level);
        level.tell_again(5);
        assert_eq!(told(&mut level), [StatChange::Add(5)], "taken away by another after it had gone down");
    }

    #[test]
    fn what_is_refused_is_told_again() {
        let mut refusing = Host { refuses: true, ..Host::default() };
        for kind in [StatKind::Counter, StatKind::SummedGauge, StatKind::LastGauge, StatKind::Histogram] {
            let mut series = Series::new(kind, "x".to_owned());
            let count = |series: &mut Series| match kind {
                StatKind::Counter => series.add(4),
                StatKind::Histogram => series.record(4),
                StatKind::SummedGauge | StatKind::LastGauge => series.set(4),
            };
            count(&mut series);
            assert!(!series.flush(&mut refusing), "no definition");
            series.stat.id = Some(7);
            assert!(!series.flush(&mut refusing), "no change");
            assert_eq!(told(&mut series).len(), 1, "{kind:?}");
        }
    }

    #[test]
    fn a_histogram_that_nobody_reads_stays_small() {
        let mut histogram = Series::new(StatKind::Histogram, name("d", &[]));
        (0..10_000).for_each(|value| histogram.record(value));
        assert_eq!(told(&mut histogram).len(), MOST_RECORDED);
        assert_eq!((histogram.take_lost(), histogram.take_lost()), (10_000 - 256, 0), "what found no room is counted");
    }

    #[test]
    fn labels_stand_in_the_name() {
        assert_eq!(name("a_total", &[]), "meshspan_a_total");
        assert_eq!(
            name("a_total", &[("signal", "traces"), ("exporter", "collector:4317")]),
            "meshspan_signal=.=traces;.;exporter=.=collector:4317;.;a_total"
        );
        assert_eq!(name("a", &[("x", "1;.;y=.=2\n")]), "meshspan_x=.=1_._y_._2_;.;a", "no value makes another label");
    }
}
