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

/// Streams that go before those that are measured: all that is made once is made, and buffers are as large as they get.
const BEFORE: usize = 100;
/// Streams that are measured.
pub(crate) const MEASURED: u64 = 100;

/// What one of many like streams costs.
#[derive(Clone, Debug)]
pub(crate) struct Steady {
    /// One stream's callbacks, in order. The others' are the same but for instructions and allocations.
    pub(crate) callbacks: Vec<CallbackCost>,
    /// All of them: of instructions the mean, of allocations those of [`MEASURED`] streams together, as what grows by
    /// doubling does not grow with every stream.
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
    let mut measured: Vec<(Vec<CallbackCost>, Cost)> = Vec::new();
    while (measured.len() as u64) < MEASURED {
        vm.take_cost();
        if stream(vm) {
            measured.push((vm.callbacks(), vm.take_cost()));
        }
    }
    let (callbacks, first) = measured[0].clone();
    for (number, (_, cost)) in measured.iter().enumerate() {
        let comparable = Cost {
            fuel: first.fuel,
            allocations: first.allocations,
            allocated_bytes: first.allocated_bytes,
            ..cost.clone()
        };
        assert_eq!(comparable, first, "stream {number} costs another number of calls or bytes than the first");
    }
    let sum = |of: fn(&Cost) -> u64| measured.iter().map(|(_, cost)| of(cost)).sum::<u64>();
    let cost = Cost {
        fuel: sum(|cost| cost.fuel) / MEASURED,
        allocations: sum(|cost| cost.allocations),
        allocated_bytes: sum(|cost| cost.allocated_bytes),
        ..first
    };
    Steady { callbacks, cost, memory: vm.memory_size() }
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
        "the cases of {file}: UPDATE_FUEL=1 writes it anew"
    );
    let mut wrong = String::new();
    for (name, &figure) in &now {
        let wanted = before[*name];
        if figure.abs_diff(wanted) > tolerance.of(wanted) {
            writeln!(wrong, "{name}: {figure}, {wanted} in {file}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "figures that moved; UPDATE_FUEL=1 accepts them:\n{wrong}");
}

fn figures_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compiled_module").join(file)
}

/// What such a file says.
pub(crate) fn figures_file(file: &str) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(figures_path(file))
        .unwrap_or_else(|error| panic!("{file}: {error}; UPDATE_FUEL=1 writes it"));
    let pairs = text.lines().filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(name, figure)| (name.to_owned(), figure.parse().expect("a number behind the name"))).collect()
}

/// To so many digits that count.
pub(crate) fn rounded(figure: u64, digits: u32) -> u64 {
    let unit = 10_u64.pow((figure.max(1).ilog10() + 1).saturating_sub(digits));
    (figure + unit / 2) / unit * unit
}
