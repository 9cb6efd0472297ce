//! From a pattern's tree to a program, and the search with it: all ways at once, in one pass over the text.

use super::parse::{Assertion, Class, Node};

/// The largest program. A search takes time in proportion to this and to the text.
const MOST_STEPS: usize = 2_000;

/// A compiled pattern, which begins at step 0.
#[derive(Clone, Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    classes: Vec<Class>,
    /// The ASCII characters that a match can begin with, a bit each. Of others nothing is known.
    first: u128,
}

/// One step, and which follow.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A character of the class with that number, and then the next step.
    Character(usize),
    /// If the place is such, the next step.
    Assertion(Assertion),
    /// Both the one and the other.
    Split(usize, usize),
    /// Here a match ends.
    Match,
}

/// A way through the program: where it is, and where in the text it began.
#[derive(Clone, Copy)]
struct Way {
    step: usize,
    start: usize,
}

impl Program {
    /// The error says what is allowed.
    pub(super) fn compile(tree: &Node) -> Result<Self, String> {
        if tree.least() == 0 {
            return Err("a pattern that takes at least one character".to_owned());
        }
        let mut program = Self { steps: Vec::new(), classes: Vec::new(), first: 0 };
        program.add(tree)?;
        program.push(Step::Match)?;
        program.first = program.first_characters();
        Ok(program)
    }

    /// Those of all classes that are reached without a character, whatever the place.
    fn first_characters(&self) -> u128 {
        let mut first = 0;
        let mut seen = vec![false; self.steps.len()];
        let mut stack = vec![0];
        while let Some(number) = stack.pop() {
            match seen.get_mut(number) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            match self.steps.get(number) {
                Some(Step::Character(class)) => {
                    let class = self.classes.get(*class);
                    let among = |byte: &u8| class.is_some_and(|class| class.contains(char::from(*byte)));
                    (0..0x80_u8).filter(among).for_each(|byte| first |= 1 << byte);
                }
                Some(Step::Assertion(_)) => stack.push(number.saturating_add(1)),
                Some(Step::Split(one, other)) => stack.extend([*one, *other]),
                Some(Step::Match) | None => {}
            }
        }
        first
    }

    /// Whether a match may begin with the character that begins with this byte.
    fn may_begin(&self, byte: u8) -> bool {
        !byte.is_ascii() || self.first & (1 << byte) != 0
    }

    /// Appends a step; its number.
    fn push(&mut self, step: Step) -> Result<usize, String> {
        if self.steps.len() >= MOST_STEPS {
            return Err(format!("a pattern of at most {MOST_STEPS} steps, repetitions written out"));
        }
        self.steps.push(step);
        Ok(self.steps.len().saturating_sub(1))
    }

    /// The number of the step that is appended next.
    fn here(&self) -> usize {
        self.steps.len()
    }

    fn set(&mut self, number: usize, step: Step) {
        if let Some(slot) = self.steps.get_mut(number) {
            *slot = step;
        }
    }

