//! The built-in detectors over one text, however it is encoded.

use std::borrow::Cow;

use super::automaton::{triggered, triggered_in};
use super::detect::{Found, find_all};
use super::detector::Detectors;
use super::fold::{Cursor, DEEPEST};
use super::rules::Dropped;
use super::stand_in::REDACTED;

/// How often a text is masked again before it is given up: what stands in place of a secret can, with what stands
/// beside it, look like another one.
const ROUNDS: usize = 4;

/// The detectors whose triggers stand in a text, for each way in which it is read.
struct Readings {
    /// By how many times it is percent-decoded.
    triggers: [Detectors; DEEPEST as usize + 1],
    /// The last that says something else than the ones before.
    deepest: u8,
}

impl Readings {
    /// Of a text in whose bytes these triggers stand.
    fn new(text: &str, triggers: Detectors) -> Self {
        let plain =
            if triggers.has_other_characters() { triggered_in(Cursor::new(text.as_bytes(), 0)) } else { triggers };
        let mut readings = Self { triggers: [plain; DEEPEST as usize + 1], deepest: 0 };
        let mut last = triggers;
        for (level, slot) in (0..).zip(&mut readings.triggers).skip(1) {
            if !last.is_percent_encoded() {
                break;
            }
            last = triggered_in(Cursor::new(text.as_bytes(), level));
            *slot = last;
            readings.deepest = level;
        }
        readings
    }

    fn of(&self, level: u8) -> Detectors {
        self.triggers.get(usize::from(level)).copied().unwrap_or_default()
    }
}

/// How deep a text is percent-encoded: the levels that say something else than the ones before.
pub(super) fn depth(text: &str, triggers: Detectors) -> u8 {
    if triggers.is_percent_encoded() { Readings::new(text, triggers).deepest } else { 0 }
}

/// Replaces every secret of `active` in `text` by what `replace` says. What comes back holds no secret of `active` in
/// any reading: a text that keeps showing new ones is redacted as a whole.
pub(super) fn mask<'a>(
    text: Cow<'a, str>,
    active: Detectors,
    replace: &mut dyn FnMut(Found) -> Result<Cow<'static, str>, Dropped>,
) -> Result<Cow<'a, str>, Dropped> {
    let triggers = triggered(text.as_bytes());
    let plain = !triggers.is_percent_encoded() && !triggers.has_other_characters();
    if plain && triggers.and(active).is_empty() {
        return Ok(text);
    }
    let readings = Readings::new(&text, triggers);
    let mut text = text;
    // What stands in the text as it came is known.
    let mut is_as_it_came = true;
    for _ in 0..ROUNDS {
        let mut changed = false;
        // What is encoded most deeply first: it knows best what is an escape and what a digit.
        for level in (0..=readings.deepest).rev() {
            let triggers = match (is_as_it_came, plain) {
                (true, _) => readings.of(level),
                (false, true) => triggered(text.as_bytes()),
                (false, false) => triggered_in(Cursor::new(text.as_bytes(), level)),
            };
            if let Some(masked) = mask_reading(&text, level, triggers.and(active), replace)? {
                text = Cow::Owned(masked);
                is_as_it_came = false;
                changed = true;
            }
        }
        if !changed {
            return Ok(text);
        }
    }
    Ok(Cow::Borrowed(REDACTED))
}

/// One reading of a text. `None`: there is no secret in it.
fn mask_reading(
    text: &str,
    level: u8,
    detectors: Detectors,
    replace: &mut dyn FnMut(Found) -> Result<Cow<'static, str>, Dropped>,
) -> Result<Option<String>, Dropped> {
    if detectors.is_empty() {
        return Ok(None);
    }
    let (mut masked, mut copied, mut result) = (None::<String>, 0, Ok(()));
    find_all(text, level, detectors, &mut |found| {
        let (start, end) = (found.start, found.end);
        match replace(found) {
            Ok(instead) => {
                let masked = masked.get_or_insert_default();
                masked.push_str(text.get(copied..start).unwrap_or_default());
                masked.push_str(&instead);
                copied = end;
            }
            Err(dropped) => result = Err(dropped),
        }
    });
    result?;
    if let Some(masked) = &mut masked {
        masked.push_str(text.get(copied..).unwrap_or_default());
    }
    Ok(masked)
}
