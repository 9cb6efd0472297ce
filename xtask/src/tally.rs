//! Counts tests from what cargo and its test programs print.

/// How many tests passed, failed, and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Takes in one line of output; only a line that sums up a test program counts.
    pub(crate) fn take(&mut self, line: &str) {
        let Some(summary) = of_line(line) else { return };
        self.add(summary);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`, coloured or not. Tests that
/// the caller filtered out are nobody's.
fn of_line(line: &str) -> Option<Tally> {
    let plain = without_colour(line);
    let (_, counts) = plain.trim_start().strip_prefix("test result: ")?.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split(';') {
        let Some((number, what)) = part.trim().split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        match what {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            "ignored" => tally.skipped = number,
            _ => {}
        }
    }
    Some(tally)
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // From the escape to the letter that ends it.
            let _ = characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_count_and_other_lines_do_not() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test hex::tests::round ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.02s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            // With colour, as in a terminal.
            "test result: \u{1b}[32mok\u{1b}[m. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            // As wasm-bindgen's runner sums up.
            "test result: ok. 7 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.01s",
            // What a test may print itself.
            "the test result: ok. 100 passed; 0 failed",
            "test result: ",
            "",
        ] {
            tally.take(line);
        }
        assert_eq!(tally, Tally { passed: 27, failed: 2, skipped: 1 });
        assert_eq!(tally.to_string(), "27 passed, 2 failed, 1 skipped");
    }
}
