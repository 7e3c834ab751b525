//! Two people want to edit one order. Run it with: cargo run --release --example quickstart
//!
//! It uses the database that DATABASE_URL names, or starts a private PostgreSQL that is gone
//! afterwards.

use std::{error::Error, time::Duration};

use pgmutex::{
    Captured, Error as MutexError, Mutex, MutexId, MutexOwner, Mutexes,
    private_server::database_url_or_private,
    tokio_postgres::{self, Client, NoTls},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, server) = database_url_or_private()?;
    match &server {
        Some(server) => say(&format!(
            "DATABASE_URL is not set: started a private PostgreSQL {} for this run.",
            server.major_version()
        )),
        None => say("Using the database that DATABASE_URL names."),
    }

    let mutexes = Mutexes::connect(&url).await?;
    let report = mutexes.migrate().await?;
    say(&match report.applied.len() {
        0 => "Migrated: schema pgmutex was there already.".to_owned(),
        count => format!("Migrated: {count} migrations made schema pgmutex."),
    });
    let (sql, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);

    let order = MutexId::new("orders", "edit", "42")?;
    let ada = MutexOwner::new("session-of-ada")?
        .with_name("Ada")?
        .with_host("10.0.0.7")?;
    let bob = MutexOwner::new("session-of-bob")?
        .with_name("Bob")?
        .with_host("10.0.0.8")?;
    for owner in [&ada, &bob] {
        // Of an earlier run that was interrupted.
        if mutexes.request_by(&order, owner).await?.mutex().is_some() {
            mutexes.force_release(&order, "quickstart begins").await?;
        }
    }

    chapter("Ada opens order 42");
    let captured = mutexes
        .capture(&order)
        .owner(ada.clone())
        .timeout(Duration::from_secs(300))
        .status_data("form opened")
        .await?;
    tell(&captured);

    chapter("Bob opens it too");
    match mutexes.capture(&order).owner(bob.clone()).await {
        Err(MutexError::Busy { holder, .. }) => {
            say(&format!(
                "Refused. The application can tell Bob: {} is editing this order since {}.",
                holder.owner.name(),
                clock(&holder)
            ));
        }
        other => return Err(format!("Bob should have been refused: {other:?}").into()),
    }

    chapter("Anyone can look, in SQL: select … from pgmutex.held");
    look(&sql).await?;

    chapter("Ada keeps working: her form refreshes the hold");
    let refreshed = mutexes.refresh(&order).owner(ada.clone()).await?;
    say(&format!(
        "Same token {}, and 300 seconds more.",
        refreshed.fencing_token
    ));

    chapter("Ada comes back with a short timeout, and goes to lunch");
    mutexes
        .capture(&order)
        .owner(ada.clone())
        .timeout(Duration::from_secs(1))
        .await?;
    say("Nobody refreshes the hold. After a second its rule ends it, by the database's clock.");
    tokio::time::sleep(Duration::from_millis(1200)).await;

    chapter("Bob tries again");
    let bobs = mutexes.capture(&order).owner(bob.clone()).await?;
    tell(&bobs);
    if let Some(evicted) = bobs.evicted() {
        say(&format!(
            "{}'s hold was over and made way. Its token {} is smaller than Bob's {}: whoever checks tokens refuses Ada's late write.",
            evicted.name, evicted.fencing_token, bobs.fencing_token
        ));
    }

    chapter("Ada is back and saves");
    match mutexes
        .refresh(&order)
        .owner(ada)
        .token(captured.fencing_token)
        .await
    {
        Err(error @ (MutexError::Busy { .. } | MutexError::Lost { .. })) => {
            say(&format!("Too late, and she is told: {error}"));
        }
        other => return Err(format!("Ada's hold should be gone: {other:?}").into()),
    }

    chapter("The same from SQL, for every other language");
    let row = sql
        .query_one(
            "select outcome, owner_name from pgmutex.capture('orders', 'edit', '42', owner_session => 'psql')",
            &[],
        )
        .await?;
    let (outcome, holder): (String, String) = (row.get(0), row.get(1));
    say(&format!(
        "select * from pgmutex.capture(…) answers {outcome}: held by {holder}."
    ));

    chapter("Bob is done");
    let released = mutexes.release(&order).owner(bob).await?;
    say(&format!("Released: {}.", released.is_released()));
    look(&sql).await?;
    Ok(())
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn say(text: &str) {
    println!("    {text}");
}

fn tell(captured: &Captured) {
    say(&format!(
        "{} holds {} with fencing token {} ({}).",
        captured.owner.name(),
        captured.id,
        captured.fencing_token,
        captured.auto_release
    ));
}

fn clock(mutex: &Mutex) -> String {
    mutex.held_since.format("%H:%M:%S").to_string()
}

async fn look(sql: &Client) -> Result<(), tokio_postgres::Error> {
    let rows = sql
        .query(
            "select concat_ws('/', mutex_group, mutex_mode, mutex_id), owner_name, owner_host, fencing_token::text, \
                    date_trunc('second', time_left)::text \
             from pgmutex.held order by 1",
            &[],
        )
        .await?;
    say("mutex           | owner | host     | fencing_token  | time_left");
    say("----------------+-------+----------+----------------+----------");
    for row in &rows {
        let column = |number: usize| row.get::<_, Option<String>>(number).unwrap_or_default();
        say(&format!(
            "{:15} | {:5} | {:8} | {:>14} | {}",
            column(0),
            column(1),
            column(2),
            column(3),
            column(4)
        ));
    }
    say(match rows.len() {
        0 => "(nothing is held)",
        1 => "(1 row)",
        _ => "(and more)",
    });
    Ok(())
}
