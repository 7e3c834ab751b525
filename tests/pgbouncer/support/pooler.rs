use std::{
    fs,
    io::{self, BufRead, BufReader},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use pgmutex::private_server::PrivatePostgres;

/// PgBouncer in transaction mode, in front of a private server and in its folder. It goes with this
/// program.
pub(super) struct Pooler {
    folder: String,
    /// Ends the pooler when its input ends.
    _shell: Child,
}

/// How sessions of the server are lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lending {
    /// For each database and user, at most.
    pub(super) sessions: usize,
    /// First the one that was given back longest ago, rather than the last one.
    pub(super) in_turn: bool,
}

impl Pooler {
    /// Names the socket, so there is nothing it could get in the way of.
    const PORT: u16 = 6432;

    /// Accepts connections when this returns.
    pub(super) fn start(server: &PrivatePostgres, users: &[&str], lending: Lending) -> Self {
        let folder = server.socket_dir().to_str().unwrap();
        let settings = format!(
            "[databases]\n\
             * = host={folder} port={}\n\
             [pgbouncer]\n\
             unix_socket_dir = {folder}\n\
             listen_port = {}\n\
             auth_type = trust\n\
             auth_file = {folder}/users.txt\n\
             admin_users = {}\n\
             pool_mode = transaction\n\
             default_pool_size = {}\n\
             server_round_robin = {}\n\
             max_client_conn = 500\n\
             log_connections = 0\n\
             log_disconnections = 0",
            server.port(),
            Self::PORT,
            users[0],
            lending.sessions,
            u8::from(lending.in_turn),
        );
        let users: Vec<String> = users
            .iter()
            .map(|user| format!("\"{user}\" \"\""))
            .collect();

        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", include_str!("pooler.sh"), "pooler", folder])
            .args([settings, users.join("\n")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        // As the server's user: nobody else may enter the folder, and PgBouncer refuses root.
        let (owner, group) = owner(server.socket_dir());
        if owner != self::owner(Path::new("/proc/self")).0 {
            command.uid(owner).gid(group);
        }
        let mut shell = command.spawn().unwrap();
        await_start(BufReader::new(shell.stdout.take().unwrap()));
        Self {
            folder: folder.replace('/', "%2F"),
            _shell: shell,
        }
    }

    pub(super) fn url(&self, user: &str, database: &str) -> String {
        let Self { folder, .. } = self;
        format!(
            "postgres://{user}@/{database}?host={folder}&port={}",
            Self::PORT
        )
    }
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.uid(), found.gid())
}

fn await_start(mut log: impl BufRead + Send + 'static) {
    let mut said = String::new();
    while !said.contains("process up") {
        let length = said.len();
        log.read_line(&mut said).unwrap();
        match &said[length..] {
            "missing\n" => panic!("PgBouncer is not installed: apt-get install pgbouncer"),
            "" => panic!("PgBouncer does not start:\n{said}"),
            _ => {}
        }
    }
    // Nobody reads the rest, but it has to go somewhere.
    thread::spawn(move || io::copy(&mut log, &mut io::sink()));
}
