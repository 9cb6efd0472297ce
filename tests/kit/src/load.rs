//! Load: paced requests on keep-alive HTTP/1.1 connections, each answer compared with the one that is expected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::client::{Connection, Request, Response};

/// Header lines that differ from answer to answer, whoever answers.
const TIMING: [&str; 2] = ["date", "x-envoy-upstream-service-time"];

/// How many errors are kept in words, and how many moments of errors.
const ERRORS_KEPT: usize = 5;

/// What is sent: these requests in turn, so many a second over so many connections.
#[derive(Clone, Debug)]
pub struct Load {
    /// The requests, in turn on each connection.
    pub requests: Vec<Request>,
    /// How many connections share the rate.
    pub connections: u32,
    /// Requests a second, of all connections together.
    pub rate: u32,
    /// Whether what a kept connection's end left without any answer is sent again, once, on a new one: as HTTP clients
    /// do (RFC 9112 §9.3.1), for servers that close without a word.
    pub send_again: bool,
}

/// Of each request of a [`Load`] the answer that it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers(Arc<Vec<Response>>);

/// A load that runs until it is stopped.
pub struct Running {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    connections: Vec<JoinHandle<Outcome>>,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were not answered, or not as expected.
    pub errors: u64,
    /// The first errors in words.
    pub first_errors: Vec<String>,
    /// When each error was seen, in no order.
    pub error_times: Vec<Instant>,
    /// Connections that the server closed in order (`connection: close`), and that were opened again.
    pub closed_connections: u64,
    /// Requests that were sent again ([`Load::send_again`]).
    pub sent_again: u64,
    /// Microseconds from when each request was due to the end of its answer; sorted. Counting from when it was due, a
    /// stall delays all requests that fall into it and not the one alone that met it.
    pub latencies: Vec<u32>,
}

impl Load {
    /// Asks a server for the answer to each of the requests.
    ///
    /// # Errors
    /// When one is not answered whole.
    pub fn answers(&self, address: SocketAddr) -> anyhow::Result<Answers> {
        let mut connection = Connection::open(address)?;
        let answers = self.requests.iter().map(|request| {
            let response = connection.request(request)?;
            if response.truncated {
                bail!("no whole answer to {request:?}");
            }
            Ok(comparable(response))
        });
        Ok(Answers(Arc::new(answers.collect::<anyhow::Result<_>>()?)))
    }

    /// Begins to send it to a server.
    pub fn start(&self, address: SocketAddr, answers: &Answers) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let between = Duration::from_secs(1) / self.rate.max(1);
        let connections = (0..self.connections).map(|number| {
            let sender = Sender {
                address,
                requests: self.requests.clone(),
                answers: answers.clone(),
                // Evenly spread: the connections take turns.
                due: begun + between * number,
                interval: between * self.connections,
                send_again: self.send_again,
                stop: Arc::clone(&stop),
                answered: Arc::clone(&answered),
                connection: None,
                outcome: Outcome::default(),
            };
            std::thread::spawn(move || sender.run())
        });
        let connections = connections.collect();
        Running { stop, answered, connections }
    }
}

impl Running {
    /// How many requests were answered as expected so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Lets the requests under way end, and sends no more.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for connection in self.connections {
            all.add(connection.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all.latencies.sort_unstable();
        all
    }
}

impl Outcome {
    /// The latency that this share of the answers kept below, 0.99 for instance; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        let latency = self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or(0);
        Duration::from_micros(u64::from(latency))
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.errors += other.errors;
        self.first_errors.extend(other.first_errors);
        self.first_errors.truncate(ERRORS_KEPT);
        self.error_times.extend(other.error_times);
        self.closed_connections += other.closed_connections;
        self.sent_again += other.sent_again;
        self.latencies.extend(other.latencies);
    }
}

/// One connection's part of a load.
struct Sender {
    address: SocketAddr,
    requests: Vec<Request>,
    answers: Answers,
    /// When the next request is due.
    due: Instant,
    interval: Duration,
    send_again: bool,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    connection: Option<Connection>,
    outcome: Outcome,
}