    /// Appends what goes through `node` and leaves it behind its last step.
    fn add(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Class(class) => {
                self.classes.push(class.clone());
                self.push(Step::Character(self.classes.len().saturating_sub(1)))?;
            }
            Node::Assertion(assertion) => {
                self.push(Step::Assertion(*assertion))?;
            }
            Node::Concatenation(nodes) => {
                for node in nodes {
                    self.add(node)?;
                }
            }
            Node::Alternation(nodes) => {
                // Each branch but the last: a split before it, a jump behind it.
                let mut jumps = Vec::new();
                for (index, node) in nodes.iter().enumerate() {
                    if index.saturating_add(1) == nodes.len() {
                        self.add(node)?;
                        break;
                    }
                    let split = self.push(Step::Match)?;
                    self.add(node)?;
                    jumps.push(self.push(Step::Match)?);
                    self.set(split, Step::Split(split.saturating_add(1), self.here()));
                }
                let end = self.here();
                for jump in jumps {
                    self.set(jump, Step::Split(end, end));
                }
            }
            Node::Repetition(node, least, most) => self.add_repetition(node, *least, *most)?,
        }
        Ok(())
    }

    fn add_repetition(&mut self, node: &Node, least: u32, most: Option<u32>) -> Result<(), String> {
        for _ in 0..least {
            self.add(node)?;
        }
        match most {
            None => {
                let split = self.push(Step::Match)?;
                self.add(node)?;
                self.push(Step::Split(split, split))?;
                self.set(split, Step::Split(split.saturating_add(1), self.here()));
            }
            Some(most) => {
                let mut splits = Vec::new();
                for _ in least..most {
                    splits.push(self.push(Step::Match)?);
                    self.add(node)?;
                }
                let end = self.here();
                for split in splits {
                    self.set(split, Step::Split(split.saturating_add(1), end));
                }
            }
        }
        Ok(())
    }

    /// All matches, in order; they do not overlap. Each is the leftmost behind the one before, and there the longest.
    ///
    /// Ways are kept in the order in which they began. Of two at the same step the later one is given up: they end
    /// together. Where a way arrives, all that began after it are given up, with what they found; it goes on, perhaps
    /// to a longer match, and beside it those that begin where it arrived.
    pub(super) fn find_all(&self, text: &str) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        // Most texts: then nothing is allocated.
        if !text.bytes().any(|byte| self.may_begin(byte)) {
            return found;
        }
        let mut ways: Vec<Way> = Vec::new();
        let mut search =
            Search { program: self, taken: vec![0; self.steps.len()], stack: Vec::new(), next: Vec::new() };
        let mut before = None;
        let mut offset: usize = 0;
        loop {
            let mut rest = text.get(offset..).unwrap_or_default();
            // Where nothing has begun, what begins nothing is passed over.
            if ways.is_empty() {
                let passed = rest.bytes().position(|byte| self.may_begin(byte)).unwrap_or(rest.len());
                before = rest.get(..passed).and_then(|passed| passed.chars().next_back()).or(before);
                offset = offset.saturating_add(passed);
                rest = rest.get(passed..).unwrap_or_default();
            }
            let after = rest.chars().next();
            let place = Place { offset, before, after };
            let mut arrived = None;
            for way in ways.drain(..) {
                if arrived.is_some_and(|start| start < way.start) {
                    break;
                }
                if search.follow(way, place) && arrived.is_none() {
                    arrived = Some(way.start);
                    while found.last().is_some_and(|(start, _)| *start >= way.start) {
                        found.pop();
                    }
                    found.push((way.start, offset));
                }
            }
            let Some(character) = after else { return found };
            if rest.bytes().next().is_some_and(|byte| self.may_begin(byte)) {
                search.follow(Way { step: 0, start: offset }, place);
            }
            for way in search.next.drain(..) {
                if let Some(Step::Character(class)) = self.steps.get(way.step)
                    && self.classes.get(*class).is_some_and(|class| class.contains(character))
                {
                    ways.push(Way { step: way.step.saturating_add(1), start: way.start });
                }
            }
            before = after;
            offset = offset.saturating_add(character.len_utf8());
        }
    }
}

/// Where a search is.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    before: Option<char>,
    after: Option<char>,
}

/// What a search keeps.
struct Search<'a> {
    program: &'a Program,
    /// For each step, one more than the offset at which it was last taken.
    taken: Vec<usize>,
    stack: Vec<usize>,
    /// The ways that wait for a character.
    next: Vec<Way>,
}

impl Search<'_> {
    /// Follows a way as far as it goes without a character. Whether it arrives.
    fn follow(&mut self, way: Way, place: Place) -> bool {
        let now = place.offset.saturating_add(1);
        let mut arrives = false;
        self.stack.push(way.step);
        while let Some(step) = self.stack.pop() {
            match self.taken.get_mut(step) {
                Some(taken) if *taken != now => *taken = now,
                _ => continue,
            }
            match self.program.steps.get(step) {
                Some(Step::Character(_)) => self.next.push(Way { step, ..way }),
                Some(Step::Assertion(assertion)) if place.is(*assertion) => self.stack.push(step.saturating_add(1)),
                Some(Step::Split(one, other)) => self.stack.extend([*one, *other]),
                Some(Step::Match) => arrives = true,
                Some(Step::Assertion(_)) | None => {}
            }
        }
        arrives
    }
}

impl Place {
    fn is(self, assertion: Assertion) -> bool {
        let is_word = |character: Option<char>| character.is_some_and(|one| one.is_ascii_alphanumeric() || one == '_');
        match assertion {
            Assertion::Start => self.before.is_none(),
            Assertion::End => self.after.is_none(),
            Assertion::WordBoundary => is_word(self.before) != is_word(self.after),
            Assertion::NoWordBoundary => is_word(self.before) == is_word(self.after),
        }
    }
}
