//! TLS to the server, with each of libpq's grades of trust.
//!
//! Needs openssl (Debian: `apt-get install openssl`) beside the PostgreSQL binaries:
//! `cargo test --features tls --test tls`.

mod server;

use std::error::Error as StdError;

use pgmutex::{Error, MutexId, MutexOwner, Mutexes};
use server::{PASSWORD, Server};

/// The server's certificate names it, this address is not in it.
const NAME: &str = "localhost";
const ADDRESS: &str = "127.0.0.1";

/// Connects; or says why it cannot, and that must be that there is no connection to be had.
async fn connect(host: &str, database: &str, parameters: &str) -> Result<Mutexes, String> {
    let url = Server::shared().await.url(host, database, parameters);
    Mutexes::connect(&url).await.map_err(|error| {
        assert!(
            matches!(
                error,
                Error::Unavailable { .. } | Error::PermissionDenied { .. }
            ),
            "{error:?}"
        );
        with_sources(&error)
    })
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = StdError::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[track_caller]
fn assert_refused(outcome: Result<Mutexes, String>, reason: &str) {
    let error = outcome.expect_err("it connects");
    assert!(error.contains(reason), "{error}");
}

/// Parameters that trust what this authority has signed.
async fn trusting(authority: &str, mode: &str) -> String {
    let file = Server::shared().await.file(&format!("{authority}.crt"));
    format!("sslmode={mode}&sslrootcert={file}")
}

/// Parameters that trust the server, and show it this certificate.
async fn showing(certificate: &str) -> String {
    let server = Server::shared().await;
    let trust = trusting("authority", "verify-full").await;
    let file = |kind| server.file(&format!("{certificate}.{kind}"));
    format!("{trust}&sslcert={}&sslkey={}", file("crt"), file("key"))
}

#[tokio::test]
async fn disable_uses_no_tls_which_the_server_refuses() {
    assert_refused(
        connect(NAME, "postgres", "sslmode=disable").await,
        "pg_hba.conf rejects connection",
    );
}

#[tokio::test]
async fn prefer_and_require_encrypt_and_believe_any_server() {
    for mode in ["allow", "prefer", "require"] {
        let parameters = format!("sslmode={mode}&application_name=believes-{mode}");
        let _connected = connect(ADDRESS, "postgres", &parameters).await.unwrap();
        let encrypted = Server::shared()
            .await
            .superuser()
            .await
            .query_one(
                "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = $1",
                &[&format!("believes-{mode}")],
            )
            .await
            .unwrap();
        assert!(encrypted.get::<_, bool>(0), "{mode}");
    }
}

#[tokio::test]
async fn without_a_mode_tls_is_preferred() {
    connect(ADDRESS, "postgres", "").await.unwrap();
}

#[tokio::test]
async fn require_with_an_authority_to_trust_trusts_no_other() {
    for parameters in [
        trusting("stranger", "require").await,
        trusting("stranger", "verify-ca").await,
    ] {
        let outcome = connect(ADDRESS, "postgres", &parameters).await;
        assert_refused(outcome, "UnknownIssuer");
    }
}

#[tokio::test]
async fn verify_ca_does_not_look_at_the_name() {
    for parameters in [
        trusting("authority", "require").await,
        trusting("authority", "verify-ca").await,
    ] {
        connect(ADDRESS, "postgres", &parameters).await.unwrap();
    }
}

#[tokio::test]
async fn verify_full_looks_at_the_authority_and_at_the_name() {
    let trusted = trusting("authority", "verify-full").await;
    assert_refused(
        connect(ADDRESS, "postgres", &trusted).await,
        "not valid for name",
    );
    let stranger = trusting("stranger", "verify-full").await;
    assert_refused(connect(NAME, "postgres", &stranger).await, "UnknownIssuer");
    // What the system trusts has not signed this server's certificate either.
    let system = "sslmode=verify-full&sslrootcert=system";
    assert_refused(connect(NAME, "postgres", system).await, "UnknownIssuer");

    let mutexes = connect(NAME, "postgres", &trusted).await.unwrap();
    mutexes.migrate().await.unwrap();
    let id = MutexId::new("tests", "tls", "m").unwrap();
    let me = MutexOwner::new("me").unwrap();
    mutexes.capture(&id).owner(me.clone()).await.unwrap();
    let released = mutexes.release(&id).owner(me).await.unwrap();
    assert!(released.is_released());
}

#[tokio::test]
async fn parameters_may_be_pairs() {
    let server = Server::shared().await;
    let pairs = |host| {
        format!(
            "host={host} port={} user=postgres dbname=postgres sslmode = verify-full sslrootcert='{}'",
            server.port(),
            server.file("authority.crt")
        )
    };
    Mutexes::connect(&pairs(NAME)).await.unwrap();
    let refused = Mutexes::connect(&pairs(ADDRESS)).await.unwrap_err();
    assert!(with_sources(&refused).contains("not valid for name"));
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let certified = showing("client").await;
    connect(NAME, "certified", &certified).await.unwrap();
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_refuses_whoever_has_none_or_a_wrong_one() {
    let nothing = trusting("authority", "verify-full").await;
    assert_refused(
        connect(NAME, "certified", &nothing).await,
        "connection requires a valid client certificate",
    );
    let of_another_user = showing("other_user").await;
    assert_refused(
        connect(NAME, "certified", &of_another_user).await,
        "authentication failed for user \"postgres\"",
    );
    let of_another_authority = showing("forged").await;
    assert_refused(
        connect(NAME, "certified", &of_another_authority).await,
        "error communicating with the server",
    );
}

#[tokio::test]
async fn a_password_is_bound_to_the_encrypted_channel() {
    let trusted = trusting("authority", "verify-full").await;
    let bound = |password| format!("{trusted}&channel_binding=require&password={password}");
    connect(NAME, "secret", &bound(PASSWORD)).await.unwrap();
    assert_refused(
        connect(NAME, "secret", &bound("wrong")).await,
        "password authentication failed",
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let server = Server::shared().await;
    let (missing, certificate) = (server.file("missing.crt"), server.file("client.crt"));
    for (parameters, named) in [
        (
            format!("sslmode=verify-full&sslrootcert={missing}"),
            &missing,
        ),
        (
            format!("sslcert={certificate}&sslkey={certificate}"),
            &certificate,
        ),
    ] {
        let error = Mutexes::connect(&server.url(NAME, "postgres", &parameters))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InvalidUrl { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
    }
}
