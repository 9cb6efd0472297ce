//! The service `checkout` behind a real Envoy with the filter, and callers whose requests fail as often as a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use meshspan_kit::client::{Connection, Request};
use meshspan_kit::config::{EnvoyConfig, MODULE_VARIABLE};
use meshspan_kit::envoy::Envoy;
use meshspan_kit::receiver::{ReceivedSpan, Receiver};
use meshspan_kit::service::Service;
use serde_json::{Value, json};

/// Between two requests.
const PACE: Duration = Duration::from_millis(10);

/// A running service with its callers. Dropping it ends all of it.
pub(crate) struct Checkout {
    calls: Arc<Calls>,
    caller: Option<JoinHandle<()>>,
    envoy: Envoy,
    receiver: Receiver,
    _service: Service,
}

#[derive(Default)]
struct Calls {
    /// Of a hundred requests.
    failing: AtomicU64,
    ended: AtomicBool,
}

impl Checkout {
    /// Starts it; `None`, and a line that says so, where there is no Envoy or no module.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        let Some(binary) = Envoy::versions().into_iter().next() else {
            println!("skipped, as neither MESHSPAN_ENVOY_BINS nor ENVOY_BIN names an Envoy");
            return Ok(None);
        };
        if std::env::var_os(MODULE_VARIABLE).is_none() {
            println!("skipped, as {MODULE_VARIABLE} does not name the compiled module");
            return Ok(None);
        }
        let (receiver, service) = (Receiver::start()?, Service::start()?);
        let config = EnvoyConfig::shipped("server-minimal.yaml")?
            .local()
            .wasm_module_from_env()?
            .cluster("application", service.address())
            .cluster("collector", receiver.address())
            .meshspan(|_, meshspan| {
                meshspan["distribution"]["meshspan"]["routes"] = json!(["/status/{code}"]);
                meshspan["distribution"]["meshspan"]["metrics"] = json!({"prometheus": {}});
            })
            // Envoy shows what a histogram has taken at each flush; five seconds are a whole window here.
            .change(|root: &mut Value| root["stats_flush_interval"] = json!("0.5s"));
        let envoy = Envoy::start(&binary, &config)?;
        let calls = Arc::new(Calls::default());
        let (shared, address) = (Arc::clone(&calls), envoy.address("inbound")?);
        let caller = std::thread::spawn(move || shared.call(address));
        Ok(Some(Self { calls, caller: Some(caller), envoy, receiver, _service: service }))
    }

    /// Lets so many of a hundred requests fail from now on.
    pub(crate) fn fail(&self, percent: u64) {
        self.calls.failing.store(percent, Ordering::Relaxed);
    }

    /// Where Prometheus scrapes.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.envoy.admin()
    }

    /// Waits until a span of a failed request has arrived where spans go.
    pub(crate) fn wait_for_failed_span(&self) -> anyhow::Result<()> {
        let failed = |span: &ReceivedSpan| span.integer("http.response.status_code") == Some(503);
        self.receiver.wait_for(Duration::from_secs(30), |spans| spans.iter().any(failed).then_some(()))
    }
}

impl Calls {
    fn call(&self, address: SocketAddr) {
        let mut connection = None;
        for number in 0_u64.. {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let fails = number * 37 % 100 < self.failing.load(Ordering::Relaxed);
            let path = if fails { "/status/503" } else { "/status/200" };
            let answered = match &mut connection {
                Some(open) => Connection::request(open, &Request::get(path)).is_ok(),
                None => false,
            };
            if !answered {
                connection = Connection::open(address).ok();
            }
            std::thread::sleep(PACE);
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.calls.ended.store(true, Ordering::Relaxed);
        if let Some(caller) = self.caller.take() {
            let _ = caller.join();
        }
    }
}
