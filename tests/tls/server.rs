use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use pgmutex::private_server::{PrivatePostgres, PrivateServerError};
use tokio::{sync::OnceCell, time::timeout};
use tokio_postgres::{Client, NoTls};

/// How long the server may take to read its settings again before it is considered hung. Not a measure
/// of anything.
const HUNG: Duration = Duration::from_secs(300);

/// What the database `secret` asks for. The others ask for none.
pub(crate) const PASSWORD: &str = "open-sesame";

/// Over TCP only who uses TLS may come; to the database `certified` only with a certificate.
const RULES: &str = "\
    local all all trust\n\
    hostnossl all all 127.0.0.1/32 reject\n\
    hostssl certified all 127.0.0.1/32 trust clientcert=verify-full\n\
    hostssl secret all 127.0.0.1/32 scram-sha-256\n\
    hostssl all all 127.0.0.1/32 trust\n";

const SETTINGS: &str = "\
    ssl = on\n\
    ssl_cert_file = 'server.crt'\n\
    ssl_key_file = 'server.key'\n\
    ssl_ca_file = 'authority.crt'\n\
    password_encryption = 'scram-sha-256'\n";

/// A server that speaks TLS on 127.0.0.1, with a certificate for `localhost`. The tests of this
/// process share one.
pub(crate) struct Server(PrivatePostgres);

impl Server {
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let server = Self(listening());
        let folder = server.0.data_dir();
        make_certificates(folder);
        append(&folder.join("postgresql.conf"), SETTINGS);
        fs::write(folder.join("pg_hba.conf"), RULES).unwrap();
        // Not by starting it again: meanwhile another program could take the port.
        let reload = "select pg_reload_conf()";
        let superuser = server.superuser().await;
        superuser.batch_execute(reload).await.unwrap();
        let superuser = timeout(HUNG, server.superuser_with_tls())
            .await
            .expect("it does not read its settings");
        for statement in [
            "create database certified",
            "create database secret",
            &format!("alter role postgres password '{PASSWORD}'"),
        ] {
            superuser.batch_execute(statement).await.unwrap();
        }
        server
    }

    /// A connection over the Unix socket, when whoever connects meets a server that speaks TLS.
    async fn superuser_with_tls(&self) -> Client {
        loop {
            let newcomer = self.superuser().await;
            let ssl = newcomer.query_one("show ssl", &[]).await.unwrap();
            if ssl.get::<_, &str>(0) == "on" {
                return newcomer;
            }
        }
    }

    /// `parameters` are of the form `sslmode=require&sslrootcert=…`.
    pub(crate) fn url(&self, host: &str, database: &str, parameters: &str) -> String {
        let port = self.0.port();
        format!("postgres://postgres@{host}:{port}/{database}?{parameters}")
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }

    /// The path of a file that was made for the tests.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.data_dir().join(name).to_str().unwrap().to_owned()
    }

    /// A connection over the Unix socket.
    pub(crate) async fn superuser(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.0.url("postgres"), NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}

/// On a free port: another program may take it before the server does, then on another one.
fn listening() -> PrivatePostgres {
    for _ in 0..10 {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let started = PrivatePostgres::builder()
            .setting("listen_addresses", "127.0.0.1")
            .setting("port", port.to_string())
            .start();
        match started {
            Ok(server) => return server,
            Err(PrivateServerError::NotStarted { log, .. })
                if log.contains("Address already in use") => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no port stays free");
}

/// As the server's user: it accepts no key of anybody else's.
fn make_certificates(folder: &Path) {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", include_str!("certificates.sh")])
        .current_dir(folder)
        .stdin(Stdio::null());
    let owner = fs::metadata(folder).unwrap();
    if owner.uid() != fs::metadata("/proc/self").unwrap().uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if said == "missing\n" {
        panic!("openssl is not installed: apt-get install openssl");
    }
    assert!(output.status.success(), "{said}");
}

fn append(file: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
