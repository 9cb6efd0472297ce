//! How costs are counted, and the files that they are compared with.
//!
//! Calls, bytes and allocations are exact and stand in snapshots: whoever makes the module dearer sees it in review.
//! Instructions depend on the compiler too (two toolchains can build the module), so they stand in files of their own,
//! rounded to three digits, and may differ from them by a tenth. One command takes over all of them:
//! `INSTA_UPDATE=always UPDATE_FUEL=1 cargo xtask test --only module`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use meshspan_module_tests::{CallbackCost, Cost, Trap, Vm};

use crate::world::{accept, flush};

/// What to do where a figure moved, and is to.
pub(crate) const ACCEPT: &str = "INSTA_UPDATE=always UPDATE_FUEL=1 cargo xtask test --only module accepts what is now";

/// Streams that go before those that are measured: all that is made once is made, and buffers are as large as they get.
const BEFORE: usize = 100;
/// Streams that are measured.
pub(crate) const MEASURED: u64 = 100;

/// What one of many like streams costs.
#[derive(Clone, Debug)]
pub(crate) struct Steady {
    /// Its callbacks, in order. The same for each stream but for instructions, of which this has the mean, and
    /// allocations, of which it has those of [`MEASURED`] streams together: what grows by doubling does not do so with
    /// every stream.
    pub(crate) callbacks: Vec<CallbackCost>,
    /// All of them together.
    pub(crate) cost: Cost,
    /// The machine's memory afterwards, in bytes.
    pub(crate) memory: usize,
}

/// A hundred streams, a batch that is sent and taken, and then the cost of a hundred more. `stream` says whether its
/// stream is one to measure.
pub(crate) fn steady(vm: &Vm, stream: impl Fn(&Vm) -> Result<bool, Trap>) -> Steady {
    let stream = |vm: &Vm| stream(vm).unwrap_or_else(|trap| panic!("{trap}"));
    for _ in 0..BEFORE {
        stream(vm);
    }
    accept(vm, &flush(vm).unwrap()).unwrap();
    let mut callbacks: Vec<CallbackCost> = Vec::new();
    let mut measured = 0;
    while measured < MEASURED {
        vm.take_cost();
        if stream(vm) {
            measured += 1;
            add(&mut callbacks, vm.callbacks());
        }
    }
    for callback in &mut callbacks {
        callback.cost.fuel /= MEASURED;
    }
    vm.take_cost();
    Steady { cost: total(&callbacks), callbacks, memory: vm.memory_size() }
}

/// Adds instructions and allocations of one stream's callbacks to those of others. All the rest has to be the same.
fn add(sum: &mut Vec<CallbackCost>, more: Vec<CallbackCost>) {
    if sum.is_empty() {
        *sum = more;
        return;
    }
    assert_eq!(sum.len(), more.len(), "each stream has the same callbacks");
    for (sum, more) in sum.iter_mut().zip(more) {
        let Cost { fuel, allocations, allocated_bytes, .. } = sum.cost;
        let alike = Cost { fuel, allocations, allocated_bytes, ..more.cost.clone() };
        assert_eq!((&sum.callback, &sum.cost), (&more.callback, &alike), "each stream has the same calls and bytes");
        sum.cost.fuel += more.cost.fuel;
        sum.cost.allocations += more.cost.allocations;
        sum.cost.allocated_bytes += more.cost.allocated_bytes;
    }
}

fn total(callbacks: &[CallbackCost]) -> Cost {
    callbacks.iter().fold(Cost::default(), |mut sum, callback| {
        sum += &callback.cost;
        sum
    })
}

/// What was counted since the last time it was asked.
pub(crate) fn counted(vm: &Vm) -> Steady {
    Steady { callbacks: vm.callbacks(), cost: vm.take_cost(), memory: vm.memory_size() }
}

/// All calls of a cost, and the bytes that they carry.
pub(crate) fn calls(cases: &[(&str, Cost)]) -> String {
    let mut text = String::new();
    for (name, cost) in cases {
        writeln!(text, "{name}: {} host calls in {} callbacks", cost.total_host_calls(), cost.callbacks).unwrap();
        for (function, count) in &cost.host_calls {
            writeln!(text, "  {count} x {function}").unwrap();
        }
        writeln!(
            text,
            "  bytes in {}, bytes out {}, in {} answers",
            cost.bytes_in, cost.bytes_out, cost.memory_requests
        )
        .unwrap();
    }
    text
}

/// How far from its file a figure may be.
#[derive(Clone, Copy)]
pub(crate) enum Tolerance {
    /// So much of a hundred, for instructions.
    Percent(u64),
    /// So much, for pages of memory: where one ends depends on the compiler too.
    Absolute(u64),
}

impl Tolerance {
    fn of(self, figure: u64) -> u64 {
        match self {
            Self::Percent(percent) => figure * percent / 100,
            Self::Absolute(most) => most,
        }
    }
}

/// Compares instructions with a file beside this one, or writes it, to three digits that count.
pub(crate) fn assert_instructions(file: &str, now: &[(String, u64)]) {
    assert_figures(file, now, Tolerance::Percent(10));
}

/// Compares figures with a file beside this one, or writes it.
pub(crate) fn assert_figures(file: &str, now: &[(String, u64)], tolerance: Tolerance) {
    let now: BTreeMap<&str, u64> = now.iter().map(|(name, figure)| (name.as_str(), *figure)).collect();
    if std::env::var_os("UPDATE_FUEL").is_some() {
        let line = |text, (name, figure): (&&str, &u64)| format!("{text}{name} {}\n", rounded(*figure, 3));
        std::fs::write(figures_path(file), now.iter().fold(String::new(), line)).unwrap();
    }
    let before = figures_file(file);
    let names = |of: &mut dyn Iterator<Item = String>| of.collect::<BTreeSet<_>>();
    assert_eq!(
        names(&mut before.keys().cloned()),
        names(&mut now.keys().map(|name| (*name).to_owned())),
        "the cases of {file}; {ACCEPT}"
    );
    let mut wrong = String::new();
    for (name, &figure) in &now {
        let wanted = before[*name];
        if figure.abs_diff(wanted) > tolerance.of(wanted) {
            writeln!(wrong, "{name}: {figure}, {wanted} in {file}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "figures that moved; {ACCEPT}:\n{wrong}");
}

fn figures_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compiled_module").join(file)
}

/// What such a file says.
pub(crate) fn figures_file(file: &str) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(figures_path(file)).unwrap_or_else(|error| panic!("{file}: {error}; {ACCEPT}"));
    let pairs = text.lines().filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(name, figure)| (name.to_owned(), figure.parse().expect("a number behind the name"))).collect()
}

/// To so many digits that count.
pub(crate) fn rounded(figure: u64, digits: u32) -> u64 {
    let unit = 10_u64.pow((figure.max(1).ilog10() + 1).saturating_sub(digits));
    (figure + unit / 2) / unit * unit
}
