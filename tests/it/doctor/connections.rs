//! What is looked at from the client's side, also where nothing is migrated.

use pgmutex::{Error, Mutexes, SessionBackend, Verdict, pool_for_url};

use super::about;
use crate::support::Database;

#[tokio::test]
async fn where_nothing_is_migrated_it_says_so() {
    let database = Database::empty().await;
    let diagnosis = database.mutexes().await.diagnose().await.unwrap();
    let subjects: Vec<&str> = diagnosis
        .findings
        .iter()
        .map(|finding| finding.subject.as_str())
        .collect();
    assert_eq!(
        subjects,
        [
            "connection",
            "round trip",
            "clock",
            "pooler",
            "direct URL",
            "schema",
            "isolation",
            "doctor"
        ]
    );
    let (verdict, words) = about(&diagnosis, "schema");
    assert_eq!(verdict, Verdict::Problem);
    assert!(
        words.contains("pgmutex is not installed | pgmutex migrate"),
        "{words}"
    );
    assert_eq!(diagnosis.worst(), Verdict::Problem);
    let (verdict, words) = about(&diagnosis, "connection");
    assert_eq!(verdict, Verdict::Ok, "{words}");
    assert!(
        words.contains(&format!("database {}", database.name())),
        "{words}"
    );
}

#[tokio::test]
async fn half_migrated_and_migrated_by_a_newer_version_it_says_so() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    session
        .run("drop function pgmutex.doctor; delete from pgmutex.refinery_schema_history where version >= 12")
        .await;
    let diagnosis = mutexes.diagnose().await.unwrap();
    let (verdict, words) = about(&diagnosis, "schema");
    assert_eq!(verdict, Verdict::Problem);
    assert!(
        words.contains("version 11 of") && words.contains("pending"),
        "{words}"
    );
    assert!(
        about(&diagnosis, "doctor")
            .1
            .contains("has no function doctor")
    );

    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    session
        .run("insert into pgmutex.refinery_schema_history values (900, 'from_the_future', '2030-01-01T00:00:00Z', '1')")
        .await;
    let diagnosis = mutexes.diagnose().await.unwrap();
    let (verdict, words) = about(&diagnosis, "schema");
    assert_eq!(verdict, Verdict::Problem);
    assert!(
        words.contains("version 900") && words.contains("Deploy a newer version"),
        "{words}"
    );
    // The rest is looked at all the same.
    assert_eq!(about(&diagnosis, "generation").0, Verdict::Ok);
    session
        .run("update pgmutex.refinery_schema_history set checksum = 'none'")
        .await;
    let (verdict, words) = about(&mutexes.diagnose().await.unwrap(), "schema");
    assert_eq!(verdict, Verdict::Problem);
    assert!(words.contains("of unknown version"), "{words}");
    // A version whose function answers in another shape.
    session
        .run("drop function pgmutex.doctor; create function pgmutex.doctor() returns integer language sql as 'select 1'")
        .await;
    let (verdict, words) = about(&mutexes.diagnose().await.unwrap(), "doctor");
    assert_eq!(verdict, Verdict::Note);
    assert!(words.contains("cannot be read"), "{words}");
}

#[tokio::test]
async fn a_direct_url_is_tried() {
    let database = Database::fresh().await;
    let other = Database::empty().await;
    let with = |direct: Option<&str>| {
        let mut builder = Mutexes::builder();
        if let Some(url) = direct {
            builder = builder.direct_url(url).unwrap();
        }
        builder.pool(pool_for_url(database.url()).unwrap())
    };
    for (direct, verdict, says) in [
        (None, Verdict::Note, "MutexesBuilder::direct_url"),
        (
            Some(database.url()),
            Verdict::Ok,
            "straight to the same server",
        ),
        (
            Some(other.url()),
            Verdict::Problem,
            "another server or database",
        ),
        (
            Some("postgres://app@/app?host=/nowhere"),
            Verdict::Warning,
            "does not work",
        ),
    ] {
        let diagnosis = with(direct).diagnose().await.unwrap();
        let (found, words) = about(&diagnosis, "direct URL");
        assert_eq!(found, verdict, "{direct:?}: {words}");
        assert!(words.contains(says), "{words}");
        let (found, words) = about(&diagnosis, "pooler");
        assert_eq!(found, Verdict::Ok, "{words}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_an_error() {
    let unreachable = |url: &str| Mutexes::builder().pool(pool_for_url(url).unwrap());
    let error = unreachable("postgres://app@/app?host=/nowhere")
        .diagnose()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let without = Mutexes::builder().backend(SessionBackend::new());
    let error = without.diagnose().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_password_is_not_shown() {
    let database = Database::fresh().await;
    let (role, url) = database.role("superuser").await;
    let session = database.session().await;
    session
        .run(&format!("alter role {role} password 'geheim'"))
        .await;
    let url = url.replace(&format!(":{role}@"), ":geheim@");
    let diagnosis = Mutexes::connect(&url)
        .await
        .unwrap()
        .diagnose()
        .await
        .unwrap();
    let shown = serde_json::to_string(&diagnosis).unwrap();
    assert!(
        shown.contains(&role) && !shown.contains("geheim"),
        "{shown}"
    );
    let again: pgmutex::Diagnosis = serde_json::from_str(&shown).unwrap();
    assert_eq!(again, diagnosis);
    session.run(&format!("drop role {role}")).await;
}

/// Fits on the screen: two words of fixed width, and room for what was found.
#[tokio::test]
async fn subjects_are_short_and_named_once() {
    let database = Database::fresh().await;
    let diagnosis = database.mutexes().await.diagnose().await.unwrap();
    let mut subjects: Vec<&str> = diagnosis
        .findings
        .iter()
        .map(|finding| finding.subject.as_str())
        .collect();
    assert!(
        subjects.iter().all(|subject| subject.len() <= 18),
        "{subjects:?}"
    );
    let count = subjects.len();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), count);
    assert!(
        !diagnosis
            .findings
            .iter()
            .any(|finding| finding.found.is_empty())
    );
}
