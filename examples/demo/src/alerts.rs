//! `--alerts`: requests fail, an alert fires and reaches a webhook, and so does its end. Rules and routes are the shipped
//! ones, with all times shorter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use meshspan_kit::client::Request;
use meshspan_kit::monitoring::{
    Alertmanager, Notification, Programs, Prometheus, PrometheusConfig, Webhook, shipped_routes,
};
use meshspan_kit::wait;
use meshspan_slo::{Scale, SloFile, rules, yaml};

use crate::mesh::Mesh;
use crate::progress;

/// So many times shorter is everything: five minutes are two and a half seconds.
const SHORTER: u32 = 120;
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two requests.
const PACE: Duration = Duration::from_millis(20);

const OBJECTIVES: &str = "
trace_link: {jaeger: 'http://localhost:16686'}
slos: [{id: checkout-availability, service: checkout, objective: 99.9, kind: availability}]
";

/// Shows it; true when it went as expected, or cannot be shown here.
pub(crate) fn show(mesh: &Mesh) -> anyhow::Result<bool> {
    let Some(programs) = Programs::from_env() else {
        println!("\nNo alert: there is no Prometheus and Alertmanager here (docs/alerts.md says how to get them).");
        return Ok(true);
    };
    println!();
    progress(&format!("Starting Prometheus and two Alertmanagers; all times are {SHORTER} times shorter"));
    let webhook = Webhook::start()?;
    let alertmanagers = Alertmanager::start_two(&programs, &shipped_routes(&webhook)?.to_string())?;
    let targets = mesh.admins().into_iter();
    let prometheus = Prometheus::start(
        &programs,
        &PrometheusConfig {
            targets: targets.map(|(name, admin)| (name, admin, "/stats/prometheus".to_owned())).collect(),
            rules: vec![yaml(
                "The demo's objective.",
                &rules(&SloFile::parse(OBJECTIVES)?, Scale::shorter_by(SHORTER)),
            )],
            alertmanagers: alertmanagers.iter().map(Alertmanager::address).collect(),
            interval: "500ms".to_owned(),
            ..PrometheusConfig::default()
        },
    )?;
    let (failing, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| call(mesh, &failing, &ended));
        let shown = follow(&prometheus, &webhook, &failing);
        ended.store(true, Ordering::Relaxed);
        shown
    })?;
    Ok(true)
}

fn follow(prometheus: &Prometheus, webhook: &Webhook, failing: &AtomicBool) -> anyhow::Result<()> {
    wait::until(PATIENCE, "Prometheus to know the objective", || {
        let known = prometheus.query("slo:requests:rate2500ms{slo_id=\"checkout-availability\"} > 0").ok()?;
        (!known.is_empty()).then_some(())
    })?;
    progress("Every other request to checkout fails now (objective: 99.9 % succeed)");
    failing.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let page = wait_for(webhook, "firing")?;
    let of_alert = |kind: &str, key: &str| page.alerts[0][kind][key].as_str().unwrap_or_default().to_owned();
    println!("\n  FIRING after {:.0} s, to {}", begun.elapsed().as_secs_f64(), page.receiver);
    println!(
        "    {} severity={} slo_id={}",
        of_alert("labels", "alertname"),
        of_alert("labels", "severity"),
        of_alert("labels", "slo_id")
    );
    println!("    {}\n    {}", of_alert("annotations", "summary"), of_alert("annotations", "description"));
    println!("    traces: {}\n", of_alert("annotations", "traces"));
    progress("Nothing fails any more");
    failing.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    let page = wait_for(webhook, "resolved")?;
    println!("\n  RESOLVED after {:.0} s, to {}\n", begun.elapsed().as_secs_f64(), page.receiver);
    Ok(())
}

/// The page of the objective.
fn wait_for(webhook: &Webhook, status: &str) -> anyhow::Result<Notification> {
    let own = |one: &Notification| one.receiver == "checkout-pager" && one.status == status;
    wait::until(PATIENCE, &format!("the alert to be {status}"), || webhook.notifications().into_iter().find(own))
        .with_context(|| format!("told was {:?}", webhook.notifications()))
}

fn call(mesh: &Mesh, failing: &AtomicBool, ended: &AtomicBool) {
    let mut fails = false;
    while !ended.load(Ordering::Relaxed) {
        fails = failing.load(Ordering::Relaxed) && !fails;
        let path = if fails { "/payment" } else { "/checkout" };
        // What becomes of it is the proxies' matter: they count.
        let _ = Request::get(path).header("host", "shop.example").send(mesh.edge);
        std::thread::sleep(PACE);
    }
}
