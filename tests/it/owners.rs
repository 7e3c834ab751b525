//! Who an owner is, and who is meant when none is named.

use pgmutex::{MutexOwner, current_owner, with_owner};

use crate::support::owner;

#[test]
fn sessions_are_compared_strictly_and_persons_softly() {
    let ada = owner("s").with_user_id("7").unwrap();
    let renamed = ada
        .clone()
        .with_name("Ada")
        .unwrap()
        .with_host("h")
        .unwrap();
    assert!(ada.is_same(&renamed) && ada.is_same_user(&renamed));
    // The session has passed to another person.
    let bob = owner("s").with_user_id("8").unwrap();
    assert!(ada.is_same(&bob) && !ada.is_same_user(&bob));
    // The person has another session.
    let elsewhere = owner("t").with_user_id("7").unwrap();
    assert!(!ada.is_same(&elsewhere) && !ada.is_same_user(&elsewhere));
}

#[test]
fn system_and_console_are_as_they_always_were() {
    let fields = |owner: &MutexOwner| {
        [
            owner.session_id().to_owned(),
            owner.name().to_owned(),
            owner.user_id().to_owned(),
            owner.host().to_owned(),
        ]
    };
    assert_eq!(
        fields(&MutexOwner::system()),
        ["system", "system", "0", "server"]
    );
    assert_eq!(
        fields(&MutexOwner::console()),
        ["console-session", "console-user", "0", "127.0.0.1"]
    );
}

#[tokio::test]
async fn the_innermost_scope_says_who_is_at_work() {
    assert_eq!(current_owner(), MutexOwner::console());
    with_owner(owner("outer"), async {
        assert_eq!(current_owner(), owner("outer"));
        with_owner(owner("inner"), async {
            tokio::task::yield_now().await;
            assert_eq!(current_owner(), owner("inner"));
        })
        .await;
        assert_eq!(current_owner(), owner("outer"));
        // A spawned task is work of its own.
        let spawned = tokio::spawn(async { current_owner() }).await.unwrap();
        assert_eq!(spawned, MutexOwner::console());
    })
    .await;
    assert_eq!(current_owner(), MutexOwner::console());
}

#[tokio::test]
async fn scopes_of_concurrent_requests_do_not_mix() {
    let requests: Vec<_> = (0..20)
        .map(|number| {
            let me = owner(&format!("session {number}"));
            tokio::spawn(with_owner(me.clone(), async move {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                    assert_eq!(current_owner(), me);
                }
            }))
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
}
