//! The load: HTTP/1.1 on keep-alive connections, one request at a time on each, from one thread.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::variant::RequestKind;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// What stands below the request line of each request; `Host` among them, eight lines.
const HEADERS: &str = "Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Referer: https://shop.example.com/orders\r\n\
    Cookie: session=5f0c1a9e7d3b4c62; theme=dark\r\n\
    Cache-Control: no-cache\r\n";

/// The context of a caller that did not sample.
pub(crate) const UNSAMPLED_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The targets, in turn.
const TARGETS: [&str; 4] =
    ["/api/orders/42?expand=items", "/api/users/1007", "/api/orders?state=open&limit=20", "/assets/app.js"];

/// How many header lines a request has.
pub(crate) fn header_lines() -> usize {
    HEADERS.lines().count()
}

/// The name of a header that only some requests have.
pub(crate) fn more_header(number: usize) -> String {
    format!("X-Shop-Detail-{number:02}")
}

/// Requests of that kind, to be sent in turn.
fn requests(kind: RequestKind) -> Vec<Vec<u8>> {
    let (lines, parent) = match kind {
        RequestKind::Plain => (header_lines(), None),
        RequestKind::UnsampledParent => (header_lines(), Some(UNSAMPLED_PARENT)),
        RequestKind::Lines(lines) => (lines, None),
    };
    let mut headers: String = HEADERS.split_inclusive("\r\n").take(lines).collect();
    for number in header_lines()..lines {
        let _ = write!(headers, "{}: value-{number}-of-some-length\r\n", more_header(number));
    }
    if let Some(parent) = parent {
        let _ = write!(headers, "traceparent: {parent}\r\n");
    }
    TARGETS.iter().map(|target| format!("GET {target} HTTP/1.1\r\n{headers}\r\n").into_bytes()).collect()
}

/// Open connections to one server.
pub(crate) struct Load {
    connections: Vec<Connection>,
    requests: Vec<Vec<u8>>,
    sent: usize,
}

impl Load {
    pub(crate) fn connect(address: SocketAddr, connections: usize, kind: RequestKind) -> anyhow::Result<Self> {
        let connections = (0..connections).map(|_| Connection::open(address)).collect::<anyhow::Result<_>>()?;
        Ok(Self { connections, requests: requests(kind), sent: 0 })
    }

    /// Requests so far, all of them answered.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Sends so many requests and returns the time that each took, in nanoseconds.
    ///
    /// # Errors
    /// At the first answer that is not 200, or does not come.
    pub(crate) fn run(&mut self, count: usize) -> anyhow::Result<Vec<u64>> {
        let mut times = Vec::with_capacity(count);
        let mut begun = 0;
        for connection in self.connections.iter_mut().take(count) {
            connection.send(&self.requests[(self.sent + begun) % self.requests.len()])?;
            begun += 1;
        }
        let mut polled: Vec<libc::pollfd> = self.connections.iter().map(Connection::polled).collect();
        while times.len() < count {
            wait(&mut polled)?;
            for (connection, polled) in self.connections.iter_mut().zip(&polled) {
                if polled.revents == 0 {
                    continue;
                }
                if let Some(time) = connection.receive()? {
                    times.push(u64::try_from(time.as_nanos())?);
                    if begun < count {
                        connection.send(&self.requests[(self.sent + begun) % self.requests.len()])?;
                        begun += 1;
                    }
                }
            }
        }
        self.sent += count;
        Ok(times)
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read of an answer that is not whole yet.
    answer: Vec<u8>,
    since: Instant,
}

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4096), since: Instant::now() })
    }

    fn polled(&self) -> libc::pollfd {
        libc::pollfd { fd: self.stream.as_raw_fd(), events: libc::POLLIN, revents: 0 }
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.since = Instant::now();
        // The socket's buffer is empty between requests, and larger than one.
        self.stream.write_all(request).context("cannot send a request")
    }

    /// Reads what is there; the request's time when the answer is whole.
    fn receive(&mut self) -> anyhow::Result<Option<Duration>> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => self.answer.extend_from_slice(&bytes[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(error).context("cannot read an answer"),
        }
        let time = self.since.elapsed();
        let Some(length) = whole_length(&self.answer)? else {
            return Ok(None);
        };
        if self.answer.len() > length {
            bail!("bytes behind the answer");
        }
        self.answer.clear();
        Ok(Some(time))
    }
}

fn wait(polled: &mut [libc::pollfd]) -> anyhow::Result<()> {
    let timeout = libc::c_int::try_from(ANSWER.as_millis())?;
    let count = libc::nfds_t::try_from(polled.len())?;
    // SAFETY: pointer and length are those of one slice.
    #[allow(unsafe_code)]
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), count, timeout) };
    match ready {
        0 => bail!("no answer in {ANSWER:?}"),
        1.. => Ok(()),
        _ => match std::io::Error::last_os_error() {
            error if error.kind() == ErrorKind::Interrupted => {
                for entry in polled {
                    entry.revents = 0;
                }
                Ok(())
            }
            error => Err(error.into()),
        },
    }
}

/// The length of head and body when the head is whole; an error for anything but 200 with a content-length.
fn whole_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("an answer that is not 200: {}", head.lines().next().unwrap_or_default());
    }
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let length: usize = length.context("an answer without content-length")?;
    Ok((answer.len() >= end + 4 + length).then_some(end + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_as_many_lines_as_asked_for() {
        for (kind, expected) in [
            (RequestKind::Plain, 8),
            (RequestKind::UnsampledParent, 9),
            (RequestKind::Lines(5), 5),
            (RequestKind::Lines(50), 50),
        ] {
            for request in requests(kind) {
                let text = String::from_utf8(request).unwrap();
                let (_, headers) = text.split_once("\r\n").unwrap();
                let headers = headers.strip_suffix("\r\n\r\n").unwrap();
                assert_eq!(headers.split("\r\n").count(), expected, "{kind:?}: {text}");
            }
        }
    }

    #[test]
    fn an_answer_is_whole_with_its_body_and_only_200_counts() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        for cut in 0..whole.len() {
            assert_eq!(whole_length(&whole[..cut]).unwrap(), None, "the first {cut} bytes");
        }
        assert_eq!(whole_length(whole).unwrap(), Some(whole.len()));
        assert!(whole_length(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(whole_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err()); // not ours
    }
}
