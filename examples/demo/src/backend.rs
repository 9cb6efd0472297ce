//! Where the spans go, and how they are read back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use meshspan_kit::backend::{JAEGER_VARIABLE, Jaeger};
use meshspan_kit::receiver::{ReceivedSpan, Receiver};
use meshspan_kit::wait;

use crate::calls::Answered;
use crate::options::BackendKind;

/// A running backend; dropping it ends it.
pub(crate) enum Backend {
    /// The demo's own.
    Embedded(Receiver),
    /// A process beside it.
    Jaeger(Jaeger),
}

impl Backend {
    /// Starts it; what it writes, it writes below `folder`.
    pub(crate) fn start(kind: BackendKind, folder: &Path) -> anyhow::Result<Self> {
        match kind {
            BackendKind::Embedded => Ok(Self::Embedded(Receiver::start()?)),
            BackendKind::Jaeger => {
                let binary = Jaeger::binary().with_context(|| {
                    format!(
                        "no Jaeger to run: `cargo xtask demo --backend jaeger` builds one where there is Go (see its \
                         lines above), or {JAEGER_VARIABLE} names one"
                    )
                })?;
                Ok(Self::Jaeger(Jaeger::start_in(&binary, &folder.join("jaeger"))?))
            }
        }
    }

    /// What it is, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "the OTLP receiver",
            Self::Jaeger(_) => "Jaeger",
        }
    }

    /// Where it takes OTLP/gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        match self {
            Self::Embedded(receiver) => receiver.address(),
            Self::Jaeger(jaeger) => jaeger.grpc(),
        }
    }

    /// Where it takes OTLP/HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        match self {
            Self::Embedded(receiver) => receiver.address(),
            Self::Jaeger(jaeger) => jaeger.http(),
        }
    }

    /// The spans of the calls' traces that are there now: of Jaeger, as its query API tells them.
    ///
    /// # Errors
    /// When Jaeger does not answer.
    pub(crate) fn spans(&self, answered: &[Answered]) -> anyhow::Result<Vec<ReceivedSpan>> {
        match self {
            Self::Embedded(receiver) => Ok(receiver.spans()),
            Self::Jaeger(jaeger) => {
                let spans: anyhow::Result<Vec<_>> = trace_ids(answered).into_iter().map(|id| jaeger.otlp(id)).collect();
                Ok(spans?.concat())
            }
        }
    }

    /// Waits until the spans are as they should be, but no longer than `deadline`.
    pub(crate) fn wait_for(
        &self,
        answered: &[Answered],
        deadline: Duration,
        mut complete: impl FnMut(&[ReceivedSpan]) -> bool,
    ) {
        let mut there = |spans: &[ReceivedSpan]| complete(spans).then_some(());
        // What is missing at the deadline is told by whoever reads the spans then.
        let _ = match self {
            Self::Embedded(receiver) => receiver.wait_for(deadline, there),
            Self::Jaeger(_) => wait::until(deadline, "the spans", || there(&self.spans(answered).ok()?)),
        };
    }

    /// Prints where the traces can be read, one line each; nothing for the demo's own receiver.
    pub(crate) fn print_addresses(&self, spans: &[ReceivedSpan]) {
        if let Self::Jaeger(jaeger) = self {
            println!("Read back from Jaeger's query API (there while the demo runs; --keep keeps it running):");
            let ids: BTreeSet<_> = spans.iter().map(ReceivedSpan::trace_id).collect();
            for id in ids {
                println!("  http://{}/api/traces/{id}", jaeger.query());
            }
            println!();
        }
    }

    /// Prints where it listens.
    pub(crate) fn describe(&self) {
        match self {
            Self::Embedded(receiver) => println!("OTLP receiver:  {} (gRPC and HTTP)", receiver.address()),
            Self::Jaeger(jaeger) => println!(
                "Jaeger:         query API http://{}/api/traces?service=edge, OTLP {} (gRPC) and {} (HTTP)",
                jaeger.query(),
                jaeger.grpc(),
                jaeger.http()
            ),
        }
    }
}

/// The traces that reached the end of the mesh, each once, in the order of the calls.
fn trace_ids(answered: &[Answered]) -> Vec<&str> {
    let mut ids = Vec::new();
    for (id, _, _) in answered.iter().filter_map(Answered::context) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}
