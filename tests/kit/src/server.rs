//! An HTTP server in this process: HTTP/1.1 and cleartext HTTP/2 on one port, with connections that a handler
//! can break off.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
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

    /// A body that begins with these bytes, and then the connection is reset.
    pub(crate) fn body_before_reset(self, beginning: Bytes) -> Body {
        body_of(move |sender| async move {
            let _ = sender.send(Frame::data(beginning)).await;
            // The bytes have to be on their way before the reset overtakes them.
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.reset();
            // An ended body would be a complete one: keep it open until the connection is gone.
            sender.closed().await;
        })
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
            let _ = socket2::SockRef::from(&duplicate).set_linger(Some(Duration::ZERO));
        }
    }
}

/// A body that a task writes frame by frame.
pub(crate) fn body_of<F>(write: impl FnOnce(tokio::sync::mpsc::Sender<Frame<Bytes>>) -> F) -> Body
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(write(sender));
    Body::new(Frames(receiver))
}

/// A body of the frames that arrive on a channel.
struct Frames(tokio::sync::mpsc::Receiver<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}
