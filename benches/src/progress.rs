//! Progress on long work: one line that is rewritten on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};

/// A piece of work of so many steps.
pub(crate) struct Progress {
    what: &'static str,
    steps: usize,
    done: usize,
    terminal: bool,
}

impl Progress {
    pub(crate) fn of(what: &'static str, steps: usize) -> Self {
        let progress = Self { what, steps, done: 0, terminal: std::io::stderr().is_terminal() };
        progress.show("");
        progress
    }

    /// One step is done; `note` says what is known by now.
    pub(crate) fn step(&mut self, note: &str) {
        self.done += 1;
        self.show(note);
    }

    fn show(&self, note: &str) {
        let line =
            format!("{}: {} of {}{}{note}", self.what, self.done, self.steps, if note.is_empty() { "" } else { "; " });
        let mut out = std::io::stderr();
        if self.terminal {
            let end = if self.done == self.steps { "\n" } else { "" };
            let _ = write!(out, "\r\x1b[K{line}{end}");
            let _ = out.flush();
        } else if self.done == self.steps || self.done.is_multiple_of((self.steps / 10).max(1)) {
            let _ = writeln!(out, "{line}");
        }
    }
}
