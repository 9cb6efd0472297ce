//! Stamps the version: the package version and, in a git checkout, the commit. It is what the filter reports of itself:
//! the instrumentation scope's version and `telemetry.sdk.version`. A build from a source archive has no commit and
//! says so by leaving it out.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../.git/HEAD");
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    println!("cargo:rustc-env=MESHSPAN_VERSION={}", version());
}

fn version() -> String {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|out| out.status.success())
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    match commit {
        Some(commit) => format!("{version}+{commit}"),
        None => version,
    }
}
