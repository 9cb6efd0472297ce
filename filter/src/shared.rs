//! The data that the machines of one proxy share.

use meshspan_core::shared_data::{SharedData, Stored};

use crate::host;

/// The host's shared key-value store.
pub(crate) struct HostData;

impl SharedData for HostData {
    fn get(&mut self, key: &str) -> Stored {
        match host::shared_data(key) {
            Ok(Some((value, version))) => Stored::Value(value, version),
            Ok(None) => Stored::Nothing,
            Err(_) => Stored::Unavailable,
        }
    }

    fn set(&mut self, key: &str, value: &[u8], version: u32) -> bool {
        host::set_shared_data(key, value, version).is_ok()
    }
}
