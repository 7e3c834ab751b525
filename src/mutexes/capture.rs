use std::{future::IntoFuture, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    backend::{BackendFuture, CaptureAllRequest, CaptureRequest, MutexBackend},
    current_owner::current_owner,
    domain::{Access, AutoRelease, Captured, Error, MutexOwner, Result, Wish, check_status_data},
    guard::{Wait, Ward, held_here},
    observe,
    rules::{MadeWay, Rules},
};

/// A capture in the making: say more, then await it. See
/// [`Mutexes::capture`](crate::Mutexes::capture).
///
/// Cancel safety: the request of a future that is dropped may still be carried out, also some time
/// later if it [travels with others](crate::Coalescing); a hold that comes
/// of it lasts until its rule ends it, or until the same owner releases. One that [waits](Self::wait)
/// leaves the line, and gives back what it turns out to have captured anew.
#[derive(Debug)]
#[must_use = "a capture does nothing until it is awaited"]
pub struct Capture<'a> {
    backend: &'a dyn MutexBackend,
    rules: &'a Rules,
    wish: Wish,
    owner: Option<MutexOwner>,
    auto_release: Option<AutoRelease>,
    status_data: Option<String>,
    /// Where to wait; nowhere inside of a transaction.
    ward: Option<Arc<Ward>>,
    wait: Wait,
}

impl<'a> Capture<'a> {
    pub(super) fn new(backend: &'a dyn MutexBackend, rules: &'a Rules, wish: Wish) -> Self {
        Self {
            backend,
            rules,
            wish,
            owner: None,
            auto_release: None,
            status_data: None,
            ward: None,
            wait: Wait::Not,
        }
    }

    pub(super) fn able_to_wait(mut self, ward: Arc<Ward>) -> Self {
        self.ward = Some(ward);
        self
    }

    /// For this owner. Default: [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Alone, which is the default, or shared. A hold that the owner has already is changed: from
    /// exclusive to shared always; from shared to exclusive, with a new token, if nobody else
    /// shares it. A hold that is shared and stays so keeps its number of permits, whatever number is
    /// said here.
    pub fn access(mut self, access: Access) -> Self {
        self.wish.access = access;
        self
    }

    /// Over when this time has passed since the capture or the last refresh: whole seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.auto_release(AutoRelease::Timeout(timeout))
    }

    /// Over when this moment has passed on the database's clock.
    pub fn deadline(self, deadline: DateTime<Utc>) -> Self {
        self.auto_release(AutoRelease::Deadline(deadline))
    }

    /// Under this rule. Default: a new hold gets a timeout of 300 seconds, a hold that is refreshed
    /// keeps its rule.
    pub fn auto_release(mut self, rule: AutoRelease) -> Self {
        self.auto_release = Some(rule);
        self
    }

    /// Free text for people and for the holder itself, up to 65,536 bytes. A hold that is refreshed
    /// keeps its text if this is empty.
    pub fn status_data(mut self, status_data: impl Into<String>) -> Self {
        self.status_data = Some(status_data.into());
        self
    }

    /// Waits in line for this long at most if another holds it, then
    /// [`Error::Timeout`]. Default: not at all. Not possible inside a transaction.
    ///
    /// An owner has one place in the line of a mutex, however many of its calls wait there: when one
    /// of them gives up, the place is gone, and the others find that out within seconds and queue
    /// again, at the end. Where calls must not depend on each other, give each an owner session of its
    /// own, or use [`Mutexes::lock`](crate::Mutexes::lock), which does.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::AtMost(wait);
        self
    }

    async fn run(self) -> Result<Captured> {
        if let Some(rule) = &self.auto_release {
            rule.check()?;
        }
        self.wish.access.check()?;
        check_status_data(self.status_data.as_deref())?;
        let request = CaptureRequest {
            id: self.wish.id,
            owner: self.owner.unwrap_or_else(current_owner),
            access: self.wish.access,
            reach: self.wish.reach,
            auto_release: self.auto_release,
            status_data: self.status_data,
        };
        if self.wait != Wait::Not {
            return in_line(self.ward, request, self.wait).await;
        }
        let outcome = at_once(self.backend, self.rules, &request).await;
        match &outcome {
            Ok(captured) => observe::captured(captured, Duration::ZERO),
            Err(error) => observe::not_captured(error),
        }
        outcome
    }
}

/// Captures after whatever custom rules have ended has made way.
pub(super) async fn at_once(
    backend: &dyn MutexBackend,
    rules: &Rules,
    request: &CaptureRequest,
) -> Result<Captured> {
    let mut made_way = MadeWay::default();
    loop {
        match backend.capture(request).await {
            Err(refused) => {
                let way = rules.make_way_for(backend, &refused, &mut made_way);
                if !way.await? {
                    return Err(refused);
                }
            }
            Ok(mut captured) => {
                made_way.is_told_in(&mut captured, true);
                return Ok(captured);
            }
        }
    }
}

async fn in_line(ward: Option<Arc<Ward>>, request: CaptureRequest, wait: Wait) -> Result<Captured> {
    let Some(ward) = ward else {
        return Err(Error::InvalidInput {
            field: "wait",
            reason: "is not possible inside a transaction: nobody would see the place in line before its commit".to_owned(),
        });
    };
    let owner = request.owner.clone();
    let request = CaptureAllRequest {
        captures: vec![request],
        wait: true,
        while_holding: held_here(),
    };
    let captured = super::capture_all::captured(&ward, request, owner, wait).await?;
    captured.into_iter().next().ok_or(Error::Protocol {
        operation: "capture",
        reason: "no hold for one mutex".to_owned(),
    })
}

impl<'a> IntoFuture for Capture<'a> {
    type Output = Result<Captured>;
    type IntoFuture = BackendFuture<'a, Captured>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
