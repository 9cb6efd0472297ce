//! What a virtual machine holds, written where others can read it, so that its items are counted when it fails.
//!
//! A trap takes a machine away with all that it had queued, and with it whoever could count the loss. So each plugin
//! keeps a note in the data that the machines of a proxy share: what its exporters hold, the levels that it has told the
//! host, and until when the note is good. It renews the note while it lives and takes it away when it holds nothing. A
//! note that has run out is settled by whichever plugin finds it first: its items (spans, log records, data points) are
//! counted as dropped, and its levels taken back.

use crate::protobuf::{Field, delimited, next_field, number, put_bytes, put_fixed64, put_uint};
use crate::shared_data::{SharedData, Stored};
use crate::signal::Signal;

/// What one exporter holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The exporter's name in statistics.
    pub exporter: String,
    /// Items that wait.
    pub queued: u64,
    /// Items that are on their way.
    pub in_flight: u64,
    /// Bytes of the items that wait.
    pub queue_bytes: u64,
    /// Which signal's exporter it is: those of different signals may have the same name.
    pub signal: Signal,
}

/// The level of a series that this machine has told the host: its part of the sum that the host shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The series' name, as the host has it.
    pub series: String,
    /// Above 0.
    pub told: u64,
}

/// All that one machine holds for a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The items of each exporter.
    pub items: Vec<Held>,
    /// Levels of other series, those at 0 left out; [`MOST_LEVELS`] are noted.
    pub levels: Vec<Level>,
}

/// A note, as it is shared: in protobuf's wire format, with the fields' numbers below. Machines of other versions of this
/// module read it, so a number never gets another meaning, and what is not known is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note {
    /// 1, fixed64. A random number of the plugin that wrote it.
    owner: u64,
    /// 2, fixed64. ns since the Unix epoch.
    good_until: u64,
    /// 3, of each: 1 exporter, 2 queued, 3 in flight, 4 bytes in the queue, 5 signal.
    held: Vec<Held>,
    /// 4, of each: 1 series, 2 what was told.
    levels: Vec<Level>,
}

impl Note {
    #[inline]
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_fixed64(&mut bytes, 1, self.owner);
        put_fixed64(&mut bytes, 2, self.good_until);
        let mut part = Vec::new();
        for held in &self.held {
            part.clear();
            put_bytes(&mut part, 1, held.exporter.as_bytes());
            let signal = u64::from(held.signal.number());
            for (field, number) in [(2, held.queued), (3, held.in_flight), (4, held.queue_bytes), (5, signal)] {
                put_uint(&mut part, field, number);
            }
            put_bytes(&mut bytes, 3, &part);
        }
        for level in &self.levels {
            part.clear();
            put_bytes(&mut part, 1, level.series.as_bytes());
            put_uint(&mut part, 2, level.told);
            put_bytes(&mut bytes, 4, &part);
        }
        bytes
    }

    /// `None` for what is no note.
    #[inline]
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut note = Self::default();
        while !bytes.is_empty() {
            match next_field(&mut bytes)? {
                (1, Field::Number(owner)) => note.owner = owner,
                (2, Field::Number(good_until)) => note.good_until = good_until,
                (3, Field::Delimited(held)) => note.held.push(Held {
                    exporter: text(held)?,
                    queued: number(held, 2),
                    in_flight: number(held, 3),
                    queue_bytes: number(held, 4),
                    signal: Signal::from_number(number(held, 5))?,
                }),
                (4, Field::Delimited(level)) => {
                    note.levels.push(Level { series: text(level)?, told: number(level, 2) });
                }
                (1..=4, _) => return None,
                _ => {}
            }
        }
        Some(note)
    }
}

/// The name in an entry of a note.
#[inline]
fn text(entry: &[u8]) -> Option<String> {
    Some(core::str::from_utf8(delimited(entry, 1).unwrap_or_default()).ok()?.to_owned())
}

/// What a look into the shared notes showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Held by machines that are gone; to be counted by the caller, and by nobody else.
    pub lost: Holdings,
    /// What another plugin counted as lost because this one was silent for too long: it lives after all.
    pub revived: Holdings,
}

/// One plugin's part in this.
#[derive(Clone, Debug)]
pub struct Ledger {
    owner: u64,
    place: Option<u32>,
    /// What was written last.
    written: Holdings,
    /// When the notes of others were last looked at, ns.
    looked: u64,
}

/// How long a note is good, ns. Ten missed ticks; a worker that is held up for longer is taken for dead, and set right
/// when it comes back.
const GOOD_FOR: u64 = 10_000_000_000;

/// How often the notes of others are looked at, ns.
const LOOK_EVERY: u64 = 2_000_000_000;

/// As many notes as there can be: one for each plugin on each worker, and those that failed and were not settled yet.
const MOST_NOTES: u32 = 1_024;

