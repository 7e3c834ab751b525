//! Ten callers of a service that allows three calls at a time. Run it with:
//! cargo run --release --example rate_limit

use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use pgmutex::{
    MutexId, MutexOwner, Mutexes, private_server::database_url_or_private, tokio_postgres::NoTls,
};
use tokio::task::JoinSet;

const PERMITS: u32 = 3;

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = database_url_or_private()?;
    let mutexes = Mutexes::connect(&url).await?;
    mutexes.migrate().await?;

    let run = std::process::id().to_string();
    let service = MutexId::new("rate-limit", "calls", run)?;
    let began = Instant::now();
    println!("Ten callers, {PERMITS} permits.\n");
    let mut callers = JoinSet::new();
    for number in 1..=10 {
        // Another process would do the same: the permits are rows in the database.
        callers.spawn(call(mutexes.clone(), service.clone(), number, began));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let most = MOST.load(Ordering::SeqCst);
    println!("\nAll ten were served; at most {most} at once.");

    println!("\nThe same from SQL, for every other language, with all permits taken:");
    let mut taken = Vec::new();
    for _ in 0..PERMITS {
        taken.push(mutexes.acquire(&service, PERMITS).await?);
    }
    let (sql, connection) = pgmutex::tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let permits = i32::try_from(PERMITS)?;
    let row = sql
        .query_one(
            "select outcome from pgmutex.capture($1, $2, $3, owner_session => 'psql', access => 'shared', permits => $4)",
            &[&service.group(), &service.mode(), &service.id(), &permits],
        )
        .await?;
    let outcome: String = row.get(0);
    println!(
        "    select outcome from pgmutex.capture(…, access => 'shared', permits => {PERMITS}): {outcome}"
    );
    for guard in taken {
        guard.release().await?;
    }
    if most > usize::try_from(PERMITS)? {
        return Err(format!("{most} at once, with {PERMITS} permits").into());
    }
    if outcome != "busy" {
        return Err(format!("one permit too many: {outcome}").into());
    }
    Ok(())
}

async fn call(
    mutexes: Mutexes,
    service: MutexId,
    number: u32,
    began: Instant,
) -> pgmutex::Result<()> {
    let name = format!("caller {number}");
    let owner = MutexOwner::new(name.as_str())?.with_name(name.as_str())?;
    let permit = mutexes.acquire(&service, PERMITS).owner(owner);
    permit
        .wait(Duration::from_secs(60))
        .with(async |guard| {
            let at_once = AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1;
            MOST.fetch_max(at_once, Ordering::SeqCst);
            println!(
                "    {:4} ms  {name:9}  permit {}, {at_once} at once",
                began.elapsed().as_millis(),
                guard.mutex().permit
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
            AT_ONCE.fetch_sub(1, Ordering::SeqCst);
        })
        .await
}
