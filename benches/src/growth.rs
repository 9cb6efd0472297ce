//! How the added cost grows with headers, attributes and routes.

use crate::rounds::Measured;
use crate::statistics::Estimate;
use crate::variant::Variant;

/// One ratio, which is to be no more than its mark.
pub(crate) struct Growth {
    pub(crate) what: String,
    pub(crate) mark: f64,
    pub(crate) estimate: Estimate,
}

/// One variant's added cost over another's: what is compared, and the mark.
const FLAT: [(&str, Variant, Variant, f64); 3] = [
    (
        "added CPU with 50 header lines, against 5; 100 % sampled",
        Variant::with_lines(50, true),
        Variant::with_lines(5, true),
        1.5,
    ),
    (
        "added CPU with 50 header lines, against 5; 0 % sampled",
        Variant::with_lines(50, false),
        Variant::with_lines(5, false),
        1.5,
    ),
    ("added CPU with 10,000 route templates, against 1", Variant::with_routes(10_000), Variant::with_routes(1), 1.1),
];

/// What the last of forty captured headers may cost, over what the first cost.
const LINEAR: f64 = 1.25;

/// The growth that these rounds show; of a run about something else none.
pub(crate) fn of(variants: &[Variant], measured: &Measured) -> Vec<Growth> {
    let added = |wanted: Variant| {
        let index = variants.iter().position(|variant| *variant == wanted)?;
        let base = Variant::base_of(variants, index)?;
        Some(measured.rounds.iter().map(|round| round.cpu[index] - round.cpu[base]).collect::<Vec<f64>>())
    };
    let flat = FLAT.iter().filter_map(|(what, above, below, mark)| {
        let estimate = Estimate::of_ratio(&added(*above)?, &added(*below)?);
        Some(Growth { what: (*what).to_owned(), mark: *mark, estimate })
    });
    let linear = || {
        let none = added(Variant::with_captured(0))?;
        let [few, many] = [20, 40].map(|count| added(Variant::with_captured(count)));
        let (few, many) = (few?, many?);
        let less = |above: &[f64], below: &[f64]| above.iter().zip(below).map(|(a, b)| a - b).collect::<Vec<_>>();
        let estimate = Estimate::of_ratio(&less(&many, &few), &less(&few, &none));
        Some(Growth {
            what: "added CPU of captured headers 21 to 40, against the first 20".to_owned(),
            mark: LINEAR,
            estimate,
        })
    };
    flat.chain(linear()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_measured() {
        let variants = Variant::growth();
        for (what, above, below, _) in FLAT {
            assert!(variants.contains(&above) && variants.contains(&below), "{what}");
        }
        for count in [0, 20, 40] {
            assert!(variants.contains(&Variant::with_captured(count)), "{count}");
        }
    }
}
