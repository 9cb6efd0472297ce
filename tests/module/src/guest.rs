//! The guest as a host call sees it: its arguments, its memory, and the host's state.

use wasmtime::{Caller, Extern, Memory, Val};

use crate::abi::Status;
use crate::host::Host;

/// Why a host call did not do what was asked.
pub(crate) enum Failure {
    /// The guest is told this status.
    Status(Status),
    /// The guest stops here.
    Trap(wasmtime::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// What a host call comes to.
pub(crate) type Answer = Result<(), Failure>;

/// One host call in progress.
pub(crate) struct Guest<'a> {
    caller: Caller<'a, Host>,
    memory: Memory,
    arguments: &'a [Val],
}

impl<'a> Guest<'a> {
    pub(crate) fn new(mut caller: Caller<'a, Host>, arguments: &'a [Val]) -> wasmtime::Result<Self> {
        let memory = caller
            .get_export("memory")
            .and_then(Extern::into_memory)
            .ok_or_else(|| wasmtime::Error::msg("the module exports no memory"))?;
        Ok(Self { caller, memory, arguments })
    }

    /// The host's state.
    pub(crate) fn host(&mut self) -> &mut Host {
        self.caller.data_mut()
    }

    /// A 32-bit argument, without a sign.
    pub(crate) fn u32(&self, index: usize) -> u32 {
        match self.arguments[index] {
            Val::I32(value) => value.cast_unsigned(),
            ref other => unreachable!("the signature says i32 for argument {index}: {other:?}"),
        }
    }

    /// A 64-bit argument.
    pub(crate) fn i64(&self, index: usize) -> i64 {
        match self.arguments[index] {
            Val::I64(value) => value,
            ref other => unreachable!("the signature says i64 for argument {index}: {other:?}"),
        }
    }

    /// The bytes that arguments `index` (address) and `index + 1` (size) name.
    pub(crate) fn bytes(&mut self, index: usize) -> Result<Vec<u8>, Failure> {
        self.read(self.u32(index), self.u32(index + 1))
    }

    /// The bytes at `address`.
    pub(crate) fn read(&mut self, address: u32, size: u32) -> Result<Vec<u8>, Failure> {
        let (data, host) = self.memory.data_and_store_mut(&mut self.caller);
        let bytes = usize::try_from(address)
            .ok()
            .and_then(|start| data.get(start..)?.get(..usize::try_from(size).ok()?))
            .ok_or(Status::INVALID_MEMORY_ACCESS)?
            .to_vec();
        host.cost.bytes_out += u64::from(size);
        Ok(bytes)
    }

    /// Writes at `address`.
    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) -> Answer {
        let (data, host) = self.memory.data_and_store_mut(&mut self.caller);
        usize::try_from(address)
            .ok()
            .and_then(|start| data.get_mut(start..)?.get_mut(..bytes.len()))
            .ok_or(Status::INVALID_MEMORY_ACCESS)?
            .copy_from_slice(bytes);
        host.cost.bytes_in += bytes.len() as u64;
        Ok(())
    }

    /// Writes a 32-bit result where argument `index` points.
    pub(crate) fn return_u32(&mut self, index: usize, value: u32) -> Answer {
        self.write(self.u32(index), &value.to_le_bytes())
    }

    /// Writes a 64-bit result where argument `index` points.
    pub(crate) fn return_u64(&mut self, index: usize, value: u64) -> Answer {
        self.write(self.u32(index), &value.to_le_bytes())
    }

    /// Hands data over: in memory that the guest gives, its address where argument `index` points, its size where
    /// argument `index + 1` does. Nothing at all is a null address, as in Envoy.
    pub(crate) fn return_data(&mut self, index: usize, bytes: &[u8]) -> Answer {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::INTERNAL_FAILURE)?;
        let address = if bytes.is_empty() { 0 } else { self.allocate(size)? };
        self.write(address, bytes)?;
        self.return_u32(index, address)?;
        self.return_u32(index + 1, size)
    }

    fn allocate(&mut self, size: u32) -> Result<u32, Failure> {
        let function = ["proxy_on_memory_allocate", "malloc"]
            .iter()
            .find_map(|name| self.caller.get_export(name).and_then(Extern::into_func))
            .ok_or_else(|| wasmtime::Error::msg("the module exports neither proxy_on_memory_allocate nor malloc"))?
            .typed::<u32, u32>(&self.caller)?;
        self.host().cost.memory_requests += 1;
        match function.call(&mut self.caller, size)? {
            0 => Err(Status::INVALID_MEMORY_ACCESS.into()),
            address => Ok(address),
        }
    }
}
