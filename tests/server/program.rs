//! The program that serves, as a process.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use pgmutex::server::{Role, TokenList};
use serde_json::json;

use crate::support::{Client, Database, eventually};

/// `pgmutex serve`, as long as this is there.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it says when it is ready.
    pub(crate) line: String,
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgmutex"));
    command
        .env_remove("DATABASE_URL")
        .env_remove("PGMUTEX_TOKENS")
        .env_remove("PGMUTEX_LOG");
    command
}

impl Program {
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        Self::logging_to(Stdio::null(), arguments)
    }

    pub(crate) fn logging_to(log: impl Into<Stdio>, arguments: &[&str]) -> Self {
        let mut child = program()
            .args(["serve", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        Self {
            address: address
                .unwrap_or_else(|| panic!("it says {line:?}"))
                .parse()
                .unwrap(),
            child,
            line,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::at(self.address).await
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and gives the code with which it does.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let process = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &process])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of a test's own, which the user of a private PostgreSQL can enter.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("pgmutex-{name}-{}", std::process::id()));
        // An earlier process of the same number may have left its own.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What it says on standard error, and the code with which it ends.
fn failure(command: &mut Command) -> (String, Option<i32>) {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    (
        String::from_utf8(output.stderr).unwrap(),
        output.status.code(),
    )
}

#[tokio::test]
async fn without_a_database_the_locks_are_kept_in_a_folder_and_found_again() {
    let folder = Folder::new("locks");
    let kept = folder.file("locks.db");
    let first = Program::serve(&["--file", &kept]);
    assert!(
        first.line.starts_with("http://127.0.0.1:"),
        "{}",
        first.line
    );
    assert!(first.line.contains(&kept), "{}", first.line);
    let locked = first
        .client()
        .await
        .get("/canhaz/my/resource?id=me")
        .await
        .json();
    assert_eq!(first.terminate(), Some(0));

    let second = Program::serve(&["-f", &kept]);
    let mut client = second.client().await;
    assert_eq!(
        client.get("/dohaz/my/resource").await.json(),
        json!({"lockedBy": "me"})
    );
    let token = locked["token"].as_str().unwrap();
    let unlocked = client
        .get(&format!("/nowant/my/resource?token={token}"))
        .await;
    assert_eq!(unlocked.json(), json!({"ok": true}));
    drop(second);
    assert!(Path::new(&kept).join("PG_VERSION").exists());
}

#[tokio::test]
async fn an_orderly_stop_gives_no_cause_for_concern() {
    let folder = Folder::new("stop");
    let log = folder.file("log");
    let arguments = ["--file", &folder.file("locks.db")];
    let served = Program::logging_to(std::fs::File::create(&log).unwrap(), &arguments);
    let mut client = served.client().await;
    assert_eq!(client.get("/canhaz/x").await.status, 200);
    let mut waiting = served.client().await;
    waiting.begin("GET", "/canhaz/x?wait=60", &[], "").await;
    eventually(async || {
        let line = client.get("/v1/waiters").await.json();
        line["waiters"] != json!([])
    })
    .await;
    assert_eq!(served.terminate(), Some(0));
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("stopping"), "{log}");
    for level in [" WARN ", " ERROR "] {
        assert!(!log.contains(level), "{log}");
    }
}

#[tokio::test]
async fn tokens_come_from_a_file_or_from_the_environment() {
    let made = program()
        .args(["token", "application", "farm"])
        .output()
        .unwrap();
    let line = String::from_utf8(made.stdout).unwrap();
    let token = String::from_utf8(made.stderr).unwrap();
    assert!(
        line.starts_with("application farm ") && !line.contains(token.trim()),
        "{line}"
    );
    let folder = Folder::new("tokens");
    let list = folder.file("tokens");
    std::fs::write(&list, &line).unwrap();
    let database = Database::fresh().await;
    let served = Program::serve(&["--database-url", &database.url(), "--tokens-file", &list]);
    let mut client = served.client().await;
    assert_eq!(client.get("/canhaz/x").await.status, 401);
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(
        client.ask("GET", "/canhaz/x", &headers, "").await.status,
        200
    );

    let url = database.url();
    let serve = ["serve", "--port", "0", "--database-url", &url];
    let (said, code) = failure(
        program()
            .args(serve)
            .env("PGMUTEX_TOKENS", "admin me not-a-hash"),
    );
    assert!(
        said.contains("line 1") && !said.contains("not-a-hash"),
        "{said}"
    );
    assert_eq!(code, Some(1));
    let (said, _) = failure(
        program()
            .args(serve)
            .args(["--tokens-file", "/nowhere/tokens"]),
    );
    assert!(said.contains("/nowhere/tokens"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let database = Database::fresh().await;
    let url = database.url();
    let serve = ["serve", "--database-url", &url];
    let (said, code) = failure(
        program()
            .args(serve)
            .args(["--ip", "0.0.0.0", "--port", "0"]),
    );
    assert!(said.contains("--open-to-all"), "{said}");
    assert_eq!(code, Some(1));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (said, code) = failure(program().args(serve).args(["--port", &port]));
    assert!(said.contains("cannot listen at"), "{said}");
    assert_eq!(code, Some(1));
    let mut unreachable = program();
    unreachable.args(["serve", "--port", "0", "--database-url"]);
    let (said, _) =
        failure(unreachable.arg("postgres://me:hidden@127.0.0.1:1/x?connect_timeout=2"));
    assert!(
        said.contains("unavailable") && !said.contains("hidden"),
        "{said}"
    );
    for wrong in [
        &["serve", "--ip", "nowhere"][..],
        &["serve", "--port", "99999"],
        &["serve", "--tls-cert", "x"],
        &["serve", "--file", "x", "--database-url", "y"],
        &["token", "boss", "x"],
        &["sing"],
        &[],
    ] {
        assert_eq!(failure(program().args(wrong)).1, Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn with_a_certificate_it_is_encrypted() {
    let folder = Folder::new("certificate");
    let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let database = Database::fresh().await;
    let tls = [
        "--database-url",
        &database.url(),
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let served = Program::serve(&tls);
    assert!(
        served.line.starts_with("https://127.0.0.1:"),
        "{}",
        served.line
    );

    let mut openssl = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-alpn",
            "http/1.1",
            "-CAfile",
            &certificate,
        ])
        .args([
            "-connect",
            &served.address.to_string(),
            "-servername",
            "localhost",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET /canhaz/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    std::io::Write::write_all(openssl.stdin.as_mut().unwrap(), request).unwrap();
    let mut answer = String::new();
    openssl
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut answer)
        .unwrap();
    openssl.wait().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"ok\":true"),
        "{answer}"
    );

    // Who does not encrypt gets nothing.
    let mut plain = served.client().await;
    plain.begin("GET", "/canhaz/y", &[], "").await;
    assert_eq!(plain.answer().await, None);

    let mut wrong = program();
    wrong.args(["serve", "--port", "0", "--database-url", &database.url()]);
    let (said, _) = failure(wrong.args(["--tls-cert", &key, "--tls-key", &key]));
    assert!(said.contains("no certificate"), "{said}");
}

#[tokio::test]
async fn the_log_says_who_forced_a_release_and_why_and_no_secrets() {
    let folder = Folder::new("log");
    let (list, log) = (folder.file("tokens"), folder.file("log"));
    let (bearer, line) = TokenList::new_token("the-boss", Role::Admin).unwrap();
    std::fs::write(&list, line).unwrap();
    let database = Database::fresh().await;
    let url = database.url();
    let arguments = [
        "--database-url",
        &url,
        "--tokens-file",
        &list,
        "--log",
        "trace",
    ];
    let served = Program::logging_to(std::fs::File::create(&log).unwrap(), &arguments);
    let mut client = served.client().await;
    let authorization = format!("Bearer {}", bearer.reveal());
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let locked = client
        .ask("GET", "/canhaz/x%0Ay", &headers[..1], "")
        .await
        .json();
    let token = locked["token"].as_str().unwrap().to_owned();
    let guess = "00000000-guess";
    client
        .ask(
            "GET",
            &format!("/nowant/x%0Ay?token={guess}"),
            &headers[..1],
            "",
        )
        .await;
    let wish = json!({
        "mutex": {"tree": "locker", "path": ["x\ny"]}, "reason": "stuck\nsince \u{1b}[31mMonday",
    });
    let forced = client
        .ask("POST", "/v1/force-release", &headers, &wish.to_string())
        .await;
    assert_eq!(forced.json()["outcome"], "released");
    let wish = json!({"mutex": {"id": "1"}, "request_id": "a-secret-request", "owner": {"session": "a-secret-session"}});
    assert_eq!(
        client
            .ask("POST", "/v1/capture", &headers, &wish.to_string())
            .await
            .status,
        200
    );
    assert_eq!(served.terminate(), Some(0));

    let log = std::fs::read_to_string(&log).unwrap();
    let forced: Vec<&str> = log.lines().filter(|line| line.contains("forced")).collect();
    assert!(!forced.is_empty(), "{log}");
    for line in forced {
        for part in [" WARN ", "the-boss", "stuck", "Monday"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    for secret in [
        bearer.reveal(),
        &token,
        guess,
        "a-secret-request",
        "a-secret-session",
        "\u{1b}",
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
}
