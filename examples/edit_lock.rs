//! Keeps two people, and two browser tabs of one person, from editing one object: check, block,
//! refresh, release. Run it with: cargo run --release --example edit_lock
//!
//! The identity of the lock is the user's session; which *request* (which open form) holds it is
//! kept in `status_data`.

use std::error::Error;

use pgmutex::{
    CaptureOutcome, MutexId, MutexOwner, MutexState, Mutexes, Result,
    private_server::database_url_or_private, with_owner,
};

/// A lock on the editing of objects.
struct EditLock {
    mutexes: Mutexes,
}

impl EditLock {
    fn id(mode: &str, object: u64) -> Result<MutexId> {
        MutexId::new("", mode, object.to_string())
    }

    /// Whether the object may be edited: nobody has it, or this session does.
    async fn check(&self, mode: &str, object: u64) -> Result<bool> {
        let state = self.mutexes.request(&Self::id(mode, object)?).await?;
        Ok(!matches!(state, MutexState::CapturedByOther(_)))
    }

    /// Blocks the object for this request. Says who blocks it already, if someone does: another
    /// session, or another request of this one.
    async fn block(&self, mode: &str, object: u64, request: &str) -> Result<Option<String>> {
        let id = Self::id(mode, object)?;
        if let Some(mutex) = self.mutexes.request(&id).await?.mutex() {
            return Ok(Some(mutex.owner.name().to_owned()));
        }
        match self.mutexes.capture(&id).await {
            // Another request of this session was faster, between the look and the capture.
            Ok(mutex) if mutex.outcome == CaptureOutcome::Refreshed => {
                Ok(Some(mutex.owner.name().to_owned()))
            }
            Ok(mutex) => {
                let mine = self.mutexes.refresh(&id).token(mutex.fencing_token);
                mine.status_data(request).await?;
                Ok(None)
            }
            // Another session was.
            Err(pgmutex::Error::Busy { holder, .. }) => Ok(Some(holder.owner.name().to_owned())),
            Err(error) => Err(error),
        }
    }

    /// Keeps the block from running out. Says so if this request has lost it.
    async fn refresh(
        &self,
        mode: &str,
        object: u64,
        request: &str,
    ) -> Result<Option<&'static str>> {
        let id = Self::id(mode, object)?;
        match self.mutexes.request(&id).await? {
            MutexState::CapturedByMe(mutex) if mutex.status_data.as_deref() == Some(request) => {
                match self.mutexes.refresh(&id).token(mutex.fencing_token).await {
                    Ok(_) => Ok(None),
                    Err(pgmutex::Error::Busy { .. } | pgmutex::Error::Lost { .. }) => {
                        Ok(Some("The object is no longer blocked!"))
                    }
                    Err(error) => Err(error),
                }
            }
            _ => Ok(Some("The object is no longer blocked!")),
        }
    }

    /// Ends the block, if this request has it.
    async fn release(&self, mode: &str, object: u64, request: &str) -> Result<()> {
        let id = Self::id(mode, object)?;
        if let MutexState::CapturedByMe(mutex) = self.mutexes.request(&id).await?
            && mutex.status_data.as_deref() == Some(request)
        {
            // By its token: not a hold that another request of this session has captured since.
            self.mutexes.release(&id).token(mutex.fencing_token).await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let (url, _server) = database_url_or_private()?;
    let mutexes = Mutexes::connect(&url).await?;
    mutexes.migrate().await?;
    let lock = EditLock { mutexes };

    let ada = MutexOwner::new("session-of-ada")?.with_name("Ada")?;
    let bob = MutexOwner::new("session-of-bob")?.with_name("Bob")?;

    with_owner(ada.clone(), async {
        println!(
            "Ada opens invoice 7:        {}",
            answer(lock.block("invoice", 7, "tab 1").await?)
        );
        println!(
            "Ada opens it in a new tab:  {}",
            answer(lock.block("invoice", 7, "tab 2").await?)
        );
        println!(
            "Ada may edit it:            {}",
            lock.check("invoice", 7).await?
        );
        Ok::<_, pgmutex::Error>(())
    })
    .await?;
    with_owner(bob.clone(), async {
        println!(
            "Bob may edit it:            {}",
            lock.check("invoice", 7).await?
        );
        println!(
            "Bob opens it:               {}",
            answer(lock.block("invoice", 7, "tab 9").await?)
        );
        Ok::<_, pgmutex::Error>(())
    })
    .await?;
    with_owner(ada, async {
        println!(
            "Tab 1 keeps it alive:       {}",
            told(lock.refresh("invoice", 7, "tab 1").await?)
        );
        println!(
            "Tab 2 tries to:             {}",
            told(lock.refresh("invoice", 7, "tab 2").await?)
        );
        lock.release("invoice", 7, "tab 2").await?;
        println!(
            "Tab 2 closed; still hers:   {}",
            lock.check("invoice", 7).await?
        );
        lock.release("invoice", 7, "tab 1").await?;
        println!("Tab 1 saved and closed.");
        Ok::<_, pgmutex::Error>(())
    })
    .await?;
    with_owner(bob, async {
        println!(
            "Bob opens it:               {}",
            answer(lock.block("invoice", 7, "tab 9").await?)
        );
        lock.release("invoice", 7, "tab 9").await
    })
    .await?;
    Ok(())
}

fn answer(blocker: Option<String>) -> String {
    match blocker {
        None => "blocked for this request".to_owned(),
        Some(name) => format!("refused, {name} is editing it"),
    }
}

fn told(problem: Option<&str>) -> &str {
    problem.unwrap_or("fine")
}
