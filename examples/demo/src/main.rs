//! The demo: a small mesh, its callers, and the traces as waterfalls.

fn main() {}
