//! Command-line options, and what to suggest when one is not known.

use anyhow::{Result, bail};

/// What stands on a command's line, taken apart by the command that knows what it means.
pub(crate) struct Options<'a> {
    command: &'static str,
    rest: std::slice::Iter<'a, String>,
}

impl<'a> Options<'a> {
    pub(crate) fn of(command: &'static str, arguments: &'a [String]) -> Self {
        Self { command, rest: arguments.iter() }
    }

    /// The next argument; an option may come as `--name value` or `--name=value`.
    pub(crate) fn next(&mut self) -> Option<(&'a str, Option<&'a str>)> {
        let argument = self.rest.next()?;
        match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => Some((name, Some(value))),
            _ => Some((argument, None)),
        }
    }

    /// The value of the option `name`: the one joined to it, or the next argument.
    pub(crate) fn value(&mut self, name: &str, joined: Option<&'a str>) -> Result<&'a str> {
        match joined.or_else(|| self.rest.next().map(String::as_str)) {
            Some(value) => Ok(value),
            None => bail!("`{name}` of `cargo xtask {}` needs a value", self.command),
        }
    }

    /// All that is left, for the program behind `--`.
    pub(crate) fn remaining(&mut self) -> Vec<String> {
        self.rest.by_ref().cloned().collect()
    }

    /// The error for an argument that the command does not know.
    pub(crate) fn unknown<T>(&self, argument: &str, known: &[&str]) -> Result<T> {
        bail!(
            "`cargo xtask {}` does not know `{argument}`{}; `cargo xtask help` lists what it knows",
            self.command,
            did_you_mean(argument, known.iter().copied())
        )
    }
}

/// `, did you mean ...?` with the nearest known word, or nothing when none is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Who types the beginning of a word means that word.
    let steps_to = |candidate: &str| {
        if word.len() > 2 && candidate.starts_with(word) { 1 } else { distance(word, candidate) }
    };
    let nearest = known.map(|candidate| (steps_to(candidate), candidate)).min();
    match nearest {
        Some((steps, candidate)) if steps <= 1 + word.len() / 4 => {
            format!(", did you mean `{candidate}`?")
        }
        _ => String::new(),
    }
}

/// How many letters have to be added, removed, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        let known = ["setup", "build", "demo", "test", "bench", "fuzz", "dist"];
        for (typed, expected) in [
            ("tset", ", did you mean `test`?"),   // two letters swapped
            ("biuld", ", did you mean `build`?"), // likewise
            ("benhc", ", did you mean `bench`?"), // at the end
            ("demos", ", did you mean `demo`?"),  // one too many
            ("fuz", ", did you mean `fuzz`?"),    // one too few
            ("ben", ", did you mean `bench`?"),   // only its beginning
            ("deploy", ""),                       // nothing like it
            ("", ""),                             // nothing at all
        ] {
            assert_eq!(did_you_mean(typed, known.into_iter()), expected, "for `{typed}`");
        }
    }

    #[test]
    fn a_value_comes_joined_or_next_and_is_missed_when_absent() {
        let line: Vec<String> = ["--only=fmt", "--seconds", "5", "name", "--only"].map(str::to_owned).to_vec();
        let mut options = Options::of("test", &line);
        let (name, joined) = options.next().unwrap();
        assert_eq!((name, options.value(name, joined).unwrap()), ("--only", "fmt"));
        let (name, joined) = options.next().unwrap();
        assert_eq!((name, options.value(name, joined).unwrap()), ("--seconds", "5"));
        assert_eq!(options.next(), Some(("name", None)));
        let (name, joined) = options.next().unwrap();
        assert!(options.value(name, joined).is_err());
        assert_eq!(options.next(), None);
    }
}
