//! Ten thousand who wait for one mutex in one process, and a thousand spread over four: how many
//! connections that takes, how often the database is asked for each release, whether they are
//! served in order, and how much memory the process needs.
//!
//! `cargo run --release --example many_waiters` (it starts a private PostgreSQL)

use std::{
    env,
    error::Error,
    fs,
    process::Command,
    sync::{Arc, Mutex as StdMutex},
    time::{Duration, Instant},
};

use pgmutex::{MutexId, Mutexes, private_server::PrivatePostgres};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// In the environment of a process that was started to wait: the database, and how many wait.
const DATABASE: &str = "MANY_WAITERS_DATABASE";
const WAITERS: &str = "MANY_WAITERS_COUNT";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    if let (Ok(url), Ok(count)) = (env::var(DATABASE), env::var(WAITERS)) {
        let mutexes = Mutexes::connect(&url).await?;
        wait(&mutexes, count.parse()?, Arc::default()).await?;
        return Ok(());
    }
    let server = PrivatePostgres::builder()
        .setting("track_functions", "all")
        .start()?;
    let url = server.url("postgres");
    Mutexes::connect(&url).await?.migrate().await?;
    let count = env::args()
        .nth(1)
        .map_or(Ok(10_000), |count| count.parse())?;
    one_process(&url, count).await?;
    several_processes(&url, 4, count / 40).await
}

fn mutex_id() -> Outcome<MutexId> {
    Ok(MutexId::new("examples", "wait", "one")?)
}

/// Has this many wait in this process, each of whom makes way for the next at once.
async fn wait(mutexes: &Mutexes, count: usize, served: Arc<StdMutex<Vec<String>>>) -> Outcome<()> {
    let mut waiting = JoinSet::new();
    for _ in 0..count {
        let lock = mutexes.lock(&mutex_id()?).timeout(Duration::from_secs(600));
        let served = Arc::clone(&served);
        waiting.spawn(async move {
            let guard = lock.await?;
            let session = guard.mutex().owner.session_id().to_owned();
            served.lock().expect("no panics").push(session);
            guard.release().await
        });
    }
    while let Some(one) = waiting.join_next().await {
        one??;
    }
    Ok(())
}

async fn one_process(url: &str, count: usize) -> Outcome<()> {
    let observer = Observer::connect(url).await?;
    let (mutexes, began) = (Mutexes::connect(url).await?, Instant::now());
    let first = mutexes.lock(&mutex_id()?).await?;
    let served = Arc::<StdMutex<Vec<String>>>::default();
    let waiting = tokio::spawn({
        let (mutexes, served) = (mutexes.clone(), Arc::clone(&served));
        async move { wait(&mutexes, count, served).await }
    });
    observer.in_line(count).await?;
    println!(
        "{count} wait in one process, after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    println!("  connections: {}", observer.connections().await?);
    println!("  memory of this process: {}", memory());
    let (line, began) = (observer.line().await?, Instant::now());
    first.release().await?;
    waiting.await??;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "  all were served after {seconds:.1} s: {:.0} a second",
        count as f64 / seconds
    );
    if *served.lock().expect("no panics") != line {
        return Err("not in order".into());
    }
    println!("  in order");
    drop(mutexes);
    observer.captures(count).await
}

async fn several_processes(url: &str, processes: usize, each: usize) -> Outcome<()> {
    let observer = Observer::connect(url).await?;
    let (mutexes, count) = (Mutexes::connect(url).await?, processes * each);
    let first = mutexes.lock(&mutex_id()?).await?;
    let mut running = Vec::new();
    for _ in 0..processes {
        let mut command = Command::new(env::current_exe()?);
        command.env(DATABASE, url).env(WAITERS, each.to_string());
        running.push(command.spawn()?);
    }
    observer.in_line(count).await?;
    println!("{count} wait in {processes} processes");
    println!("  connections: {}", observer.connections().await?);
    let began = Instant::now();
    first.release().await?;
    drop(mutexes);
    for mut process in running {
        let ended = tokio::task::spawn_blocking(move || process.wait()).await??;
        assert!(ended.success(), "a process failed");
    }
    println!(
        "  all were served after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    observer.captures(count).await
}

/// Looks from outside.
struct Observer(Client);

impl Observer {
    async fn connect(url: &str) -> Outcome<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("select pg_stat_reset()").await?;
        Ok(Self(client))
    }

    async fn number(&self, query: &str) -> Outcome<i64> {
        Ok(self.0.query_one(query, &[]).await?.get(0))
    }

    /// Returns when this many are in line.
    async fn in_line(&self, count: usize) -> Outcome<()> {
        while self
            .number("select count(*) from pgmutex.mutex_waiter")
            .await?
            != i64::try_from(count)?
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn line(&self) -> Outcome<Vec<String>> {
        let line = "select owner_session from pgmutex.mutex_waiter order by ticket";
        let rows = self.0.query(line, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn connections(&self) -> Outcome<String> {
        let others =
            "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        let all = self.number(&format!("select count(*) {others}")).await?;
        let own = "select count(distinct pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid() and granted";
        let own = self.number(own).await?;
        Ok(format!(
            "{all}, of which {own} listen and the others are pooled"
        ))
    }

    /// Says how often the database was asked, once every connection has said so.
    async fn captures(&self, count: usize) -> Outcome<()> {
        let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        while self.number(others).await? > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let captures = "select coalesce(sum(calls), 0)::bigint from pg_stat_user_functions where funcname = 'capture'";
        let captures = self.number(captures).await? - i64::try_from(count)?;
        println!(
            "  calls that captured or tried to, for each release: {:.2}",
            captures as f64 / count as f64
        );
        // One to take it; a few more where somebody looked at the wrong moment.
        if captures > 2 * i64::try_from(count)? {
            return Err("a release wakes more than the next in line".into());
        }
        Ok(())
    }
}

/// What the system says about this process.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or("unknown here".to_owned(), |size| size.trim().to_owned())
}
