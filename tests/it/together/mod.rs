//! Requests of many callers, decided about in one call.

mod alike;
mod answers;
mod counters;
mod left_alone;
mod prepared;
mod tokens;
mod unknown_outcomes;

use pgmutex::{
    Access, CaptureAllRequest, CaptureRequest, CapturedAll, MutexId, Reach, RefreshRequest,
    ReleaseRequest,
};

use crate::support::{mutex_id, owner};

/// An asker who wants `tests/step/<id>` alone, and not wait for it.
fn wish(id: &str, session_id: &str) -> CaptureAllRequest {
    wish_with(&mutex_id(id), session_id, Access::Exclusive)
}

fn wish_with(id: &MutexId, session_id: &str, access: Access) -> CaptureAllRequest {
    CaptureAllRequest {
        captures: vec![CaptureRequest {
            id: id.clone(),
            owner: owner(session_id),
            access,
            reach: Reach::none(),
            auto_release: None,
            status_data: None,
        }],
        wait: false,
        while_holding: Vec::new(),
    }
}

fn refreshing(id: &str, session_id: &str) -> RefreshRequest {
    RefreshRequest {
        id: mutex_id(id),
        owner: owner(session_id),
        token: None,
        status_data: None,
    }
}

fn giving_back(id: &str, session_id: &str) -> ReleaseRequest {
    ReleaseRequest {
        id: mutex_id(id),
        owner: owner(session_id),
        token: None,
    }
}

/// The hold that one of the answers is about.
fn captured(answer: Option<pgmutex::Result<CapturedAll>>) -> pgmutex::Captured {
    match answer {
        Some(Ok(CapturedAll::Captured(mut captured))) => captured.remove(0),
        other => panic!("{other:?}"),
    }
}
