//! What is told to whoever watches: events through `tracing`, and counters and histograms through
//! the facade of the crate `metrics`, with the feature of that name.

use std::time::Duration;

use crate::domain::{CaptureOutcome, Captured, Error, PoolStatistics};

/// A capture succeeded, after this wait.
pub(crate) fn captured(captured: &Captured, waited: Duration) {
    let (mutex, token) = (&captured.id, captured.fencing_token);
    match &captured.outcome {
        CaptureOutcome::Captured => {
            tracing::debug!(%mutex, %token, ?waited, "captured");
            capture("captured");
        }
        CaptureOutcome::Refreshed => {
            tracing::debug!(%mutex, %token, "refreshed");
            capture("refreshed");
        }
        CaptureOutcome::Evicted(evicted) => {
            let (session, name) = (&evicted.session_id, &evicted.name);
            tracing::info!(%mutex, %token, session, name, evicted = %evicted.fencing_token, ?waited, "captured; a hold that was over made way");
            capture("evicted");
        }
    }
}

/// A capture did not succeed.
pub(crate) fn not_captured(error: &Error) {
    capture(match error {
        Error::Busy { .. } => "busy",
        Error::Timeout { .. } => "timeout",
        _ => "error",
    });
}

/// A capture had this outcome: `captured`, `refreshed`, `evicted`, `busy`, `timeout` or `error`.
fn capture(outcome: &'static str) {
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

/// This many calls of a verb are made together.
pub(crate) fn travelled_together(verb: &'static str, calls: usize) {
    #[cfg(feature = "metrics")]
    {
        #[expect(clippy::cast_precision_loss, reason = "it is a small number")]
        metrics::histogram!("pgmutex_batch_size", "verb" => verb).record(calls as f64);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (verb, calls);
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

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    /// Notes which names were used.
    #[derive(Default)]
    struct Names(Mutex<BTreeSet<String>>);

    impl Names {
        fn note(&self, key: &Key) {
            let labels: Vec<&str> = key.labels().map(|label| label.value()).collect();
            let name = format!("{} {}", key.name(), labels.join(","));
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(name.trim_end().to_owned());
        }
    }

    impl Recorder for Names {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.note(key);
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.note(key);
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.note(key);
            Histogram::noop()
        }
    }

    #[test]
    fn each_observation_has_the_name_that_the_readme_gives() {
        let names = Names::default();
        metrics::with_local_recorder(&names, || {
            super::capture("busy");
            super::travelled_together("release", 2);
            super::waited(Duration::from_millis(1));
            super::waiters(1.0);
            super::held(Duration::from_millis(1));
            super::lost();
            super::session_opened();
        });
        let noted = names.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let expected = [
            "pgmutex_batch_size release",
            "pgmutex_captures_total busy",
            "pgmutex_guards_lost_total",
            "pgmutex_hold_seconds",
            "pgmutex_sessions_opened_total",
            "pgmutex_wait_seconds",
            "pgmutex_waiters",
        ];
        assert!(noted.iter().eq(&expected), "{noted:?}");
        let readme = include_str!("../README.md");
        for name in expected {
            let name = name.split(' ').next().unwrap_or(name);
            assert!(readme.contains(&format!("`{name}`")), "{name}");
        }
    }
}

/// Someone has asked how pools stand.
pub(crate) fn pools(statistics: &[PoolStatistics]) {
    #[cfg(feature = "metrics")]
    for pool in statistics {
        for (state, count) in [
            ("ready", pool.ready),
            ("in_use", pool.in_use),
            ("locked", pool.locked),
            ("blocked", pool.blocked),
            ("inactive", pool.inactive),
        ] {
            let collection = pool.collection.clone();
            #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
            metrics::gauge!("pgmutex_pool_sessions", "collection" => collection, "state" => state)
                .set(count as f64);
        }
    }
    #[cfg(not(feature = "metrics"))]
    let _ = statistics;
}
