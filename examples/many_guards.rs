//! A hundred thousand guards in one process, attached to its database session: what they write while
//! they are held (nothing), and how much memory they take.
//!
//! `cargo run --release --example many_guards` (it starts a private PostgreSQL)

use std::{
    env,
    error::Error,
    fs,
    time::{Duration, Instant},
};

use pgmutex::{Access, Guard, GuardState, MutexId, Mutexes, private_server::PrivatePostgres};
use tokio_postgres::{Client, NoTls};

/// How many are locked in one call.
const TOGETHER: usize = 1000;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let server = PrivatePostgres::start()?;
    let url = server.url("postgres");
    let mutexes = Mutexes::connect(&url).await?;
    mutexes.migrate().await?;
    let (sql, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let count = env::args()
        .nth(1)
        .map_or(Ok(100_000), |count| count.parse())?;

    let (before, since) = (memory(), Instant::now());
    let guards = lock(&mutexes, count).await?;
    println!(
        "{} guards, after {:.1} s",
        guards.len(),
        since.elapsed().as_secs_f64()
    );
    println!(
        "  memory of this process: {} kB, before {before} kB",
        memory()
    );

    // What the statistics know may be a minute old.
    let mut written = writes(&sql).await?;
    while written < i64::try_from(count)? {
        tokio::time::sleep(Duration::from_secs(1)).await;
        written = writes(&sql).await?;
    }
    println!("  rows written until then: {written}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let since_then = writes(&sql).await? - written;
    println!("  rows written in 10 s of holding: {since_then}");
    let held = guards
        .iter()
        .filter(|guard| guard.state() == GuardState::Held)
        .count();
    println!("  still held: {held}");
    if since_then != 0 || held != count {
        return Err("it should have been nothing, and all".into());
    }

    let since = Instant::now();
    for together in guards.chunks(TOGETHER) {
        mutexes.release_owner(&together[0].mutex().owner).await?;
    }
    println!("  released after {:.1} s", since.elapsed().as_secs_f64());
    for guard in guards {
        guard.into_parts();
    }
    Ok(())
}

/// Locks so many mutexes, a thousand in each call.
async fn lock(mutexes: &Mutexes, count: usize) -> Outcome<Vec<Guard>> {
    let mut guards = Vec::with_capacity(count);
    while guards.len() < count {
        let until = count.min(guards.len() + TOGETHER);
        let ids: Vec<MutexId> = (guards.len()..until)
            .map(|number| MutexId::new("examples", "guard", number.to_string()))
            .collect::<Result<_, _>>()?;
        let all = ids.iter().map(|id| (id, Access::Exclusive));
        guards.extend(mutexes.lock_all(all).attached().await?);
    }
    Ok(guards)
}

/// How many rows of the holds have been written so far.
async fn writes(sql: &Client) -> Outcome<i64> {
    let query = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint \
                 from pg_stat_user_tables where relname = 'mutex_model'";
    Ok(sql.query_one(query, &[]).await?.get(0))
}

/// What the system says about this process, in kB; 0 where it does not.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.map(|size| size.trim().trim_end_matches(" kB"));
    digits.and_then(|kb| kb.parse().ok()).unwrap_or(0)
}
