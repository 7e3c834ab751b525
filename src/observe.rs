//! Counters and histograms for monitoring, through the facade of the crate `metrics`; without that
//! feature, nothing.

use std::time::Duration;

/// A capture had this outcome: `captured`, `refreshed`, `evicted`, `busy`, `timeout` or `error`.
pub(crate) fn capture(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("pgmutex_captures_total", "outcome" => outcome).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

/// Someone waited this long in line, in vain or not.
pub(crate) fn waited(time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("pgmutex_wait_seconds").record(time);
    #[cfg(not(feature = "metrics"))]
    let _ = time;
}

/// Someone joined a line (1) or left it (-1).
pub(crate) fn waiters(change: f64) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("pgmutex_waiters").increment(change);
    #[cfg(not(feature = "metrics"))]
    let _ = change;
}

/// A guard was released after this time.
pub(crate) fn held(time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("pgmutex_hold_seconds").record(time);
    #[cfg(not(feature = "metrics"))]
    let _ = time;
}

/// A guard lost its hold.
pub(crate) fn lost() {
    #[cfg(feature = "metrics")]
    metrics::counter!("pgmutex_guards_lost_total").increment(1);
}

/// The process opened its own session, for the first time or again.
pub(crate) fn session_opened() {
    #[cfg(feature = "metrics")]
    metrics::counter!("pgmutex_sessions_opened_total").increment(1);
}
