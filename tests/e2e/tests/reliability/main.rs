//! That tracing never costs a request and loses nothing in silence, whatever breaks: each fault played on real Envoy
//! with real load, every answer compared with the one of a listener without the filter, and the books checked while it
//! lasts and after.
//!
//! `MESHSPAN_WRITE_DOCS=1` writes what is measured into `docs/reliability.md`; `MESHSPAN_LONG=1` gives each fault
//! half a minute.

mod books;
mod fault;
mod fuse;
mod report;
mod scenario;
mod stage;
mod usage;
