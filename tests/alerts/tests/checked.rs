//! What the tools of Prometheus and Alertmanager say to the shipped files.

use crate::{programs, shipped};

#[test]
fn promtool_finds_nothing_wrong() -> anyhow::Result<()> {
    let Some(programs) = programs("promtool's checks") else { return Ok(()) };
    programs.run("promtool", &["check", "rules", &shipped("prometheus/meshspan.rules.yaml")])?;
    programs.run("promtool", &["check", "config", &shipped("prometheus/prometheus.yaml")])?;
    Ok(())
}

#[test]
fn amtool_finds_nothing_wrong() -> anyhow::Result<()> {
    let Some(programs) = programs("amtool's check") else { return Ok(()) };
    programs.run("amtool", &["check-config", &shipped("alertmanager/alertmanager.yaml")])?;
    Ok(())
}

#[test]
fn every_alert_has_its_receivers() -> anyhow::Result<()> {
    let Some(programs) = programs("amtool's routes") else { return Ok(()) };
    let file = format!("--config.file={}", shipped("alertmanager/alertmanager.yaml"));
    for (labels, receivers, why) in [
        (&["slo_id=checkout-latency", "severity=page"][..], "history,checkout-pager", "the team's own pager"),
        (&["slo_id=checkout-latency", "severity=ticket"], "history,checkout-tickets", "and its tickets"),
        (&["slo_id=checkout-latency", "severity=other"], "history,checkout-tickets", "whatever the severity"),
        (&["slo_id=inventory-availability", "severity=page"], "history,pager", "everybody else's pager"),
        (&["slo_id=inventory-availability", "severity=ticket"], "history,tickets", "and tickets"),
        (&["slo_id=error-rate", "service=checkout", "severity=page"], "history,pager", "the plain alert"),
        (&["alertname=MeshspanExporterDown", "severity=ticket"], "tickets", "no objective, no history"),
        (&["alertname=Unknown"], "tickets", "what nobody thought of"),
    ] {
        let mut arguments = vec!["config", "routes", "test", &file];
        arguments.extend(labels);
        let found = programs.run("amtool", &arguments)?;
        assert_eq!(found.trim(), receivers, "{why}: {labels:?}");
    }
    Ok(())
}
