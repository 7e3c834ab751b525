use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Barrier, task::JoinSet};

use crate::{Outcome, contender::Contender};

/// Lets so many tasks capture and release, each a lock of its own, for so long.
pub(crate) async fn pairs_per_second(
    contender: &Contender,
    tasks: usize,
    length: Duration,
) -> Outcome<f64> {
    let start = Arc::new(Barrier::new(tasks + 1));
    let mut running = JoinSet::new();
    for number in 0..tasks {
        let (contender, start) = (contender.clone(), Arc::clone(&start));
        running.spawn(async move {
            let name = format!("benches-of-a-lock-{number}");
            start.wait().await;
            let began = Instant::now();
            let mut pairs = 0_u32;
            while began.elapsed() < length {
                contender.pair(&name).await?;
                pairs += 1;
            }
            Outcome::Ok(pairs)
        });
    }
    start.wait().await;
    let began = Instant::now();
    let mut pairs = 0.0;
    while let Some(task) = running.join_next().await {
        pairs += f64::from(task??);
    }
    // To the end of the last pair: all of those that were counted are in it.
    Ok(pairs / began.elapsed().as_secs_f64())
}
