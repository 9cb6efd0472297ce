//! Where measurements go: for each reader of the configuration, the series of its streams.

use super::attributes::AttributeSet;
use super::encode::Encoder;
use super::exemplar::{Exemplar, Number};
use super::stream::{Measurement, Stream};
use super::{Instrument, InstrumentKind};
use crate::config::{ExemplarFilter, MeterConfig};

/// All that was measured and is not forgotten. A reader's series are its own: what one has collected, another has not.
#[derive(Clone, Debug)]
pub struct MetricStore {
    readers: Vec<ReaderStreams>,
    filter: ExemplarFilter,
    chance: Chance,
    has_begun: bool,
    /// What overflow series had taken when it was last asked.
    told_overflow: u64,
}

/// The streams of one reader, by the place of their instruments in [`Instrument::ALL`].
#[derive(Clone, Debug)]
struct ReaderStreams(Vec<Vec<Stream>>);

/// Encoded data points, as a reader hands them on: one metric with some of its data points.
#[derive(Clone, Copy, Debug)]
pub struct EncodedMetric<'a> {
    /// A `ScopeMetrics.metrics` field.
    pub bytes: &'a [u8],
    /// How many data points are in it.
    pub points: u32,
}

impl MetricStore {
    /// From checked configuration. `seed` is random: it chooses among exemplars.
    #[inline]
    pub fn new(config: &MeterConfig, seed: u64) -> Self {
        let readers = config.readers.iter().map(|reader| {
            let streams = |instrument: &Instrument| Stream::of(*instrument, reader, &config.views);
            ReaderStreams(Instrument::ALL.iter().map(streams).collect())
        });
        Self {
            readers: readers.collect(),
            filter: config.exemplar_filter,
            chance: Chance(seed),
            has_begun: false,
            told_overflow: 0,
        }
    }

    /// Measuring begins at `now` (ns since the Unix epoch): what is told was measured from then on. The first call counts.
    pub fn begin(&mut self, now: u64) {
        if !core::mem::replace(&mut self.has_begun, true) {
            self.readers.iter_mut().flat_map(|reader| &mut reader.0).flatten().for_each(|stream| stream.begin(now));
        }
    }

    /// Whether anything becomes of an instrument's measurements. Where nothing does, measuring can be spared.
    pub fn takes(&self, instrument: Instrument) -> bool {
        self.readers.iter().any(|reader| reader.0.get(instrument as usize).is_some_and(|streams| !streams.is_empty()))
    }

    /// Adds to the sum of a counter or an up-down counter. What would take from a counter is left out.
    pub fn add(&mut self, instrument: Instrument, attributes: &AttributeSet<'_>, by: i64, exemplar: Option<&Exemplar>) {
        if by >= 0 || instrument.definition().kind == InstrumentKind::UpDownCounter {
            self.measure(instrument, attributes, Number::Int(by), exemplar);
        }
    }

    /// Records a value of a histogram, in the instrument's unit. One that is negative or not finite is left out.
    pub fn record(
        &mut self,
        instrument: Instrument,
        attributes: &AttributeSet<'_>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        if value.is_finite() && value >= 0.0 {
            self.measure(instrument, attributes, Number::Double(value), exemplar);
        }
    }

    fn measure(
        &mut self,
        instrument: Instrument,
        attributes: &AttributeSet<'_>,
        value: Number,
        exemplar: Option<&Exemplar>,
    ) {
        let exemplar = exemplar.filter(|exemplar| match self.filter {
            ExemplarFilter::TraceBased => exemplar.sampled,
            ExemplarFilter::AlwaysOn => true,
            ExemplarFilter::AlwaysOff => false,
        });
        let chance = &mut self.chance;
        for reader in &mut self.readers {
            for stream in reader.0.get_mut(instrument as usize).into_iter().flatten() {
                stream.measure(&Measurement { attributes, value, exemplar }, || chance.next());
            }
        }
    }

    /// Hands what the reader with this index has to tell at `now` to `sink`, in pieces of about `most_bytes` and at
    /// most `most_points` each. What is told as a difference begins anew with it.
    #[inline]
    pub fn collect(
        &mut self,
        reader: usize,
        now: u64,
        most_bytes: usize,
        most_points: u32,
        mut sink: impl FnMut(EncodedMetric<'_>),
    ) {
        let mut encoder = Encoder::new(most_bytes, most_points);
        for stream in self.readers.get_mut(reader).into_iter().flat_map(|reader| &mut reader.0).flatten() {
            stream.collect(now, &mut encoder, &mut sink);
        }
    }

    /// Whether all that the reader with this index tells is told again, and more, the next time.
    pub fn is_cumulative(&self, reader: usize) -> bool {
        self.readers.get(reader).is_some_and(|reader| reader.0.iter().flatten().all(Stream::is_cumulative))
    }

    /// How many measurements went to overflow series since this was last asked.
    pub fn take_overflow(&mut self) -> u64 {
        let streams = self.readers.iter().flat_map(|reader| reader.0.iter().flatten());
        let overflow = streams.fold(0_u64, |sum, stream| sum.saturating_add(stream.overflowed()));
        let new = overflow.saturating_sub(self.told_overflow);
        self.told_overflow = overflow;
        new
    }

    /// How many series there are, in all readers together.
    pub fn series(&self) -> usize {
        self.readers.iter().flat_map(|reader| reader.0.iter().flatten()).map(Stream::series).sum()
    }
}

/// Numbers that choose among exemplars (`SplitMix64`): no secret, and cheap.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Nanoseconds as seconds, for the instruments whose unit is `s`.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds above 2^53 do not matter")]
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
