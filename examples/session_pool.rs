//! Three workers share two accounts. One worker is killed while it uses one; the account comes back,
//! and the worker that waited gets it. Run it with: cargo run --release --example session_pool
//!
//! The workers are this program once more, started with a name.

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
    MutexOwner, Mutexes, Period, SessionFilter, SessionPool,
    private_server::database_url_or_private,
};
use serde::{Deserialize, Serialize};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long anything may take before the story is considered broken.
const PATIENCE: Duration = Duration::from_secs(60);

const POOL: &str = "example accounts";

#[derive(Serialize, Deserialize)]
struct Account {
    login: String,
    country: String,
}

#[tokio::main]
async fn main() -> Outcome {
    if let Some(name) = env::args().nth(1) {
        return work(&name).await;
    }
    let (url, _server) = database_url_or_private()?;
    let mutexes = Mutexes::connect(&url).await?;
    mutexes.migrate().await?;
    let pool: SessionPool<Account> = SessionPool::new(&mutexes, POOL);
    while pool.delete_one(SessionFilter::all()).await?.is_some() {}
    for (login, country) in [("mole", "DE"), ("rat", "DE")] {
        let (login, country) = (login.to_owned(), country.to_owned());
        pool.add(&Account { login, country }).await?;
    }

    println!("Two accounts; Ada and Bob take one each, and Cid has to wait.\n");
    let mut ada = Worker::start("Ada", &url)?;
    ada.says("works as")?;
    let mut bob = Worker::start("Bob", &url)?;
    bob.says("works as")?;
    let mut cid = Worker::start("Cid", &url)?;
    cid.says("waits")?;
    while mutexes.waiters(&Default::default()).await?.is_empty() {
        tokio::task::yield_now().await;
    }

    println!("\nAda's process is killed.\n");
    let since = Instant::now();
    ada.process.kill()?;
    cid.says("works as")?;
    println!(
        "      {} ms later: her database session has ended with her, and with it her lease",
        since.elapsed().as_millis()
    );

    println!(
        "\nBob has done his work; Cid's account is refused by its owner, and blocked for a day.\n"
    );
    bob.tell("done")?;
    bob.says("gives")?;
    cid.tell("refused")?;
    cid.says("blocks")?;
    bob.ends()?;
    cid.ends()?;

    println!("\nThe pool:");
    for account in pool.get_sessions().await? {
        println!(
            "      {:<5} used {} times, {} with success{}",
            account.payload.login,
            account.use_count,
            account.success_count,
            if account.success_count == 0 {
                ", blocked"
            } else {
                ""
            }
        );
    }
    let statistics = pool.aggregate_statistics().await?;
    let as_told = statistics.total == 2
        && statistics.uses == 3
        && statistics.successes == 1
        && statistics.blocked == 1
        && statistics.in_use == 0;
    if !as_told {
        return Err(format!("the pool is not as it should be: {statistics:?}").into());
    }
    while pool.delete_one(SessionFilter::all()).await?.is_some() {}
    mutexes.shutdown().await;
    Ok(())
}

/// Works with one account until it is told what became of the work.
async fn work(name: &str) -> Outcome {
    let mutexes = Mutexes::connect(&env::var("DATABASE_URL")?).await?;
    let pool: SessionPool<Account> = SessionPool::new(&mutexes, POOL)
        .with_default_filter(SessionFilter::all().equal("country", "DE"))
        .with_next_use_delay(Duration::ZERO);
    let owner = MutexOwner::new(name)?.with_name(name)?;
    println!("waits for an account");
    let account = pool
        .checkout()
        .owner(owner)
        .attached()
        .wait_forever()
        .await?;
    println!(
        "works as {} under token {}",
        account.payload().login,
        account.fencing_token()
    );
    let mut order = String::new();
    io::stdin().read_line(&mut order)?;
    if order.trim() == "refused" {
        account.block(Period::days(1.0)).await?;
        println!("blocks the account");
    } else {
        account.success(1).await?;
        account.give_back().await?;
        println!("gives the account back");
    }
    mutexes.shutdown().await;
    Ok(())
}

/// A worker, as the story sees it. Killed if it is still there in the end.
struct Worker {
    name: &'static str,
    process: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Worker {
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

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
