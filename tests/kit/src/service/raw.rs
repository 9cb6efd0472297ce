//! A TCP server that keeps the exact bytes of each HTTP/1.1 request head and answers with given bytes: for
//! comparisons byte for byte, and for answers that no proper server gives.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

/// One step of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Lets time pass.
    Pause(Duration),
    /// Sends back whatever comes, until the client closes: a tunnel after a 101.
    Echo,
    /// Closes the connection in order.
    Close,
    /// Breaks the connection off with a reset (RST).
    Reset,
    /// Answers nothing more, until the client closes.
    Hang,
}

/// A running server; dropping it closes its port and connections.
pub struct RawUpstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl RawUpstream {
    /// Answers every request with `200` and the body `ok`.
    pub fn start() -> anyhow::Result<Self> {
        Self::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    /// Answers every request with these bytes; the connection stays open.
    pub fn answering(answer: impl Into<Vec<u8>>) -> anyhow::Result<Self> {
        Self::following(vec![Step::Write(answer.into())])
    }

    /// Answers `103 Early Hints` and then `200`.
    pub fn early_hints() -> anyhow::Result<Self> {
        Self::answering(
            "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        )
    }

    /// Answers `101` to an upgrade and then sends back whatever comes. (No WebSocket frames are looked at.)
    pub fn upgrading() -> anyhow::Result<Self> {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        Self::following(vec![Step::Write(answer.into()), Step::Echo])
    }

    /// Follows these steps at every request head.
    pub fn following(steps: Vec<Step>) -> anyhow::Result<Self> {
        Self::following_each(vec![steps])
    }

    /// Follows one list of steps a request, in the order of the requests; the last one again for all others.
    pub fn following_each(answers: Vec<Vec<Step>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = crate::runtime::handle();
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let heads = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared { heads: Arc::clone(&heads), answers: Arc::new(answers) };
        let task = runtime.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Ok(Self { address, heads, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request heads so far, from the request line to the empty line, byte for byte.
    pub fn heads(&self) -> Vec<Vec<u8>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Shared {
    heads: Arc<Mutex<Vec<Vec<u8>>>>,
    answers: Arc<Vec<Vec<Step>>>,
}

async fn serve(mut stream: TcpStream, shared: Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await else {
            return;
        };
        let body = body_length(&head);
        let number = {
            let mut heads = shared.heads.lock().unwrap_or_else(PoisonError::into_inner);
            heads.push(head);
            heads.len() - 1
        };
        while buffer.len() < body {
            if read(&mut stream, &mut buffer).await.is_none() {
                return;
            }
        }
        buffer.drain(..body);
        let Some(steps) = shared.answers.get(number).or(shared.answers.last()) else {
            return;
        };
        for step in steps {
            if follow(step, &mut stream).await.is_none() {
                return;
            }
        }
    }
}

/// `None`: the connection is to be closed.
async fn follow(step: &Step, stream: &mut TcpStream) -> Option<()> {
    match step {
        Step::Write(bytes) => stream.write_all(bytes).await.ok(),
        Step::Pause(time) => {
            tokio::time::sleep(*time).await;
            Some(())
        }
        Step::Echo => {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            None
        }
        Step::Close => None,
        Step::Reset => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            None
        }
        Step::Hang => {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            None
        }
    }
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(buffer.drain(..at + 4).collect());
        }
        read(stream, buffer).await?;
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(buffer).await.ok()?;
    (count > 0).then_some(())
}

/// What `content-length` says; chunked request bodies are not understood here.
fn body_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
