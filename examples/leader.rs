//! Three processes want to do a task that one at a time may do. One leads; it is killed; another takes
//! over and resigns; the third takes over. Run it with: cargo run --release --example leader
//!
//! The candidates are this program once more, started with a name.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use pgmutex::{
    Leadership, MutexId, MutexOwner, Mutexes,
    private_server::database_url_or_private,
    tokio_postgres::{self, Client, NoTls},
};
use tokio::sync::{Mutex, mpsc as channel};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long anything may take before the story is considered broken.
const PATIENCE: Duration = Duration::from_secs(60);

const SET_UP: &str = "
    drop schema if exists pgmutex_example_leader cascade;
    create schema pgmutex_example_leader;
    create table pgmutex_example_leader.done
        (place bigint generated always as identity, leader text not null, fencing_token bigint not null)";
const TEAR_DOWN: &str = "drop schema pgmutex_example_leader cascade";

#[tokio::main]
async fn main() -> Outcome {
    if let Some(name) = env::args().nth(1) {
        return candidate(&name).await;
    }
    let (url, _server) = database_url_or_private()?;
    let (mutexes, sql) = connect(&url).await?;
    mutexes.migrate().await?;
    sql.batch_execute(SET_UP).await?;

    println!("Ada and Bob want to lead.\n");
    let mut ada = Candidate::start("Ada", &url)?;
    ada.says("leads")?;
    let mut bob = Candidate::start("Bob", &url)?;
    bob.says("waits")?;
    someone_is_in_line(&sql).await?;
    ada.says("has done")?;

    println!("\nAda's process is killed.\n");
    let since = Instant::now();
    ada.process.kill()?;
    bob.says("leads")?;
    println!(
        "      {} ms later: her database session has ended with her, and with it the hold",
        since.elapsed().as_millis()
    );
    bob.says("has done")?;

    println!("\nCid wants to lead too, and Bob is asked to resign.\n");
    let mut cid = Candidate::start("Cid", &url)?;
    cid.says("waits")?;
    someone_is_in_line(&sql).await?;
    bob.tell("resign")?;
    cid.says("leads")?;
    cid.says("has done")?;
    println!("\nCid's task ends by itself; Bob, who went to the end of the line, leads again.\n");
    cid.tell("end")?;
    cid.says("leads no more")?;
    bob.says("leads with")?;
    bob.says("has done")?;
    bob.tell("end")?;
    bob.says("leads no more")?;
    cid.ends()?;
    bob.ends()?;

    println!("\nWho did the task, in this order:");
    let done = sql
        .query(
            "select leader, fencing_token, count(*), min(place), max(place) from pgmutex_example_leader.done \
             group by leader, fencing_token order by fencing_token",
            &[],
        )
        .await?;
    let mut leaders = Vec::new();
    let mut last_place = 0;
    for row in done {
        let (leader, token, times): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let (first, last): (i64, i64) = (row.get(3), row.get(4));
        println!("    {leader} with token {token}, {times} times");
        if first <= last_place {
            return Err("two led at once".into());
        }
        last_place = last;
        leaders.push(leader);
    }
    sql.batch_execute(TEAR_DOWN).await?;
    if leaders != ["Ada", "Bob", "Cid", "Bob"] {
        return Err(format!("{leaders:?} have led").into());
    }
    println!("Never two at once: nobody's work lies between that of another.");
    Ok(())
}

async fn connect(url: &str) -> Outcome<(Mutexes, Client)> {
    let mutexes = Mutexes::connect(url).await?;
    let (sql, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok((mutexes, sql))
}

async fn someone_is_in_line(sql: &Client) -> Outcome {
    let in_line = "select count(*) from pgmutex.waiting where mutex_group = 'leader'";
    let since = Instant::now();
    while sql.query_one(in_line, &[]).await?.get::<_, i64>(0) == 0 {
        if since.elapsed() > PATIENCE {
            return Err("nobody stands in line".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A candidate, in a process of its own: leads until it is told to end.
async fn candidate(name: &str) -> Outcome {
    let (mutexes, sql) = connect(&env::var("DATABASE_URL")?).await?;
    // What the terms have in common: one after the other has it.
    let desk = Mutex::new((sql, orders()));
    println!("waits to lead");
    let id = MutexId::new("leader", "", "reminders")?;
    let owner = MutexOwner::new(name)?.with_name(name)?;
    mutexes
        .leader(&id)
        .owner(owner)
        .attached()
        .run(|term| async {
            let (sql, orders) = &mut *desk.lock().await;
            lead(name, term, sql, orders).await
        })
        .await?
}

/// One term. It is cancelled at an await if the hold is lost, or after it has resigned.
async fn lead(
    name: &str,
    term: Leadership,
    sql: &mut Client,
    orders: &mut channel::UnboundedReceiver<String>,
) -> Outcome {
    println!("leads with token {}", term.fencing_token());
    let mut times = 0;
    loop {
        let transaction = sql.transaction().await?;
        term.guard().fence(&transaction).await?;
        let insert =
            "insert into pgmutex_example_leader.done (leader, fencing_token) values ($1, $2)";
        let token = term.fencing_token().get();
        transaction.execute(insert, &[&name, &token]).await?;
        transaction.commit().await?;
        times += 1;
        if times == 3 {
            println!("has done it {times} times");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            order = orders.recv() => match order.as_deref() {
                Some("resign") => {
                    println!("resigns");
                    term.resign();
                }
                _ => {
                    println!("leads no more");
                    return Ok(());
                }
            },
        }
    }
}

/// What is written to this process, line by line.
fn orders() -> channel::UnboundedReceiver<String> {
    let (sender, receiver) = channel::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A candidate, as the story sees it. Killed if it is still there in the end.
struct Candidate {
    name: &'static str,
    process: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Candidate {
    fn start(name: &'static str, url: &str) -> Outcome<Self> {
        let mut process = Command::new(env::current_exe()?)
            .arg(name)
            .env("DATABASE_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no standard input")?;
        let said = process.stdout.take().ok_or("no standard output")?;
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                println!("{name}   {line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            name,
            process,
            input,
            output,
        })
    }

    /// Waits until it says a line that begins so.
    fn says(&mut self, expected: &str) -> Outcome {
        tokio::task::block_in_place(|| {
            while let Ok(line) = self.output.recv_timeout(PATIENCE) {
                if line.starts_with(expected) {
                    return Ok(());
                }
            }
            Err(format!("{} never said: {expected}", self.name).into())
        })
    }

    fn tell(&mut self, order: &str) -> io::Result<()> {
        writeln!(self.input, "{order}")
    }

    fn ends(&mut self) -> Outcome {
        match tokio::task::block_in_place(|| self.process.wait())? {
            status if status.success() => Ok(()),
            status => Err(format!("{}: {status}", self.name).into()),
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
