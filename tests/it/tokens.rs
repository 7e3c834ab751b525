//! I2: a later capture has a larger token, across crashes, failovers and restored copies.

use std::{fs, path::PathBuf, process::Command};

use pgmutex::{FencingToken, Mutexes, private_server::PrivatePostgres};

use crate::support::{Database, mutex_id, owner};

/// A server on a copy of another's data, and the folder of that copy.
pub(crate) struct Copy {
    pub(crate) server: PrivatePostgres,
    folder: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.server.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Stops a server and copies its data: what a standby that was never sent anything more knows.
fn copy_of(server: &mut PrivatePostgres) -> PathBuf {
    server.stop().unwrap();
    let folder = server
        .data_dir()
        .with_file_name(format!("copy-{}", std::process::id()));
    let status = Command::new("cp")
        .arg("-a")
        .args([server.data_dir(), &folder])
        .status()
        .unwrap();
    assert!(status.success());
    // Out of the folder that goes with the server.
    let kept = std::env::temp_dir().join(format!(
        "pgmutex-copy-{}-{}",
        std::process::id(),
        server.process_id()
    ));
    fs::rename(&folder, &kept).unwrap();
    kept
}

/// A standby on a copy of this server's data.
pub(crate) fn standby_of(mut server: PrivatePostgres) -> Copy {
    let folder = copy_of(&mut server);
    fs::write(folder.join("standby.signal"), "").unwrap();
    Copy {
        server: PrivatePostgres::start_in(&folder).unwrap(),
        folder,
    }
}

/// A standby that a server streams to.
pub(crate) fn streaming_standby_of(server: &mut PrivatePostgres) -> Copy {
    let folder = copy_of(server);
    server.restart().unwrap();
    fs::write(folder.join("standby.signal"), "").unwrap();
    let primary = format!(
        "primary_conninfo = 'host={} port={} user=postgres'\n",
        server.socket_dir().display(),
        server.port()
    );
    fs::write(folder.join("postgresql.auto.conf"), primary).unwrap();
    Copy {
        server: PrivatePostgres::start_in(&folder).unwrap(),
        folder,
    }
}

/// The last of several tokens: a sequence set back to its start gives smaller ones.
async fn tokens(mutexes: &Mutexes) -> FencingToken {
    for id in ["1", "2", "3"] {
        token(mutexes, id).await;
    }
    token(mutexes, "4").await
}

async fn token(mutexes: &Mutexes, id: &str) -> FencingToken {
    let captured = mutexes
        .capture(mutex_id(id))
        .owner(owner(id))
        .await
        .unwrap();
    captured.fencing_token
}

#[tokio::test]
async fn a_promoted_standby_that_had_fallen_behind_gives_larger_tokens() {
    let mut primary = PrivatePostgres::start().unwrap();
    let mutexes = Mutexes::connect(&primary.url("postgres")).await.unwrap();
    mutexes.migrate().await.unwrap();
    let folder = copy_of(&mut primary);
    primary.restart().unwrap();
    // Given by the primary, never sent to the standby.
    let mutexes = Mutexes::connect(&primary.url("postgres")).await.unwrap();
    let mut last = token(&mutexes, "0").await;
    for id in 1..100 {
        last = token(&mutexes, &id.to_string()).await;
    }
    primary.crash().unwrap();

    fs::write(folder.join("standby.signal"), "").unwrap();
    let standby = Copy {
        server: PrivatePostgres::start_in(&folder).unwrap(),
        folder,
    };
    let mutexes = Mutexes::connect(&standby.server.url("postgres"))
        .await
        .unwrap();
    let (client, connection) =
        tokio_postgres::connect(&standby.server.url("postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client.query_one("select pg_promote()", &[]).await.unwrap();
    // The very first capture, by a client that was connected all along.
    assert!(token(&mutexes, "0").await > last);
}

#[tokio::test]
async fn another_timeline_raises_the_generation_at_the_next_capture() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    let before = tokens(&mutexes).await;
    session
        .run("update pgmutex.token_generation set timeline = timeline + 7; select setval('pgmutex.fencing_token_sequence', 1, false)")
        .await;
    let after = token(&mutexes, "b").await;
    assert!(after > before);
    // Once: the next one is of the same generation.
    let next = token(&mutexes, "c").await;
    assert_eq!(next.get() >> 40, after.get() >> 40);
}

#[tokio::test]
async fn another_cluster_raises_the_generation_when_a_client_connects() {
    let database = Database::fresh().await;
    let before = tokens(&database.mutexes().await).await;
    let session = database.session().await;
    session
        .run("update pgmutex.token_generation set system_identifier = 1; select setval('pgmutex.fencing_token_sequence', 1, false)")
        .await;
    assert!(token(&database.mutexes().await, "b").await > before);
}

#[tokio::test]
async fn another_cluster_raises_the_generation_when_a_client_migrates() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let before = tokens(&mutexes).await;
    let session = database.session().await;
    session
        .run("update pgmutex.token_generation set system_identifier = 1; select setval('pgmutex.fencing_token_sequence', 1, false)")
        .await;
    mutexes.migrate().await.unwrap();
    assert!(token(&mutexes, "b").await > before);
}

#[tokio::test]
async fn of_many_who_see_another_server_one_raises_the_generation() {
    let database = Database::fresh().await;
    let session = database.session().await;
    session
        .run("update pgmutex.token_generation set system_identifier = 1")
        .await;
    let before: i64 = generation(&session).await;
    let connecting: Vec<_> = (0..16)
        .map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move { Mutexes::connect(&url).await.unwrap() })
        })
        .collect();
    for connected in connecting {
        connected.await.unwrap();
    }
    assert_eq!(generation(&session).await, before + 1);
}

async fn generation(session: &crate::support::Session) -> i64 {
    session
        .ask("select generation::text from pgmutex.token_generation")
        .await
        .parse()
        .unwrap()
}

#[tokio::test]
async fn the_operators_override_raises_it_by_hand() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    let before = tokens(&mutexes).await;
    let raised: i64 = session
        .ask("select pgmutex.bump_generation()::text")
        .await
        .parse()
        .unwrap();
    session
        .run("select setval('pgmutex.fencing_token_sequence', 1, false)")
        .await;
    let after = token(&mutexes, "b").await;
    assert!(after > before);
    assert_eq!(after.get() >> 40, raised);
}

#[tokio::test]
async fn a_sequence_that_outgrows_its_bits_still_grows_over_the_next_generation() {
    let database = Database::fresh().await;
    let mutexes = database.mutexes().await;
    let session = database.session().await;
    session
        .run("select setval('pgmutex.fencing_token_sequence', (5::bigint << 40) + 17)")
        .await;
    let before = token(&mutexes, "a").await;
    session
        .run("select pgmutex.bump_generation(); select setval('pgmutex.fencing_token_sequence', 1, false)")
        .await;
    assert!(token(&mutexes, "b").await > before);
}

#[tokio::test]
async fn a_capture_that_is_rolled_back_gives_its_token_to_nobody() {
    let database = Database::fresh().await;
    let session = database.session().await;
    let capture = "select fencing_token::text from pgmutex.capture('tests', 'step', 'm', 'a')";
    session.run("begin").await;
    let dropped: i64 = session.ask(capture).await.parse().unwrap();
    session.run("rollback").await;
    let kept: i64 = session.ask(capture).await.parse().unwrap();
    assert!(kept > dropped);
}
