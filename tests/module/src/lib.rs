//! The compiled module in a deterministic proxy-wasm host.
//!
//! Envoy runs a filter in a wasm VM and offers it the imports of proxy-wasm ABI 0.2.1. This crate offers the same
//! imports on another engine, where everything that Envoy takes from the world is an argument: the time stands
//! still until a test moves it, randomness comes from a seed, properties come from a table, and any host call can
//! be made to fail. So each run repeats exactly, and what the module costs (host calls, instructions, bytes copied,
//! allocations) can be pinned.
//!
//! A test starts a machine and drives it as Envoy would:
//!
//! ```no_run
//! use meshspan_module_tests::{HostOptions, Module, Vm};
//!
//! let module = Module::load().unwrap();
//! let vm = Vm::start(&module, HostOptions::new()).unwrap();
//! assert!(vm.configure(r#"{"file_format": "1.1"}"#).unwrap());
//! let stream = vm.stream().unwrap();
//! stream.request_headers(&[(":method", "GET"), (":path", "/")]).unwrap();
//! stream.finish().unwrap();
//! vm.tick().unwrap();
//! println!("{:?}", vm.take_cost());
//! ```
//!
//! What Envoy's host does is followed where a filter can tell: which header map is readable in which callback, which
//! status answers what, which arguments are refused. What it does beside the filter (routing, buffering, timers) is
//! the test's to say.

mod abi;
mod cost;
mod counting;
mod failure;
mod guest;
mod host;
mod imports;
mod module;
mod options;
mod scanner;
mod stream;
mod vm;

pub use abi::{Headers, MapType, MetricType, STATUSES, Status, encode_headers, parse_headers};
pub use cost::{CallbackCost, Cost};
pub use failure::{Injected, Injection};
pub use host::{HttpCall, HttpResponse, Log, LogLevel, Metric, PropertyWrite};
pub use module::{LoadError, Module};
pub use options::HostOptions;
pub use scanner::Scanner;
pub use stream::{Action, Stream};
pub use vm::{Trap, Vm};
