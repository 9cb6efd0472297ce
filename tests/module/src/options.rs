//! What surrounds the module: the things that Envoy would take from its configuration, clock and machine.

use std::collections::BTreeMap;

use crate::failure::Injection;

/// The surroundings of one [`Vm`](crate::Vm).
#[derive(Clone, Debug)]
pub struct HostOptions {
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) clusters: Option<Vec<String>>,
    pub(crate) log_level: u32,
    pub(crate) now: u64,
    pub(crate) seed: u64,
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) stream_properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) injections: Vec<Injection>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            vm_configuration: Vec::new(),
            clusters: None,
            log_level: 2,
            // 2026-01-01T00:00:00Z
            now: 1_767_225_600_000_000_000,
            seed: 1,
            properties: BTreeMap::new(),
            stream_properties: BTreeMap::new(),
            injections: Vec::new(),
        }
    }
}

impl HostOptions {
    /// No properties, every cluster exists, log level info, 2026-01-01T00:00:00Z, seed 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The VM's own configuration, which all its plugins share.
    #[must_use]
    pub fn vm_configuration(mut self, bytes: &[u8]) -> Self {
        self.vm_configuration = bytes.to_vec();
        self
    }

    /// The clusters that this proxy has. Calls to another are refused with `BAD_ARGUMENT`, as Envoy does.
    #[must_use]
    pub fn clusters(mut self, names: &[&str]) -> Self {
        self.clusters = Some(names.iter().map(|&name| name.to_owned()).collect());
        self
    }

    /// The level that Envoy logs wasm at: 0 trace to 5 critical.
    #[must_use]
    pub fn log_level(mut self, level: u32) -> Self {
        self.log_level = level;
        self
    }

    /// Nanoseconds since 1970 at the start.
    #[must_use]
    pub fn now(mut self, nanoseconds: u64) -> Self {
        self.now = nanoseconds;
        self
    }

    /// Where randomness starts. The same seed gives the same bytes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A property that every context can read, the root's too: `["xds", "node", "cluster"]`.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(property_path(path), value.as_ref().to_vec());
        self
    }

    /// A property that only streams can read: `["request", "time"]`. Integers and durations are 8 bytes, little-endian.
    #[must_use]
    pub fn stream_property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.stream_properties.insert(property_path(path), value.as_ref().to_vec());
        self
    }

    /// A host call that fails from the very start, while the module initializes.
    #[must_use]
    pub fn inject(mut self, injection: Injection) -> Self {
        self.injections.push(injection);
        self
    }
}

/// A property's path as the ABI writes it: segments with a NUL between them.
pub(crate) fn property_path(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}
