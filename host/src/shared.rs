//! The data that the machines of one proxy share.

use meshspan_core::shared_data::{SharedData, Stored};

use crate::calls;

/// A compare-and-swap number that no value has, for a key that has none yet. Envoy's host compares the numbers only where
/// a value stands, so of several workers that put the first one, one succeeds (proxy-wasm-cpp-host, `SharedData::set`;
/// its numbers count up from 1, one for each value that any machine of the process puts).
const NEVER: u32 = u32::MAX;

/// The number that overwrites whatever stands there.
const ANY: u32 = 0;

/// The host's shared key-value store.
pub(crate) struct HostData;

impl SharedData for HostData {
    fn get(&mut self, key: &str) -> Stored {
        match calls::shared_data(key) {
            Ok(Some((value, version))) => Stored::Value(value, version),
            Ok(None) => Stored::Nothing,
            Err(_) => Stored::Unavailable,
        }
    }

    fn set(&mut self, key: &str, value: &[u8], seen: Option<u32>) -> bool {
        if calls::set_shared_data(key, value, seen.unwrap_or(NEVER)).is_ok() {
            return true;
        }
        // A host may compare the number with nothing, too. It leaves no way but to overwrite.
        seen.is_none() && matches!(self.get(key), Stored::Nothing) && calls::set_shared_data(key, value, ANY).is_ok()
    }
}
