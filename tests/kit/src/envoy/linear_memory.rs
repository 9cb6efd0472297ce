//! The linear memories of the WebAssembly machines in a process, found in its memory map.

/// V8 reserves more than this, without any right of access, behind the memory of each WebAssembly machine, so that no
/// 32-bit address needs a check; nothing else in Envoy does.
const GUARD: u64 = 4 << 30;

/// The sizes, bytes, of all mappings in `/proc/PID/maps` that can be read and written and have a [`GUARD`] right behind
/// them.
pub(super) fn sizes(maps: &str) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut before = None;
    for mapping in maps.lines().filter_map(mapping) {
        let (from, to, access) = mapping;
        if let Some((first, end, "rw-p")) = before
            && access == "---p"
            && end == from
            && to - from > GUARD
        {
            sizes.push(end - first);
        }
        before = Some((from, to, access));
    }
    sizes
}

/// From where to where, and with which access.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?, rest.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(sizes(maps), [0x13_0000, 0x12_0000]);
    }
}
