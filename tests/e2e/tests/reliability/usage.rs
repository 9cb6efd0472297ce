//! Who holds Envoy's memory: its own allocator, or the machines of the filter.

use anyhow::Context;
use meshspan_kit::envoy::Envoy;

/// Memory that an Envoy holds, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What its allocator has given out and not got back: all that Envoy's own code holds, on behalf of the filter too
    /// (metrics, shared data, calls under way).
    pub(crate) allocated: u64,
    /// The linear memories of all machines: what the filter itself holds or has ever held. It is mapped by V8, past
    /// Envoy's allocator, and never shrinks.
    pub(crate) machines: u64,
    /// Resident memory: all that, and what allocators keep, code, stacks and V8's own heap.
    pub(crate) resident: u64,
}

impl Usage {
    /// As it stands.
    pub(crate) fn of(envoy: &Envoy) -> anyhow::Result<Self> {
        let memory: serde_json::Value = serde_json::from_slice(&envoy.admin_get("/memory")?.body)?;
        let allocated = memory["allocated"].as_str().and_then(|text| text.parse().ok());
        Ok(Self {
            allocated: allocated.with_context(|| format!("/memory does not tell: {memory}"))?,
            machines: envoy.linear_memories()?.into_iter().sum(),
            resident: envoy.resident_memory()?,
        })
    }

    /// The larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            allocated: self.allocated.max(other.allocated),
            machines: self.machines.max(other.machines),
            resident: self.resident.max(other.resident),
        }
    }

    /// Whether any is more than `before` and `room` together.
    pub(crate) fn exceeds(self, before: Self, room: Self) -> bool {
        self.allocated > before.allocated + room.allocated
            || self.machines > before.machines + room.machines
            || self.resident > before.resident + room.resident
    }
}
