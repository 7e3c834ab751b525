//! The backend's verbs: each is one operation, and some have to know first how the one who asks waits.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{PostgresBackend, operation::*};
use crate::{
    backend::{
        Attachment, BackendFuture, CaptureAllRequest, CaptureRequest, CapturedAll, CheckedOut,
        CheckoutRequest, ForceReleaseRequest, HoldToKeep, MutexBackend, NotKept, Observed,
        PoolAnswer, PoolRequest, RefreshRequest, ReleaseRequest, ReleasedEach, SessionStore,
        StateRequest, Ticket,
    },
    domain::{
        Captured, Error, FencingToken, ForceReleased, Mutex, MutexId, MutexOwner, MutexQuery,
        MutexState, Page, Released, Waiter, WaiterQuery,
    },
};

impl MutexBackend for PostgresBackend {
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> BackendFuture<'a, Captured> {
        Box::pin(self.call(Capture(request)))
    }

    fn refresh<'a>(&'a self, request: &'a RefreshRequest) -> BackendFuture<'a, Mutex> {
        Box::pin(self.call(Refresh(request)))
    }

    fn release<'a>(&'a self, request: &'a ReleaseRequest) -> BackendFuture<'a, Released> {
        Box::pin(self.call(Release(request)))
    }

    fn request<'a>(&'a self, request: &'a StateRequest) -> BackendFuture<'a, Observed<MutexState>> {
        Box::pin(self.call(Request(request)))
    }

    fn holder_in_the_way<'a>(
        &'a self,
        request: &'a CaptureRequest,
    ) -> BackendFuture<'a, Observed<Option<Mutex>>> {
        Box::pin(self.call(HolderInTheWay(request)))
    }

    fn waiters<'a>(&'a self, query: &'a WaiterQuery) -> BackendFuture<'a, Vec<Waiter>> {
        Box::pin(self.call(ListWaiting(query)))
    }

    fn list<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, Page> {
        Box::pin(self.call(List(query)))
    }

    fn count<'a>(&'a self, query: &'a MutexQuery) -> BackendFuture<'a, u64> {
        Box::pin(self.call(Count(query)))
    }

    fn evict<'a>(&'a self, id: &'a MutexId, token: FencingToken) -> BackendFuture<'a, bool> {
        Box::pin(self.call(Evict(id, token)))
    }

    fn force_release<'a>(
        &'a self,
        request: &'a ForceReleaseRequest,
    ) -> BackendFuture<'a, ForceReleased> {
        Box::pin(self.call(ForceRelease(request)))
    }

    fn sweep(&self) -> BackendFuture<'_, u64> {
        Box::pin(async {
            let mut swept = 0;
            loop {
                match self.call(Sweep).await? {
                    0 => return Ok(swept),
                    batch => swept += batch,
                }
            }
        })
    }

    fn now(&self) -> BackendFuture<'_, DateTime<Utc>> {
        Box::pin(self.call(Now))
    }

    fn capture_all<'a>(&'a self, request: &'a CaptureAllRequest) -> BackendFuture<'a, CapturedAll> {
        Box::pin(async move {
            let listener = match request.wait {
                true => Some(self.waiting().listener().await),
                false => None,
            };
            let number = listener.as_ref().map(|listener| listener.number);
            self.call(CaptureAll {
                request,
                listener: number,
            })
            .await
        })
    }

    fn turn<'a>(&'a self, ticket: &'a Ticket) -> BackendFuture<'a, ()> {
        Box::pin(async move {
            self.waiting().turn(self, ticket.number).await;
            Ok(())
        })
    }

    fn leave_line<'a>(&'a self, id: &'a MutexId, owner: &'a MutexOwner) -> BackendFuture<'a, ()> {
        Box::pin(async move { self.call(LeaveLine { id, owner }).await.map(drop) })
    }

    fn capture_each<'a>(
        &'a self,
        requests: &'a [CaptureRequest],
    ) -> BackendFuture<'a, Vec<Result<Captured, Error>>> {
        Box::pin(self.call(CaptureEach { requests }))
    }

    fn release_each<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<ReleasedEach>> {
        Box::pin(self.call(ReleaseEach { requests }))
    }

    fn capture_together<'a>(
        &'a self,
        requests: &'a [CaptureAllRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<CapturedAll, Error>>>> {
        Box::pin(async move {
            if !requests.iter().any(|request| request.wait) {
                let listener = None;
                return self.call(CaptureTogether { requests, listener }).await;
            }
            let listener = self.waiting().listener_of_many().await;
            if listener.is_some() {
                return self.call(CaptureTogether { requests, listener }).await;
            }
            let is_at_once = those_at_once(requests);
            let at_once = requests.iter().zip(&is_at_once);
            let at_once: Vec<_> = at_once
                .filter(|(_, is_at_once)| **is_at_once)
                .map(|(request, _)| request.clone())
                .collect();
            if at_once.is_empty() {
                return Ok(requests.iter().map(|_| None).collect());
            }
            let requests_at_once = CaptureTogether {
                requests: &at_once,
                listener,
            };
            let mut answers = self.call(requests_at_once).await?.into_iter();
            let answers = is_at_once.iter().map(|is_at_once| match is_at_once {
                true => answers.next().flatten(),
                false => None,
            });
            Ok(answers.collect())
        })
    }

    fn refresh_together<'a>(
        &'a self,
        requests: &'a [RefreshRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<Mutex, Error>>>> {
        Box::pin(self.call(RefreshTogether { requests }))
    }

    fn release_together<'a>(
        &'a self,
        requests: &'a [ReleaseRequest],
    ) -> BackendFuture<'a, Vec<Option<Result<Released, Error>>>> {
        Box::pin(self.call(ReleaseTogether { requests }))
    }

    fn release_owner<'a>(&'a self, owner: &'a MutexOwner) -> BackendFuture<'a, Vec<ReleasedEach>> {
        Box::pin(async move {
            let mut released = Vec::new();
            loop {
                let batch = self.call(ReleaseOwner { owner }).await?;
                let goes_on = batch
                    .iter()
                    .any(|each| matches!(each, ReleasedEach::Done(Released::Released(_))));
                // Those that were busy are asked for again, and are in the next answer, or released.
                released.retain(|each| matches!(each, ReleasedEach::Done(_)));
                released.extend(batch);
                if !goes_on {
                    return Ok(released);
                }
            }
        })
    }

    fn keep<'a>(&'a self, holds: &'a [HoldToKeep]) -> BackendFuture<'a, Vec<NotKept>> {
        Box::pin(async move {
            match self.waiting().keep(self.repository(), holds).await {
                Ok(not_kept) => Ok(not_kept),
                Err(error) => {
                    tracing::debug!(%error, "heartbeat by the pool instead");
                    self.attempt(&Keep { holds }, self.call_timeout()).await
                }
            }
        })
    }

    fn attach(&self) -> BackendFuture<'_, Attachment> {
        Box::pin(async { Ok(self.waiting().session().await?.attachment()) })
    }
}

