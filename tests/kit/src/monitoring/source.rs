//! A page of series that a test writes, for Prometheus to scrape.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::get;

use crate::server::Server;

/// A running page, `/metrics`.
pub struct Source {
    server: Server,
    text: Arc<Mutex<Box<dyn FnMut() -> String + Send>>>,
}

impl Source {
    /// Starts it on a free port of 127.0.0.1. What it shows is made anew at each scrape.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(page: impl FnMut() -> String + Send + 'static) -> anyhow::Result<Self> {
        let text: Arc<Mutex<Box<dyn FnMut() -> String + Send>>> = Arc::new(Mutex::new(Box::new(page)));
        let made = Arc::clone(&text);
        let page = move || {
            let text = made.lock().unwrap_or_else(PoisonError::into_inner)();
            async move { text }
        };
        let router = Router::new().route("/metrics", get(page));
        Ok(Self { server: Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), router)?, text })
    }

    /// Shows another page from now on.
    pub fn show(&self, page: impl FnMut() -> String + Send + 'static) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(page);
    }

    /// Where it is scraped.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
