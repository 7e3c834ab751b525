//! One round of heartbeats: every guard is kept alive once.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    Failure, guards,
    idle::TRANSACTIONS,
    ours::id,
    part::{Figure, Part},
    plan::Scenario,
    run::Run,
};
use crate::{guard::Guard, mutexes::Mutexes};

/// What a guard has seen of its heartbeat.
struct Beat {
    guard: Guard,
    /// Until when it is relied on since: the same for all who were asked about together.
    trusted_until: Option<Instant>,
    seen: Instant,
}

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let (count, timeout) = (run.plan.guards, run.plan.timeout);
    let trust = trust(&mutexes, timeout).await?;
    let guards = guards::lock(&mutexes, 0..count, |lock| lock.timeout(timeout)).await?;
    run.tell(&format!(
        "refresh: {count} guards wait for their heartbeats"
    ));
    let before = run.server().reading().await?;
    let beats = beats(guards).await?;
    let spent = run.server().since(&before).await?;
    let (statements, took) = statements(&beats, trust);
    let guards: Vec<Guard> = beats.into_iter().map(|beat| beat.guard).collect();
    guards::release(&mutexes, guards).await?;
    let each = |sum: f64| Some(sum / count as f64);
    let figures = vec![
        Figure {
            name: "a round",
            unit: "ms",
            value: Some(took.as_secs_f64() * 1e3),
        },
        Figure {
            name: "statements",
            unit: "statements",
            value: Some(statements as f64),
        },
        Figure {
            name: TRANSACTIONS,
            unit: "transactions",
            value: Some(spent.transactions),
        },
        Figure {
            name: "log per guard",
            unit: "bytes",
            value: each(spent.wal),
        },
        Figure {
            name: "server CPU per guard",
            unit: "us",
            value: spent.cpu.and_then(|cpu| each(cpu * 1e6)),
        },
    ];
    let setting = format!("{count} guards");
    Ok(vec![Part::of_figures(Scenario::Refresh, setting, figures)])
}

/// For how long a guard with this timeout is relied on, counted from when it was asked for.
async fn trust(mutexes: &Mutexes, timeout: Duration) -> Result<Duration, Failure> {
    let id = id("trust")?;
    // The connection is there by then.
    mutexes.lock(&id).await?.release().await?;
    let asked = Instant::now();
    let guard = mutexes.lock(&id).timeout(timeout).await?;
    let until = guard.trusted_until();
    guard.release().await?;
    let until = until.ok_or("a guard with a timeout is relied on for ever")?;
    Ok(until.saturating_duration_since(asked))
}

/// Waits until each guard has been kept alive, or fails: the trust in a guard that is lost does not move
/// any more.
async fn beats(guards: Vec<Guard>) -> Result<Vec<Beat>, Failure> {
    let mut waiting = JoinSet::new();
    for guard in guards {
        waiting.spawn(async move {
            let known = guard.trusted_until();
            let trusted_until = tokio::select! {
                until = guard.trust_moved(known) => until,
                () = guard.lost() => None,
            };
            Beat {
                guard,
                trusted_until,
                seen: Instant::now(),
            }
        });
    }
    let mut beats = Vec::with_capacity(waiting.len());
    while let Some(ended) = waiting.join_next().await {
        let beat = ended.map_err(|error| error.to_string())?;
        if beat.guard.is_lost() {
            return Err("a guard was lost while its heartbeats were measured".into());
        }
        beats.push(beat);
    }
    Ok(beats)
}

/// How many statements it were, and how long they took together: each until the first of its guards
/// has seen the answer.
fn statements(beats: &[Beat], trust: Duration) -> (usize, Duration) {
    let mut seen = std::collections::BTreeMap::new();
    for beat in beats {
        let Some(until) = beat.trusted_until else {
            continue;
        };
        let first = seen.entry(until).or_insert(beat.seen);
        *first = beat.seen.min(*first);
    }
    let took = seen.iter().map(|(until, seen)| {
        let asked = until.checked_sub(trust).unwrap_or(*seen);
        seen.saturating_duration_since(asked)
    });
    (seen.len(), took.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionBackend;

    #[tokio::test]
    async fn a_guard_that_is_lost_is_not_waited_for() {
        let mutexes = Mutexes::builder().backend(SessionBackend::new());
        // It is over before its first heartbeat.
        let lock = mutexes.lock(id("short").unwrap());
        let guard = lock.max_hold(Duration::from_secs(1)).await.unwrap();
        let beats = tokio::time::timeout(Duration::from_secs(60), beats(vec![guard]));
        let failure = beats.await.expect("it hangs").err();
        let failure = failure.expect("it was kept alive").to_string();
        assert!(failure.contains("a guard was lost"), "{failure}");
    }
}