impl SessionStore for PostgresBackend {
    fn pool<'a>(&'a self, request: &'a PoolRequest) -> BackendFuture<'a, PoolAnswer> {
        Box::pin(self.call(AboutPool(request)))
    }

    fn checkout<'a>(&'a self, request: &'a CheckoutRequest) -> BackendFuture<'a, CheckedOut> {
        Box::pin(async move {
            let listener = match request.wait {
                true => Some(self.waiting().listener().await),
                false => None,
            };
            let listener = listener.as_ref().map(|listener| listener.number);
            self.call(Checkout { request, listener }).await
        })
    }
}

/// Which of these can be decided about without knowing by what number the others wait: those who do not
/// wait, and pass nobody who came before them and waits for the same mutex.
fn those_at_once(requests: &[CaptureAllRequest]) -> Vec<bool> {
    let mut waited_for = HashSet::new();
    let is_at_once = requests.iter().map(|request| {
        let mut ids = request.captures.iter().map(|capture| &capture.id);
        if request.wait {
            waited_for.extend(ids);
            return false;
        }
        !ids.any(|id| waited_for.contains(id))
    });
    is_at_once.collect()
}

#[cfg(test)]
mod tests {
    use super::those_at_once;
    use crate::{
        backend::{CaptureAllRequest, CaptureRequest},
        domain::{Access, MutexId, MutexOwner, Reach},
    };

    fn request(id: &str, wait: bool) -> CaptureAllRequest {
        let capture = CaptureRequest {
            id: MutexId::new("g", "m", id).unwrap(),
            owner: MutexOwner::new("me").unwrap(),
            access: Access::default(),
            reach: Reach::none(),
            auto_release: None,
            status_data: None,
        };
        CaptureAllRequest {
            captures: vec![capture],
            wait,
            while_holding: Vec::new(),
        }
    }

    #[test]
    fn nobody_passes_one_who_waits_for_the_same_mutex() {
        let requests = [
            request("1", false),
            request("1", true),
            request("1", false),
            request("2", false),
        ];
        assert_eq!(those_at_once(&requests), [true, false, false, true]);
    }
}
