//! meshspan's commands: setup, build, demo, test, bench, fuzz, dist.

fn main() {}
