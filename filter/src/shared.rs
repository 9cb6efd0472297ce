//! The data that the machines of one proxy share.

use meshspan_core::ledger::SharedData;

use crate::host;

/// The host's shared key-value store. A call that fails is as if nothing were there: what is kept in it is only ever
/// needed when a machine has failed.
pub(crate) struct HostData;

impl SharedData for HostData {
    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        host::shared_data(key).ok().flatten()
    }

    fn set(&mut self, key: &str, value: &[u8], version: u32) -> bool {
        host::set_shared_data(key, value, version).is_ok()
    }
}
