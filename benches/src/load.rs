//! The load: HTTP/1.1 or HTTP/2 on connections that stay, one request at a time on each, from one thread.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::http2;
use crate::variant::RequestKind;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// The headers of each request; with `Host`, eight.
const HEADERS: [(&str, &str); 7] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"),
    ("Accept", "application/json, text/plain, */*"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Referer", "https://shop.example.com/orders"),
    ("Cookie", "session=5f0c1a9e7d3b4c62; theme=dark"),
    ("Cache-Control", "no-cache"),
];

/// The host of all requests.
const HOST: &str = "shop.example.com";

/// The context of a caller that did not sample.
pub(crate) const UNSAMPLED_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// The targets, in turn.
const TARGETS: [&str; 4] =
    ["/api/orders/42?expand=items", "/api/users/1007", "/api/orders?state=open&limit=20", "/assets/app.js"];

/// How many header lines a request has, `Host` among them.
pub(crate) fn header_lines() -> usize {
    HEADERS.len() + 1
}

/// The name of a header that only some requests have.
pub(crate) fn more_header(number: usize) -> String {
    const WORDS: [&str; 7] = ["id", "tenant", "page", "currency", "experiment", "zone", "client-version"];
    format!("x-{}-{number:02}", WORDS[number % WORDS.len()])
}

/// The headers of that kind, but for `Host`.
fn headers(kind: RequestKind) -> Vec<(String, String)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut headers: Vec<_> = HEADERS.into_iter().map(owned).collect();
    match kind {
        RequestKind::Plain => {}
        RequestKind::UnsampledParent => headers.push(owned(("traceparent", UNSAMPLED_PARENT))),
        RequestKind::Lines(lines) => {
            headers.truncate(lines - 1);
            let more = (0..lines - 1 - headers.len())
                .map(|number| (more_header(number), format!("value-{number}-of-some-length")));
            headers.extend(more.collect::<Vec<_>>());
        }
    }
    headers
}

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in clear text.
    Http2,
}

/// Requests of one kind, to be sent in turn.
struct Requests {
    /// With HTTP/2 on stream 0, for want of a better one.
    bytes: Vec<Vec<u8>>,
}

impl Requests {
    fn new(kind: RequestKind, protocol: Protocol) -> Self {
        let headers = headers(kind);
        let of = |target: &str| match protocol {
            Protocol::Http2 => http2::request(0, target, HOST, &headers),
            Protocol::Http1 => {
                let mut text = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n");
                for (name, value) in &headers {
                    let _ = write!(text, "{name}: {value}\r\n");
                }
                text.push_str("\r\n");
                text.into_bytes()
            }
        };
        Self { bytes: TARGETS.into_iter().map(of).collect() }
    }

    fn get(&self, number: usize) -> &[u8] {
        &self.bytes[number % self.bytes.len()]
    }
}

/// Open connections to one server.
pub(crate) struct Load {
    connections: Vec<Connection>,
    requests: Requests,
    sent: usize,
}

impl Load {
    pub(crate) fn connect(
        address: SocketAddr,
        connections: usize,
        kind: RequestKind,
        protocol: Protocol,
    ) -> anyhow::Result<Self> {
        let connections =
            (0..connections).map(|_| Connection::open(address, protocol)).collect::<anyhow::Result<_>>()?;
        Ok(Self { connections, requests: Requests::new(kind, protocol), sent: 0 })
    }

    /// Requests so far, all of them answered.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Sends so many requests, each as soon as a connection is free, and returns the time that each took, in
    /// nanoseconds.
    ///
    /// # Errors
    /// At the first answer that is not 200, or does not come.
    pub(crate) fn run(&mut self, count: usize) -> anyhow::Result<Vec<u64>> {
        self.run_when(count, |_| None)
    }

    /// Sends so many requests, so many a second and evenly spread, whether or not earlier ones are answered, and returns
    /// for each the nanoseconds from when it was *due* to the end of its answer: one that found no connection free, or
    /// no time to be sent, has waited from then on.
    ///
    /// # Errors
    /// At the first answer that is not 200, or does not come.
    pub(crate) fn run_at(&mut self, rate: f64, count: usize) -> anyhow::Result<Vec<u64>> {
        let begun = Instant::now();
        #[allow(clippy::cast_precision_loss, reason = "a count")]
        self.run_when(count, |number| Some(begun + Duration::from_secs_f64(number as f64 / rate)))
    }

