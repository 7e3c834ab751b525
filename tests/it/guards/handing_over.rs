//! A hold that goes from one process to another, and one that changes between shared and exclusive.

use std::{future::IntoFuture, pin::pin, time::Duration};

use futures_util::poll;
use pgmutex::{Access, Error, Guard, GuardParts, Lock, Upgrade};

use super::{Over, are_kept_alive, held, holds, in_time, must};
use crate::support::{Database, mutex_id};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_secs(1);

async fn locked(lock: Lock) -> Guard {
    must(lock.into_future()).await.unwrap()
}

/// As parts go from one process to another.
fn sent(parts: &GuardParts) -> GuardParts {
    serde_json::from_str(&serde_json::to_string(parts).unwrap()).unwrap()
}

#[tokio::test]
async fn a_hold_is_handed_over_and_kept_alive_by_the_other() {
    let database = Database::fresh().await;
    let (session, id) = (database.session().await, mutex_id("m"));
    in_time(async || -> Result<(), Over> {
        let (ours, theirs) = (database.mutexes().await, database.mutexes().await);
        let guard = locked(ours.lock(&id).timeout(LONG)).await;
        let token = guard.fencing_token();
        let mut lost = pin!(guard.lost());
        let parts = guard.into_parts();
        assert_eq!(sent(&parts), parts);
        drop(ours);
        assert!(theirs.try_lock(&id).await.unwrap().guard().is_none());
        // So that it needs to be kept alive: whoever adopts it goes by its row.
        session
            .run("update pgmutex.mutex_model set auto_release_config = '6', captured_since = clock_timestamp()")
            .await;
        let adopted = must(theirs.adopt(sent(&parts))).await?;
        assert_eq!(adopted.fencing_token(), token);
        for _ in 0..2 {
            are_kept_alive(&session).await?;
        }
        holds(&adopted)?;
        assert!(adopted.release().await.unwrap().is_released());
        // Whoever watched the first guard heard of no loss.
        assert!(poll!(&mut lost).is_pending());
        held(&session, 0).await;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_over_cannot_be_adopted() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    for attached in [false, true] {
        let lock = mutexes.lock(&id);
        let lock = if attached {
            lock.attached()
        } else {
            lock.timeout(LONG)
        };
        let parts = locked(lock).await.into_parts();
        mutexes.force_release(&id, "test").await.unwrap();
        let lost = must(mutexes.adopt(sent(&parts))).await;
        assert!(
            matches!(&lost, Err(Error::Lost { token, .. }) if *token == Some(parts.fencing_token))
        );
        held(&session, 0).await;
        // Nor if another has it by now, who keeps it.
        let other = locked(mutexes.lock(&id).timeout(LONG)).await;
        let lost = must(mutexes.adopt(parts)).await;
        assert!(matches!(lost, Err(Error::Lost { .. })));
        assert!(other.release().await.unwrap().is_released());
    }
    // Its time is up.
    let parts = locked(mutexes.lock(&id).timeout(LONG)).await.into_parts();
    session.age("m", "2 hours").await;
    let lost = must(mutexes.adopt(parts)).await;
    assert!(matches!(lost, Err(Error::Lost { .. })));
}

#[tokio::test]
async fn what_is_attached_is_attached_to_the_session_of_whoever_adopts_it() {
    let database = Database::fresh().await;
    let (ours, theirs) = (database.mutexes().await, database.mutexes().await);
    let (session, id) = (database.session().await, mutex_id("m"));
    for access in [Access::Exclusive, Access::shared(), Access::permit_of(3)] {
        let lock = match access {
            Access::Exclusive => ours.lock(&id),
            access if access == Access::shared() => ours.read(&id),
            _ => ours.acquire(&id, 3),
        };
        let guard = locked(lock.attached()).await;
        let parts = sent(&guard.into_parts());
        let adopted = must(theirs.adopt(parts.clone())).await.unwrap();
        assert_eq!(adopted.fencing_token(), parts.fencing_token);
        let rule = session
            .ask("select auto_release_rule || ' ' || auto_release_config from pgmutex.mutex_model")
            .await;
        assert_ne!(rule, format!("connection {}", config_of(&parts)));
        assert!(adopted.release().await.unwrap().is_released());
    }
    // It outlives the process that captured it.
    let guard = locked(ours.lock(&id).attached()).await;
    let adopted = must(theirs.adopt(guard.into_parts())).await.unwrap();
    drop(ours);
    let sessions = "select count(*)::text from pg_locks where locktype = 'advisory'
                    and database = (select oid from pg_database where datname = current_database())";
    must(session.ask_until(sessions, |count| count == "1")).await;
    assert!(theirs.try_lock(&id).await.unwrap().guard().is_none());
    assert!(!adopted.is_lost());
    assert!(adopted.release().await.unwrap().is_released());
}

fn config_of(parts: &GuardParts) -> String {
    match &parts.auto_release {
        pgmutex::AutoRelease::Connection { session, .. } => session.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_writer_becomes_a_reader_without_letting_go() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    let writer = locked(mutexes.write(&id).timeout(LONG)).await;
    let token = writer.fencing_token();
    let reader = must(writer.downgrade()).await.unwrap();
    assert_eq!(reader.fencing_token(), token);
    let other = locked(mutexes.read(&id).timeout(LONG)).await;
    assert!(other.fencing_token() > token);
    // It is not alone: it stays what it is.
    let Upgrade::Busy {
        guard: reader,
        holder,
    } = must(reader.try_upgrade()).await.unwrap()
    else {
        panic!("two share it");
    };
    assert_eq!(holder.fencing_token, other.fencing_token());
    assert_eq!(reader.fencing_token(), token);
    let newest = other.fencing_token();
    other.release().await.unwrap();
    let Upgrade::Upgraded(writer) = must(reader.try_upgrade()).await.unwrap() else {
        panic!("it is alone");
    };
    assert!(writer.fencing_token() > newest);
    assert!(mutexes.try_read(&id).await.unwrap().guard().is_none());
    assert!(writer.release().await.unwrap().is_released());
    held(&session, 0).await;
}

#[tokio::test]
async fn what_was_lost_in_between_is_not_changed_but_lost() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    for taken_by_another in [false, true] {
        let writer = locked(mutexes.write(&id).timeout(LONG)).await;
        let reader = locked_elsewhere(&mutexes, taken_by_another).await;
        let lost = must(writer.downgrade()).await;
        assert!(lost.is_err(), "{lost:?}");
        drop(reader);
        held(&session, 0).await;

        let reader = locked(mutexes.read(&id).timeout(SHORT)).await;
        let other = locked_elsewhere(&mutexes, taken_by_another).await;
        let upgraded = must(reader.try_upgrade()).await;
        assert!(matches!(upgraded, Err(Error::Lost { .. })), "{upgraded:?}");
        drop(other);
        held(&session, 0).await;
    }
}

/// Takes the mutex away, and for another if need be.
async fn locked_elsewhere(mutexes: &pgmutex::Mutexes, for_another: bool) -> Option<Guard> {
    let id = mutex_id("m");
    mutexes.force_release(&id, "test").await.unwrap();
    match for_another {
        true => Some(locked(mutexes.lock(&id).timeout(LONG)).await),
        false => None,
    }
}

#[tokio::test]
async fn a_changed_hold_is_kept_alive() {
    let database = Database::fresh().await;
    let (mutexes, session, id) = (
        database.mutexes().await,
        database.session().await,
        mutex_id("m"),
    );
    in_time(async || -> Result<(), Over> {
        let mut guard = locked(mutexes.write(&id).timeout(3 * SHORT)).await;
        for _ in 0..3 {
            guard = must(guard.downgrade()).await?;
            are_kept_alive(&session).await?;
            let Upgrade::Upgraded(writer) = must(guard.try_upgrade()).await? else {
                panic!("it is alone");
            };
            guard = writer;
            are_kept_alive(&session).await?;
        }
        holds(&guard)
    })
    .await;
}
