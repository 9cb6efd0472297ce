//! Who is notified: a receiver of Alertmanager's webhooks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Json, Path};
use axum::routing::post;
use axum::{Router, http::StatusCode};
use serde_json::Value;

use crate::server::Server;

/// One notification, as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The path's last segment: whose webhook it is.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// What its alerts have in common by the route's `group_by`.
    pub group: BTreeMap<String, String>,
    /// Its alerts: labels, annotations and status of each.
    pub alerts: Vec<Value>,
}

/// A running receiver: `http://ADDRESS/NAME` is the webhook of NAME.
pub struct Webhook {
    server: Server,
    log: Arc<Mutex<Vec<Notification>>>,
}

impl Webhook {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> anyhow::Result<Self> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let receive = move |Path(receiver): Path<String>, Json(message): Json<Value>| async move {
            let notification = Notification {
                receiver,
                status: message["status"].as_str().unwrap_or_default().to_owned(),
                group: serde_json::from_value(message["groupLabels"].clone()).unwrap_or_default(),
                alerts: message["alerts"].as_array().cloned().unwrap_or_default(),
            };
            written.lock().unwrap_or_else(PoisonError::into_inner).push(notification);
            StatusCode::OK
        };
        let router = Router::new().route("/{receiver}", post(receive));
        Ok(Self { server: Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), router)?, log })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// All that came so far, in order.
    pub fn notifications(&self) -> Vec<Notification> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
