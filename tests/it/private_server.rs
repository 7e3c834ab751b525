//! The private server as tests and applications rely on it.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use pgmutex::private_server::{PrivatePostgres, PrivateServerError};
use tokio_postgres::{Client, NoTls};

async fn connect(server: &PrivatePostgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn is_running(process_id: u32) -> bool {
    Path::new(&format!("/proc/{process_id}")).exists()
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_crash() {
    let mut server = PrivatePostgres::start().unwrap();
    let client = connect(&server).await;
    client
        .batch_execute("create table kept (value integer); insert into kept values (7)")
        .await
        .unwrap();
    let before = server.process_id();
    server.crash().unwrap();
    assert!(!is_running(before));
    server.restart().unwrap();
    assert_ne!(server.process_id(), before);
    let row = connect(&server)
        .await
        .query_one("select value from kept", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
}

#[tokio::test]
async fn servers_do_not_meet() {
    let (a, b) = (
        PrivatePostgres::start().unwrap(),
        PrivatePostgres::start().unwrap(),
    );
    connect(&a)
        .await
        .batch_execute("create table of_a ()")
        .await
        .unwrap();
    let error = connect(&b)
        .await
        .batch_execute("select from of_a")
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42P01");
}

#[tokio::test]
async fn settings_are_the_servers() {
    let server = PrivatePostgres::builder()
        .setting("application_name", "it's mine")
        .durable(true)
        .start()
        .unwrap();
    let client = connect(&server).await;
    for (setting, expected) in [
        ("fsync", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
    ] {
        let row = client
            .query_one(&format!("show {setting}"), &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), expected, "{setting}");
    }
    let major = client
        .query_one(
            "select current_setting('server_version_num')::int / 10000",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        u32::try_from(major.get::<_, i32>(0)),
        Ok(server.major_version())
    );
}

#[test]
fn dropping_leaves_no_process_and_no_folder() {
    let server = PrivatePostgres::start().unwrap();
    let (process_id, folder) = (server.process_id(), server.data_dir().to_owned());
    assert!(is_running(process_id) && folder.exists());
    drop(server);
    assert!(!is_running(process_id) && !folder.exists());
}

#[test]
fn missing_binaries_are_said_to_be_missing_with_the_package_to_install() {
    let error = PrivatePostgres::builder()
        .bin_dir("/nonexistent")
        .start()
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("/nonexistent") && text.contains("apt-get install postgresql"),
        "{text}"
    );
    assert!(
        matches!(error, PrivateServerError::BinariesNotFound { .. }),
        "{error:?}"
    );
}

const HOLDS: &str = "PGMUTEX_TEST_HOLDS_A_SERVER";

/// Started by [`a_killed_program_leaves_no_process_and_no_folder`]: tells of its server and then
/// waits to be killed. On its own it only sees that a server starts.
#[test]
fn holder_of_a_server() {
    let server = PrivatePostgres::start().unwrap();
    assert!(is_running(server.process_id()));
    if env::var_os(HOLDS).is_some() {
        println!(
            "\nserver {} {}",
            server.process_id(),
            server.data_dir().display()
        );
        let mut never = String::new();
        std::io::stdin().read_line(&mut never).unwrap();
    }
}

#[test]
fn a_killed_program_leaves_no_process_and_no_folder() {
    let mut program = Command::new(env::current_exe().unwrap())
        .args([
            "private_server::holder_of_a_server",
            "--exact",
            "--nocapture",
        ])
        .env(HOLDS, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(program.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("server "))
        .unwrap();
    let mut words = told.split(' ').skip(1);
    let process_id: u32 = words.next().unwrap().parse().unwrap();
    let folder = Path::new(words.next().unwrap()).to_owned();
    assert!(is_running(process_id) && folder.exists());
    program.kill().unwrap();
    program.wait().unwrap();
    // Nobody tells when the clean-up is done; it hangs here if it never is.
    while is_running(process_id) || folder.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
}
