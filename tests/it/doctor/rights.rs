//! Who may ask, and what is said about a role's rights.

use pgmutex::{Mutexes, Verdict};

use super::about;
use crate::support::{Database, Session, session_at};

/// The functions and views that the README grants to an application.
const OF_AN_APPLICATION: &str = "capture, refresh, release, request, fence, evict, list, list_count, sweep, ensure_generation, capture_each, \
    capture_all, release_each, release_owner, leave_line, keep, attach_session, look_at_lines, holder_in_the_way, list_waiting, \
    pool_get_session, pool_checkout, pool_success, pool_lock, pool_block, pool_inactive, pool_activate, pool_add, pool_update, pool_delete, \
    pool_get, pool_find, pool_count, pool_count_active, pool_find_one_and_update, pool_delete_one, pool_statistics, doctor";

async fn as_an_application(session: &Session, role: &str) {
    let functions: Vec<String> = OF_AN_APPLICATION
        .split(", ")
        .map(|function| format!("pgmutex.{}", function.trim()))
        .collect();
    session
        .run(&format!(
            "grant usage on schema pgmutex to {role}; grant execute on function {} to {role}; \
             grant select on pgmutex.refinery_schema_history to {role}",
            functions.join(", ")
        ))
        .await;
}

async fn diagnose(url: &str) -> pgmutex::Diagnosis {
    let mutexes = Mutexes::builder().direct_url(url).unwrap();
    let mutexes = mutexes.pool(pgmutex::pool_for_url(url).unwrap());
    mutexes.diagnose().await.unwrap()
}

#[tokio::test]
async fn an_application_is_told_everything_but_queries() {
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    let session = database.session().await;
    as_an_application(&session, &role).await;
    let diagnosis = diagnose(&url).await;
    let (verdict, words) = about(&diagnosis, "rights");
    assert_eq!(verdict, Verdict::Ok, "{words}");
    assert_eq!(about(&diagnosis, "schema").0, Verdict::Ok);
    // As many subjects as the owner is told of.
    let subjects = |diagnosis: &pgmutex::Diagnosis| -> Vec<String> {
        let findings = diagnosis.findings.iter();
        findings.map(|finding| finding.subject.clone()).collect()
    };
    let to_the_owner = diagnose(database.url()).await;
    assert_eq!(subjects(&diagnosis), subjects(&to_the_owner));
    // Nobody's query is shown, not even a secret's.
    session
        .run("begin; select pgmutex.capture('g', 'm', 'geheim', 'geheim')")
        .await;
    let asks = session_at(&url).await;
    let told = asks
        .ask("select string_agg(found || coalesce(advice, ''), ' ') from pgmutex.doctor('0 seconds')")
        .await;
    assert!(
        told.contains(&format!("process {}", session.process_id())),
        "{told}"
    );
    assert!(!told.contains("geheim"), "{told}");
    session.run("rollback").await;

    session
        .run(&format!(
            "revoke execute on function pgmutex.capture, pgmutex.doctor from {role}"
        ))
        .await;
    let (verdict, words) = about(&diagnose(&url).await, "rights");
    assert_eq!(verdict, Verdict::Warning);
    assert!(words.contains("may not call capture, doctor |"), "{words}");
    session
        .run(&format!("drop owned by {role}; drop role {role}"))
        .await;
}

#[tokio::test]
async fn a_reader_is_refused_and_told_so() {
    let database = Database::fresh().await;
    let (role, url) = database.role("").await;
    let session = database.session().await;
    let (verdict, words) = about(&diagnose(&url).await, "rights");
    assert_eq!(verdict, Verdict::Problem);
    assert!(words.contains("may not use the schema"), "{words}");

    session
        .run(&format!("grant usage on schema pgmutex to {role}"))
        .await;
    let (verdict, words) = about(&diagnose(&url).await, "rights");
    assert_eq!(verdict, Verdict::Problem);
    assert!(words.contains("neither look nor capture"), "{words}");

    session
        .run(&format!("grant select on pgmutex.held to {role}"))
        .await;
    let reader = session_at(&url).await;
    let refused = reader
        .try_ask("select subject from pgmutex.doctor()")
        .await
        .unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code().code(), "42501");
    assert_eq!(refused.message(), "permission denied for function doctor");
    let diagnosis = diagnose(&url).await;
    let (verdict, words) = about(&diagnosis, "rights");
    assert_eq!(verdict, Verdict::Note);
    assert!(words.contains("may look, not capture"), "{words}");
    let (verdict, words) = about(&diagnosis, "doctor");
    assert_eq!(verdict, Verdict::Note);
    assert!(
        words.contains("permission denied for function doctor"),
        "{words}"
    );
    // What can be seen from outside is there.
    assert_eq!(about(&diagnosis, "isolation").0, Verdict::Ok);
    let (verdict, words) = about(&diagnosis, "schema");
    assert_eq!(verdict, Verdict::Note);
    assert!(words.contains("refinery_schema_history"), "{words}");
    session
        .run(&format!("drop owned by {role}; drop role {role}"))
        .await;
}
