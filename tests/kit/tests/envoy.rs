//! The Envoy runner, without the filter. Where the environment names no Envoy, these say so and pass.

use std::time::Duration;

use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options, Update};
use meshspan_kit::service::Service;

const SOON: Duration = Duration::from_secs(10);

fn envoys() -> Vec<EnvoyBinary> {
    let envoys = Envoy::versions();
    if envoys.is_empty() {
        eprintln!("skipped: neither MESHSPAN_ENVOY_BINS nor ENVOY_BIN names an Envoy");
    }
    envoys
}

fn gateway(service: &Service) -> EnvoyConfig {
    let config = EnvoyConfig::shipped("gateway.yaml").unwrap();
    config.local().without_filter().cluster("checkout", service.address())
}

#[test]
fn every_shipped_configuration_is_one_that_envoy_takes() {
    for envoy in envoys() {
        for name in ["server-minimal.yaml", "sidecar.yaml", "gateway.yaml"] {
            let config = EnvoyConfig::shipped(name).unwrap().without_filter();
            Envoy::validate(&envoy, &config).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
}

#[test]
fn envoy_serves_says_what_it_counts_and_ends() {
    for binary in envoys() {
        let service = Service::start().unwrap();
        let mut envoy = Envoy::start(&binary, &gateway(&service)).unwrap();
        let response = Request::get("/hello").send(envoy.address("ingress").unwrap()).unwrap();
        assert_eq!(response.status, 200, "Envoy {}", binary.version);
        assert_eq!(service.last_request().unwrap().target, "/hello");
        envoy.wait_for_stat("http.ingress.downstream_rq_2xx", SOON, |count| count == 1).unwrap();
        envoy.wait_for_log("starting main dispatch loop", SOON).unwrap();
        assert!(envoy.cpu_time().unwrap() > Duration::ZERO);
        assert!(envoy.resident_memory().unwrap() > 1 << 20);
        assert!(envoy.config_dump().unwrap()["configs"].is_array());
        assert!(envoy.is_running());
        assert!(envoy.address("no such").is_err());
        let id = envoy.process_id();
        envoy.stop().unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}

#[test]
fn a_dropped_envoy_is_gone() {
    for binary in envoys() {
        let service = Service::start().unwrap();
        let envoy = Envoy::start(&binary, &gateway(&service)).unwrap();
        let id = envoy.process_id();
        drop(envoy);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}

#[test]
fn listeners_are_exchanged_while_it_runs_and_a_bad_one_is_refused() {
    for binary in envoys() {
        let service = Service::start().unwrap();
        let options = Options { listeners_by_file: true, concurrency: 2, ..Options::default() };
        let config = gateway(&service);
        let envoy = Envoy::start_with(&binary, &config, &options).unwrap();
        let address = envoy.address("ingress").unwrap();
        let status = || Request::get("/").send(address).unwrap().status;
        assert_eq!(status(), 200);

        let teapot = config.clone().connection_managers(|_, manager| {
            manager["route_config"]["virtual_hosts"][0]["routes"] =
                serde_json::json!([{"match": {"prefix": "/"}, "direct_response": {"status": 418}}]);
        });
        assert_eq!(envoy.update_listeners(&teapot).unwrap(), Update::Accepted);
        // The workers take the new listener over one after another.
        meshspan_kit::wait::until(SOON, "the new route", || (status() == 418).then_some(())).unwrap();

        let broken = config.connection_managers(|_, manager| manager["stat_prefix"] = "".into());
        assert_eq!(envoy.update_listeners(&broken).unwrap(), Update::Rejected);
        assert_eq!(status(), 418, "the former listener goes on");
        envoy.stop().unwrap();
    }
}

#[test]
fn an_envoy_that_cannot_start_says_why() {
    for binary in envoys() {
        let config = EnvoyConfig::parse("{no_such_field: 1}").unwrap();
        let Err(error) = Envoy::start(&binary, &config) else { panic!("it started") };
        assert!(format!("{error:#}").contains("no_such_field"), "{error:#}");
    }
}

#[test]
fn clusters_come_and_go_while_it_runs() {
    for binary in envoys() {
        let service = Service::start().unwrap();
        let options = Options { clusters_by_file: true, ..Options::default() };
        let config = gateway(&service);
        let envoy = Envoy::start_with(&binary, &config, &options).unwrap();
        let more = config.clone().add_cluster("more", service.address(), false);
        let known = || envoy.admin_get("/clusters").unwrap().text().contains("\nmore::");
        assert!(!known());
        assert_eq!(envoy.update_clusters(&more, &["more"]).unwrap(), Update::Accepted);
        assert!(known());
        assert_eq!(Request::get("/").send(envoy.address("ingress").unwrap()).unwrap().status, 200);
        let wrong = more.change(|root| {
            if let Some(clusters) = root["static_resources"]["clusters"].as_array_mut() {
                for cluster in clusters {
                    cluster["connect_timeout"] = "-1s".into();
                }
            }
        });
        assert_eq!(envoy.update_clusters(&wrong, &["more"]).unwrap(), Update::Rejected);
        assert!(known());
        assert_eq!(envoy.update_clusters(&wrong, &[]).unwrap(), Update::Accepted);
        assert!(!known());
        envoy.stop().unwrap();
    }
}
