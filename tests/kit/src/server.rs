//! An HTTP server in this process: HTTP/1.1 and cleartext HTTP/2 on one port, with connections that a handler
//! can break off.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// A running server; dropping it closes the port and every connection.
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// The connection a request came on, found in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Counts from 1 in each process.
    pub(crate) id: u64,
    reset: Arc<Notify>,
}

impl Connection {
    /// Breaks the TCP connection off with a reset (RST), at once, with everything that runs on it.
    pub(crate) fn reset(&self) {
        self.reset.notify_one();
    }
}

impl Server {
    /// Serves `router` at `address`; port 0 takes a free one.
    pub(crate) fn start(address: SocketAddr, router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = crate::runtime::handle();
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let task = runtime.spawn(accept(listener, router));
        Ok(Self { address, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

async fn accept(listener: tokio::net::TcpListener, router: Router) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, router.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let Ok(duplicate) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let connection = Connection { id: NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed), reset: Arc::new(Notify::new()) };
    let reset = Arc::clone(&connection.reset);
    let service = TowerToHyperService::new(router.layer(axum::Extension(connection)));
    let builder = Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        () = reset.notified() => {
            // No lingering: closing then sends a reset instead of what is still buffered.
            let _ = socket2::SockRef::from(&duplicate).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}
