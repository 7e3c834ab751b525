//! Many read a price list, now and then one writes it. Run it with:
//! cargo run --release --example read_write

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use pgmutex::{
    Guard, MutexId, MutexOwner, Mutexes, Result as MutexResult, TryLocked, Upgrade,
    private_server::database_url_or_private,
};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = database_url_or_private()?;
    let mutexes = Mutexes::connect(&url).await?;
    mutexes.migrate().await?;
    let run = std::process::id().to_string();
    let prices = MutexId::new("read-write", "prices", run)?;

    chapter("Readers share");
    let ada = read(&mutexes, &prices, "Ada").await?;
    let bob = read(&mutexes, &prices, "Bob").await?;
    say("Ada and Bob read at the same time.");

    chapter("A reader that is alone can become the writer, and a reader again");
    let ada = match ada.try_upgrade().await? {
        Upgrade::Busy { guard, holder } => {
            say(&format!(
                "Ada wants to write: refused, {} reads.",
                holder.owner.name()
            ));
            guard
        }
        Upgrade::Upgraded(_) => return Err("Ada writes while Bob reads".into()),
    };
    bob.release().await?;
    say("Bob has finished.");
    let read_token = ada.fencing_token();
    let Upgrade::Upgraded(ada) = ada.try_upgrade().await? else {
        return Err("nobody else reads".into());
    };
    say(&format!(
        "Ada wants to write: she may, under a new token: {read_token}, then {}.",
        ada.fencing_token()
    ));
    if mutexes.try_read(&prices).await?.guard().is_some() {
        return Err("someone reads what is being written".into());
    }
    say("Nobody can read meanwhile.");
    let write_token = ada.fencing_token();
    let ada = ada.downgrade().await?;
    let TryLocked::Locked(cid) = mutexes.try_read(&prices).await? else {
        return Err("the writer reads by now".into());
    };
    say(
        "Ada has written and reads what she wrote: others read too, and no writer came in between.",
    );
    if read_token >= write_token || ada.fencing_token() != write_token {
        return Err("the tokens are not as they should be".into());
    }
    cid.release().await?;
    ada.release().await?;

    chapter("Readers that keep coming do not starve the writer");
    let reading = Arc::new(AtomicUsize::new(0));
    let reads = Arc::new(AtomicUsize::new(0));
    let is_written = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for number in 0..6 {
        let (mutexes, prices) = (mutexes.clone(), prices.clone());
        let (reading, reads) = (Arc::clone(&reading), Arc::clone(&reads));
        let is_written = Arc::clone(&is_written);
        readers.spawn(async move {
            let name = format!("reader {number}");
            // They end only when it is written: a writer that is passed by would wait for ever.
            while !is_written.load(Ordering::SeqCst) {
                let guard = read(&mutexes, &prices, &name).await?;
                reading.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20 + 7 * number)).await;
                reads.fetch_add(1, Ordering::SeqCst);
                reading.fetch_sub(1, Ordering::SeqCst);
                guard.release().await?;
            }
            Ok::<_, pgmutex::Error>(())
        });
    }
    // Until they are in full swing: there is always one who reads.
    let since = Instant::now();
    while reads.load(Ordering::SeqCst) < 20 {
        if since.elapsed() > PATIENCE {
            return Err("the readers do not read".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    say(&format!(
        "6 readers have read {} times.",
        reads.load(Ordering::SeqCst)
    ));
    let (asked, before) = (Instant::now(), reads.load(Ordering::SeqCst));
    let writer = mutexes.write(&prices).owner(named("Dora")?);
    let guard = writer.wait(PATIENCE).await?;
    let at_once = reading.load(Ordering::SeqCst);
    say(&format!(
        "Dora writes after {} ms: those who were reading have finished ({}), those who came later wait behind her.",
        asked.elapsed().as_millis(),
        reads.load(Ordering::SeqCst) - before
    ));
    tokio::time::sleep(Duration::from_millis(50)).await;
    if at_once + reading.load(Ordering::SeqCst) > 0 {
        return Err("someone reads what is being written".into());
    }
    let after = reads.load(Ordering::SeqCst);
    is_written.store(true, Ordering::SeqCst);
    guard.release().await?;
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    say(&format!(
        "Then they read: {} times more.",
        reads.load(Ordering::SeqCst) - after
    ));
    Ok(())
}

fn named(name: &str) -> MutexResult<MutexOwner> {
    MutexOwner::new(name)?.with_name(name)
}

async fn read(mutexes: &Mutexes, id: &MutexId, name: &str) -> MutexResult<Guard> {
    mutexes.read(id).owner(named(name)?).wait(PATIENCE).await
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn say(text: &str) {
    println!("    {text}");
}