    /// Sends so many requests, each when it is due (at once: `None`) and a connection is free.
    fn run_when(&mut self, count: usize, due: impl Fn(usize) -> Option<Instant>) -> anyhow::Result<Vec<u64>> {
        let mut times = Vec::with_capacity(count);
        let mut begun = 0;
        let mut free: Vec<usize> = (0..self.connections.len()).rev().collect();
        let mut polled: Vec<libc::pollfd> = self.connections.iter().map(Connection::polled).collect();
        while times.len() < count {
            let mut pause = None;
            while begun < count
                && let Some(&index) = free.last()
            {
                let now = Instant::now();
                let due = due(begun).unwrap_or(now);
                if due > now {
                    pause = Some(due - now);
                    break;
                }
                free.pop();
                self.connections[index].send(self.requests.get(self.sent + begun), due)?;
                begun += 1;
            }
            wait(&mut polled, pause)?;
            for (index, polled) in polled.iter().enumerate() {
                if polled.revents != 0
                    && let Some(time) = self.connections[index].receive()?
                {
                    times.push(u64::try_from(time.as_nanos())?);
                    free.push(index);
                }
            }
        }
        self.sent += count;
        Ok(times)
    }
}

struct Connection {
    stream: TcpStream,
    protocol: Protocol,
    /// What was read and is not whole yet.
    unread: Vec<u8>,
    /// When the request was sent, or due.
    since: Instant,
    /// HTTP/2's number of the next stream.
    next_stream: u32,
}

impl Connection {
    fn open(address: SocketAddr, protocol: Protocol) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        if protocol == Protocol::Http2 {
            stream.write_all(&http2::preface())?;
        }
        stream.set_nonblocking(true)?;
        Ok(Self { stream, protocol, unread: Vec::with_capacity(4096), since: Instant::now(), next_stream: 1 })
    }

    fn polled(&self) -> libc::pollfd {
        libc::pollfd { fd: self.stream.as_raw_fd(), events: libc::POLLIN, revents: 0 }
    }

    /// Sends a request, whose time counts from `since`.
    fn send(&mut self, request: &[u8], since: Instant) -> anyhow::Result<()> {
        self.since = since;
        // The socket's buffer is empty between requests, and larger than one.
        match self.protocol {
            Protocol::Http1 => self.stream.write_all(request),
            Protocol::Http2 => {
                let mut request = request.to_vec();
                request[5..9].copy_from_slice(&self.next_stream.to_be_bytes());
                self.next_stream += 2;
                self.stream.write_all(&request)
            }
        }
        .context("cannot send a request")
    }

    /// Reads what is there; the request's time when the answer is whole.
    fn receive(&mut self) -> anyhow::Result<Option<Duration>> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => self.unread.extend_from_slice(&bytes[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(error).context("cannot read an answer"),
        }
        let time = self.since.elapsed();
        let answered = match self.protocol {
            Protocol::Http1 => {
                let length = whole_length(&self.unread)?;
                if length.is_some_and(|length| self.unread.len() > length) {
                    bail!("bytes behind the answer");
                }
                if length.is_some() {
                    self.unread.clear();
                }
                length.is_some()
            }
            Protocol::Http2 => {
                let read = http2::read(&self.unread)?;
                self.unread.drain(..read.taken);
                self.stream.write_all(&read.reply)?;
                read.answered
            }
        };
        Ok(answered.then_some(time))
    }
}

/// Waits for bytes on any, for so long; without a time for as long as an answer may take, and then it is an error.
fn wait(polled: &mut [libc::pollfd], pause: Option<Duration>) -> anyhow::Result<()> {
    let longest = pause.unwrap_or(ANSWER);
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(longest.as_secs())?,
        tv_nsec: libc::c_long::from(longest.subsec_nanos()),
    };
    let count = libc::nfds_t::try_from(polled.len())?;
    // SAFETY: pointer and length are those of one slice; the time outlives the call, and there is no signal mask.
    #[allow(unsafe_code)]
    let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), count, &raw const time, std::ptr::null()) };
    match ready {
        0 if pause.is_none() => bail!("no answer in {ANSWER:?}"),
        0.. => Ok(()),
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
            for request in Requests::new(kind, Protocol::Http1).bytes {
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
