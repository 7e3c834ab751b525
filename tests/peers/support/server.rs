use std::net::TcpListener;

use super::keeper::Keeper;

/// A private server that keeps what it has acknowledged.
pub(crate) struct PeerServer {
    pub(crate) url: String,
    _keeper: Keeper,
}

impl PeerServer {
    /// Redis, which writes each change to the disk before it acknowledges it.
    pub(crate) fn redis() -> Self {
        let mut keeper = Keeper::start(
            "redis-server",
            &[
                "redis-server",
                "--port",
                "0",
                "--unixsocket",
                "redis.sock",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ],
        );
        keeper
            .until_it_says(&["ready to accept connections"])
            .unwrap_or_else(|log| panic!("Redis does not start:\n{log}"));
        Self {
            url: format!("unix://{}/redis.sock", keeper.folder),
            _keeper: keeper,
        }
    }

    /// etcd, of one member.
    pub(crate) fn etcd() -> Self {
        let mut logs = Vec::new();
        for _ in 0..5 {
            // Its gateway has to be told the port, so another may take it in between.
            let url = format!("http://127.0.0.1:{}", free_port());
            let peers = "unix://peers.sock:0";
            let cluster = format!("default={peers}");
            let mut keeper = Keeper::start(
                "etcd-server",
                &[
                    "etcd",
                    "--data-dir",
                    "data",
                    "--listen-client-urls",
                    &url,
                    "--advertise-client-urls",
                    &url,
                    "--listen-peer-urls",
                    peers,
                    "--initial-advertise-peer-urls",
                    peers,
                    "--initial-cluster",
                    &cluster,
                ],
            );
            let serves = [
                "serving insecure client requests",
                "serving client traffic insecurely",
            ];
            match keeper.until_it_says(&serves) {
                Ok(()) => {
                    return Self {
                        url,
                        _keeper: keeper,
                    };
                }
                Err(log) => logs.push(log),
            }
        }
        panic!("etcd does not start:\n{}", logs.join("\n"));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
