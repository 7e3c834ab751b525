//! The audit from Rust.

use std::time::Duration;

use pgmutex::{
    AuditEvent, AuditKept, AuditQuery, AuditedDeed, Error, MutexId, Mutexes, SchemaName,
    SessionBackend,
};

use crate::support::{Database, mutex_id, owner};

const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

fn deeds(events: &[AuditEvent]) -> Vec<(AuditedDeed, &str)> {
    events
        .iter()
        .map(|event| (event.deed, event.id.id()))
        .collect()
}

#[tokio::test]
async fn events_tell_who_what_when_and_why() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    assert!(mutexes.enable_audit().await.unwrap());
    assert!(!mutexes.enable_audit().await.unwrap());
    let ada = owner("a")
        .with_name("Ada")
        .unwrap()
        .with_login("ada")
        .unwrap()
        .with_user_id("7")
        .unwrap()
        .with_host("h")
        .unwrap();
    let before = mutexes.now().await.unwrap();
    let captured = mutexes
        .capture(mutex_id("m"))
        .owner(ada.clone())
        .await
        .unwrap();
    mutexes
        .force_release(&mutex_id("m"), "stuck since noon")
        .await
        .unwrap();
    let events = mutexes.audit(&AuditQuery::all()).await.unwrap();
    assert_eq!(
        deeds(&events),
        [(AuditedDeed::Captured, "m"), (AuditedDeed::Forced, "m")]
    );
    for event in &events {
        assert_eq!(event.id, mutex_id("m"));
        assert_eq!(event.owner, ada);
        assert_eq!(event.fencing_token, captured.fencing_token);
        assert_eq!(event.permit, 0);
        assert!(event.at >= before && event.at <= mutexes.now().await.unwrap());
        let session = database.session().await;
        assert_eq!(
            event.database_role,
            session.ask("select session_user::text").await
        );
        let address = session
            .ask("select coalesce(host(inet_client_addr()), '')")
            .await;
        assert_eq!(
            event
                .client_address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            address
        );
    }
    assert_eq!(events[0].reason, None);
    assert_eq!(events[1].reason.as_deref(), Some("stuck since noon"));

    assert!(mutexes.disable_audit().await.unwrap());
    assert!(!mutexes.disable_audit().await.unwrap());
    mutexes
        .capture(mutex_id("m"))
        .owner(ada.clone())
        .await
        .unwrap();
    assert_eq!(mutexes.audit(&AuditQuery::all()).await.unwrap(), events);
}

#[tokio::test]
async fn filters_and_pages_find_what_is_asked_for() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    mutexes.enable_audit().await.unwrap();
    let foreign = MutexId::new("others", "step", "m").unwrap();
    for id in [
        mutex_id("m"),
        mutex_id("n"),
        foreign.clone(),
        mutex_id("m"),
        mutex_id("o"),
    ] {
        mutexes.capture(&id).owner(owner("a")).await.unwrap();
        mutexes.release(&id).owner(owner("a")).await.unwrap();
    }
    let read = async |query: AuditQuery| mutexes.audit(&query).await.unwrap();
    let all = read(AuditQuery::all()).await;
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by_key(|event| (event.at, event.number)));
    let of_m = read(AuditQuery::all().mutex(&mutex_id("m"))).await;
    assert_eq!(of_m, [&all[0..2], &all[6..8]].concat());
    assert_eq!(read(AuditQuery::all().group("others")).await, all[4..6]);
    let middle = AuditQuery::all().since(all[3].at).until(all[7].at);
    assert_eq!(read(middle).await, all[3..7]);

    let (mut found, mut page) = (Vec::new(), AuditQuery::all().page_size(3));
    loop {
        let events = read(page.clone()).await;
        let Some(last) = events.last() else { break };
        page = page.after(last);
        found.extend(events);
    }
    assert_eq!(found, all);
}

#[tokio::test]
async fn months_are_kept_from_rust() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let kept = mutexes.keep_audit(YEAR).await.unwrap();
    assert_eq!((kept.made, kept.moved, kept.dropped), (4, 0, 0));
    assert_eq!(
        mutexes.keep_audit(YEAR).await.unwrap(),
        AuditKept::default()
    );
    let too_long = mutexes.keep_audit(Duration::MAX).await.unwrap_err();
    assert!(
        matches!(too_long, Error::Refused { .. } | Error::Database { .. }),
        "{too_long:?}"
    );
}

#[tokio::test]
async fn without_postgresql_there_is_no_audit() {
    let mutexes = Mutexes::builder().backend(SessionBackend::new());
    for answer in [mutexes.enable_audit().await, mutexes.disable_audit().await] {
        assert!(matches!(answer, Err(Error::Unavailable { .. })));
    }
    assert!(mutexes.keep_audit(YEAR).await.is_err());
    assert!(mutexes.audit(&AuditQuery::all()).await.is_err());
}

#[tokio::test]
async fn another_schema_has_an_audit_of_its_own() {
    let database = Database::fresh().await;
    let here = database.mutexes().await;
    let there = Mutexes::builder()
        .schema(SchemaName::new("Other locks").unwrap())
        .connect(database.url())
        .await
        .unwrap();
    there.migrate().await.unwrap();
    there.enable_audit().await.unwrap();
    for mutexes in [&here, &there] {
        mutexes
            .capture(mutex_id("m"))
            .owner(owner("a"))
            .await
            .unwrap();
    }
    assert_eq!(there.audit(&AuditQuery::all()).await.unwrap().len(), 1);
    assert_eq!(here.audit(&AuditQuery::all()).await.unwrap(), []);
}
