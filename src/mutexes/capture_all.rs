use std::{future::IntoFuture, sync::Arc, time::Duration};

use crate::{
    backend::{BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll, MutexBackend},
    current_owner::current_owner,
    domain::{AutoRelease, Captured, Error, MutexId, MutexOwner, Result, Wish, check_status_data},
    guard::{Asker, Request, Wait, Ward, acquire, held_here},
    rules::{MadeWay, Rules},
};

/// Several captures that succeed together or not at all, in the making. See
/// [`Mutexes::capture_all`](crate::Mutexes::capture_all).
///
/// Cancel safety: a future that is dropped leaves all lines, and gives back what it turns out to have
/// captured anew.
#[derive(Debug)]
#[must_use = "a capture does nothing until it is awaited"]
pub struct CaptureAll<'a> {
    place: Place<'a>,
    wishes: Vec<Wish>,
    owner: Option<MutexOwner>,
    auto_release: Option<AutoRelease>,
    status_data: Option<String>,
    wait: Wait,
}

/// Where they are captured.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// Each call a transaction of its own.
    Ward(Result<Arc<Ward>>),
    /// In a transaction of the caller's.
    Transaction(&'a dyn MutexBackend, &'a Rules),
}

impl<'a> CaptureAll<'a> {
    pub(super) fn new(place: Place<'a>, wishes: Vec<Wish>) -> Self {
        Self {
            place,
            wishes,
            owner: None,
            auto_release: None,
            status_data: None,
            wait: Wait::Not,
        }
    }

    /// For this owner. Default: [`current_owner`](crate::current_owner()).
    pub fn owner(mut self, owner: MutexOwner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Each is over when this time has passed since the capture or its last refresh: whole seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.auto_release(AutoRelease::Timeout(timeout))
    }

    /// Under this rule. Default: a new hold gets a timeout of 300 seconds, a hold that is refreshed
    /// keeps its rule.
    pub fn auto_release(mut self, rule: AutoRelease) -> Self {
        self.auto_release = Some(rule);
        self
    }

    /// Free text for people and for the holder itself, up to 65,536 bytes.
    pub fn status_data(mut self, status_data: impl Into<String>) -> Self {
        self.status_data = Some(status_data.into());
        self
    }

    /// Waits for this long at most, in all lines with one ticket and holding none of them, then
    /// [`Error::Timeout`]. Default: not at all. Not possible inside a transaction. An owner has one
    /// place in each line: see [`Capture::wait`](crate::Capture::wait).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Wait::AtMost(wait);
        self
    }

    async fn run(self) -> Result<Vec<Captured>> {
        if let Some(rule) = &self.auto_release {
            rule.check()?;
        }
        check_status_data(self.status_data.as_deref())?;
        MutexId::refuse_twice(self.wishes.iter().map(|wish| &wish.id))?;
        let owner = self.owner.unwrap_or_else(current_owner);
        let mut captures = Vec::new();
        for Wish { id, access, reach } in self.wishes {
            access.check()?;
            captures.push(CaptureRequest {
                id,
                owner: owner.clone(),
                access,
                reach,
                auto_release: self.auto_release.clone(),
                status_data: self.status_data.clone(),
            });
        }
        let request = CaptureAllRequest {
            captures,
            wait: self.wait != Wait::Not,
            while_holding: held_here(),
        };
        match self.place {
            Place::Ward(ward) => captured(&ward?, request, owner, self.wait).await,
            Place::Transaction(backend, rules) => at_once(backend, rules, &request).await,
        }
    }
}

async fn at_once(
    backend: &dyn MutexBackend,
    rules: &Rules,
    request: &CaptureAllRequest,
) -> Result<Vec<Captured>> {
    let mut made_way = MadeWay::default();
    loop {
        match backend.capture_all(request).await {
            Err(refused) => {
                let way = rules.make_way_for(backend, &refused, &mut made_way);
                if !way.await? {
                    return Err(refused);
                }
            }
            Ok(CapturedAll::Captured(mut captured)) => {
                let is_only_one = captured.len() == 1;
                for captured in &mut captured {
                    made_way.is_told_in(captured, is_only_one);
                }
                return Ok(captured);
            }
            Ok(CapturedAll::Queued(_)) => {
                return Err(Error::Protocol {
                    operation: "capture_all",
                    reason: "a place in line that nobody wanted".to_owned(),
                });
            }
        }
    }
}

/// Captures for an owner who may hold these mutexes already, after waiting if need be.
pub(super) async fn captured(
    ward: &Arc<Ward>,
    request: CaptureAllRequest,
    owner: MutexOwner,
    wait: Wait,
) -> Result<Vec<Captured>> {
    let asker = Asker {
        ids: request
            .captures
            .iter()
            .map(|capture| capture.id.clone())
            .collect(),
        owner,
        is_its_own: false,
    };
    if asker.ids.is_empty() {
        return Ok(Vec::new());
    }
    let request = Arc::new(request);
    let request: Request = Arc::new(move |_| {
        let request = Arc::clone(&request);
        Box::pin(async move {
            let attachments = request.captures.iter().map(|_| None).collect();
            Ok(((*request).clone(), attachments))
        })
    });
    let acquired = acquire(&ward.anchored(), asker, request, wait).await?;
    let holds = acquired.holds.into_iter();
    Ok(holds.map(|(captured, _)| captured).collect())
}

impl<'a> IntoFuture for CaptureAll<'a> {
    type Output = Result<Vec<Captured>>;
    type IntoFuture = BackendFuture<'a, Vec<Captured>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
