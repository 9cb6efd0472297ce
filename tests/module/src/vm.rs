//! One machine: the module started, with its root context.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use wasmtime::{Instance, Store, StoreLimitsBuilder, Val, WasmBacktrace};

use crate::abi::MetricType;
use crate::cost::{CallbackCost, Cost};
use crate::counting::{BYTES, COUNT};
use crate::failure::Injection;
use crate::host::{Host, HttpCall, HttpResponse, Log, LogLevel, Metric, Phase, PropertyWrite, StreamState};
use crate::module::Module;
use crate::options::HostOptions;
use crate::stream::Stream;

/// Envoy's number for the first context of a machine.
const ROOT: u32 = 1;
/// Instructions that one callback may take before it counts as endless.
const FUEL: u64 = 2_000_000_000;
/// Memory that Envoy lets a guest have.
const MEMORY: usize = 1 << 30;

/// The module running, with its root context.
pub struct Vm {
    inner: RefCell<Inner>,
    next_context: Cell<u32>,
}

struct Inner {
    store: Store<Host>,
    instance: Instance,
    total: Cost,
    callbacks: Vec<CallbackCost>,
    trapped: bool,
}

impl Vm {
    /// Starts the module as Envoy does: initialize, create the root context, start the machine.
    pub fn start(module: &Module, options: HostOptions) -> Result<Self, Trap> {
        let engine = module.instance.module().engine();
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY).build();
        let mut store = Store::new(engine, Host::new(options, limits, ROOT));
        store.limiter(|host| &mut host.limits);
        store.set_fuel(FUEL).map_err(|error| Trap::new("(start)", &error, &[]))?;
        let instance = module
            .instance
            .instantiate(&mut store)
            .map_err(|error| Trap::new("(start)", &error, &store.data().logs))?;
        let inner = Inner { store, instance, total: Cost::default(), callbacks: Vec::new(), trapped: false };
        let vm = Self { inner: RefCell::new(inner), next_context: Cell::new(ROOT + 1) };
        // A reactor has _initialize, an older toolchain's module has _start.
        if vm.has("_initialize") {
            vm.call("_initialize", &[])?;
        } else {
            vm.call("_start", &[])?;
        }
        vm.call("proxy_on_context_create", &[ROOT, 0])?;
        let size = length(&vm.inner.borrow().store.data().options.vm_configuration);
        if vm.call("proxy_on_vm_start", &[ROOT, size])? == Some(0) {
            return Err(vm.refused("proxy_on_vm_start"));
        }
        Ok(vm)
    }

    /// Hands over the plugin's configuration. Whether the module takes it.
    pub fn configure(&self, json: &str) -> Result<bool, Trap> {
        self.configure_bytes(json.as_bytes())
    }

    /// The same with any bytes.
    pub fn configure_bytes(&self, bytes: &[u8]) -> Result<bool, Trap> {
        self.with(|host| host.plugin_configuration = bytes.to_vec());
        Ok(self.call("proxy_on_configure", &[ROOT, length(bytes)])? != Some(0))
    }

    /// Creates a stream's context.
    pub fn stream(&self) -> Result<Stream<'_>, Trap> {
        let context = self.next_context.replace(self.next_context.get() + 1);
        self.with(|host| host.streams.insert(context, StreamState::default()));
        self.call("proxy_on_context_create", &[context, ROOT])?;
        Ok(Stream::new(self, context))
    }

    /// The timer goes off. The clock does not move by itself.
    pub fn tick(&self) -> Result<(), Trap> {
        self.call("proxy_on_tick", &[ROOT]).map(drop)
    }

    /// Answers a call. A `token` that was never given out is passed on all the same.
    pub fn respond(&self, token: u32, response: HttpResponse) -> Result<(), Trap> {
        let sizes = [response.headers.len(), response.body.len(), response.trailers.len()]
            .map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        self.with(|host| host.http_response = Some(response));
        let result = self.call("proxy_on_http_call_response", &[ROOT, token, sizes[0], sizes[1], sizes[2]]);
        self.with(|host| host.http_response = None);
        result.map(drop)
    }

    /// The plugin goes away: whether the module is done already. If not, it says so later ([`Vm::done_calls`]).
    pub fn root_done(&self) -> Result<bool, Trap> {
        Ok(self.call("proxy_on_done", &[ROOT])? != Some(0))
    }

    /// The root context is deleted.
    pub fn root_delete(&self) -> Result<(), Trap> {
        self.call("proxy_on_delete", &[ROOT]).map(drop)
    }

    /// Calls any export. `None` if there is no such export (Envoy skips it too) or it returns nothing.
    pub fn call(&self, export: &str, arguments: &[u32]) -> Result<Option<u32>, Trap> {
        // Envoy makes the context that a callback is about the effective one; the first argument names it.
        if let Some(&context) = arguments.first() {
            self.with(|host| host.effective_context = context);
        }
        self.inner.borrow_mut().call(export, arguments)
    }

    /// Whether the module exports a function of that name.
    pub fn has(&self, export: &str) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        inner.instance.get_func(&mut inner.store, export).is_some()
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        let nanoseconds = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.with(|host| host.options.now = host.options.now.saturating_add(nanoseconds));
    }

    /// Nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.with(|host| host.options.now)
    }

    /// The calls to clusters so far; they are not given again.
    pub fn take_http_calls(&self) -> Vec<HttpCall> {
        self.with(|host| std::mem::take(&mut host.http_calls))
    }

    /// What was logged so far.
    pub fn logs(&self) -> Vec<Log> {
        self.with(|host| host.logs.clone())
    }

    /// What was logged so far; it is not given again.
    pub fn take_logs(&self) -> Vec<Log> {
        self.with(|host| std::mem::take(&mut host.logs))
    }

    /// The metrics that the module defined, in that order.
    pub fn metrics(&self) -> Vec<Metric> {
        self.with(|host| host.metrics.clone())
    }

    /// A counter's or gauge's value, 0 if it was not defined.
    pub fn metric(&self, name: &str) -> u64 {
        self.with(|host| {
            let is = |metric: &&Metric| metric.name == name && metric.metric_type != MetricType::Histogram;
            host.metrics.iter().find(is).map_or(0, |metric| metric.value)
        })
    }

    /// The properties that the module set, in order.
    pub fn property_writes(&self) -> Vec<PropertyWrite> {
        self.with(|host| host.property_writes.clone())
    }

    /// The period of ticks that the module asked for: milliseconds, 0 for none.
    pub fn tick_period(&self) -> u32 {
        self.with(|host| host.tick_period)
    }

    /// How often the module said that it is done.
    pub fn done_calls(&self) -> u32 {
        self.with(|host| host.done_calls)
    }

    /// Lets host calls fail from now on. Several rules can stand; the first that has an answer gives it.
    pub fn inject(&self, injection: Injection) {
        self.with(|host| host.injections.push(injection));
    }

    /// Host calls answer truly again.
    pub fn clear_injections(&self) {
        self.with(|host| host.injections.clear());
    }

    /// The cost of all callbacks since the last time this was asked.
    pub fn take_cost(&self) -> Cost {
        let mut inner = self.inner.borrow_mut();
        inner.callbacks.clear();
        std::mem::take(&mut inner.total)
    }

    /// The cost of each callback since [`Vm::take_cost`], in order.
    pub fn callbacks(&self) -> Vec<CallbackCost> {
        self.inner.borrow().callbacks.clone()
    }

    /// The guest's memory, in bytes. It never shrinks.
    pub fn memory_size(&self) -> usize {
        let inner = &mut *self.inner.borrow_mut();
        inner.instance.get_memory(&mut inner.store, "memory").map_or(0, |memory| memory.data_size(&inner.store))
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Host) -> R) -> R {
        act(self.inner.borrow_mut().store.data_mut())
    }

    /// Calls an export while a stream is in `phase`.
    pub(crate) fn call_in(&self, phase: Phase, export: &str, arguments: &[u32]) -> Result<Option<u32>, Trap> {
        let context = arguments.first().copied().unwrap_or(ROOT);
        let enter = |phase| {
            self.with(|host| {
                if let Some(stream) = host.streams.get_mut(&context) {
                    stream.phase = phase;
                }
            });
        };
        enter(phase);
        let result = self.call(export, arguments);
        enter(Phase::Idle);
        result
    }

    fn refused(&self, callback: &str) -> Trap {
        Trap {
            callback: callback.to_owned(),
            message: "the module answered false".to_owned(),
            backtrace: Vec::new(),
            logs: self.logs(),
        }
    }
}

