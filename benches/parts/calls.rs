use criterion::{Criterion, Throughput};
use pgmutex::{Coalescing, Error, MutexId, MutexOwner, Mutexes, SessionBackend};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use crate::distant::Distant;

/// How many tasks call at once.
const TASKS: u16 = 64;

pub(crate) fn all(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("nothing is in its way");
    // Decides in the process, without waiting: what is left is what the client does for each call.
    let alone = Mutexes::builder().backend(SessionBackend::new());
    one_pair(criterion, &runtime, "a pair: each call alone", &alone);
    // Nothing else is under way: what the lanes add then.
    let coalescing = Mutexes::builder().backend(Coalescing::new(SessionBackend::new()));
    one_pair(criterion, &runtime, "a pair: coalescing", &coalescing);

    let alone = Mutexes::builder().backend(Distant::new());
    many_pairs(criterion, &runtime, "64 pairs: each call alone", &alone);
    let coalescing = Mutexes::builder().backend(Coalescing::new(Distant::new()));
    many_pairs(criterion, &runtime, "64 pairs: coalescing", &coalescing);
}

fn one_pair(criterion: &mut Criterion, runtime: &Runtime, name: &str, mutexes: &Mutexes) {
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| runtime.block_on(pair(mutexes, 0)).expect("it is free"));
    });
}

/// By as many tasks at once, each of a mutex of its own.
fn many_pairs(criterion: &mut Criterion, runtime: &Runtime, name: &str, mutexes: &Mutexes) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(TASKS.into()));
    group.bench_function("capture and release", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut running = JoinSet::new();
                for number in 0..TASKS {
                    let mutexes = mutexes.clone();
                    running.spawn(async move { pair(&mutexes, number).await });
                }
                while let Some(ended) = running.join_next().await {
                    ended.expect("no panics").expect("it is free");
                }
            });
        });
    });
    group.finish();
}

async fn pair(mutexes: &Mutexes, number: u16) -> Result<(), Error> {
    let id = MutexId::new("benches", "pair", number.to_string())?;
    let me = MutexOwner::new("benches")?;
    mutexes.capture(&id).owner(me.clone()).await?;
    mutexes.release(&id).owner(me).await?;
    Ok(())
}
