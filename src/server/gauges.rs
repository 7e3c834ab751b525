//! What the database tells whoever reads the metrics. Each reading asks once, and what is not known
//! is left out: a value of some time ago would pass for one of now.

use std::{fmt::Write as _, time::Duration};

use chrono::TimeDelta;
use tokio::time::timeout;

use crate::{
    domain::{Error, MutexStatistics},
    mutexes::Mutexes,
    pool::SessionPool,
};

/// Longest that somebody who reads the metrics waits for the database.
const PATIENCE: Duration = Duration::from_secs(3);

/// Pools are counted at each reading only while they have no more sessions than this: it reads all.
const MOST_SESSIONS: u64 = 9_999;

/// How the locks in the database stand, in Prometheus's text format.
pub(super) async fn of_database(mutexes: &Mutexes) -> String {
    let asked = async {
        let statistics = mutexes.statistics().await?;
        if (1..=MOST_SESSIONS).contains(&statistics.pool_sessions) {
            // Asking sets the gauges of the pools.
            SessionPool::<serde_json::Value>::new(mutexes, String::new())
                .statistics_of_all()
                .await?;
        }
        Ok::<_, Error>(statistics)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(statistics)) => written(Some(&statistics)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the metrics are without those of the database");
            written(None)
        }
        Err(_) => {
            tracing::warn!("the metrics are without those of the database: it takes too long");
            written(None)
        }
    }
}

fn written(statistics: Option<&MutexStatistics>) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
            );
        }
    };
    gauge(
        "pgmutex_database_up",
        "Whether the database has answered this reading.",
        Some(if statistics.is_some() { 1.0 } else { 0.0 }),
    );
    let Some(statistics) = statistics else {
        return text;
    };
    gauge(
        "pgmutex_database_holds",
        "Holds; beyond 10,000 an estimate.",
        Some(number(statistics.holds)),
    );
    gauge(
        "pgmutex_database_holds_over",
        "Holds that the time of their rule has ended and nobody has removed.",
        Some(number(statistics.holds_over)),
    );
    gauge(
        "pgmutex_database_oldest_hold_seconds",
        "Age of the oldest hold that is not over; 0: there is none.",
        Some(seconds(statistics.oldest_hold_age())),
    );
    gauge(
        "pgmutex_database_waiters",
        "Those who wait in line, in all processes.",
        statistics.waiters.map(number),
    );
    gauge(
        "pgmutex_database_oldest_waiter_seconds",
        "For how long the one has waited who has waited longest; 0: nobody waits.",
        statistics
            .waiters
            .map(|_| seconds(statistics.oldest_waiter_age())),
    );
    text
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Never negative: a row may say that it is from tomorrow.
fn seconds(age: Option<TimeDelta>) -> f64 {
    age.map_or(0.0, TimeDelta::as_seconds_f64).max(0.0)
}
