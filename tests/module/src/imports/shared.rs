//! Data and queues that all machines of the process share. Here there is one machine.

use super::{Import, data, plain};
use crate::abi::Status;
use crate::guest::{Answer, Failure, Guest};
use crate::host::SharedQueue;

pub(super) const IMPORTS: &[Import] = &[
    data("proxy_get_shared_data", "iiiii", 2, get_data),
    plain("proxy_set_shared_data", "iiiii", set_data),
    plain("proxy_register_shared_queue", "iii", register_queue),
    plain("proxy_resolve_shared_queue", "iiiii", resolve_queue),
    plain("proxy_enqueue_shared_queue", "iii", enqueue),
    data("proxy_dequeue_shared_queue", "iii", 1, dequeue),
];

fn get_data(guest: &mut Guest<'_>) -> Answer {
    let key = guest.bytes(0)?;
    let (value, cas) = guest.host().shared_data.get(&key).cloned().ok_or(Status::NOT_FOUND)?;
    guest.return_data(2, &value)?;
    guest.return_u32(4, cas)
}

/// A compare-and-swap number of 0 overwrites, and any will do where there is nothing to overwrite: so does Envoy's host.
fn set_data(guest: &mut Guest<'_>) -> Answer {
    let (key, value, cas) = (guest.bytes(0)?, guest.bytes(2)?, guest.u32(4));
    let data = &mut guest.host().shared_data;
    let current = data.get(&key).map(|(_, cas)| *cas);
    if cas != 0 && current.is_some_and(|current| current != cas) {
        return Err(Status::CAS_MISMATCH.into());
    }
    data.insert(key, (value, current.unwrap_or(0) + 1));
    Ok(())
}

fn position(guest: &mut Guest<'_>, name: &[u8]) -> Option<u32> {
    let found = guest.host().shared_queues.iter().position(|queue| queue.name == name)?;
    u32::try_from(found + 1).ok()
}

fn register_queue(guest: &mut Guest<'_>) -> Answer {
    let name = guest.bytes(0)?;
    if position(guest, &name).is_none() {
        guest.host().shared_queues.push(SharedQueue { name: name.clone(), ..SharedQueue::default() });
    }
    let number = position(guest, &name).ok_or(Status::INTERNAL_FAILURE)?;
    guest.return_u32(2, number)
}

fn resolve_queue(guest: &mut Guest<'_>) -> Answer {
    let name = guest.bytes(2)?;
    let number = position(guest, &name).ok_or(Status::NOT_FOUND)?;
    guest.return_u32(4, number)
}

fn queue<'a>(guest: &'a mut Guest<'_>) -> Result<&'a mut SharedQueue, Failure> {
    let index = usize::try_from(guest.u32(0)).ok().and_then(|number| number.checked_sub(1)).ok_or(Status::NOT_FOUND)?;
    Ok(guest.host().shared_queues.get_mut(index).ok_or(Status::NOT_FOUND)?)
}

fn enqueue(guest: &mut Guest<'_>) -> Answer {
    let value = guest.bytes(1)?;
    queue(guest)?.items.push_back(value);
    Ok(())
}

fn dequeue(guest: &mut Guest<'_>) -> Answer {
    let value = queue(guest)?.items.pop_front().ok_or(Status::EMPTY)?;
    guest.return_data(1, &value)
}
