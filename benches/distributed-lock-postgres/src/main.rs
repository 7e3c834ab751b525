//! How many pairs of capture and release a second: pgmutex beside the crate distributed-lock-postgres, on one
//! server, in one run and by turns, so that whatever else the machine does falls on all.
//!
//! In this folder: `cargo run --release` (`-- 20 500` for 20 rounds with slices of 500 ms). It uses the server
//! that `DATABASE_URL` names, in a schema of its own that it drops; without one it starts a private
//! PostgreSQL. The other crate needs OpenSSL to build (Debian: `apt-get install pkg-config libssl-dev`).

mod contender;
mod report;
mod server;
mod slice;

use std::{env, error::Error, time::Duration};

use contender::Contender;
use report::Report;
use server::Server;

/// What goes wrong is told, and ends the program.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// With how many tasks at once each contender is measured.
const TASKS: [usize; 2] = [1, 64];

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse());
    let rounds: usize = arguments.next().unwrap_or(Ok(20))?.try_into()?;
    let slice = Duration::from_millis(arguments.next().unwrap_or(Ok(500))?);
    if rounds == 0 || slice.is_zero() {
        return Err("a round has to be there, and to last".into());
    }

    let server = Server::named_or_private().await?;
    let measured = tokio::select! {
        measured = measure(&server, rounds, slice) => measured,
        ended = tokio::signal::ctrl_c() => Err(match ended {
            Ok(()) => "it was interrupted".into(),
            Err(error) => error.into(),
        }),
    };
    server.clean_up().await?;
    let described = server.described().await?;
    println!(
        "{described}; {rounds} rounds, slices of {} ms",
        slice.as_millis()
    );
    print!("{}", measured?);
    Ok(())
}

async fn measure(server: &Server, rounds: usize, slice: Duration) -> Outcome<Report> {
    let contenders = Contender::all(server).await?;
    let mut report = Report::of(&contenders);
    for tasks in TASKS {
        for contender in &contenders {
            slice::pairs_per_second(contender, tasks, slice).await?; // to warm up
        }
    }
    for round in 0..rounds {
        for (column, tasks) in TASKS.into_iter().enumerate() {
            for turn in 0..contenders.len() {
                // Each comes after each other one equally often.
                let row = (turn + round) % contenders.len();
                let pairs = slice::pairs_per_second(&contenders[row], tasks, slice).await?;
                report.add(row, column, pairs);
            }
        }
    }
    Ok(report)
}
