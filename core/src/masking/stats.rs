//! What was masked, and in mode `report` what would have been, as series for the host: by detector, and by attribute key.
//! Never the value.

use super::counts::MaskedBy;
use super::masker::Masker;
use crate::stats::{self, Series, StatKind, StatsHost};

/// One series for each detector that found something; in mode `report` one for each attribute as well. Both are
/// configured or built in, so no traffic adds a series.
#[derive(Clone, Debug, Default)]
pub(crate) struct MaskingStats {
    series: Vec<((MaskedBy, Box<str>), Series)>,
}

impl MaskingStats {
    /// Takes what the masker has counted and tells the host. How many series it refused.
    pub(crate) fn flush(&mut self, masker: &Masker, host: &mut impl StatsHost) -> usize {
        for (by, attribute, count) in masker.counts().take() {
            let key = (by, attribute);
            if let Some((_, series)) = self.series.iter_mut().find(|(known, _)| *known == key) {
                series.add(count);
            } else {
                let mut series = Series::new(StatKind::Counter, name(masker.name_of(by), &key.1));
                series.add(count);
                self.series.push((key, series));
            }
        }
        self.series.iter_mut().map(|(_, series)| series.flush(host)).filter(|told| !told).count()
    }
}

fn name(detector: &str, attribute: &str) -> String {
    if attribute.is_empty() {
        stats::name("masked_total", &[("detector", detector)])
    } else {
        stats::name("would_mask_total", &[("detector", detector), ("attribute", attribute)])
    }
}
