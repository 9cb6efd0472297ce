//! What every fault is played on: a real Envoy with two workers, an application whose answers are known byte for byte,
//! a backend that can go away, and load.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_e2e::{OLDEST, bootstrap, each_envoy};
use meshspan_kit::axum::Router;
use meshspan_kit::axum::http::StatusCode;
use meshspan_kit::axum::routing::any;
use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options};
use meshspan_kit::load::{Answers, Load, Outcome};
use meshspan_kit::receiver::{Behaviour, Receiver, SpanCounter};
use meshspan_kit::service::Service;
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::books::Books;
use crate::report::is_written;

/// Worker threads of each Envoy.
pub(crate) const WORKERS: u32 = 2;

/// Requests a second, and connections.
const RATE: u32 = 400;
pub(crate) const CONNECTIONS: u32 = 8;

/// The listener with the filter, and the one without.
pub(crate) const TRACED: &str = "traced";
pub(crate) const PLAIN: &str = "plain";

/// How long the books may take until every span is accounted for: waits grow to 30 s.
pub(crate) const SETTLED: Duration = Duration::from_secs(90);

/// How often the books are looked at under load.
const LOOK: Duration = Duration::from_millis(200);

/// Whether the tests are to take their time: minutes in place of seconds.
pub(crate) fn long() -> bool {
    std::env::var_os("MESHSPAN_LONG").is_some_and(|value| value == "1")
}

/// How long a fault lasts.
pub(crate) fn fault_time() -> Duration {
    Duration::from_millis(if long() { 30_000 } else { 2_500 })
}

/// Runs `test` on each Envoy. Unless there is time, faults that say little about Envoy and much about the filter are
/// played on the newest alone.
pub(crate) fn play(fault: &str, everywhere: bool, test: impl Fn(&EnvoyBinary) -> anyhow::Result<()> + Sync) {
    play_with(1, fault, everywhere, test);
}

/// As [`play`], with nothing else played meanwhile: for what counts the requests that are under way at a moment, which
/// are more where processors are busy.
pub(crate) fn play_alone(fault: &str, everywhere: bool, test: impl Fn(&EnvoyBinary) -> anyhow::Result<()> + Sync) {
    play_with(PLACES, fault, everywhere, test);
}

fn play_with(places: usize, fault: &str, everywhere: bool, test: impl Fn(&EnvoyBinary) -> anyhow::Result<()> + Sync) {
    let envoys = RefCell::new(Vec::new());
    each_envoy(&[WORKERS], |envoy, _| {
        if !everywhere && envoy.version == OLDEST && !long() {
            eprintln!("left out on Envoy {}: {fault}", envoy.version);
        } else {
            envoys.borrow_mut().push(envoy.clone());
        }
    });
    at_once(envoys.into_inner(), |envoy| {
        let _places = Places::take(places);
        if let Err(error) = test(&envoy) {
            panic!("{fault} on Envoy {}: {error:#}", envoy.version);
        }
    });
}

/// Calls `run` with each of the parts, each in its own thread, which has the name of the test.
pub(crate) fn at_once<Part: Send>(parts: Vec<Part>, run: impl Fn(Part) + Sync) {
    let (run, name) = (&run, std::thread::current().name().unwrap_or("a test").to_owned());
    std::thread::scope(|scope| {
        for part in parts {
            let thread = std::thread::Builder::new().name(name.clone());
            thread.spawn_scoped(scope, move || run(part)).expect("a thread");
        }
    });
}

/// How many faults are played at once: who plays one mostly waits.
const PLACES: usize = 4;

/// The right to play a fault. Where times are measured it takes all places: two would measure each other.
struct Places(usize);

static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Places {
    fn take(places: usize) -> Self {
        let places = if long() || is_written() { PLACES } else { places };
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = TAKEN.1.wait_while(taken, |taken| *taken + places > PLACES);
        *taken.unwrap_or_else(PoisonError::into_inner) += places;
        Self(places)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        TAKEN.1.notify_all();
    }
}

/// The way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP in protobuf, over HTTP/1.1.
    Http,
}

