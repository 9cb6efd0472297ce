//! Header maps, buffers and properties.

use super::{Import, data, plain};
use crate::abi::{Headers, MapType, Status, encode_headers, parse_headers};
use crate::guest::{Answer, Failure, Guest};
use crate::host::PropertyWrite;

pub(super) const IMPORTS: &[Import] = &[
    data("proxy_get_header_map_pairs", "iii", 1, get_pairs),
    plain("proxy_set_header_map_pairs", "iii", set_pairs),
    plain("proxy_get_header_map_size", "ii", get_size),
    data("proxy_get_header_map_value", "iiiii", 3, get_value),
    plain("proxy_add_header_map_value", "iiiii", add_value),
    plain("proxy_replace_header_map_value", "iiiii", replace_value),
    plain("proxy_remove_header_map_value", "iii", remove_value),
    data("proxy_get_buffer_bytes", "iiiii", 3, get_buffer),
    plain("proxy_get_buffer_status", "iii", get_buffer_status),
    plain("proxy_set_buffer_bytes", "iiiii", set_buffer),
    data("proxy_get_property", "iiii", 2, get_property),
    plain("proxy_set_property", "iiii", set_property),
];

fn map(guest: &Guest<'_>) -> Result<MapType, Failure> {
    Ok(MapType::from_number(guest.u32(0)).ok_or(Status::BAD_ARGUMENT)?)
}

fn changeable<'a>(guest: &'a mut Guest<'_>) -> Result<&'a mut Headers, Failure> {
    let map = map(guest)?;
    Ok(guest.host().header_map_mut(map).ok_or(Status::BAD_ARGUMENT)?)
}

/// A map that is not there now reads as empty: Envoy reports no failure here, unlike for a single value.
fn get_pairs(guest: &mut Guest<'_>) -> Answer {
    let map = map(guest)?;
    let lines = guest.host().header_map(map).cloned().unwrap_or_default();
    let bytes = if lines.is_empty() { Vec::new() } else { encode_headers(&lines) };
    guest.return_data(1, &bytes)
}

fn set_pairs(guest: &mut Guest<'_>) -> Answer {
    let lines = parse_headers(&guest.bytes(1)?).ok_or(Status::BAD_ARGUMENT)?;
    *changeable(guest)? = lines;
    Ok(())
}

fn get_size(guest: &mut Guest<'_>) -> Answer {
    let map = map(guest)?;
    let size: usize = guest
        .host()
        .header_map(map)
        .ok_or(Status::BAD_ARGUMENT)?
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    guest.return_u32(1, u32::try_from(size).unwrap_or(u32::MAX))
}

/// The first value alone, as Envoy answers for a header that is repeated.
fn get_value(guest: &mut Guest<'_>) -> Answer {
    let map = map(guest)?;
    let name = guest.bytes(1)?.to_ascii_lowercase();
    let missing = if guest.host().in_log() { Status::NOT_FOUND } else { Status::BAD_ARGUMENT };
    let lines = guest.host().header_map(map).ok_or(missing)?;
    let value = lines.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    guest.return_data(3, &value.ok_or(Status::NOT_FOUND)?)
}

fn add_value(guest: &mut Guest<'_>) -> Answer {
    let (name, value) = (guest.bytes(1)?.to_ascii_lowercase(), guest.bytes(3)?);
    changeable(guest)?.push((name, value));
    Ok(())
}

/// The first line of that name takes the value and the others go; without one, a line is added.
fn replace_value(guest: &mut Guest<'_>) -> Answer {
    let (name, value) = (guest.bytes(1)?.to_ascii_lowercase(), guest.bytes(3)?);
    let lines = changeable(guest)?;
    let place = lines.iter().position(|(key, _)| *key == name).unwrap_or(lines.len());
    lines.retain(|(key, _)| *key != name);
    lines.insert(place, (name, value));
    Ok(())
}

fn remove_value(guest: &mut Guest<'_>) -> Answer {
    let name = guest.bytes(1)?.to_ascii_lowercase();
    changeable(guest)?.retain(|(key, _)| *key != name);
    Ok(())
}

fn get_buffer(guest: &mut Guest<'_>) -> Answer {
    let (number, start, size) = (guest.u32(0), guest.u32(1), guest.u32(2));
    let buffer = guest.host().buffer(number).cloned().ok_or(Status::NOT_FOUND)?;
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(buffer.len());
    let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(buffer.len());
    guest.return_data(3, &buffer[start..end])
}

fn get_buffer_status(guest: &mut Guest<'_>) -> Answer {
    let number = guest.u32(0);
    let size = guest.host().buffer(number).ok_or(Status::NOT_FOUND)?.len();
    guest.return_u32(1, u32::try_from(size).unwrap_or(u32::MAX))?;
    guest.return_u32(2, 0)
}

fn set_buffer(_: &mut Guest<'_>) -> Answer {
    // None of the buffers that this host has can be written in Envoy either.
    Err(Status::BAD_ARGUMENT.into())
}

fn get_property(guest: &mut Guest<'_>) -> Answer {
    let path = guest.bytes(0)?;
    let value = guest.host().property(&path).cloned().ok_or(Status::NOT_FOUND)?;
    guest.return_data(2, &value)
}

/// Kept for the test to see, and for the same stream to read back.
fn set_property(guest: &mut Guest<'_>) -> Answer {
    let (path, value) = (guest.bytes(0)?, guest.bytes(2)?);
    let host = guest.host();
    let context = host.effective_context;
    if let Some(stream) = host.streams.get_mut(&context) {
        stream.properties.insert(path.clone(), value.clone());
    }
    host.property_writes.push(PropertyWrite { context, path, value });
    Ok(())
}