impl Sender {
    fn run(mut self) -> Outcome {
        let turns =
            self.requests.clone().into_iter().zip(Arc::clone(&self.answers.0).iter().cloned()).collect::<Vec<_>>();
        for (request, expected) in turns.iter().cycle() {
            std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.outcome.sent += 1;
            match self.exchange(request, expected) {
                Ok(()) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    let latency = u32::try_from(self.due.elapsed().as_micros()).unwrap_or(u32::MAX);
                    self.outcome.latencies.push(latency);
                }
                Err(error) => {
                    self.connection = None;
                    self.outcome.errors += 1;
                    self.outcome.error_times.push(Instant::now());
                    if self.outcome.first_errors.len() < ERRORS_KEPT {
                        self.outcome.first_errors.push(format!("{error:#}"));
                    }
                }
            }
            self.due += self.interval;
        }
        self.outcome
    }

    fn exchange(&mut self, request: &Request, expected: &Response) -> anyhow::Result<()> {
        let kept = self.connection.take();
        let may_be_stale = kept.is_some() && self.send_again;
        let mut connection = kept.map_or_else(|| Connection::open(self.address), Ok)?;
        let mut response = match connection.request(request) {
            Err(_) if may_be_stale => {
                self.outcome.sent_again += 1;
                connection = Connection::open(self.address)?;
                connection.request(request)
            }
            first => first,
        }
        .context("no answer")?;
        // A server that is about to close says so in the last answer, and is right to.
        if response.header("connection").as_deref() == Some("close") {
            response.headers.retain(|(name, _)| name != "connection");
            self.outcome.closed_connections += 1;
        } else {
            self.connection = Some(connection);
        }
        let response = comparable(response);
        if response != *expected {
            bail!("answered {response:?}, not {expected:?}");
        }
        Ok(())
    }
}

/// A response without what differs from one to the next.
fn comparable(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| !TIMING.contains(&name.as_str()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{RawUpstream, Step};

    fn load(rate: u32) -> Load {
        Load { requests: vec![Request::get("/a"), Request::get("/b")], connections: 2, rate, send_again: false }
    }

    fn answer(head: &str) -> Vec<Step> {
        vec![Step::Write(format!("HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\nok").into_bytes())]
    }

    #[test]
    fn what_is_answered_as_expected_is_no_error() {
        let upstream = RawUpstream::following_each(vec![
            answer("200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT"),
            answer("200 OK"),
            answer("200 OK\r\nconnection: close"),
            answer("200 OK\r\ndate: Sun, 06 Nov 1994 08:49:38 GMT"),
        ]);
        let upstream = upstream.unwrap();
        let load = load(1_000);
        let answers = load.answers(upstream.address()).unwrap();
        let running = load.start(upstream.address(), &answers);
        crate::wait::until(Duration::from_secs(10), "answers", || (running.answered() >= 20).then_some(())).unwrap();
        let outcome = running.stop();
        assert_eq!((outcome.errors, outcome.closed_connections), (0, 1), "{:?}", outcome.first_errors);
        assert_eq!(outcome.sent, u64::try_from(outcome.latencies.len()).unwrap());
        assert!(outcome.quantile(0.5) <= outcome.quantile(0.99) && outcome.quantile(0.5) > Duration::ZERO);
    }

    #[test]
    fn what_a_closed_connection_left_is_sent_again_if_asked_for() {
        let closing = [answer("200 OK"), vec![Step::Close]].concat();
        let upstream = RawUpstream::following(closing).unwrap();
        for send_again in [true, false] {
            let load = Load { requests: vec![Request::get("/a")], send_again, ..load(200) };
            let answers = load.answers(upstream.address()).unwrap();
            let before = upstream.heads().len();
            let running = load.start(upstream.address(), &answers);
            crate::wait::until(Duration::from_secs(10), "requests", || {
                (upstream.heads().len() - before > 6).then_some(())
            })
            .unwrap();
            let outcome = running.stop();
            assert_eq!((outcome.errors == 0, outcome.sent_again > 0), (send_again, send_again), "{outcome:?}");
        }
    }

    #[test]
    fn any_difference_and_any_missing_answer_is_an_error() {
        let different = [
            answer("200 Fine"),
            answer("503 OK"),
            answer("200 OK\r\nx-new: 1"),
            vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nko".to_vec())],
            vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok".to_vec()), Step::Close],
            vec![Step::Close],
            vec![Step::Reset],
        ];
        for steps in different {
            let upstream =
                RawUpstream::following_each(vec![answer("200 OK"), answer("200 OK"), steps.clone()]).unwrap();
            let load = load(200);
            let answers = load.answers(upstream.address()).unwrap();
            let running = load.start(upstream.address(), &answers);
            crate::wait::until(Duration::from_secs(10), "requests", || (upstream.heads().len() > 6).then_some(()))
                .unwrap();
            let outcome = running.stop();
            assert_eq!(outcome.errors, outcome.sent, "{steps:?}");
            assert!(!outcome.first_errors.is_empty(), "{steps:?}");
        }
    }
}
