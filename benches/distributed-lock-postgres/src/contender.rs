use distributed_lock_core::traits::{DistributedLock as _, LockHandle as _, LockProvider as _};
use distributed_lock_postgres::PostgresLockProvider;
use pgmutex::{MutexId, MutexOwner, Mutexes};
use sqlx::postgres::PgPoolOptions;

use crate::{Outcome, server::Server};

/// Connections of a pool as sqlx makes one unless told otherwise.
const USUAL: u32 = 10;
/// As many connections as tasks: each of these locks keeps one for as long as it is held.
const ONE_EACH: u32 = 64;

/// One way to lock.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Pgmutex(Mutexes),
    /// Asks once, in one statement.
    TryAcquire(Provider),
    /// Can wait, and sends five.
    Acquire(Provider),
}

/// It cannot be cloned itself.
type Provider = std::sync::Arc<PostgresLockProvider>;

impl Contender {
    /// The library first, then the other one in each of its ways.
    pub(crate) async fn all(server: &Server) -> Outcome<Vec<Self>> {
        let mut all = vec![Self {
            name: "pgmutex".to_owned(),
            way: Way::Pgmutex(server.mutexes().await?),
        }];
        for connections in [USUAL, ONE_EACH] {
            // A round trip before each use that others do not have, either.
            let pool = PgPoolOptions::new()
                .max_connections(connections)
                .test_before_acquire(false);
            let pool = pool.connect_with(server.options()?).await?;
            let provider = PostgresLockProvider::builder().pool(pool).build().await?;
            let provider = Provider::new(provider);
            all.push(Self {
                name: format!("try_acquire, {connections} connections"),
                way: Way::TryAcquire(Provider::clone(&provider)),
            });
            all.push(Self {
                name: format!("acquire, {connections} connections"),
                way: Way::Acquire(provider),
            });
        }
        Ok(all)
    }

    /// Captures and releases a lock of this name that nobody else wants.
    pub(crate) async fn pair(&self, name: &str) -> Outcome<()> {
        match &self.way {
            Way::Pgmutex(mutexes) => {
                let id = MutexId::new("benches", "pair", name)?;
                let owner = MutexOwner::new(name)?;
                mutexes.capture(&id).owner(owner.clone()).await?;
                mutexes.release(&id).owner(owner).await?;
            }
            Way::TryAcquire(provider) => {
                let held = provider.create_lock(name).try_acquire().await?;
                held.ok_or("another has it")?.release().await?;
            }
            Way::Acquire(provider) => {
                let held = provider.create_lock(name).acquire(None).await?;
                held.release().await?;
            }
        }
        Ok(())
    }
}
