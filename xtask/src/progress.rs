//! Steps of work and how they show: a moving line in a terminal, plain lines elsewhere.

use anyhow::Result;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A numbered row of steps.
pub(crate) struct Steps {
    total: usize,
    begun: usize,
}

/// The step at work: tells what it is doing.
pub(crate) struct Step {
    doing: Sender<String>,
}

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, begun: 0 }
    }

    /// Runs one step. The text that `work` leaves beside its value says what came of it.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce(&Step) -> Result<(T, String)>) -> Result<T> {
        self.begun += 1;
        let label = format!("[{}/{}] {name}", self.begun, self.total);
        let begun = Instant::now();
        let (doing, told) = channel::<String>();
        let outcome = std::thread::scope(|scope| {
            let step = Step { doing };
            let shown = label.clone();
            scope.spawn(move || show(&shown, &told, begun));
            // The step and its sender end here, and with them the line that shows it.
            let step = step;
            work(&step)
        });
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok((value, text)) => {
                eprintln!("{label}: {text} ({seconds:.1} s)");
                Ok(value)
            }
            Err(error) => {
                eprintln!("{label}: FAILED ({seconds:.1} s)");
                Err(error)
            }
        }
    }
}

impl Step {
    /// Says what the step is doing now.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        // The other end only goes away when the step is over.
        let _ = self.doing.send(what.into());
    }
}

/// Shows what the step says until it is over.
fn show(label: &str, told: &std::sync::mpsc::Receiver<String>, begun: Instant) {
    let terminal = std::io::stderr().is_terminal();
    let tick = if terminal { Duration::from_millis(120) } else { Duration::from_secs(20) };
    let mut now = String::new();
    for mark in ['|', '/', '-', '\\'].into_iter().cycle() {
        match told.recv_timeout(tick) {
            Ok(what) => {
                now = what;
                if !terminal {
                    eprintln!("{label}: {now} ...");
                }
            }
            Err(RecvTimeoutError::Timeout) if !terminal && !now.is_empty() => {
                eprintln!("{label}: {now} ... {} s", begun.elapsed().as_secs());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if terminal && !now.is_empty() {
            eprint!("\r\x1b[2K{mark} {label}: {now} ... {} s", begun.elapsed().as_secs());
            let _ = std::io::stderr().flush();
        }
    }
    if terminal {
        eprint!("\r\x1b[2K");
        let _ = std::io::stderr().flush();
    }
}
