//! Who holds Envoy's memory: its own allocator, or the machines of the filter.

use anyhow::Context;
use meshspan_kit::envoy::Envoy;

/// V8 reserves more than this, without any right of access, behind the memory of each WebAssembly machine, so that no
/// 32-bit address needs a check; nothing else in Envoy does.
const GUARD: u64 = 4 << 30;

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
        let path = format!("/proc/{}/maps", envoy.process_id());
        let maps = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self {
            allocated: allocated.with_context(|| format!("/memory does not tell: {memory}"))?,
            machines: machines(&maps),
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

/// The sizes of all mappings that can be read and written and have a [`GUARD`] right behind them, added up.
fn machines(maps: &str) -> u64 {
    let mut sum = 0;
    let mut before = None;
    for mapping in maps.lines().filter_map(mapping) {
        let (from, to, access) = mapping;
        if let Some((first, end, "rw-p")) = before
            && access == "---p"
            && end == from
            && to - from > GUARD
        {
            sum += end - first;
        }
        before = Some((from, to, access));
    }
    sum
}

/// From where to where, and with which access.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?, rest.split(' ').next()?))
}

#[test]
fn the_memory_of_machines_is_told_from_other_mappings() {
    let maps = "\
        53f03d600000-53f040000000 rw-p 00000000 00:00 0 \n\
        7fcdd2660000-7fcdd2790000 rw-p 00000000 00:00 0 \n\
        7fcdd2790000-7fcfd2660000 ---p 00000000 00:00 0 \n\
        7fcfd2666000-7fcfd268c000 rw-p 00000000 00:00 0 \n\
        7fcfd268c000-7fcfe2680000 ---p 00000000 00:00 0 \n\
        7fd0047a0000-7fd0047b0000 rw-p 00000000 00:00 0 [stack]\n\
        7fd234670000-7fd234790000 rw-p 00000000 00:00 0 \n\
        7fd234790000-7fd434670000 ---p 00000000 00:00 0 \n";
    assert_eq!(machines(maps), 0x13_0000 + 0x12_0000);
}
