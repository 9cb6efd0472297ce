//! From a pattern's text to its tree.

use core::iter::Peekable;
use core::str::Chars;

/// A tree of a pattern.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// One character of a class.
    Class(Class),
    /// A place, and no character.
    Assertion(Assertion),
    /// One after the other.
    Concatenation(Vec<Node>),
    /// One of them.
    Alternation(Vec<Node>),
    /// So many times at the least and at the most.
    Repetition(Box<Node>, u32, Option<u32>),
}

/// Characters.
#[derive(Clone, Debug, Default)]
pub struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
    any_case: bool,
}

/// What a place is.
#[derive(Clone, Copy, Debug)]
pub enum Assertion {
    /// The text's beginning.
    Start,
    /// The text's end.
    End,
    /// A word's beginning or end.
    WordBoundary,
    /// Neither.
    NoWordBoundary,
}

/// How deep groups may be nested.
const NESTING: u32 = 32;

/// How often something may be repeated.
const MOST_REPEATED: u32 = 1_000;

impl Class {
    fn of(ranges: &[(char, char)], negated: bool) -> Self {
        Self { ranges: ranges.to_vec(), negated, any_case: false }
    }

    /// Whether it has this character.
    #[inline]
    pub fn contains(&self, character: char) -> bool {
        let is_in = |character| self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
        let found = is_in(character)
            || self.any_case && (is_in(character.to_ascii_lowercase()) || is_in(character.to_ascii_uppercase()));
        found != self.negated
    }
}

impl Node {
    /// How many characters it takes at the least.
    pub(super) fn least(&self) -> u64 {
        match self {
            Self::Class(_) => 1,
            Self::Assertion(_) => 0,
            Self::Concatenation(nodes) => nodes.iter().map(Self::least).fold(0, u64::saturating_add),
            Self::Alternation(nodes) => nodes.iter().map(Self::least).min().unwrap_or(0),
            Self::Repetition(node, least, _) => node.least().saturating_mul(u64::from(*least)),
        }
    }
}

