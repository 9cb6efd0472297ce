//! The one tokio runtime that all in-process servers and clients of a test binary share.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static ON_THREAD_START: OnceLock<fn()> = OnceLock::new();

/// What each of the runtime's threads does first, for instance to give way to others. To be said before the first call of
/// [`handle`]; the first one that is said holds.
pub fn on_thread_start(hook: fn()) {
    let _ = ON_THREAD_START.set(hook);
}

/// A handle to the shared runtime, which is started at the first call and lives as long as the process.
///
/// # Panics
/// When the system gives no threads or no epoll: nothing can be tested then.
pub fn handle() -> &'static Handle {
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("kit")
                .on_thread_start(|| {
                    if let Some(hook) = ON_THREAD_START.get() {
                        hook();
                    }
                })
                .enable_all()
                .build()
                .expect("a tokio runtime starts")
        })
        .handle()
}

/// Runs a future to its end on the shared runtime. For plain threads only: tokio panics when this is called
/// from within a task.
pub fn block_on<F: Future>(future: F) -> F::Output {
    handle().block_on(future)
}
