//! Whether the machine stood still: threads that do nothing but wake, one on each core that matters.
//!
//! A virtual machine is stopped for some milliseconds now and then, and the kernel has work of its own. Whatever is
//! being measured then looks slow. A witness is late by as much, and does not depend on what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cpu::{self, Division};

/// How often each one wakes.
const PERIOD: Duration = Duration::from_millis(1);

/// Threads that watch the cores.
pub(crate) struct Witnesses {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The latest that any was, ns.
    latest: AtomicU64,
    end: AtomicBool,
}

impl Witnesses {
    /// One on the core of what is measured and one on those of the rest; without a division one anywhere.
    pub(crate) fn start(division: Option<&Division>) -> Self {
        let shared = Arc::new(Shared::default());
        let places = division.map_or_else(|| vec![None], |division| division.each().map(Some).to_vec());
        let thread = |cores: Option<Vec<usize>>| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                if let Some(cores) = cores {
                    let _ = cpu::pin_this_thread(&cores);
                }
                shared.watch();
            })
        };
        let threads = places.into_iter().map(thread).collect();
        Self { shared, threads }
    }

    /// The latest that any was since the last time this was asked.
    pub(crate) fn latest(&self) -> Duration {
        Duration::from_nanos(self.shared.latest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Witnesses {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self) {
        while !self.end.load(Ordering::Relaxed) {
            let due = Instant::now() + PERIOD;
            std::thread::sleep(PERIOD);
            let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.latest.fetch_max(late, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_told_once() {
        let witnesses = Witnesses { shared: Arc::default(), threads: Vec::new() };
        witnesses.shared.latest.store(7, Ordering::Relaxed);
        assert_eq!(witnesses.latest(), Duration::from_nanos(7));
        assert_eq!(witnesses.latest(), Duration::ZERO);
    }
}
