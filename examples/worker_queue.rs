//! A worker is stopped in the middle of a job, another does the job, and then the first one wakes up
//! and wants to write. Run it with: cargo run --release --example worker_queue
//!
//! The first worker is another process: this program once more, which is sent SIGSTOP and SIGCONT. A
//! swapped-out, suspended or cut-off machine behaves the same.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use pgmutex::{
    Error as MutexError, Guard, MutexId, MutexOwner, Mutexes, Result as MutexResult,
    private_server::database_url_or_private,
    tokio_postgres::{self, Client, NoTls, Transaction},
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SET_UP: &str = "
    drop schema if exists pgmutex_example_queue cascade;
    create schema pgmutex_example_queue;
    create table pgmutex_example_queue.job (id integer primary key, title text not null, is_done boolean not null default false);
    create table pgmutex_example_queue.result (job integer not null, worker text not null, fencing_token bigint not null);
    insert into pgmutex_example_queue.job values (1, 'send the invoices'), (2, 'pay the salaries')";
const TEAR_DOWN: &str = "drop schema pgmutex_example_queue cascade";

#[tokio::main]
async fn main() -> Outcome {
    if env::args().nth(1).as_deref() == Some("ada") {
        return ada().await;
    }
    let (url, _server) = database_url_or_private()?;
    let (mutexes, mut sql) = connect(&url).await?;
    mutexes.migrate().await?;
    sql.batch_execute(SET_UP).await?;

    println!(
        "Two workers take jobs in turn; whoever has the mutex of the queue does the next one.\n"
    );
    let mut ada = Ada::start(&url)?;
    ada.says("did job 1")?;
    ada.says("works on job 2")?;

    println!("\nAda's process is stopped: it can do nothing, not even notice.");
    ada.signal("STOP")?;
    let stopped = Instant::now();
    println!("Bob   waits in line for the mutex of the queue");
    let guard = lock(&mutexes, "Bob").await?;
    println!(
        "Bob   has it after {:.1} s, with token {}: the hold was not kept alive and is over",
        stopped.elapsed().as_secs_f64(),
        guard.fencing_token()
    );
    let transaction = sql.transaction().await?;
    guard.fence(&transaction).await?;
    let (job, title) = next_job(&transaction).await?.ok_or("job 2 is gone")?;
    finish(&transaction, job, "Bob", &guard).await?;
    transaction.commit().await?;
    guard.release().await?;
    println!("Bob   did job {job}: {title}");

    println!("\nAda's process goes on where it was.");
    ada.signal("CONT")?;
    ada.tell("write")?;
    ada.says("was refused")?;
    ada.ends()?;

    println!("\nWhat is stored:");
    let rows = sql
        .query(
            "select job, worker, fencing_token from pgmutex_example_queue.result order by job, worker",
            &[],
        )
        .await?;
    let mut stored = Vec::new();
    for row in rows {
        let (job, worker, token): (i32, String, i64) = (row.get(0), row.get(1), row.get(2));
        println!("    job {job} by {worker}, token {token}");
        stored.push((job, worker));
    }
    sql.batch_execute(TEAR_DOWN).await?;
    if stored != [(1, "Ada".to_owned()), (2, "Bob".to_owned())] {
        return Err("each job should have been done once, the second by Bob".into());
    }
    println!("The salaries were paid once.");
    Ok(())
}

