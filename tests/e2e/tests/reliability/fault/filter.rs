//! The filter itself fails: its machine traps, as only a bug could make it. What happens then is Envoy's policy; what
//! has to hold is that no more fails than that policy says, and that no counter claims more than arrived.

use anyhow::{Context, ensure};
use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy, tracing};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::envoy::{Envoy, Options};
use meshspan_kit::wait;
use serde_json::json;

use crate::books::Books;
use crate::fuse::failing_module;
use crate::report::Row;
use crate::stage::{CONNECTIONS, PLAIN, SETTLED, Setting, Stage, TRACED, WORKERS, fault_time, play_alone};

/// Requests that a machine lives: so many that Envoy, which waits about a second before it makes another machine,
/// need not wait.
const LIFE: u32 = 500;

/// Load on a filter whose machines trap at their request number [`LIFE`]. `explained` gives how many errors the policy
/// has callers see, for so many traps.
fn traps(
    fault: &'static str,
    failure_policy: &'static str,
    explained: impl Fn(&Stage, u64) -> anyhow::Result<std::ops::RangeInclusive<u64>> + Sync,
) {
    let reloads = failure_policy == "FAIL_RELOAD";
    play_alone(fault, true, |envoy| {
        let folder = tempfile::tempdir()?;
        let module = failing_module(folder.path(), LIFE)?;
        let setting = Setting { failure_policy, ..Setting::default() };
        let mut stage = Stage::start(envoy, setting, |config| config.wasm_module(&module))?;
        let before = stage.envoy.resident_memory()?;
        // Each worker may get no more than half of the requests.
        let time = fault_time() + fault_time() / 3;
        let during = stage.under_load(time, Stage::watch_failing)?;
        let outcome = &during.outcome;

        let traps = stage.envoy.log().matches("Uncaught RuntimeError: unreachable").count() as u64;
        ensure!(traps > 0, "no machine failed");
        let expected = explained(&stage, traps)?;
        ensure!(expected.contains(&outcome.errors), "{traps} traps, {} errors, not {expected:?}", outcome.errors);
        let foreign = outcome.first_errors.iter().find(|error| !error.contains("503 Service Unavailable"));
        ensure!(foreign.is_none(), "not Envoy's own answer: {foreign:?}");
        // It serves, and serves the same as without the filter.
        let [traced, plain] = [TRACED, PLAIN].map(|listener| stage.envoy.address(listener));
        let (traced, plain) = (traced?, stage.load.answers(plain?)?);
        wait::until(DEADLINE, "the listener with the filter to serve again", || {
            (stage.load.answers(traced).ok()? == plain).then_some(())
        })?;

        let served = outcome.sent - outcome.errors;
        let room = stage.setting.room() + u64::from(CONNECTIONS);
        let books = settled_by_another(&stage.envoy)?;
        ensure!(books.ended() <= books.started, "more spans ended than began: {books:?}");
        ensure!(books.exported <= stage.backend.spans(), "more exported than arrived: {books:?}");
        let lost = served.saturating_sub(books.ended());
        let row = Row {
            fault,
            time,
            requests: outcome.sent,
            errors: outcome.errors,
            books,
            lost,
            p99: None,
            memory: Some((before, during.memory)),
        };
        row.tell(envoy)?;
        if reloads {
            ensure!(lost <= traps * room, "{lost} spans are lost, and {traps} machines had room for {room} each");
        }
        stage.envoy.stop().context("in order")
    });
}

/// Waits until what failed machines held has been counted as dropped, so that nothing is held any more.
fn settled_by_another(envoy: &Envoy) -> anyhow::Result<Books> {
    let mut last = None;
    wait::until(SETTLED, "the books of the machines that failed", || {
        let books = last.insert(Books::read(envoy).ok()?);
        (books.started == books.ended() && books.queued + books.in_flight == 0).then(|| books.clone())
    })
    .with_context(|| format!("the books: {last:?}"))
}

/// How many requests can be under way where machines trap: each connection has one at most. Nearly always it is one.
fn under_way(traps: u64) -> u64 {
    traps * u64::from(CONNECTIONS)
}

#[test]
fn is_reloaded() {
    traps("the filter traps, FAIL_RELOAD", "FAIL_RELOAD", |stage, traps| {
        // The request that met the trap, any beside it on the same worker, and those that came while Envoy waited before it made another machine.
        let waited = stage.envoy.stat("wasm.meshspan.vm_reload_backoff").unwrap_or(0);
        ensure!(stage.envoy.stat("wasm.meshspan.vm_reload_success").unwrap_or(0) > 0, "no machine was made again");
        Ok(traps + waited..=under_way(traps) + waited)
    });
}

#[test]
fn is_left_out() {
    traps("the filter traps, FAIL_OPEN", "FAIL_OPEN", |_, traps| {
        ensure!(traps <= u64::from(WORKERS), "{traps} traps on {WORKERS} workers");
        // The request that met the trap, and any beside it on the same worker.
        Ok(traps..=under_way(traps))
    });
}

/// A metric of requests under way is a sum over the machines: what the failed one had added, nobody else can take away.
#[test]
fn leaves_no_active_requests() {
    each_envoy(&[1], |envoy, concurrency| {
        let folder = tempfile::tempdir().unwrap();
        let module = failing_module(folder.path(), 10).unwrap();
        let mut config = tracing(&[]);
        config["distribution"] = json!({"meshspan": {"metrics": {"prometheus": {}}}});
        let config = bootstrap(&[("in", config)]).wasm_module(&module).connection_managers(|_, manager| {
            manager["http_filters"][0]["typed_config"]["config"]["failure_policy"] = "FAIL_RELOAD".into();
        });
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        let address = mesh.envoy.address("in").unwrap();
        let active = || mesh.samples().sum("meshspan_http_server_active_requests", &[]);
        let begin = || {
            let mut connection = Connection::open(address).unwrap();
            connection.write(&Request::get("/slow?ms=600000").bytes()).unwrap();
            connection
        };
        let held = [begin(), begin(), begin()];
        wait::until(DEADLINE, "three active requests", || (active() == 3).then_some(())).unwrap();
        let failed = || mesh.envoy.log().contains("Uncaught RuntimeError: unreachable").then_some(());
        wait::until(DEADLINE, "the machine to fail", || {
            let _ = Request::get("/once").send(address);
            failed()
        })
        .unwrap();
        // Another machine takes its place, with a request under way: the fourth, or the only one, if the failed machine's
        // have been taken back meanwhile.
        let _begun = wait::until(SETTLED, "a machine to take its place", || {
            let connection = begin();
            let told = wait::until(DEADLINE / 5, "the request", || matches!(active(), 1 | 4).then_some(()));
            told.ok().map(|()| connection)
        })
        .unwrap();
        drop(held);
        wait::until(SETTLED, "the failed machine's requests to be taken back", || (active() == 1).then_some(()))
            .unwrap();
        mesh.envoy.stop().unwrap();
    });
}