/// How many levels a note has room for. There are as many as methods of requests under way, for each of the few metrics
/// that are levels.
pub const MOST_LEVELS: usize = 64;

impl Ledger {
    /// `owner` is random.
    pub fn new(owner: u64) -> Self {
        Self { owner, place: None, written: Holdings::default(), looked: 0 }
    }

    /// Writes down what is held at `now` (ns) and looks for what others left behind; `knows` says whether the caller can
    /// count for an exporter; levels can be taken back by any. Meant for each tick, after the statistics of the same tick have reached the host. One that
    /// holds nothing costs next to nothing.
    #[inline]
    pub fn keep(
        &mut self,
        now: u64,
        held: Holdings,
        knows: impl Fn(&Held) -> bool,
        data: &mut dyn SharedData,
    ) -> Findings {
        let mut findings = Findings::default();
        self.write(now, held, data, &mut findings);
        if now.abs_diff(self.looked) >= LOOK_EVERY {
            self.looked = now;
            self.settle(now, knows, data, &mut findings);
        }
        findings
    }

    #[inline]
    fn write(&mut self, now: u64, held: Holdings, data: &mut dyn SharedData, findings: &mut Findings) {
        let is_idle = held.levels.is_empty() && held.items.iter().all(|held| held.queued == 0 && held.in_flight == 0);
        let version = match self.place {
            None if is_idle => return,
            None => None,
            Some(place) => {
                let found = read(place, data);
                let own = found.filter(|(value, _)| self.owns(value)).map(|(_, version)| version);
                if own.is_none() {
                    findings.revived = core::mem::take(&mut self.written);
                    self.place = None;
                }
                own
            }
        };
        let Holdings { items, mut levels } = held;
        levels.truncate(MOST_LEVELS);
        let note = Note { owner: self.owner, good_until: now.saturating_add(GOOD_FOR), held: items, levels };
        let value = if is_idle { Vec::new() } else { note.encode() };
        match (self.place, version) {
            (Some(place), Some(version)) => {
                data.set(&key(place), &value, Some(version));
                self.place = Some(place).filter(|_| !is_idle);
            }
            _ if is_idle => {}
            _ => self.place = take_place(&value, data),
        }
        self.written = Holdings { items: note.held, levels: note.levels };
    }

    #[inline]
    fn owns(&self, value: &[u8]) -> bool {
        Note::decode(value).is_some_and(|note| note.owner == self.owner)
    }

    #[inline]
    fn settle(&self, now: u64, knows: impl Fn(&Held) -> bool, data: &mut dyn SharedData, findings: &mut Findings) {
        for index in 0..MOST_NOTES {
            let Some((value, version)) = read(index, data) else { return };
            let Some(note) = Note::decode(&value) else { continue };
            let is_over = note.owner != self.owner && note.good_until < now;
            let is_something = !(note.held.is_empty() && note.levels.is_empty());
            let countable = is_something && note.held.iter().all(&knows);
            // Who writes it settles it: of two that try, one has the wrong version.
            if is_over && countable && data.set(&key(index), &[], Some(version)) {
                findings.lost.items.extend(note.held);
                findings.lost.levels.extend(note.levels);
            }
        }
    }
}

/// The longest note, bytes. What is longer is not ours, and there is no sense in reading on.
const LONGEST_NOTE: usize = 64 << 10;

#[inline]
fn read(index: u32, data: &mut dyn SharedData) -> Option<(Vec<u8>, u32)> {
    match data.get(&key(index)) {
        Stored::Value(value, version) if value.len() <= LONGEST_NOTE => Some((value, version)),
        Stored::Value(..) | Stored::Nothing | Stored::Unavailable => None,
    }
}

/// Writes a note to the first place that is free. Of two that see the same place free, the store gives it to one.
#[inline]
fn take_place(value: &[u8], data: &mut dyn SharedData) -> Option<u32> {
    (0..MOST_NOTES).find(|index| {
        let seen = match read(*index, data) {
            None => None,
            Some((taken, version)) if taken.is_empty() => Some(version),
            Some(_) => return false,
        };
        data.set(&key(*index), value, seen)
    })
}

