//! What the module costs: counted, not timed.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// The cost of one callback, or of several added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Instructions, as the engine's fuel counts them. It depends on the compiler that built the module.
    pub fuel: u64,
    /// Calls out of the module, by function.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// Bytes that the host wrote into the module's memory.
    pub bytes_in: u64,
    /// Bytes that the host read from the module's memory.
    pub bytes_out: u64,
    /// Times the host asked the module for memory to put an answer in.
    pub memory_requests: u64,
    /// Blocks that the module's allocator gave out, those for the host among them. A block that grows in its place is
    /// none. Only a module that counts ([`Module::counting`](crate::Module::counting)) says; others leave 0.
    pub allocations: u64,
    /// The bytes that were asked for in them.
    pub allocated_bytes: u64,
    /// Calls into the module, the host's requests for memory not among them.
    pub callbacks: u64,
}

impl Cost {
    /// All calls out of the module.
    pub fn total_host_calls(&self) -> u64 {
        self.host_calls.values().sum()
    }
}

impl AddAssign<&Self> for Cost {
    fn add_assign(&mut self, other: &Self) {
        self.fuel += other.fuel;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.memory_requests += other.memory_requests;
        self.allocations += other.allocations;
        self.allocated_bytes += other.allocated_bytes;
        self.callbacks += other.callbacks;
        for (name, count) in &other.host_calls {
            *self.host_calls.entry(name).or_default() += count;
        }
    }
}

/// What one call into the module cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackCost {
    /// The export that was called.
    pub callback: String,
    /// Its cost.
    pub cost: Cost,
}
