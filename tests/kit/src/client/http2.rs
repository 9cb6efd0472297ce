//! HTTP/2 in clear text, with prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::runtime;

const ANSWER: Duration = Duration::from_secs(30);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One connection.
pub struct Http2Client {
    sender: SendRequest<Body>,
    address: SocketAddr,
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Http2Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers; empty when there are none.
    pub trailers: HeaderMap,
}

impl Http2Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        runtime::block_on(async {
            let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok(Self { sender, address })
        })
    }

    /// A GET of `path` with these headers; a value may be any bytes that HTTP allows.
    pub fn get(&mut self, path: &str, headers: &[(&str, &[u8])]) -> anyhow::Result<Http2Response> {
        let mut request = Request::get(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Bytes::new())?)
    }

    /// Sends a request, whose URI must name scheme and authority, and reads the whole response.
    ///
    /// # Errors
    /// When the stream is reset or nothing comes for half a minute.
    pub fn send(&mut self, request: Request<Bytes>) -> anyhow::Result<Http2Response> {
        self.exchange(request.map(|body| Full::new(body).boxed_unsync()))
    }

    /// As [`Self::send`], with trailers behind the body.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_with_trailers(
        &mut self,
        request: Request<Bytes>,
        trailers: HeaderMap,
    ) -> anyhow::Result<Http2Response> {
        let trailers = async { Some(Ok(trailers)) };
        self.exchange(request.map(|body| Full::new(body).with_trailers(trailers).boxed_unsync()))
    }

    fn exchange(&mut self, request: Request<Body>) -> anyhow::Result<Http2Response> {
        let sender = &mut self.sender;
        runtime::block_on(async {
            tokio::time::timeout(ANSWER, async {
                sender.ready().await?;
                let response = sender.send_request(request).await?;
                let (head, body) = response.into_parts();
                let body = body.collect().await?;
                let trailers = body.trailers().cloned().unwrap_or_default();
                Ok(Http2Response {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body: body.to_bytes(),
                    trailers,
                })
            })
            .await
            .context("no answer in time")?
        })
    }

    /// Sends a request, waits for the response's headers, and then resets the stream with the body unread.
    pub fn send_and_cancel(&mut self, request: Request<Bytes>) -> anyhow::Result<u16> {
        let sender = &mut self.sender;
        let request = request.map(|body| Full::new(body).boxed_unsync());
        runtime::block_on(async {
            sender.ready().await?;
            let response = tokio::time::timeout(ANSWER, sender.send_request(request)).await;
            Ok(response.context("no answer in time")??.status().as_u16())
        })
    }
}