async fn connect(url: &str) -> Outcome<(Mutexes, Client)> {
    let mutexes = Mutexes::connect(url).await?;
    let (sql, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok((mutexes, sql))
}

/// Waits in line for the queue. A worker that has died or was stopped blocks it for 2 s at most.
async fn lock(mutexes: &Mutexes, worker: &str) -> MutexResult<Guard> {
    let queue = MutexId::new("worker-queue", "", "jobs")?;
    let owner = MutexOwner::new(worker)?.with_name(worker)?;
    let lock = mutexes.lock(&queue).owner(owner);
    let lock = lock.timeout(Duration::from_secs(2));
    lock.wait(Duration::from_secs(60)).await
}

async fn next_job(transaction: &Transaction<'_>) -> Outcome<Option<(i32, String)>> {
    let next =
        "select id, title from pgmutex_example_queue.job where not is_done order by id limit 1";
    let row = transaction.query_opt(next, &[]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

async fn finish(
    transaction: &Transaction<'_>,
    job: i32,
    worker: &str,
    guard: &Guard,
) -> Result<(), tokio_postgres::Error> {
    let token = guard.fencing_token().get();
    let result = "insert into pgmutex_example_queue.result values ($1, $2, $3)";
    transaction
        .execute(result, &[&job, &worker, &token])
        .await?;
    let done = "update pgmutex_example_queue.job set is_done = true where id = $1";
    transaction.execute(done, &[&job]).await?;
    Ok(())
}

/// The first worker, in a process of its own.
async fn ada() -> Outcome {
    let (mutexes, mut sql) = connect(&env::var("DATABASE_URL")?).await?;

    let guard = lock(&mutexes, "Ada").await?;
    println!(
        "has the mutex of the queue, with token {}",
        guard.fencing_token()
    );
    let transaction = sql.transaction().await?;
    guard.fence(&transaction).await?;
    let (job, title) = next_job(&transaction).await?.ok_or("job 1 is gone")?;
    finish(&transaction, job, "Ada", &guard).await?;
    transaction.commit().await?;
    guard.release().await?;
    println!("did job {job}: {title}");

    let guard = lock(&mutexes, "Ada").await?;
    println!(
        "has the mutex of the queue, with token {}",
        guard.fencing_token()
    );
    let transaction = sql.transaction().await?;
    let (job, title) = next_job(&transaction).await?.ok_or("job 2 is gone")?;
    transaction.rollback().await?;
    println!("works on job {job}: {title}");
    // Here the process is stopped.
    io::stdin().lock().read_line(&mut String::new())?;

    println!("is done with job {job} and writes, as if nothing had happened");
    let transaction = sql.transaction().await?;
    match guard.fence(&transaction).await {
        Err(error @ MutexError::Lost { .. }) => println!("fence: {error}"),
        other => return Err(format!("the fence should have failed: {other:?}").into()),
    }
    match finish(&transaction, job, "Ada", &guard).await {
        Err(error) => println!("does not listen, writes: {}", in_words(&error)),
        Ok(()) => return Err("a stale holder could write".into()),
    }
    let _ = transaction.commit().await;
    println!("was refused: nothing of this transaction is stored");
    Ok(())
}

fn in_words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(refused) => refused.message().to_owned(),
        None => error.to_string(),
    }
}

/// The first worker, as the second one sees it. Killed if it is still there in the end.
struct Ada {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Ada {
    fn start(url: &str) -> Outcome<Self> {
        let mut process = Command::new(env::current_exe()?)
            .arg("ada")
            .env("DATABASE_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no standard input")?;
        let output = process.stdout.take().ok_or("no standard output")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Shows what she says, up to a line that begins so.
    fn says(&mut self, expected: &str) -> Outcome {
        loop {
            let next = tokio::task::block_in_place(|| self.output.next());
            let line = next.ok_or_else(|| format!("Ada ended before she said: {expected}"))??;
            println!("Ada   {line}");
            if line.starts_with(expected) {
                return Ok(());
            }
        }
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }

    fn signal(&self, signal: &str) -> Outcome {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}"));
        match kill.arg(self.process.id().to_string()).status()? {
            status if status.success() => Ok(()),
            status => Err(format!("kill -{signal}: {status}").into()),
        }
    }

    fn ends(&mut self) -> Outcome {
        match tokio::task::block_in_place(|| self.process.wait())? {
            status if status.success() => Ok(()),
            status => Err(format!("Ada: {status}").into()),
        }
    }
}

impl Drop for Ada {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
