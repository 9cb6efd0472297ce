//! Spans as a backend gets them: what they say, how streams end, who is whose parent, limits, and the way out.

mod attributes;
mod endings;
mod export;
mod limits;
mod retry;
mod roles;
mod statistics;
mod support;