/// Parses a pattern. The error says what is allowed.
pub(super) fn parse(source: &str) -> Result<Node, String> {
    let any_case = source.starts_with("(?i)");
    let rest = source.strip_prefix("(?i)").unwrap_or(source);
    let mut parser = Parser { rest: rest.chars().peekable(), any_case };
    let node = parser.alternation(NESTING)?;
    match parser.rest.next() {
        None => Ok(node),
        Some(_) => Err("a pattern whose groups were opened before they are closed".to_owned()),
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    any_case: bool,
}

impl Parser<'_> {
    fn alternation(&mut self, depth: u32) -> Result<Node, String> {
        let depth = depth.checked_sub(1).ok_or_else(|| format!("groups nested at most {NESTING} deep"))?;
        let mut branches = Vec::new();
        loop {
            let mut parts = Vec::new();
            while let Some(next) = self.rest.next_if(|next| !matches!(next, '|' | ')')) {
                let atom = self.atom(next, depth)?;
                parts.push(self.repeated(atom)?);
            }
            branches.push(Node::Concatenation(parts));
            if self.rest.next_if_eq(&'|').is_none() {
                return Ok(Node::Alternation(branches));
            }
        }
    }

    fn atom(&mut self, first: char, depth: u32) -> Result<Node, String> {
        Ok(match first {
            '^' => Node::Assertion(Assertion::Start),
            '$' => Node::Assertion(Assertion::End),
            '.' => self.class(Class::of(&[('\n', '\n')], true)),
            '(' => {
                if self.rest.next_if_eq(&'?').is_some() && self.rest.next_if_eq(&':').is_none() {
                    return Err("( or (?: for a group, and (?i) at the beginning of the pattern".to_owned());
                }
                let node = self.alternation(depth)?;
                self.rest.next_if_eq(&')').ok_or("a pattern whose groups are closed")?;
                node
            }
            '[' => {
                let class = self.bracketed()?;
                self.class(class)
            }
            '*' | '+' | '?' | '{' => return Err(format!("something before {first} that it repeats")),
            '\\' => match self.rest.next_if(|next| matches!(next, 'b' | 'B')) {
                Some('b') => Node::Assertion(Assertion::WordBoundary),
                Some(_) => Node::Assertion(Assertion::NoWordBoundary),
                None => {
                    let class = self.escaped()?;
                    self.class(class)
                }
            },
            literal => self.class(Class::of(&[(literal, literal)], false)),
        })
    }

    fn class(&self, class: Class) -> Node {
        Node::Class(Class { any_case: self.any_case, ..class })
    }

    fn repeated(&mut self, node: Node) -> Result<Node, String> {
        let mut node = node;
        loop {
            let (least, most) = match self.rest.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.rest.next();
                    node = self.counted(node)?;
                    continue;
                }
                _ => return Ok(node),
            };
            self.rest.next();
            if self.rest.peek() == Some(&'?') {
                return Err("no lazy repetition: the longest match counts".to_owned());
            }
            node = Node::Repetition(Box::new(node), least, most);
        }
    }

    /// Behind `{`.
    fn counted(&mut self, node: Node) -> Result<Node, String> {
        let allowed = || format!("{{n}}, {{n,}} or {{n,m}}, with n up to m and m up to {MOST_REPEATED}");
        let least = self.number(10, 5).filter(|least| *least <= MOST_REPEATED).ok_or_else(allowed)?;
        let most = match self.rest.next() {
            Some('}') => Some(least),
            Some(',') if self.rest.next_if_eq(&'}').is_some() => None,
            Some(',') => {
                let most = self.number(10, 5).filter(|most| (least..=MOST_REPEATED).contains(most));
                self.rest.next_if_eq(&'}').ok_or_else(allowed)?;
                Some(most.ok_or_else(allowed)?)
            }
            _ => return Err(allowed()),
        };
        Ok(Node::Repetition(Box::new(node), least, most))
    }

    /// A number with at most so many digits.
    fn number(&mut self, radix: u32, most: usize) -> Option<u32> {
        let mut number = None;
        for _ in 0..most {
            let Some(digit) = self.rest.peek().and_then(|digit| digit.to_digit(radix)) else { break };
            self.rest.next();
            number = Some(number.unwrap_or(0_u32).saturating_mul(radix).saturating_add(digit));
        }
        number
    }

    /// Behind `\`: a class, or one character.
    fn escaped(&mut self) -> Result<Class, String> {
        const DIGITS: &[(char, char)] = &[('0', '9')];
        const WORDS: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
        const SPACES: &[(char, char)] = &[('\t', '\r'), (' ', ' ')];
        let one = match self.rest.next() {
            Some('d') => return Ok(Class::of(DIGITS, false)),
            Some('D') => return Ok(Class::of(DIGITS, true)),
            Some('w') => return Ok(Class::of(WORDS, false)),
            Some('W') => return Ok(Class::of(WORDS, true)),
            Some('s') => return Ok(Class::of(SPACES, false)),
            Some('S') => return Ok(Class::of(SPACES, true)),
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(letter @ ('x' | 'u')) => {
                let braces = self.rest.next_if_eq(&'{').is_some();
                let digits = match (letter, braces) {
                    (_, true) => 6,
                    ('x', false) => 2,
                    _ => 4,
                };
                let number = self.number(16, digits);
                let closed = !braces || self.rest.next_if_eq(&'}').is_some();
                let character = number.filter(|_| closed).and_then(char::from_u32);
                character.ok_or("a character's number: \\x41, \\u0041 or \\u{41}")?
            }
            Some(sign) if sign.is_ascii_punctuation() => sign,
            _ => {
                return Err("an escape of \\d \\w \\s \\D \\W \\S \\b \\B \\n \\r \\t \\x \\u, or of a sign".to_owned());
            }
        };
        Ok(Class::of(&[(one, one)], false))
    }

    /// Behind `[`.
    fn bracketed(&mut self) -> Result<Class, String> {
        let mut class = Class { negated: self.rest.next_if_eq(&'^').is_some(), ..Class::default() };
        let unclosed = "a class that is closed, such as [a-z0-9_]";
        loop {
            let first = match self.rest.next().ok_or(unclosed)? {
                ']' if class.ranges.is_empty() => return Err("a class with something in it, such as [a-z]".to_owned()),
                ']' => return Ok(class),
                '[' => return Err("\\[ for a bracket within a class; there are no classes with names".to_owned()),
                '\\' => {
                    let escaped = self.escaped()?;
                    match escaped.ranges.as_slice() {
                        [(one, same)] if one == same && !escaped.negated => *one,
                        _ if escaped.negated => {
                            return Err("\\d, \\w or \\s within a class, not \\D, \\W or \\S".to_owned());
                        }
                        ranges => {
                            class.ranges.extend(ranges);
                            continue;
                        }
                    }
                }
                literal => literal,
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|next| *next != ']');
            let last = if is_range {
                self.rest.next();
                match self.rest.next().ok_or(unclosed)? {
                    '\\' => match self.escaped()?.ranges.as_slice() {
                        [(one, same)] if one == same => *one,
                        _ => return Err("a range between two characters".to_owned()),
                    },
                    literal => literal,
                }
            } else {
                first
            };
            if last < first {
                return Err("a range from the lower character to the higher, such as a-z".to_owned());
            }
            class.ranges.push((first, last));
        }
    }
}
