//! Envoy configurations: the files that users copy, changed in structure (ports, addresses, the module's path,
//! the filter's own configuration) and otherwise left as they are.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// The environment variable that names the compiled module.
pub const MODULE_VARIABLE: &str = "MESHSPAN_WASM";

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING_TYPE: &str = "type.googleapis.com/google.protobuf.StringValue";
const CLUSTER_TYPE: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER_TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// The lean module that `cargo xtask build` leaves beside this one: `meshspan-lean.wasm` beside `meshspan.wasm`.
fn lean_module(module: &Path) -> anyhow::Result<PathBuf> {
    let mut name = module.file_stem().with_context(|| format!("{} names no file", module.display()))?.to_owned();
    name.push("-lean.wasm");
    Ok(module.with_file_name(name))
}

/// An Envoy bootstrap. The changing methods take and give it, so that they chain.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvoyConfig {
    root: Value,
}

impl EnvoyConfig {
    /// A file of the project's `envoy-config/`, by its name.
    pub fn shipped(name: &str) -> anyhow::Result<Self> {
        let path = shipped_folder().join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// YAML or JSON text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let root: Value = serde_yaml_ng::from_str(text).context("neither YAML nor JSON")?;
        if !root.is_object() {
            bail!("an Envoy bootstrap is a mapping");
        }
        Ok(Self { root })
    }

