//! A gRPC server and gRPC clients of the real library, grpcio: what they put on the wire is gRPC by definition.
//!
//! They are processes of Python (`tests/kit/python/grpc_peer.py`). Messages are plain texts; the service is `shop.Cart`:
//!
//! | method | kind | does |
//! |---|---|---|
//! | `Get` | unary | answers with the message |
//! | `Fail` | unary | ends with the status whose number the message is, in headers alone |
//! | `FailLate` | server streaming | the same after a message, so that the status comes in trailers |
//! | `Sleep` | unary | answers after so many seconds as the message says |
//! | `Upload` | client streaming | answers with the number of messages |
//! | `Watch` | server streaming | so many messages; with a number below 0 without an end |
//! | `Hold` | server streaming | a message, and then nothing until the caller is gone |
//! | `Chat` | bidirectional | sends each message back |
//!
//! Beside it the server has `shop.Load`, for [load generators](crate::ghz).

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::process::Process;

/// The environment variable that names the folder into which grpcio was installed.
pub const VARIABLE: &str = "MESHSPAN_GRPCIO";

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// An installed grpcio.
#[derive(Clone, Debug)]
pub struct Grpcio {
    folder: PathBuf,
}

impl Grpcio {
    /// The one that the environment names ([`VARIABLE`]).
    pub fn find() -> Option<Self> {
        let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty())?;
        Some(Self { folder: folder.into() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn server(&self) -> anyhow::Result<GrpcServer> {
        let peer = Peer::start(&self.folder, &["server".to_owned()])?;
        let port: u16 = peer.line(ANSWER).context("the gRPC server")?.trim().parse()?;
        Ok(GrpcServer { address: SocketAddr::from(([127, 0, 0, 1], port)), _peer: peer })
    }

    /// Starts a client with one connection to `address`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn client(&self, address: SocketAddr) -> anyhow::Result<GrpcClient> {
        Ok(GrpcClient { peer: Peer::start(&self.folder, &["client".to_owned(), address.to_string()])? })
    }
}

/// A running server; dropping it kills it.
pub struct GrpcServer {
    address: SocketAddr,
    _peer: Peer,
}

impl GrpcServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A running client; dropping it kills it.
pub struct GrpcClient {
    peer: Peer,
}

impl GrpcClient {
    /// Makes a call and waits until it has ended. `call` has `method` (`/shop.Cart/Get`) and, where they matter, `kind`
    /// (`unary_unary`, `stream_unary`, `unary_stream`, `stream_stream`), `messages`, `metadata` (pairs), `timeout`
    /// (seconds), `cancel_after` (so many messages of the answer) and `leave_after` (seconds; of a unary answer). What
    /// comes back has `status` (its name), `details` and `messages`.
    ///
    /// # Errors
    /// When the client fails or nothing comes for half a minute.
    pub fn call(&mut self, call: &Value) -> anyhow::Result<Value> {
        self.call_within(ANSWER, call)
    }

    /// As [`Self::call`], for a call that takes longer.
    ///
    /// # Errors
    /// When the client fails or nothing comes in time.
    pub fn call_within(&mut self, deadline: Duration, call: &Value) -> anyhow::Result<Value> {
        writeln!(self.peer.input, "{call}").context("the gRPC client has ended")?;
        let line = self.peer.line(deadline).with_context(|| format!("the gRPC client, of {call}"))?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// A process of Python whose lines are read as they come.
struct Peer {
    /// First, so that it is killed and does not end in order as its input ends.
    _process: Process,
    input: ChildStdin,
    /// Behind a lock so that a server can be shared by threads.
    lines: Mutex<Receiver<String>>,
}

impl Peer {
    fn start(folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/grpc_peer.py");
        let mut command = Command::new("python3");
        command.arg(script).args(arguments).env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
        let (process, input, output) = Process::start_talking(command)?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the process, or with the one that listens.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { input, lines: Mutex::new(lines), _process: process })
    }

    fn line(&self, deadline: Duration) -> anyhow::Result<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.recv_timeout(deadline).map_err(|error| anyhow!("says nothing: {error}"))
    }
}
