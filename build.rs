//! Builds what the logic crate cannot write down by hand: the automaton of the built-in detectors of sensitive data. It
//! is all of `core/src/masking/triggers.rs` in one table, so that nothing has to be compiled when a VM starts.

use std::collections::HashMap;
use std::fmt::Write;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::alphabet;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};

#[path = "core/src/masking/triggers.rs"]
mod triggers;

fn main() {
    println!("cargo:rerun-if-changed=../build.rs");
    println!("cargo:rerun-if-changed=src/masking/triggers.rs");
    let folder = std::env::var("OUT_DIR").expect("cargo says where the output goes");
    let path = std::path::Path::new(&folder).join("automaton.rs");
    std::fs::write(path, Table::compile().minimized().with_fewest_classes().source())
        .expect("the output folder is there to be written to");
}

/// A deterministic automaton: state 0 is the first one.
struct Table {
    /// For each byte, its class.
    classes: [u8; 256],
    /// For each state and class, the next state.
    transitions: Vec<Vec<usize>>,
    /// For each state, a bit for each name whose pattern ends there.
    accepts: Vec<u32>,
}

impl Table {
    fn compile() -> Self {
        let patterns: Vec<&str> = triggers::TRIGGERS.iter().map(|(_, pattern)| *pattern).collect();
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Unanchored)
                    .accelerate(false)
                    .unicode_word_boundary(false),
            )
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(regex_automata::nfa::thompson::Config::new().utf8(false))
            .build_many(&patterns)
            .expect("the triggers are valid patterns");
        let bits: Vec<u32> = triggers::TRIGGERS
            .iter()
            .map(|(name, _)| {
                let bit = triggers::NAMES.iter().position(|known| known == name);
                1 << bit.expect("a trigger's name is in the list of names")
            })
            .collect();
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::No)).expect("it has a start");

        // A match is told one byte late: a state's own matches are those of the state behind the text's end.
        let matches = |state: StateID| {
            let end = dfa.next_eoi_state(state);
            let count = if dfa.is_match_state(end) { dfa.match_len(end) } else { 0 };
            (0..count).fold(0, |mask, index| mask | bits[dfa.match_pattern(end, index).as_usize()])
        };
        let classes = dfa.byte_classes();
        let bytes: Vec<u8> = classes.representatives(0..=255).filter_map(alphabet::Unit::as_u8).collect();
        let mut numbers = HashMap::from([(start, 0_usize)]);
        let (mut queue, mut transitions, mut accepts) = (vec![start], Vec::new(), Vec::new());
        while let Some(&state) = queue.get(transitions.len()) {
            accepts.push(matches(state));
            let row = bytes.iter().map(|byte| {
                let next = dfa.next_state(state, *byte);
                assert!(!dfa.is_dead_state(next) && !dfa.is_quit_state(next), "a search never stops by itself");
                *numbers.entry(next).or_insert_with(|| {
                    queue.push(next);
                    queue.len() - 1
                })
            });
            transitions.push(row.collect::<Vec<_>>());
        }
        let classes = core::array::from_fn(|byte| classes.get(u8::try_from(byte).expect("below 256")));
        Self { classes, transitions, accepts }
    }

    /// Moore's algorithm: states are one unless what they accept, or where they lead to, tells them apart. Then states
    /// that accept nothing come first, so that one comparison finds the others.
    fn minimized(self) -> Self {
        let mut block: Vec<usize> = self.accepts.iter().map(|mask| *mask as usize).collect();
        let mut count = 0;
        loop {
            let mut numbers = HashMap::new();
            let refined: Vec<usize> = (0..block.len())
                .map(|state| {
                    let row: Vec<usize> = self.transitions[state].iter().map(|next| block[*next]).collect();
                    let fresh = numbers.len();
                    *numbers.entry((block[state], row)).or_insert(fresh)
                })
                .collect();
            let refined_count = numbers.len();
            block = refined;
            if refined_count == count {
                break;
            }
            count = refined_count;
        }
        // State 0 is in block 0, which accepts nothing, so a stable order keeps it first.
        let mut representatives = vec![usize::MAX; count];
        for (state, block) in block.iter().enumerate().rev() {
            representatives[*block] = state;
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|block| self.accepts[representatives[*block]] != 0);
        let mut place = vec![0; count];
        for (position, block) in order.iter().enumerate() {
            place[*block] = position;
        }
        let states = || order.iter().map(|block| representatives[*block]);
        Self {
            classes: self.classes,
            transitions: states()
                .map(|state| self.transitions[state].iter().map(|next| place[block[*next]]).collect())
                .collect(),
            accepts: states().map(|state| self.accepts[state]).collect(),
        }
    }

    /// Bytes that every state takes alike are one class, wherever they stand in ASCII.
    fn with_fewest_classes(mut self) -> Self {
        let column = |class: usize| self.transitions.iter().map(|row| row[class]).collect::<Vec<_>>();
        let mut numbers = HashMap::new();
        let mut kept = Vec::new();
        let renumbered: Vec<usize> = (0..self.transitions[0].len())
            .map(|class| {
                *numbers.entry(column(class)).or_insert_with(|| {
                    kept.push(class);
                    kept.len() - 1
                })
            })
            .collect();
        for class in &mut self.classes {
            *class = u8::try_from(renumbered[usize::from(*class)]).expect("no more classes than before");
        }
        for row in &mut self.transitions {
            *row = kept.iter().map(|class| row[*class]).collect();
        }
        self
    }

    /// Rust source. Rows are 64 slots long, so that a state and a class together are a slot's number.
    fn source(&self) -> String {
        let classes = self.transitions[0].len();
        let first = self.accepts.iter().position(|mask| *mask != 0).expect("something is accepted");
        let states = self.accepts.len();
        assert_eq!(self.accepts[0], 0, "nothing is found in nothing");
        assert!(classes <= 64, "{classes} classes of bytes: make the triggers simpler");
        assert!(states <= 256, "{states} states, which no longer are a byte each: make the triggers simpler");
        let slots: Vec<usize> =
            self.transitions.iter().flat_map(|row| row.iter().copied().chain([0; 64]).take(64)).collect();
        let mut text = String::new();
        let _ = writeln!(text, "pub(super) const FIRST_ACCEPTING: u8 = {first};");
        let _ = writeln!(text, "pub(super) static CLASSES: [u8; 256] = {:?};", self.classes);
        let _ = writeln!(text, "pub(super) static TRANSITIONS: [u8; {}] = {slots:?};", slots.len());
        let accepting = &self.accepts[first..];
        let _ = writeln!(text, "pub(super) static ACCEPTS: [u32; {}] = {accepting:?};", accepting.len());
        text
    }
}
