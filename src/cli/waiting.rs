//! A word to people while something is waited for: who looks at a pipeline that stands still wants to
//! know for what, and behind whom.

use std::{convert::Infallible, future::Future, pin::pin, time::Duration};

use tokio::time::sleep;

use super::{holder::nobody, mutex_name::written, say, spoken};
use crate::{domain::Wish, mutexes::Mutexes};

/// Nobody asks about a wait as short as this.
const SHORT: Duration = Duration::from_secs(1);

/// Does the work, which waits for a mutex, and says so if it takes long.
pub(super) async fn telling<T>(mutexes: &Mutexes, wish: Wish, work: impl Future<Output = T>) -> T {
    let work = pin!(work);
    tokio::select! {
        biased;
        done = work => done,
        never = tell(mutexes, wish) => match never {},
    }
}

async fn tell(mutexes: &Mutexes, wish: Wish) -> Infallible {
    sleep(SHORT).await;
    let name = written(&wish.id);
    let holder = match nobody() {
        Ok(nobody) => mutexes
            .holder_in_the_way(wish, &nobody)
            .await
            .ok()
            .flatten(),
        Err(_) => None,
    };
    match holder {
        Some(holder) => say(&format!(
            "waiting for {name}, {}",
            spoken::in_the_way(&holder)
        )),
        None => say(&format!("waiting for {name}")),
    }
    std::future::pending().await
}