/// What differs between the stages.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) way: Way,
    /// The exporter's `timeout`, ms.
    pub(crate) timeout: u32,
    /// `limits.max_retry_age`, ms.
    pub(crate) max_retry_age: u32,
    /// `max_queue_size` of each worker.
    pub(crate) queue: u32,
    /// `max_export_batch_size`.
    pub(crate) batch: u32,
    /// Envoy's policy for a machine that fails.
    pub(crate) failure_policy: &'static str,
    /// Whether clients send again what a connection that was closed between requests left unanswered.
    pub(crate) send_again: bool,
    /// How Envoy gets its listeners and clusters.
    pub(crate) options: Options,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            way: Way::Grpc,
            timeout: 1_000,
            max_retry_age: 2_000,
            // So small that a backend that is away for seconds fills them.
            queue: 256,
            batch: 64,
            failure_policy: "FAIL_CLOSED",
            send_again: false,
            options: Options { concurrency: WORKERS, ..Options::default() },
        }
    }
}

impl Setting {
    /// With the queue and the batch that are the standard's default, and time to try again: what is away for seconds
    /// costs nothing.
    pub(crate) fn patient() -> Self {
        Self { queue: 2_048, batch: 512, max_retry_age: 60_000, ..Self::default() }
    }

    /// The bootstrap, its clusters without their addresses.
    pub(crate) fn bootstrap(&self) -> EnvoyConfig {
        let exporter = match self.way {
            Way::Grpc => json!({"otlp_grpc": {"endpoint": "http://collector:4317", "timeout": self.timeout}}),
            Way::Http => json!({"otlp_http": {
                "endpoint": "http://collector-http:4318/v1/traces", "timeout": self.timeout}}),
        };
        let meshspan = json!({
            "file_format": "1.1",
            "resource": {"attributes": [{"name": "service.name", "value": "shop"}]},
            "propagator": {"composite": [{"tracecontext": {}}, {"baggage": {}}]},
            "tracer_provider": {"processors": [{"batch": {
                "schedule_delay": 200,
                "max_queue_size": self.queue,
                "max_export_batch_size": self.batch,
                "exporter": exporter,
            }}]},
            "distribution": {"meshspan": {"limits": {"max_retry_age": self.max_retry_age}}},
        });
        bootstrap(&[(TRACED, meshspan), (PLAIN, Value::Null)]).change(|root| {
            let listener = &mut root["static_resources"]["listeners"][0];
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["http_filters"][0]["typed_config"]["config"]["failure_policy"] = self.failure_policy.into();
        })
    }

    /// How many spans can wait: in the queues, and in the batch of each worker that is on its way.
    pub(crate) fn room(&self) -> u64 {
        u64::from(WORKERS) * u64::from(self.queue + self.batch)
    }
}

/// A backend that can go away and come back at the same address.
pub(crate) struct Backend {
    address: SocketAddr,
    receiver: Option<Receiver>,
    /// What each receiver took, those that are gone too.
    taken: Vec<SpanCounter>,
}

