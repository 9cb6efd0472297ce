//! Rules, alerts and dashboards as they are shipped, on real programs: promtool, amtool, Prometheus and Alertmanager.

mod burn;
mod checked;
mod checkout;
mod dashboards;
mod history;
mod live;

use meshspan_kit::monitoring::Programs;

/// The programs, or a line that says what is skipped.
fn programs(test: &str) -> Option<Programs> {
    let programs = Programs::from_env();
    if programs.is_none() {
        println!("skipped, as no Prometheus is named (MESHSPAN_MONITORING): {test}");
    }
    programs
}

/// The folder that users copy from.
fn shipped(path: &str) -> String {
    format!("{}/../../envoy-config/{path}", env!("CARGO_MANIFEST_DIR"))
}
