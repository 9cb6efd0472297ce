//! One HTTP stream, from its headers to its log.

use std::cell::Cell;

use crate::abi::Headers;
use crate::host::Phase;
use crate::options::property_path;
use crate::vm::{Trap, Vm};

/// What the module wants done with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Continue,
    /// Wait until the module says go on.
    Pause,
    /// A number that is neither.
    Unknown(u32),
}

impl Action {
    /// An export that is absent lets the stream go on.
    fn from_result(result: Option<u32>) -> Self {
        match result {
            None | Some(0) => Self::Continue,
            Some(1) => Self::Pause,
            Some(other) => Self::Unknown(other),
        }
    }
}

/// A stream whose context has been created. Any callback can be left out or repeated.
pub struct Stream<'a> {
    vm: &'a Vm,
    context: u32,
    was_done: Cell<bool>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(vm: &'a Vm, context: u32) -> Self {
        Self { vm, context, was_done: Cell::new(false) }
    }

    /// Its context's number.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// A property of this stream, over the table's.
    #[must_use]
    pub fn property(self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.set(|state| {
            state.properties.insert(property_path(path), value.as_ref().to_vec());
        });
        self
    }

    /// The request's headers arrive, and more is to come.
    pub fn request_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, lines: &[(N, V)]) -> Result<Action, Trap> {
        self.set(|state| state.request_headers = Some(owned(lines)));
        self.lines(Phase::RequestHeaders, "proxy_on_request_headers", &[count(lines), 0])
    }

    /// The request's headers arrive, and there is no more to it.
    pub fn whole_request<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, lines: &[(N, V)]) -> Result<Action, Trap> {
        self.set(|state| state.request_headers = Some(owned(lines)));
        self.lines(Phase::RequestHeaders, "proxy_on_request_headers", &[count(lines), 1])
    }

    /// The request's trailers arrive.
    pub fn request_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, lines: &[(N, V)]) -> Result<Action, Trap> {
        self.set(|state| state.request_trailers = Some(owned(lines)));
        self.lines(Phase::RequestTrailers, "proxy_on_request_trailers", &[count(lines)])
    }

    /// The response's headers arrive, and more is to come.
    pub fn response_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, lines: &[(N, V)]) -> Result<Action, Trap> {
        self.set(|state| state.response_headers = Some(owned(lines)));
        self.lines(Phase::ResponseHeaders, "proxy_on_response_headers", &[count(lines), 0])
    }

    /// The response's trailers arrive.
    pub fn response_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&self, lines: &[(N, V)]) -> Result<Action, Trap> {
        self.set(|state| state.response_trailers = Some(owned(lines)));
        self.lines(Phase::ResponseTrailers, "proxy_on_response_trailers", &[count(lines)])
    }

    /// The stream is complete.
    pub fn log(&self) -> Result<(), Trap> {
        self.vm.call_in(Phase::Log, "proxy_on_log", &[self.context]).map(drop)
    }

    /// Whether the module is done with it.
    pub fn done(&self) -> Result<bool, Trap> {
        self.was_done.set(true);
        Ok(self.vm.call("proxy_on_done", &[self.context])? != Some(0))
    }

    /// Its context goes away, and the calls that it sent. No context goes before it was asked whether it is done.
    pub fn delete(&self) -> Result<(), Trap> {
        if !self.was_done.get() {
            self.done()?;
        }
        let result = self.vm.call("proxy_on_delete", &[self.context]);
        self.vm.with(|host| {
            host.streams.remove(&self.context);
            host.http_calls.retain(|call| call.context != self.context);
        });
        result.map(drop)
    }

    /// Log, done, delete: the end of every HTTP stream.
    pub fn finish(self) -> Result<(), Trap> {
        self.log()?;
        self.done()?;
        self.delete()
    }

    /// The request's headers as they would go upstream now.
    pub fn upstream_headers(&self) -> Headers {
        self.vm.with(|host| {
            host.streams.get(&self.context).and_then(|state| state.request_headers.clone()).unwrap_or_default()
        })
    }

    /// All values of one of them, in order.
    pub fn upstream_header(&self, name: &str) -> Vec<String> {
        let named = |(key, value): (Vec<u8>, Vec<u8>)| {
            (key == name.as_bytes()).then(|| String::from_utf8_lossy(&value).into_owned())
        };
        self.upstream_headers().into_iter().filter_map(named).collect()
    }

    fn set(&self, change: impl FnOnce(&mut crate::host::StreamState)) {
        self.vm.with(|host| host.streams.get_mut(&self.context).map(change));
    }

    fn lines(&self, phase: Phase, export: &str, rest: &[u32]) -> Result<Action, Trap> {
        let mut arguments = vec![self.context];
        arguments.extend(rest);
        self.vm.call_in(phase, export, &arguments).map(Action::from_result)
    }
}

fn owned<N: AsRef<[u8]>, V: AsRef<[u8]>>(lines: &[(N, V)]) -> Headers {
    lines.iter().map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec())).collect()
}

fn count<T>(lines: &[T]) -> u32 {
    u32::try_from(lines.len()).expect("a test's headers can be counted")
}
