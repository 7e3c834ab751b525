//! The lock that Redis's own documentation describes (<https://redis.io/docs/latest/commands/set/>): a key
//! with a random value that ends by itself, deleted by a script only while it still has that value.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ExistenceCheck, IntoConnectionInfo as _, RedisError, Script,
    SetExpiry, SetOptions, Value, aio::MultiplexedConnection, cmd, io::tcp::TcpSettings,
};

use crate::{cli::database::without_secrets, random};

/// After so long a key ends by itself, in milliseconds: soon, should nobody be left to release it.
const ENDS_AFTER: u64 = 10_000;

/// As long as another contender's slice may hold the disk up; the crate's own half a second is for
/// caches.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers how many keys it has deleted.
const RELEASE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) \
                       else return 0 end";

/// A connection to Redis, and what it holds there.
#[derive(Debug)]
pub(super) struct Redis {
    connection: MultiplexedConnection,
    /// Sent by its hash; its text only if the server does not know it yet.
    release: Script,
    /// The value of the keys that this connection has captured.
    mine: String,
}

impl Redis {
    /// Connects: `redis://host:6379`, `unix:///path/to/socket`.
    pub(super) async fn connect(url: &str) -> Result<Self, String> {
        let what = format!("cannot connect to Redis at {}", without_secrets(url));
        let failed = |error| refused(&what, &error);
        let info = url.into_connection_info().map_err(failed)?;
        // A request is one small packet: nothing is to be gathered with it.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(failed)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(failed)?;
        Ok(Self {
            connection,
            release: Script::new(RELEASE),
            mine: format!("{:032x}", u128::from_ne_bytes(random::bytes())),
        })
    }

    /// Captures a key, or says that another has it.
    pub(super) async fn capture(&mut self, name: &str) -> Result<bool, String> {
        let options = SetOptions::default()
            .conditional_set(ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(ENDS_AFTER));
        let mut set = cmd("SET");
        set.arg(name).arg(&self.mine).arg(options);
        let answer: Value = set
            .query_async(&mut self.connection)
            .await
            .map_err(|error| refused("Redis did not set a key", &error))?;
        match answer {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            other => Err(format!("Redis answered SET with {other:?}")),
        }
    }

    /// Deletes a key that this connection has captured; another's is an error, and stays.
    pub(super) async fn release(&mut self, name: &str) -> Result<(), String> {
        let deleted: u64 = self
            .release
            .key(name)
            .arg(&self.mine)
            .invoke_async(&mut self.connection)
            .await
            .map_err(|error| refused("Redis did not run the script that releases", &error))?;
        match deleted {
            1 => Ok(()),
            _ => Err(format!(
                "Redis: the key {name} was not, or no longer, this connection's"
            )),
        }
    }

    /// Which server it is, and whether what it has acknowledged is on the disk.
    pub(super) async fn described(&mut self) -> Result<String, String> {
        let failed = |error| refused("Redis does not say what it is", &error);
        let info: String = cmd("INFO")
            .arg("server")
            .query_async(&mut self.connection)
            .await
            .map_err(failed)?;
        let product = product(&info);
        let mut settings = Vec::new();
        for name in ["appendonly", "appendfsync"] {
            let answer: Result<Vec<String>, RedisError> = cmd("CONFIG")
                .arg("GET")
                .arg(name)
                .query_async(&mut self.connection)
                .await;
            match answer.as_deref() {
                Ok([_, value]) => settings.push(format!("{name} {value}")),
                // A service that others run does not let everybody read its settings.
                _ => settings.push(format!("{name} unknown")),
            }
        }
        Ok(format!("{product}, {}", settings.join(", ")))
    }
}

