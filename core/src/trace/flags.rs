//! The W3C trace flags that OpenTelemetry uses (Trace Context Level 2 §3.2.2.3).

/// `sampled` (§3.2.2.3.1)
pub const SAMPLED: u8 = 0b01;
/// `random-trace-id` (§3.2.2.3.2)
pub const RANDOM: u8 = 0b10;
