//! Node, which runs the logic's tests as wasm, and wasm-opt.

use crate::process::output_of;
use anyhow::{Result, bail};
use std::process::Command;

/// The oldest that what we run in it is for.
const AT_LEAST: u32 = 18;

/// Its version, when it is new enough.
pub(crate) fn version() -> Result<String> {
    let advice = format!(
        "what to do: install Node {AT_LEAST} or later with npm (nodejs.org, or your distribution's `nodejs` and `npm`) \
         and put it on PATH"
    );
    let Some(version) = output_of(Command::new("node").arg("--version")) else {
        bail!("no `node` on PATH; {advice}");
    };
    let number = version.trim_start_matches('v');
    match major(number) {
        Some(major) if major >= AT_LEAST => Ok(number.to_owned()),
        _ => bail!("`node --version` says {version}; {advice}"),
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_major_version_is_the_first_number() {
        assert_eq!(major("20.20.2"), Some(20));
        assert_eq!(major("18"), Some(18));
        assert_eq!(major(""), None);
        assert_eq!(major("lts"), None);
    }
}
