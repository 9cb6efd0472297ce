//! HTTP/1.1 over TCP, with every byte in the test's hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// How long one read may take before a test fails.
const READ: Duration = Duration::from_secs(30);

/// A request that is written as it stands: header names keep their case and order, values any bytes.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without headers; `host` is added when it is written and the test gave none.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header line; the same name may be added again.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// A body, with its `content-length`.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", length)
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let mut line = |name: &[u8], value: &[u8]| {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
            line(b"host", b"test.example");
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own and reads the response.
    pub fn send(&self, address: SocketAddr) -> anyhow::Result<Response> {
        let mut connection = Connection::open(address)?;
        connection.request(self)
    }
}

/// A response, interim ones beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status line as it came, without its line end.
    pub status_line: String,
    /// The status code.
    pub status: u16,
    /// Header lines in order; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, out of its chunks.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// Status codes of the 1xx responses that came before (101 is no interim response).
    pub interim: Vec<u16>,
    /// Whether the connection ended before the body was complete.
    pub truncated: bool,
}

impl Response {
    /// The first value of a header, with bytes that are no UTF-8 replaced; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }
}

/// A connection that stays open between requests.
pub struct Connection {
    stream: TcpStream,
    /// Read and not yet consumed.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads its response.
    pub fn request(&mut self, request: &Request) -> anyhow::Result<Response> {
        self.write(&request.bytes())?;
        self.read_response(request.method == "HEAD")
    }

    /// Writes any bytes.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// Reads the next response. `to_head`: the request was a HEAD, so no body follows.
    ///
    /// # Errors
    /// When the connection ends or stalls before the response's head is complete, or the head is no HTTP/1.
    pub fn read_response(&mut self, to_head: bool) -> anyhow::Result<Response> {
        let mut response = self.read_head()?;
        if to_head || matches!(response.status, 101 | 204 | 304) {
            return Ok(response);
        }
        let chunked = response.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        let length = response.header("content-length").map(|value| value.trim().parse::<usize>()).transpose()?;
        if chunked {
            response.truncated = !self.read_chunks(&mut response)?;
        } else if let Some(length) = length {
            response.truncated = !self.fill_to(length)?;
            let length = length.min(self.buffer.len());
            response.body = self.buffer.drain(..length).collect();
        } else {
            while self.fill()? {}
            response.body = std::mem::take(&mut self.buffer);
        }
        Ok(response)
    }

    /// Reads the next final response's head and leaves the body unread.
    pub fn read_head(&mut self) -> anyhow::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = self.read_until(b"\r\n\r\n")?.context("the connection ended before a response")?;
            let mut response = parse_head(&head)?;
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            return Ok(response);
        }
    }

    /// Reads exactly so many bytes, whatever they are (a body in pieces, what follows a 101).
    pub fn read_bytes(&mut self, count: usize) -> anyhow::Result<Vec<u8>> {
        if !self.fill_to(count)? {
            bail!("the connection ended after {} of {count} bytes", self.buffer.len());
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Waits until the peer has closed; what comes before is dropped.
    pub fn wait_for_close(&mut self) -> anyhow::Result<()> {
        while self.fill()? {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Breaks the connection off with a reset (RST).
    pub fn abort(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads the whole chunked body; false when the connection ended within it.
    fn read_chunks(&mut self, response: &mut Response) -> anyhow::Result<bool> {
        loop {
            let Some(line) = self.read_until(b"\r\n")? else {
                return Ok(false);
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).with_context(|| format!("no chunk size: {line:?}"))?;
            if size == 0 {
                break;
            }
            let whole = self.fill_to(size + 2)?;
            let available = size.min(self.buffer.len());
            response.body.extend(self.buffer.drain(..available));
            if !whole {
                return Ok(false);
            }
            self.buffer.drain(..2);
        }
        loop {
            match self.read_until(b"\r\n")? {
                None => return Ok(false),
                Some(line) if line == b"\r\n" => return Ok(true),
                Some(line) => response.trailers.push(parse_header(&line)?),
            }
        }
    }

    /// Up to and including `end`; `None` when the connection ends before.
    fn read_until(&mut self, end: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(Some(self.buffer.drain(..at + end.len()).collect()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn fill_to(&mut self, count: usize) -> anyhow::Result<bool> {
        while self.buffer.len() < count {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads once; false at the end of the connection, be it closed or reset.
    fn fill(&mut self) -> anyhow::Result<bool> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(count > 0)
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("nothing to read within {READ:?}")),
        }
    }
}

fn parse_head(head: &[u8]) -> anyhow::Result<Response> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').filter(|line| *line != b"\r\n");
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status = status.and_then(|code| code.trim().parse().ok()).with_context(|| format!("no HTTP/1: {first:?}"))?;
    let headers = lines.map(parse_header).collect::<anyhow::Result<_>>()?;
    Ok(Response { status_line: first.trim_end().to_owned(), status, headers, ..Response::default() })
}

fn parse_header(line: &[u8]) -> anyhow::Result<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':').context("a header line without a colon")?;
    let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
    Ok((name, line[colon + 1..].trim_ascii().to_vec()))
}
