//! What attached guards write while nothing happens: more than one heartbeat's time passes.

use tokio::time::sleep;

use super::{
    Failure, guards,
    part::{Figure, Part},
    plan::Scenario,
    run::Run,
};

pub(super) const TRANSACTIONS: &str = "transactions that wrote";
/// Unlike those of the whole server, which vacuums what is not the guards', too.
pub(super) const ROWS: &str = "rows written";

pub(super) async fn measure(run: &mut Run<'_>) -> Result<Vec<Part>, Failure> {
    let mutexes = run.place.mutexes().await?;
    let count = run.plan.guards;
    let guards = guards::lock(&mutexes, 0..count, |lock| lock.attached()).await?;
    // Vacuum would come some time, and is not what the guards do.
    run.place.workbench.settle(&run.place.schema()?).await?;
    run.tell(&format!(
        "idle: {:?} of holding {count} guards",
        run.plan.idle
    ));
    let schema = run.place.schema()?;
    let before = run.server().reading().await?;
    let since = before.written();
    let rows_before = run.place.workbench.rows(&schema, since).await?;
    sleep(run.plan.idle).await;
    let spent = run.server().since(&before).await?;
    let rows = run.place.workbench.rows(&schema, since).await?;
    let written = rows.new + (rows_before.all - rows.all).max(0);
    let lost = guards.iter().filter(|guard| guard.is_lost()).count();
    guards::release(&mutexes, guards).await?;
    if lost > 0 {
        return Err(
            format!("{lost} of {count} attached guards were lost while nothing happened").into(),
        );
    }
    let seconds = run.plan.idle.as_secs_f64();
    let figures = vec![
        Figure {
            name: "seconds",
            unit: "s",
            value: Some(seconds),
        },
        Figure {
            name: ROWS,
            unit: "rows",
            value: Some(written as f64),
        },
        Figure {
            name: TRANSACTIONS,
            unit: "transactions",
            value: Some(spent.transactions),
        },
        Figure {
            name: "log",
            unit: "bytes",
            value: Some(spent.wal),
        },
        Figure {
            name: "server CPU per second",
            unit: "ms",
            value: spent.cpu.map(|cpu| cpu * 1e3 / seconds),
        },
    ];
    let setting = format!("{count} attached guards");
    Ok(vec![Part::of_figures(Scenario::Idle, setting, figures)])
}