impl Backend {
    fn start() -> anyhow::Result<Self> {
        let receiver = Receiver::start()?;
        let mut backend = Self { address: receiver.address(), receiver: None, taken: Vec::new() };
        backend.keep(receiver);
        Ok(backend)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers from now on.
    pub(crate) fn answer(&self, behaviour: Behaviour) {
        if let Some(receiver) = &self.receiver {
            receiver.set_default(behaviour);
        }
    }

    /// Closes its port and its connections.
    pub(crate) fn take_down(&mut self) {
        self.receiver = None;
    }

    /// Opens its port again.
    pub(crate) fn bring_up(&mut self) -> anyhow::Result<()> {
        if self.receiver.is_none() {
            let receiver = wait::until(SETTLED, "the backend's port", || Receiver::start_at(self.address).ok())?;
            self.keep(receiver);
        }
        Ok(())
    }

    /// Spans that it took so far.
    pub(crate) fn spans(&self) -> u64 {
        self.taken.iter().map(SpanCounter::count).sum::<usize>() as u64
    }

    fn keep(&mut self, receiver: Receiver) {
        receiver.count_only();
        self.taken.push(receiver.span_counter());
        self.receiver = Some(receiver);
    }
}

/// The running parts.
pub(crate) struct Stage {
    pub(crate) envoy: Envoy,
    pub(crate) backend: Backend,
    pub(crate) setting: Setting,
    service: Service,
    pub(crate) load: Load,
    pub(crate) answers: Answers,
}

/// What was measured while load ran.
pub(crate) struct Measured {
    /// How long it ran.
    pub(crate) time: Duration,
    pub(crate) outcome: Outcome,
    /// Resident memory of Envoy at the end, bytes.
    pub(crate) memory: u64,
}

impl Stage {
    /// Starts all parts; `change` has the last word about the bootstrap.
    pub(crate) fn start(
        envoy: &EnvoyBinary,
        setting: Setting,
        change: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> anyhow::Result<Self> {
        let backend = Backend::start()?;
        let service = Service::start_unrecorded(application())?;
        let config = addressed(setting.bootstrap(), &service, &backend);
        let envoy = Envoy::start_with(envoy, &change(config), &setting.options)?;
        let load = Load { requests: requests(), connections: CONNECTIONS, rate: RATE, send_again: setting.send_again };
        let answers = load.answers(envoy.address(PLAIN)?)?;
        Ok(Self { envoy, backend, setting, service, load, answers })
    }

    /// The bootstrap with this stage's addresses, for an update.
    pub(crate) fn config(&self) -> EnvoyConfig {
        addressed(self.setting.bootstrap(), &self.service, &self.backend)
    }

    /// Sends load to the listener with the filter for so long, with the books looked at, while `meanwhile` runs.
    pub(crate) fn under_load(
        &mut self,
        time: Duration,
        meanwhile: impl FnOnce(&mut Self, Instant) -> anyhow::Result<()>,
    ) -> anyhow::Result<Measured> {
        let running = self.load.start(self.envoy.address(TRACED)?, &self.answers);
        let begun = Instant::now();
        let done = meanwhile(self, begun + time);
        let time = begun.elapsed();
        let outcome = running.stop();
        done?;
        Ok(Measured { time, outcome, memory: self.envoy.resident_memory()? })
    }

    /// Looks at the books again and again until then: they must balance each time.
    pub(crate) fn watch_books(&self, end: Instant) -> anyhow::Result<()> {
        while Instant::now() < end {
            Books::balanced(&self.envoy, self.setting.room())?;
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Looks at the books of a filter that fails: what a machine had is in no book any more, but none has too much.
    pub(crate) fn watch_failing(&mut self, end: Instant) -> anyhow::Result<()> {
        while Instant::now() < end {
            let books = Books::read(&self.envoy)?;
            ensure!(books.ended() <= books.started, "more spans ended than began: {books:?}");
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Waits until the books tell of a span more than `before` for each request, all of them exported or dropped. One
    /// that was sent again may have a second span: the connection was closed while Envoy had it.
    pub(crate) fn settled(&self, before: &Books, outcomes: &[&Outcome]) -> anyhow::Result<Books> {
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(|outcome| of(outcome)).sum::<u64>();
        let sent = sum(|outcome| outcome.sent);
        let spans = sent..=sent + sum(|outcome| outcome.sent_again);
        let mut last = Books::default();
        wait::until(SETTLED, "books in which every span is accounted for", || {
            last = Books::read(&self.envoy).ok()?.since(before);
            let left = last.queued + last.in_flight;
            (spans.contains(&last.started) && last.ended() == last.started && left == 0).then(|| last.clone())
        })
        .with_context(|| format!("{spans:?} spans; the books: {last:?}"))
    }

    /// Ends Envoy in order, and makes sure that the filter neither trapped nor complained.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let failed = self.envoy.samples()?.sum("meshspan_host_calls_failed_total", &[]);
        ensure!(failed == 0, "{failed} host calls failed");
        meshspan_e2e::assert_no_failure(&self.envoy.log());
        self.envoy.stop()
    }
}

fn addressed(config: EnvoyConfig, service: &Service, backend: &Backend) -> EnvoyConfig {
    config.cluster("application", service.address()).cluster("collector", backend.address()).add_cluster(
        "collector-http",
        backend.address(),
        false,
    )
}

/// Answers that are the same each time, byte for byte, successes and failures.
fn application() -> Router {
    let large = "x".repeat(8 * 1024);
    Router::new()
        .route(
            "/orders",
            any(|| async { ([("content-type", "application/json"), ("x-kind", "a")], "{\"orders\":[]}") }),
        )
        .route("/large", any(move || std::future::ready(large.clone())))
        .route("/nothing", any(|| async { StatusCode::NO_CONTENT }))
        .route("/missing", any(|| async { (StatusCode::NOT_FOUND, "no such order") }))
        .route("/broken", any(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "sorry") }))
}

fn requests() -> Vec<Request> {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    vec![
        Request::get("/orders?state=open"),
        Request::get("/large").header("traceparent", parent),
        Request::get("/nothing"),
        Request::get("/missing").header("baggage", "tenant=blue"),
        Request::new("POST", "/orders").body("{\"item\": 7}"),
        Request::get("/broken").header("user-agent", "load"),
    ]
}
