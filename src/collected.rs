//! The metrics of this process, collected for Prometheus.

use std::{sync::OnceLock, thread, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Upper bounds, in seconds: of answers, waits and holds.
const SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0,
];

/// How often what was measured is put into the buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects the metrics of this process, from the first call on, which says the labels that they all
/// have; `None` if the program collects them in another way.
pub(crate) fn collected(labels: &[(&str, &str)]) -> Option<PrometheusHandle> {
    static COLLECTED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    COLLECTED
        .get_or_init(|| {
            let mut builder = PrometheusBuilder::new().set_buckets(&SECONDS).ok()?;
            for (name, value) in labels {
                builder = builder.add_global_label(*name, *value);
            }
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            keep_up(handle.clone());
            Some(handle)
        })
        .clone()
}

/// Until it is asked for, or put into its bucket, each single measurement is kept: without this, a
/// server whose `/metrics` nobody reads would grow without end.
fn keep_up(handle: PrometheusHandle) {
    let upkeep = move || {
        loop {
            thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    };
    let thread = thread::Builder::new().name("pgmutex-metrics".to_owned());
    if let Err(error) = thread.spawn(upkeep) {
        tracing::error!(%error, "no thread for the metrics: they take memory until somebody reads them");
    }
}
