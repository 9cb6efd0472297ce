//! Whole header maps of the host.

use meshspan_core::counter::Counter;
use meshspan_core::plugin::Plugin;

use crate::calls::{self, HostError, MapType};

/// A header map, empty when the host does not give it; that is counted.
pub(crate) fn header_map(plugin: &mut Plugin, map: MapType) -> Vec<u8> {
    match calls::header_map(map) {
        Ok(lines) => lines,
        Err(error) => {
            if error != HostError::NOT_FOUND {
                plugin.counters.increment(Counter::HostCallsFailed);
            }
            Vec::new()
        }
    }
}