impl Inner {
    fn call(&mut self, export: &str, arguments: &[u32]) -> Result<Option<u32>, Trap> {
        let Some(function) = self.instance.get_func(&mut self.store, export) else {
            return Ok(None);
        };
        if self.trapped {
            let error = wasmtime::Error::msg("the machine has trapped before: Envoy would not call it again");
            return Err(Trap::new(export, &error, &self.store.data().logs));
        }
        let arguments: Vec<Val> = arguments.iter().map(|value| Val::I32(value.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        self.store.data_mut().cost = Cost::default();
        let (allocations, allocated_bytes) = (self.counter(COUNT), self.counter(BYTES));
        let outcome = self.store.set_fuel(FUEL).and_then(|()| function.call(&mut self.store, &arguments, &mut results));
        let mut cost = std::mem::take(&mut self.store.data_mut().cost);
        cost.fuel = FUEL - self.store.get_fuel().unwrap_or(FUEL);
        cost.callbacks = 1;
        cost.allocations = self.counter(COUNT) - allocations;
        cost.allocated_bytes = self.counter(BYTES) - allocated_bytes;
        self.total += &cost;
        self.callbacks.push(CallbackCost { callback: export.to_owned(), cost });
        if let Err(error) = outcome {
            self.trapped = true;
            return Err(Trap::new(export, &error, &self.store.data().logs));
        }
        Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned))
    }

    /// What a module that counts has counted; 0 for another.
    fn counter(&mut self, name: &str) -> u64 {
        let global = self.instance.get_global(&mut self.store, name);
        global.and_then(|global| global.get(&mut self.store).i64()).map_or(0, i64::cast_unsigned)
    }
}

/// The module stopped where it must not: in Envoy, every later request would be answered 503.
#[derive(Clone, Debug)]
pub struct Trap {
    /// The export that was called.
    pub callback: String,
    /// What happened.
    pub message: String,
    /// The guest's functions, innermost first.
    pub backtrace: Vec<String>,
    /// What it had logged, a panic's message too.
    pub logs: Vec<Log>,
}

impl Trap {
    fn new(callback: &str, error: &wasmtime::Error, logs: &[Log]) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        let name = |frame: &wasmtime::FrameInfo| {
            frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned)
        };
        Self {
            callback: callback.to_owned(),
            message: error.root_cause().to_string(),
            backtrace: frames.iter().map(name).collect(),
            logs: logs.to_vec(),
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} trapped: {}", self.callback, self.message)?;
        for function in &self.backtrace {
            writeln!(formatter, "  in {function}")?;
        }
        let serious: Vec<&Log> = self.logs.iter().filter(|log| log.level >= LogLevel::Warn).collect();
        for log in serious.iter().skip(serious.len().saturating_sub(10)) {
            writeln!(formatter, "  logged {:?}: {}", log.level, log.text.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for Trap {}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a configuration is smaller than 4 GiB")
}
