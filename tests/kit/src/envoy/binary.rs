//! Which Envoys there are to run.

use std::path::PathBuf;

/// An Envoy executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyBinary {
    /// Its version, for messages and for what differs between versions; `unknown` when only a path was given.
    pub version: String,
    /// The executable.
    pub path: PathBuf,
}

impl EnvoyBinary {
    /// As `MESHSPAN_ENVOY_BINS` (`VERSION=PATH,…`) or else `ENVOY_BIN` (a path) name them.
    pub(super) fn from_env() -> Vec<Self> {
        match (std::env::var("MESHSPAN_ENVOY_BINS"), std::env::var("ENVOY_BIN")) {
            (Ok(list), _) if !list.trim().is_empty() => Self::parse_list(&list),
            (_, Ok(path)) if !path.trim().is_empty() => {
                vec![Self { version: "unknown".to_owned(), path: PathBuf::from(path.trim()) }]
            }
            _ => Vec::new(),
        }
    }

    fn parse_list(list: &str) -> Vec<Self> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| {
                let (version, path) = entry.split_once('=').unwrap_or(("unknown", entry));
                Self { version: version.trim().to_owned(), path: PathBuf::from(path.trim()) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_versions_and_paths() {
        let entry = |version: &str, path: &str| EnvoyBinary { version: version.into(), path: path.into() };
        let cases = [
            ("1.40.0=/a/envoy, 1.36.4=/b/envoy", vec![entry("1.40.0", "/a/envoy"), entry("1.36.4", "/b/envoy")]),
            ("/only/a/path", vec![entry("unknown", "/only/a/path")]),
            ("1.40.0=/a,,", vec![entry("1.40.0", "/a")]),
            ("", vec![]),
        ];
        for (list, expected) in cases {
            assert_eq!(EnvoyBinary::parse_list(list), expected, "{list:?}");
        }
    }
}