    /// YAML or JSON text with `{{name}}` placeholders. `{{port:NAME}}` becomes 0: let Envoy choose, and ask
    /// [`crate::envoy::Envoy::address`] for the listener NAME.
    ///
    /// # Errors
    /// For a placeholder that `values` does not name, and as [`Self::parse`].
    pub fn fill(text: &str, values: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").context("a placeholder without its end")?;
            filled.push_str(before);
            match values.iter().find(|(key, _)| *key == name) {
                Some((_, value)) => filled.push_str(value),
                None if name.starts_with("port:") => filled.push('0'),
                None => bail!("nothing to put for {{{{{name}}}}}"),
            }
            rest = after;
        }
        filled.push_str(rest);
        Self::parse(&filled)
    }

    /// Every listener and the admin interface at 127.0.0.1 on a free port of Envoy's choice.
    #[must_use]
    pub fn local(mut self) -> Self {
        let anywhere = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        self.root["admin"] = json!({"address": anywhere});
        for listener in self.listeners_mut() {
            listener["address"] = anywhere.clone();
        }
        self
    }

    /// One listener at a fixed address.
    #[must_use]
    pub fn listener_address(mut self, listener: &str, address: SocketAddr) -> Self {
        for entry in self.listeners_mut().iter_mut().filter(|entry| entry["name"] == listener) {
            entry["address"] =
                json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
        }
        self
    }

    /// The compiled module to load.
    #[must_use]
    pub fn wasm_module(mut self, path: &Path) -> Self {
        for_each_plugin(&mut self.root, &mut |plugin| {
            plugin["vm_config"]["code"] = json!({"local": {"filename": path.display().to_string()}});
        });
        self
    }

    /// The compiled module that the environment names ([`MODULE_VARIABLE`]).
    ///
    /// # Errors
    /// When the variable is not set.
    pub fn wasm_module_from_env(self) -> anyhow::Result<Self> {
        let path = std::env::var_os(MODULE_VARIABLE)
            .with_context(|| format!("{MODULE_VARIABLE} does not name the compiled module"))?;
        Ok(self.wasm_module(Path::new(&path)))
    }

    /// The lean module beside it: the one without a callback for response headers.
    ///
    /// # Errors
    /// When the variable is not set, or names no file.
    pub fn lean_module_from_env(self) -> anyhow::Result<Self> {
        let path = std::env::var_os(MODULE_VARIABLE)
            .with_context(|| format!("{MODULE_VARIABLE} does not name the compiled module"))?;
        Ok(self.wasm_module(&lean_module(Path::new(&path))?))
    }

    /// The configuration without any wasm HTTP filter.
    #[must_use]
    pub fn without_filter(mut self) -> Self {
        for_each_object(&mut self.root, &mut |object| {
            if let Some(Value::Array(filters)) = object.get_mut("http_filters") {
                filters.retain(|filter| filter["typed_config"]["@type"] != WASM_TYPE);
            }
        });
        self
    }

    /// Points an existing cluster at one address. What else the cluster says (HTTP/2, timeouts) stays.
    #[must_use]
    pub fn cluster(mut self, name: &str, address: SocketAddr) -> Self {
        for cluster in self.clusters_mut().iter_mut().filter(|cluster| cluster["name"] == name) {
            cluster["type"] = "STATIC".into();
            if let Some(cluster) = cluster.as_object_mut() {
                cluster.remove("dns_lookup_family");
            }
            cluster["load_assignment"] = endpoints(name, address);
        }
        self
    }

    /// Adds a cluster with one address; `http2`: cleartext HTTP/2, as gRPC needs it.
    #[must_use]
    pub fn add_cluster(mut self, name: &str, address: SocketAddr, http2: bool) -> Self {
        let mut cluster = json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": endpoints(name, address),
        });
        if http2 {
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            });
        }
        self.clusters_mut().push(cluster);
        self
    }

    /// Changes meshspan's own configuration in every listener that carries the filter; the closure gets the
    /// listener's name. The form in the file, `Struct` or `StringValue`, is kept.
    #[must_use]
    pub fn meshspan(mut self, mut change: impl FnMut(&str, &mut Value)) -> Self {
        for listener in self.listeners_mut() {
            let name = listener["name"].as_str().unwrap_or_default().to_owned();
            for_each_plugin(listener, &mut |plugin| {
                change_plugin(plugin, &mut |config| change(&name, config));
            });
        }
        self
    }

    /// Replaces meshspan's own configuration everywhere by this text, which need not be JSON.
    #[must_use]
    pub fn meshspan_text(mut self, text: &str) -> Self {
        for_each_plugin(&mut self.root, &mut |plugin| {
            plugin["configuration"] = json!({"@type": STRING_TYPE, "value": text});
        });
        self
    }

    /// Writes meshspan's own configuration everywhere as JSON text in a `StringValue`, where the file has a
    /// `Struct`.
    #[must_use]
    pub fn meshspan_as_text(mut self) -> Self {
        for_each_plugin(&mut self.root, &mut |plugin| {
            let value = &plugin["configuration"]["value"];
            if !value.is_string() {
                plugin["configuration"] = json!({"@type": STRING_TYPE, "value": value.to_string()});
            }
        });
        self
    }

    /// Sets `schedule_delay` of every batch processor.
    #[must_use]
    pub fn schedule_delay(self, delay: Duration) -> Self {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.meshspan(|_, config| {
            for_each_object(config, &mut |object| {
                if let Some(Value::Object(batch)) = object.get_mut("batch") {
                    batch.insert("schedule_delay".to_owned(), delay.into());
                }
            });
        })
    }

    /// Sets `service.name` of the resource, in every listener that carries the filter.
    #[must_use]
    pub fn service_name(self, service: &str) -> Self {
        self.meshspan(|_, config| {
            if !config["resource"]["attributes"].is_array() {
                config["resource"]["attributes"] = json!([]);
            }
            if let Some(attributes) = config["resource"]["attributes"].as_array_mut() {
                attributes.retain(|attribute| attribute["name"] != "service.name");
                attributes.push(json!({"name": "service.name", "value": service}));
            }
        })
    }

    /// Any other change, on the bootstrap as JSON.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.root);
        self
    }

    /// Changes the HTTP connection managers, each given with its listener's name.
    #[must_use]
    pub fn connection_managers(mut self, mut change: impl FnMut(&str, &mut Value)) -> Self {
        for listener in self.listeners_mut() {
            let name = listener["name"].as_str().unwrap_or_default().to_owned();
            for chain in array_mut(listener, "filter_chains") {
                for filter in array_mut(chain, "filters") {
                    if filter["name"] == "envoy.filters.network.http_connection_manager" {
                        change(&name, &mut filter["typed_config"]);
                    }
                }
            }
        }
        self
    }

    /// The bootstrap as JSON.
    pub fn json(&self) -> &Value {
        &self.root
    }

    /// Takes a cluster out.
    #[must_use]
    pub fn without_cluster(mut self, name: &str) -> Self {
        self.clusters_mut().retain(|cluster| cluster["name"] != name);
        self
    }

    /// Takes the listeners out and has Envoy read them from `file`, so that they can be exchanged.
    #[must_use]
    pub(crate) fn with_listener_file(mut self, file: &Path) -> Self {
        *self.listeners_mut() = Vec::new();
        self.discovered("lds_config", file)
    }

    /// Has Envoy read more clusters from `file`.
    #[must_use]
    pub(crate) fn with_cluster_file(self, file: &Path) -> Self {
        self.discovered("cds_config", file)
    }

    fn discovered(mut self, service: &str, file: &Path) -> Self {
        // Envoy asks for a node before it reads anything by discovery.
        if self.root["node"].is_null() {
            self.root["node"] = json!({"id": "kit", "cluster": "kit"});
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        self.root["dynamic_resources"][service] = json!({
            "resource_api_version": "V3",
            "path_config_source": {
                "path": file.display().to_string(),
                "watched_directory": {"path": folder.display().to_string()},
            },
        });
        self
    }

    /// The listeners as resources of the file of [`Self::with_listener_file`].
    pub(crate) fn listener_resources(&self) -> Vec<Value> {
        self.resources("listeners", LISTENER_TYPE)
    }

    /// The clusters of these names as resources of the file of [`Self::with_cluster_file`].
    pub(crate) fn cluster_resources(&self, names: &[&str]) -> Vec<Value> {
        let mut clusters = self.resources("clusters", CLUSTER_TYPE);
        clusters.retain(|cluster| cluster["name"].as_str().is_some_and(|name| names.contains(&name)));
        clusters
    }

    fn resources(&self, kind: &str, resource_type: &str) -> Vec<Value> {
        let mut resources = self.root["static_resources"][kind].as_array().cloned().unwrap_or_default();
        for resource in &mut resources {
            resource["@type"] = resource_type.into();
        }
        resources
    }

    /// Names of the listeners, in order.
    pub(crate) fn listener_names(&self) -> Vec<String> {
        let listeners = self.root["static_resources"]["listeners"].as_array();
        listeners.into_iter().flatten().filter_map(|l| l["name"].as_str().map(str::to_owned)).collect()
    }

    fn listeners_mut(&mut self) -> &mut Vec<Value> {
        array_mut(&mut self.root["static_resources"], "listeners")
    }

    fn clusters_mut(&mut self) -> &mut Vec<Value> {
        array_mut(&mut self.root["static_resources"], "clusters")
    }
}

/// Where the shipped configurations lie.
pub fn shipped_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy-config")
}

fn array_mut<'a>(parent: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    if !parent[key].is_array() {
        parent[key] = json!([]);
    }
    match &mut parent[key] {
        Value::Array(array) => array,
        _ => unreachable!("it was made an array"),
    }
}

fn endpoints(cluster: &str, address: SocketAddr) -> Value {
    let address = json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    json!({
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    })
}

fn change_plugin(plugin: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    let value = &mut plugin["configuration"]["value"];
    if let Value::String(text) = value {
        // A text that is not JSON is what its test is about: nothing in it to change.
        if let Ok(mut config) = serde_json::from_str(text) {
            change(&mut config);
            *text = config.to_string();
        }
    } else {
        change(value);
    }
}

fn for_each_plugin(root: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    for_each_object(root, &mut |object| {
        if object.get("@type").is_some_and(|kind| kind == WASM_TYPE)
            && let Some(plugin) = object.get_mut("config")
        {
            visit(plugin);
        }
    });
}

fn for_each_object(value: &mut Value, visit: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values_mut().for_each(|child| for_each_object(child, visit));
        }
        Value::Array(array) => array.iter_mut().for_each(|child| for_each_object(child, visit)),
        _ => {}
    }
}
