//! The levels that a machine told the host, when it fails, and when it was only taken for failed.

use std::collections::BTreeMap;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::http::tests::harness::{Setup, ended, get};
use crate::shared_data::testing::Store;

const SECOND: u64 = 1_000_000_000;

/// What the host shows, whoever told it.
#[derive(Default)]
struct Host {
    names: Vec<String>,
    sums: BTreeMap<String, i64>,
}

impl StatsHost for Host {
    fn define(&mut self, _: StatKind, name: &str) -> Option<u32> {
        self.names.push(name.to_owned());
        u32::try_from(self.names.len() - 1).ok()
    }

    fn tell(&mut self, id: u32, change: StatChange) -> bool {
        if let StatChange::Add(by) = change {
            *self.sums.entry(self.names[id as usize].clone()).or_default() += by;
        }
        true
    }
}

/// A proxy, its host and its shared data.
#[derive(Default)]
struct Proxy {
    host: Host,
    data: Store,
}

impl Proxy {
    /// As the adapter does it at a tick.
    fn tick(&mut self, plugin: &mut Plugin, second: u64) {
        plugin.flush_stats(&mut self.host);
        plugin.keep_ledger(second * SECOND, &mut self.data);
    }

    fn active(&self) -> i64 {
        let active = self.host.sums.iter().filter(|(name, _)| name.ends_with("http_server_active_requests"));
        active.map(|(_, level)| level).sum()
    }
}

/// One that measures, and exports nothing.
fn measuring(number: u8) -> Plugin {
    let config =
        br#"{"file_format": "1.1", "distribution": {"meshspan": {"role": "server", "metrics": {"prometheus": {}}}}}"#;
    Plugin::new(&Config::from_json(config).unwrap(), &NodeFacts::default(), [number; 32])
}

#[test]
fn a_failed_machine_leaves_no_active_requests() {
    let mut proxy = Proxy::default();
    let mut tracing = Setup::new("server").plugin();
    for (finder, why) in [
        (&mut measuring(2), "another that measures"),
        (&mut measuring(3), "the one that takes its place"),
        (&mut tracing, "one that does not measure"),
    ] {
        let mut failing = measuring(1);
        let streams: Vec<_> = (0..3).map(|_| begin(&mut failing, &get()).0).collect();
        proxy.tick(&mut failing, 100);
        // Between two ticks the host is not told of levels, so that the note says what it knows.
        for _ in 0..100 {
            serve(&mut failing);
            if failing.has_full_stats() {
                failing.flush_values(&mut proxy.host);
            }
        }
        let mut streams = streams.into_iter();
        failing.handle_lost(&streams.next().unwrap());
        proxy.tick(&mut failing, 101);
        failing.handle_end(streams.next().unwrap(), &ended(200));
        failing.flush_values(&mut proxy.host);
        assert_eq!(proxy.active(), 2, "as of the last tick; {why}");
        drop(failing);
        proxy.tick(finder, 110);
        assert_eq!(proxy.active(), 2, "it may yet come back; {why}");
        for second in 112..116 {
            proxy.tick(finder, second);
        }
        assert_eq!(proxy.active(), 0, "{why}");
        // For the next one, time begins again.
        proxy.data = Store::default();
    }
}

#[test]
fn a_machine_that_was_only_slow_stands_in_the_sum_again() {
    let mut proxy = Proxy::default();
    let (mut slow, mut other) = (measuring(1), measuring(2));
    let first = begin(&mut slow, &get()).0;
    let second = begin(&mut slow, &get()).0;
    let _third = begin(&mut other, &get()).0;
    // With its second tick it knows that its note stands.
    proxy.tick(&mut slow, 99);
    proxy.tick(&mut slow, 100);
    for second in 100..120 {
        proxy.tick(&mut other, second);
    }
    assert_eq!(proxy.active(), 1, "the other's");
    slow.handle_end(first, &ended(200));
    for second in 120..123 {
        proxy.tick(&mut slow, second);
    }
    assert_eq!(proxy.active(), 2);
    slow.handle_end(second, &ended(200));
    proxy.tick(&mut slow, 123);
    assert_eq!(proxy.active(), 1);
    for second in 140..160 {
        proxy.tick(&mut other, second);
    }
    assert_eq!(proxy.active(), 1, "who has ended well leaves nothing to take back");
}
