//! The resource: who the telemetry is about. From configuration, and from what Envoy's node says of itself.
//!
//! Sources: OpenTelemetry specification, "Resource SDK"; semantic conventions, "Service", "Kubernetes", "Telemetry
//! SDK"; Istio's node metadata (`istio.io/istio/pkg/model`, `BootstrapNodeMetadata`).

use crate::attribute::{Attribute, AttributeValue};
use crate::config::ResourceConfig;

/// What Envoy's bootstrap says about this proxy. `None` or empty: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `node.id`
    pub id: Option<String>,
    /// `node.cluster`
    pub cluster: Option<String>,
    /// Istio: `metadata.LABELS["service.istio.io/canonical-name"]`
    pub canonical_name: Option<String>,
    /// Istio: `metadata.LABELS["service.istio.io/canonical-revision"]`
    pub canonical_revision: Option<String>,
    /// Istio: `metadata.NAME`, the pod.
    pub pod_name: Option<String>,
    /// Istio: `metadata.NAMESPACE`
    pub namespace: Option<String>,
    /// Istio: `metadata.OWNER`, the workload's API path (`kubernetes://apis/apps/v1/namespaces/NS/deployments/NAME`).
    pub owner: Option<String>,
    /// Istio: `metadata.CLUSTER_ID`
    pub cluster_id: Option<String>,
}

/// The `service.name` of a resource.
#[inline]
pub fn service_name(resource: &[Attribute]) -> &str {
    let attribute = resource.iter().find(|attribute| attribute.name == "service.name");
    match attribute.map(|attribute| &attribute.value) {
        Some(AttributeValue::String(name)) => name,
        _ => UNKNOWN_SERVICE,
    }
}

/// What stands for a service that nothing names (semantic conventions, `service.name`).
const UNKNOWN_SERVICE: &str = "unknown_service:envoy";

/// The resource's attributes, one a name: what configuration says, then what the node says, then the SDK's own.
#[inline]
pub fn attributes(config: &ResourceConfig, node: &NodeFacts) -> Vec<Attribute> {
    let mut attributes = config.attributes.clone();
    let mut default = |name: &str, value: Option<&str>| {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        if !attributes.iter().any(|attribute| attribute.name == name) {
            attributes.push(Attribute { name: name.to_owned(), value: AttributeValue::String(value.to_owned()) });
        }
    };
    let said = |value: &Option<String>| value.as_deref().filter(|value| !value.is_empty()).map(str::to_owned);
    let service = said(&node.canonical_name).or_else(|| said(&node.cluster));
    default("service.name", Some(service.as_deref().unwrap_or(UNKNOWN_SERVICE)));
    default("service.namespace", node.namespace.as_deref());
    default("service.version", node.canonical_revision.as_deref());
    default(SERVICE_INSTANCE_ID, node.id.as_deref());
    default("k8s.namespace.name", node.namespace.as_deref());
    default("k8s.pod.name", node.pod_name.as_deref());
    if let Some((key, name)) = node.owner.as_deref().and_then(workload) {
        default(key, Some(name));
    }
    default("k8s.cluster.name", node.cluster_id.as_deref());
    default("telemetry.sdk.name", Some("meshspan"));
    default("telemetry.sdk.language", Some("rust"));
    default("telemetry.sdk.version", Some(crate::VERSION));
    attributes
}

/// The resource of one worker's metrics: each worker sums up its own, and a backend that took two workers' sums for one
/// would see them jump. So the instance has the worker's own id behind it (semantic conventions, "Service": each worker
/// of a server is best told apart by an instance id of its own; Metrics Data Model, "Single-Writer").
#[inline]
pub fn of_worker(resource: &[Attribute], worker: &str) -> Vec<Attribute> {
    let is_instance = |attribute: &&Attribute| attribute.name == SERVICE_INSTANCE_ID;
    let id = match resource.iter().find(is_instance).map(|attribute| &attribute.value) {
        Some(AttributeValue::String(instance)) => format!("{instance}/{worker}"),
        _ => worker.to_owned(),
    };
    let mut attributes: Vec<_> = resource.iter().filter(|attribute| !is_instance(attribute)).cloned().collect();
    attributes.push(Attribute { name: SERVICE_INSTANCE_ID.to_owned(), value: AttributeValue::String(id) });
    attributes
}