/// Shared data may have one namespace for all plugins of a proxy: so the keys say whose they are.
#[inline]
fn key(index: u32) -> String {
    format!("meshspan.held.{index}")
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    use crate::shared_data::Alone;
    use crate::shared_data::testing::Store;

    const SECOND: u64 = 1_000_000_000;

    fn held(queued: u64) -> Holdings {
        let items = vec![Held {
            exporter: "collector:4317".into(),
            queued,
            in_flight: 1,
            queue_bytes: queued * 700,
            ..Held::default()
        }];
        Holdings { items, levels: Vec::new() }
    }

    fn nothing() -> Holdings {
        Holdings { items: vec![Held { exporter: "collector:4317".into(), ..Held::default() }], levels: Vec::new() }
    }

    /// Without exporters.
    fn told(level: u64) -> Holdings {
        Holdings { items: Vec::new(), levels: vec![Level { series: "meshspan_active".into(), told: level }] }
    }

    fn keep(ledger: &mut Ledger, second: u64, held: Holdings, data: &mut Store) -> Findings {
        ledger.keep(second * SECOND, held, |_| true, data)
    }

    #[test]
    fn what_a_failed_machine_held_is_found_once() {
        let mut data = Store::default();
        let (mut failing, mut one, mut other) = (Ledger::new(1), Ledger::new(2), Ledger::new(3));
        for second in 100..105 {
            assert_eq!(keep(&mut failing, second, held(second), &mut data), Findings::default());
            assert_eq!(keep(&mut one, second, held(5), &mut data), Findings::default());
        }
        let mut lost = Vec::new();
        for second in 105..130 {
            lost.extend(keep(&mut one, second, held(5), &mut data).lost.items);
            lost.extend(keep(&mut other, second, nothing(), &mut data).lost.items);
        }
        assert_eq!(lost, held(104).items, "what it wrote last");
        assert_eq!(keep(&mut one, 130, nothing(), &mut data), Findings::default());
        let left = data.values.values().filter(|(value, _)| !value.is_empty()).count();
        assert_eq!(left, 0, "who holds nothing leaves nothing");
    }

    #[test]
    fn a_machine_that_ended_well_is_not_missed() {
        let mut data = Store::default();
        let (mut ending, mut other) = (Ledger::new(1), Ledger::new(2));
        keep(&mut ending, 100, held(3), &mut data);
        keep(&mut ending, 101, nothing(), &mut data);
        assert_eq!(keep(&mut other, 200, nothing(), &mut data), Findings::default());
        keep(&mut other, 201, held(1), &mut data);
        assert_eq!(data.values.len(), 1, "its place is taken again");
    }

    #[test]
    fn one_that_was_taken_for_dead_is_told() {
        let mut data = Store::default();
        let (mut slow, mut other) = (Ledger::new(1), Ledger::new(2));
        keep(&mut slow, 100, held(3), &mut data);
        keep(&mut slow, 101, held(4), &mut data);
        assert_eq!(keep(&mut other, 120, nothing(), &mut data).lost, held(4));
        assert_eq!(keep(&mut slow, 121, held(4), &mut data).revived, held(4));
        assert_eq!(keep(&mut slow, 122, held(4), &mut data), Findings::default(), "once");
        assert_eq!(keep(&mut other, 123, nothing(), &mut data), Findings::default(), "it is noted again");
    }

    #[test]
    fn two_that_take_the_same_place_at_once_both_get_one() {
        let mut data = Store::default();
        let (mut one, mut other) = (Ledger::new(1), Ledger::new(2));
        // The first saw the place free before the other wrote.
        let note = Note { owner: 2, good_until: 110 * SECOND, held: held(2).items, levels: Vec::new() };
        data.rival = Some(note.encode());
        other.place = Some(0);
        for second in 100..104 {
            assert_eq!(keep(&mut one, second, held(1), &mut data), Findings::default());
            assert_eq!(keep(&mut other, second, held(2), &mut data), Findings::default());
        }
        let owners: Vec<_> = data.values.values().filter_map(|(value, _)| Some(Note::decode(value)?.owner)).collect();
        assert_eq!(owners, [2, 1]);
    }

    #[test]
    fn notes_that_nobody_here_can_count_stay() {
        let mut data = Store::default();
        keep(&mut Ledger::new(1), 100, held(1), &mut data);
        let mut other = Ledger::new(2);
        let findings = other.keep(200 * SECOND, nothing(), |held| held.exporter != "collector:4317", &mut data);
        assert_eq!(findings, Findings::default());
        let findings = other.keep(203 * SECOND, nothing(), |held| held.signal == Signal::Logs, &mut data);
        assert_eq!(findings, Findings::default(), "the same name, and another signal");
        // What is no note is somebody else's.
        data.set(&key(1), b"\xff\xff", None);
        assert_eq!(keep(&mut other, 300, nothing(), &mut data).lost, held(1));
        assert_eq!(data.values[&key(1)].0, b"\xff\xff");
    }

    #[test]
    fn the_levels_of_a_failed_machine_are_found_once_by_anybody() {
        let mut data = Store::default();
        let (mut failing, mut one, mut other) = (Ledger::new(1), Ledger::new(2), Ledger::new(3));
        let nobody = |ledger: &mut Ledger, second: u64, held, data: &mut Store| {
            ledger.keep(second * SECOND, held, |_| false, data)
        };
        for second in 100..105 {
            assert_eq!(nobody(&mut failing, second, told(second), &mut data), Findings::default());
        }
        let mut lost = Vec::new();
        for second in 105..130 {
            lost.extend(nobody(&mut one, second, Holdings::default(), &mut data).lost.levels);
            lost.extend(nobody(&mut other, second, told(7), &mut data).lost.levels);
        }
        assert_eq!(lost, told(104).levels, "what it wrote last");
        assert_eq!(nobody(&mut failing, 130, told(104), &mut data).revived, told(104), "one that lives is told");
        // Who ends well has told the host 0, and leaves no note.
        nobody(&mut failing, 131, Holdings::default(), &mut data);
        nobody(&mut other, 131, Holdings::default(), &mut data);
        assert_eq!(nobody(&mut one, 200, Holdings::default(), &mut data), Findings::default());
    }

    #[test]
    fn a_note_stays_small() {
        let mut data = Store::default();
        let level = |number| Level { series: format!("meshspan_{number:0500}"), told: 1 };
        let held = Holdings { items: Vec::new(), levels: (0..10_000).map(level).collect() };
        for second in 100..103 {
            assert_eq!(keep(&mut Ledger::new(1), second, held.clone(), &mut data), Findings::default());
        }
        assert!(data.values.values().all(|(value, _)| value.len() <= LONGEST_NOTE));
        let lost = keep(&mut Ledger::new(2), 200, nothing(), &mut data).lost;
        assert!(lost.levels.len() >= MOST_LEVELS, "{}", lost.levels.len());
    }

    #[test]
    fn idle_ones_hardly_ask_and_a_host_without_shared_data_does_no_harm() {
        let mut data = Store::default();
        let mut ledger = Ledger::new(1);
        for tick in 0..100 {
            ledger.keep(tick * SECOND / 10, nothing(), |_| true, &mut data);
        }
        assert!(data.gets <= 6, "{} reads in 100 ticks", data.gets);
        for second in 100..200 {
            assert_eq!(ledger.keep(second * SECOND, held(1), |_| true, &mut Alone), Findings::default());
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// The note as `prost` reads and writes it.
    #[derive(Clone, PartialEq, Message)]
    struct Judge {
        #[prost(fixed64, tag = "1")]
        owner: u64,
        #[prost(fixed64, tag = "2")]
        good_until: u64,
        #[prost(message, repeated, tag = "3")]
        held: Vec<JudgeHeld>,
        #[prost(message, repeated, tag = "4")]
        levels: Vec<JudgeLevel>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct JudgeHeld {
        #[prost(string, tag = "1")]
        exporter: String,
        #[prost(uint64, tag = "2")]
        queued: u64,
        #[prost(uint64, tag = "3")]
        in_flight: u64,
        #[prost(uint64, tag = "4")]
        queue_bytes: u64,
        #[prost(uint32, tag = "5")]
        signal: u32,
    }

    #[derive(Clone, PartialEq, Message)]
    struct JudgeLevel {
        #[prost(string, tag = "1")]
        series: String,
        #[prost(uint64, tag = "2")]
        told: u64,
    }

    fn judged(note: &Note) -> Judge {
        let held = note.held.iter().map(|held| JudgeHeld {
            exporter: held.exporter.clone(),
            queued: held.queued,
            in_flight: held.in_flight,
            queue_bytes: held.queue_bytes,
            signal: held.signal.number().into(),
        });
        let levels = note.levels.iter().map(|level| JudgeLevel { series: level.series.clone(), told: level.told });
        Judge { owner: note.owner, good_until: note.good_until, held: held.collect(), levels: levels.collect() }
    }

    prop_compose! {
        fn held()(exporter in ".{0,9}", numbers in any::<[u64; 3]>(), signal in 0..3_u64) -> Held {
            let [queued, in_flight, queue_bytes] = numbers;
            Held { exporter, queued, in_flight, queue_bytes, signal: Signal::from_number(signal).unwrap() }
        }
    }

    prop_compose! {
        fn note()(
            numbers in any::<[u64; 2]>(),
            held in proptest::collection::vec(held(), 0..4),
            levels in proptest::collection::vec((".{0,9}", any::<u64>()), 0..4),
        ) -> Note {
            let levels = levels.into_iter().map(|(series, told)| Level { series, told }).collect();
            Note { owner: numbers[0], good_until: numbers[1], held, levels }
        }
    }

    proptest! {
        #[test]
        fn a_note_is_read_as_it_was_written(note in note()) {
            prop_assert_eq!(Judge::decode(note.encode().as_slice()).unwrap(), judged(&note));
            prop_assert_eq!(Note::decode(&judged(&note).encode_to_vec()), Some(note.clone()));
            prop_assert_eq!(Note::decode(&note.encode()), Some(note));
        }

        #[test]
        fn what_is_no_note_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(note) = Note::decode(&bytes) {
                prop_assert_eq!(Note::decode(&note.encode()), Some(note));
            }
        }
    }
}
