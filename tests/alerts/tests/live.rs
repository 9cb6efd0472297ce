//! For real: requests fail, Prometheus sees it, the alert reaches a webhook through two Alertmanagers, once, and so does
//! its end. Rules and routes are those that are shipped, made by the same code, with all times sixty times shorter.

use std::time::Duration;

use anyhow::{Context, ensure};
use meshspan_kit::monitoring::{Alertmanager, Notification, Prometheus, PrometheusConfig, Webhook, shipped_routes};
use meshspan_kit::wait;
use meshspan_slo::{Scale, SloFile, rules, yaml};
use serde_json::json;

use crate::checkout::Checkout;
use crate::{programs, shipped};

/// So many times shorter is everything.
const SCALE: u32 = 60;
/// A page ends when the last failed request has left the window of half an hour: half a minute here.
const PATIENCE: Duration = Duration::from_mins(3);

/// The shipped rules, with shorter windows.
pub(crate) fn scaled_rules(scale: Scale) -> anyhow::Result<String> {
    let objectives = SloFile::parse(&std::fs::read_to_string(shipped("prometheus/slo.yaml"))?)?;
    Ok(yaml("The shipped rules, with other windows.", &rules(&objectives, scale)))
}

/// Of all that came, what one receiver was told of one objective, as `firing` and `resolved`.
fn told(all: &[Notification], receiver: &str, slo_id: &str) -> Vec<String> {
    let own = |one: &&Notification| one.receiver == receiver && one.group.get("slo_id").is_some_and(|id| id == slo_id);
    all.iter().filter(own).map(|one| one.status.clone()).collect()
}

#[test]
fn requests_fail_and_somebody_is_told_once_and_once_more_when_it_is_over() -> anyhow::Result<()> {
    let Some(programs) = programs("an alert for real") else { return Ok(()) };
    let Some(checkout) = Checkout::start()? else { return Ok(()) };
    let webhook = Webhook::start()?;
    let alertmanagers = Alertmanager::start_two(&programs, &shipped_routes(&webhook)?.to_string())?;
    let prometheus = Prometheus::start(
        &programs,
        &PrometheusConfig {
            targets: vec![("envoy".to_owned(), checkout.admin(), "/stats/prometheus".to_owned())],
            rules: vec![scaled_rules(Scale::shorter_by(SCALE))?],
            alertmanagers: alertmanagers.iter().map(Alertmanager::address).collect(),
            interval: "1s".to_owned(),
            ..PrometheusConfig::default()
        },
    )?;
    let has = |wanted: &str, receiver: &str, slo_id: &str| {
        wait::until(PATIENCE, &format!("{receiver} to be told of {slo_id}: {wanted}"), || {
            told(&webhook.notifications(), receiver, slo_id).iter().any(|status| status == wanted).then_some(())
        })
        .with_context(|| format!("told was {:#?}", webhook.notifications()))
    };

    // Nothing is wrong: the objective is known, nothing fires.
    wait::until(PATIENCE, "an objective's records", || {
        let known = prometheus.query("slo:error_ratio:rate1m{slo_id=\"checkout-availability\"} == 0").ok()?;
        (!known.is_empty()).then_some(())
    })?;
    ensure!(prometheus.query("ALERTS")?.is_empty(), "an alert without a reason: {:?}", prometheus.query("ALERTS")?);

    checkout.fail(50);
    has("firing", "checkout-pager", "checkout-availability")?;
    has("firing", "history", "checkout-availability")?;
    has("firing", "pager", "error-rate")?;
    // The ticket's alert fires since the page's does, which was told ten seconds ago.
    let tickets = told(&webhook.notifications(), "checkout-tickets", "checkout-availability");
    ensure!(tickets.is_empty(), "a page mutes the ticket: {:#?}", webhook.notifications());
    checkout.fail(0);
    // What the link of the alert looks for is there.
    checkout.wait_for_failed_span()?;
    has("resolved", "checkout-pager", "checkout-availability")?;
    has("resolved", "history", "checkout-availability")?;
    has("resolved", "pager", "error-rate")?;
    // The budget burns on over the windows of days, and nobody is paged any more.
    has("firing", "checkout-tickets", "checkout-availability")?;
    // What the slower peer holds back it has had the time to send.
    for peer in &alertmanagers {
        // Each look at what was sent before, after a peer's wait for the others.
        let name = "alertmanager_nflog_queries_total";
        let before = peer.samples()?.sum(name, &[]);
        wait::until(PATIENCE, "a peer's groups to be looked at again", || {
            (peer.samples().ok()?.sum(name, &[]) >= before + 4).then_some(())
        })?;
    }

    let all = webhook.notifications();
    for (receiver, slo_id, expected) in [
        ("checkout-pager", "checkout-availability", &["firing", "resolved"][..]),
        ("pager", "error-rate", &["firing", "resolved"]),
        ("checkout-tickets", "checkout-availability", &["firing"]),
        ("checkout-pager", "checkout-latency", &[]), // what failed was fast, and counts for nothing there
        ("pager", "checkout-availability", &[]),     // the team has its own
    ] {
        ensure!(told(&all, receiver, slo_id) == expected, "{receiver}, {slo_id}: {:?}", told(&all, receiver, slo_id));
    }
    let page = all.iter().find(|one| one.receiver == "checkout-pager").context("no page")?;
    let link = page.alerts[0]["annotations"]["traces"].as_str().unwrap_or_default();
    ensure!(link.starts_with("http://localhost:16686/search?service=checkout&"), "{page:#?}");
    Ok(())
}

#[test]
fn nobody_is_told_in_a_maintenance_window_and_one_peer_is_enough() -> anyhow::Result<()> {
    let Some(programs) = programs("maintenance windows and the loss of a peer") else { return Ok(()) };
    let webhook = Webhook::start()?;
    let mut routes = shipped_routes(&webhook)?;
    routes["time_intervals"][0]["time_intervals"] = json!([{"times": [{"start_time": "00:00", "end_time": "24:00"}]}]);
    let [mut first, second] = Alertmanager::start_two(&programs, &routes.to_string())?;
    let page =
        |slo_id: &str| json!([{"labels": {"alertname": "A", "slo_id": slo_id, "service": "s", "severity": "page"}}]);
    let written_down = |slo_id: &str| {
        wait::until(PATIENCE, &format!("{slo_id} to be written down"), || {
            (!told(&webhook.notifications(), "history", slo_id).is_empty()).then_some(())
        })
    };
    first.post(&page("one"))?;
    second.post(&page("one"))?;
    written_down("one")?;
    // The second one alone: it is told, and by then the first alert's page would have come as well.
    first.kill();
    second.post(&page("two"))?;
    written_down("two")?;
    let receivers: Vec<String> = webhook.notifications().into_iter().map(|one| one.receiver).collect();
    ensure!(receivers.iter().all(|receiver| receiver == "history"), "{receivers:?}");
    Ok(())
}