/// Name and version, from the server's part of INFO. Valkey says its own beside the version of Redis
/// that it is compatible with.
fn product(info: &str) -> String {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    match (field("valkey_version"), field("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "Redis of an unknown version".to_owned(),
    }
}

fn refused(what: &str, error: &RedisError) -> String {
    format!("{what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::product;

    #[test]
    fn the_product_is_read_from_what_the_server_says_of_itself() {
        for (info, expected) in [
            (
                "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n",
                "Redis 7.0.15",
            ),
            (
                "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n",
                "Valkey 8.1.1",
            ),
            ("# Server\r\n", "Redis of an unknown version"),
        ] {
            assert_eq!(product(info), expected);
        }
    }
}

#[cfg(all(test, feature = "test-peers"))]
mod against_a_server {
    use redis::cmd;

    use super::{ENDS_AFTER, Redis};
    use crate::cli::bench::peer_servers::PeerServer;

    #[tokio::test]
    async fn a_key_is_one_connections_until_it_is_released() {
        let server = PeerServer::redis();
        let mut first = Redis::connect(&server.url).await.unwrap();
        let mut second = Redis::connect(&server.url).await.unwrap();

        assert_eq!(first.capture("a").await, Ok(true));
        assert_eq!(second.capture("a").await, Ok(false));
        assert_eq!(
            first.capture("a").await,
            Ok(false),
            "it is no lock to enter twice"
        );
        assert_eq!(second.capture("b").await, Ok(true));
        let left: u64 = cmd("PTTL")
            .arg("a")
            .query_async(&mut first.connection)
            .await
            .unwrap();
        assert!(
            (1..=ENDS_AFTER).contains(&left),
            "it ends by itself: {left} ms"
        );

        first.release("a").await.unwrap();
        assert_eq!(second.capture("a").await, Ok(true));
        second.release("a").await.unwrap();
        second.release("b").await.unwrap();
        let keys: u64 = cmd("DBSIZE")
            .query_async(&mut first.connection)
            .await
            .unwrap();
        assert_eq!(keys, 0);
    }

    #[tokio::test]
    async fn anothers_key_is_not_deleted() {
        let server = PeerServer::redis();
        let mut first = Redis::connect(&server.url).await.unwrap();
        let mut second = Redis::connect(&server.url).await.unwrap();
        assert_eq!(first.capture("a").await, Ok(true));
        // Its time is up, and another has captured it.
        let () = cmd("DEL")
            .arg("a")
            .query_async(&mut second.connection)
            .await
            .unwrap();
        assert_eq!(second.capture("a").await, Ok(true));

        let refused = first.release("a").await.unwrap_err();
        assert!(refused.contains("the key a"), "{refused}");
        let value: String = cmd("GET")
            .arg("a")
            .query_async(&mut first.connection)
            .await
            .unwrap();
        assert_eq!(value, second.mine);
    }

    #[tokio::test]
    async fn it_says_whether_it_is_durable() {
        let server = PeerServer::redis();
        let mut redis = Redis::connect(&server.url).await.unwrap();
        let described = redis.described().await.unwrap();
        let (product, settings) = described.split_once(", ").unwrap();
        assert!(
            ["Redis ", "Valkey "]
                .iter()
                .any(|name| product.starts_with(name))
                && product.contains('.'),
            "{described}"
        );
        assert_eq!(settings, "appendonly yes, appendfsync always");

        let mut set = cmd("CONFIG");
        let () = set
            .arg("SET")
            .arg("appendfsync")
            .arg("everysec")
            .query_async(&mut redis.connection)
            .await
            .unwrap();
        let described = redis.described().await.unwrap();
        assert!(
            described.ends_with("appendonly yes, appendfsync everysec"),
            "{described}"
        );
    }

    #[tokio::test]
    async fn where_nothing_answers_is_an_error() {
        for (url, place) in [
            ("unix:///nowhere/redis.sock", "/nowhere/redis.sock"),
            ("redis://me:secret@127.0.0.1:1", "127.0.0.1:1"),
            ("what://me:secret@is.this", "is.this"),
        ] {
            let refused = Redis::connect(url).await.unwrap_err();
            let expected = format!("cannot connect to Redis at {place}: ");
            assert!(refused.starts_with(&expected), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
