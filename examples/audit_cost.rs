//! What the audit costs: captures and releases one after the other, in rounds with the audit off and
//! on by turns, so that whatever else the machine does falls on both.
//!
//! `cargo run --release --example audit_cost` (it starts a private PostgreSQL; `-- 50 1000` for 50
//! rounds of 1000 pairs)

use std::{env, error::Error, time::Instant};

use pgmutex::{MutexId, MutexOwner, Mutexes, private_server::PrivatePostgres};
use tokio_postgres::{Client, NoTls};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse());
    let rounds: u32 = arguments.next().unwrap_or(Ok(20))?;
    let pairs: u32 = arguments.next().unwrap_or(Ok(500))?;
    // As a server in production: what is acknowledged is on the disk.
    let server = PrivatePostgres::builder().durable(true).start()?;
    let url = server.url("postgres");
    let mutexes = Mutexes::connect(&url).await?;
    mutexes.migrate().await?;
    let (sql, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let version = text(&sql, "select current_setting('server_version')").await?;
    let fsync = text(
        &sql,
        "select current_setting('fsync') || ', synchronous_commit ' || current_setting('synchronous_commit')",
    )
    .await?;
    println!(
        "PostgreSQL {version}, fsync {fsync}; {rounds} rounds of {pairs} pairs of capture and release, off and on each"
    );

    let (mut off, mut on) = (Measured::default(), Measured::default());
    round(&mutexes, &sql, pairs).await?; // to warm up
    for _ in 0..rounds {
        off.add(round(&mutexes, &sql, pairs).await?);
        mutexes.enable_audit().await?;
        on.add(round(&mutexes, &sql, pairs).await?);
        mutexes.disable_audit().await?;
    }
    let recorded = text(&sql, "select count(*)::text from pgmutex.audit").await?;
    if recorded != (2 * u64::from(rounds) * u64::from(pairs)).to_string() {
        return Err(format!("{recorded} events were recorded").into());
    }
    // Of each round with the one before it: what the machine did meanwhile is much the same.
    let times = on.milliseconds.iter().zip(&off.milliseconds);
    let ratio = median(&mut times.map(|(on, off)| on / off).collect::<Vec<f64>>());
    for (name, measured) in [("off", &mut off), ("on", &mut on)] {
        println!(
            "audit {name:<3}  {:.3} ms, {:.0} bytes of WAL for each pair (medians)",
            median(&mut measured.milliseconds),
            median(&mut measured.bytes)
        );
    }
    println!(
        "on / off   {ratio:.2} of the time, {:.2} of the WAL",
        median(&mut on.bytes) / median(&mut off.bytes)
    );
    Ok(())
}

/// What each round took for each pair.
#[derive(Default)]
struct Measured {
    milliseconds: Vec<f64>,
    bytes: Vec<f64>,
}

impl Measured {
    fn add(&mut self, (milliseconds, bytes): (f64, f64)) {
        self.milliseconds.push(milliseconds);
        self.bytes.push(bytes);
    }
}

/// Captures and releases so many mutexes, and says how many milliseconds and bytes of WAL each took.
async fn round(mutexes: &Mutexes, sql: &Client, pairs: u32) -> Outcome<(f64, f64)> {
    let me = MutexOwner::new("audit-cost")?;
    let before = wal(sql).await?;
    let since = Instant::now();
    for number in 0..pairs {
        let id = MutexId::new("examples", "audit", (number % 100).to_string())?;
        mutexes.capture(&id).owner(me.clone()).await?;
        mutexes.release(&id).owner(me.clone()).await?;
    }
    let milliseconds = since.elapsed().as_secs_f64() * 1000.0 / f64::from(pairs);
    let bytes = wal(sql).await? - before;
    Ok((milliseconds, bytes / f64::from(pairs)))
}

/// How many bytes of WAL the server has written.
async fn wal(sql: &Client) -> Outcome<f64> {
    let position = "select (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(sql.query_one(position, &[]).await?.get(0))
}

async fn text(sql: &Client, query: &str) -> Outcome<String> {
    Ok(sql.query_one(query, &[]).await?.get(0))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
