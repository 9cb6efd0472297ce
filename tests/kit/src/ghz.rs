//! The gRPC load generator ghz, which counts for itself how its calls ended.
//!
//! It calls `shop.Load` of `python/load.proto`, which the [server of grpcio](crate::grpcio) has:
//!
//! | method | does |
//! |---|---|
//! | `End` | ends with the status whose number the message's field `status` has |
//! | `Missing` | the server does not have it |

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

/// The environment variable that names its executable.
pub const VARIABLE: &str = "MESHSPAN_GHZ";

/// An executable of ghz.
#[derive(Clone, Debug)]
pub struct Ghz(PathBuf);

impl Ghz {
    /// The one that the environment names ([`VARIABLE`]).
    pub fn find() -> Option<Self> {
        std::env::var_os(VARIABLE).filter(|binary| !binary.is_empty()).map(|binary| Self(binary.into()))
    }

    /// Makes so many calls of a method (`shop.Load.End`), eight at a time over four connections, with these messages in
    /// turn, and waits until all have ended. How many ended with which status, by its name in gRPC's specification.
    ///
    /// # Errors
    /// When it cannot be run, or does not report all of the calls.
    pub fn run(
        &self,
        address: SocketAddr,
        method: &str,
        calls: u64,
        messages: &Value,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/load.proto");
        let mut command = Command::new(&self.0);
        command.args(["--insecure", "--format", "json", "--concurrency", "8", "--connections", "4"]);
        command.arg("--proto").arg(proto).args(["--call", method, "--total", &calls.to_string()]);
        command.args(["--data", &messages.to_string(), &address.to_string()]);
        let output = command.output().context("cannot run ghz")?;
        ensure!(output.status.success(), "ghz: {}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).context("ghz' report")?;
        ensure!(report["count"] == calls, "ghz made {} of {calls} calls", report["count"]);
        let statuses: BTreeMap<String, u64> = serde_json::from_value(report["statusCodeDistribution"].clone())?;
        Ok(statuses.into_iter().map(|(name, count)| (specified(&name), count)).collect())
    }
}

/// Go's name of a status (`NotFound`) as the specification has it (`NOT_FOUND`).
fn specified(name: &str) -> String {
    if name == "Canceled" {
        return "CANCELLED".to_owned();
    }
    let is_word = |at: usize| at > 0 && name.as_bytes()[at].is_ascii_uppercase() && name != "OK";
    let separated = |(at, c): (usize, char)| [is_word(at).then_some('_'), Some(c.to_ascii_uppercase())];
    name.char_indices().flat_map(separated).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::specified;

    #[test]
    fn statuses_have_the_names_of_the_specification() {
        for (go, expected) in [
            ("OK", "OK"),
            ("NotFound", "NOT_FOUND"),
            ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
            ("Internal", "INTERNAL"),
            ("Canceled", "CANCELLED"), // its own spelling
        ] {
            assert_eq!(specified(go), expected, "{go}");
        }
    }
}
