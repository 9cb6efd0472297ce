//! From a pattern's tree to a program.

use super::parse::{Assertion, Class, Node};

/// The largest program. A search takes time in proportion to this and to the text.
const MOST_STEPS: usize = 2_000;

/// A compiled pattern, which begins at step 0.
#[derive(Clone, Debug)]
pub struct Program {
    /// In the order in which they follow each other.
    pub steps: Vec<Step>,
    /// What characters are compared with.
    pub classes: Vec<Class>,
    /// The ASCII characters that a match can begin with, a bit each. Of others nothing is known.
    first: u128,
}

/// One step, and which follow.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A character of the class with that number, and then the next step.
    Character(usize),
    /// If the place is such, the next step.
    Assertion(Assertion),
    /// Both the one and the other.
    Split(usize, usize),
    /// Here a match ends.
    Match,
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
    #[inline]
    pub fn may_begin(&self, byte: u8) -> bool {
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
}
