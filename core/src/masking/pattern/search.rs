//! The search with a pattern's program: all ways at once, in one pass over the text.

use crate::config::pattern::{Assertion, Program, Step};

/// A way through the program: where it is, and where in the text it began.
#[derive(Clone, Copy)]
struct Way {
    step: usize,
    start: usize,
}

/// All matches, in order; they do not overlap. Each is the leftmost behind the one before, and there the longest.
///
/// Ways are kept in the order in which they began. Of two at the same step the later one is given up: they end
/// together. Where a way arrives, all that began after it are given up, with what they found; it goes on, perhaps
/// to a longer match, and beside it those that begin where it arrived.
pub(super) fn find_all(program: &Program, text: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    // Most texts: then nothing is allocated.
    if !text.bytes().any(|byte| program.may_begin(byte)) {
        return found;
    }
    let mut ways: Vec<Way> = Vec::new();
    let mut search = Search { program, taken: vec![0; program.steps.len()], stack: Vec::new(), next: Vec::new() };
    let mut before = None;
    let mut offset: usize = 0;
    loop {
        let mut rest = text.get(offset..).unwrap_or_default();
        // Where nothing has begun, what begins nothing is passed over.
        if ways.is_empty() {
            let passed = rest.bytes().position(|byte| program.may_begin(byte)).unwrap_or(rest.len());
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
        if rest.bytes().next().is_some_and(|byte| program.may_begin(byte)) {
            search.follow(Way { step: 0, start: offset }, place);
        }
        for way in search.next.drain(..) {
            if let Some(Step::Character(class)) = program.steps.get(way.step)
                && program.classes.get(*class).is_some_and(|class| class.contains(character))
            {
                ways.push(Way { step: way.step.saturating_add(1), start: way.start });
            }
        }
        before = after;
        offset = offset.saturating_add(character.len_utf8());
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