const SERVICE_INSTANCE_ID: &str = "service.instance.id";

/// The attribute for a workload's name, by its kind, and the name.
#[inline]
fn workload(owner: &str) -> Option<(&'static str, &str)> {
    let (rest, name) = owner.rsplit_once('/')?;
    let key = match rest.rsplit_once('/')?.1 {
        "deployments" => "k8s.deployment.name",
        "statefulsets" => "k8s.statefulset.name",
        "daemonsets" => "k8s.daemonset.name",
        "jobs" => "k8s.job.name",
        "cronjobs" => "k8s.cronjob.name",
        "replicasets" => "k8s.replicaset.name",
        _ => return None,
    };
    Some((key, name))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn value(config: &ResourceConfig, node: &NodeFacts, name: &str) -> Option<AttributeValue> {
        let mut found = attributes(config, node).into_iter().filter(|attribute| attribute.name == name);
        let value = found.next().map(|attribute| attribute.value);
        assert!(found.next().is_none(), "{name} stands once");
        value
    }

    #[test]
    fn the_service_has_a_name_in_this_order() {
        let configured = ResourceConfig {
            attributes: vec![Attribute {
                name: "service.name".into(),
                value: AttributeValue::String("configured".into()),
            }],
            schema_url: None,
        };
        let nothing = ResourceConfig::default();
        let cluster = NodeFacts { cluster: Some("cluster".into()), ..NodeFacts::default() };
        let istio = NodeFacts { canonical_name: Some("canonical".into()), ..cluster.clone() };
        let empty = NodeFacts { canonical_name: Some(String::new()), ..NodeFacts::default() };
        let table: &[(&ResourceConfig, &NodeFacts, &str, &str)] = &[
            (&configured, &istio, "configured", "configuration goes before all"),
            (&nothing, &istio, "canonical", "Istio's canonical service"),
            (&nothing, &cluster, "cluster", "the node's cluster"),
            (&nothing, &NodeFacts::default(), "unknown_service:envoy", "nothing is known"),
            (&nothing, &empty, "unknown_service:envoy", "an empty name is none"),
        ];
        for (config, node, expected, why) in table {
            assert_eq!(value(config, node, "service.name"), Some(AttributeValue::String((*expected).into())), "{why}");
        }
        assert_eq!(value(&nothing, &cluster, "k8s.pod.name"), None, "what is not known is left out");
    }

    #[test]
    fn a_workload_is_named_by_its_kind() {
        let owner = |kind: &str| format!("kubernetes://apis/apps/v1/namespaces/shop/{kind}/checkout");
        let table: &[(&str, Option<&str>)] = &[
            ("deployments", Some("k8s.deployment.name")),
            ("statefulsets", Some("k8s.statefulset.name")),
            ("daemonsets", Some("k8s.daemonset.name")),
            ("rollouts", None),
        ];
        for (kind, key) in table {
            let owner = owner(kind);
            assert_eq!(workload(&owner), key.map(|key| (key, "checkout")), "{kind}");
        }
        assert_eq!(workload("checkout"), None, "no path");
    }

    #[test]
    fn each_worker_is_an_instance_of_its_own() {
        let text = |value: &str| AttributeValue::String(value.into());
        let table = [
            (Some(text("pod-1")), "pod-1/w", "behind the proxy's own"),
            (None, "w", "there is none"),
            (Some(AttributeValue::Int(1)), "w", "no text"),
        ];
        for (value, expected, why) in table {
            let instance = value.map(|value| Attribute { name: SERVICE_INSTANCE_ID.into(), value });
            let name = Attribute { name: "service.name".into(), value: text("shop") };
            let resource: Vec<_> = [Some(name.clone()), instance].into_iter().flatten().collect();
            let attributes = of_worker(&resource, "w");
            let id = Attribute { name: SERVICE_INSTANCE_ID.into(), value: text(expected) };
            assert_eq!(attributes, [name, id], "{why}");
        }
    }
}
