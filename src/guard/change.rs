//! From alone to shared, and back.

use std::{sync::Arc, time::Instant};

use super::{Guard, give_back::give_back_in_time, handle::unavailable};
use crate::{
    backend::{CaptureRequest, RefreshRequest},
    domain::{Access, Captured, Error, Mutex, Result},
};

/// What became of the wish to have a shared mutex alone.
#[derive(Debug)]
pub enum Upgrade {
    /// The mutex is exclusive now, under a new fencing token.
    Upgraded(Guard),
    /// Someone else shares it; the guard is as it was.
    Busy {
        /// The guard.
        guard: Guard,
        /// One of those who share the mutex.
        holder: Box<Mutex>,
    },
}

impl Guard {
    /// Lets others share the mutex from now on; the token stays.
    ///
    /// Cancel safety: the change of a future that is dropped is made all the same, in the background,
    /// and the mutex is released after it.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold was gone; [`Error::Busy`] while a transaction is open behind its
    /// fence. The mutex is released then.
    pub async fn downgrade(self) -> Result<Self> {
        let background = self.ward.background.clone();
        let done = background.run(self.downgrade_here()).await;
        done.unwrap_or_else(|error| Err(unavailable(error)))
    }

    // In the background, with the guard: if the caller gives up meanwhile, the guard is dropped
    // after the change, not beside it. And without heartbeats: one with the old token would find
    // nothing after the change.
    async fn downgrade_here(self) -> Result<Self> {
        let asked = Instant::now();
        self.ward.keeper.forget(&self.hold);
        match self.change(Access::shared()).await {
            Ok(changed) if changed.fencing_token == self.fencing_token() => {
                self.replaced(changed.mutex, asked)
            }
            Ok(changed) => Err(self.was_lost_before(changed).await),
            Err(Error::Busy { holder, .. }) if !holder.check_owner(&self.mutex().owner) => {
                self.lose();
                Err(self.lost_error())
            }
            Err(error) => Err(self.gave_up(error)),
        }
    }

    /// Has the mutex alone from now on, under a new token, if nobody else shares it at this moment.
    /// It does not wait: two holders who both waited for that would wait for each other.
    ///
    /// Cancel safety: as [`downgrade`](Self::downgrade); also if it comes to nothing.
    ///
    /// # Errors
    /// [`Error::Lost`] if the hold was gone. The mutex is released then.
    pub async fn try_upgrade(self) -> Result<Upgrade> {
        let background = self.ward.background.clone();
        let done = background.run(self.try_upgrade_here()).await;
        done.unwrap_or_else(|error| Err(unavailable(error)))
    }

    // As `downgrade_here`.
    async fn try_upgrade_here(self) -> Result<Upgrade> {
        let asked = Instant::now();
        self.ward.keeper.forget(&self.hold);
        match self.change(Access::Exclusive).await {
            // A hold that began when this one did is this one; another means that it was lost.
            Ok(changed) if changed.held_since == self.mutex().held_since => {
                self.replaced(changed.mutex, asked).map(Upgrade::Upgraded)
            }
            Ok(changed) => Err(self.was_lost_before(changed).await),
            Err(Error::Busy { holder, .. }) => {
                if !self.is_still_held(&holder).await? {
                    self.lose();
                    return Err(self.lost_error());
                }
                // Its next heartbeat is due at once.
                self.ward.keeper.keep(&self.hold, self.hold.captured_at);
                Ok(Upgrade::Busy {
                    guard: self,
                    holder,
                })
            }
            Err(error) => Err(self.gave_up(error)),
        }
    }

    /// Whether the hold is there, beside this one of another who shares the mutex.
    async fn is_still_held(&self, other: &Mutex) -> Result<bool> {
        if other.check_owner(&self.mutex().owner) {
            return Ok(true);
        }
        if other.permit == 0 || self.is_lost() {
            return Ok(false);
        }
        let refresh = RefreshRequest {
            id: self.id().clone(),
            owner: self.mutex().owner.clone(),
            token: Some(self.fencing_token()),
            status_data: None,
        };
        match self.ward.backend.refresh(&refresh).await {
            Ok(_) => Ok(true),
            Err(Error::Lost { .. } | Error::Busy { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn change(&self, access: Access) -> Result<Captured> {
        let request = CaptureRequest {
            id: self.id().clone(),
            owner: self.mutex().owner.clone(),
            access,
            reach: self.mutex().reach,
            auto_release: None,
            status_data: None,
        };
        self.ward.backend.capture(&request).await
    }

    /// Releases the hold whatever its token is by now.
    fn gave_up(self, error: Error) -> Error {
        if error.is_outcome_unknown() {
            self.disarm();
            self.ward.keeper.forget(&self.hold);
            let holds = vec![(self.id().clone(), None)];
            let (backend, owner) = (Arc::clone(&self.ward.backend), self.mutex().owner.clone());
            self.ward
                .background
                .send_off(async move { give_back_in_time(&backend, &owner, holds).await });
        }
        error
    }

    /// The capture that was meant to change this hold has made a new one.
    async fn was_lost_before(self, captured: Captured) -> Error {
        self.lose();
        let lost = Error::Lost {
            id: captured.id.clone(),
            token: Some(self.fencing_token()),
        };
        let holds = vec![(captured.id.clone(), Some(captured.fencing_token))];
        let (backend, owner) = (Arc::clone(&self.ward.backend), captured.owner.clone());
        self.ward
            .background
            .send_off(async move { give_back_in_time(&backend, &owner, holds).await });
        lost
    }

    /// The guard of the same hold, which has changed. Who has been told that it is lost must not find
    /// it held again: then it is given back.
    fn replaced(self, mutex: Mutex, asked: Instant) -> Result<Self> {
        self.disarm();
        let was_lost = self.is_lost();
        let hold = self.hold.changed(mutex, asked);
        let evicted = self.evicted.clone();
        let changed = Self::of(Arc::clone(&self.ward), hold, evicted, asked);
        if was_lost || changed.is_lost() {
            changed.lose();
            return Err(changed.lost_error());
        }
        Ok(changed)
    }
}
