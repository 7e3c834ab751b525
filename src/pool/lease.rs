//! Leases without a guard, for those who keep them by themselves: clients over HTTP.

use std::{sync::Arc, time::Duration};

use super::{
    SessionPool,
    check::{check_collection, check_filter},
    gate::{GROUP, Gate, Terms},
};
use crate::{
    backend::{CaptureAllRequest, CaptureRequest, CapturedAll},
    domain::{
        Access, AutoRelease, Captured, Error, MutexOwner, Period, PooledSession, Reach, Result,
        SessionFilter, check_status_data,
    },
    guard::{Asker, Request, Wait, Ward, acquire},
};

/// The group of the holds that are leases; the mode is the pool, the id the session's number.
pub(crate) const LEASES: &str = GROUP;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct LeaseRequest {
    /// The same one gets the same session, as long as its lease lasts.
    pub(crate) owner: MutexOwner,
    /// Whether nobody else can know this owner: then nothing stays behind if the one who asks is gone.
    pub(crate) is_known_to_nobody: bool,
    pub(crate) auto_release: Option<AutoRelease>,
    pub(crate) status_data: Option<String>,
    pub(crate) count_use: u64,
    /// Default: the pool's.
    pub(crate) next_use_delay: Option<Period>,
    pub(crate) filter: SessionFilter,
    /// Zero: not at all.
    pub(crate) wait: Duration,
}

impl SessionPool {
    /// Leases the session that comes next to exactly this owner. Nobody keeps the lease alive, and
    /// nobody gives it back, but its owner.
    ///
    /// # Errors
    /// [`Error::NoneAvailable`].
    ///
    /// Cancel safety: the future of one who waits, or whom nobody knows, leaves the line and gives
    /// back what it turns out to have taken anew. Any other may still be carried out.
    pub(crate) async fn lease(&self, request: LeaseRequest) -> Result<(Captured, PooledSession)> {
        check_collection(self.collection())?;
        check_filter(&request.filter)?;
        check_status_data(request.status_data.as_deref())?;
        if let Some(rule) = &request.auto_release {
            rule.check()?;
        }
        let delay = request.next_use_delay.unwrap_or(self.next_use_delay());
        let terms = Terms {
            collection: self.collection().to_owned(),
            count_use: request.count_use,
            next_use_delay: delay.in_seconds("next_use_delay")?,
            filter: self.default_filter().clone().and(request.filter),
        };
        let (store, ward) = self.place()?;
        let gate = Arc::new(Gate::new(terms, store, Arc::clone(&ward.backend))?);
        let wait = match request.wait {
            Duration::ZERO => Wait::Not,
            wait => Wait::AtMost(wait),
        };
        let asker = Asker {
            ids: vec![gate.id().clone()],
            owner: request.owner.clone(),
            is_its_own: request.is_known_to_nobody,
        };
        let asked = CaptureAllRequest {
            captures: vec![CaptureRequest {
                id: gate.id().clone(),
                owner: request.owner,
                access: Access::Exclusive,
                reach: Reach::none(),
                auto_release: request.auto_release,
                status_data: request.status_data,
            }],
            wait: wait != Wait::Not,
            while_holding: Vec::new(),
        };
        // Who has named the request may be asking again already when the first time is broken off:
        // what that has taken must stay there.
        let captured = if wait == Wait::Not && !request.is_known_to_nobody {
            match gate.check_out(&asked).await? {
                CapturedAll::Captured(captured) => captured.into_iter().next(),
                CapturedAll::Queued(_) => None,
            }
        } else {
            let collection = self.collection();
            in_line(&gate, &ward, asker, asked, wait)
                .await
                .map_err(|error| match error {
                    Error::Timeout { waited, .. } => Error::NoneAvailable {
                        collection: collection.to_owned(),
                        waited,
                    },
                    error => error,
                })?
        };
        captured.zip(gate.session()).ok_or(Error::Protocol {
            operation: "checkout",
            reason: "no lease, or one without a session".to_owned(),
        })
    }
}

async fn in_line(
    gate: &Arc<Gate>,
    ward: &Arc<Ward>,
    asker: Asker,
    asked: CaptureAllRequest,
    wait: Wait,
) -> Result<Option<Captured>> {
    let asked = Arc::new(asked);
    let request: Request = Arc::new(move |_| {
        let asked = Arc::clone(&asked);
        Box::pin(async move { Ok(((*asked).clone(), vec![None])) })
    });
    let acquired = acquire(&ward.behind(gate.clone()), asker, request, wait).await?;
    let first = acquired.holds.into_iter().next();
    Ok(first.map(|(captured, _)| captured))
}
