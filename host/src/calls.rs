//! Every call into the host, each in one place, each failure a value.
//!
//! Source: proxy-wasm ABI v0.2.1, "Functions implemented in the host". Statuses are read as plain integers: a host
//! may answer a number that no enum has.

use std::ptr::{null, null_mut};

pub(crate) use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};

/// A status other than Ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostError(pub(crate) i32);

impl HostError {
    /// There is no such thing: for most calls no failure at all.
    pub(crate) const NOT_FOUND: Self = Self(1);
    /// An argument is none; of a call to a cluster: that cluster does not exist.
    pub(crate) const BAD_ARGUMENT: Self = Self(2);
    /// Something could not be written in the ABI's form.
    pub(crate) const SERIALIZATION_FAILURE: Self = Self(3);
}

type Result<T> = core::result::Result<T, HostError>;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: i32, text: *const u8, size: usize) -> i32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
    fn proxy_get_buffer_bytes(kind: i32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_get_header_map_value(
        map: i32,
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> i32;
    fn proxy_replace_header_map_value(
        map: i32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> i32;
    fn proxy_add_header_map_value(
        map: i32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> i32;
    fn proxy_remove_header_map_value(map: i32, key: *const u8, key_size: usize) -> i32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> i32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> i32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, version: u32)
    -> i32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> i32;
    fn proxy_set_effective_context(context: u32) -> i32;
    fn proxy_done() -> i32;
    fn proxy_define_metric(kind: i32, name: *const u8, name_size: usize, id: *mut u32) -> i32;
    fn proxy_increment_metric(id: u32, offset: i64) -> i32;
    fn proxy_record_metric(id: u32, value: u64) -> i32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> i32;
}

const fn ok(status: i32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(HostError(status)) }
}

/// Takes over what the host wrote into memory that it allocated through `proxy_on_memory_allocate`.
///
/// # Safety
///
/// `data` is null, or came from that function with this `size` and belongs to nobody else.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: the SDK's allocator makes a boxed slice of that size; the caller vouches for the rest.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(data, size)) }.into_vec()
}

/// A host call that answers with bytes: the call gets where to put them.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Result<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size: usize = 0;
    ok(call(&raw mut data, &raw mut size))?;
    // SAFETY: the host answered Ok, so what it wrote there came from our allocator.
    Ok(unsafe { take(data, size) })
}

/// Writes one line to the host's log. One that cannot be written is lost.
pub(crate) fn log(level: LogLevel, text: &str) {
    // SAFETY: the host reads `text` during the call only.
    let _ = unsafe { proxy_log(level as i32, text.as_ptr(), text.len()) };
}

/// Now, in ns since the Unix epoch.
pub(crate) fn now() -> Result<u64> {
    let mut time = 0;
    // SAFETY: the host writes eight bytes there.
    ok(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// Ticks from now on come every `period` ms.
pub(crate) fn set_tick_period(period: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    ok(unsafe { proxy_set_tick_period_milliseconds(period) })
}

/// The first `max` bytes of a buffer.
pub(crate) fn buffer(kind: BufferType, max: usize) -> Result<Vec<u8>> {
    // SAFETY: the host writes to the two places that `bytes` owns.
    bytes(|data, size| unsafe { proxy_get_buffer_bytes(kind as i32, 0, max, data, size) })
}

/// The first value of a header. `None` when there is none.
pub(crate) fn header(map: MapType, name: &str) -> Result<Option<Vec<u8>>> {
    // SAFETY: the host reads the name during the call, and writes to the two places that `bytes` owns.
    found(bytes(|data, size| unsafe { proxy_get_header_map_value(map as i32, name.as_ptr(), name.len(), data, size) }))
}

/// All lines of a header map, serialized.
pub(crate) fn header_map(map: MapType) -> Result<Vec<u8>> {
    // SAFETY: the host writes to the two places that `bytes` owns.
    bytes(|data, size| unsafe { proxy_get_header_map_pairs(map as i32, data, size) })
}

/// Makes a header stand once, with `value`.
pub(crate) fn set_header(map: MapType, name: &str, value: &str) -> Result<()> {
    // SAFETY: the host reads the two texts during the call only.
    ok(unsafe { proxy_replace_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Adds a line to a header.
pub(crate) fn add_header(map: MapType, name: &str, value: &str) -> Result<()> {
    // SAFETY: the host reads the two texts during the call only.
    ok(unsafe { proxy_add_header_map_value(map as i32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Takes all lines of a header away.
pub(crate) fn remove_header(map: MapType, name: &str) -> Result<()> {
    // SAFETY: the host reads the name during the call only.
    ok(unsafe { proxy_remove_header_map_value(map as i32, name.as_ptr(), name.len()) })
}

/// A property's bytes, by its path with NUL between the segments. `None` when the host does not have it.
pub(crate) fn property(path: &[u8]) -> Result<Option<Vec<u8>>> {
    // SAFETY: the host reads the path during the call, and writes to the two places that `bytes` owns.
    found(bytes(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }))
}

/// What is not there is no failure.
fn found(result: Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(HostError::NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets a property of the stream; for a path that is not the host's own: filter state, its key with `wasm.` in front.
pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Result<()> {
    // SAFETY: the host reads both during the call only.
    ok(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// A value that the machines of this proxy share, and its version. `None` when there is none.
pub(crate) fn shared_data(key: &str) -> Result<Option<(Vec<u8>, u32)>> {
    let mut version = 0;
    // SAFETY: the host reads the key during the call, and writes to the two places that `bytes` owns and four bytes to
    // `version`.
    let value =
        bytes(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version) });
    found(value).map(|value| value.map(|value| (value, version)))
}

/// Sets a value that the machines of this proxy share, if it still has this version (0: whatever it has)
/// or there is none.
pub(crate) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<()> {
    // SAFETY: the host reads both during the call only.
    ok(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) })
}

/// Sends an HTTP request from the effective context. Returns the token that its answer will name.
pub(crate) fn http_call(cluster: &str, headers: &[u8], body: &[u8], timeout: u32) -> Result<u32> {
    let mut token = 0;
    // An empty list of trailers.
    let trailers = 0_u32.to_le_bytes();
    // SAFETY: the host reads all texts during the call only, and writes four bytes to `token`.
    ok(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            if body.is_empty() { null() } else { body.as_ptr() },
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Calls from now on, in this callback, are made as this context.
pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    ok(unsafe { proxy_set_effective_context(context) })
}

/// The context whose `proxy_on_done` asked for time needs no more.
pub(crate) fn done() -> Result<()> {
    // SAFETY: no memory is passed.
    ok(unsafe { proxy_done() })
}

/// Defines a metric, or finds it.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32> {
    let mut id = 0;
    // SAFETY: the host reads the name during the call, and writes four bytes to `id`.
    ok(unsafe { proxy_define_metric(kind as i32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter, for which `by` is above zero, or moves a gauge.
pub(crate) fn increment_metric(id: u32, by: i64) -> Result<()> {
    // SAFETY: no memory is passed.
    ok(unsafe { proxy_increment_metric(id, by) })
}

/// Sets a gauge, or gives a histogram one more value.
pub(crate) fn record_metric(id: u32, value: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    ok(unsafe { proxy_record_metric(id, value) })
}

/// Fills `buffer` with randomness from the host.
pub(crate) fn random(buffer: &mut [u8]) -> Result<()> {
    // SAFETY: the host writes within the buffer.
    ok(unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) })
}
