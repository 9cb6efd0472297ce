//! Listeners and clusters that Envoy reads from files, so that they can be exchanged while it serves.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use serde_json::Value;

use super::{Envoy, START};
use crate::config::EnvoyConfig;
use crate::wait;

/// What Envoy did with exchanged listeners or clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It serves with the new ones.
    Accepted,
    /// It refused them and goes on with the former.
    Rejected,
}

/// A file of resources that Envoy watches.
pub(super) struct ResourceFile {
    path: PathBuf,
    version: AtomicU64,
}

impl ResourceFile {
    /// In a folder of its own below `folder`: Envoy looks again at every change in the watched folder.
    pub(super) fn create(folder: &Path, kind: &str, resources: &[Value]) -> anyhow::Result<Self> {
        let folder = folder.join(kind);
        std::fs::create_dir(&folder)?;
        let file = Self { path: folder.join("resources.json"), version: AtomicU64::new(0) };
        file.write(resources)?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Exchanges what it holds, in one step and under a new version.
    fn write(&self, resources: &[Value]) -> anyhow::Result<()> {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let text = serde_json::json!({"version_info": version.to_string(), "resources": resources}).to_string();
        let partial = self.path.with_extension("partial");
        std::fs::write(&partial, text)?;
        std::fs::rename(&partial, &self.path)?;
        Ok(())
    }
}

impl Envoy {
    /// Exchanges the listeners for those of `config`, and waits for Envoy's verdict. Needs
    /// [`Options::listeners_by_file`](super::Options::listeners_by_file). Listeners that keep their name and address
    /// keep their port.
    pub fn update_listeners(&self, config: &EnvoyConfig) -> anyhow::Result<Update> {
        let file = self.listener_file.as_ref().context("this Envoy does not read its listeners from a file")?;
        self.update(file, &config.listener_resources(), "listener_manager.lds", "total_listeners_warming")
    }

    /// Exchanges the clusters that Envoy read from its file for these ones of `config`, by their names, and waits for
    /// Envoy's verdict. Needs [`Options::clusters_by_file`](super::Options::clusters_by_file). The clusters of the
    /// bootstrap stay.
    pub fn update_clusters(&self, config: &EnvoyConfig, names: &[&str]) -> anyhow::Result<Update> {
        let file = self.cluster_file.as_ref().context("this Envoy does not read its clusters from a file")?;
        self.update(file, &config.cluster_resources(names), "cluster_manager.cds", "warming_clusters")
    }

    fn update(&self, file: &ResourceFile, resources: &[Value], service: &str, warming: &str) -> anyhow::Result<Update> {
        let count = |name: &str| self.stat(&format!("{service}.{name}")).unwrap_or(0);
        let manager = service.split('.').next().unwrap_or_default();
        let (accepted, rejected) = (count("update_success"), count("update_rejected"));
        file.write(resources)?;
        wait::until(START, &format!("Envoy's verdict on what {service} got"), || {
            if count("update_rejected") > rejected {
                Some(Update::Rejected)
            } else if count("update_success") > accepted && self.stat(&format!("{manager}.{warming}")) == Some(0) {
                Some(Update::Accepted)
            } else {
                None
            }
        })
    }
}
